#!/usr/bin/env python3
"""Say in words what `tarn search --output` found on the example features.

    scripts/show_answers.py ANSWERS FEATURES QUERY|TEXT [--ids]

ANSWERS is the name given to --output, FEATURES the directory Examples/features,
QUERY a row of its queries.npy, or TEXT the one text that was asked. With --ids, only
the row ids, for `tarn locate`.
Python's standard library is enough.
"""

import ast
import pathlib
import struct
import sys

FORMATS = {"<i8": "q", "<f4": "f"}


def npy_row(path: pathlib.Path, row: int) -> tuple:
    """One row of a two-dimensional C-order .npy file (version 1.0)."""
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00", f"{path} is not an .npy file of version 1.0"
    (length,) = struct.unpack_from("<H", data, 8)
    header = ast.literal_eval(data[10 : 10 + length].decode("latin-1"))
    assert not header["fortran_order"]
    layout = f"<{header['shape'][1]}{FORMATS[header['descr']]}"
    return struct.unpack_from(layout, data, 10 + length + row * struct.calcsize(layout))


def main() -> None:
    answers, features, asked = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    query = int(asked) if asked.isdigit() else 0
    ids = [row for row in npy_row(answers.with_name(answers.name + ".ids.npy"), query) if row >= 0]
    if "--ids" in sys.argv[4:]:
        print(*ids)
        return
    scores = npy_row(answers.with_name(answers.name + ".scores.npy"), query)
    # The example shards have no holes, so a row id is a line of the metadata.
    captions = [
        line for part in sorted((features / "metadata").glob("*.txt")) for line in part.read_text("utf-8").splitlines()
    ]
    if asked.isdigit():
        question = (features / "queries.txt").read_text("utf-8").splitlines()[query]
        print(f"query {query}: {question.split(chr(9))[1]}")
    else:
        print(asked)
    for row, score in zip(ids, scores):
        print(f"  {score:.3f}  row {row:>4}  {captions[row].split(chr(9))[1][:80]}")


if __name__ == "__main__":
    main()
