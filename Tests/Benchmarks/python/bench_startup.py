#!/usr/bin/env python3
"""What it costs to begin: a process of `tarn status` on a small lake, and what is loaded for it.

    bench_startup.py [--runs 30]

TARN is the binary; without it that of `make tool`, else of `make build`. Beside it in the
same run stand `sqlite3`, which opens the same catalog, and `true`, which does nothing: what a
process costs on this machine. Prints the size of the binary and the shared libraries that it
loads with their sizes, libcurl aside, which is loaded by what fetches. Fails when the median of `status` is 50 ms or more.
"""

import argparse
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILDS = [ROOT / build / "release" / "tarn" for build in (".build-static", ".build")]
TARGET = 0.050


def measure(command: list[str], runs: int) -> tuple[list[float], list[float]]:
    """Seconds of each run, and of CPU time in it; two before them warm the page cache."""
    seconds, busy = [], []
    for _ in range(runs + 2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return seconds[2:], busy[2:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    built = next((path for path in BUILDS if path.exists()), BUILDS[0])
    tarn = pathlib.Path(os.environ.get("TARN", built)).resolve()

    loaded = subprocess.run(["ldd", str(tarn)], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"(\S+) => (/\S+)", loaded)
    print(f"binary: {tarn.stat().st_size / 1e6:.1f} MB, {len(libraries)} shared libraries")
    for name, path in sorted(libraries):
        print(f"  {pathlib.Path(path).stat().st_size / 1e6:6.2f} MB  {name}")

    with tempfile.TemporaryDirectory(prefix="tarn-bench-") as directory:
        lake = f"{directory}/lake"
        subprocess.run([str(tarn), "init", lake], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            [str(tarn), "source", "add", "images", "--directory", str(ROOT / "Examples" / "features" / "img_emb"),
             "--modality", "image", "--lake", lake], check=True, stdout=subprocess.DEVNULL)
        commands = {
            "tarn status": [str(tarn), "status", "--lake", lake],
            "tarn init --help": [str(tarn), "init", "--help"],
            "true": ["true"],
        }
        if shutil.which("sqlite3"):
            commands["sqlite3"] = ["sqlite3", f"{lake}/catalog.sqlite", "SELECT count(*) FROM v_shard"]
        found = {name: measure(command, runs) for name, command in commands.items()}
    print(f"{'command':18} median ms    least     most   CPU ms   ({runs} runs)")
    for name, (seconds, busy) in found.items():
        print(f"{name:18} {statistics.median(seconds) * 1e3:9.1f} {min(seconds) * 1e3:8.1f} {max(seconds) * 1e3:8.1f} "
              f"{statistics.median(busy) * 1e3:8.1f}")
    median = statistics.median(found["tarn status"][0])
    word = "under" if median < TARGET else "NOT under"
    print(f"startup: {median * 1e3:.1f} ms, {word} {TARGET * 1e3:.0f} ms")
    return 0 if median < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
