#!/usr/bin/env python3
"""Exact assignment: tarn's engine, FAISS of two ages, and OpenBLAS sgemm with argmax, in turn in one run.

    bench_assign.py [--features DIR] [--cases paired:16384,nearest,...] [--rounds 3] [--level avx2]

All find the list with the greatest inner product for each of N vectors. Prints medians of vectors per second and
ratios. Winners of faiss-cpu are compared with tarn's; where they differ, binary64 says who is right.

A case is data:lists. Data, 768 dimensions:
  paired      vectors are images, centroids lie where captions are
  plain       vectors are images, centroids lie where images are
  laion       a common mean, a falling spectrum, a few outlier dimensions; no clusters
  isotropic   no structure at all: a slice cannot help
Features: `image.npy` and `caption.npy` in DIR, or the example features; enlarged by seeded jitter, normalised, and
brought to 768 dimensions by a seeded orthogonal map, which changes no inner product.
  nearest     the nearest of 20,000 images (or of all there are) for each caption, features as they are

--level avx2 holds both sides to AVX2: TARN_SIMD, FAISS_OPT_LEVEL and the kernels of OpenBLAS that are tried. Each
program that multiplies by an OpenBLAS gets the best OPENBLAS_CORETYPE of a short trial, since one that does not know the
processor falls back to kernels of ten years ago; which it was is printed.

Columns: faiss-cpu and FAISS (the installed libfaiss) are IndexFlatIP.search with k = 1 on all threads; avx2 is tarn held
to AVX2 (TARN_SIMD); bf16 is its bfloat16 engine, where the CPU has the instructions; /name is tarn's rate over that peer's, avx2/ and bf16/ those engines' over
sgemm's; GOPS counts every vector, list and dimension twice, whether it was multiplied or not; looked are rows left by
the slice, of so many dimensions (b: balanced axes), and scored those left to binary64; MB is peak memory beyond the
vectors, that of the float32 lists included.
"""

import argparse
import ctypes
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
BENCH = pathlib.Path(os.environ.get("TARN_BENCH", ROOT / ".build" / "release" / "tarn-bench"))
DIMENSION = 768
DEFAULT = (
    "paired:16384,plain:16384,laion:16384,isotropic:16384,paired:65536,paired:131072,plain:131072,laion:131072,"
    "isotropic:131072,paired:1024,nearest")


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


