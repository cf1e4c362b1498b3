"""Trainings whose searches others make: the same bits as on one machine, whatever happens to a round."""

import hashlib
import json
import pathlib
import re
import subprocess

import jsonschema
import numpy as np

from support import FEATURES, INTEGRITY, PARTIAL, ROOT, TARN, Lake, LakeTest, environment

SCHEMAS = ROOT / "docs" / "schemas"
OPTIONS = ("--images", "images", "--captions", "captions", "--nlist", 32, "--iterations", 3, "--seed", 5)
LEARNED = ("--router", "learned", "--router-epochs", 2)


class ClusterTraining(LakeTest):
    def lake_of_examples(self, name: str) -> Lake:
        lake = self.new_lake(name)
        lake.add_examples(f"file://{FEATURES}")
        lake.run("sync")
        return lake

    def facts(self, lake: Lake, name: str = "clip") -> tuple:
        """All that a training leaves: digests of artifacts, what its iterations did, its router's epochs."""
        return (
            lake.rows("SELECT sha256, spec_sha256 FROM trained_index WHERE name = ?", name),
            lake.rows("SELECT iteration, objective, moved_share, imbalance, empty_count FROM training_iteration ORDER BY 1"),
            lake.rows("SELECT epoch, loss FROM router_epoch ORDER BY 1"),
            lake.rows("SELECT sha256, byte_count FROM stored_bytes WHERE place = 'artifacts' ORDER BY 1"))

    def work(self, tasks: pathlib.Path, **environ: str) -> None:
        """Runs every command of run.txt, in the directory."""
        for line in (tasks / "run.txt").read_text().splitlines():
            done = subprocess.run(["sh", "-c", line], cwd=tasks, env=environment(**environ), capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    def rounds(self, lake: Lake, tasks: pathlib.Path) -> list[str]:
        """Carries rounds out until the index is trained; gives what each looked for."""
        steps = []
        while True:
            self.work(tasks)
            done = lake.attempt("ingest", tasks, "--json")
            outcome = json.loads(done.stdout.splitlines()[0])
            if done.returncode == 0:
                return steps
            self.assertEqual(done.returncode, PARTIAL, done.stderr)
            steps.append(outcome["step"])

    def test_rounds_give_the_bits_of_one_machine(self) -> None:
        alone, others, engine = (self.lake_of_examples(name) for name in ("alone", "others", "engine"))
        alone.run("train", "clip", *OPTIONS, *LEARNED)
        tasks = self.scratch / "tasks"
        planned = json.loads(others.run(
            "plan", "train", "clip", *OPTIONS, *LEARNED, "--tasks", tasks, "--parts", 3, "--json"))
        self.assertEqual((planned["step"], len(planned["tasks"])), ("nearest images", 3))
        steps = self.rounds(others, tasks)
        self.assertEqual(
            steps, [f"iteration {i}" for i in (1, 2, 3)] + [f"refinement {i}" for i in (1, 2, 3)]
            + ["router labels", "filing"])
        self.assertEqual(self.facts(others), self.facts(alone))
        engine.run("train", "clip", *OPTIONS, *LEARNED, "--executor", "local:2")
        self.assertEqual(self.facts(engine), self.facts(alone))
        self.assertFalse((engine.directory / "tasks" / "train-clip" / "matrices").exists())

    def test_the_control_with_a_router(self) -> None:
        alone, others = (self.lake_of_examples(name) for name in ("alone", "others"))
        options = (*OPTIONS, "--method", "kmeans", "--router", "caption-mean")
        alone.run("train", "clip", *options)
        tasks = self.scratch / "tasks"
        others.run("plan", "train", "clip", *options, "--tasks", tasks, "--parts", 2)
        self.rounds(others, tasks)
        self.assertEqual(self.facts(others), self.facts(alone))

    def test_documents_fit_their_schemas(self) -> None:
        lake = self.lake_of_examples("lake")
        training, build = self.scratch / "training", self.scratch / "build"
        lake.run("plan", "train", "clip", *OPTIONS, "--tasks", training, "--parts", 2)
        self.rounds(lake, training)
        lake.run("plan", "build", "clips", "--trained", "clip", "--images", "images", "--shards-per-output", 2, "--tasks",
                 build)
        self.work(build)
        counts = {}
        for kind in ("task", "receipt"):
            schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text())
            jsonschema.Draft202012Validator.check_schema(schema)
            validator = jsonschema.Draft202012Validator(schema)
            for tasks in (training, build):
                for path in sorted((tasks / f"{kind}s").iterdir()):
                    document = json.loads(path.read_text())
                    validator.validate(document)
                    counts[kind] = counts.get(kind, 0) + 1
                    # It is no schema that lets anything pass.
                    for member in document:
                        broken = {name: value for name, value in document.items() if name != member}
                        self.assertFalse(validator.is_valid(broken), f"{path.name} without {member}")
                    # What a later tarn says besides is passed over by readers, and by the schema.
                    self.assertTrue(validator.is_valid({**document, "other": 1}))
        self.assertEqual(counts["task"], counts["receipt"])
        self.assertGreaterEqual(counts["task"], 2 * 4 + 3)

    def test_what_a_worker_says_is_held_against_its_result(self) -> None:
        lake = self.lake_of_examples("lake")
        reference = self.lake_of_examples("reference")
        reference.run("train", "clip", *OPTIONS)
        tasks = self.scratch / "tasks"
        lake.run("plan", "train", "clip", *OPTIONS, "--tasks", tasks, "--parts", 3)
        self.work(tasks)
        receipts = sorted((tasks / "receipts").iterdir())

        def refused(exits: int = INTEGRITY) -> list[dict]:
            done = lake.attempt("ingest", tasks, "--json")
            self.assertEqual(done.returncode, exits, done.stdout + done.stderr)
            return json.loads(done.stdout.splitlines()[0])["refused"]

        # A receipt that was cut: its name does not say its digest any more.
        receipts[0].write_text(receipts[0].read_text()[:-40])
        (cut,) = refused()
        self.assertEqual(cut["task"], 0)
        self.assertRegex(cut["reason"], "cut or changed")
        self.assertFalse(receipts[0].exists())
        self.assertEqual(len((tasks / "run.txt").read_text().splitlines()), 1)
        # A result with a byte changed.
        self.work(tasks)
        result = next((tasks / "results").glob("0001.*.rows"))
        whole = result.read_bytes()
        result.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        (changed,) = refused()
        self.assertEqual(changed["task"], 1)
        self.assertRegex(changed["reason"], "is not what it says")
        self.work(tasks)
        # A result that is gone.
        next((tasks / "results").glob("0002.*.rows")).unlink()
        (gone,) = refused()
        self.assertEqual(gone["task"], 2)
        self.work(tasks)
        # A matrix that was changed: the worker says so, nothing is found.
        self.rounds(lake, tasks)
        self.assertEqual(self.facts(lake)[0], self.facts(reference)[0])

    def test_a_score_that_is_no_score_is_found(self) -> None:
        lake = self.lake_of_examples("lake")
        tasks = self.scratch / "tasks"
        lake.run("plan", "train", "clip", *OPTIONS, "--tasks", tasks, "--parts", 1)
        self.work(tasks)
        (receipt,) = (tasks / "receipts").iterdir()
        (result,) = (tasks / "results").glob("*.rows")
        # Well-formed from end to end, and all of it says the first image.
        old = result.read_bytes()
        count = 3600
        body = old[:40] + np.array([1, 1], "<u8").tobytes() + np.array([count], "<u8").tobytes()
        body += np.zeros(count, "<u4").tobytes() + np.array([count], "<u8").tobytes() + np.full(count, 0.5).tobytes()
        forged = body + hashlib.sha256(body).digest()
        self.assertEqual(len(forged), len(old))
        digest = hashlib.sha256(forged).hexdigest()
        document = json.loads(receipt.read_text())
        document["result"]["sha256"] = digest
        (tasks / "results" / f"0000.{digest}.rows").write_bytes(forged)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        receipt.unlink()
        (tasks / "receipts" / f"0000.{hashlib.sha256(text.encode()).hexdigest()}.json").write_text(text)
        done = lake.attempt("ingest", tasks, "--json")
        self.assertEqual(done.returncode, INTEGRITY, done.stdout + done.stderr)
        self.assertRegex(json.loads(done.stdout.splitlines()[0])["refused"][0]["reason"], "wrong score")

    def test_a_worker_refuses_a_matrix_that_changed(self) -> None:
        lake = self.lake_of_examples("lake")
        tasks = self.scratch / "tasks"
        lake.run("plan", "train", "clip", *OPTIONS, "--tasks", tasks, "--parts", 2)
        task = json.loads(next((tasks / "tasks").glob("0000.*")).read_text())
        for part in ("vectors", "rows"):
            path = tasks / "matrices" / f"{task[part]['sha256']}.npy"
            whole = path.read_bytes()
            path.unlink()
            path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
            done = subprocess.run(
                [str(TARN), "worker", str(tasks), "--task", "0"], env=environment(), capture_output=True, text=True)
            self.assertEqual(done.returncode, INTEGRITY, done.stderr)
            self.assertEqual(list((tasks / "receipts").iterdir()), [])
            failure = json.loads((tasks / "failures" / "0000.json").read_text())
            self.assertEqual(failure["status"], INTEGRITY)
            path.write_bytes(whole)
        shown = lake.run("plan", "--again", tasks)
        self.assertTrue(re.search(r"task 0: .*other bytes", shown), shown)
        self.work(tasks)
        self.assertFalse((tasks / "failures" / "0000.json").exists())

    def test_a_directory_has_one_plan(self) -> None:
        lake = self.lake_of_examples("lake")
        tasks = self.scratch / "tasks"
        lake.run("plan", "train", "clip", *OPTIONS, "--tasks", tasks)
        done = lake.attempt("plan", "train", "other", *OPTIONS, "--tasks", tasks)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("has the plan of clip", done.stderr)
        # The same again is the same.
        before = sorted(path.name for path in (tasks / "tasks").iterdir())
        lake.run("plan", "train", "clip", *OPTIONS, "--tasks", tasks)
        self.assertEqual(sorted(path.name for path in (tasks / "tasks").iterdir()), before)
