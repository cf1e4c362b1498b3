"""Ctrl-C and SIGTERM end every command, whatever it is at, and the same command goes on afterwards.

How long each took to end is printed; nothing is asserted of it here but that it did.
"""

import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import numpy as np

from support import FEATURES, Lake, LakeTest, environment

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Silent(http.server.BaseHTTPRequestHandler):
    """Answers every request with a promise and nothing more."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "617600")
        self.end_headers()
        self.server.asked.set()
        self.server.over.wait()

    def do_HEAD(self) -> None:
        # Not even a head: that would be the whole of this answer.
        self.server.asked.set()
        self.server.over.wait()

    def log_message(self, *_: object) -> None:
        pass


class Interrupts(LakeTest):
    """One long command after another, each interrupted in the middle of its work."""

    def silent_server(self) -> http.server.ThreadingHTTPServer:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
        server.daemon_threads = True
        server.asked, server.over = threading.Event(), threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        self.addCleanup(server.over.set)
        return server

    def imported(self) -> Lake:
        lake = self.new_lake()
        for name, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            lake.run(
                "source", "add", name, "--url", f"https://features.example/{kind}/{kind}_{{ordinal:04}}.npy", "--count", 6,
                "--dimension", 512, "--modality", modality, "--sizes", FEATURES / "sizes.txt")
            lake.run("import", name, *sorted((FEATURES / kind).glob("*.npy")))
        return lake

    def interrupt(self, lake: Lake, arguments: tuple, until: str | float | threading.Event, number: signal.Signals) -> None:
        """Interrupts a command once it has said something, an event came or a time has passed."""
        if isinstance(until, threading.Event):
            until.clear()
        command = lake.command(*arguments)
        process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = ""
        if isinstance(until, str):
            while until not in said:
                line = process.stderr.readline()
                self.assertTrue(line, f"{command} ended before it said {until!r}: {said}")
                said += line
        elif isinstance(until, float):
            time.sleep(until)
        else:
            self.assertTrue(until.wait(60), f"{command} asked for nothing")
        started = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=120)
        seconds = time.monotonic() - started
        print(f"interrupt: {arguments[0]} {number.name}: {seconds:.2f} s", flush=True)
        self.assertEqual(process.returncode, STATUS[number], f"{command}: {said}{errors}")
        last = errors.strip().splitlines()[-1]
        self.assertTrue(last.startswith("tarn: interrupted; "), errors)
        self.assertIn("again to continue", last)

    def test_commands_that_wait_for_a_server(self) -> None:
        lake = self.imported()
        lake.train()
        commands = (("sync",), ("source", "probe"), ("build", "later", "--trained", "clip", "--images"))
        for number in STATUS:
            for command in commands:
                # A server of its own: one that is asked late would tell of the next command.
                server = self.silent_server()
                source = f"silent{server.server_address[1]}"
                lake.run(
                    "source", "add", source, "--url",
                    f"http://127.0.0.1:{server.server_address[1]}/img_emb_{{ordinal:04}}.npy", "--count", 6, "--dimension",
                    512, "--sizes", FEATURES / "sizes.txt")
                self.interrupt(lake, (*command, source), server.asked, number)
        self.assertEqual(
            lake.rows("SELECT count(*) AS n FROM shard WHERE state = 'fetching'"), [{"n": 0}], "a reservation stays")

    def test_training_is_interrupted_and_continued(self) -> None:
        lake = self.imported()
        long = ("train", "long", "--images", "images", "--captions", "captions", "--nlist", 64, "--iterations", 100_000)
        for number in STATUS:
            self.interrupt(lake, long, "iteration ", number)
        routed = (
            "train", "routed", "--images", "images", "--captions", "captions", "--nlist", 16, "--router", "learned",
            "--router-epochs", 10_000)
        self.interrupt(lake, routed, "router epoch 2/", signal.SIGTERM)

    def test_a_replay_is_interrupted_while_it_trains(self) -> None:
        # The demo's shards from the disk, and a document that asks for 100,000 iterations.
        lake = self.new_lake("first")
        for name, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            lake.run("source", "add", name, "--directory", FEATURES / kind, "--dimension", 512, "--modality", modality)
        lake.run("sync")
        lake.train()
        lake.build()
        document = json.loads(lake.run("export", "clips@1"))
        document["trained"]["iterations"] = 100_000
        document["trained"]["spec"] = document["trained"]["spec"].replace('"iterations":10,', '"iterations":100000,')
        path = self.scratch / "long.json"
        path.write_text(json.dumps(document))
        second = self.new_lake("second")
        # One that does not have the digest of its content is told which it would have.
        refused = second.attempt("reproduce", "--from", path, "--allow-inside").stderr
        document["version_sha256"] = re.search("not ([0-9a-f]{64}) of the document's content", refused)[1]
        path.write_text(json.dumps(document))
        self.interrupt(second, ("reproduce", "--from", path, "--allow-inside"), "iteration ", signal.SIGINT)
        self.interrupt(second, ("reproduce", "--from", path, "--allow-inside"), "iteration ", signal.SIGTERM)

    def hears(self, pid: int, number: signal.Signals) -> bool:
        """Whether a process does something of its own about a signal."""
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return bool(int(re.search(r"^SigCgt:\s*(\w+)", status, re.M)[1], 16) >> (number - 1) & 1)

    def test_a_command_whose_messages_nobody_reads(self) -> None:
        """Nor does anybody read that it was interrupted."""
        lake = self.imported()
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        # One says what takes it long, the other nothing but that it ends.
        for arguments in (("train", "long", "--images", "images", "--captions", "captions", "--nlist", 64, "--iterations", 100_000),
                          ("sql", endless, "--timeout", "0")):
            for number in STATUS:
                reader, writer = os.pipe()
                self.addCleanup(os.close, reader)
                os.set_blocking(writer, False)
                try:
                    while True:
                        os.write(writer, b"x" * 4096)
                except BlockingIOError:
                    os.set_blocking(writer, True)
                process = subprocess.Popen(
                    lake.command(*arguments), env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer)
                os.close(writer)
                while not self.hears(process.pid, number):
                    # One that has ended is there until it is waited for, and hears nothing.
                    self.assertIsNone(process.poll(), arguments)
                    time.sleep(0.01)
                # Until what it says fills the pipe; one that is later is interrupted all the same.
                time.sleep(1)
                process.send_signal(number)
                self.assertEqual(process.wait(120), STATUS[number], arguments)

    def test_commands_that_read_or_compute_for_long(self) -> None:
        lake = self.imported()
        lake.train()
        lake.build()
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        self.interrupt(lake, ("sql", endless, "--timeout", "0"), 0.5, signal.SIGINT)
        # One call of a function, in which SQLite looks at nothing.
        function = "SELECT instr(printf('%.20000000c', 'a'), printf('%.10000000c', 'a') || 'b')"
        for number in STATUS:
            self.interrupt(lake, ("sql", function, "--timeout", "0"), 0.5, number)
        # A hundred thousand queries: a search of many seconds.
        queries = self.scratch / "many.npy"
        np.save(queries, np.ones((100_000, 512), np.float16))
        self.interrupt(
            lake, ("search", "clips@1", "--queries", queries, "-k", 100, "--nprobe", 64, "--output", self.scratch / "out"),
            1.0, signal.SIGTERM)
        self.assertEqual(list(self.scratch.glob("out*")), [])
        # What an interrupted command left does not hold anybody up.
        lake.run("verify")
        self.assertIn("identical", lake.run("reproduce", "clips@1"))
