#!/usr/bin/env python3
"""Text-to-image recall of ways to make and to rank inverted lists, at equal vectors scanned.

Drives tarn for everything and searches every file with stock FAISS besides. DIR holds image.npy and caption.npy
(float16 or float32, [n x d], unit rows, row i of both is one pair) and names.txt (line i: source, tab, caption). For
each seed 4,000 captions are held out as queries, so that no text of theirs is left in training; the gallery is all
images; training sees the other pairs alone. The balance penalty, a control that tarn does not have, is made with
NumPy and searched by FAISS.

    TARN=.build/release/tarn recall.py --features DIR [--seeds 1,2,3] [--nlists 256,512] [--out docs/RECALL.md]
    TARN=.build/release/tarn recall.py --features DIR --candidates [--out docs/RECALL.md]
    TARN=.build/release/tarn recall.py --features DIR --codecs [--out docs/RECALL.md]
    TARN=.build/release/tarn recall.py --features DIR --shift openclipart,tuxpaint [--lists | --trial] [--out docs/RECALL.md]

With --shift the queries are of another kind than what was trained on: each of the sources named is left out of
training, images and captions, and its captions ask. Captions of all sources that were held out ask first. --lists asks
lists of images alone, and the router that is held to their centroids. --trial trains nothing but has `train --queries` try
both kinds of lists with the captions that ask, and says what it finds and whether it warns.
"""

import argparse
import json
import pathlib
import re
import sys
import tempfile

import faiss
import numpy as np
from tool import said, tarn

SHARES = (0.01, 0.02, 0.04)
QUERIES = 4000
NPROBES = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40]

# name: (arguments of train, what the table calls it)
METHODS = {
    "plain": (["--images", "ti", "--method", "kmeans"], "k-means of images"),
    "captions": (["--images", "tc", "--method", "kmeans"], "k-means of captions"),
    "paired": (["--images", "ti", "--captions", "tc"], "paired k-means"),
    "plain-mean": (["--images", "ti", "--captions", "tc", "--method", "kmeans", "--router", "caption-mean"],
                   "k-means of images, caption-mean router"),
    "paired-mean": (["--images", "ti", "--captions", "tc", "--router", "caption-mean",
                     "--refinements", "0"], "paired k-means, caption-mean router"),
    "plain-learned": (["--images", "ti", "--captions", "tc", "--method", "kmeans", "--router", "learned"],
                      "k-means of images, **learned router**"),
    "paired-learned": (["--images", "ti", "--captions", "tc", "--router", "learned", "--refinements", "0"],
                       "paired k-means, **learned router**"),
    "refined-learned": (["--images", "ti", "--captions", "tc", "--router", "learned"],
                        "paired k-means, 3 steps on images, **learned router**"),
    "plain-anchored": (["--images", "ti", "--captions", "tc", "--method", "kmeans", "--router", "anchored"],
                       "k-means of images, **anchored router**"),
}
# Controls that tarn does not have: which rows make the means, and the title.
BALANCED = {
    "plain-balanced": ("plain", "k-means of images, balance penalty *"),
    "paired-balanced": ("paired", "paired k-means, balance penalty *"),
}
# The price of a list is PENALTY times the log of its size over the mean size, half of it from the step before: of
# 0.005, 0.01, 0.02, 0.04 and 0.08 the best for both on seed 1 at nlist 256.
PENALTY = 0.01
# Many lists and the lists that are drawn for a batch of the router; None for all.
MANY_LISTS = 8192
MANY_NPROBES = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768]
CANDIDATES = {"none": "no router", "all": "learned router, every list in every batch",
              "4096": "learned router, 4,096 lists drawn for a batch (the default there)",
              "512": "learned router, 512 lists drawn for a batch"}
