"""A real server that goes away in the middle of a sync and of a build, and comes back: nothing is lost or fetched twice.

The outages of 30 s, 3 min and 15 min are tested with a clock of their own (PatienceTests, OutageTests); here one of some
seconds is real, with the shipped policy.
"""

import signal
import subprocess
import time

from support import FEATURES, Lake, LakeTest, environment

GONE_SECONDS = 6


class Outage(LakeTest):
    def received(self, lake: Lake, source: str) -> int:
        return lake.rows("SELECT sum(received_bytes) AS n FROM v_transfer WHERE source = ?", source)[0]["n"]

    def outlive(self, lake: Lake, *command: object) -> tuple[int, str]:
        """Runs a command whose server goes away when a part has come; its exit code, and what it said."""
        process = subprocess.Popen(
            lake.command(*command, "--patience", "5m"), env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        end = time.monotonic() + 120
        while not list((lake.directory / "shards").rglob("*.part")):
            self.assertIsNone(process.poll(), f"{command} ended before it was interrupted")
            self.assertLess(time.monotonic(), end, "nothing comes")
            time.sleep(0.01)
        # At this rate a shard takes four times as long.
        time.sleep(1.5)
        self.server.fail()
        time.sleep(GONE_SECONDS)
        self.server.come_back()
        _, errors = process.communicate(timeout=300)
        return process.returncode, errors

    def test_a_server_that_goes_away_is_waited_for(self) -> None:
        self.server = self.serve(FEATURES, "location / { root @root@; } location /img_emb/ { root @root@; limit_rate 100k; }")
        lake = self.new_lake()
        lake.add_examples(self.server.url)
        whole = sum(path.stat().st_size for path in (FEATURES / "img_emb").glob("*.npy"))
        code, said = self.outlive(lake, "sync", "images", "--jobs", 6)
        self.assertEqual(code, 0, said)
        self.assertIn("trying again", said)
        self.assertEqual(self.received(lake, "images"), whole, "bytes came twice, or some are not told")

        lake.run("sync", "captions", "--jobs", 6)
        lake.train()
        lake.run("evict", "images")
        code, said = self.outlive(
            lake, "build", "clips", "--trained", "clip", "--images", "images", "--shards-per-output", 3, "--jobs", 6)
        self.assertEqual(code, 0, said)
        self.assertIn("trying again", said)
        self.assertEqual(self.received(lake, "images"), 2 * whole, "bytes came twice, or some are not told")

    def test_ctrl_c_ends_a_wait(self) -> None:
        self.server = self.serve(FEATURES)
        lake = self.new_lake()
        lake.add_examples(self.server.url)
        self.server.fail()
        # At once or a little later: while the last transfer is being closed, too.
        for pause in (0, 0, 0.002, 0.005, 0.01, 0.02, 0.1, 0.4):
            process = subprocess.Popen(
                lake.command("sync", "--patience", "1h"), env=environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            said = ""
            while "waiting for" not in said:
                line = process.stderr.readline()
                self.assertTrue(line, said)
                said += line
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, said)
        self.server.come_back()
        lake.run("sync", "--quiet")
