"""Several writers of one lake at a time, killed at random.

A sync beside a training, beside a build, beside the registration of sources: each goes on while the others
run, none loses what another wrote, and who is killed holds up nobody. 60 s with TARN_TEST_FULL=1.
"""

import collections
import hashlib
import json
import os
import random
import shutil
import subprocess
import threading
import time

from support import DIMENSION, FEATURES, LOCKED, SHARDS, Lake, LakeTest, environment

SECONDS = 60 if os.environ.get("TARN_TEST_FULL") == "1" else 8
# Of four commands, one is killed; after three kills it may end.
CHANCE, PATIENCE = 0.25, 3


class TwoWriters(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        self.lake = self.new_lake()
        for source, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            self.lake.run("source", "add", source, "--directory", FEATURES / kind, "--modality", modality)
        self.lake.run("sync", "--quiet")
        self.lake.run(*self.training("clip", 1))
        self.took: dict[str, float] = {}
        self.done: collections.Counter = collections.Counter()
        self.kills: collections.Counter = collections.Counter()
        self.faults: list[str] = []

    @staticmethod
    def training(name: str, seed: int) -> tuple:
        return (
            "train", name, "--images", "images", "--captions", "captions", "--nlist", 16, "--iterations", 2, "--seed",
            seed, "--quiet")

    def work(self, kind: str, chance: random.Random, command: tuple) -> None:
        """Runs a command to its end, which some of its runs do not live to see."""
        # `limit` waits for nobody.
        waiting = () if kind == "limit" else ("--wait", "120s")
        for attempt in range(PATIENCE + 1):
            began = time.monotonic()
            process = subprocess.Popen(
                self.lake.command(*command, *waiting), env=environment(TARN_THREADS="1"),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                cwd=self.lake.directory.parent)
            is_killed = attempt < PATIENCE and chance.random() < CHANCE
            try:
                limit = chance.uniform(0, 1.1 * self.took.get(kind, 0.2)) if is_killed else 280
                said, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                if not is_killed:
                    raise AssertionError(f"{command} does not end") from None
                self.kills[kind] += 1
                continue
            if process.returncode != 0:
                raise AssertionError(f"{command}: exit {process.returncode}: {said}")
            self.took[kind] = time.monotonic() - began
            self.done[kind] += 1
            return

    def loop(self, kind: str, seed: int, command) -> threading.Thread:
        """A thread that does one kind of work after the other until the time is over."""
        chance = random.Random(seed)

        def run() -> None:
            number = 0
            try:
                while time.monotonic() < self.deadline:
                    following = command(number)
                    if following is None:
                        time.sleep(0.01)
                        continue
                    self.work(kind, chance, following)
                    number += 1
            except Exception as error:  # noqa: BLE001 - every fault is told at the end
                self.faults.append(f"{kind}: {error}")
                self.deadline = 0.0

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def test_sync_beside_train_beside_registering_beside_a_build(self) -> None:
        self.deadline = time.monotonic() + SECONDS
        threads = [
            self.loop("register", 1, lambda n: (
                "source", "add", f"s{n}", "--directory", FEATURES / ("img_emb", "text_emb")[n % 2], "--modality", "other")),
            # Of the sources that are registered by then, one after the other, twice.
            self.loop("sync", 2, lambda n: ("sync", f"s{n // 2}", "--quiet") if n // 2 < self.done["register"] else None),
            self.loop("train", 3, lambda n: self.training(f"t{n}", 100 + n)),
            self.loop("build", 4, lambda n: (
                "build", f"v{n % 3}", "--trained", "clip", "--images", "images", "--shards-per-output", 1 + n % SHARDS,
                "--quiet")),
            self.loop("probe", 5, lambda n: ("source", "probe", "images", "--quiet")),
            self.loop("limit", 6, lambda n: ("limit", f"{n + 1}GB/s") if n < 20 else None),
        ]
        for thread in threads:
            thread.join()
        self.assertEqual(self.faults, [])
        print(f"two writers: {SECONDS} s, {dict(self.done)} done, {dict(self.kills)} killed")
        self.lake.run("limit", "--clear")
        self.check()

    def check(self) -> None:
        """Nothing was lost, and what is there is what undisturbed runs make."""
        lake = self.lake
        # Waits for nobody: what was killed holds nothing.
        lake.run("gc", "--apply", "--quiet")
        lake.run("doctor")
        lake.run("verify", "--quiet")
        self.assertEqual(list((lake.directory / "leases").iterdir()), [])
        sources = {row["source"]: row for row in lake.rows("SELECT * FROM v_source")}
        self.assertGreaterEqual(len(sources), 2 + self.done["register"])
        for number in range(self.done["sync"] // 2):
            self.assertEqual(sources[f"s{number}"]["present"], SHARDS, f"s{number}")
        trained = {row["name"]: row for row in lake.rows("SELECT * FROM trained_index")}
        for number in range(self.done["train"]):
            self.assertEqual(trained[f"t{number}"]["state"], "ready")
        events = collections.Counter((row["verb"], row["subject"]) for row in lake.rows("SELECT * FROM event"))
        for (verb, subject), count in events.items():
            if verb in ("source-add", "trained", "planned", "sealed"):
                self.assertEqual(count, 1, f"{verb} {subject}")
        for name, row in trained.items():
            if row["state"] == "ready":
                self.assertEqual(events[("trained", name)], 1, name)
        versions = lake.rows("SELECT name, number, state FROM index_version")
        self.assertEqual({row["state"] for row in versions} - {"sealed", "building"}, set())
        # The bytes of an undisturbed lake.
        alone = self.new_lake("alone")
        for source, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            alone.run("source", "add", source, "--directory", FEATURES / kind, "--modality", modality)
        alone.run("sync", "--quiet")
        alone.run(*self.training("clip", 1))
        alone.run(*self.training("t0", 100))
        alone.run("build", "v0", "--trained", "clip", "--images", "images", "--shards-per-output", 1, "--quiet")
        again = {row["name"]: row["sha256"] for row in alone.rows("SELECT * FROM trained_index")}
        self.assertEqual({name: trained[name]["sha256"] for name in again}, again)
        self.assertEqual(self.digests(lake, "v0@1"), self.digests(alone, "v0@1"))

    @staticmethod
    def digests(lake: Lake, version: str) -> list[str]:
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in lake.outputs(version)]

    def slow_source(self) -> subprocess.Popen:
        """A sync of a source that does not end by itself."""
        server = self.serve(FEATURES, "location / { root @root@; limit_rate 2k; }")
        self.lake.run(
            "source", "add", "slow", "--url", f"{server.url}/img_emb/img_emb_{{ordinal:04}}.npy", "--count", SHARDS,
            "--dimension", DIMENSION, "--dtype", "float16")
        sync = subprocess.Popen(
            self.lake.command("sync"), env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=self.lake.directory.parent)
        self.addCleanup(sync.communicate)
        self.addCleanup(sync.kill)
        while not self.lake.rows("SELECT 1 FROM shard WHERE state = 'fetching'"):
            self.assertIsNone(sync.poll())
            time.sleep(0.01)
        return sync

    def test_what_a_newcomer_does_beside_a_long_sync(self) -> None:
        """Finding newcomer-12: none of these had to wait, and all did."""
        sync = self.slow_source()
        lake = self.lake
        lake.run("source", "add", "more", "--directory", FEATURES / "text_emb", "--modality", "text")
        lake.run("source", "probe", "slow")
        lake.run("source", "mirror", "add", "slow", "https://host.invalid/{ordinal:04}.npy")
        lake.run("sync", "more", "--quiet")
        lake.run(*self.training("other", 2))
        lake.run("build", "v", "--trained", "clip", "--images", "images", "--quiet")
        lake.run("pin", "v@1")
        lake.run("unpin", "v@1")
        lake.run("limit", "1MB/s")
        self.assertIsNone(sync.poll())
        for command in (
            ("sync", "slow"), ("import", "slow", FEATURES / "img_emb" / "img_emb_0000.npy"),
            ("source", "remove", "slow"), ("gc", "--apply"), ("evict", "images"), ("verify", "--repair"),
        ):
            refused = lake.attempt(*command)
            self.assertEqual(refused.returncode, LOCKED, f"{command}: {refused.stderr}")
            for part in (f"pid {sync.pid}", "sync, since 20", "adds to source slow"):
                self.assertIn(part, refused.stderr)
        found = {row["check"]: row for row in json.loads(lake.run("doctor", "--json"))["findings"]}
        self.assertIn(f"pid {sync.pid}", found["writer"]["what"])
        # Killed, it holds nothing, and what it had reserved is free.
        sync.kill()
        sync.wait()
        lake.run("gc", "--apply", "--quiet")
        self.assertEqual(lake.rows("SELECT count(*) AS n FROM shard WHERE reserved_byte_count IS NOT NULL")[0]["n"], 0)

    def test_a_lake_open_on_another_host_is_left_alone(self) -> None:
        leases = self.lake.directory / "leases"
        (leases / "77-1").write_text(json.dumps({
            "format": 1, "pid": 77, "command": "sync images", "since": "2026-01-01T00:00:00Z", "host": "far.example",
            "boot": "another", "leases": ["add source images"]}))
        refused = self.lake.attempt("pin", "none@1")
        self.assertEqual(refused.returncode, LOCKED)
        self.assertIn("pid 77 on far.example, sync images", refused.stderr)
        self.lake.run("status")
        (leases / "77-1").unlink()
        self.lake.run("gc", "--apply")
