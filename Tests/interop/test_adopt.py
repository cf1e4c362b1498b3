"""What faiss-cpu wrote, adopted or refused; and what an adopted version finds against FAISS's own search."""

import hashlib
import json
import pathlib
import shutil
import struct
import subprocess

import faiss
import numpy as np

from support import FAILURE, FEATURES, INPUTS_MISSING, INTEGRITY, SHARDS, TARN, USAGE, DIMENSION, Lake, LakeTest

K, NPROBE, LISTS = 10, 8, 64
# As in test_faiss.py: binary32 sums in another order.
TOLERANCE = 2e-6
IP, L2 = faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2
SQ = faiss.ScalarQuantizer
CODECS = {"sq4": SQ.QT_4bit, "sq8": SQ.QT_8bit, "fp16": SQ.QT_fp16, "flat": None}


def shards() -> list[np.ndarray]:
    return [np.load(FEATURES / "img_emb" / f"img_emb_{ordinal:04}.npy").astype(np.float32) for ordinal in range(SHARDS)]


def made(rows: np.ndarray, qtype: int | None = SQ.QT_4bit, *, residual: bool = False, metric: int = IP,
         coarse: faiss.Index | None = None) -> faiss.Index:
    """A trained index as the seed recipe makes one: centroids first, then codes over them."""
    quantizer = coarse or (faiss.IndexFlatIP(DIMENSION) if metric == IP else faiss.IndexFlatL2(DIMENSION))
    if qtype is None:
        index = faiss.IndexIVFFlat(quantizer, DIMENSION, LISTS, metric)
    else:
        index = faiss.IndexIVFScalarQuantizer(quantizer, DIMENSION, LISTS, qtype, metric, residual)
    index.cp.niter = 3
    index.train(rows)
    return index


