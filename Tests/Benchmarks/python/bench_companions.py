#!/usr/bin/env python3
"""Columns of rows out of a pack: a million rows of parquet packed, then single ones found, beside pyarrow's own reading.

    bench_companions.py [--rows 1000000] [--shards 4] [--rounds 5] [--dir DIR]

A lake of small features with a companion of urls, captions, numbers and a nested column. `locate --columns` is asked for 10
and for 10,000 random rows, in a process of its own each time, so that times hold the start of the tool; what `locate` takes without
columns is shown beside. Every value is compared. `search --where` looks at every row. Bounds: 10 rows below 20 ms and 10,000 below 2 s more than without columns, peak memory
of every command below 200 MB. Cold is after the kernel was told to drop the packs' pages.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tool

COLUMNS = ("url", "caption", "width", "similarity")


# The kernel counts for a child what it was forked from: this one is small, and measures.
MEASURE = """
import os, sys, time
start = time.perf_counter()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - start
with open(sys.argv[1], "w") as file:
    file.write(f"{os.waitstatus_to_exitcode(status)} {seconds} {usage.ru_maxrss * 1024}")
"""


def run(lake, *arguments):
    """Runs tarn; gives its output, seconds and peak bytes."""
    with tempfile.NamedTemporaryFile("r") as told:
        done = subprocess.run(
            [sys.executable, "-S", "-c", MEASURE, told.name, tool.TARN, *map(str, arguments)], env={**os.environ, "TARN_LAKE": str(lake)},
            stdout=subprocess.PIPE, check=True)
        code, seconds, peak = told.read().split()
    assert code == "0", (arguments, code)
    return done.stdout, float(seconds), int(peak)


def drop(lake):
    """Tells the kernel to drop the pages of every pack."""
    for path in (lake / "artifacts" / "packs").rglob("*.pack"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir")
    options = parser.parse_args()
    random = np.random.default_rng(18)
    count = options.rows // options.shards
    words = np.array([f"word{number}" for number in range(5000)])
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        base = pathlib.Path(directory)
        lake = base / "lake"
        (base / "features").mkdir()
        (base / "meta").mkdir()
        tables = []
        for shard in range(options.shards):
            rows = random.standard_normal((count, 4), dtype=np.float32)
            np.save(base / "features" / f"img_{shard}.npy", rows / np.linalg.norm(rows, axis=1, keepdims=True))
            text = words[random.integers(0, len(words), (count, 8))]
            table = pa.table({
                "url": [f"https://host{row % 97}.example/{shard}/{row:09x}.jpg" for row in range(count)],
                "caption": [" ".join(line) for line in text],
                "width": random.integers(1, 4000, count), "similarity": random.random(count),
                "boxes": [[1.0, 2.0]] * count,
            })
            pq.write_table(table, base / "meta" / f"meta_{shard}.parquet")
            tables.append(table)
        run(lake, "init", lake)
        run(lake, "source", "add", "images", "--directory", base / "features")
        run(lake, "source", "add", "meta", "--companion-of", "images", "--directory", base / "meta")
        run(lake, "sync", "--quiet")
        run(lake, "train", "t", "--images", "images", "--method", "kmeans", "--nlist", "16", "--pairs", "20000", "--quiet")
        run(lake, "build", "v", "--trained", "t", "--images", "images", "--quiet")
        _, seconds, peak = run(lake, "pack", "meta", "--quiet")
        bytes_packed = sum(path.stat().st_size for path in (lake / "artifacts" / "packs").rglob("*.pack"))
        bytes_parquet = sum(path.stat().st_size for path in (base / "meta").iterdir())
        print(f"{options.rows} rows packed in {seconds:.1f} s, {bytes_packed / 1e6:.0f} MB of {bytes_parquet / 1e6:.0f} MB of parquet, "
              f"peak {peak / 1e6:.0f} MB")
        worst = peak
        for hits, bound in ((10, 0.020), (10_000, 2.0)):
            ids = random.integers(0, count * options.shards, hits)
            np.save(base / "ids.npy", ids.astype(np.int64))
            plain = ["locate", "v@1", "--ids", base / "ids.npy", "--format", "jsonl"]
            asked = plain + ["--columns", ",".join(COLUMNS)]
            drop(lake)
            output, cold, peak = run(lake, *asked)
            worst = max(worst, peak)
            for line, number in zip(output.splitlines(), ids):
                values = json.loads(line)["columns"]
                shard, row = divmod(int(number), count)
                expected = {name: tables[shard][name][row].as_py() for name in COLUMNS}
                assert values == expected, (number, values, expected)
            warm, bare = ([run(lake, *arguments)[1] for _ in range(options.rounds)] for arguments in (asked, plain))
            own = statistics.median(warm) - statistics.median(bare)
            start = time.perf_counter()
            for shard in range(options.shards):
                chosen = ids[ids // count == shard] % count
                pq.read_table(base / "meta" / f"meta_{shard}.parquet", columns=list(COLUMNS)).take(chosen)
            arrow = time.perf_counter() - start
            print(f"  {hits:>6} random rows: {1e3 * own:.1f} ms warm beyond locate's {1e3 * statistics.median(bare):.1f} ms, "
                  f"{1e3 * (cold - statistics.median(bare)):.1f} ms cold; pyarrow reads the columns whole in {1e3 * arrow:.0f} ms")
            assert own < bound, f"{hits} rows took {own:.3f} s"
        ids = random.standard_normal((1, 4)).astype(np.float32)
        np.save(base / "query.npy", ids)
        for condition in ("width >= 3000", "width >= 512 AND (similarity > 0.5 OR url LIKE 'https://host1%') AND NOT caption CONTAINS 'word7'"):
            plain = ["search", "v@1", "--queries", base / "query.npy", "--nprobe", "16", "--json"]
            output, seconds, peak = run(lake, *plain, "--where", condition)
            worst = max(worst, peak)
            assert len(json.loads(output)["ids"]) == 10
            bare = run(lake, *plain)[1]
            print(f"  --where {condition}: {seconds - bare:.2f} s beyond the search's {bare:.2f} s")
        print(f"  peak memory of any of these: {worst / 1e6:.0f} MB")
        assert worst < 200e6, worst


if __name__ == "__main__":
    main()
