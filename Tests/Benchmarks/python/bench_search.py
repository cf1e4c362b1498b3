#!/usr/bin/env python3
"""Searching an index file: tarn and faiss-cpu on the same file, in turn in one run.

    bench_search.py [speed] [fastscan] [refine] [memory] [--rows 4000000] [--rounds 5] [--keep FILE]

speed: queries per second at batches of 1, 32 and 1,000, one and two threads, the same nprobe; that both find the same
rows; at batch 1, bytes of codes scanned per second beside the rate at which the mapped file can be read at all.
fastscan: the same beside faiss-cpu's fast scan over the same codes. Its scalar quantizer has none yet (its pull requests 5340 and
5341 are not in 1.15.1); a product quantizer of as many parts as dimensions is the same codes, and the kernel is the one they use.
Its tables have eight bits, so its rows are not always the best: how many it finds of those that the codes' scores put first.
refine: the rate of searches whose best 100 rows are ordered again by 8 bits a component, in a file of their own, beside
the rate of the same searches without; both of tarn, in turn.
memory: the same file searched by a process that may hold a quarter of it (a memory cgroup; needs root).

The file: the example features brought to 768 dimensions by a seeded orthogonal map, enlarged by seeded jitter, encoded
in 4 bits, and enlarged again by changing levels by one at random. Queries are captions with jitter.
"""

import argparse
import json
import os
import pathlib
import statistics
import struct
import subprocess
import tempfile
import time

import numpy as np

from bench_assign import DIMENSION, Features, unit

ROOT = pathlib.Path(__file__).resolve().parents[3]
BENCH = pathlib.Path(os.environ.get("TARN_BENCH", ROOT / ".build" / "release" / "tarn-bench"))
NLIST, NPROBE, K = 4096, 16, 10
CODE = DIMENSION // 2


def encode(rows: np.ndarray, low: np.ndarray, width: np.ndarray) -> np.ndarray:
    levels = (np.clip((rows - low) / width, 0, 1) * 15).astype(np.uint8)
    return levels[:, 0::2] | levels[:, 1::2] << 4


