#!/usr/bin/env python3
"""Work on many machines: what tasks and receipts cost.

    bench_cluster.py [overhead] [laion] [datacomp]

overhead   The same version by `tarn build`; by plan, one worker of all tasks and ingest; by plan, a worker for each task
           one after another and ingest; and by two workers at a time with a thread each; in turn on the same cores.
           Targets: 1.05 and, of the last, 1.10 of the build.
laion      The catalog's side at LAION-2B's size, 2,314 shards of 58 outputs and 2.17 billion rows, without bytes: plan,
           receipts, ingest, seal, show; target: 60 s. Results are sparse files that are not read.
datacomp   Likewise at DataComp-1B's number of files, 76,000 of 1,900 outputs.
"""

import hashlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from tool import tarn

ROOT = pathlib.Path(__file__).resolve().parents[3]
BENCH = pathlib.Path(os.environ.get("TARN_BENCH", ROOT / ".build" / "release" / "tarn-bench"))
ROUNDS = int(os.environ.get("TARN_BENCH_ROUNDS", "3"))
DIMENSION = 768


def unit_rows(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def trained_lake(scratch: pathlib.Path, nlist: int, rows: int) -> pathlib.Path:
    """A lake with a trained index over a small source of its own."""
    (scratch / "small").mkdir(parents=True)
    np.save(scratch / "small" / "rows_0.npy", unit_rows(rows, 1))
    lake = scratch / "lake"
    tarn("init", lake)
    tarn("source", "add", "small", "--url", f"file://{scratch}/small/rows_{{ordinal}}.npy", "--count", 1, "--lake", lake)
    tarn("sync", "-q", "--lake", lake)
    tarn("train", "clip", "--images", "small", "--method", "kmeans", "--nlist", nlist, "--iterations", 1, "-q",
         "--lake", lake)
    return lake


# What a worker writes, of results that are nothing but holes.

def receipt(task: dict, digest: str, result: str) -> tuple[str, int]:
    rows = sum(entry["rows"] for entry in task["inputs"])
    size = rows * (DIMENSION // 2 + 8) + 1_000_000
    text = json.dumps({
        "format": "tarn-receipt-1", "task_sha256": digest, "tool": "tarn 0", "host": "simulated",
        "started_at": "2026-01-01T00:00:00.000Z", "ended_at": "2026-01-01T01:00:00.000Z",
        "segment_format": task["segment_format"],
        "inputs": [
            {"ordinal": entry["ordinal"], "sha256": hashlib.sha256(entry["shard"].encode()).hexdigest(),
             "bytes": entry["bytes"], "rows": entry["rows"], "bad_rows": 0, "place": 0} for entry in task["inputs"]],
        "result": {"sha256": result, "bytes": size, "rows": rows, "lists_sha256": digest},
    }, sort_keys=True, separators=(",", ":"))
    return text, size


def pretend_to_work(tasks: pathlib.Path) -> None:
    for path in sorted((tasks / "tasks").iterdir()):
        number, digest, _ = path.name.split(".")
        result = hashlib.sha256(digest.encode()).hexdigest()
        text, size = receipt(json.loads(path.read_text()), digest, result)
        with open(tasks / "results" / f"{number}.{result}.faiss", "wb") as file:
            file.truncate(size)
        (tasks / "receipts" / f"{number}.{hashlib.sha256(text.encode()).hexdigest()}.json").write_text(text)


def simulation(name: str, shards: int, rows: int, shards_per_output: int, target: float) -> None:
    with tempfile.TemporaryDirectory(prefix="tarn-bench-", dir=os.environ.get("TMPDIR")) as directory:
        scratch = pathlib.Path(directory)
        lake = trained_lake(scratch, 16, 256)
        lines = "".join(
            f"img_emb_{i}.npy, {rows * DIMENSION * 2 + 128}, {rows}\n" for i in range(shards))
        (scratch / "sizes.txt").write_text(lines)
        tarn("source", "add", "images", "--url", "https://host.example/img_emb/img_emb_{ordinal}.npy", "--count", shards,
             "--dimension", DIMENSION, "--dtype", "float16", "--modality", "image", "--sizes", scratch / "sizes.txt",
             "--lake", lake)
        tasks = scratch / "tasks"
        seconds: dict[str, float] = {}

        def timed(step: str, body) -> str:
            started = time.monotonic()
            result = body()
            seconds[step] = time.monotonic() - started
            return result

        timed("plan", lambda: tarn(
            "plan", "build", "big", "--trained", "clip", "--images", "images", "--shards-per-output", shards_per_output,
            "--tasks", tasks, "--lake", lake))
        pretend_to_work(tasks)

        def ingest() -> str:
            done = subprocess.run([str(BENCH), "ingest", "--lake", str(lake), "--tasks", str(tasks)],
                                  capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(done.stderr)
            return done.stdout

        outcome = json.loads(timed("ingest and seal", ingest))
        if not outcome["sealed"]:
            raise SystemExit(f"not sealed: {outcome}")
        timed("show", lambda: tarn("show", "big@1", "--json", "--lake", lake))
        timed("status", lambda: tarn("status", "--lake", lake))
        total = sum(seconds.values())
        parts = ", ".join(f"{step} {value:.2f} s" for step, value in seconds.items())
        print(f"{name}: {shards} shards, {outcome['recorded']} tasks, {shards * rows / 1e9:.2f} billion rows: {parts}; "
              f"{total:.1f} s in all (target {target:.0f} s: {'held' if total < target else 'MISSED'})")


def overhead() -> None:
    with tempfile.TemporaryDirectory(prefix="tarn-bench-", dir=os.environ.get("TMPDIR")) as directory:
        scratch = pathlib.Path(directory)
        # Tasks of seconds, where those of a plan take hours: what a task costs besides its work shows all the more.
        base = trained_lake(scratch, 8192, 16384)
        (scratch / "images").mkdir()
        for ordinal in range(16):
            np.save(scratch / "images" / f"img_{ordinal}.npy", unit_rows(60_000, 100 + ordinal))
        tarn("source", "add", "images", "--url", f"file://{scratch}/images/img_{{ordinal}}.npy", "--count", 16,
             "--modality", "image", "--lake", base)
        arguments = ("--trained", "clip", "--images", "images", "--shards-per-output", 4)
        times: dict[str, list[float]] = {"build": [], "crew": [], "each": [], "two": []}
        digests = set()
        for round in range(ROUNDS):
            for way in times:
                # The same lake each time: a version's digest names it.
                lake = scratch / "lake-now"
                shutil.rmtree(lake, ignore_errors=True)
                shutil.copytree(base, lake)
                tarn("doctor", "--copied", "--lake", lake)
                tasks = scratch / "tasks"
                shutil.rmtree(tasks, ignore_errors=True)
                started = time.monotonic()
                if way == "build":
                    tarn("build", "v", *arguments, "-q", "--lake", lake)
                elif way != "two":
                    tarn("plan", "build", "v", *arguments, "--tasks", tasks, "--lake", lake)
                    for numbers in ["0-3"] if way == "crew" else range(4):
                        tarn("worker", tasks, "--task", numbers, "-q")
                    tarn("ingest", tasks, "--recheck", 0, "--lake", lake)
                else:
                    tarn("build", "v", *arguments, "-q", "--executor", "local:2", "--lake", lake, TARN_THREADS="1")
                times[way].append(time.monotonic() - started)
                digests.add(json.loads(tarn("show", "v@1", "--json", "--lake", lake))["version"][0]["sha256"])
        assert len(digests) == 1, digests
        build = statistics.median(times["build"])
        for way, text, target in (("crew", "plan, one worker of four tasks, ingest", 1.05),
                                  ("each", "plan, a worker for each task, ingest", None),
                                  ("two", "two workers of one thread each", 1.10)):
            ratio = statistics.median(b / a for a, b in zip(times["build"], times[way]))
            verdict = "" if target is None else f" (target {target:.2f}: {'held' if ratio <= target else 'MISSED'})"
            print(f"{text}: {statistics.median(times[way]):.2f} s, a build {build:.2f} s, ratio {ratio:.3f}{verdict}; "
                  f"one digest")


def main() -> None:
    chosen = sys.argv[1:] or ["overhead", "laion", "datacomp"]
    if "overhead" in chosen:
        overhead()
    if "laion" in chosen:
        simulation("LAION-2B", 2_314, 938_000, 40, 60)
    if "datacomp" in chosen:
        simulation("DataComp-1B", 76_000, 18_000, 40, 60)


if __name__ == "__main__":
    main()