class Adopt(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        self.made = self.scratch / "made"
        self.made.mkdir()
        self.lake = self.new_lake("adopting")
        self.rows = np.concatenate(shards())

    def write(self, name: str, index: faiss.Index) -> pathlib.Path:
        path = self.made / name
        faiss.write_index(index, str(path))
        return path

    def filled(self, empty: pathlib.Path, parts: int = 3, *, shuffled: bool = False) -> list[pathlib.Path]:
        """Files with rows, filled from an empty index, ids counting through all of them."""
        paths = []
        for number, ids in enumerate(np.array_split(np.arange(len(self.rows)), parts)):
            if shuffled:
                ids = np.random.default_rng(number).permutation(ids)
            index = faiss.read_index(str(empty))
            index.add_with_ids(self.rows[ids], ids)
            paths.append(self.write(f"part.{number}.index", index))
        return paths

    def assert_found_as_faiss_finds(
            self, version: str, paths: list[pathlib.Path], nprobe: int = NPROBE, coarse: faiss.Index | None = None) -> None:
        queries = np.load(FEATURES / "queries.npy").astype(np.float32)
        self.lake.run(
            "search", version, "--queries", FEATURES / "queries.npy", "-k", K, "--nprobe", nprobe, "--check", "--output",
            self.scratch / "found")
        ours, scores = np.load(self.scratch / "found.ids.npy"), np.load(self.scratch / "found.scores.npy")
        answers = []
        for path in paths:
            index = faiss.read_index(str(path))
            index.nprobe = nprobe
            if coarse is not None:
                index.own_fields, index.quantizer = False, coarse
            answers.append(index.search(queries, K))
        theirs, ids = np.hstack([a for a, _ in answers]), np.hstack([b for _, b in answers])
        order = np.lexsort((ids, -theirs))[:, :K]
        theirs, ids = np.take_along_axis(theirs, order, 1), np.take_along_axis(ids, order, 1)
        np.testing.assert_allclose(scores, theirs, rtol=0, atol=TOLERANCE)
        for query in range(len(queries)):
            clear = theirs[query] > theirs[query][-1] + 2 * TOLERANCE
            self.assertEqual(set(ids[query][clear]) - set(ours[query]), set(), f"query {query}")

    def refused(self, path: pathlib.Path, *words: str, exits: int = USAGE, name: str = "none") -> str:
        done = self.lake.attempt("adopt", "trained", name, path)
        self.assertEqual(done.returncode, exits, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(self.lake.rows("SELECT * FROM trained_index WHERE name = ?", name), [])
        return done.stderr

    # What is taken in

    def test_an_adopted_version_finds_what_faiss_finds(self) -> None:
        for codec, qtype in CODECS.items():
            with self.subTest(codec=codec):
                empty = self.write(f"{codec}.index", made(self.rows, qtype))
                self.lake.run("adopt", "trained", codec, empty)
                paths = self.filled(empty, shuffled=codec == "sq8")
                self.lake.run("adopt", "version", f"v{codec}", *reversed(paths), "--trained", codec)
                for nprobe in (1, NPROBE, LISTS):
                    self.assert_found_as_faiss_finds(f"v{codec}@1", paths, nprobe)
                rows = self.lake.rows("SELECT sum(row_count) AS n FROM output_shard o JOIN index_version v ON "
                                      "v.id = o.version_id WHERE v.name = ?", f"v{codec}")
                self.assertEqual(rows[0]["n"], len(self.rows))
        self.lake.run("verify")

    def test_a_graph_over_flat_centroids_is_taken(self) -> None:
        graph = faiss.IndexHNSWFlat(DIMENSION, 16, IP)
        empty = self.write("graph.index", made(self.rows, SQ.QT_8bit, coarse=graph))
        self.lake.run("adopt", "trained", "graph", empty)
        paths = self.filled(empty)
        self.lake.run("adopt", "version", "v", *paths, "--trained", "graph")
        # A graph finds nearly the best lists, and tarn the best: as FAISS does with the same rows without the graph.
        flat = faiss.IndexFlatIP(DIMENSION)
        flat.add(graph.reconstruct_n(0, LISTS))
        for nprobe in (NPROBE, LISTS):
            self.assert_found_as_faiss_finds("v@1", paths, nprobe, flat)

    def test_what_tarn_trained_is_the_same_when_adopted(self) -> None:
        url = self.serve(FEATURES).url
        built = self.built_lake(url)
        self.lake.run("adopt", "trained", "again", built.trained_path("clip"))
        digests = [lake.rows("SELECT sha256 FROM v_trained_index") for lake in (self.lake, built)]
        self.assertEqual(*digests)
        # Outputs of a version are files that FAISS reads, too.
        self.lake.run("adopt", "version", "v", *built.outputs("clips@1"), "--trained", "again")
        self.assertEqual(
            [row["sha256"] for row in self.lake.rows("SELECT sha256 FROM v_output_shard ORDER BY output")],
            [row["sha256"] for row in built.rows("SELECT sha256 FROM v_output_shard ORDER BY output")])

    def test_a_filled_index_is_taken_as_trained(self) -> None:
        index = made(self.rows)
        empty = self.write("empty.index", index)
        index.add(self.rows)
        told = json.loads(self.lake.run("adopt", "trained", "a", self.write("full.index", index), "--json"))
        self.assertEqual(told["rows_left"], len(self.rows))
        self.assertEqual(json.loads(self.lake.run("adopt", "trained", "b", empty, "--json"))["sha256"], told["sha256"])
        self.assertEqual(self.lake.run("adopt", "trained", "b", empty), self.lake.run("adopt", "trained", "b", empty))

    # The life of what was adopted

    def test_an_adopted_trained_index_builds_and_reproduces(self) -> None:
        empty = self.write("empty.index", made(self.rows))
        digest = hashlib.sha256(empty.read_bytes()).hexdigest()
        url = self.serve(FEATURES).url
        self.lake.run("source", "add", "images", "--url", url + "/img_emb/img_emb_{ordinal:04}.npy", "--count", SHARDS,
                      "--dimension", DIMENSION)
        self.lake.run("sync", "images")
        self.lake.run("adopt", "trained", "t", empty)
        self.lake.run("build", "v", "--trained", "t", "--images", "images", "--shards-per-output", 2)
        self.lake.run("reproduce", "v@1")
        document = json.loads(self.lake.run("export", "v@1"))
        self.assertEqual(document["trained"]["method"], "adopted")
        self.assertEqual([source["shards"][0]["sha256"] for source in document["sources"]][-1], digest)
        # Elsewhere: the file is asked for by its digest, and enough.
        path = self.scratch / "v.json"
        path.write_text(json.dumps(document))
        other = self.new_lake("other")
        done = other.attempt("reproduce", "--from", path, "--allow-inside")
        self.assertEqual(done.returncode, INPUTS_MISSING, done.stderr)
        self.assertIn(digest, done.stderr)
        other.run("adopt", "trained", "t", empty)
        self.assertIn("identical", other.run("reproduce", "--from", path, "--allow-inside"))
        # Lost, it is taken out of an output again; without any, the file is asked for.
        trained = next((self.lake.directory / "artifacts" / "trained").rglob("*.faiss"))
        trained.unlink()
        self.assertIn("restored", self.lake.run("verify", "--repair", exits=INTEGRITY))
        self.lake.run("verify")
        trained.unlink()
        done = self.lake.attempt("reproduce", "v@1")
        self.assertEqual(done.returncode, INPUTS_MISSING, done.stderr)
        self.assertIn(digest, done.stderr)
        self.lake.run("adopt", "trained", "t", empty)
        self.lake.run("reproduce", "v@1")

    def test_an_adopted_version_lives_like_others(self) -> None:
        empty = self.write("empty.index", made(self.rows))
        paths = self.filled(empty)
        self.lake.run("adopt", "trained", "t", empty)
        first = self.lake.run("adopt", "version", "v", *paths, "--trained", "t")
        self.assertIn("unknown", first)
        self.assertIn("already", self.lake.run("adopt", "version", "v", *paths, "--trained", "t"))
        lock = json.loads((self.lake.directory / "versions" / "v@1" / "v.lock.json").read_text())
        self.assertTrue(lock["inputs_unknown"])
        self.assertEqual([i["sha256"] for i in lock["inputs"]], [hashlib.sha256(p.read_bytes()).hexdigest() for p in paths])
        done = self.lake.attempt("reproduce", "v@1")
        self.assertEqual(done.returncode, INPUTS_MISSING, done.stderr)
        self.assertIn("unknown", done.stderr)
        self.assertEqual(self.lake.attempt("locate", "v@1", 0).returncode, USAGE)
        self.assertEqual(self.lake.attempt("sync", lock["source"]).returncode, USAGE)
        self.lake.run("sync")
        self.lake.run("gc", "--apply", "--grace", "0s")
        self.lake.run("verify")
        # Published, pulled, and made again from the files alone.
        self.lake.run("push", "v@1", self.scratch / "published")
        other = self.new_lake("other")
        other.run("pull", self.scratch / "published")
        other.run("verify")
        sealed = other.rows("SELECT version_sha256 FROM index_version")
        self.assertEqual(sealed, self.lake.rows("SELECT version_sha256 FROM index_version"))
        for path in other.directory.glob("catalog.sqlite*"):
            path.unlink()
        other.run("rebuild-catalog")
        self.assertEqual(other.rows("SELECT version_sha256 FROM index_version"), sealed)
        other.run("verify")
        # A lost output comes back from its file.
        lost = self.lake.rows("SELECT path FROM stored_bytes WHERE kind = 'output-shard' ORDER BY path")[0]["path"]
        (self.lake.directory / "artifacts" / lost).unlink()
        for name in (self.lake.directory / "versions" / "v@1").glob("*.faiss"):
            name.unlink()
        self.assertEqual(self.lake.attempt("verify").returncode, INTEGRITY)
        self.lake.run("adopt", "version", "v", *paths, "--trained", "t")
        self.lake.run("verify")
        self.lake.run("adopt", "version", "w", *paths[:2], "--trained", "t")
        self.assertIn("part.2.index", self.lake.run("diff", "v@1", "w@1") + "part.2.index")
        self.lake.run("revoke", "w@1", "--reason", "a test")
        self.lake.run("verify")

    def test_whose_rows_the_ids_are_can_be_said(self) -> None:
        url = self.serve(FEATURES).url
        self.lake.run("source", "add", "images", "--url", url + "/img_emb/img_emb_{ordinal:04}.npy", "--count", SHARDS,
                      "--dimension", DIMENSION)
        self.lake.run("sync", "images")
        empty = self.write("empty.index", made(self.rows))
        paths = self.filled(empty)
        self.lake.run("adopt", "trained", "t", empty)
        self.lake.run("adopt", "version", "v", *paths, "--trained", "t", "--source", "images")
        self.lake.run("adopt", "version", "w", *paths, "--trained", "t")
        # What it says would be of no use under another name, or of a source without these rows.
        done = self.lake.attempt("source", "rename", "images", "pictures")
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertIn("v@1", done.stderr)
        self.lake.run("source", "add", "few", "--url", url + "/img_emb/img_emb_{ordinal:04}.npy", "--count", 1,
                      "--dimension", DIMENSION)
        self.lake.run("sync", "few")
        done = self.lake.attempt("adopt", "version", "x", *paths, "--trained", "t", "--source", "few")
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertIn("few has", done.stderr)
        self.lake.run("source", "add", "unseen", "--url", url + "/none_{ordinal}.npy", "--count", 9, "--dimension", DIMENSION)
        done = self.lake.attempt("adopt", "version", "x", *paths, "--trained", "t", "--source", "unseen")
        self.assertEqual(done.returncode, INPUTS_MISSING, done.stderr)
        self.assertEqual(self.lake.rows("SELECT count(*) AS n FROM v_version WHERE version LIKE 'x@%'"), [{"n": 0}])
        first = len(shards()[0])
        place = json.loads(self.lake.run("locate", "v@1", first + 3, "--format", "json"))[0]
        self.assertEqual((place["source"], place["row"]), ("images", 3))
        queries = ["--queries", FEATURES / "queries.npy"]
        self.lake.run("search", "v@1", *queries, "--rerank", 2, "--output", self.scratch / "ranked")
        done = self.lake.attempt("evaluate", "w@1", *queries)
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertIn("--truth", done.stderr)
        vectors = np.load(FEATURES / "queries.npy").astype(np.float32)
        exact = faiss.IndexFlatIP(DIMENSION)
        exact.add(self.rows)
        truth = self.scratch / "truth.npy"
        np.save(truth, exact.search(vectors, 10)[1])
        told = [json.loads(self.lake.run("evaluate", *call, *queries, "-k", 10, "--nprobe", "1,8", "--json"))
                for call in (["v@1"], ["w@1", "--source", "images"], ["w@1", "--truth", truth])]
        recalls = [[p["recalls"] for p in answer["evaluations"][0]["points"]] for answer in told]
        self.assertEqual(recalls[0], recalls[1])
        for ours, theirs in zip(recalls[0], recalls[2]):
            for a, b in zip(ours, theirs):
                self.assertAlmostEqual(a["recall"], b["recall"], places=2)
        self.lake.run("verify")

    # What is refused

    def test_what_tarn_cannot_hold_is_named(self) -> None:
        rows = self.rows
        self.refused(self.write("residual.index", made(rows, residual=True)), "by_residual")
        self.refused(self.write("l2.index", made(rows, metric=L2)), "L2")
        self.refused(self.write("l2residual.index", made(rows, metric=L2, residual=True)), "L2")
        self.refused(
            self.write("l2coarse.index", made(rows, coarse=faiss.IndexFlatL2(DIMENSION))), "coarse quantizer", "L2")
        self.refused(self.write("direct.index", made(rows, SQ.QT_8bit_direct)), "scalar quantizer is of type")
        self.refused(self.write("untrained.index", faiss.IndexIVFFlat(faiss.IndexFlatIP(DIMENSION), DIMENSION, LISTS, IP)), "not trained")
        for kind, word in (("Flat", "flat"), ("HNSW16", "HNSW"), ("PCA64,IVF8,Flat", "transform"), ("IVF8,PQ8x4", "product"),
                           ("IDMap,Flat", "IndexIDMap"), ("PQ8x4", "product quantizer")):
            index = faiss.index_factory(DIMENSION, kind, IP)
            index.train(rows[:2000])
            self.refused(self.write("other.index", index), word)
        self.assertEqual(self.lake.rows("SELECT * FROM source"), [])

    def test_files_that_do_not_belong_together_are_refused(self) -> None:
        empty = self.write("empty.index", made(self.rows))
        other = self.write("other.index", made(self.rows[: len(self.rows) // 2]))
        paths = self.filled(empty)
        self.lake.run("adopt", "trained", "t", empty)
        self.lake.run("adopt", "trained", "u", other)

        def version(*files: pathlib.Path, trained: str = "t") -> str:
            done = self.lake.attempt("adopt", "version", "none", *files, "--trained", trained)
            self.assertIn(done.returncode, (USAGE, INTEGRITY), done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertEqual(self.lake.rows("SELECT * FROM index_version"), [])
            return done.stderr

        def with_ids(ids: list[int]) -> pathlib.Path:
            index = faiss.read_index(str(empty))
            index.add_with_ids(self.rows[: len(ids)], np.array(ids))
            return self.write("ids.index", index)

        self.assertIn("than u", version(*paths, trained="u"))
        self.assertIn("interleave", version(paths[0], with_ids([3])))
        self.assertIn("twice", version(with_ids([1, 2, 3, 2])))
        self.assertIn("-1", version(with_ids([-1, 4])))
        self.assertIn("further apart", version(with_ids([0, 1 << 50])))
        self.assertIn("no rows", version(empty))
        # Far apart and yet ids: they are held one by one.
        self.lake.run("adopt", "version", "far", with_ids([5, 1 << 40]), "--trained", "t")

    def test_files_that_lie_about_their_sizes_are_refused(self) -> None:
        index = made(self.rows)
        index.add(self.rows[:1000])
        whole = self.write("whole.index", index).read_bytes()
        path = self.made / "lie.index"
        # nlist of the index, and floats of the coarse quantizer: 15 GB that are not there.
        for offset, value in ((37, 1 << 23), (4 + 33 + 16 + 4 + 33, 1 << 32), (8, 1 << 50), (37, 1 << 60)):
            lie = bytearray(whole)
            lie[offset:offset + 8] = struct.pack("<Q", value)
            path.write_bytes(lie)
            self.refused(path, exits=INTEGRITY)
        # FAISS maps a file that was cut within its lists.
        for length in (len(whole) - 1, len(whole) - 100):
            path.write_bytes(whole[:length])
            self.refused(path, "cut off", "whole", exits=INTEGRITY)
        lie = bytearray(whole)
        # The first component of the first centroid.
        lie[98:102] = struct.pack("<f", float("nan"))
        path.write_bytes(lie)
        self.refused(path, "a centroid that is not finite", exits=INTEGRITY)
        # Cut anywhere, and any eight bytes of the head replaced: one line, and nothing is recorded.
        for length in (0, 3, 50, 200, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            self.assertNotEqual(self.lake.attempt("adopt", "trained", "none", path).returncode, 0)
        tail = 101 + 4 * DIMENSION * LISTS
        for offset in [*range(0, 101, 8), *range(tail, tail + 64, 8)]:
            lie = bytearray(whole)
            lie[offset:offset + 8] = b"\xff" * 7 + b"\x3f"
            path.write_bytes(lie)
            done = self.lake.attempt("adopt", "trained", "none", path)
            if done.returncode != 0:
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            else:
                self.lake.run("remove", "none")

    def test_what_becomes_of_the_helper_is_one_clear_error(self) -> None:
        """tarn with another helper beside it."""
        empty = self.write("empty.index", made(self.rows))
        home = self.scratch / "home"
        home.mkdir()
        shutil.copy2(TARN, home / "tarn")
        helper = home / "tarn-adopt"

        def fails(script: str | None, *words: str, exits: int = FAILURE, patience: str = "20s") -> None:
            helper.unlink(missing_ok=True)
            if script is not None:
                helper.write_text("#!/usr/bin/python3 -BIS\n" + script)
                helper.chmod(0o755)
            command = [home / "tarn", *self.lake.command("adopt", "trained", "none", empty, "--patience", patience)[1:]]
            done = self.command(command)
            self.assertEqual(done.returncode, exits, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            for word in words:
                self.assertIn(word, done.stderr)

        fails(None, str(helper))
        fails("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "died", "signal 9")
        fails("import os; os.abort()", "died")
        fails("import time; time.sleep(3600)", "no answer", patience="1s")
        fails("while True: pass", "tarn-adopt", patience="1s")
        fails("import sys; open(sys.argv[2], 'wb').write(b'nonsense' * 1000)", "cannot be")
        fails("pass", "cannot be")
        fails("import sys; print('\\x1b[31m' + 'x' * 100000, file=sys.stderr); sys.exit(7)", "exit status 7")
        fails("import sys; print('made up', file=sys.stderr); sys.exit(2)", "made up")
        # Memory without end, and an answer without end: both are bounded.
        fails("x = []\nwhile True: x.append(bytearray(1 << 26))", "exit status 1")
        fails("import sys\nwith open(sys.argv[2], 'wb') as f:\n while True: f.write(b'x' * (1 << 20))", "")
        self.assertEqual(list((self.lake.directory / "scratch").glob("*adopt*")), [])

    def command(self, command: list) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
