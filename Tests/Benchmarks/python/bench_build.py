#!/usr/bin/env python3
"""Building an index version: memory, disk, overlap with the download, and the recipe it replaces.

    bench_build.py [memory] [disk] [overlap] [peer]

Each part prints what it measured and the ratio. Everything is served by a real nginx on loopback; features are the
example features, enlarged by seeded jitter and normalised again, so the lists are as uneven as real ones. tarn and its
peer run in turn, A B A B, and medians are compared: a machine with other work on it says little otherwise.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import tool
from tool import tarn

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts"))
from webserver import Nginx  # noqa: E402

FEATURES = ROOT / "Examples" / "features"
DIMENSION = 512
ROUNDS = int(os.environ.get("TARN_BENCH_ROUNDS", "3"))


def example_images() -> np.ndarray:
    files = sorted((FEATURES / "img_emb").glob("*.npy"))
    return np.concatenate([np.load(file) for file in files]).astype(np.float32)


def write_shards(directory: pathlib.Path, shards: int, rows: int, seed: int = 7) -> None:
    """Shards of `rows` features each: examples with jitter of a third of a neighbour's distance."""
    directory.mkdir(parents=True)
    base = example_images()
    for ordinal in range(shards):
        random = np.random.default_rng([seed, ordinal])
        picked = base[random.integers(0, len(base), rows)]
        jittered = picked + random.standard_normal(picked.shape, dtype=np.float32) * (0.35 / np.sqrt(DIMENSION))
        jittered /= np.linalg.norm(jittered, axis=1, keepdims=True)
        np.save(directory / f"img_{ordinal:04}.npy", jittered.astype(np.float16))
    sizes = [f"{file.name}, {file.stat().st_size}" for file in sorted(directory.glob("*.npy"))]
    (directory / "sizes.txt").write_text("\n".join(sizes) + "\n")


