#!/usr/bin/env python3
"""Nearest images by lists (`train --nearest index`) against the exact search.

    bench_nearest.py [speed] [recall] [--pairs 200000] [--nprobe 128] [--rounds 3] [--seeds 5] [--exact-captions 20000] [--features DIR]

TARN and TARN_BENCH name the programs (default: .build/release). Pairs are the example features, or `image.npy` and
`caption.npy` of DIR, enlarged by seeded jitter to 768 dimensions (bench_assign.py).

speed: for `--pairs` images and as many captions: seconds of a whole training of one list with `--nearest index`, less
those of one on the same rows that has its nearest images already; the seconds that the exact search would take, from its rate for
--exact-captions captions against one tile of images; and the ratio.

recall (needs --features), on the features as they are: how often the index agrees with the exact search, and the recall of indexes trained
both ways, queried by captions that were held out. Seeds differ by more than the ways do: each of --seeds trains both, and what counts is the
mean of their differences, with its standard error.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import bench_assign
import numpy as np
from tool import tarn

# Images that the exact search prepares at a time.
TILE = 65_536


def source(lake: pathlib.Path, name: str, modality: str, rows: np.ndarray, scratch: pathlib.Path) -> None:
    """Registers rows as a source of one shard and brings them into the lake."""
    place = scratch / name
    place.mkdir(exist_ok=True)
    np.save(place / "part_0.npy", rows.astype(np.float16))
    tarn("--lake", lake, "source", "add", name, "--directory", str(place), "--dimension", str(rows.shape[1]), "--dtype", "float16",
         "--modality", modality)
    tarn("--lake", lake, "sync", name, "--quiet")


def exact_seconds(images: np.ndarray, captions: np.ndarray, rounds: int, scratch: pathlib.Path) -> float:
    """What all captions against all images would take, tile by tile."""
    tile = min(TILE, len(images))
    np.save(scratch / "rows.npy", images[:tile])
    np.save(scratch / "queries.npy", captions)
    with subprocess.Popen(
            [str(bench_assign.BENCH), "assign", "--rows", str(scratch / "rows.npy"), "--queries", str(scratch / "queries.npy")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bench:
        bench.stdout.readline()
        seconds = []
        for _ in range(rounds + 1):
            bench.stdin.write("run\n")
            bench.stdin.flush()
            seconds.append(json.loads(bench.stdout.readline())["seconds"])
        bench.stdin.close()
    # The first round prepares the tile.
    return statistics.median(seconds[1:]) / tile


def train(lake: pathlib.Path, name: str, *options: str) -> float:
    start = time.monotonic()
    tarn("--lake", lake, "train", name, "--images", "images", "--captions", "captions", "--normalise", "--quiet", *options)
    return time.monotonic() - start


def speed(options: argparse.Namespace, scratch: pathlib.Path) -> None:
    features = bench_assign.Features(options.features)
    images = features.more(features.images, options.pairs, 2)
    captions = features.more(features.captions, options.pairs, 3)
    rate = exact_seconds(images, captions[:options.exact_captions], options.rounds, scratch)
    exact = rate * len(images) * len(captions) / min(options.exact_captions, len(captions))
    lake = scratch / "lake"
    tarn("--lake", lake, "init", str(lake))
    source(lake, "images", "other", images, scratch)
    source(lake, "captions", "other", captions, scratch)
    search = ["--nearest", f"index:{options.nprobe}", "--nlist", "1", "--pairs", str(options.pairs)]
    whole = train(lake, "first", *search, "--iterations", "1")
    # Its nearest images are there: what is left is gathering, k-means of one list and the sample that is searched exactly.
    rest = train(lake, "second", *search, "--iterations", "2")
    took = max(whole - rest, 1e-3)
    print(f"{options.pairs} x {options.pairs}, nprobe {options.nprobe}: index {took:.1f} s, exact {exact:.1f} s (rate of {options.exact_captions} captions), ratio {exact / took:.1f}")
    print(f"  agreement {agreement(lake, 'first'):.4f}")


def agreement(lake: pathlib.Path, name: str) -> float:
    rows = json.loads(tarn("--lake", lake, "sql", "--format", "json", f"""SELECT json_extract(detail, '$.nearest_agreement.agreed') AS agreed,
        json_extract(detail, '$.nearest_agreement.of') AS sampled FROM event WHERE verb = 'trained' AND subject = '{name}'"""))
    return rows[0]["agreed"] / rows[0]["sampled"]


def recall(options: argparse.Namespace, scratch: pathlib.Path) -> None:
    """Indexes trained with exact nearest images and with those of lists, in turn, on features as they are."""
    images, captions = (np.load(options.features / f"{kind}.npy").astype(np.float32) for kind in ("image", "caption"))
    held = min(4000, len(images) // 5)
    order = np.random.default_rng(1).permutation(len(images))
    lake = scratch / "real"
    tarn("--lake", lake, "init", str(lake))
    source(lake, "images", "other", images[order[held:]], scratch)
    source(lake, "captions", "other", captions[order[held:]], scratch)
    np.save(scratch / "held.npy", captions[order[:held]])
    found: dict[str, dict[int, list[float]]] = {"exact": {}, "index": {}}
    agreed = []
    for seed in range(1, options.seeds + 1):
        for way, search in (("exact", "exact"), ("index", f"index:{options.nprobe}")):
            name = f"{way}-{seed}"
            train(lake, name, "--nearest", search, "--nlist", "256", "--codec", "flat", "--seed", str(seed),
                  "--pairs", str(len(images) - held))
            tarn("--lake", lake, "build", name, "--trained", name, "--images", "images", "--quiet")
            answer = json.loads(tarn("--lake", lake, "evaluate", f"{name}@1", "--queries", str(scratch / "held.npy"), "--nprobe", "1,4,8",
                                     "-k", "10", "--json", "--quiet"))["evaluations"][0]
            for point in answer["points"]:
                of_ten = next(r["recall"] for r in point["recalls"] if r["k"] == 10)
                found[way].setdefault(point["nprobe"], []).append(of_ten)
        agreed.append(agreement(lake, f"index-{seed}"))
    print(f"as they are, {len(agreed)} seeds: agreement {min(agreed):.4f} to {max(agreed):.4f}")
    for nprobe, exact in found["exact"].items():
        index = found["index"][nprobe]
        less = [one - other for one, other in zip(index, exact, strict=True)]
        error = statistics.stdev(less) / len(less) ** 0.5 if len(less) > 1 else float("nan")
        print(f"  recall@10, nprobe {nprobe}: exact {statistics.mean(exact):.4f} ({min(exact):.4f} to {max(exact):.4f}), "
              f"index {statistics.mean(index):.4f} ({min(index):.4f} to {max(index):.4f}), "
              f"index less exact {100 * statistics.mean(less):+.2f} points, standard error {100 * error:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="speed, recall; all that can be measured by default")
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--nprobe", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--exact-captions", type=int, default=20_000)
    parser.add_argument("--features", type=pathlib.Path)
    options = parser.parse_args()
    parts = options.parts or (["speed", "recall"] if options.features else ["speed"])
    if set(parts) - {"speed", "recall"} or "recall" in parts and not options.features:
        parser.error("parts are speed and recall, which needs --features")
    with tempfile.TemporaryDirectory() as directory:
        if "speed" in parts:
            speed(options, pathlib.Path(directory))
        if "recall" in parts:
            recall(options, pathlib.Path(directory))


if __name__ == "__main__":
    main()
