"""The whole job over a real nginx: mirrors, crashes, repetition, changed inputs."""

import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import numpy as np

from support import (
    DIMENSION, FEATURES, INPUTS_MISSING, INTEGRITY, NLIST, PARTIAL, SHARDS, Lake, LakeTest, environment,
)

# While a file called `slow` lies in the root, the shards of the examples come at a
# trickle, and a larger one does after its first 80 MB.
MIRRORS = """
    set $rate 0;
    if (-f @root@/slow) { set $rate 400k; }
    limit_rate $rate;
    location / { root @root@; }
    location ~ /large_ { root @root@; limit_rate_after 80m; }
"""


class EndToEnd(LakeTest):
    """From nothing to a reproduced version, with accidents on the way."""

    def setUp(self) -> None:
        super().setUp()
        self.web = self.scratch / "web"
        for mirror in ("first", "second"):
            shutil.copytree(FEATURES, self.web / mirror)
        self.server = self.serve(self.web, MIRRORS)

    def add_sources(self, lake: Lake, *options: object) -> None:
        for name, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            path = f"{kind}/{kind}_{{ordinal:04}}.npy"
            lake.run(
                "source", "add", name, "--url", f"{self.server.url}/first/{path}",
                "--mirror", f"{self.server.url}/second/{path}", "--count", SHARDS, "--dimension", DIMENSION,
                "--dtype", "float16", "--modality", modality, *options)

    def whole_job(self, lake: Lake) -> None:
        lake.run("sync")
        lake.train()
        lake.build()

    def test_a_shard_missing_on_the_first_mirror_comes_from_the_second(self) -> None:
        missing = "img_emb/img_emb_0003.npy"
        (self.web / "first" / missing).unlink()
        lake = self.new_lake()
        self.add_sources(lake, "--sizes", FEATURES / "sizes.txt", "--sha256", FEATURES / "sha256sums.txt")
        lake.run("sync")
        asked = [(entry["uri"], entry["status"]) for entry in self.server.requests() if missing in entry["uri"]]
        self.assertEqual(asked[0], (f"/first/{missing}", 404))
        self.assertIn((f"/second/{missing}", 200), asked)
        states = lake.rows("SELECT source, state, count(*) AS shards FROM v_shard GROUP BY source, state")
        self.assertEqual(
            states, [{"source": name, "state": "present", "shards": SHARDS} for name in ("captions", "images")])
        (absent,) = lake.rows("SELECT url, http_status FROM v_transfer WHERE outcome = 'absent'")
        self.assertEqual((absent["http_status"], absent["url"]), (404, f"{self.server.url}/first/{missing}"))

    def test_sync_killed_in_mid_flight_ends_with_the_same_shards(self) -> None:
        lake = self.new_lake()
        self.add_sources(lake)
        self.kill_sync(
            lake, "images", "--jobs", 2, until=lambda: self.present(lake) > 0 and any(lake.directory.rglob("*.part")))
        self.assertIn(self.present(lake), range(1, SHARDS))
        lake.run("sync")
        self.assert_shards_equal_the_examples(lake)
        self.assertEqual(list(lake.directory.rglob("*.part")), [])

    def present(self, lake: Lake) -> int:
        return len(lake.rows("SELECT 1 FROM v_shard WHERE state = 'present'"))

    def test_a_large_shard_continues_where_its_download_was_killed(self) -> None:
        # Resume points are 64 MiB apart; the server is fast up to 80 MB.
        large = np.tile(np.load(FEATURES / "img_emb" / "img_emb_0000.npy"), (170, 1))
        self.assertGreater(large.nbytes, 100_000_000)
        np.save(self.web / "first" / "large_0.npy", large)
        lake = self.new_lake()
        lake.run(
            "source", "add", "large", "--url", f"{self.server.url}/first/large_{{ordinal}}.npy", "--count", 1,
            "--dimension", DIMENSION)
        self.kill_sync(lake, "large", until=lambda: any(lake.directory.rglob("*.part.resume")))

        lake.run("sync")
        (request,) = [entry for entry in self.server.requests() if entry["range"]]
        (transfer,) = lake.rows("SELECT resumed_from, received_bytes FROM v_transfer WHERE outcome = 'complete'")
        resumed = transfer["resumed_from"]
        self.assertGreaterEqual(resumed, 64 << 20)
        self.assertEqual((request["status"], request["range"]), (206, f"bytes={resumed}-"))
        size = (self.web / "first" / "large_0.npy").stat().st_size
        self.assertEqual(transfer["received_bytes"], size - resumed)
        (shard,) = lake.rows("SELECT sha256 FROM v_shard")
        with open(self.web / "first" / "large_0.npy", "rb") as file:
            self.assertEqual(shard["sha256"], hashlib.file_digest(file, "sha256").hexdigest())

    def kill_sync(self, lake: Lake, *arguments: object, until: Callable[[], bool]) -> None:
        """Syncs from a server grown slow, with SIGKILL as soon as `until` holds."""
        (self.web / "slow").touch()
        victim = subprocess.Popen(
            lake.command("sync", *arguments), env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        try:
            while not until():
                self.assertIsNone(victim.poll(), "sync ended before it could be killed")
                self.assertLess(time.monotonic(), deadline, "sync did not come that far within a minute")
                time.sleep(0.01)
        finally:
            victim.kill()
        self.assertEqual(victim.wait(), -signal.SIGKILL)
        (self.web / "slow").unlink()

    def assert_shards_equal_the_examples(self, lake: Lake) -> None:
        pinned = dict(line.split()[::-1] for line in (FEATURES / "sha256sums.txt").read_text().splitlines())
        pinned = {name.split("/")[1]: digest for name, digest in pinned.items()}
        held = {row["shard"]: row["sha256"] for row in lake.rows("SELECT shard, sha256 FROM v_shard")}
        self.assertEqual(held, pinned)

    TRAIN = ("train", "clip", "--images", "images", "--captions", "captions", "--nlist", NLIST, "--seed", 1)
    BUILD = ("build", "clips", "--trained", "clip", "--images", "images", "--shards-per-output", 2)

    def test_training_killed_at_any_step_ends_with_the_same_bytes(self) -> None:
        lake = self.new_lake()
        self.add_sources(lake)
        lake.run("sync")
        for step, killed in self.lakes_after_kills(lake, self.TRAIN):
            with self.subTest(killed_before_step=step):
                expected = self.whole.trained_path("clip").read_bytes()
                self.assertEqual(killed.trained_path("clip").read_bytes(), expected)

    def test_build_killed_at_any_step_ends_with_the_same_bytes(self) -> None:
        lake = self.new_lake()
        self.add_sources(lake)
        lake.run("sync")
        lake.train()
        for step, killed in self.lakes_after_kills(lake, self.BUILD):
            with self.subTest(killed_before_step=step):
                outputs = [path.read_bytes() for path in killed.outputs("clips@1")]
                self.assertEqual(len(outputs), 3)
                self.assertEqual(outputs, [path.read_bytes() for path in self.whole.outputs("clips@1")])
                versions = killed.rows("SELECT version, state FROM v_version")
                self.assertEqual(versions, [{"version": "clips@1", "state": "sealed"}])

    def test_a_build_that_fetches_within_a_budget_ends_with_the_same_bytes_after_kills(self) -> None:
        lake = self.new_lake()
        self.add_sources(lake)
        lake.run("sync")
        lake.train()
        # The same files once more, as a source of which nothing is here; what is held
        # already and a little over two shards are the budget.
        lake.run(
            "source", "add", "again", "--url", f"{self.server.url}/second/img_emb/img_emb_{{ordinal:04}}.npy",
            "--count", SHARDS, "--dimension", DIMENSION, "--sizes", FEATURES / "sizes.txt")
        held = sum(row["bytes"] for row in lake.rows("SELECT bytes FROM v_shard WHERE bytes IS NOT NULL"))
        budget = held + 1_400_000
        command = (
            "build", "clips", "--trained", "clip", "--images", "again", "--shards-per-output", 2, "--budget", budget)
        for step, killed in self.lakes_after_kills(lake, command):
            with self.subTest(killed_before_step=step):
                self.assertLessEqual(killed.rows("SELECT bytes FROM v_storage WHERE kind = 'shard'")[0]["bytes"], budget)
                self.assertEqual(
                    [path.read_bytes() for path in killed.outputs("clips@1")],
                    [path.read_bytes() for path in self.whole.outputs("clips@1")])
        lake.build()
        self.assertEqual(
            [path.read_bytes() for path in lake.outputs("clips@1")],
            [path.read_bytes() for path in self.whole.outputs("clips@1")])

    def lakes_after_kills(self, lake: Lake, command: tuple) -> Iterator[tuple[int, Lake]]:
        """Copies of `lake` in which `command` was killed before some durable step, and then run again.

        `self.whole` is the copy where it ran through.
        """

        def copy(name: str) -> Lake:
            shutil.copytree(lake.directory, self.scratch / name)
            return Lake(self.scratch / name)

        self.whole = copy("whole")
        log = self.scratch / "steps"
        self.whole.run(*command, TARN_FAULT_LOG=str(log))
        steps = len(log.read_text().splitlines())
        self.assertGreater(steps, 20)
        # The last tenth is left alone: with several transfers at a time the number of
        # steps varies a little, and the fault must happen.
        for step in sorted({1, *random.Random(1).sample(range(2, steps * 9 // 10), 7)}):
            broken = copy(f"killed-{step}")
            killed = broken.attempt(*command, TARN_FAULT=f"kill@{step}")
            self.assertEqual(killed.returncode, -signal.SIGKILL, killed.stderr)
            broken.run(*command)
            yield step, broken
            shutil.rmtree(broken.directory)

    def test_a_second_run_of_everything_changes_no_byte_and_no_row(self) -> None:
        lake = self.new_lake()
        self.add_sources(lake)
        self.whole_job(lake)
        before = lake.state()
        self.whole_job(lake)
        self.assertEqual(before, lake.state())

    def test_a_version_reproduces_identically(self) -> None:
        lake = self.new_lake()
        self.add_sources(lake)
        self.whole_job(lake)
        before = lake.files()
        self.assertIn("identical", lake.run("reproduce", "clips@1"))
        self.assertEqual(before, lake.files())

    def test_verify_reads_the_disk_and_not_what_memory_holds_of_it(self) -> None:
        lake = self.built_lake(self.server.url + "/second")
        files = [path for name in ("shards", "artifacts") for path in (lake.directory / name).rglob("*")]
        byte_count = sum(path.stat().st_size for path in files if path.is_file())
        kind = subprocess.run(
            ["stat", "--file-system", "--format=%T", lake.directory], capture_output=True, text=True, check=True).stdout
        if kind.strip() in ("tmpfs", "ramfs"):
            self.skipTest("the file system is memory")
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock
            lake.run("verify")
            read = (resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock - before) * 512
            self.assertGreaterEqual(read, byte_count)

    def test_after_an_input_changed_the_version_still_names_its_own(self) -> None:
        lake = self.new_lake()
        self.add_sources(lake)
        self.whole_job(lake)
        pinned = lake.rows("SELECT shard, revision, sha256 FROM v_version_input ORDER BY input")
        outputs = [path.read_bytes() for path in lake.outputs("clips@1")]

        self.change_one_byte("img_emb/img_emb_0002.npy")
        answer = lake.attempt("sync", "--refresh")
        self.assertEqual(answer.returncode, PARTIAL, answer.stderr)
        self.assertIn("clips@1", answer.stderr)
        self.assertIn("identical", lake.run("reproduce", "clips@1"))
        lake.run("sync", "--refresh", "--replace")
        (now,) = lake.rows("SELECT revision, sha256 FROM v_shard WHERE shard = 'img_emb_0002.npy'")
        self.assertEqual(now["revision"], 2)
        self.assertNotEqual(now["sha256"], pinned[2]["sha256"])
        others = lake.rows("SELECT DISTINCT revision FROM v_shard WHERE shard <> 'img_emb_0002.npy'")
        self.assertEqual(others, [{"revision": 1}])

        self.assertEqual(pinned, lake.rows("SELECT shard, revision, sha256 FROM v_version_input ORDER BY input"))
        self.assertIn(pinned[2]["sha256"], lake.run("show", "clips@1", "--json"))
        self.assertEqual(outputs, [path.read_bytes() for path in lake.outputs("clips@1")])
        answer = lake.attempt("reproduce", "clips@1")
        self.assertEqual(answer.returncode, INPUTS_MISSING, answer.stderr)
        self.assertIn("img_emb_0002.npy", answer.stderr)
        self.assertNotIn("img_emb_0001.npy", answer.stderr)

        # The same build of the new input is a version of its own.
        lake.build()
        versions = lake.rows("SELECT version, state FROM v_version ORDER BY number")
        self.assertEqual([row["version"] for row in versions], ["clips@1", "clips@2"])
        self.assertEqual({row["state"] for row in versions}, {"sealed"})

    def test_changed_bytes_are_refused_where_a_digest_was_given(self) -> None:
        lake = self.new_lake()
        self.add_sources(lake, "--sha256", FEATURES / "sha256sums.txt")
        self.change_one_byte("img_emb/img_emb_0002.npy")
        answer = lake.attempt("sync")
        self.assertEqual(answer.returncode, INTEGRITY, answer.stderr)
        self.assertIn("img_emb_0002.npy", answer.stderr)
        (shard,) = lake.rows("SELECT state, sha256 FROM v_shard WHERE shard = 'img_emb_0002.npy'")
        self.assertEqual((shard["state"], shard["sha256"]), ("failed", None))

    def test_changed_bytes_on_one_mirror_send_sync_to_the_next(self) -> None:
        lake = self.new_lake()
        self.add_sources(lake, "--sha256", FEATURES / "sha256sums.txt")
        self.change_one_byte("img_emb/img_emb_0002.npy", mirrors=("first",))
        lake.run("sync")
        self.assert_shards_equal_the_examples(lake)
        attempts = lake.rows("SELECT mirror, outcome FROM v_transfer WHERE shard = 'img_emb_0002.npy' ORDER BY transfer")
        self.assertEqual(attempts, [{"mirror": 0, "outcome": "failed"}, {"mirror": 1, "outcome": "complete"}])

    def change_one_byte(self, name: str, mirrors: tuple[str, ...] = ("first", "second")) -> None:
        """One bit of one feature changes on these mirrors; the size stays."""
        for mirror in mirrors:
            path = self.web / mirror / name
            data = bytearray(path.read_bytes())
            data[5000] ^= 0x01
            path.write_bytes(data)
            # nginx's ETag is the time and the size; an hour makes it another one.
            os.utime(path, (time.time() + 3600, time.time() + 3600))
            self.assertTrue(np.isfinite(np.load(path)).all())
