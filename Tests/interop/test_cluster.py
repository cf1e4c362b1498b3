"""A build as tasks, over a real Slurm and without one: one version digest in all cases.

Each test plans the same version of twelve outputs, has it made in another way, with other
accidents, and takes it in with the server of the sources stopped.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator

import kubernetes_validate
import numpy as np
import yaml

from support import PARTIAL, ROOT, TARN, Lake, LakeTest, Nginx, environment, json_lines

sys.path.insert(0, str(ROOT / "scripts"))
import slurm  # noqa: E402

IS_FULL = os.environ.get("TARN_TEST_FULL") == "1"
OUTPUTS = 12
DIMENSION = 32
ROWS = 1500
# While a file called `slow` lies in the root, a shard takes six seconds; with one called
# `slower`, more than a minute.
TRICKLE = """
    set $rate 0;
    if (-f @root@/slow) { set $rate 16k; }
    if (-f @root@/slower) { set $rate 1200; }
    limit_rate $rate;
    location / { root @root@; }
"""
BUILD = ("v", "--trained", "t", "--images", "images", "--shards-per-output", 1)


class World:
    """What all tests share: the sources, the lake that they start from, and the digest that
    all must end with."""

    def __init__(self, root: pathlib.Path) -> None:
        self.web = root / "web"
        self.web.mkdir()
        random = np.random.default_rng(1)
        for number in range(OUTPUTS):
            rows = random.standard_normal((ROWS, DIMENSION))
            np.save(self.web / f"img_{number}.npy", (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float16))
        self.server = Nginx(self.web, TRICKLE)
        unittest.addModuleCleanup(self.server.stop)
        self.lake = Lake(root / "origin")
        self.lake.run("init", self.lake.directory)
        self.lake.run(
            "source", "add", "images", "--url", f"{self.server.url}/img_{{ordinal}}.npy", "--count", OUTPUTS,
            "--dimension", DIMENSION)
        self.lake.run("sync")
        self.lake.run(
            "train", "t", "--images", "images", "--method", "kmeans", "--nlist", 16, "--iterations", 2, "--seed", 1)
        # One shard stays, for what is encoded again.
        self.lake.run("evict", "images", "--shards", f"1-{OUTPUTS - 1}")
        local = Lake(root / "local")
        shutil.copytree(self.lake.directory, local.directory)
        self.digest = json.loads(local.run("build", *BUILD, "--json"))["sha256"]


def setUpModule() -> None:
    global WORLD
    root = pathlib.Path(tempfile.mkdtemp(prefix="tarn-test-"))
    unittest.addModuleCleanup(shutil.rmtree, root, ignore_errors=True)
    WORLD = World(root)


class Cluster(LakeTest):
    """A lake with a trained index, whose version a test has made elsewhere."""

    def setUp(self) -> None:
        super().setUp()
        self.tasks = self.scratch / "tasks"
        self.lake = Lake(self.scratch / "lake")
        shutil.copytree(WORLD.lake.directory, self.lake.directory)

    @contextlib.contextmanager
    def slow_server(self, how: str = "slow") -> Iterator[None]:
        """Shards come at a trickle, as long as it lasts."""
        (WORLD.web / how).touch()
        try:
            yield
        finally:
            (WORLD.web / how).unlink()

    def plan(self, *options: object) -> None:
        self.lake.run("plan", "build", *BUILD, "--tasks", self.tasks, *options)

    def receipts(self) -> list[pathlib.Path]:
        return sorted((self.tasks / "receipts").glob("*.json"))

    def done(self) -> set[int]:
        return {int(path.name.split(".")[0]) for path in self.receipts()}

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), deadline, f"not yet: {what}; done {sorted(self.done())}; {self.logs()}")
            time.sleep(0.05)

    def logs(self) -> str:
        files = sorted((self.tasks / "logs").glob("*")) if self.tasks.exists() else []
        return "\n".join(f"{path.name}: {path.read_text()[-300:]}" for path in files)

    def ingest(self, exits: int = 0, *options: object) -> dict:
        """Takes in what is there, while the server of the sources does not answer."""
        WORLD.server.fail()
        try:
            return json_lines(self.lake.run("ingest", self.tasks, *options, "--json", exits=exits))[0]
        finally:
            WORLD.server.come_back()

    def assert_sealed(self, answer: dict, rechecked: bool = True) -> None:
        """It is the version of the local build, and was made elsewhere."""
        self.assertEqual((answer["sealed"], answer["sha256"]), (True, WORLD.digest))
        self.assert_made_elsewhere()
        if rechecked:
            self.assertEqual([check["shard"] for check in answer["rechecked"] if check["lack"] is None], ["img_0.npy"])

    def assert_made_elsewhere(self) -> None:
        segments = (self.lake.directory / "artifacts" / "segments").rglob("*")
        self.assertEqual([path for path in segments if path.is_file()], [], "rows were encoded in the lake")


class Tasks(Cluster):
    """Tasks without a scheduler."""

    def run_lines(self, script: str, directory: pathlib.Path | None = None) -> None:
        done = subprocess.run(
            ["sh", "-c", script], cwd=directory or self.tasks, env=environment(TMPDIR=str(self.scratch)),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_run_txt_is_a_shells(self) -> None:
        self.plan()
        self.run_lines("sh -e run.txt")
        self.assert_sealed(self.ingest())
        # Nothing is left of them that the lake has.
        self.assertEqual(list((self.tasks / "results").iterdir()), [])
        self.assertEqual(list(self.scratch.glob("tarn-*")), [])

    def test_run_txt_is_that_of_xargs_in_a_directory_that_was_moved(self) -> None:
        self.plan()
        moved = self.scratch / "it's another, elsewhere"
        self.tasks.rename(moved)
        self.tasks = moved
        self.run_lines("xargs -d '\\n' -P 2 -I LINE sh -c LINE < run.txt")
        self.assert_sealed(self.ingest())

    def test_two_workers_of_one_task_at_once(self) -> None:
        self.plan()
        command = [str(TARN), "worker", ".", "--task", "3", "--json"]
        with self.slow_server():
            both = [
                subprocess.Popen(
                    command, cwd=self.tasks, env=environment(TMPDIR=str(self.scratch)), stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(2)]
            self.wait("both are at work", lambda: len(list(self.scratch.glob("tarn-*"))) == 2)
        for worker in both:
            output, errors = worker.communicate(timeout=120)
            self.assertEqual(worker.returncode, 0, errors)
        self.assertEqual(len(list((self.tasks / "results").iterdir())), 1)
        self.assertEqual(list(self.scratch.glob("tarn-*")), [])
        self.run_lines("sh -e run.txt")
        self.assert_sealed(self.ingest())

    def segments(self) -> list[pathlib.Path]:
        return list(self.scratch.glob("tarn-*/segments/*.sha256"))

    def test_a_worker_that_is_killed_or_stopped_goes_on_behind_its_last_segment(self) -> None:
        self.lake.run(
            "plan", "build", "v", "--trained", "t", "--images", "images", "--shards-per-output", OUTPUTS, "--tasks",
            self.tasks)
        for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)):
            with self.slow_server():
                before = len(self.segments())
                worker = subprocess.Popen(
                    [str(TARN), "worker", ".", "--task", "0"], cwd=self.tasks,
                    env=environment(TMPDIR=str(self.scratch)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)
                self.wait("two more segments", lambda: len(self.segments()) > before + 1)
                worker.send_signal(number)
                self.assertEqual(worker.wait(timeout=60), status)
        asked = len([entry for entry in WORLD.server.requests() if entry["uri"] == "/img_1.npy"])
        self.run_lines("sh -e run.txt")
        self.assertEqual(len([entry for entry in WORLD.server.requests() if entry["uri"] == "/img_1.npy"]), asked)
        self.assertEqual(json.loads(self.lake.run("ingest", self.tasks, "--json"))["sealed"], True)

    def test_the_kubernetes_job_is_one(self) -> None:
        self.plan("--at-a-time", 4, "--image", "registry.example/tarn:1", "--claim", "shared")
        (document,) = yaml.safe_load_all((self.tasks / "k8s.yaml").read_text())
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        spec = document["spec"]
        self.assertEqual((spec["completions"], spec["parallelism"], spec["completionMode"]), (OUTPUTS, 4, "Indexed"))
        (rule,) = [rule for rule in spec["podFailurePolicy"]["rules"] if rule["action"] == "FailIndex"]
        self.assertEqual(rule["onExitCodes"]["values"], [12, 20, 21, 64])
        # A pod's host bears the job's name and its index: one part of a DNS name.
        self.assertRegex(f"{document['metadata']['name']}-{OUTPUTS - 1}", r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")

    def test_a_build_by_processes_of_this_machine(self) -> None:
        command = self.lake.command("build", *BUILD, "--executor", "local:2", "--json")
        with self.slow_server():
            process = subprocess.Popen(
                command, env=environment(TMPDIR=str(self.scratch)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True)
            self.wait("two are at work", lambda: len(list(self.scratch.glob("tarn-*"))) == 2)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, errors)
            self.assertIn("the workers of this machine were stopped", errors)
        answer = json.loads(self.lake.run("build", *BUILD, "--executor", "local:2", "--json", TMPDIR=str(self.scratch)))
        self.assertEqual(answer["sha256"], WORLD.digest)
        self.assert_made_elsewhere()
        self.assertEqual(list(self.scratch.glob("tarn-*")), [])


@unittest.skipIf(slurm.lack() is not None, f"{slurm.lack()}")
class OnSlurm(Cluster):
    """Tasks on two nodes, whose arrays have at most ten tasks."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.cluster = slurm.Slurm(array_size=10)
        cls.addClassCleanup(cls.cluster.stop)

    def setUp(self) -> None:
        super().setUp()
        if hasattr(type(self), "cluster"):
            self.addCleanup(self.cluster.call, "scancel", "--user=root")

    @property
    def environ(self) -> dict[str, str]:
        return {**self.cluster.environment, "TMPDIR": str(self.scratch)}

    def sbatch(self, *arguments: str) -> None:
        done = subprocess.run(
            ["sbatch", *arguments], cwd=self.tasks, env=environment(**self.environ), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def submit_arrays(self) -> int:
        """Submits the arrays as slurm.sh says that they are to be."""
        lines = re.findall(r"^#   (sbatch .*)$", (self.tasks / "slurm.sh").read_text(), re.MULTILINE)
        for line in lines:
            self.sbatch(*line.split()[1:])
        return len(lines)

    def queue(self) -> dict[str, str]:
        """State of every task that is not over, by job and index."""
        lines = self.cluster.ask("squeue", "--noheader", "--array", "--format=%i|%T").split()
        return dict(line.split("|") for line in lines)

    def running(self) -> list[str]:
        return [name for name, state in self.queue().items() if state == "RUNNING"]

    @contextlib.contextmanager
    def build(self, *options: object) -> Iterator[subprocess.Popen]:
        """`build --executor slurm` under way."""
        process = subprocess.Popen(
            self.lake.command("build", *BUILD, "--executor", "slurm", "--tasks", self.tasks, *options, "--json"),
            env=environment(**self.environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=self.scratch)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def jobs(self) -> list[dict]:
        return json.loads((self.tasks / "jobs.json").read_text())

    def jobs_known(self) -> int:
        return len(self.jobs()) if (self.tasks / "jobs.json").exists() else 0

    def assert_built(self, process: subprocess.Popen) -> None:
        output, errors = process.communicate(timeout=240)
        self.assertEqual(process.returncode, 0, f"{errors}\n{self.logs()}")
        self.assertEqual(json.loads(output)["sha256"], WORLD.digest, errors)
        self.assert_made_elsewhere()

    def test_arrays_that_a_user_submits_and_one_task_that_fails(self) -> None:
        self.plan("--array-size", 10)
        # The last task, which is of the second array.
        lost = WORLD.web / f"img_{OUTPUTS - 1}.npy"
        lost.rename(self.scratch / "lost.npy")
        try:
            self.assertEqual(self.submit_arrays(), 2)
            self.wait("the queue is empty", lambda: not self.queue())
        finally:
            (self.scratch / "lost.npy").rename(lost)
        answer = self.ingest(PARTIAL)
        self.assertEqual([task["task"] for task in answer["open"]], [OUTPUTS - 1])
        self.assertEqual((answer["open"][0]["status"], len(answer["recorded"])), (21, OUTPUTS - 1))
        self.assertIn(lost.name, answer["open"][0]["message"])
        again = json.loads(self.lake.run("plan", "--again", self.tasks, "--array-size", 10, "--json"))
        self.assertEqual(again["again"], [OUTPUTS - 1])
        self.assertEqual(len((self.tasks / "run.txt").read_text().splitlines()), 1)
        # As it is: the script knows which array it is of.
        self.sbatch("slurm.sh")
        self.wait("the queue is empty", lambda: not self.queue())
        self.assertEqual(self.done(), set(range(OUTPUTS)), self.logs())
        self.assert_sealed(self.ingest(), rechecked=False)

    def test_a_build_that_lets_go_and_attaches_again(self) -> None:
        with self.slow_server():
            with self.build() as process:
                self.wait("tasks run", lambda: len(self.running()) == 4)
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 130, errors)
                self.assertIn("the same command attaches again", errors)
            jobs = self.jobs()
            self.assertEqual([job["offset"] for job in jobs], [0, 10])
        with self.build() as process:
            self.assert_built(process)
        self.assertEqual(self.jobs(), jobs, "tasks were submitted twice")
        self.assertEqual(len(self.receipts()), OUTPUTS)

    def test_accidents_of_tasks_and_controller(self) -> None:
        with self.build("-v") as process:
            with self.slow_server():
                self.wait("tasks run", lambda: len(self.running()) == 4)
                stopped, requeued, *_ = self.running()
                self.cluster.call("scancel", "--signal=TERM", "--batch", stopped)
                self.assertEqual(self.cluster.call("scontrol", "requeue", requeued).returncode, 0)
                self.cluster.stop_controller()
                time.sleep(3)
                self.assertIsNone(process.poll(), "a silent controller ended the build")
                self.cluster.start_controller()
            self.assert_built(process)
        self.assertIn(len(self.jobs()), (2, 3))

    @unittest.skipUnless(IS_FULL, "takes minutes: TARN_TEST_FULL=1")
    def test_a_node_that_dies(self) -> None:
        with self.build() as process:
            with self.slow_server():
                self.wait("tasks run", lambda: len(self.running()) == 4)
                self.cluster.kill_node("n1")
                self.wait("the controller knows", lambda: "down" in self.cluster.ask("sinfo", "-h", "-n", "n1", "-o", "%T"))
            self.cluster.start_node("n1")
            self.assert_built(process)

    @unittest.skipUnless(IS_FULL, "takes minutes: TARN_TEST_FULL=1")
    def test_a_time_limit(self) -> None:
        with self.build("--sbatch-args", "--time=1 --signal=B:TERM@1") as process:
            with self.slow_server("slower"):
                self.wait("tasks are submitted again", lambda: self.jobs_known() > 2, 300)
            self.assert_built(process)
