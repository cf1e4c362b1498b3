"""A build by workers that share nothing but a real S3-compatible store, one of them with its network cut."""

import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import kubernetes_validate
import yaml

from objectstore import ObjectStore
from support import FEATURES, INTEGRITY, PARTIAL, TARN, Lake, LakeTest, environment, json_lines
from test_s3 import features

ACCESS_KEY, SECRET_KEY = "lab:AKPLANTED5", "planted/S5cret+key=="
TEMPORARY = 75
DIMENSION = 1024
# The first output takes two parts of 64 MiB, the other one request.
ROWS = (30_000, 1_000)
PART = re.compile(rb"PUT [^ ]*partNumber=(\d+)")


class Wire:
    """Bytes to a store and back, until so many have gone; then the network is cut, or silent."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.parts: list[int] = []
        self.sent = 0
        self.reached = threading.Event()
        self.come_back()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def fail_after(self, count: int, how: str) -> None:
        """`cut`: connections end then and none is taken any more; `silent`: nothing is passed on."""
        self.sent, self.limit, self.how = 0, count, how
        self.reached.clear()

    def come_back(self) -> None:
        self.limit, self.how = None, ""

    def is_over(self) -> bool:
        return self.limit is not None and self.sent >= self.limit

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_over():
                client.close()
                continue
            store = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.relay, args=(client, store, True), daemon=True).start()
            threading.Thread(target=self.relay, args=(store, client, False), daemon=True).start()

    def relay(self, source: socket.socket, target: socket.socket, is_up: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if is_up:
                    self.parts += [int(number) for number in PART.findall(data)]
                    self.sent += len(data)
                if self.is_over():
                    self.reached.set()
                    if self.how == "silent":
                        continue
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self) -> None:
        self.listener.close()


def keys(url: str, home: pathlib.Path) -> dict[str, str]:
    return {
        "HOME": str(home), "AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_PROFILE": "", "AWS_ENDPOINT_URL_S3": "", "AWS_SESSION_TOKEN": ""}


class TrainingStore(LakeTest):
    def test_a_wrong_setting_costs_a_training_nothing(self) -> None:
        store = ObjectStore(ACCESS_KEY, SECRET_KEY)
        self.addCleanup(store.stop)
        right, tasks, lake = keys(store.url, self.scratch), self.scratch / "tasks", self.new_lake()
        store.put("bucket", "there", b"")
        lake.add_examples(f"file://{FEATURES}")
        lake.run("sync")
        lake.run("plan", "train", "clip", "--images", "images", "--captions", "captions", "--nlist", 32, "--iterations", 2,
                 "--tasks", tasks, "--parts", 1, "--results", "s3://bucket/training", **right)
        before = lake.rows("SELECT * FROM v_trained_index")
        self.assertEqual(len(before), 1)
        for wrong in ({"AWS_SECRET_ACCESS_KEY": "planted\n"}, {"AWS_ENDPOINT_URL": "no address"}):
            done = lake.attempt("ingest", tasks, **right | wrong)
            self.assertNotIn(done.returncode, (0, PARTIAL), done.stderr)
            self.assertEqual(lake.rows("SELECT * FROM v_trained_index"), before)
        for line in (tasks / "run.txt").read_text().splitlines():
            subprocess.run(["sh", "-c", line], cwd=tasks, env=environment(**right), check=True, capture_output=True)
        answer = json_lines(lake.run("ingest", tasks, "--json", exits=PARTIAL, **right))[0]
        self.assertEqual(answer["step"], "iteration 1")


class ClusterStore(LakeTest):
    @classmethod
    def setUpClass(cls) -> None:
        cls.store = ObjectStore(ACCESS_KEY, SECRET_KEY)
        cls.addClassCleanup(cls.store.stop)
        for ordinal, rows in enumerate(ROWS):
            cls.store.put("bucket", f"shards/{ordinal}.npy", features(rows, ordinal, DIMENSION))

    def setUp(self) -> None:
        super().setUp()
        self.wire = Wire(self.store.port)
        self.addCleanup(self.wire.stop)
        self.lake = self.new_lake()
        self.lake.run("source", "add", "images", "--url", "s3://bucket/shards/{ordinal}.npy", "--count", len(ROWS),
                      "--dimension", DIMENSION)
        self.lake.run("sync", **self.keys())
        self.lake.run("train", "t", "--images", "images", "--method", "kmeans", "--nlist", 4, "--iterations", 1, "--pairs",
                      500, "--codec", "flat", "--normalise")
        local = Lake(self.scratch / "local")
        shutil.copytree(self.lake.directory, local.directory)
        (built,) = json_lines(local.run("build", *self.version(), "--json"))
        self.digest = built["sha256"]
        shutil.rmtree(local.directory)
        # No worker finds a file of the lake's.
        self.lake.run("evict", "images")

    def version(self) -> tuple:
        return ("v", "--trained", "t", "--images", "images", "--shards-per-output", 1)

    def keys(self, url: str | None = None) -> dict[str, str]:
        return keys(url or self.store.url, self.scratch)

    def start(self, place: str, task: int, host: str, url: str | None = None) -> subprocess.Popen:
        directory = self.scratch / host
        directory.mkdir(exist_ok=True)
        return subprocess.Popen(
            [TARN, "worker", place, "--task", str(task), "--scratch", directory, "--cache", directory, "--patience", "3s",
             "--quiet"],
            env=environment(**self.keys(url)), cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)

    def work(self, *arguments: object, exits: int = 0) -> str:
        process = self.start(*arguments)
        _, errors = process.communicate(timeout=300)
        self.assertEqual(process.returncode, exits, errors)
        return errors

    def keys_below(self, prefix: str) -> list[str]:
        answer = self.store.ask("GET", "bucket", query={"prefix": prefix, "list-type": "2"}).decode()
        return re.findall(r"<Key>([^<]+)</Key>", answer)

    def assert_sealed_by_ingest(self, place: str) -> None:
        (answer,) = json_lines(self.lake.run("ingest", place, "--json", **self.keys()))
        self.assertEqual((answer["sealed"], answer["sha256"]), (True, self.digest))
        prefix = place.removeprefix("s3://bucket/")
        self.assertEqual(self.keys_below(f"{prefix}/results/"), [])
        self.assertEqual(self.keys_below(f"{prefix}/refused/"), [])
        self.lake.run("verify")
        for key in self.keys_below(f"{prefix}/"):
            self.assertNotIn(b"lanted", self.store.ask("GET", f"bucket/{key}"), key)
        for path in self.scratch.rglob("*"):
            if path.is_file():
                self.assertNotIn(b"lanted", path.read_bytes(), path)

    def test_a_worker_whose_network_is_cut_in_mid_upload(self) -> None:
        place = "s3://bucket/cut/tasks"
        self.lake.run("plan", "build", *self.version(), "--tasks", place, **self.keys())
        job = yaml.safe_load(self.store.ask("GET", "bucket/cut/tasks/k8s.yaml"))
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
        self.work(place, 1, "one")
        self.wire.fail_after(100 << 20, "cut")
        errors = self.work(place, 0, "two", self.wire.url, exits=TEMPORARY)
        self.assertIn("1 parts of s3://bucket/cut/tasks/results/0000.", errors)
        self.assertEqual(self.wire.parts[:2], [1, 2])
        # What came is taken in while the other is gone.
        answer = json_lines(self.lake.run("ingest", place, "--json", exits=PARTIAL, **self.keys()))[0]
        self.assertEqual((answer["recorded"], [task["task"] for task in answer["open"]]), ([1], [0]))
        self.wire.parts.clear()
        self.wire.come_back()
        self.work(place, 0, "two", self.wire.url)
        self.assertEqual(self.wire.parts, [2])
        self.assert_sealed_by_ingest(place)

    def test_a_worker_that_is_killed_in_mid_upload(self) -> None:
        tasks, place = self.scratch / "tasks", "s3://bucket/killed"
        self.lake.run("plan", "build", *self.version(), "--tasks", tasks, "--results", place, **self.keys())
        self.wire.fail_after(100 << 20, "silent")
        process = self.start(tasks, 0, "two", self.wire.url)
        self.assertTrue(self.wire.reached.wait(timeout=120))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.wire.parts.clear()
        self.wire.come_back()
        # Another host knows nothing of that upload; the same one goes on with it.
        self.work(tasks, 0, "two", self.wire.url)
        self.assertEqual(self.wire.parts, [2])
        self.work(tasks, 1, "one")
        # The tasks were moved meanwhile: where results are the plan says. And somebody wrote a receipt that is none.
        moved, lie = self.scratch / "moved", f"0001.{'0' * 64}.json"
        tasks.rename(moved)
        self.store.put("bucket", f"killed/receipts/{lie}", b"{}")
        answer = json_lines(self.lake.run("ingest", moved, "--json", exits=INTEGRITY, **self.keys()))[0]
        self.assertEqual((answer["sealed"], answer["sha256"]), (True, self.digest))
        self.assertEqual([refusal["file"] for refusal in answer["refused"]], [lie])
        self.assertEqual(self.keys_below("killed/refused/"), [f"killed/refused/{lie}"])
        self.assertNotIn(f"killed/receipts/{lie}", self.keys_below("killed/receipts/"))
        self.lake.run("verify")

    def test_a_download_that_is_cut_goes_on(self) -> None:
        place = "s3://bucket/ingested"
        self.lake.run("plan", "build", *self.version(), "--tasks", place, **self.keys())
        for task in (0, 1):
            self.work(place, task, "one")
        process = subprocess.Popen(
            self.lake.command("ingest", place, "--quiet"), env=environment(**self.keys()), cwd=self.scratch,
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        work = self.lake.directory / "artifacts" / ".work"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not self.held(work):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        held = self.held(work)
        self.assertGreater(held, 0)
        self.assert_sealed_by_ingest(place)

    def held(self, work: pathlib.Path) -> int:
        return sum(path.stat().st_size for path in work.glob("ingest-*.part"))