class Bench:
    """A server with shards, and lakes that build from it."""

    def __init__(self, scratch: pathlib.Path, shards: int, rows: int, nlist: int) -> None:
        self.scratch, self.shards, self.rows, self.nlist = scratch, shards, rows, nlist
        self.root = scratch / "server"
        write_shards(self.root / "images", shards, rows)
        # The trained index is made once, by the control method; the build does not care how.
        self.template = scratch / "template"
        tarn("init", self.template)
        with Nginx(self.root) as server:
            self.register(self.template, server.url, name="images")
            tarn("sync", "-q", "--lake", self.template)
        print(f"  training nlist {nlist} …", flush=True)
        tarn(
            "train", "lists", "--images", "images", "--nlist", nlist, "--method", "kmeans", "--iterations", 2,
            "-q", "--lake", self.template)
        tarn("evict", "images", "--lake", self.template)
        shown = json.loads(tarn("show", "lists", "--json", "--lake", self.template))
        self.trained = pathlib.Path(shown["trained_index"][0]["file"])

    def register(self, lake: pathlib.Path, url: str, name: str) -> None:
        tarn(
            "source", "add", name, "--url", f"{url}/images/img_{{ordinal:04}}.npy", "--count", self.shards,
            "--dimension", DIMENSION, "--sizes", self.root / "images" / "sizes.txt", "--lake", lake)

    def lake(self, url: str) -> pathlib.Path:
        """A lake with the trained index and none of the shards."""
        lake = pathlib.Path(tempfile.mkdtemp(dir=self.scratch, prefix="lake-"))
        shutil.rmtree(lake)
        shutil.copytree(self.template, lake, ignore=shutil.ignore_patterns("shards"))
        (lake / "shards" / "images").mkdir(parents=True)
        self.register(lake, url, name="served")
        return lake

    def build(self, lake: pathlib.Path, *options: object) -> tuple[float, dict, int]:
        """Seconds, what it printed, and its peak resident bytes.

        The peak is the process's own word: what the kernel counts for a child includes the parent it was forked from.
        """
        start = time.monotonic()
        process = subprocess.Popen(
            [tool.TARN, "build", "b", "--trained", "lists", "--images", "served", "--json", "-q", "--lake", str(lake),
             *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, error = process.communicate()
        seconds = time.monotonic() - start
        if process.returncode != 0:
            raise SystemExit(f"tarn build failed: {error}")
        answer = json.loads(out)
        return seconds, answer, answer["peak_memory_bytes"]


def megabytes(count: float) -> str:
    return f"{count / 1e6:.0f} MB"


def memory(scratch: pathlib.Path) -> None:
    print("memory: peak resident bytes of a build, one output shard of 10 and of 40 feature shards")
    bench = Bench(scratch, shards=40, rows=40_000, nlist=4_096)
    trained = bench.trained.stat().st_size
    peaks = {}
    with Nginx(bench.root) as server:
        for count in (10, 40):
            lake = bench.lake(server.url)
            _, answer, peaks[count] = bench.build(lake, "--shards", f"0-{count - 1}", "--budget", "170MB")
            size = answer["outputs"][0]["bytes"]
            print(f"  {count} shards: peak {megabytes(peaks[count])}, output {megabytes(size)}")
            shutil.rmtree(lake)
    allowed = trained + (1 << 30)
    print(f"  trained index + 1 GiB = {megabytes(allowed)}; 40 shards / 10 shards = {peaks[40] / peaks[10]:.3f}")


def disk(scratch: pathlib.Path) -> None:
    print("disk: 40 shards built within a budget of three")
    bench = Bench(scratch, shards=40, rows=6_000, nlist=1_024)
    size = max(file.stat().st_size for file in (bench.root / "images").glob("*.npy"))
    budget = 3 * size
    with Nginx(bench.root) as server:
        lake = bench.lake(server.url)
        seen, done = [0], threading.Event()

        def sample() -> None:
            while not done.is_set():
                total = 0
                for file in (lake / "shards").rglob("*"):
                    try:
                        total += file.stat().st_size if file.is_file() else 0
                    except FileNotFoundError:
                        continue
                seen[0] = max(seen[0], total)
                time.sleep(0.002)

        sampler = threading.Thread(target=sample)
        sampler.start()
        bench.build(lake, "--budget", budget)
        done.set()
        sampler.join()
    print(f"  budget {megabytes(budget)}, most seen {megabytes(seen[0])}: {'kept' if seen[0] <= budget else 'BROKEN'}")
    if seen[0] > budget:
        raise SystemExit("the budget was exceeded")


def overlap(scratch: pathlib.Path) -> None:
    print("overlap: the server throttled so that the download takes about as long as the work")
    bench = Bench(scratch, shards=24, rows=12_500, nlist=16_384)
    with Nginx(bench.root) as server:
        work = []
        for _ in range(ROUNDS):
            lake = bench.lake(server.url)
            tarn("sync", "served", "-q", "--lake", lake)
            work.append(bench.build(lake, "--offline")[0])
            shutil.rmtree(lake)
    total = sum(file.stat().st_size for file in (bench.root / "images").glob("*.npy"))
    # nginx limits each connection, and there are two.
    rate = int(total / statistics.median(work) / 2)
    fetch, both = [], []
    with Nginx(bench.root, f"location / {{ root @root@; limit_rate {rate}; }}") as server:
        for _ in range(ROUNDS):
            lake = bench.lake(server.url)
            start = time.monotonic()
            tarn("sync", "served", "-q", "--jobs", 2, "--lake", lake)
            fetch.append(time.monotonic() - start)
            shutil.rmtree(lake)
            lake = bench.lake(server.url)
            both.append(bench.build(lake, "--jobs", 2)[0])
            shutil.rmtree(lake)
    longest = max(statistics.median(work), statistics.median(fetch))
    print(
        f"  work alone {statistics.median(work):.1f} s, download alone {statistics.median(fetch):.1f} s, "
        f"both {statistics.median(both):.1f} s = {statistics.median(both) / longest:.2f} x the longer")


PEER = r"""
import sys, time, urllib.request, pathlib, os
import faiss, numpy as np
trained, url, count, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
faiss.omp_set_num_threads(os.cpu_count())
index = faiss.read_index(trained)
first = 0
for ordinal in range(count):
    path = f"{out}.part.npy"
    urllib.request.urlretrieve(f"{url}/images/img_{ordinal:04}.npy", path)
    rows = np.load(path).astype(np.float32)
    index.add_with_ids(rows, np.arange(first, first + len(rows)))
    first += len(rows)
    os.unlink(path)
faiss.write_index(index, out)
"""


def peer(scratch: pathlib.Path) -> None:
    print("peer: the same recipe in Python: download, add with faiss-cpu, next")
    try:
        import faiss
    except ImportError:
        print("  faiss-cpu is not installed here; make bench installs it")
        return
    print(f"  faiss-cpu {faiss.__version__}, {os.cpu_count()} threads, nlist 16384, {DIMENSION} dimensions")
    bench = Bench(scratch, shards=8, rows=25_000, nlist=16_384)
    script = scratch / "peer.py"
    script.write_text(PEER)
    ours, theirs = [], []
    with Nginx(bench.root) as server:
        for _ in range(ROUNDS):
            lake = bench.lake(server.url)
            ours.append(bench.build(lake)[0])
            shutil.rmtree(lake)
            start = time.monotonic()
            subprocess.run(
                [sys.executable, str(script), str(bench.trained), server.url, str(bench.shards), str(scratch / "peer.faiss")],
                check=True)
            theirs.append(time.monotonic() - start)
    a, b = statistics.median(ours), statistics.median(theirs)
    rows = bench.shards * bench.rows
    print(f"  tarn {a:.1f} s ({rows / a:.0f} rows/s), Python {b:.1f} s ({rows / b:.0f} rows/s): ratio {b / a:.2f}")


def main() -> None:
    parts = {"memory": memory, "disk": disk, "overlap": overlap, "peer": peer}
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory(prefix="tarn-bench-", dir=os.environ.get("TARN_BENCH_DIR")) as scratch:
            parts[name](pathlib.Path(scratch))


if __name__ == "__main__":
    main()
