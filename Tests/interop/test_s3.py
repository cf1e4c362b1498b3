"""Fetching from a real S3-compatible store: OpenStack Swift, which checks every signature."""

import hashlib
import io
import signal
import subprocess
import time
import unittest
import urllib.parse

import numpy as np

from objectstore import ObjectStore
from support import INTEGRITY, PARTIAL, LakeTest, environment, json_lines

ACCESS_KEY, SECRET_KEY = "lab:AKPLANTED3", "planted/S3cret+key=="
# What stands before a file's name: everything that is easily encoded twice, or not at all.
ODD = "100% + a b/é~ü/(x)'!*;=&,$@:"
ROWS = [3, 5, 2]
LARGE_ROWS = 24_000

# Puts the clock of a process an hour ahead, as that of a machine may be.
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  time_t ahead = now.tv_sec + 3600;
  if (out) *out = ahead;
  return ahead;
}
"""


def features(rows: int, seed: int, dimension: int = 8) -> bytes:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float16))
    return file.getvalue()


class RealStore(LakeTest):
    @classmethod
    def setUpClass(cls) -> None:
        cls.store = ObjectStore(ACCESS_KEY, SECRET_KEY)
        cls.addClassCleanup(cls.store.stop)
        cls.shards = [features(rows, seed) for seed, rows in enumerate(ROWS)]
        for ordinal, data in enumerate(cls.shards):
            cls.store.put("bucket", f"{ODD}/{ordinal}.npy", data)
        cls.large = features(LARGE_ROWS, 9, 512)
        cls.store.put("bucket", "large/0.npy", cls.large, part_bytes=5 << 20)

    def setUp(self) -> None:
        super().setUp()
        self.lake = self.new_lake()
        self.keys = {
            "HOME": str(self.scratch), "AWS_ENDPOINT_URL": self.store.url, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_PROFILE": "", "AWS_ENDPOINT_URL_S3": "", "AWS_SESSION_TOKEN": ""}

    def add(self, prefix: str, count: int, dimension: int = 8, bucket: str = "bucket") -> None:
        url = f"s3://{bucket}/{prefix}/{{ordinal}}.npy"
        self.lake.run("source", "add", "images", "--url", url, "--count", count, "--dimension", dimension)

    def digests(self) -> list[str]:
        return [row["sha256"] for row in self.lake.rows("SELECT sha256 FROM v_shard ORDER BY ordinal")]

    def holding(self, *secrets: str) -> list[str]:
        """Files of the lake that hold one of these."""
        return [str(path) for path in self.lake.directory.rglob("*") if path.is_file()
                and any(secret.encode() in path.read_bytes() for secret in secrets)]

    def refused(self, *expected: str, exits: int = PARTIAL, **changes: str) -> str:
        """Syncs with other keys, which must fail, and gives what was said, which holds none of them."""
        done = self.lake.attempt("sync", "--verbose", **{**self.keys, **changes})
        self.assertEqual(done.returncode, exits, done.stderr)
        for text in expected:
            self.assertIn(text, done.stderr)
        for text in (done.stdout, done.stderr):
            self.assertNotRegex(text, "planted|PLANTED")
        self.assertEqual(self.holding("planted", "PLANTED"), [])
        return done.stderr

    def test_shards_of_odd_names_are_probed_fetched_and_refreshed(self) -> None:
        # As a browser writes it: reserved characters as they are.
        self.add(ODD.replace("%", "%25").replace(" ", "%20").replace("é", "%C3%A9").replace("ü", "%C3%BC"), len(ROWS))
        text = self.lake.run("source", "probe", "images", **self.keys)
        self.assertIn(str(len(ROWS)), text)
        (plan,) = json_lines(self.lake.run("sync", "--dry-run", "--json", **self.keys))
        self.assertEqual((plan["bytes"], plan["unknown_sizes"]), (sum(map(len, self.shards)), 0))
        self.lake.run("sync", **self.keys)
        self.assertEqual(self.digests(), [hashlib.sha256(data).hexdigest() for data in self.shards])
        self.lake.run("sync", "--refresh", **self.keys)
        statuses = [row["http_status"] for row in self.lake.rows("SELECT http_status FROM v_transfer ORDER BY transfer")]
        self.assertEqual(statuses, [200] * 3 + [304] * 3)
        self.assertEqual(self.holding("planted", "PLANTED"), [])

    def test_names_that_are_percent_encoded_throughout_are_the_same(self) -> None:
        self.add(urllib.parse.quote(ODD, safe="/"), len(ROWS))
        self.lake.run("sync", **self.keys)
        self.assertEqual(self.digests(), [hashlib.sha256(data).hexdigest() for data in self.shards])

    def test_a_large_object_is_continued_where_it_was_stopped(self) -> None:
        self.add("large", 1, 512)
        part = self.lake.directory / "shards" / "images"
        process = subprocess.Popen(
            self.lake.command("sync", "--bwlimit", "8MB/s", "--quiet"), env=environment(**self.keys), cwd=self.scratch,
            stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(path.stat().st_size > 1 << 20 for path in part.glob("*.part")):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), 130)
        self.lake.run("sync", **self.keys)
        first, second = self.lake.rows("SELECT * FROM v_transfer ORDER BY transfer")
        self.assertEqual((first["outcome"], second["outcome"], second["http_status"]), ("interrupted", "complete", 206))
        self.assertGreater(second["resumed_from"], 0)
        self.assertEqual(second["resumed_from"] + second["received_bytes"], len(self.large))
        self.assertEqual(self.digests(), [hashlib.sha256(self.large).hexdigest()])

    def test_damaged_chunks_are_fetched_by_signed_ranges(self) -> None:
        self.add("large", 1, 512)
        self.lake.run("sync", **self.keys)
        (shard,) = (self.lake.directory / "shards" / "images").glob("*.npy")
        data = bytearray(shard.read_bytes())
        data[-5] ^= 1
        shard.write_bytes(data)
        text = self.lake.run("verify", "--repair", exits=INTEGRITY, **self.keys)
        self.assertIn("chunks 1 of 2; restored", text)
        self.assertEqual(shard.read_bytes(), self.large)

    def test_what_the_store_lacks_is_named(self) -> None:
        self.add("large", 2, 512)
        self.refused("NoSuchKey")
        self.assertEqual([row["state"] for row in self.lake.rows("SELECT state FROM v_shard ORDER BY ordinal")],
                         ["present", "absent"])

    def test_a_bucket_that_is_not_there_is_named(self) -> None:
        self.add("large", 1, 512, bucket="elsewhere")
        self.refused("NoSuchBucket")

    def test_a_wrong_key_is_told_from_a_wrong_clock_and_a_wrong_region(self) -> None:
        self.add("large", 1, 512)
        self.refused("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY", AWS_SECRET_ACCESS_KEY="planted-wrong")
        self.refused("SignatureDoesNotMatch", AWS_ACCESS_KEY_ID="lab:AKPLANTED4")
        self.refused("AuthorizationHeaderMalformed", "AWS_REGION", AWS_REGION="eu-lab-1")
        self.refused("not signed", "AWS_ACCESS_KEY_ID", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        (self.scratch / "clock.c").write_text(CLOCK)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", "clock.so", "clock.c"], cwd=self.scratch, check=True)
        self.refused("RequestTimeTooSkewed", "clock", LD_PRELOAD=str(self.scratch / "clock.so"))
        self.assertEqual({row["http_status"] for row in self.lake.rows("SELECT http_status FROM v_transfer")}, {400, 403})

    def test_a_probe_says_what_the_store_said(self) -> None:
        self.add("large", 1, 512)
        wrong = {**self.keys, "AWS_SECRET_ACCESS_KEY": "planted-wrong"}
        done = self.lake.attempt("source", "probe", "images", "--json", **wrong)
        self.assertEqual(done.returncode, PARTIAL, done.stderr)
        report = json_lines(done.stdout)[0]
        self.assertIn("SignatureDoesNotMatch", report["served_wrongly"][0]["error"])
        (fact,) = self.lake.rows("SELECT state, last_error FROM v_location")
        self.assertEqual(fact["state"], "faulty")
        self.assertNotIn("planted", fact["last_error"])

    def test_a_profile_of_the_aws_files_signs(self) -> None:
        (self.scratch / ".aws").mkdir()
        (self.scratch / ".aws" / "credentials").write_text(
            f"[lab]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
        (self.scratch / ".aws" / "config").write_text(
            f"[profile lab]\nregion = us-east-1\nendpoint_url = {self.store.url}/\n")
        self.add("large", 1, 512)
        self.lake.run("sync", **{**{name: "" for name in self.keys}, "HOME": str(self.scratch), "AWS_PROFILE": "lab"})
        self.assertEqual(self.digests(), [hashlib.sha256(self.large).hexdigest()])


if __name__ == "__main__":
    unittest.main()
