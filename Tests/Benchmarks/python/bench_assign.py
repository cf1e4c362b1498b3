#!/usr/bin/env python3
"""Exact assignment: tarn's engine, OpenBLAS sgemm with argmax, and faiss-cpu, in turn in one run.

    bench_assign.py [--features DIR] [--nlist 1024,16384,65536,131072] [--data paired,plain,isotropic,laion] [--rounds 5]

All find the list with the greatest inner product for each of N vectors of 768 dimensions. Prints medians and ratios.
Winners of faiss-cpu are compared with tarn's; where they differ, binary64 says who is right.

Features: `image.npy` and `caption.npy` in DIR, or the example features; enlarged by seeded jitter, normalised, and
brought to 768 dimensions by a seeded orthogonal map, which changes no inner product.
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

ROOT = pathlib.Path(__file__).resolve().parents[3]
BENCH = pathlib.Path(os.environ.get("TARN_BENCH", ROOT / ".build" / "release" / "tarn-bench"))
DIMENSION = 768


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Features:
    """Real pairs, and as many more like them as are wanted."""

    def __init__(self, directory: pathlib.Path | None) -> None:
        if directory:
            self.images, self.captions = (np.load(directory / f"{kind}.npy").astype(np.float32) for kind in ("image", "caption"))
        else:
            base = ROOT / "Examples" / "features"
            self.images, self.captions = (
                np.concatenate([np.load(file) for file in sorted((base / folder).glob("*.npy"))]).astype(np.float32)
                for folder in ("img_emb", "text_emb"))
        random = np.random.default_rng(1)
        basis, _ = np.linalg.qr(random.standard_normal((DIMENSION, self.images.shape[1])))
        self.basis = basis.astype(np.float32)
        # Jitter of half the distance to the nearest neighbour keeps the spectrum and the clusters.
        sample = self.images[random.permutation(len(self.images))[:1500]]
        scores = sample @ self.images.T
        nearest = np.sort(scores, axis=1)[:, -2].mean()
        self.jitter = 0.5 * np.sqrt(2 - 2 * nearest)

    def more(self, of: np.ndarray, count: int, seed: int) -> np.ndarray:
        """Rows like those of `of`, jittered along the data's own directions."""
        random = np.random.default_rng(seed)
        picked = of[random.integers(0, len(of), count)]
        others = of[random.integers(0, len(of), count)] - of[random.integers(0, len(of), count)]
        others *= self.jitter / np.linalg.norm(others, axis=1, keepdims=True).clip(1e-6)
        return unit(unit(picked + others) @ self.basis.T)


