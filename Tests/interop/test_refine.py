"""Codes that refine: in stock FAISS, in recall, over interruptions, and in every other place of a version."""

import json
import re
import shutil

import faiss
import numpy as np

from support import FEATURES, NLIST, ROOT, INTEGRITY, USAGE, Lake, LakeTest, example

K, AGAIN = 10, 100


class Refine(LakeTest):
    """One lake with the same lists, refined by nothing, by sq8 and by fp16."""

    def setUp(self) -> None:
        super().setUp()
        self.lake = self.synced()
        self.queries = np.load(FEATURES / "queries.npy").astype(np.float32)

    def synced(self) -> Lake:
        lake = self.new_lake("template")
        for name, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            lake.run("source", "add", name, "--directory", FEATURES / kind, "--dimension", 512, "--modality", modality)
        lake.run("sync")
        return lake

    def train(self, name: str, *options: object, **environ: str) -> None:
        self.lake.run(
            "train", name, "--images", "images", "--captions", "captions", "--nlist", NLIST, "--iterations", 2, *options,
            **environ)

    def make(self, name: str, *options: object, lake: Lake | None = None, **environ: str) -> str:
        """The digest of version 1 of a name, trained and built."""
        self.train(name, *options, **environ)
        self.lake.run("build", name, "--trained", name, "--images", "images", "--shards-per-output", 4, **environ)
        return self.lake.rows("SELECT sha256 FROM v_version WHERE name = ?", name)[0]["sha256"]

    def lock(self, version: str) -> dict:
        name = version.split("@")[0]
        return json.loads((self.lake.directory / "versions" / version / f"{name}.lock.json").read_text())

    def parts(self, version: str) -> list[tuple[int, int, str]]:
        """First id, ids and file of the codes that refine each output."""
        return [(row["first_id"], row["end_id"] - row["first_id"], str(self.lake.directory / row["refine_file"]))
                for row in self.lake.rows("SELECT * FROM v_output_shard WHERE version = ? ORDER BY output", version)]

    def search(self, version: str, *options: object, **environ: str) -> tuple[np.ndarray, np.ndarray]:
        stem = self.scratch / "answer"
        self.lake.run(
            "search", version, "--queries", FEATURES / "queries.npy", "-k", K, "--nprobe", NLIST, "--output", stem,
            *options, **environ)
        return np.load(f"{stem}.ids.npy"), np.load(f"{stem}.scores.npy")

    def test_stock_faiss_reads_the_codes_and_ranks_by_them_alike(self) -> None:
        images = example("img_emb").astype(np.float32)
        page = (ROOT / "docs" / "REFINE.md").read_text()
        (lines,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        for codec, kind in (("sq8", faiss.ScalarQuantizer.QT_8bit), ("fp16", faiss.ScalarQuantizer.QT_fp16)):
            self.make(codec, "--refine", codec)
            for first_id, count, path in self.parts(f"{codec}@1"):
                refine = faiss.read_index(path)
                self.assertEqual((refine.ntotal, refine.d, refine.sq.qtype), (count, 512, kind))
                self.assertEqual(refine.metric_type, faiss.METRIC_INNER_PRODUCT)
                codes = faiss.vector_to_array(refine.codes).reshape(count, -1)
                np.testing.assert_array_equal(codes, refine.sa_encode(images[first_id:first_id + count]))
            # The best by the codes of the lists, from tarn; their order by the codes that refine, from FAISS.
            found, _ = self.search(f"{codec}@1", "--refine", 0, "-k", AGAIN)
            ids, scores = self.search(f"{codec}@1", "--refine", AGAIN)
            np.testing.assert_array_equal(ids, self.search(f"{codec}@1")[0])
            parts = [(first_id, faiss.read_index(path)) for first_id, _, path in self.parts(f"{codec}@1")]
            for number, query in enumerate(self.queries):
                best: list[tuple[float, int]] = []
                for first_id, refine in parts:
                    own = found[number][(found[number] >= first_id) & (found[number] < first_id + refine.ntotal)]
                    scope = {"refine": refine, "ids": own, "first_id": first_id, "query": query, "numpy": np}
                    exec(lines, scope)  # pylint: disable=exec-used
                    again = refine.reconstruct_batch(scope["best"] - first_id) @ query
                    self.assertTrue((np.diff(again) <= 1e-6).all())
                    best += zip(again.tolist(), scope["best"].tolist())
                best.sort(key=lambda row: (-row[0], row[1]))
                for (score, row), mine, value in zip(best, ids[number], scores[number]):
                    # Rows that float32 sums set apart are the same.
                    self.assertTrue(row == mine or abs(score - value) < 2e-6, (number, row, mine))

    def test_recall_is_that_of_flat_and_files_without_are_what_they_were(self) -> None:
        self.make("flat", "--codec", "flat")
        self.make("plain")
        self.make("refined", "--refine", "sq8")
        self.make("halves", "--refine", "fp16")
        answer = json.loads(self.lake.run(
            "evaluate", "flat@1", "plain@1", "refined@1", "halves@1", "--queries", FEATURES / "queries.npy", "-k", K, "--nprobe",
            f"4,{NLIST}", "--json"))
        recall = {
            evaluation["version"]: [point["recalls"][-1]["recall"] for point in evaluation["points"]]
            for evaluation in answer["evaluations"]}
        for flat, plain, refined, halves in zip(*recall.values()):
            # Eight bits lose a hundredth of what four lost; halves, of rows that were halves, nothing.
            self.assertGreaterEqual(refined, 0.98 * flat)
            self.assertGreater(refined, plain)
            self.assertGreaterEqual(halves, 0.995 * flat)
        print("refine: recall@10 " + ", ".join(f"{name} {values[-1]:.4f}" for name, values in recall.items()))
        self.assertEqual(
            [evaluation["refined_rows"] for evaluation in answer["evaluations"]], [None, None, AGAIN, AGAIN])
        # The outputs are the same files; what refines is said beside them, and nowhere else.
        outputs = [self.lock(f"{name}@1")["outputs"] for name in ("plain", "refined")]
        for plain, refined in zip(*outputs):
            self.assertEqual(plain, {key: value for key, value in refined.items() if key != "refine"})
        for name in ("plain", "flat"):
            for path in (self.lake.directory / "versions" / f"{name}@1").glob("*.json"):
                self.assertNotIn("refine", path.read_text(), path)
            self.assertEqual(list((self.lake.directory / "versions" / f"{name}@1").glob("*.refine")), [])
        measured = "SELECT count(*) FROM v_evaluation"
        count = self.lake.rows(measured)
        for verb in (["search"], ["evaluate", "refined@1"]):
            none = self.lake.attempt(
                *verb, "plain@1", "--queries", FEATURES / "queries.npy", "-k", 10, "--refine", 10)
            self.assertEqual(none.returncode, USAGE)
            self.assertIn("plain@1 has no codes that refine", none.stderr)
        self.assertEqual(self.lake.rows(measured), count)
        odd = self.lake.attempt("train", "odd", "--images", "images", "--nlist", 4, "--codec", "fp16", "--refine", "sq8")
        self.assertEqual(odd.returncode, USAGE)

    def test_bytes_and_answers_are_the_same_on_every_level_and_thread_count(self) -> None:
        template = self.lake
        found = set()
        for level, threads in (("portable", "1"), ("avx2", "3"), ("avx512", "2")):
            self.lake = Lake(self.scratch / level)
            shutil.copytree(template.directory, self.lake.directory)
            steer = {"TARN_SIMD": level, "TARN_THREADS": threads}
            probe = self.lake.attempt(
                "train", "probe", "--images", "images", "--nlist", 1, "--iterations", 1, "--method", "kmeans", **steer)
            if probe.returncode != 0:
                continue
            digest = self.make("v", "--refine", "sq8", **steer)
            ids, scores = self.search("v@1", "--threads", threads, **steer)
            found.add((digest, ids.tobytes(), scores.tobytes()))
        self.assertEqual(len(found), 1)

    def test_a_build_killed_at_any_step_gives_the_same_version(self) -> None:
        self.train("v", "--refine", "sq8")
        template = self.lake.directory
        command = ("build", "v", "--trained", "v", "--images", "images", "--shards-per-output", 3)

        def copy(name: str) -> Lake:
            shutil.copytree(template, self.scratch / name)
            return Lake(self.scratch / name)

        whole, log = copy("whole"), self.scratch / "steps.log"
        whole.run(*command, TARN_FAULT_LOG=str(log))
        (expected,) = whole.rows("SELECT sha256 FROM v_version")
        steps = log.read_text().splitlines()
        # All steps at and around those that make a file that refines, and a sample of the others.
        own = [number for number, line in enumerate(steps, 1) if "refine" in line]
        self.assertGreater(len(own), 8)
        wanted = sorted(
            {step for number in own for step in (number, number + 1) if step <= len(steps)}
            | set(range(1, len(steps), 31)))
        for step in wanted:
            lake = copy(f"killed-{step}")
            killed = lake.attempt(*command, TARN_FAULT=f"kill@{step}")
            self.assertEqual(killed.returncode, -9, step)
            lake.run(*command)
            self.assertEqual(lake.rows("SELECT sha256 FROM v_version"), [expected], step)
            self.assertEqual(lake.rows("PRAGMA integrity_check"), [{"integrity_check": "ok"}])
            lake.run("verify")
            unknown = [line for line in lake.run("gc", "--json").splitlines() if "refine/" in line]
            self.assertEqual(unknown, [], step)
            shutil.rmtree(lake.directory)
        print(f"refine: a build was killed at {len(wanted)} of {len(steps)} steps")

    def test_repair_push_pull_rebuild_reproduce_and_gc_know_them(self) -> None:
        lake = self.lake
        digest = self.make("v", "--refine", "sq8")
        ids, scores = self.search("v@1")
        paths = [path for _, _, path in self.parts("v@1")]
        self.assertEqual(len(paths), 2)

        def assert_same(other: Lake, version: str = "v@1") -> None:
            self.lake = other
            again = self.search(version)
            np.testing.assert_array_equal(again[0], ids)
            np.testing.assert_array_equal(again[1], scores)
            self.lake = lake

        # One byte of one code.
        with open(paths[0], "r+b") as file:
            file.seek(-5, 2)
            byte = file.read(1)
            file.seek(-5, 2)
            file.write(bytes([byte[0] ^ 1]))
        checked = lake.attempt("search", "v@1", "--queries", FEATURES / "queries.npy", "--check")
        self.assertEqual(checked.returncode, INTEGRITY)
        self.assertIn("refine-shard", lake.run("verify", exits=INTEGRITY))
        self.assertIn("restored", lake.run("verify", "--repair", exits=INTEGRITY))
        lake.run("verify")
        assert_same(lake)
        # Names come back like those of outputs.
        for path in paths:
            (lake.directory / path).unlink()
        lake.run("verify", "--repair", exits=INTEGRITY)
        lake.run("verify")
        assert_same(lake)
        reproduced = json.loads(lake.run("reproduce", "v@1", "--json"))
        self.assertEqual(reproduced["outcome"], "identical")
        # Elsewhere, and by whoever has neither shards nor segments.
        lake.run("push", "v@1", self.scratch / "published")
        pulled = self.new_lake("pulled")
        pulled.run("pull", self.scratch / "published", "v@1")
        pulled.run("verify")
        assert_same(pulled)
        other = self.scratch / "published" / "v@1" / "v.001.refine"
        other.write_bytes(other.read_bytes()[:-1] + b"\x01")
        refused = self.new_lake("refused").attempt("pull", self.scratch / "published", "v@1", "--patience", "0")
        self.assertNotEqual(refused.returncode, 0)
        # Without a catalog.
        shutil.copytree(lake.directory, self.scratch / "lost")
        lost = Lake(self.scratch / "lost")
        for path in lost.directory.glob("catalog.sqlite*"):
            path.unlink()
        lost.run("rebuild-catalog")
        lost.run("verify")
        assert_same(lost)
        self.assertEqual(lost.rows("SELECT sha256 FROM v_version"), [{"sha256": digest}])
        segments = lost.rows("SELECT count(*) AS n FROM segment")
        self.assertEqual(segments, [{"n": 6}])
        # The trained index comes back from an output and what refines it.
        trained = lost.trained_path("v")
        trained.unlink()
        lost.run("verify", "--repair", exits=INTEGRITY)
        self.assertTrue(trained.is_file())
        # Rows that are excluded leave zeros, whether the shards are here or not.
        listed = self.scratch / "excluded.txt"
        gone = [7, 1500, 3599]
        listed.write_text("\n".join(map(str, gone)))
        lake.run("exclude", "images", "--ids", listed, "--reason", "a test")
        lake.run("build", "v", "--trained", "v", "--images", "images", "--shards-per-output", 4)
        before = {}
        for version in ("v@1", "v@2"):
            # Each index lives as long as its codes are looked at.
            indexes = [faiss.read_index(path) for _, _, path in self.parts(version)]
            before[version] = np.concatenate(
                [faiss.vector_to_array(index.codes).reshape(index.ntotal, -1) for index in indexes])
        expected = before["v@1"].copy()
        expected[gone] = 0
        np.testing.assert_array_equal(before["v@2"], expected)
        lake.run("revoke", "v@1", "--reason", "a test")
        holders = lake.rows("SELECT kind, count(*) AS n FROM v_exclusion_holder WHERE kind IN ('output', 'refine') GROUP BY kind")
        self.assertEqual(holders, [{"kind": "output", "n": 3}, {"kind": "refine", "n": 3}])
        lake.run("gc", "--grace", "0d", "--apply")
        self.assertEqual(lake.rows("SELECT 1 FROM v_exclusion_holder WHERE kind IN ('output', 'refine')"), [])
        self.assertEqual([path for path in paths if (lake.directory / path).exists()], [])
        lake.run("verify")
        # By workers, with the same bytes.
        (version,) = lake.rows("SELECT sha256 FROM v_version WHERE version = 'v@2'")
        tasks = self.scratch / "tasks"
        # What a sealed version has would be no task.
        lake.run("revoke", "v@2", "--reason", "a test")
        lake.run("plan", "build", "w", "--trained", "v", "--images", "images", "--shards-per-output", 4, "--tasks", tasks)
        for number in (0, 1):
            self.lake.attempt("worker", tasks, "--task", number, "--scratch", self.scratch / "scratch")
        lake.run("ingest", tasks)
        made = [lake.rows("SELECT sha256, refine_sha256 FROM v_output_shard WHERE version = ? ORDER BY output", name)
                for name in ("v@2", "w@1")]
        self.assertEqual(made[0], made[1], version)