# What is held against plain k-means, which is first, when queries are of another kind: in the table of all ways, and in
# that of more seeds.
SHIFTED = ("plain", "paired", "plain-learned", "refined-learned")
SHIFTED_LISTS = ("plain", "plain-anchored")
SHIFT_QUERIES = 2000
HELD_OUT = "captions alone"
# Arguments of train, and what the table calls them; the first of each codec is its default.
CODECS = {
    "flat": (["--codec", "flat"], "float32", 4),
    "fp16": (["--codec", "fp16"], "half precision", 2),
    "sq8": (["--codec", "sq8"], "8 bits, least to greatest", 1),
    "sq8q": (["--codec", "sq8", "--ranges", "quantiles:0.005"], "8 bits, without 0.5 % at each end", 1),
    "sq4": (["--codec", "sq4"], "4 bits, without 0.5 % at each end", 0.5),
    "sq4m": (["--codec", "sq4", "--ranges", "minmax"], "4 bits, least to greatest", 0.5),
}


def split(names, seed):
    """Rows to train on and rows to ask with; rows of one text go to one side."""
    texts, of_row = np.unique(names, return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(texts))
    order = np.argsort(place[of_row], kind="stable")
    cut = QUERIES
    while cut < len(order) and of_row[order[cut]] == of_row[order[cut - 1]]:
        cut += 1
    return np.sort(order[cut:]), order[:QUERIES]


def leave_out(sources, source, seed):
    """Rows to train on, none of the source, and rows of the source to ask with."""
    of_source = sources == source
    if not of_source.any():
        sys.exit(f"{source}: no row of names.txt is of this source")
    return np.flatnonzero(~of_source), np.random.default_rng(seed).permutation(np.flatnonzero(of_source))[:SHIFT_QUERIES]


def nearest(queries, rows, k):
    out = np.empty((len(queries), k), np.int64)
    for first in range(0, len(queries), 2000):
        scores = queries[first:first + 2000] @ rows.T
        top = np.argpartition(-scores, k, 1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, top, 1), 1, kind="stable")
        out[first:first + 2000] = np.take_along_axis(top, order, 1)
    return out


def at_shares(scanned, recall):
    """Recall between the measured nprobes, linear in the mean share of rows scanned."""
    return [float(np.interp(share, [0, *scanned], [0, *recall])) for share in SHARES]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def balanced(kind, images, captions, nlist, seed, steps=10):
    """Centroids of k-means whose assignment takes a price from every list: the longer, the dearer."""
    own = np.arange(len(images)) if kind == "plain" else nearest(captions, images, 1)[:, 0]
    rows = images if kind == "plain" else captions
    distinct, price = np.unique(own), np.zeros(nlist, np.float32)
    centroids = images[np.random.default_rng(seed).permutation(distinct)[:nlist]].copy()
    tilt = np.where(np.arange(images.shape[1]) % 2, 1 - 2**-10, 1 + 2**-10).astype(np.float32)
    for _ in range(steps):
        cells = (images @ centroids.T - price).argmax(1)[own]
        sizes = np.bincount(cells, minlength=nlist)
        sums = np.zeros((nlist, images.shape[1]))
        np.add.at(sums, cells, rows)
        centroids[sizes > 0] = unit(sums[sizes > 0])
        price = (price + PENALTY * np.log(np.maximum(sizes, 1) / sizes.mean()).astype(np.float32)) / 2
        for empty in np.flatnonzero(sizes == 0):
            big = sizes.argmax()
            centroids[[empty, big]] = unit(np.stack([centroids[big] * tilt, centroids[big] * (2 - tilt)]))
            sizes[empty] = sizes[big] // 2
            sizes[big] -= sizes[empty]
    return centroids


def stock_file(path, centroids, images):
    """The images filed by the centroids, by FAISS itself; returns the imbalance of the lists."""
    dimension = images.shape[1]
    coarse = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFFlat(coarse, dimension, len(centroids), faiss.METRIC_INNER_PRODUCT)
    coarse.add(centroids)
    index.is_trained = True
    index.add(images)
    faiss.write_index(index, str(path))
    sizes = np.array([index.invlists.list_size(i) for i in range(index.nlist)], float)
    return index.nlist * (sizes**2).sum() / sizes.sum()**2