class Bench:
    """A process that repeats its work for each line: a verb of tarn-bench, or a peer in Python."""

    def __init__(self, verb: str, rows: pathlib.Path, queries: pathlib.Path, **environ: str) -> None:
        program = [sys.executable, "-B", __file__, "--peer", verb] if verb in PEERS else [str(BENCH), verb]
        self.process = subprocess.Popen(
            [*program, "--rows", str(rows), "--queries", str(queries)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, **environ})
        self.blas = json.loads(self.process.stdout.readline())["blas"]

    def run(self, argument: object = "") -> dict:
        self.process.stdin.write(f"run {argument}".strip() + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def rate(self, argument: object = "") -> float:
        result = self.run(argument)
        return result["vectors"] / result["seconds"]

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


def blas_kernels() -> str:
    """What each OpenBLAS of this process has chosen."""
    names = set()
    with open("/proc/self/maps") as maps:
        libraries = {line.split()[-1] for line in maps if "openblas" in line}
    for library in libraries:
        for name in ("openblas_get_corename", "openblas_get_corename64_", "scipy_openblas_get_corename64_", "scipy_openblas_get_corename"):
            ask = getattr(ctypes.CDLL(library), name, None)
            if ask is not None:
                ask.restype = ctypes.c_char_p
                names.add(ask().decode())
    return "+".join(sorted(names)) or "none"


def peer(name: str, rows_path: str, queries_path: str) -> None:
    """Answers lines as tarn-bench does: what it took, and the winners in a file if one is named."""
    rows, queries = np.load(rows_path), np.load(queries_path)
    if name == "faiss-cpu":
        import faiss
        faiss.omp_set_num_threads(os.cpu_count())
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        find = lambda: index.search(queries, 1)[1][:, 0]
    else:
        find = lambda: sgemm(rows, queries)
    print(json.dumps({"state": "ready", "blas": blas_kernels()}), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        found = find()
        seconds = time.perf_counter() - start
        if len(line.split()) > 1:
            found.astype(np.uint32).tofile(line.split()[-1])
        print(json.dumps({"seconds": seconds, "vectors": len(queries)}), flush=True)


PEERS = ("faiss-cpu", "sgemm")
CORES = {"avx2": ("Haswell", "Zen"), None: ("", "Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids")}


def best_cores(level: str | None, scratch: pathlib.Path) -> dict[str, dict[str, str]]:
    """For each program, the environment in which its OpenBLAS is fastest, by a short trial."""
    random = np.random.default_rng(3)
    paths = scratch / "trial-rows.npy", scratch / "trial-queries.npy"
    for path in paths:
        np.save(path, unit(random.standard_normal((2048, DIMENSION))))
    held = {"TARN_SIMD": level, "FAISS_OPT_LEVEL": level} if level else {}
    chosen = {}
    for verb, extra in (("faiss-cpu", {}), ("sgemm", {}), ("flat", {}), ("assign", {"TARN_ENGINE": "sgemm"})):
        rates = {}
        for core in CORES[level]:
            environ = {**held, **({"OPENBLAS_CORETYPE": core} if core else {})}
            bench = Bench(verb, *paths, **environ, **extra)
            bench.run()
            rate = max(bench.rate() for _ in range(3))
            bench.close()
            rates[rate] = bench.blas, environ
        kernel, chosen[verb] = rates[max(rates)]
        print(f"OpenBLAS of {'tarn' if verb == 'assign' else verb}: {kernel}, " + ", ".join(
            f"{environ.get('OPENBLAS_CORETYPE', 'its own choice')} {rate:.0f}/s" for rate, (_, environ) in rates.items()))
    return chosen


def compare(
        kind: str, nlist: int, features: Features, rounds: int, scratch: pathlib.Path, has_bf16: bool,
        cores: dict[str, dict[str, str]]) -> None:
    if kind == "nearest":
        nlist = min(20_000, len(features.images))
        rows, vectors = unit(features.images[:nlist]), unit(features.captions[:nlist])
    else:
        rows, vectors = data(kind, features, nlist, 131_072 if nlist <= 4096 else 32_768)
    count, dimension = vectors.shape
    # The peers are slow at large nlist: they get a share of the vectors, and the rate is compared.
    share = vectors[:count if kind == "nearest" else max(2048, min(count, (1 << 27) // nlist))]
    paths = scratch / "rows.npy", scratch / "queries.npy", scratch / "share.npy"
    for path, values in zip(paths, (rows, vectors, share)):
        np.save(path, values)
    tarn = Bench("assign", *paths[:2], **cores["assign"])
    avx2 = Bench("assign", *paths[:2], **{**cores["assign"], "TARN_SIMD": "avx2"})
    cpu = Bench("faiss-cpu", paths[0], paths[2], **cores["faiss-cpu"])
    numpy = Bench("sgemm", paths[0], paths[2], **cores["sgemm"])
    flat = Bench("flat", paths[0], paths[2], **cores["flat"])
    bf16 = Bench("assign", paths[0], paths[2], **{**cores["assign"], "TARN_ENGINE": "bf16"}) if has_bf16 else None
    rates: dict[str, list[float]] = {"tarn": [], "faiss-cpu": [], "faiss": [], "sgemm": [], "avx2": [], "bf16": []}
    tarn.run()  # prepares the rows
    avx2.run()
    for _ in range(rounds):
        cost = tarn.run(scratch / "winners")
        rates["tarn"].append(count / cost["seconds"])
        rates["faiss-cpu"].append(cpu.rate(scratch / "theirs"))
        rates["sgemm"].append(numpy.rate())
        rates["avx2"].append(avx2.rate())
        rates["faiss"].append(flat.rate())
        rates["bf16"].append(bf16.rate() if bf16 else float("nan"))
    for process in filter(None, (tarn, avx2, cpu, numpy, flat, bf16)):
        process.close()
    ours, theirs = np.fromfile(scratch / "winners", np.uint32), np.fromfile(scratch / "theirs", np.uint32)
    exact = rows.astype(np.float64)
    worse = sum(
        1 for i in np.flatnonzero(ours[:len(share)] != theirs)
        if exact[ours[i]] @ vectors[i].astype(np.float64) < exact[theirs[i]] @ vectors[i].astype(np.float64))
    rate = {name: statistics.median(values) for name, values in rates.items()}
    gops = 2 * rate["tarn"] * nlist * dimension / 1e9
    slice_width = f"{cost['width']}{'b' if cost['balanced'] else ''}"
    print(
        f"{kind:9} {nlist:7} {rate['tarn']:9.0f} {rate['faiss-cpu']:9.0f} {rate['faiss']:8.0f} {rate['sgemm']:8.0f} "
        f"{rate['avx2']:8.0f} {rate['tarn'] / rate['faiss-cpu']:9.1f}x {rate['tarn'] / rate['faiss']:6.1f}x "
        f"{rate['tarn'] / rate['sgemm']:6.1f}x {rate['avx2'] / rate['sgemm']:5.2f} {rate['bf16'] / rate['sgemm']:5.2f} {gops:7.0f} {slice_width:>6} "
        f"{cost['looked'] / count:7.1f} {cost['rescored'] / count:6.1f} {cost['engine_bytes'] / 1e6:5.0f} {worse:5}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="exact assignment and its peers, in turn")
    parser.add_argument("--features", type=pathlib.Path)
    parser.add_argument("--cases", default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("TARN_BENCH_ROUNDS", "3")))
    parser.add_argument("--level", choices=["avx2"], help="hold both sides to these instructions")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", help=argparse.SUPPRESS)
    parser.add_argument("--queries", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options.peer, options.rows, options.queries)
    try:
        import faiss
    except ImportError:
        print("assign: faiss-cpu is not installed here; make bench installs it")
        return
    print(f"exact assignment, {DIMENSION} dimensions, {os.cpu_count()} threads, faiss-cpu {faiss.__version__}{', held to ' + options.level if options.level else ''}")
    environ = {**os.environ, **({"TARN_SIMD": options.level} if options.level else {})}
    peak = subprocess.run([str(BENCH), "peak"], capture_output=True, text=True, env=environ)
    if peak.returncode == 0:
        found = json.loads(peak.stdout)
        print(
            f"int8 products: oneDNN {found['onednn_gops']:.0f} GOPS, the first pass {found['first_pass_gops']:.0f} GOPS, "
            f"{100 * found['share']:.0f} % of it")
    tests = json.loads(subprocess.run([str(BENCH), "selftest"], capture_output=True, text=True, check=True, env=environ).stdout)
    print("self-tests: " + ", ".join(f"{name[:-3]} {value:.1f} ms" for name, value in sorted(tests.items())))
    titles = (
        "data        lists      tarn faiss-cpu    FAISS    sgemm     avx2 /faiss-cpu  /FAISS  /sgemm avx2/ bf16/    GOPS  slice "
        " looked scored    MB worse")
    features = Features(options.features)
    with tempfile.TemporaryDirectory(prefix="tarn-bench-") as scratch:
        cores = best_cores(options.level, pathlib.Path(scratch))
        print(titles)
        for case in options.cases.split(","):
            kind, _, nlist = case.partition(":")
            compare(kind, int(nlist or 16_384), features, options.rounds, pathlib.Path(scratch), "bf16_ms" in tests, cores)


if __name__ == "__main__":
    main()
