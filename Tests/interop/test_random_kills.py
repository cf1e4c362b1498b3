"""SIGKILL at any moment, whatever a lake is at: the next run goes on and ends with the same bytes.

The crash loops of the Swift tests kill before each durable step; here the moment is random, so that it falls between
steps too. 40 kills in `make test`, 2,000 with TARN_TEST_FULL=1.
"""

import hashlib
import os
import random
import sqlite3
import subprocess
import time

from support import FEATURES, Lake, LakeTest, environment

KILLS = 2_000 if os.environ.get("TARN_TEST_FULL") == "1" else 40
# Kills of one command in a row, before it may end.
PATIENCE = 5

COURSE = [
    ("sync", "--quiet"),
    ("train", "clip", "--images", "images", "--captions", "captions", "--nlist", 16, "--iterations", 4, "--quiet"),
    ("build", "clips", "--trained", "clip", "--images", "images", "--shards-per-output", 2, "--quiet"),
    ("verify", "--quiet"),
    ("evaluate", "clips@1", "--queries", FEATURES / "text_emb" / "text_emb_0000.npy", "--nprobe", 4, "--quiet"),
    ("reproduce", "clips@1", "--quiet"),
    ("pin", "clips@1", "--reason", "kept"),
    ("evict", "captions"),
    ("gc", "--apply", "--grace", "0s", "--segments"),
    ("sync", "--quiet"),
    ("build", "more", "--trained", "clip", "--images", "images", "--shards-per-output", 3, "--quiet"),
    ("unpin", "clips@1"),
    ("verify", "--repair", "--quiet"),
]


class RandomKills(LakeTest):
    def made(self, name: str) -> Lake:
        lake = self.new_lake(name)
        for source, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            lake.run(
                "source", "add", source, "--directory", FEATURES / kind, "--dimension", 512, "--modality", modality)
        return lake

    def results(self, lake: Lake) -> dict[str, str]:
        """What a lake ends with: digests of its shards, artifacts and versions."""
        found = {
            str(row): "" for row in lake.rows(
                "SELECT version, state, sha256 FROM v_version UNION ALL SELECT trained_index, state, sha256 FROM"
                " v_trained_index UNION ALL SELECT shard, state, sha256 FROM v_shard")
        }
        for part in ("shards", "artifacts", "versions"):
            for path in sorted((lake.directory / part).rglob("*")):
                # Kept without end and said by gc: the working files of what was killed. What bears names of a
                # machine or a time is compared by the catalog's own checks.
                if path.is_file() and not path.name.startswith(".") and not path.suffix == ".json":
                    found[str(path.relative_to(lake.directory))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def look(self, lake: Lake, place: str) -> None:
        """A killed command left a catalog that can be read."""
        with sqlite3.connect(f"file:{lake.directory}/catalog.sqlite?mode=ro", uri=True) as catalog:
            self.assertEqual(catalog.execute("PRAGMA quick_check").fetchall(), [("ok",)], place)
            self.assertEqual(catalog.execute("PRAGMA foreign_key_check").fetchall(), [], place)

    def test_kills_at_any_moment_change_nothing(self) -> None:
        undisturbed = self.made("undisturbed")
        takes = []
        for command in COURSE:
            began = time.monotonic()
            undisturbed.run(*command)
            takes.append(time.monotonic() - began)
        expected = self.results(undisturbed)
        chance = random.Random(1)
        kills = rounds = 0
        while kills < KILLS:
            rounds += 1
            lake = self.made(f"lake-{rounds}")
            for command, duration in zip(COURSE, takes):
                for attempt in range(PATIENCE + 1):
                    process = subprocess.Popen(
                        lake.command(*command), env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT, text=True, cwd=lake.directory.parent)
                    is_last = attempt == PATIENCE or kills >= KILLS
                    try:
                        said, _ = process.communicate(timeout=None if is_last else chance.uniform(0, 1.1 * duration))
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.communicate()
                        kills += 1
                        self.look(lake, f"round {rounds}, kill {kills}, {command[0]}")
                        continue
                    self.assertEqual(process.returncode, 0, f"round {rounds}, after kill {kills}: {command}: {said}")
                    break
            lake.run("doctor")
            self.assertEqual(self.results(lake), expected, f"round {rounds}, {kills} kills so far")
        print(f"random kills: {kills} in {rounds} lakes, 0 violations")