def stock(path, queries, truth, sizes_total):
    """Recall of FAISS itself on the file: at the shares of rows scanned, by its own count, and at nprobe 1."""
    index = faiss.read_index(str(path))
    stats = faiss.cvar.indexIVF_stats
    scanned, recall = [], []
    for nprobe in NPROBES:
        index.nprobe = min(nprobe, index.nlist)
        stats.reset()
        _, ids = index.search(queries, truth.shape[1])
        scanned.append(stats.ndis / len(queries) / sizes_total)
        recall.append(np.mean([len(set(a) & set(b)) for a, b in zip(ids, truth)]) / truth.shape[1])
    return at_shares(scanned, recall), float(recall[0])


def prepare(features, seed, work, left_out=None):
    """A lake with all images `g`, training images `ti` and captions `tc`, and what measuring needs besides.

    Captions of the source `left_out` ask, or, without one, captions whose texts training has not seen."""
    images, captions = (np.load(features / f"{name}.npy") for name in ("image", "caption"))
    lines = [line.rstrip("\n").split("\t", 1) for line in open(features / "names.txt", encoding="utf-8")]
    train, ask = (leave_out(np.array([line[0] for line in lines]), left_out, seed) if left_out
                  else split([line[-1] for line in lines], seed))
    dimension, dtype = str(images.shape[1]), str(images.dtype)
    lake = work / f"lake-{seed}"
    for name, rows in (("g", images), ("ti", images[train]), ("tc", captions[train])):
        directory = work / f"{name}-{seed}"
        directory.mkdir()
        for ordinal, part in enumerate(np.array_split(rows, 3)):
            np.save(directory / f"part_{ordinal}.npy", part)
    np.save(work / f"queries-{seed}.npy", captions[ask])
    tarn("--lake", lake, "init", str(lake))
    for name in ("g", "ti", "tc"):
        tarn("--lake", lake, "source", "add", name, "--directory", str(work / f"{name}-{seed}"), "--dimension", dimension,
             "--dtype", dtype, "--modality", "other")
    tarn("--lake", lake, "sync", "--quiet")
    images, captions = (array.astype(np.float32) for array in (images, captions))
    return lake, images, (images[train], captions[train]), captions[ask], nearest(captions[ask], images, 10)


def evaluate(lake, label, queries, nprobes):
    """What `tarn evaluate` says of a version: recall at the shares, imbalance, recall at nprobe 1."""
    answer = json.loads(tarn(
        "--lake", lake, "evaluate", f"{label}@1", "--queries", str(queries), "-k", "10", "--nprobe",
        ",".join(map(str, nprobes)), "--json", "--quiet"))["evaluations"][0]
    points = answer["points"]
    recall = [next(r["recall"] for r in p["recalls"] if r["k"] == 10) for p in points]
    return at_shares([p["share_scanned"] for p in points], recall), answer["imbalance"], recall[0]


def measure(features, seed, nlists, work):
    lake, images, pairs, asked, truth = prepare(features, seed, work)
    found = {}
    for nlist in nlists:
        for name, (arguments, _) in METHODS.items():
            label = f"{name}-{nlist}"
            # flat codes: what is measured is the routing, and stock FAISS can show the same.
            tarn("--lake", lake, "train", label, *arguments, "--nlist", str(nlist), "--codec", "flat", "--seed", str(seed),
                 "--quiet")
            tarn("--lake", lake, "build", label, "--trained", label, "--images", "g", "--quiet")
            shares, imbalance, first = evaluate(lake, label, work / f"queries-{seed}.npy", NPROBES)
            file = lake / "versions" / f"{label}@1" / f"{label}.000.faiss"
            found[nlist, name] = {"tarn": shares, "stock": stock(file, asked, truth, len(images))[0],
                                  "imbalance": imbalance, "nprobe1": first}
            print(f"seed {seed}  nlist {nlist}  {name:15}", *(f"{v:.3f}" for v in found[nlist, name]["tarn"]),
                  "stock", *(f"{v:.3f}" for v in found[nlist, name]["stock"]), file=sys.stderr, flush=True)
        for name, (kind, _) in BALANCED.items():
            file = work / f"{name}-{nlist}.faiss"
            imbalance = stock_file(file, balanced(kind, *pairs, nlist, seed), images)
            shares, first = stock(file, asked, truth, len(images))
            found[nlist, name] = {"tarn": shares, "stock": shares, "imbalance": imbalance, "nprobe1": first}
            print(f"seed {seed}  nlist {nlist}  {name:15}", *(f"{v:.3f}" for v in shares), file=sys.stderr, flush=True)
    return found