def write_index(path: pathlib.Path, features: Features, rows: int) -> None:
    """An IndexIVFScalarQuantizer as tarn and FAISS write it, list by list."""
    copies = 16
    base = features.more(features.images, rows // copies, seed=21)
    centroids = features.more(features.images, NLIST, seed=22)
    lists = np.concatenate([(part @ centroids.T).argmax(axis=1) for part in np.array_split(base, 32)])
    order = np.argsort(lists, kind="stable")
    low, high = base.min(axis=0), base.max(axis=0)
    width = high - low
    codes = encode(base[order], low, width)
    sizes = np.bincount(lists, minlength=NLIST) * copies
    count = int(sizes.sum())

    def header(total: int) -> bytes:
        return struct.pack("<iqqqBi", DIMENSION, total, 1 << 20, 1 << 20, 1, 0)
    random = np.random.default_rng(23)
    with open(path, "wb") as file:
        file.write(b"IwSq" + header(count) + struct.pack("<QQ", NLIST, NPROBE))
        file.write(b"IxFI" + header(NLIST) + struct.pack("<Q", centroids.size) + centroids.tobytes())
        file.write(struct.pack("<BQ", 0, 0))
        file.write(struct.pack("<iifQQQ", 1, 0, 0.0, DIMENSION, CODE, 2 * DIMENSION))
        file.write(low.astype("<f4").tobytes() + width.astype("<f4").tobytes() + struct.pack("<QB", CODE, 0))
        file.write(b"ilar" + struct.pack("<QQ", NLIST, CODE))
        if (sizes > 0).sum() > NLIST // 2:
            file.write(b"full" + struct.pack("<Q", NLIST) + sizes.astype("<u8").tobytes())
        else:
            used = np.flatnonzero(sizes)
            pairs = np.stack([used, sizes[used]], axis=1)
            file.write(b"sprs" + struct.pack("<Q", pairs.size) + pairs.astype("<u8").tobytes())
        first, at = 0, 0
        for size in sizes:
            own = codes[at:at + size // copies]
            at += size // copies
            for copy in range(copies):
                noise = np.frombuffer(random.bytes(own.size), np.uint8).reshape(own.shape) & (0x11 if copy else 0)
                file.write((own ^ noise).tobytes())
            file.write(np.arange(first, first + size, dtype="<i8").tobytes())
            first += int(size)


def write_refine(path: pathlib.Path, count: int) -> None:
    """An IndexScalarQuantizer of 8 bits with codes of nothing in particular: what they are costs no time."""
    random = np.random.default_rng(24)
    with open(path, "wb") as file:
        file.write(b"IxSQ" + struct.pack("<iqqqBi", DIMENSION, count, 1 << 20, 1 << 20, 1, 0))
        file.write(struct.pack("<iifQQQ", 0, 0, 0.0, DIMENSION, DIMENSION, 2 * DIMENSION))
        file.write(np.full(DIMENSION, -0.1, "<f4").tobytes() + np.full(DIMENSION, 0.2, "<f4").tobytes())
        file.write(struct.pack("<Q", count * DIMENSION))
        for first in range(0, count, 1 << 16):
            file.write(random.bytes(min(1 << 16, count - first) * DIMENSION))


class Tarn:
    def __init__(self, index: pathlib.Path, queries: pathlib.Path, cgroup: pathlib.Path | None = None,
                 refine: pathlib.Path | None = None) -> None:
        def enter() -> None:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))
        self.process = subprocess.Popen(
            [str(BENCH), "search", "--shards", str(index), "--queries", str(queries),
             *(["--refine", str(refine)] if refine else [])], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, preexec_fn=enter if cgroup else None)
        self.say()

    def say(self, line: str = "") -> dict:
        if line:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def search(self, batch: int, count: int, threads: int, nprobe: int = NPROBE, ids: pathlib.Path | None = None) -> dict:
        return self.say(f"search {batch} {count} {nprobe} {K} {threads} {ids or ''}".strip())

    def rows(self, queries: np.ndarray, scratch: pathlib.Path) -> np.ndarray:
        """The rows of all answers, [queries x K]."""
        self.search(len(queries), len(queries), 2, ids=scratch / "ids")
        return np.fromfile(scratch / "ids", np.int64).reshape(-1, K)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Peer:
    """faiss-cpu with the file in memory, its fastest way."""

    def __init__(self, path: pathlib.Path, queries: np.ndarray) -> None:
        import faiss
        self.faiss, self.queries, self.next = faiss, queries, 0
        self.index = faiss.read_index(str(path))

    def search(self, batch: int, count: int, threads: int, nprobe: int = NPROBE) -> float:
        self.faiss.omp_set_num_threads(threads)
        self.index.nprobe = nprobe
        seconds = 0.0
        for done in range(0, count, batch):
            rows = self.queries.take(range(self.next, self.next + min(batch, count - done)), axis=0, mode="wrap")
            self.next = (self.next + len(rows)) % len(self.queries)
            start = time.perf_counter()
            self.index.search(rows, K)
            seconds += time.perf_counter() - start
        return seconds


class FastScan(Peer):
    """faiss-cpu with the file's codes as a product quantizer's of one dimension a part, in the layout of its fast scan."""

    def __init__(self, path: pathlib.Path, queries: np.ndarray) -> None:
        super().__init__(path, queries)
        faiss, scalar = self.faiss, self.index
        product = faiss.IndexIVFPQ(scalar.quantizer, scalar.d, scalar.nlist, scalar.d, 4, scalar.metric_type)
        product.by_residual = False
        low, width = faiss.vector_to_array(scalar.sq.trained).reshape(2, scalar.d, 1)
        levels = low + (np.arange(16) + 0.5) / 15 * width
        faiss.copy_array_to_vector(levels.astype(np.float32).ravel(), product.pq.centroids)
        # The fast scan takes the lists of an index that owns them, only.
        product.replace_invlists(scalar.invlists, True)
        scalar.own_invlists = False
        product.is_trained, product.ntotal = True, scalar.ntotal
        self.index = faiss.IndexIVFPQFastScan(product)
        # It keeps a reference to its quantizer, whose owner must live.
        self.scalar = scalar

    def found(self, tarn: Tarn, scratch: pathlib.Path, queries: np.ndarray) -> float:
        """The part of the rows of tarn's answers, which are the codes' best, that it finds."""
        best = tarn.rows(queries, scratch)
        self.index.nprobe = NPROBE
        theirs = self.index.search(queries, K)[1]
        return sum(len(set(a) & set(b)) for a, b in zip(best, theirs)) / best.size


