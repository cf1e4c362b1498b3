#!/usr/bin/env python3
"""Two builds of tarn, in turn in one run: whether a change cost speed.

    compare.py BEFORE AFTER [--parts assign,search,build,fetch,catalog] [--rounds 3] [--features DIR]

BEFORE and AFTER are directories with `tarn` and `tarn-bench`, such as `.build/release` of two checkouts. Each round
measures the one and then the other on the same data; printed are medians and the ratio of the newer to the older (above 1: faster).

  assign   bench_assign's paired data at 16,384 lists, vectors a second
  search   bench_search's file, batches of 1 and of 1,000 on two threads, queries a second
  build    bench_build's peer case without the peer: 8 shards of 25,000 rows, 16,384 lists, rows a second
  fetch    bench_fetch's case: 8 x 256 MiB from nginx, MB a second
  catalog  a million shards; whole views and single questions, each a second's worth
"""

import argparse
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

import bench_assign
import bench_build
import bench_catalog
import bench_fetch
import bench_search
import numpy as np
import tool

QUESTIONS = {
    "status": ["status"],
    "versions": ["versions"],
    "v_shard": ["sql", "SELECT count(*), max(source), max(shard), max(sha256), max(url) FROM v_shard"],
    "v_version_input": ["sql", "SELECT count(*), max(shard), max(sha256), sum(is_present) FROM v_version_input"],
    "v_garbage": ["sql", "SELECT count(*), max(sha256), max(unused_since) FROM v_garbage"],
}


class Measured:
    """Rates of the older and the newer build, round by round."""

    def __init__(self, builds: list[pathlib.Path], rounds: int) -> None:
        self.builds, self.rounds = builds, rounds

    def say(self, what: str, unit: str, measure) -> None:
        """Prints the medians of `measure(build)`, a rate: more is better."""
        rates: list[list[float]] = [[], []]
        for _ in range(self.rounds):
            for build, own in zip(self.builds, rates):
                own.append(measure(build))
        before, after = map(statistics.median, rates)
        print(f"{what:24} {before:12.4g} {after:12.4g} {unit:10} {after / before:6.3f}", flush=True)


def assign(measured: Measured, features: pathlib.Path | None, scratch: pathlib.Path) -> None:
    rows, vectors = bench_assign.data("paired", bench_assign.Features(features), 16_384, 32_768)
    np.save(scratch / "rows.npy", rows)
    np.save(scratch / "queries.npy", vectors)
    processes = {}
    for build in measured.builds:
        bench_assign.BENCH = build / "tarn-bench"
        processes[build] = bench_assign.Bench("assign", scratch / "rows.npy", scratch / "queries.npy")
        processes[build].run()  # prepares the rows
    measured.say("assign paired:16384", "vectors/s", lambda build: processes[build].rate())
    for process in processes.values():
        process.close()


def search(measured: Measured, features: pathlib.Path | None, scratch: pathlib.Path) -> None:
    made = bench_search.Features(features)
    bench_search.write_index(scratch / "index.faiss", made, 2_000_000)
    np.save(scratch / "queries.npy", made.more(made.captions, 1000, seed=31))
    processes = {}
    for build in measured.builds:
        bench_search.BENCH = build / "tarn-bench"
        processes[build] = bench_search.Tarn(scratch / "index.faiss", scratch / "queries.npy")
    for batch, count in ((1, 400), (1000, 4000)):
        measured.say(
            f"search batch {batch}", "queries/s", lambda build: count / processes[build].search(batch, count, 2)["seconds"])
    for process in processes.values():
        process.close()


def build(measured: Measured, _: pathlib.Path | None, scratch: pathlib.Path) -> None:
    # A lake of the older build's; the newer migrates its copy.
    tool.TARN = str(measured.builds[0] / "tarn")
    bench = bench_build.Bench(scratch, shards=8, rows=25_000, nlist=16_384)
    with bench_build.Nginx(bench.root) as server:
        def rate(build: pathlib.Path) -> float:
            tool.TARN = str(build / "tarn")
            lake = bench.lake(server.url)
            seconds = bench.build(lake)[0]
            shutil.rmtree(lake)
            return bench.shards * bench.rows / seconds
        measured.say("build peer", "rows/s", rate)


def fetch(measured: Measured, _: pathlib.Path | None, scratch: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(prefix="tarn-bench-", dir="/dev/shm") as memory:
        served, out = pathlib.Path(memory, "served"), pathlib.Path(memory, "out")
        served.mkdir()
        bench_fetch.make_shards(served, 8, 256 << 20)
        total = sum(path.stat().st_size for path in served.iterdir())
        with bench_fetch.Nginx(served, "location / { root @root@; sendfile on; autoindex on; }") as server:
            def rate(build: pathlib.Path) -> float:
                tool.TARN = str(build / "tarn")
                return total / bench_fetch.run_once(bench_fetch.commands(server.url, out, 8)["tarn"], out, total)[0] / 1e6
            measured.say("fetch 8 x 256 MiB", "MB/s", rate)


def catalog(measured: Measured, _: pathlib.Path | None, scratch: pathlib.Path) -> None:
    lakes = {}
    for build in measured.builds:
        tool.TARN = str(build / "tarn")
        lakes[build] = scratch / f"lake-{len(lakes)}"
        bench_catalog.make_lake(lakes[build], 1_000_000, 100)
        began = time.perf_counter()
        bench_catalog.seconds(["pin", "laion-00@1", "--reason", "benchmark"], lakes[build])
        print(f"{'':24} migration of {build}: {time.perf_counter() - began:.1f} s", flush=True)
    for name, command in QUESTIONS.items():
        def rate(build: pathlib.Path, command: list[str] = command) -> float:
            tool.TARN = str(build / "tarn")
            return 1 / min(bench_catalog.seconds(command, lakes[build]) for _ in range(2))
        measured.say(f"catalog {name}", "1/s", rate)


PARTS = {"assign": assign, "search": search, "build": build, "fetch": fetch, "catalog": catalog}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=pathlib.Path)
    parser.add_argument("after", type=pathlib.Path)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--features", type=pathlib.Path)
    options = parser.parse_args()
    builds = [options.before.resolve(), options.after.resolve()]
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds, medians")
    print(f"{'':24} {'before':>12} {'after':>12} {'':10} {'ratio':>6}")
    for part in options.parts.split(","):
        with tempfile.TemporaryDirectory(prefix="tarn-bench-") as scratch:
            PARTS[part](Measured(builds, options.rounds), options.features, pathlib.Path(scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
