#!/usr/bin/env python3
"""A build with as many lists as LAION's index has: memory and rate at full-size shards.

    bench_lists.py [--nlist 131072] [--rows 937000] [--shards 1] [--features DIR]

A shard of LAION-2B has 937,000 rows of 768 dimensions. Memory is what the process has for itself (anonymous) at most, looked at
twenty times a second; it is to be at most that of the trained index and 700 MB. Pages of mapped files are told beside it. Features
are enlarged by seeded jitter and brought to 768 dimensions, as bench_assign.py does; the lists are of one iteration of k-means.
"""

import argparse
import os
import pathlib
import tempfile

import numpy as np

from bench_assign import Features
from step import Step
from tool import tarn

ROOM = 700 << 20
BLOCK = 65_536


def write_rows(path: pathlib.Path, of: np.ndarray, features: Features, rows: int, seed: int) -> None:
    """Rows like those of `of`, an .npy of float16, block by block: a shard in float32 has no room here. Rows of
    images and of captions that are made with one seed are pairs."""
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, 768))
    for block, first in enumerate(range(0, rows, BLOCK)):
        count = min(BLOCK, rows - first)
        file[first:first + count] = features.more(of, count, seed=seed * 1000 + block)
    file.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=pathlib.Path)
    parser.add_argument("--nlist", type=int, default=131_072)
    parser.add_argument("--rows", type=int, default=937_000)
    parser.add_argument("--shards", type=int, default=1)
    options = parser.parse_args()
    features = Features(options.features)
    with tempfile.TemporaryDirectory(prefix="tarn-bench-") as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "shards").mkdir()
        for number in range(options.shards):
            write_rows(scratch / "shards" / f"img_{number:04}.npy", features.images, features, options.rows, seed=21 + number)
        lake = scratch / "lake"
        tarn("init", lake)
        Step(lake, "source", "add", "images", "--directory", scratch / "shards")
        Step(lake, "sync", "--quiet")
        pairs = min(options.rows * options.shards, options.nlist * 9 // 8)
        Step(lake, "train", "t", "--images", "images", "--method", "kmeans", "--nlist", options.nlist, "--iterations", 1,
             "--pairs", pairs, "--quiet")
        (index,) = (scratch / "lake" / "artifacts" / "trained").rglob("*.faiss")
        build = Step(lake, "build", "v", "--trained", "t", "--images", "images", "--quiet")
        seconds, anonymous, mapped = build.seconds, build.anonymous, build.mapped
        most = index.stat().st_size + ROOM
        rows = options.rows * options.shards
        print(f"build of {options.shards} shards of {options.rows} x 768, nlist {options.nlist}, {os.cpu_count()} threads: "
              f"{seconds:.0f} s, {rows / seconds:.0f} rows/s")
        print(f"anonymous memory {anonymous / 1e6:.0f} MB at most, of the trained index's {index.stat().st_size / 1e6:.0f} MB "
              f"and {ROOM / 1e6:.0f} MB: {most / 1e6:.0f} MB; mapped files {mapped / 1e6:.0f} MB")
        assert anonymous <= most, f"{anonymous / 1e6:.0f} MB is more than {most / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
