#!/usr/bin/env python3
"""Reading features out of parquet: tarn's reader and pyarrow on the same files, in turn in one run, one thread each.

    bench_parquet.py [--rows 100000] [--rounds 5] [--dir DIR]

Files are pyarrow's: lists of 512 floats or halfs, plain or of few values in a dictionary, not packed or snappy. Both
read a warm file of which nothing is known, and leave every row as numbers in memory; tarn also checks that each row has
the same length and no null. Ratios above 0.5 are what the documentation promises.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parents[3]
BENCH = pathlib.Path(os.environ.get("TARN_BENCH", ROOT / ".build" / "release" / "tarn-bench"))
DIMENSION = 512


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir")
    options = parser.parse_args()
    random = np.random.default_rng(31)
    values = random.standard_normal(options.rows * DIMENSION, dtype=np.float32)
    few = (values * 8).round() / 8
    offsets = pa.array(np.arange(0, values.size + 1, DIMENSION, dtype=np.int32))
    process = subprocess.Popen([BENCH, "parquet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(f"{options.rows} rows of {DIMENSION}, MB of values a second, median of {options.rounds} (tarn / pyarrow)")
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        path = pathlib.Path(directory, "features.parquet")
        for name, kind, dictionary, codec, version in (
                ("float32, plain", np.float32, False, "none", "1.0"), ("float32, plain", np.float32, False, "snappy", "1.0"),
                ("float32, plain, v2", np.float32, False, "snappy", "2.0"), ("float32, split", np.float32, None, "zstd", "1.0"),
                ("float32, dictionary", np.float32, True, "none", "1.0"), ("float32, dictionary", np.float32, True, "snappy", "1.0"),
                ("float16, plain", np.float16, False, "none", "1.0"), ("float64, plain", np.float64, False, "none", "1.0")):
            lists = pa.ListArray.from_arrays(offsets, pa.array((few if dictionary else values).astype(kind)))
            pq.write_table(
                pa.table({"emb": lists}), path, compression=codec, use_dictionary=bool(dictionary), data_page_version=version,
                column_encoding={"emb.list.element": "BYTE_STREAM_SPLIT"} if dictionary is None else None)
            ours, theirs = [], []
            for _ in range(options.rounds + 1):
                process.stdin.write(f"floats\t{path}\temb\n")
                process.stdin.flush()
                answer = json.loads(process.stdout.readline())
                ours.append(answer["seconds"])
                start = time.perf_counter()
                column = pq.read_table(path, columns=["emb"], use_threads=False)["emb"]
                rows = sum(len(chunk.values.to_numpy(zero_copy_only=False)) for chunk in column.chunks)
                theirs.append(time.perf_counter() - start)
                assert (answer["rows"], answer["dimension"], rows) == (options.rows, DIMENSION, values.size), answer
            # The first of each warms the file.
            tarn, arrow = (values.size * np.dtype(kind).itemsize / 1e6 / statistics.median(times[1:]) for times in (ours, theirs))
            print(f"  {name:<20} {codec:<7} {tarn:>7.0f} {arrow:>7.0f}  {tarn / arrow:.2f}", flush=True)
        print(f"  tarn's peak memory: {answer['peak_bytes'] / 1e6:.0f} MB")
    process.stdin.close()
    process.wait()


if __name__ == "__main__":
    main()
