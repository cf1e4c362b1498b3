#!/usr/bin/env python3
"""K-means: tarn's, whose assignment is exact, and SuperKMeans of faiss-cpu, in turn in one run.

    bench_kmeans.py [--features DIR] [--rows 262144] [--nlist 16384] [--iterations 10] [--rounds 3]

tarn clusters pairs (paired k-means: images are assigned, centroids are means of captions). SuperKMeans has no pairs: it clusters
the images alone, spherical, from as many random rows, which is the easier work for it: centroids among the vectors prune best.
Both get the same images, all of them in every iteration, and all threads; faiss its best OPENBLAS_CORETYPE by a short trial.
Printed: medians of the seconds of all iterations and their ratio; tarn's first iteration, which has no guess, beside the mean of
the others, which begin with each image's last cell; and how many of tarn's winners of the last iteration are no winners by
binary64, of a sample: 0, or the script fails.

Features are enlarged by seeded jitter and brought to 768 dimensions, as bench_assign.py does.
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

from bench_assign import BENCH, CORES, Features, blas_kernels, unit

SAMPLE = 2048


class Worker:
    """A process that clusters anew for each line."""

    def __init__(self, command: list[object], **environ: str) -> None:
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ})
        self.blas = json.loads(self.process.stdout.readline())["blas"]

    def run(self, argument: object = "") -> dict:
        self.process.stdin.write(f"run {argument}".strip() + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def peer(options: argparse.Namespace) -> None:
    """SuperKMeans, once for each line on stdin."""
    import faiss
    images = np.load(options.peer).astype(np.float32)
    faiss.omp_set_num_threads(os.cpu_count())
    print(json.dumps({"state": "ready", "blas": blas_kernels()}), flush=True)
    for _ in sys.stdin:
        kmeans = faiss.SuperKmeans(
            images.shape[1], options.nlist, niter=options.iterations, spherical=True, seed=1,
            max_points_per_centroid=len(images), min_points_per_centroid=1)
        start = time.perf_counter()
        kmeans.train(images)
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


def best_core(command: list[object], scratch: pathlib.Path) -> dict[str, str]:
    """The environment in which the peer's OpenBLAS is fastest."""
    np.save(scratch / "trial.npy", unit(np.random.default_rng(3).standard_normal((16_384, 768))))
    rates = {}
    for core in CORES[None]:
        environ = {"OPENBLAS_CORETYPE": core} if core else {}
        try:
            worker = Worker([*command, "--peer", scratch / "trial.npy", "--nlist", 1024, "--iterations", 2], **environ)
            worker.run()
            rates[min(worker.run()["seconds"] for _ in range(2))] = worker.blas, environ
            worker.close()
        except json.JSONDecodeError:
            # Instructions that this CPU has not: it died of a signal.
            continue
    kernel, environ = rates[min(rates)]
    print(f"OpenBLAS of faiss-cpu: {kernel}")
    return environ


def wrong_winners(images: np.ndarray, place: pathlib.Path) -> int:
    """Of a sample of images, those whose cell another centroid beats in binary64."""
    rows = np.random.default_rng(4).permutation(len(images))[:SAMPLE]
    centroids = np.fromfile(f"{place}.centroids", np.float32).reshape(-1, images.shape[1]).astype(np.float64)
    scores = images[rows].astype(np.float64) @ centroids.T
    cells = np.fromfile(f"{place}.cells", np.uint32)[rows]
    return int((scores.max(axis=1) - scores[np.arange(len(rows)), cells] > 1e-12).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=262_144)
    parser.add_argument("--nlist", type=int, default=16_384)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("TARN_BENCH_ROUNDS", "3")))
    parser.add_argument("--peer", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options)
    try:
        import faiss
        assert hasattr(faiss, "SuperKmeans")
    except (ImportError, AssertionError):
        print("kmeans: no faiss-cpu with SuperKMeans is installed here; make bench installs it")
        return
    features = Features(options.features)
    with tempfile.TemporaryDirectory(prefix="tarn-bench-") as scratch:
        scratch = pathlib.Path(scratch)
        for kind, rows in (("images", features.images), ("captions", features.captions)):
            # One seed picks the same rows of both, so that they are pairs.
            np.save(scratch / f"{kind}.npy", features.more(rows, options.rows, seed=15).astype(np.float16))
        images = np.load(scratch / "images.npy")
        theirs = [sys.executable, "-B", __file__]
        sizes = ["--nlist", options.nlist, "--iterations", options.iterations]
        environ = best_core(theirs, scratch)
        tarn = Worker([BENCH, "kmeans", "--images", scratch / "images.npy", "--captions", scratch / "captions.npy", *sizes])
        faiss_worker = Worker([*theirs, "--peer", scratch / "images.npy", *sizes], **environ)
        ours, seconds = [], []
        for _ in range(options.rounds):
            ours.append(tarn.run(scratch / "last")["seconds"])
            seconds.append(faiss_worker.run()["seconds"])
        tarn.close()
        faiss_worker.close()
        wrong = wrong_winners(images, scratch / "last")
        took, theirs_took = statistics.median(map(sum, ours)), statistics.median(seconds)
        print(
            f"k-means of {options.rows} pairs, 768 dimensions, nlist {options.nlist}, {options.iterations} iterations, "
            f"{os.cpu_count()} threads, faiss-cpu {faiss.__version__}, {options.rounds} rounds\n"
            f"tarn, paired, exact: {took:.1f} s; SuperKMeans, images alone: {theirs_took:.1f} s; ratio {theirs_took / took:.2f}\n"
            f"tarn's first iteration {statistics.median(each[0] for each in ours):.2f} s, the mean of the others "
            f"{statistics.median(statistics.mean(each[1:]) for each in ours):.2f} s\n"
            f"wrong winners of {SAMPLE}: {wrong}")
        assert wrong == 0


if __name__ == "__main__":
    main()