def differing(peer: Peer, tarn: Tarn, scratch: pathlib.Path, queries: np.ndarray) -> int:
    """Queries for which a row that clearly belongs to the answer is missing from either."""
    ours = tarn.rows(queries, scratch)
    peer.faiss.omp_set_num_threads(2)
    peer.index.nprobe = NPROBE
    scores, theirs = peer.index.search(queries, K)
    clear = scores > scores[:, -1:] + 4e-6
    return sum(1 for row in range(len(queries)) if not set(theirs[row][clear[row]]) <= set(ours[row]))


def speed(index: pathlib.Path, queries: np.ndarray, scratch: pathlib.Path, rounds: int) -> None:
    path = scratch / "queries.npy"
    np.save(path, queries)
    tarn, peer = Tarn(index, path), Peer(index, queries)
    print(
        f"search: {peer.index.ntotal} rows of {DIMENSION} dimensions, 4 bits ({index.stat().st_size / 1e9:.1f} GB), nlist "
        f"{NLIST}, nprobe {NPROBE}, k {K}, faiss-cpu {peer.faiss.__version__}; queries per second, medians of {rounds}")
    for line in ("read 1", "read 2"):
        tarn.say(line)
    print(f"queries whose clear neighbours differ: {differing(peer, tarn, scratch, queries)} of {len(queries)}")
    print("batch  threads      tarn     faiss   ratio   refined  scored (of the rows shown to a query)")
    for batch, count, theirs_count in ((1, 200, 40), (32, 512, 128), (1000, 1000, 1000)):
        for threads in (1, 2):
            ours, theirs, cost = [], [], {}
            for _ in range(rounds):
                cost = tarn.search(batch, count, threads)
                ours.append(count / cost["seconds"])
                # It is slow at small batches, and gets a share of the queries there.
                theirs.append(theirs_count / peer.search(min(batch, theirs_count), theirs_count, threads))
            rate, other = statistics.median(ours), statistics.median(theirs)
            print(
                f"{batch:5}  {threads:7}  {rate:8.0f}  {other:8.0f}  {rate / other:5.1f}x  "
                f"{cost['refined'] / cost['shown']:7.2%}  {cost['scored'] / cost['shown']:7.3%}", flush=True)
    print(
        "batch 1, GB/s beside the rate at which as many threads read the same file, mapped, from end to end: codes of rows "
        "alone; with the centroids' codes, which each query reads too")
    for nprobe in (NPROBE, 64):
        for threads in (1, 2):
            scan, both, read = [], [], []
            for _ in range(rounds):
                cost = tarn.search(1, 100, threads, nprobe)
                scan.append(cost["bytes"] / cost["seconds"] / 1e9)
                both.append((cost["bytes"] + cost["ranked_bytes"]) / cost["seconds"] / 1e9)
                whole = tarn.say(f"read {threads}")
                read.append(whole["bytes"] / whole["seconds"] / 1e9)
            rate, more, limit = statistics.median(scan), statistics.median(both), statistics.median(read)
            print(
                f"nprobe {nprobe:3}, {threads} threads: {rate:5.1f} of {limit:5.1f} GB/s, {rate / limit:4.0%}; "
                f"{more:5.1f}, {more / limit:4.0%}", flush=True)
    tarn.close()