def measure_shift(features, seed, sources, nlist, methods, work):
    """Recall at the shares when one source was left out of training and its captions ask; by source and method."""
    found = {}
    for source in (None, *sources):
        place = work / (source or HELD_OUT)
        place.mkdir()
        lake = prepare(features, seed, place, source)[0]
        for name in methods:
            tarn("--lake", lake, "train", name, *METHODS[name][0], "--nlist", str(nlist), "--codec", "flat", "--seed", str(seed),
                 "--quiet")
            tarn("--lake", lake, "build", name, "--trained", name, "--images", "g", "--quiet")
            found[source, name] = evaluate(lake, name, place / f"queries-{seed}.npy", NPROBES)[0]
            print(f"seed {seed}  without {source or HELD_OUT:15} {name:15}", *(f"{v:.3f}" for v in found[source, name]),
                  file=sys.stderr, flush=True)
    return found


def measure_trial(features, seed, sources, nlist, work):
    """What `train --queries` says of the captions of each source that was left out: (of captions, of images, error, warned)."""
    found = {}
    for source in (None, *sources):
        place = work / (source or HELD_OUT)
        place.mkdir()
        lake = prepare(features, seed, place, source)[0]
        # One iteration: the trial comes before the training and does not depend on it.
        _, told = said(
            "--lake", lake, "train", "trial", "--images", "ti", "--captions", "tc", "--nlist", nlist, "--seed", seed,
            "--iterations", 1, "--queries", place / f"queries-{seed}.npy")
        trial = re.search(r"captions find ([\d.]+) .* images ([\d.]+) \(error ([\d.]+)\)", told)
        if not trial:
            raise SystemExit(f"train --queries said nothing of its trial:\n{told}")
        found[source] = (*map(float, trial.groups()), "find more in lists of" in told)
        print(f"seed {seed}  without {source or HELD_OUT:15}", *found[source], file=sys.stderr, flush=True)
    return found


def measure_candidates(features, seed, work):
    """Routers of many lists, trained with every list in every batch and with drawn ones."""
    lake, _, _, _, _ = prepare(features, seed, work)
    rows = {}
    for name in CANDIDATES:
        label = f"router-{name}"
        router = [] if name == "none" else [
            "--captions", "tc", "--router", "learned", "--router-candidates", str(MANY_LISTS) if name == "all" else name]
        tarn("--lake", lake, "train", label, "--images", "ti", "--method", "kmeans", "--nlist", str(MANY_LISTS),
             "--codec", "flat", "--seed", str(seed), *router, "--quiet")
        tarn("--lake", lake, "build", label, "--trained", label, "--images", "g", "--quiet")
        rows[name] = evaluate(lake, label, work / f"queries-{seed}.npy", MANY_NPROBES)
        print(f"seed {seed}  nlist {MANY_LISTS}  {name:5}", *(f"{v:.3f}" for v in rows[name][0]), file=sys.stderr,
              flush=True)
    return rows


def measure_codecs(features, seed, work):
    """Recall of codes alone: every list is scanned. Lists enough to train on all pairs."""
    lake, images, _, asked, truth = prepare(features, seed, work)
    rows = {}
    for name, (arguments, _, _) in CODECS.items():
        tarn("--lake", lake, "train", name, "--images", "ti", "--captions", "tc", "--nlist", "100", *arguments, "--seed",
             str(seed), "--quiet")
        tarn("--lake", lake, "build", name, "--trained", name, "--images", "g", "--quiet")
        _, _, recall = evaluate(lake, name, work / f"queries-{seed}.npy", [100])
        index = faiss.read_index(str(lake / "versions" / f"{name}@1" / f"{name}.000.faiss"))
        index.nprobe = 100
        _, ids = index.search(asked, 10)
        rows[name] = recall, np.mean([len(set(a) & set(b)) for a, b in zip(ids, truth)]) / 10
        print(f"seed {seed}  {name:5}", *(f"{v:.4f}" for v in rows[name]), file=sys.stderr, flush=True)
    return rows


