#!/usr/bin/env python3
"""The whole job at LAION's number of lists and size of shards: every step's time and memory, and what that says for all of it.

    rehearsal.py [--shards 10] [--rows 937000] [--pairs 2000000] [--nlist 131072] [--iterations 10] [--features DIR]
                 [--router learned] [--refine sq8] [--captions N] [--candidates N] [--scratch DIR]

The steps are those of docs/howto/laion-2b.md, on shards in a directory, with a learned router and with codes that refine: more
work than the howto's. `--refine none` leaves those out. --captions and --candidates are `train`'s --router-captions and
--router-candidates. Pairs are the example features or DIR's, enlarged by seeded jitter and brought to
768 dimensions as bench_assign.py does, a picture and its caption from one real pair; there have to be as many distinct nearest
images as lists, which 937,000 pairs of jitter just miss at 131,072. Memory is the
process's own (anonymous) at most, looked at twenty times a second, and pages of mapped files. The last lines are the same
work with the same number of lists in proportion: 2.17 billion rows of 2,314 shards on 16 cores for the build, 20 million pairs
for an iteration, where nothing but the number of rows and of cores is reckoned with.

Needs disk for each thousand rows: 3.1 MB for images and as much for captions that are drawn from until they are in the lake, half
of that after it; 3.1 MB for a thousand pairs meanwhile, and 2.4 MB for segments and outputs with their second tier.
"""

import argparse
import json
import os
import pathlib
import shutil
import tempfile

from bench_assign import Features
from bench_lists import ROOM, write_rows
from step import Step
from tool import tarn

LAION_ROWS, LAION_PAIRS, CORES = 2_170_000_000, 20_000_000, 16


def hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=pathlib.Path)
    for name, value in (("shards", 10), ("rows", 937_000), ("pairs", 2_000_000), ("nlist", 131_072), ("iterations", 10)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--router", default="learned")
    parser.add_argument("--refine", default="sq8")
    parser.add_argument("--captions", type=int)
    parser.add_argument("--candidates", type=int)
    parser.add_argument("--scratch", type=pathlib.Path)
    options = parser.parse_args()
    if options.iterations < 2:
        parser.error("--iterations: the first has no guesses, so two at least")
    features = Features(options.features)
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="tarn-rehearsal-", dir=options.scratch) as scratch:
        scratch = pathlib.Path(scratch)
        lake = scratch / "lake"
        drawn = min(options.shards, -(-options.pairs // options.rows))
        for kind, of, count in (("img", features.images, options.shards), ("text", features.captions, drawn)):
            (scratch / kind).mkdir()
            for number in range(count):
                write_rows(scratch / kind / f"{kind}_emb_{number:04}.npy", of, features, options.rows, seed=21 + number)
        tarn("init", lake)
        Step(lake, "source", "add", "images", "--directory", scratch / "img")
        Step(lake, "source", "add", "captions", "--directory", scratch / "text", "--modality", "text")
        Step(lake, "sync")
        # The lake has its own: room for what follows.
        shutil.rmtree(scratch / "img")
        shutil.rmtree(scratch / "text")
        refine = [] if options.refine == "none" else ["--refine", options.refine]
        limits = [word for name, value in (("captions", options.captions), ("candidates", options.candidates)) if value
                  for word in (f"--router-{name}", value)]
        train = Step(
            lake, "train", "clip", "--images", "images", "--captions", "captions", "--shards", f"0-{drawn - 1}", "--nlist", options.nlist,
            "--pairs", options.pairs, "--seed", 1, "--iterations", options.iterations, "--nearest", "index", "--router", options.router,
            *limits, *refine, "--verbose")
        iterations, epochs = train.times(r"iteration \d+/"), train.times(r"router epoch \d+/")
        each = (iterations[-1] - iterations[0]) / (len(iterations) - 1)
        # Labels of a router are found by the same lists, after the iterations.
        drawn_at, nearest_at = (
            max((at for at in train.times(f"train clip: {what}") if at < iterations[0]), default=0)
            for what in ("gathered", "nearest images by lists"))
        print(f"  drawing pairs {drawn_at:.0f} s, nearest images {nearest_at - drawn_at:.0f} s, first iteration"
              f" {iterations[0] - nearest_at:.0f} s, each other iteration {each:.0f} s, router ({len(epochs)} epochs), ranges and files"
              f" {train.seconds - iterations[-1]:.0f} s")
        shown = json.loads(tarn("show", "clip", "--json", "--lake", lake))
        if shown["nearest_images"]:
            print(f"  agreement {shown['nearest_images'][0]['agreed']} of {shown['nearest_images'][0]['captions_searched_exactly']}")
        build = Step(lake, "build", "laion", "--trained", "clip", "--images", "images")
        room = shown["trained_index"][0]["bytes"] + ROOM
        print(f"  {'within' if build.anonymous <= room else 'MORE THAN'} the trained index and {ROOM / 1e6:.0f} MB: {room / 1e6:.0f} MB")
        rows = options.shards * options.rows
        rate = rows / build.seconds
        print(f"build: {rate:.0f} rows/s on {threads} threads")
        print(f"2.17 billion rows on {CORES} cores at that rate: {hours(LAION_ROWS / rate * threads / CORES)}")
        per = each / options.pairs * LAION_PAIRS * threads / CORES
        print(f"an iteration over 20 million pairs on {CORES} cores: {per:.0f} s")


if __name__ == "__main__":
    main()
