"""What a terminal shows: progress that goes when something else is said, no escapes where nothing can be drawn anew,
and a screen of the lake that fits."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import sqlite3
import struct
import subprocess
import termios
import time

from support import FEATURES, Lake, LakeTest, environment

ESCAPE = "\x1b"


def take_terminal() -> None:
    """In a child before its command: the terminal is its own, and its hangup too, whatever runs the tests."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Screen:
    """A command on a terminal of its own, and all that it wrote there."""

    def __init__(
            self, command: list[str], columns: int = 80, rows: int = 24, keyboard: bool = False, **environ: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.settings = termios.tcgetattr(self.master)
        self.process = subprocess.Popen(
            command, env=environment(**environ), stdin=slave if keyboard else subprocess.DEVNULL, stdout=slave,
            stderr=slave, start_new_session=keyboard,
            preexec_fn=take_terminal if keyboard else None)
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

    def pages(self, text: str) -> list[list[str]]:
        """The screens that were drawn, one over the other, as lines."""
        self.assertNotIn("\x1b[2J", text, "a screen is never emptied before it is drawn")
        return [page.split("\x1b[J")[0].replace("\x1b[K", "").replace("\r", "").removesuffix("\n").split("\n")
                for page in text.split("\x1b[H")[1:] if "\x1b[J" in page]

    def test_a_lake_that_is_watched_fits_its_screen_and_tells_rate_and_time_left(self) -> None:
        lake = self.slow_lake()
        for number in range(9):
            lake.run(
                "source", "add", f"other{number}", "--url", f"https://host.example/{number}/{{ordinal:04}}.npy", "--count", 3,
                "--dimension", 512)
        sync = subprocess.Popen(
            lake.command("sync", "images", "captions", "--quiet"), env=environment(), stdin=subprocess.DEVNULL)
        self.addCleanup(sync.wait)
        watch = Screen(lake.command("status", "--watch"), columns=60, rows=14, TERM="xterm")
        watch.read(r"\n(images|captions) .*kB/s  .*left[^\x00]*at work: sync")
        # Made smaller meanwhile, the next one fits; there is no wait for the next look.
        count = len(self.pages(watch.text))
        fcntl.ioctl(watch.master, termios.TIOCSWINSZ, struct.pack("HHHH", 9, 40, 0, 0))
        # The first may have been on its way.
        watch.read(r"(?s).{%d}(.*\x1b\[J){2}" % len(watch.text))
        self.assertEqual(watch.end(signal.SIGINT), 130)
        sync.send_signal(signal.SIGINT)
        pages = self.pages(watch.text)
        self.assertGreater(len(pages), count + 1)
        for lines in pages:
            self.assertLessEqual(len(lines), 13, lines)
            self.assertTrue(all(len(line) < 60 for line in lines), lines)
            self.assertRegex(lines[0], r"^\d\d:\d\d:\d\d  lake ")
            self.assertTrue(any("more: `tarn status`" in line for line in lines), lines)
        self.assertLessEqual(len(pages[-1]), 8, pages[-1])
        self.assertTrue(all(len(line) < 40 for line in pages[-1]), pages[-1])
        # What moves stands first.
        self.assertRegex(pages[-1][4], r"^(images|captions) ")
        self.assert_left(watch.text)

    def assert_left(self, text: str) -> None:
        """A screen of its own was taken once, with the cursor, and both were given back."""
        self.assertTrue(text.startswith("\x1b[?1049h\x1b[?25l"), text[:40])
        self.assertEqual((text.count("\x1b[?1049h"), text.count("\x1b[?1049l"), text.count("\x1b[?25h")), (1, 1, 1))

    def test_q_ends_the_watch_and_the_terminal_is_as_it_was(self) -> None:
        lake = self.new_lake()
        # F2 is no q, and Ctrl-\\ would leave the screen behind.
        for key, status in ((b"\x1bOQ\x1cq", 0), (b"\x03", 130), (signal.SIGHUP, 143)):
            watch = Screen(lake.command("status", "--watch"), keyboard=True, TERM="xterm")
            watch.read(r"source add")
            self.assertNotEqual(termios.tcgetattr(watch.master), watch.settings)
            if isinstance(key, bytes):
                os.write(watch.master, key)
            else:
                watch.process.send_signal(key)
            # Up to its end: one that has drawn more than the terminal holds waits until it is read.
            watch.read()
            self.assertEqual(termios.tcgetattr(watch.master), watch.settings)
            self.assertEqual(watch.end(), status)
            self.assert_left(watch.text)

    def test_a_terminal_of_one_row_or_column_is_not_rolled(self) -> None:
        lake = self.new_lake()
        for columns, rows in ((80, 1), (1, 1), (1, 24)):
            watch = Screen(lake.command("status", "--watch"), columns=columns, rows=rows, keyboard=True, TERM="xterm")
            watch.read("\x1b\\[J")
            os.write(watch.master, b"q")
            self.assertEqual(watch.end(), 0)
            for lines in self.pages(watch.text):
                self.assertLessEqual(len(lines), max(1, rows - 1), lines)
                self.assertTrue(all(len(line) <= max(1, columns - 1) for line in lines), lines)
            if rows == 1:
                self.assertNotIn("\n", watch.text)

    def test_a_lake_that_goes_away_is_a_line_until_it_is_back(self) -> None:
        lake = self.new_lake()
        lake.run("source", "add", "images", "--directory", FEATURES / "img_emb")
        watch = Screen(lake.command("status", "--watch"), TERM="xterm")
        watch.read(r"0/6 shards")
        away = lake.directory.with_name("away")
        lake.directory.rename(away)
        watch.read(r"not read since [\d:]{8}, older below: [^\x00]*0/6 shards")
        away.rename(lake.directory)
        shown = len(watch.text)
        watch.read(r"(?s).{%d}.*\x1b\[H\d\d:\d\d:\d\d  lake [^\n]*\n[^\n]*B/s" % shown)
        catalog = lake.directory / "catalog.sqlite"
        kept = catalog.read_bytes()
        os.rename(catalog, away)
        catalog.write_bytes(b"something else" * 1000)
        shown = len(watch.text)
        watch.read(r"(?s).{%d}.*not read since [\d:]{8}, older below: " % shown)
        self.assertIsNone(watch.process.poll())
        self.assertEqual(watch.end(signal.SIGTERM), 143)
        self.assertEqual(len(kept), away.stat().st_size)

    def test_a_catalog_that_is_locked_is_said_and_keys_go_on(self) -> None:
        lake = self.new_lake()
        lake.run("source", "add", "images", "--directory", FEATURES / "img_emb")
        for key in (None, b"q"):
            watch = Screen(lake.command("status", "--watch"), keyboard=True, TERM="xterm")
            watch.read(r"0/6 shards")
            # Another program that keeps everybody out: it has the log's index in memory of its own.
            with contextlib.closing(sqlite3.connect(lake.directory / "catalog.sqlite", timeout=60)) as holder:
                holder.execute("PRAGMA locking_mode = EXCLUSIVE")
                holder.execute("BEGIN IMMEDIATE")
                watch.read(r"not read since [\d:]{8}, older below: [^\x00]*0/6 shards")
                since = re.search(r"not read since ([\d:]{8})", watch.text)[1]
                # The clock goes on.
                clocks = {lines[0][:8] for lines in self.pages(watch.text)}
                watch.read(r"(?s).{%d}(.*\x1b\[J){3}" % len(watch.text))
                self.assertGreater(len({lines[0][:8] for lines in self.pages(watch.text)}), len(clocks))
                if key:
                    os.write(watch.master, key)
                    self.assertEqual(watch.end(), 0)
            if key:
                continue
            shown = len(watch.text)
            watch.read(r"(?s).{%d}.*\x1b\[H\d\d:\d\d:\d\d  lake [^\n]*\n[^\n]*B/s" % shown)
            self.assertEqual({since}, set(re.findall(r"not read since ([\d:]{8})", watch.text)))
            self.assertEqual(watch.end(signal.SIGINT), 130)

    def test_a_pipe_goes_on_where_a_lake_goes_away(self) -> None:
        lake = self.new_lake()
        process = subprocess.Popen(
            lake.command("status", "--watch"), env=environment(TERM="xterm"), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        for line in process.stdout:
            if line.startswith("-- "):
                break
        lake.directory.rename(lake.directory.with_name("away"))
        for line in process.stdout:
            if "lake" in line and "init" in line:
                break
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