def data(kind: str, features: Features, nlist: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Centroids [nlist x 768] and vectors [count x 768], both of unit length."""
    random = np.random.default_rng(nlist)
    if kind == "isotropic":
        return unit(random.standard_normal((nlist, DIMENSION))), unit(random.standard_normal((count, DIMENSION)))
    if kind == "laion":
        # A common mean, a falling spectrum and a few outlier dimensions.
        mean = random.standard_normal(DIMENSION) * 0.7 / np.sqrt(DIMENSION)
        scale = np.arange(1, DIMENSION + 1) ** -0.4
        scale[random.permutation(DIMENSION)[:4]] *= 6
        scale /= np.linalg.norm(scale)

        def rows(n: int) -> np.ndarray:
            return unit(mean + random.standard_normal((n, DIMENSION)) * scale * 0.7)
        return rows(nlist), rows(count)
    vectors = features.more(features.images, count, seed=11)
    if kind == "plain":
        # A centroid is a mean of a few vectors that are close.
        rows = features.more(features.images, 2 * nlist, seed=12)
        return unit(rows[:nlist] + 0.6 * features.more(features.images, nlist, seed=12)), vectors
    # Paired: centroids lie where captions are.
    return unit(features.more(features.captions, nlist, seed=13) + 0.5 * features.more(features.captions, nlist, seed=14)), vectors


class Tarn:
    def __init__(self, rows: pathlib.Path, queries: pathlib.Path, **environ: str) -> None:
        self.process = subprocess.Popen(
            [str(BENCH), "assign", "--rows", str(rows), "--queries", str(queries)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, **environ})
        self.engine = json.loads(self.process.stdout.readline())["engine"]

    def run(self, winners: pathlib.Path | None = None) -> dict:
        self.process.stdin.write(f"run {winners or ''}".strip() + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def sgemm(rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """OpenBLAS as a user would: products of a block of vectors, then argmax."""
    winners = np.empty(len(vectors), np.int64)
    block = max(1, (64 << 20) // (4 * len(rows)))
    for first in range(0, len(vectors), block):
        winners[first:first + block] = (vectors[first:first + block] @ rows.T).argmax(axis=1)
    return winners


def timed(body) -> tuple[float, object]:
    start = time.perf_counter()
    result = body()
    return time.perf_counter() - start, result


def compare(kind: str, nlist: int, features: Features, rounds: int, scratch: pathlib.Path) -> None:
    import faiss
    faiss.omp_set_num_threads(os.cpu_count())
    count = max(2048, min(65_536, (1 << 29) // nlist))
    rows, vectors = data(kind, features, nlist, count)
    paths = scratch / "rows.npy", scratch / "queries.npy"
    np.save(paths[0], rows)
    np.save(paths[1], vectors)
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(rows)
    tarn = Tarn(*paths)
    plain = Tarn(*paths, TARN_ENGINE="sgemm")
    times: dict[str, list[float]] = {"tarn": [], "tarn-sgemm": [], "sgemm": [], "faiss": []}
    cost = {}
    # The peers are slow at large nlist: they get a share of the vectors, and the rate is compared.
    share = vectors[:max(1024, count // 4)]
    theirs = None
    for _ in range(rounds):
        cost = tarn.run(scratch / "winners")
        times["tarn"].append(count / cost["seconds"])
        seconds, found = timed(lambda: index.search(share, 1))
        theirs = found[1][:, 0]
        times["faiss"].append(len(share) / seconds)
        seconds, _ = timed(lambda: sgemm(rows, share))
        times["sgemm"].append(len(share) / seconds)
        times["tarn-sgemm"].append(count / plain.run()["seconds"])
    tarn.close()
    plain.close()
    ours = np.fromfile(scratch / "winners", np.uint32)
    exact = rows.astype(np.float64)
    worse = sum(
        1 for i in np.flatnonzero(ours[:len(share)] != theirs)
        if exact[ours[i]] @ vectors[i].astype(np.float64) < exact[theirs[i]] @ vectors[i].astype(np.float64))
    rate = {name: statistics.median(values) for name, values in times.items()}
    effective = 2 * rate["tarn"] * nlist * DIMENSION / 1e9
    print(
        f"{kind:9}  {nlist:6}  {rate['tarn']:9.0f}  {rate['faiss']:8.0f}  {rate['sgemm']:8.0f}  {rate['tarn-sgemm']:10.0f}  "
        f"{rate['tarn'] / rate['faiss']:5.1f}x  {rate['tarn'] / rate['sgemm']:5.1f}x  {effective:9.0f}  "
        f"{cost['rescored'] / count:6.1f}  {cost['engine_bytes'] / 1e6:6.0f}  {worse}  {tarn.engine}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=pathlib.Path)
    parser.add_argument("--nlist", default="1024,16384,65536,131072")
    parser.add_argument("--data", default="paired,plain,laion,isotropic")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("TARN_BENCH_ROUNDS", "3")))
    options = parser.parse_args()
    try:
        import faiss
    except ImportError:
        print("assign: faiss-cpu is not installed here; make bench installs it")
        return
    print(f"exact assignment, {DIMENSION} dimensions, {os.cpu_count()} threads, faiss-cpu {faiss.__version__}, vectors per second")
    print(
        "data        nlist       tarn     faiss     sgemm  tarn-sgemm  /faiss  /sgemm  eff. GOPS  scores      MB  worse  engine")
    features = Features(options.features)
    with tempfile.TemporaryDirectory(prefix="tarn-bench-") as scratch:
        for kind in options.data.split(","):
            for nlist in map(int, options.nlist.split(",")):
                compare(kind, nlist, features, options.rounds, pathlib.Path(scratch))


if __name__ == "__main__":
    main()