def interval(values, form="{:.3f}"):
    if len(values) == 1:
        return form.format(values[0])
    return f"{form.format(np.mean(values))} ({form.format(min(values))}–{form.format(max(values))})"


def table(runs, nlists):
    lines = []
    for nlist in nlists:
        lines += [f"### nlist {nlist}", "",
                  "| lists and ranking | imbalance | nprobe 1 | 1 % scanned | 2 % scanned | 4 % scanned "
                  "| FAISS, 1 % | FAISS, 2 % |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
        for name, (_, title) in (METHODS | BALANCED).items():
            rows = [run[nlist, name] for run in runs]
            cells = [f"{np.mean([r['imbalance'] for r in rows]):.2f}", f"{np.mean([r['nprobe1'] for r in rows]):.3f}"]
            cells += [interval([r["tarn"][i] for r in rows]) for i in range(3)]
            cells += [interval([r["stock"][i] for r in rows]) for i in range(2)]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        lines += ["", "Points of recall@10 by which a learned router leads the better of plain and paired k-means:", "",
                  "| lists | reader | 1 % | 2 % | 4 % |", "| --- | --- | --- | --- | --- |"]
        for name in ("plain-learned", "paired-learned", "refined-learned"):
            for reader in ("tarn", "stock"):
                leads = [[100 * (run[nlist, name][reader][i]
                                 - max(run[nlist, n][reader][i] for n in ("plain", "paired")))
                          for run in runs] for i in range(3)]
                lines.append(f"| {name.split('-')[0]} | {'tarn' if reader == 'tarn' else 'stock FAISS'} | "
                             + " | ".join(interval(lead, "{:+.1f}") for lead in leads) + " |")
        lines.append("")
    return "\n".join(lines)


def shift_table(runs, sources, nlist, methods):
    lines = [f"nlist {nlist}, flat codes, up to {SHIFT_QUERIES:,} captions of the source left out; at first {QUERIES:,} "
             "held-out captions of all sources.", "",
             "| left out | lists and ranking | 1 % scanned | 2 % scanned | 4 % scanned | beside plain k-means at 2 % |",
             "| --- | --- | --- | --- | --- | --- |"]
    for source in (None, *sources):
        for name in methods:
            cells = [interval([run[source, name][i] for run in runs]) for i in range(3)]
            cells.append(interval([100 * (run[source, name][1] - run[source, "plain"][1]) for run in runs], "{:+.1f}"))
            lines.append(f"| {source or HELD_OUT} | {METHODS[name][1]} | " + " | ".join(cells) + " |")
    for name in methods:
        leads = [100 * np.mean([run[source, name][i] - run[source, "plain"][i] for run in runs for source in sources])
                 for i in range(3)]
        worst = min(100 * np.mean([run[source, name][1] - run[source, "plain"][1] for run in runs])
                    for source in sources)
        lines.append(f"| mean lead without a source | {METHODS[name][1]} | " + " | ".join(f"{lead:+.1f}" for lead in leads)
                     + f" | least of the sources {worst:+.1f} |")
    return "\n".join(lines) + "\n"


def trial_table(runs, sources, nlist):
    lines = [f"nlist {nlist} asked for; recall@10 in 2 % of the rows.", "",
             "| queries | lists of captions | lists of images | standard error | warned |", "| --- | --- | --- | --- | --- |"]
    for source in (None, *sources):
        cells = [interval([run[source][i] for run in runs]) for i in range(3)]
        cells.append(f"{sum(run[source][3] for run in runs)} of {len(runs)}")
        lines.append(f"| {source or HELD_OUT} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def candidates_table(runs):
    lines = [f"nlist {MANY_LISTS:,}, k-means of images.", "",
             "| ranking | imbalance | nprobe 1 | 1 % scanned | 2 % scanned | 4 % scanned |",
             "| --- | --- | --- | --- | --- | --- |"]
    for name, title in CANDIDATES.items():
        rows = [run[name] for run in runs]
        cells = [f"{np.mean([r[1] for r in rows]):.2f}", f"{np.mean([r[2] for r in rows]):.3f}"]
        cells += [interval([r[0][i] for r in rows]) for i in range(3)]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def codecs_table(runs):
    lines = ["| codes | bytes a component | recall@10 | FAISS |", "| --- | --- | --- | --- |"]
    for name, (_, title, size) in CODECS.items():
        cells = [interval([run[name][i] for run in runs]) for i in range(2)]
        lines.append(f"| {title} | {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page_fault(path, mark):
    """Why the table of a mark cannot be written into a page; None where it can."""
    if not path.is_file():
        return f"--out: {path} is no page yet; make it with the lines '<!-- {mark} -->' and '<!-- end {mark} -->'"
    if not re.search(f"<!-- {mark} -->.*<!-- end {mark} -->", path.read_text(encoding="utf-8"), flags=re.S):
        return f"--out: {path} has no lines '<!-- {mark} -->' and '<!-- end {mark} -->', between which the table goes"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", required=True, type=pathlib.Path, metavar="DIR")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--nlists", default="256,512")
    parser.add_argument("--candidates", action="store_true", help="the table of many lists instead")
    parser.add_argument("--codecs", action="store_true", help="the table of codecs instead")
    parser.add_argument("--shift", metavar="SOURCES", help="the table of queries of another kind instead")
    parser.add_argument("--lists", action="store_true", help="with --shift, lists of images alone")
    parser.add_argument("--trial", action="store_true", help="with --shift, what train --queries says")
    parser.add_argument("--out", type=pathlib.Path, help="a page whose text between the table's marks is replaced")
    options = parser.parse_args()
    if (options.lists or options.trial) and not options.shift:
        parser.error("--lists and --trial go with --shift")
    nlists = [int(text) for text in options.nlists.split(",")]
    sources = options.shift.split(",") if options.shift else []
    methods = SHIFTED_LISTS if options.lists else SHIFTED
    # mark in the page: (measuring for a seed in a directory, the table of all seeds)
    tables = {
        "candidates": (lambda seed, work: measure_candidates(options.features, seed, work), candidates_table),
        "codecs": (lambda seed, work: measure_codecs(options.features, seed, work), codecs_table),
        "trial": (lambda seed, work: measure_trial(options.features, seed, sources, nlists[0], work),
                  lambda runs: trial_table(runs, sources, nlists[0])),
        "shift": (lambda seed, work: measure_shift(options.features, seed, sources, nlists[0], methods, work),
                  lambda runs: shift_table(runs, sources, nlists[0], methods)),
        "table": (lambda seed, work: measure(options.features, seed, nlists, work), lambda runs: table(runs, nlists)),
    }
    mark = next(name for name in tables if name == "table" or getattr(options, name))
    one, several = tables[mark]
    if options.shift and options.lists:
        mark = "shift-lists"
    if options.out and (fault := page_fault(options.out, mark)):
        # Measuring takes minutes.
        parser.error(fault)
    runs = []
    for seed in map(int, options.seeds.split(",")):
        with tempfile.TemporaryDirectory(prefix="tarn-recall-") as work:
            runs.append(one(seed, pathlib.Path(work)))
    text = several(runs)
    print(text)
    if options.out:
        page = options.out.read_text(encoding="utf-8")
        heading = (f"Seeds {options.seeds}; mean over seeds, (least–greatest)." if len(runs) > 1
                   else f"Seed {options.seeds}.")
        marked = f"<!-- {mark} -->\n\n{heading}\n\n{text}\n<!-- end {mark} -->"
        options.out.write_text(re.sub(f"<!-- {mark} -->.*<!-- end {mark} -->", lambda _: marked, page, flags=re.S),
                               encoding="utf-8")


if __name__ == "__main__":
    main()
