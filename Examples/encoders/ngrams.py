#!/usr/bin/env python3
"""Features of words that need no model: counts of the letters in them, hashed.

As an encoder, JSON lines in, JSON lines out:

    tarn search names@1 --text "strawberry" --encoder 'python3 Examples/encoders/ngrams.py'

As what makes the features of a list of names, one vector a line:

    python3 Examples/encoders/ngrams.py --features NAMES.txt OUT.npy

A text's vector is that of its words: each word counts twice, and its runs of three and four letters, with a mark at
either end, once each; every one of those is added to or taken from one of the dimensions, both by its hash; the sum
has unit length. So texts are near to each other when they share words or parts of words, and nothing is known of what
words mean. Python's standard library is enough, and the same text gives the same numbers everywhere. Whoever searches
has to encode as the features were made: same file, same dimension.
"""

import argparse
import hashlib
import json
import math
import pathlib
import struct
import sys
from collections.abc import Iterator

DIMENSION = 256


def grams(text: str) -> Iterator[tuple[str, float]]:
    """What a text consists of: its words, and the three- and four-letter pieces of them."""
    for word in "".join(c if c.isalnum() else " " for c in text.lower()).split():
        yield word, 2.0
        marked = f"^{word}$"
        for length in (3, 4):
            for start in range(len(marked) - length + 1):
                yield marked[start : start + length], 1.0


def hashed(text: str, dimension: int) -> list[float]:
    """A row of unit length; equal grams fall on equal places with equal signs."""
    row = [0.0] * dimension
    for gram, weight in grams(text):
        digest = hashlib.blake2b(gram.encode(), digest_size=8).digest()
        place, sign = struct.unpack("<IB3x", digest)
        row[place % dimension] += weight if sign & 1 else -weight
    return unit(row)


def unit(row: list[float]) -> list[float]:
    """The row divided by its length; the first axis for a row without one."""
    # fsum is rounded once, so that the same row comes out on every machine.
    length = math.sqrt(math.fsum(value * value for value in row))
    if length == 0:
        return [1.0] + [0.0] * (len(row) - 1)
    return [value / length for value in row]


def npy(rows: list[list[float]], dimension: int) -> bytes:
    """The rows as a .npy of version 1.0, little-endian float16.

    https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    head = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({len(rows)}, {dimension}), }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    body = b"".join(struct.pack(f"<{dimension}e", *row) for row in rows)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + body


def write_features(names: pathlib.Path, out: pathlib.Path, dimension: int) -> None:
    """One row for each line, for what follows its last tab, as an .npy file of float16."""
    rows = [hashed(line.rsplit("\t", 1)[-1], dimension) for line in names.read_text("utf-8").splitlines()]
    out.write_bytes(npy(rows, dimension))


def answer(question: dict, dimension: int) -> dict:
    """What an encoder says to one line."""
    if not isinstance(question.get("text"), str):
        return {"error": "only texts are encoded here"}
    if not any(True for _ in grams(question["text"])):
        return {"error": "there is no word in it"}
    return {"embedding": hashed(question["text"], dimension)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimension", type=int, default=DIMENSION)
    parser.add_argument("--features", nargs=2, type=pathlib.Path, metavar=("NAMES.txt", "OUT.npy"))
    arguments = parser.parse_args()
    if arguments.features:
        write_features(*arguments.features, arguments.dimension)
        return
    for line in sys.stdin:
        question = json.loads(line)
        reply = answer(question, arguments.dimension)
        if "id" in question:
            reply["id"] = question["id"]
        # Each answer at once: whoever asked waits for it.
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
