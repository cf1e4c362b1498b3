#!/usr/bin/env python3
"""Fetching against curl, aria2 and rclone, in one run on one machine.

    bench_fetch.py [--files 8] [--size 256MiB] [--rounds 3] [--directory DIR]

Serves random feature shards from a local nginx and fetches all of them with each
tool in turn, over and over (A B C D A B C D …), so that what else the machine does
falls on all of them alike. Printed are the medians, the ratios to tarn and the CPU
seconds. tarn alone computes SHA-256 and syncs what it wrote; the others do neither.

Then tarn fetches over a loopback that `tc` shapes to 200 Mbit/s, in a network namespace
of its own: what share of the link carries payload.

Only ratios within one run mean something. Tools that are missing come from Debian's
packages, or are left out where that does not work.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import tool

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts"))
from webserver import Nginx  # noqa: E402

DIMENSION = 768
# What the fetcher is to reach, as a multiple of each tool's rate.
TARGETS = {"curl": 1.2, "aria2": 1.5, "rclone": 0.7}


def byte_count(text: str) -> int:
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    for unit, scale in units.items():
        if text.endswith(unit):
            return int(text.removesuffix(unit)) * scale
    return int(text)


def make_shards(directory: pathlib.Path, files: int, size: int) -> None:
    rows = (size - 128) // (2 * DIMENSION)
    header = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, {DIMENSION}), }}"
    header = (header.ljust(117) + "\n").encode()
    noise = os.urandom(1 << 20)
    for ordinal in range(files):
        left = rows * 2 * DIMENSION
        with open(directory / f"{ordinal}.npy", "wb") as file:
            file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
            while left > 0:
                # Each piece begins with its own place, so that no two are the same.
                piece = (f"{ordinal} {left}".encode().ljust(64) + noise)[: min(left, 1 << 20)]
                file.write(piece)
                left -= len(piece)


def commands(url: str, out: pathlib.Path, files: int) -> dict[str, list[list[str]]]:
    """What each tool is asked to run; the last command is the one that is timed."""
    names = [f"{ordinal}.npy" for ordinal in range(files)]
    lists = out.parent / "urls.txt"
    lists.write_text("".join(f"{url}/{name}\n" for name in names))
    lake = out / "lake"
    return {
        "tarn": [
            [tool.TARN, "init", str(lake)],
            [tool.TARN, "source", "add", "bench", "--url", url + "/{ordinal}.npy", "--count", str(files),
             "--dimension", str(DIMENSION), "--lake", str(lake)],
            [tool.TARN, "sync", "--jobs", "4", "--quiet", "--lake", str(lake)],
        ],
        "curl": [["curl", "--silent", "--fail", "--parallel", "--parallel-max", "4", "--output-dir", str(out),
                  "--remote-name-all", *(f"{url}/{name}" for name in names)]],
        "aria2": [["aria2c", "--quiet", "-x1", "-j4", "--file-allocation=none", "--no-conf", "-d", str(out),
                   "-i", str(lists)]],
        "rclone": [["rclone", "copy", "--transfers", "4", "--http-url", url, "--config", os.devnull, ":http:", str(out)]],
    }


def run_once(steps: list[list[str]], out: pathlib.Path, total: int) -> tuple[float, float]:
    """Wall and CPU seconds of the last command."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for step in steps[:-1]:
        subprocess.run(step, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    begin = time.monotonic()
    # curl draws its progress in parallel mode even when it is told to be silent.
    process = subprocess.Popen(
        steps[-1], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    if status != 0:
        sys.exit(f"{steps[-1][0]} ended with status {status}")
    got = sum(path.stat().st_size for path in out.rglob("*.npy"))
    if got != total:
        sys.exit(f"{steps[-1][0]} brought {got} of {total} bytes")
    return seconds, usage.ru_utime + usage.ru_stime


def hash_seconds(total: int) -> float:
    """CPU seconds that SHA-256 alone takes for so many bytes, as OpenSSL does it."""
    import hashlib

    piece = os.urandom(1 << 20)
    begin = time.process_time()
    for _ in range(256):
        hashlib.sha256(piece).digest()
    return (time.process_time() - begin) * total / (256 << 20)


LINK_MBIT = 200


def link_share(files: int, size: int, directory: str) -> float | None:
    """Payload over what the shaped link carries in the time; None where it cannot be shaped."""
    shape = (
        "ip link set lo up && "
        f"tc qdisc add dev lo root tbf rate {LINK_MBIT}mbit burst 256kb latency 50ms && "
        f"exec {sys.executable} -B {__file__} --on-link --files {files} --size {size} --directory {directory}")
    # As another root of a user namespace nginx could not give its files away.
    own = "-n" if os.geteuid() == 0 else "-rn"
    done = subprocess.run(["unshare", own, "sh", "-c", shape], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"bench: the link cannot be shaped here: {done.stderr.strip()[-200:]}", file=sys.stderr)
        return None
    return float(done.stdout)


def on_link(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="tarn-bench-", dir=options.directory) as scratch:
        served, out = pathlib.Path(scratch, "served"), pathlib.Path(scratch, "out")
        served.mkdir()
        make_shards(served, options.files, options.size)
        total = sum(path.stat().st_size for path in served.iterdir())
        with Nginx(served, "location / { root @root@; sendfile on; }") as server:
            seconds, _ = run_once(commands(server.url, out, options.files)["tarn"], out, total)
        print(total * 8 / seconds / (LINK_MBIT * 1e6))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--size", type=byte_count, default=256 << 20)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("TARN_BENCH_ROUNDS", "3")))
    parser.add_argument("--directory", default="/dev/shm", help="where the shards are served from and fetched to")
    parser.add_argument("--no-install", action="store_true", help="leave out a tool that is missing")
    parser.add_argument("--tools", default="tarn,curl,aria2,rclone")
    parser.add_argument("--on-link", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.on_link:
        return on_link(options)
    programs = {"tarn": tool.TARN, "curl": "curl", "aria2": "aria2c", "rclone": "rclone"}
    wanted = options.tools.split(",")
    missing = [name for name in wanted if name != "tarn" and shutil.which(programs[name]) is None]
    if missing and not options.no_install and shutil.which("apt-get"):
        privilege = [] if os.geteuid() == 0 else ["sudo", "-n"]
        install = [*privilege, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(install, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        missing = [name for name in missing if shutil.which(programs[name]) is None]
    for name in missing:
        print(f"bench: {name} is not installed and left out", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="tarn-bench-", dir=options.directory) as scratch:
        served, out = pathlib.Path(scratch, "served"), pathlib.Path(scratch, "out")
        served.mkdir()
        make_shards(served, options.files, options.size)
        total = sum(path.stat().st_size for path in served.iterdir())
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in wanted if name not in missing}
        with Nginx(served, "location / { root @root@; sendfile on; autoindex on; }") as server:
            for _ in range(options.rounds):
                for name in times:
                    times[name].append(run_once(commands(server.url, out, options.files)[name], out, total))
    print(f"{options.files} x {options.size >> 20} MiB, {options.rounds} rounds, medians; "
          f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, in {options.directory}")
    median = {name: statistics.median(wall for wall, _ in runs) for name, runs in times.items()}
    cpu = {name: statistics.median(seconds for _, seconds in runs) for name, runs in times.items()}
    print("tool     seconds   MB/s  CPU s  tarn is")
    results = []
    for name in times:
        # Round by round: the load that both met was the same.
        ratio = statistics.median(
            other[0] / own[0] for own, other in zip(times.get("tarn", times[name]), times[name]))
        target = TARGETS.get(name)
        verdict = "" if target is None else f"{ratio:.2f}x (target {target}x)"
        print(f"{name:7}  {median[name]:7.2f}  {total / median[name] / 1e6:5.0f}  {cpu[name]:5.2f}  {verdict}")
        results.append({"tool": name, "seconds": median[name], "cpu_seconds": cpu[name], "tarn_ratio": ratio})
    if "tarn" in cpu:
        hashing = hash_seconds(total)
        print(f"SHA-256 alone takes {hashing:.2f} s of CPU; tarn without it {cpu['tarn'] - hashing:.2f} s")
    share = link_share(4, 64 << 20, options.directory)
    if share is not None:
        print(f"on a link of {LINK_MBIT} Mbit/s (tc tbf): {share:.3f} of it is payload (target 0.98)")
    print(json.dumps({"bench": "fetch", "bytes": total, "results": results, "link_share": share}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
