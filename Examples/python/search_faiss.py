#!/usr/bin/env python3
"""Search a version with stock FAISS, without tarn.

    search_faiss.py VERSION-DIRECTORY QUERIES.npy [-k 5] [--nprobe 8]

The files of a version are IVF indexes with global row ids: each is searched, and the
best of all are the answer. They are mapped, so memory holds what is read of them.
"""

import argparse
import json
import pathlib

import faiss
import numpy as np


def open_version(directory: pathlib.Path) -> list[faiss.Index]:
    """The outputs of a version in their order; its lock file says how many rows each has."""
    (lock_path,) = directory.glob("*.lock.json")
    name = lock_path.name.removesuffix(".lock.json")
    lock = json.loads(lock_path.read_text())
    indexes = []
    for output in lock["outputs"]:
        index = faiss.read_index(str(directory / f"{name}.{output['output']:03}.faiss"), faiss.IO_FLAG_MMAP)
        assert index.ntotal == output["rows"]
        indexes.append(index)
    return indexes


def search(indexes: list[faiss.Index], queries: np.ndarray, k: int, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and ids `[queries × k]`, best first; id -1 where there are fewer rows."""
    found = []
    for index in indexes:
        faiss.extract_index_ivf(index).nprobe = nprobe
        found.append(index.search(queries, k))
    scores = np.concatenate([scores for scores, _ in found], axis=1)
    ids = np.concatenate([ids for _, ids in found], axis=1)
    # Of equal scores the lower id comes first, as in tarn.
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", type=pathlib.Path)
    parser.add_argument("queries", type=pathlib.Path)
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--nprobe", type=int, default=8)
    arguments = parser.parse_args()
    indexes = open_version(arguments.version)
    queries = np.load(arguments.queries).astype(np.float32)
    scores, ids = search(indexes, queries, arguments.k, arguments.nprobe)
    print(f"{len(indexes)} files, {sum(index.ntotal for index in indexes)} rows, {len(queries)} queries")
    for rank, (score, row) in enumerate(zip(scores[0], ids[0]), 1):
        print(f"query 0, rank {rank}: row {row}, score {score:.4f}")


if __name__ == "__main__":
    main()
