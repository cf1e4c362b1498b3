"""What a terminal shows: progress that goes when something else is said, no escapes where nothing can be drawn anew,
and a screen of the lake that fits."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from support import FEATURES, Lake, LakeTest, environment

ESCAPE = "\x1b"


class Screen:
    """A command on a terminal of its own, and all that it wrote there."""

    def __init__(self, command: list[str], columns: int = 80, rows: int = 24, **environ: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            command, env=environment(**environ), stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
        os.close(slave)
        self.text = ""

    def read(self, until: str | None = None) -> str:
        """Reads until a pattern was shown, or the command has ended."""
        end = time.monotonic() + 120
        while until is None or not re.search(until, self.text):
            assert time.monotonic() < end, f"{until!r} was not shown: {self.text!r}"
            if not select.select([self.master], [], [], 1)[0]:
                continue
            try:
                piece = os.read(self.master, 65536)
            except OSError:
                piece = b""
            if not piece:
                break
            self.text += piece.decode()
        return self.text

    def end(self, number: signal.Signals | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        self.read()
        os.close(self.master)
        return self.process.wait(60)


def shown(text: str) -> list[str]:
    """The lines that stand on a terminal after all of a text."""
    lines = [""]
    for piece in re.split("(\x1b\\[2K|\x1b\\[1A|\x1b\\[2J|\x1b\\[H|\r\n|\r|\n)", text):
        if piece == "\x1b[2K":
            lines[-1] = ""
        elif piece == "\x1b[1A":
            lines.pop()
        elif piece in ("\x1b[2J", "\x1b[H"):
            lines = [""]
        elif piece in ("\r\n", "\n"):
            lines.append("")
        elif piece != "\r":
            lines[-1] += piece
    return lines


class Terminal(LakeTest):
    def slow_lake(self) -> Lake:
        """A lake whose shards take some seconds each to come."""
        server = self.serve(FEATURES, "location / { root @root@; limit_rate 150k; }")
        lake = self.new_lake()
        lake.add_examples(server.url)
        return lake

    def test_nothing_is_written_on_a_line_of_progress(self) -> None:
        lake = self.slow_lake()
        screen = Screen(lake.command("sync"), TERM="xterm")
        screen.read(r"sync: \d+/12 shards")
        self.assertEqual(screen.end(signal.SIGINT), 130)
        lines = [line for line in shown(screen.text) if line]
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith("tarn: interrupted; "), lines)
        # What came is no speed of the next run.
        held = sum(path.stat().st_size for path in lake.directory.rglob("*.part"))
        here = sum(row["bytes"] for row in lake.rows("SELECT present_bytes AS bytes FROM v_source"))
        self.assertGreater(held, 0)
        events = [json.loads(line) for line in lake.run("sync", "--json").splitlines()]
        last = [event for event in events if event["type"] == "progress"][-1]
        whole = sum((FEATURES / kind / f"{kind}_{n:04}.npy").stat().st_size
                    for kind in ("img_emb", "text_emb") for n in range(6))
        self.assertEqual(last["bytes"] - last["received_bytes"], held)
        self.assertLessEqual(last["received_bytes"], whole - here - held)

    def test_an_interrupted_training_says_so(self) -> None:
        lake = self.new_lake()
        for name, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            lake.run("source", "add", name, "--directory", FEATURES / kind, "--modality", modality)
        lake.run("sync")
        screen = Screen(
            lake.command(
                "train", "t", "--images", "images", "--captions", "captions", "--nlist", 16, "--iterations", 100_000),
            TERM="xterm")
        screen.read(r"iteration ")
        self.assertEqual(screen.end(signal.SIGINT), 130)
        lines = [line for line in shown(screen.text) if line]
        self.assertTrue(lines[-1].startswith("tarn: interrupted; "), lines)

    def test_a_dumb_terminal_gets_no_escapes(self) -> None:
        for terminal in ("dumb", ""):
            lake = self.new_lake(f"lake{len(terminal)}")
            lake.run("source", "add", "images", "--directory", FEATURES / "img_emb")
            screen = Screen(lake.command("sync"), TERM=terminal)
            self.assertEqual(screen.end(), 0)
            self.assertIn("6 shards fetched", screen.text)
            self.assertNotIn(ESCAPE, screen.text)
            watch = Screen(lake.command("status", "--watch"), TERM=terminal)
            watch.read(r"(?s)lake .*lake ")
            self.assertEqual(watch.end(signal.SIGINT), 130)
            self.assertNotIn(ESCAPE, watch.text)

    def test_a_pipe_gets_no_escapes(self) -> None:
        lake = self.new_lake()
        process = subprocess.Popen(
            lake.command("status", "--watch"), env=environment(TERM="xterm"), stdout=subprocess.PIPE, text=True)
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[0]
        self.assertNotIn(ESCAPE, "".join(lines) + rest)
        self.assertTrue(any(line.startswith("lake ") for line in lines), lines)

    def test_a_lake_that_is_watched_fits_its_screen_and_tells_rate_and_time_left(self) -> None:
        lake = self.slow_lake()
        for number in range(9):
            lake.run(
                "source", "add", f"other{number}", "--url", f"https://host.example/{number}/{{ordinal:04}}.npy", "--count", 3,
                "--dimension", 512)
        sync = subprocess.Popen(
            lake.command("sync", "images", "captions", "--quiet"), env=environment(), stdin=subprocess.DEVNULL)
        self.addCleanup(sync.wait)
        watch = Screen(lake.command("status", "--watch"), columns=60, rows=10, TERM="xterm")
        watch.read(r"kB/s, .*left")
        self.assertEqual(watch.end(signal.SIGINT), 130)
        sync.send_signal(signal.SIGINT)
        pages = watch.text.split("\x1b[2J\x1b[H")[1:]
        self.assertGreater(len(pages), 1)
        for page in pages[:-1]:
            lines = page.replace("\r", "").rstrip("\n").split("\n")
            self.assertLessEqual(len(lines), 9, page)
            self.assertTrue(all(len(line) < 60 for line in lines), page)
            self.assertRegex(lines[0], r"^\d\d:\d\d:\d\d  lake ")
            self.assertIn("more: `tarn status`", lines[-1])
        # What moves stands first.
        self.assertRegex(pages[-1], r"^[^\n]*\r?\n\r?\n(images|captions)")