def fast_scan(index: pathlib.Path, queries: np.ndarray, scratch: pathlib.Path, rounds: int) -> None:
    path = scratch / "queries.npy"
    np.save(path, queries)
    tarn, peer = Tarn(index, path), FastScan(index, queries)
    print(
        f"fastscan: {peer.index.ntotal} rows of {DIMENSION} dimensions, 4 bits, nlist {NLIST}, nprobe {NPROBE}, k {K}; faiss-cpu "
        f"{peer.faiss.__version__} finds {peer.found(tarn, scratch, queries):.1%} of the codes' best rows, tarn all; "
        f"queries per second, medians of {rounds}")
    print("batch  threads      tarn  fast scan   ratio")
    for batch, count in ((1, 200), (32, 512), (1000, 1000)):
        for threads in (1, 2):
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(count / tarn.search(batch, count, threads)["seconds"])
                theirs.append(count / peer.search(batch, count, threads))
            rate, other = statistics.median(ours), statistics.median(theirs)
            print(f"{batch:5}  {threads:7}  {rate:8.0f}  {other:9.0f}  {rate / other:5.2f}x", flush=True)
    tarn.close()


def layout(index: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The centroids of a file that write_index wrote; where each list's codes begin, and its rows."""
    with open(index, "rb") as file:
        head = file.read((2 << 20) + 4 * NLIST * DIMENSION)
    centroids = np.frombuffer(head, "<f4", NLIST * DIMENSION, 98).reshape(NLIST, DIMENSION)
    at = head.index(b"ilar", 98 + 4 * centroids.size) + 20
    sizes = np.zeros(NLIST, np.int64)
    if head[at:at + 4] == b"full":
        sizes[:] = np.frombuffer(head, "<u8", NLIST, at + 12)
        first = at + 12 + 8 * NLIST
    else:
        count = struct.unpack_from("<Q", head, at + 4)[0]
        pairs = np.frombuffer(head, "<u8", count, at + 12).reshape(-1, 2)
        sizes[pairs[:, 0]] = pairs[:, 1]
        first = at + 12 + 8 * count
    return centroids, first + np.concatenate([[0], np.cumsum(sizes * (CODE + 8))[:-1]]), sizes


def forget(index: pathlib.Path) -> None:
    with open(index, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def raw(index: pathlib.Path, cgroup: pathlib.Path, turns: list[list[tuple[int, int]]]) -> float:
    """GB/s of a plain reader in the cgroup: the ranges of a turn are announced together, then read."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        (cgroup / "cgroup.procs").write_text(str(os.getpid()))
        buffer = bytearray(max(count for turn in turns for _, count in turn))
        file = os.open(index, os.O_RDONLY)
        start = time.perf_counter()
        for turn in turns:
            for offset, count in turn:
                os.posix_fadvise(file, offset, count, os.POSIX_FADV_WILLNEED)
            for offset, count in turn:
                os.preadv(file, [memoryview(buffer)[:count]], offset)
        os.write(writer, struct.pack("<d", time.perf_counter() - start))
        os._exit(0)
    seconds = struct.unpack("<d", os.read(reader, 8))[0]
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    return sum(count for turn in turns for _, count in turn) / seconds / 1e9


def memory(index: pathlib.Path, queries: np.ndarray, scratch: pathlib.Path) -> None:
    path = scratch / "queries.npy"
    np.save(path, queries)
    size = index.stat().st_size
    cgroup = pathlib.Path(f"/sys/fs/cgroup/memory/tarn-bench-{os.getpid()}")
    try:
        cgroup.mkdir()
        (cgroup / "memory.limit_in_bytes").write_text(str(size // 4))
    except OSError as error:
        print(f"memory: no memory cgroup here ({error})")
        return
    try:
        centroids, starts, sizes = layout(index)
        whole = [[(offset, min(4 << 20, size - offset))] for offset in range(0, size, 4 << 20)]
        # Queries that share few lists: each piece comes from the disk.
        asked = 60
        lists = np.argsort(-(queries[:asked] @ centroids.T), axis=1)[:, :NPROBE]
        turns = [[(int(starts[i]), int(sizes[i]) * CODE) for i in row if sizes[i]] for row in lists]
        disk, picks, all_lists, few = [], [], [], []
        for _ in range(3):
            forget(index)
            disk.append(raw(index, cgroup, whole))
            forget(index)
            picks.append(raw(index, cgroup, turns))
            forget(index)
            tarn = Tarn(index, path, cgroup)
            cost = tarn.search(1, asked, 2)
            few.append(cost["bytes"] / cost["seconds"] / 1e9)
            # All lists: every byte of the file, four times what may stay.
            cost = tarn.search(32, 32, 2, NLIST)
            all_lists.append(cost["bytes"] / cost["seconds"] / 1e9)
            tarn.close()
        peak = int((cgroup / "memory.max_usage_in_bytes").read_text())
        print(
            f"memory: a file of {size / 1e9:.2f} GB, processes that may hold {size / 4e9:.2f} GB (most, cache included, "
            f"{peak / 1e9:.2f} GB); GB/s, medians of 3, nothing cached to begin with")
        for what, ours, theirs in (
                ("all lists, 32 queries, beside reading the file", all_lists, disk),
                (f"one query at a time, nprobe {NPROBE}, beside reading the same lists", few, picks)):
            ours, theirs = statistics.median(ours), statistics.median(theirs)
            print(f"{what}: {ours:5.2f} of {theirs:5.2f} GB/s, {ours / theirs:4.0%}", flush=True)
    finally:
        cgroup.rmdir()


def refine(index: pathlib.Path, queries: np.ndarray, scratch: pathlib.Path, rounds: int) -> None:
    path, codes = scratch / "queries.npy", scratch / "index.refine"
    np.save(path, queries)
    plain = Tarn(index, path)
    with open(index, "rb") as file:
        (count,) = struct.unpack("<q", file.read(16)[8:])
    write_refine(codes, count)
    refined = Tarn(index, path, refine=codes)
    print(f"refine: the best 100 of {count} rows ordered again by 8 bits; queries per second, medians of {rounds}")
    print("batch  threads   without      with   ratio")
    for batch, queries_count in ((1, 200), (32, 512), (1000, 1000)):
        for threads in (1, 2):
            rates: tuple[list[float], list[float]] = ([], [])
            for _ in range(rounds):
                for tarn, verb, found in ((plain, "search", rates[0]), (refined, "refine", rates[1])):
                    cost = tarn.say(f"{verb} {batch} {queries_count} {NPROBE} {K} {threads}")
                    found.append(queries_count / cost["seconds"])
            without, with_codes = map(statistics.median, rates)
            print(f"{batch:5}  {threads:7}  {without:8.0f}  {with_codes:8.0f}  {with_codes / without:5.2f}x", flush=True)
    plain.close()
    refined.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["speed", "fastscan", "refine", "memory"])
    parser.add_argument("--features", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("TARN_BENCH_ROUNDS", "3")))
    parser.add_argument("--keep", type=pathlib.Path, help="use this index file, made if it is not there")
    options = parser.parse_args()
    try:
        import faiss  # noqa: F401
    except ImportError:
        print("search: faiss-cpu is not installed here; make bench installs it")
        return
    features = Features(options.features)
    queries = features.more(features.captions, 1000, seed=31)
    with tempfile.TemporaryDirectory(prefix="tarn-bench-") as directory:
        scratch = pathlib.Path(directory)
        index = options.keep or scratch / "index.faiss"
        if not index.exists():
            write_index(index, features, options.rows)
        if "speed" in options.parts:
            speed(index, queries, scratch, options.rounds)
        if "fastscan" in options.parts:
            fast_scan(index, queries, scratch, options.rounds)
        if "refine" in options.parts:
            refine(index, queries, scratch, options.rounds)
        if "memory" in options.parts:
            memory(index, queries, scratch)


if __name__ == "__main__":
    main()
