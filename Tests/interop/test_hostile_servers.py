"""Servers that flood, and files whose rows a size does not tell, through the tool as a user has it."""

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

import numpy as np

from support import DIMENSION, FEATURES, INPUTS_MISSING, PARTIAL, SHARDS, LakeTest, environment

NAMES = [f"img_emb_{ordinal:04}.npy" for ordinal in range(SHARDS)]


class RowsOfHoles(LakeTest):
    """Files of old writers, whose headers have 80 bytes, of so few dimensions that a size fits several."""

    def setUp(self) -> None:
        super().setUp()
        rng = np.random.default_rng(1)
        (self.scratch / "www").mkdir()
        for ordinal in range(3):
            rows = rng.standard_normal((100, 8))
            rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f2")
            text = b"{'descr': '<f2', 'fortran_order': False, 'shape': (100, 8), }"
            start = b"\x93NUMPY\x01\x00" + (70).to_bytes(2, "little") + text.ljust(69) + b"\n"
            (self.scratch / "www" / f"{ordinal}.npy").write_bytes(start + rows.tobytes())
        self.lake = self.new_lake()
        self.url = self.serve(self.scratch / "www").url
        (self.scratch / "sizes").write_text("".join(f"{ordinal}.npy, 1680\n" for ordinal in range(3)))
        self.add("whole")
        self.lake.run("sync", "whole")
        self.lake.run("train", "t", "--images", "whole", "--method", "kmeans", "--nlist", 4)
        (self.scratch / "www" / "1.npy").unlink()

    def add(self, name: str) -> None:
        self.lake.run(
            "source", "add", name, "--url", f"{self.url}/{{ordinal}}.npy", "--count", 3, "--dimension", 8, "--sizes",
            self.scratch / "sizes")

    def first_ids(self, version: str) -> list[int]:
        rows = self.lake.rows(f"SELECT first_id FROM v_version_input WHERE version = '{version}' ORDER BY input")
        return [row["first_id"] for row in rows]

    def test_a_hole_is_as_long_as_somebody_says_and_never_as_its_size_comes_to(self) -> None:
        self.add("holed")
        command = ("build", "v", "--trained", "t", "--images", "holed", "--missing", "skip")
        self.lake.run("sync", "holed", exits=PARTIAL)
        done = self.lake.attempt(*command)
        self.assertEqual(done.returncode, INPUTS_MISSING, done.stderr)
        self.assertIn("the number of rows of 1.npy is not known", done.stderr)
        # A list that says so, or a probe while the file was there.
        (self.scratch / "sizes").write_text("0.npy, 1680, 100\n1.npy, 1680, 100\n2.npy, 1680, 100\n")
        self.add("listed")
        self.lake.run("sync", "listed", exits=PARTIAL)
        self.lake.run("build", "w", "--trained", "t", "--images", "listed", "--missing", "skip")
        self.assertEqual(self.first_ids("w@1"), [0, 100, 200])

    def test_a_build_that_fetches_asks_for_the_beginnings_of_files(self) -> None:
        shutil.copy(self.scratch / "www" / "0.npy", self.scratch / "www" / "1.npy")
        self.add("streamed")
        self.lake.run("build", "v", "--trained", "t", "--images", "streamed")
        self.assertEqual(self.first_ids("v@1"), [0, 100, 200])

    def test_a_build_that_fetches_reads_the_heads_of_safetensors_too(self) -> None:
        for ordinal in range(3):
            rows = (self.scratch / "www" / "0.npy").read_bytes()[80:]
            head = b'{"x":{"dtype":"F16","shape":[100,8],"data_offsets":[0,1600]}}'.ljust(64 + ordinal * 8)
            (self.scratch / "www" / f"{ordinal}.safetensors").write_bytes(
                len(head).to_bytes(8, "little") + head + rows)
        self.lake.run(
            "source", "add", "heads", "--url", f"{self.url}/{{ordinal}}.safetensors", "--count", 3, "--dimension", 8)
        self.lake.run("build", "s", "--trained", "t", "--images", "heads")
        self.assertEqual(self.first_ids("s@1"), [0, 100, 200])


class Floods(LakeTest):
    def test_a_server_that_floods_costs_no_memory_and_the_next_mirror_is_asked(self) -> None:
        body = (FEATURES / "img_emb" / NAMES[0]).read_bytes()
        chunk = b"%x\r\n" % len(body) + body + b"\r\n0\r\n"
        floods = {
            "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk, b"X-Flood: y\r\n" * 8192),
            "hints": (b"", b"HTTP/1.1 103 Early Hints\r\nX-Flood: y\r\n\r\n" * 4096),
            "line": (b"HTTP/1.1 200 OK\r\nX-Flood: ", b"y" * 65536),
            "body": (b"HTTP/1.1 200 OK\r\n\r\n" + body, bytes(65536)),
        }
        good = self.serve(FEATURES)
        for name, (start, again) in floods.items():
            with self.subTest(flood=name):
                listener = socket.create_server(("127.0.0.1", 0))
                self.addCleanup(listener.close)

                def flood(listener: socket.socket = listener, start: bytes = start, again: bytes = again) -> None:
                    while True:
                        try:
                            connection, _ = listener.accept()
                        except OSError:
                            return
                        with connection, contextlib.suppress(OSError):
                            connection.recv(65536)
                            connection.sendall(start)
                            for _ in range(8192):
                                connection.sendall(again)

                threading.Thread(target=flood, daemon=True).start()
                lake = self.new_lake(name)
                lake.run(
                    "source", "add", "images", "--count", 1, "--dimension", DIMENSION, "--url",
                    f"http://127.0.0.1:{listener.getsockname()[1]}/img_emb_{{ordinal:04}}.npy",
                    "--mirror", f"{good.url}/img_emb/img_emb_{{ordinal:04}}.npy")
                process = subprocess.Popen(
                    lake.command("sync", "--quiet"), env=environment(), stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)
                # Of its own status: what wait4 says begins with the memory of who started it.
                peak = 0
                while process.poll() is None:
                    with contextlib.suppress(OSError, TypeError):
                        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                        peak = max(peak, int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]))
                    time.sleep(0.005)
                self.assertEqual(process.returncode, 0)
                print(f"flood of {name}: tarn held {peak >> 10} MiB at most")
                self.assertGreater(peak, 0)
                self.assertLess(peak, 256 << 10)
                listener.close()
