#!/usr/bin/env python3
"""Cut Examples/features from a directory of paired features.

The input directory holds `image.npy` and `caption.npy` (float16 [n, d], row i of
both is one pair) and `names.txt` (line i is "source<TAB>caption"). The output is a
function of that directory and of the options alone: same input, same bytes.
"""

import argparse
import hashlib
import pathlib

import numpy as np

# Sources whose licences allow their derived features to be redistributed here.
SOURCES = ("openclipart", "material-design", "noto-emoji")
# One clip-art series gave hundreds of pictures one title; they would be a third
# of the set and all of them the same caption feature.
ROWS_PER_CAPTION = 4


def eligible_rows(names: list[tuple[str, str]], order: np.ndarray) -> np.ndarray:
    """Rows that may be used, in the order given: no mail addresses, a few for each caption."""
    seen: dict[tuple[str, str], int] = {}
    kept = []
    for row in order:
        name = names[row]
        if name[0] not in SOURCES or "@" in name[1] or seen.get(name, 0) == ROWS_PER_CAPTION:
            continue
        seen[name] = seen.get(name, 0) + 1
        kept.append(row)
    return np.array(kept, dtype=np.int64)


def shard_sizes(rows: int, shards: int, generator: np.random.Generator) -> list[int]:
    """Row counts that sum to `rows` and differ by a few per cent, as LAION's do."""
    mean = rows // shards
    sizes = [int(mean + generator.integers(-mean // 20, mean // 20 + 1)) for _ in range(shards - 1)]
    return sizes + [rows - sum(sizes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=pathlib.Path, help="directory of image.npy, caption.npy, names.txt")
    parser.add_argument("output", type=pathlib.Path, help="directory to write, e.g. Examples/features")
    parser.add_argument("--pairs", type=int, default=3600)
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--queries", type=int, default=160)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()

    images = np.load(options.features / "image.npy", mmap_mode="r")
    captions = np.load(options.features / "caption.npy", mmap_mode="r")
    lines = (options.features / "names.txt").read_text(encoding="utf-8").splitlines()
    names = [tuple(line.split("\t", 1)) for line in lines]
    assert images.shape == captions.shape and len(names) == len(images)
    assert images.dtype == captions.dtype == np.float16

    generator = np.random.Generator(np.random.PCG64(options.seed))
    rows = eligible_rows(names, generator.permutation(len(names)))
    assert len(rows) >= options.pairs + options.queries, f"only {len(rows)} rows may be used"
    gallery = rows[: options.pairs]
    # A caption that is also in the gallery would not be a held-out one.
    known = {names[row][1] for row in gallery}
    queries = [row for row in rows[options.pairs :] if names[row][1] not in known]
    unique = {names[row][1]: row for row in reversed(queries)}
    queries = np.array([row for row in queries if unique[names[row][1]] == row][: options.queries])
    assert len(queries) == options.queries

    for directory in ("img_emb", "text_emb", "metadata"):
        (options.output / directory).mkdir(parents=True, exist_ok=True)
        for stale in (options.output / directory).iterdir():
            stale.unlink()

    written: list[pathlib.Path] = []
    start = 0
    for ordinal, size in enumerate(shard_sizes(options.pairs, options.shards, generator)):
        part = gallery[start : start + size]
        start += size
        for directory, features in (("img_emb", images), ("text_emb", captions)):
            path = options.output / directory / f"{directory}_{ordinal:04}.npy"
            np.save(path, np.ascontiguousarray(features[part]))
            written.append(path)
        text = "".join("\t".join(names[row]) + "\n" for row in part)
        (options.output / "metadata" / f"metadata_{ordinal:04}.txt").write_text(text, encoding="utf-8")

    np.save(options.output / "queries.npy", np.ascontiguousarray(captions[queries]))
    text = "".join("\t".join(names[row]) + "\n" for row in queries)
    (options.output / "queries.txt").write_text(text, encoding="utf-8")

    written.sort()
    sizes = "".join(f"{path.name}, {path.stat().st_size}\n" for path in written)
    (options.output / "sizes.txt").write_text(sizes)
    sums = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(options.output)}\n" for path in written
    )
    (options.output / "sha256sums.txt").write_text(sums)


if __name__ == "__main__":
    main()
