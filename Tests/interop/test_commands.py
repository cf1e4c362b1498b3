"""Shards that commands write: who may run them, what becomes of those that misbehave, what is recorded."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

import numpy as np

import support
from support import FEATURES, INPUTS_MISSING, INTEGRITY, PARTIAL, ROOT, USAGE, Lake

EMBED = ROOT / "Examples" / "embed" / "embed.py"
DISK, TEMPORARY = 28, 75
DIMENSION = 16

# What the commands of these tests are: a script that leaves a trace wherever it runs, and misbehaves as its word says.
SCRIPT = textwrap.dedent('''
    import os, signal, struct, subprocess, sys, time
    trace, kind, ordinal, output = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    with open(trace, "a") as file:
        file.write(f"{kind} {ordinal}\\n")

    def npy(rows, dimension, seed):
        head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (rows, dimension)
        head += " " * (-(10 + len(head) + 1) % 64) + "\\n"
        body = b""
        for row in range(rows):
            values = [((seed * 7919 + row * 31 + j * j) % 97) / 97 + 0.01 for j in range(dimension)]
            length = sum(value * value for value in values) ** 0.5
            body += struct.pack("<%df" % dimension, *(value / length for value in values))
        return b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(head)) + head.encode() + body

    good = npy(40 + ordinal, 16, ordinal)
    def write(data, path=output):
        with open(path, "wb") as file:
            file.write(data)

    if ordinal != 1 and kind not in ("good", "moody", "reading", "environment", "group", "slow"):
        kind = "good"
    if kind == "good":
        write(good)
    elif kind == "failing":
        print("loading the model")
        print("\\x1b[31mno model\\x1b[0m", file=sys.stderr)
        sys.exit(3)
    elif kind == "dying":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "hanging":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
        time.sleep(1000)
    elif kind == "silent":
        pass
    elif kind == "wide":
        write(npy(41, 17, 1))
    elif kind == "cut":
        write(good[:-5])
    elif kind == "long":
        write(good + b"more")
    elif kind == "text":
        write(b"<html>not found</html>" * 20)
    elif kind == "link":
        write(good, trace + ".elsewhere")
        os.symlink(trace + ".elsewhere", output)
    elif kind == "hardlink":
        write(good, trace + ".elsewhere")
        os.link(trace + ".elsewhere", output)
    elif kind == "directory":
        os.mkdir(output)
    elif kind == "fifo":
        os.mkfifo(output)
    elif kind == "huge":
        with open(output, "wb") as file:
            while True:
                file.write(bytes(1 << 20))
                time.sleep(0.001)
    elif kind == "chatty":
        write(good)
        for _ in range(20000):
            print("x" * 100)
        print("the end", flush=True)
    elif kind == "moody":
        if not os.path.exists(trace + ".once"):
            write(b"", trace + ".once")
            sys.exit(75)
        write(good)
    elif kind == "environment":
        with open(trace + ".environment", "w") as file:
            file.write(repr(sorted(os.environ)) + "\\n" + repr(os.getsid(0) == os.getpid()) + repr(sys.stdin.read())
                + repr(sorted(int(name) for name in os.listdir("/proc/self/fd"))[:4]))
        write(good)
    elif kind == "group":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        far = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
        with open(trace + ".children", "a") as file:
            file.write(f"{child.pid} {far.pid} {os.getpid()}\\n")
        write(good)
        if ordinal == 1:
            time.sleep(1000)
    elif kind == "slow":
        time.sleep(0.5)
        write(good)
    elif kind == "reading":
        with open(sys.argv[5], "rb") as file:
            seed = sum(file.read())
        write(npy(40, 16, seed))
''')


def is_alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class CommandTests(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="tarn commands'"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.script = self.directory / "make.py"
        self.script.write_text(SCRIPT)
        self.trace = self.directory / "trace"
        self.lake = Lake(self.directory / "lake")
        self.lake.run("init", self.lake.directory)

    def command(self, kind: str, *more: str) -> str:
        words = [sys.executable, str(self.script), str(self.trace), kind, "{ordinal}", "{output}", *more]
        return "command:" + " ".join('"' + word + '"' for word in words)

    def add(self, kind: str, *options: object, name: str = "made", count: int = 3, more: tuple = ()) -> None:
        self.lake.run(
            "source", "add", name, "--url", self.command(kind, *more), "--count", count, "--shard-names",
            name + "_{ordinal:02}.npy", "--dimension", DIMENSION, "--dtype", "float32", *options)

    def traced(self) -> list[str]:
        return self.trace.read_text().splitlines() if self.trace.exists() else []

    def left(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.lake.directory)) for path in (self.lake.directory / "shards").rglob("*")
            if ".part" in path.name or ".command" in str(path))

    # Who may run them.

    def test_nothing_runs_without_leave(self) -> None:
        self.add("good")
        done = self.lake.attempt("sync")
        self.assertEqual(done.returncode, USAGE)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        for part in ("3 shards", "made_00.npy", "make.py", "--allow-commands"):
            self.assertIn(part, done.stderr)
        for verb in (["build", "v", "--trained", "t", "--images", "made"], ["train", "t", "--images", "made", "--fetch",
                "--method", "kmeans", "--nlist", "4"], ["verify", "--repair"], ["source", "probe", "made"], ["status"],
                ["sync", "--dry-run"], ["gc", "--apply"], ["doctor"], ["source", "show", "made"]):
            self.lake.attempt(*verb)
            self.assertEqual(self.traced(), [], verb)
        self.lake.run("sync", "--allow-commands")
        self.assertEqual(sorted(self.traced()), ["good 0", "good 1", "good 2"])
        self.assertEqual(self.left(), [])

    def test_an_error_controls_no_terminal(self) -> None:
        self.add("failing")
        done = self.lake.attempt("sync", "--allow-commands")
        self.assertNotIn("\x1b", done.stderr + done.stdout)
        refused = self.lake.attempt(
            "source", "add", "odd", "--url", "command:make \x1b[2J {output}", "--count", 1, "--shard-names", "a.npy",
            "--dimension", 4)
        self.assertEqual(refused.returncode, USAGE)
        self.assertNotIn("\x1b", refused.stderr)

    def test_other_mirrors_are_asked_where_a_command_may_not_run(self) -> None:
        files = self.directory / "files"
        files.mkdir()
        for ordinal in range(3):
            np.save(files / f"made_{ordinal:02}.npy", support_rows(ordinal))
        self.add("good", "--mirror", f"file://{self.escaped(files)}/made_{{ordinal:02}}.npy")
        self.lake.run("sync")
        self.assertEqual(self.traced(), [])
        self.assertEqual(self.lake.rows("SELECT count(*) AS n FROM v_shard WHERE state = 'present'")[0]["n"], 3)

    def escaped(self, path: pathlib.Path) -> str:
        return str(path).replace(" ", "%20").replace("'", "%27")

    def test_a_lake_from_elsewhere_runs_nothing(self) -> None:
        self.add("good")
        self.lake.run("sync", "--allow-commands")
        self.built()
        self.lake.run("evict", "made")
        document = self.directory / "v.json"
        document.write_text(self.lake.run("export", "v"))
        copy = Lake(self.directory / "copy")
        shutil.copytree(self.lake.directory, copy.directory)
        copy.run("doctor", "--copied")
        rebuilt = Lake(self.directory / "rebuilt")
        shutil.copytree(self.lake.directory, rebuilt.directory)
        (rebuilt.directory / "catalog.sqlite").unlink()
        for name in ("catalog.sqlite-wal", "catalog.sqlite-shm", "catalog.sqlite-ballast"):
            (rebuilt.directory / name).unlink(missing_ok=True)
        rebuilt.run("rebuild-catalog", "--allow-inside")
        published = self.directory / "published"
        self.lake.run("push", "v", published)
        pulled = Lake(self.directory / "pulled")
        pulled.run("init", pulled.directory)
        pulled.run("pull", published, "--allow-inside")
        new = Lake(self.directory / "new")
        new.run("init", new.directory)
        self.trace.unlink()
        for lake, verbs in (
                (copy, [["sync"], ["sync", "--refresh"], ["reproduce", "v", "--fetch"]]),
                (rebuilt, [["sync"], ["sync", "--allow-inside"], ["reproduce", "v", "--fetch"]]),
                (pulled, [["sync"], ["reproduce", "v", "--fetch"]]),
                (new, [["reproduce", "--from", document], ["reproduce", "--from", document, "--allow-inside"]])):
            for verb in verbs:
                done = lake.attempt(*verb)
                self.assertNotEqual(done.returncode, 0, (lake.directory, verb, done.stdout))
                self.assertIn("--allow-commands", done.stderr, (lake.directory, verb))
                self.assertEqual(self.traced(), [], (lake.directory, verb))
        self.lake.run("sync", "--allow-commands")
        self.assertEqual(len(self.traced()), 3)
        said = new.run("reproduce", "--from", document, "--allow-commands")
        self.assertIn("identical", said)
        self.assertEqual(len(self.traced()), 6)

    def built(self, *options: object) -> str:
        self.lake.run("train", "t", "--images", "made", "--method", "kmeans", "--nlist", 4)
        self.lake.run("build", "v", "--trained", "t", "--images", "made", "--shards-per-output", 2, *options)
        return self.digest()

    def digest(self) -> str:
        return self.lake.rows("SELECT sha256 FROM v_version WHERE version = 'v@1'")[0]["sha256"]

    # Commands that misbehave.

    def test_each_bad_command_is_one_clear_error_and_the_others_go_on(self) -> None:
        cases = {
            "failing": (PARTIAL, "exit status 3"), "dying": (PARTIAL, "signal 11"), "silent": (INTEGRITY, "wrote nothing"),
            "wide": (INTEGRITY, "17"), "cut": (INTEGRITY, "declares"), "long": (INTEGRITY, "declares"),
            "text": (INTEGRITY, "command"), "link": (INTEGRITY, "is a link"),
            "hardlink": (INTEGRITY, "second name"), "directory": (INTEGRITY, "directory"), "fifo": (INTEGRITY, "pipe"),
        }
        for kind, (status, word) in cases.items():
            with self.subTest(kind):
                self.trace.unlink(missing_ok=True)
                name = f"made-{kind}"
                self.add(kind, name=name)
                done = self.lake.attempt("sync", name, "--allow-commands", "--patience", "10m")
                self.assertEqual(done.returncode, status, done.stderr)
                lines = [line for line in done.stderr.splitlines() if f"{name}_01.npy" in line]
                self.assertEqual(len(lines), 1, done.stderr)
                self.assertIn(word, lines[0])
                self.assertNotIn("\x1b", done.stderr)
                # The others are there, and what fails for good is not run again.
                self.assertEqual(sorted(self.traced()), [f"{kind} 0", f"{kind} 1", f"{kind} 2"])
                states = self.lake.rows(f"SELECT shard, state FROM v_shard WHERE source = '{name}' ORDER BY ordinal")
                self.assertEqual([row["state"] for row in states], ["present", "failed", "present"])
                self.assertEqual(self.left(), [])
        row = self.lake.rows("SELECT * FROM v_command WHERE source = 'made-failing' AND ordinal = 1")[0]
        self.assertEqual((row["exit_status"], row["sha256"]), (3, None))
        self.assertIn("loading the model\n?[31mno model?[0m", row["printed"])

    def test_one_that_hangs_is_ended_with_all_that_it_began(self) -> None:
        self.add("hanging")
        done = self.lake.attempt("sync", "--allow-commands", "--command-timeout", "2s")
        self.assertEqual(done.returncode, PARTIAL, done.stderr)
        self.assertIn("did not end within 2 s", done.stderr)
        self.assertEqual(self.marked(), [])
        row = self.lake.rows("SELECT exit_status, signal FROM v_command WHERE ordinal = 1")[0]
        self.assertEqual((row["exit_status"], row["signal"]), (None, signal.SIGKILL))

    def marked(self) -> list[int]:
        """Processes that a command of this lake's began."""
        found = []
        for process in pathlib.Path("/proc").iterdir():
            try:
                if process.name.isdigit() and str(self.script).encode() in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
            except OSError:
                pass
        return [pid for pid in found if is_alive(pid)]

    def test_a_huge_output_ends_where_the_shard_does(self) -> None:
        sizes = self.directory / "sizes.txt"
        rows = [len(support_rows(ordinal)) for ordinal in range(3)]
        sizes.write_text("".join(f"made_{n:02}.npy, {128 + 4 * DIMENSION * rows[n]}\n" for n in range(3)))
        self.add("huge", "--sizes", sizes)
        done = self.lake.attempt("sync", "--allow-commands", "--budget", "1MB")
        self.assertEqual(done.returncode, INTEGRITY, done.stderr)
        self.assertIn("more than the", done.stderr)
        self.assertEqual(self.left(), [])

    def test_a_huge_output_ends_where_the_disk_has_no_room(self) -> None:
        self.add("huge")
        free = shutil.disk_usage(self.directory).free
        done = self.lake.attempt("sync", "--allow-commands", "--keep-free", str(free - (96 << 20)))
        self.assertEqual(done.returncode, DISK, done.stderr)
        self.assertEqual(self.left(), [])

    def test_what_it_prints_holds_nothing_up_and_its_end_is_kept(self) -> None:
        self.add("chatty")
        self.lake.run("sync", "--allow-commands")
        printed = self.lake.rows("SELECT printed FROM v_command WHERE ordinal = 1")[0]["printed"]
        self.assertTrue(printed.endswith("the end\n"))
        self.assertLessEqual(len(printed), 4096)

    def test_exit_status_75_says_that_it_may_pass(self) -> None:
        self.add("moody", count=1)
        self.lake.run("sync", "--allow-commands", "--patience", "1m")
        self.assertEqual(self.traced(), ["moody 0", "moody 0"])
        statuses = [row["exit_status"] for row in self.lake.rows("SELECT exit_status FROM v_command ORDER BY transfer")]
        self.assertEqual(statuses, [75, 0])

    def test_no_program_and_no_input_are_said(self) -> None:
        self.lake.run("source", "add", "a", "--url", "command:no-such-program {output}", "--count", 1, "--shard-names",
                      "a.npy", "--dimension", 4)
        done = self.lake.attempt("sync", "a", "--allow-commands")
        self.assertEqual(done.returncode, PARTIAL)
        self.assertIn("no program 'no-such-program'", done.stderr)
        self.lake.run("source", "add", "b", "--url", "command:true {input} {output}", "--count", 1, "--shard-names",
                      "b.npy", "--dimension", 4, "--input", "absent.txt")
        done = self.lake.attempt("sync", "b", "--allow-commands")
        self.assertIn("absent.txt is not there", done.stderr)

    def test_what_is_registered_wrongly_is_refused_at_once(self) -> None:
        def refused(*arguments: object) -> str:
            done = self.lake.attempt("source", "add", "x", "--dimension", 4, "--count", 2, *arguments)
            self.assertEqual(done.returncode, USAGE, arguments)
            return done.stderr
        named = ("--shard-names", "x_{ordinal}.npy")
        self.assertIn("--shard-names", refused("--url", "command:make {ordinal} {output}"))
        self.assertIn("{output}", refused("--url", "command:make {ordinal}", *named))
        self.assertIn("sh -c", refused("--url", "command:sh -c 'make {ordinal} > {output}'", *named))
        self.assertIn("{ordinal}", refused("--url", "command:make {output}", *named))
        self.assertIn("file of this machine",
                      refused("--url", "command:make {ordinal} {output}", "--input", "https://host/a", *named))
        self.assertIn("--input", refused("--url", "https://host/{ordinal}.npy", "--input", "a"))
        done = self.lake.attempt("source", "add", "x", "--url", "command:make {ordinal} {output}", "--count", 2, *named)
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("--dimension", done.stderr)
        (self.directory / "list.txt").write_text("command:make {output}\n")
        done = self.lake.attempt("source", "add", "x", "--url-list", self.directory / "list.txt", "--dimension", 4)
        self.assertEqual(done.returncode, USAGE)

    # How they are run.

    def test_it_has_no_secrets_no_terminal_and_none_of_our_files(self) -> None:
        self.add("environment", count=1)
        self.lake.run("sync", "--allow-commands", AWS_SECRET_ACCESS_KEY="s", AWS_ACCESS_KEY_ID="k", HF_TOKEN="t", TARN_ENCODER_KEY="e",
                      AWS_SESSION_TOKEN="u", OTHER="kept")
        names, rest = pathlib.Path(f"{self.trace}.environment").read_text().splitlines()
        for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "HF_TOKEN", "TARN_ENCODER_KEY"):
            self.assertNotIn(name, names)
        self.assertIn("OTHER", names)
        # A session of its own, nothing to read, and 0, 1, 2 and the directory that is being listed.
        self.assertEqual(rest, "True''[0, 1, 2, 3]")

    def test_interrupted_it_ends_with_its_children(self) -> None:
        self.add("group", count=2)
        for number in (signal.SIGINT, signal.SIGTERM):
            children = pathlib.Path(f"{self.trace}.children")
            children.unlink(missing_ok=True)
            process = subprocess.Popen(
                self.lake.command("sync", "--allow-commands"), env=support.environment(), stderr=subprocess.PIPE)
            while not children.exists() or len(children.read_text().splitlines()) < (2 if number == signal.SIGINT else 1):
                time.sleep(0.05)
            pids = [int(word) for word in children.read_text().split()]
            process.send_signal(number)
            process.communicate()
            self.assertEqual(process.returncode, 128 + number)
            while any(is_alive(pid) for pid in pids):
                time.sleep(0.05)
            self.assertEqual(self.left(), [])

    def test_killed_with_tarn_nothing_of_it_outlives_the_next_run(self) -> None:
        self.add("group", count=2)
        children = pathlib.Path(f"{self.trace}.children")
        process = subprocess.Popen(
            self.lake.command("sync", "--allow-commands"), env=support.environment(), stderr=subprocess.PIPE)
        # The first shard is in the catalog, too: killed between the two, its file would be nobody's until the next run.
        while (not children.exists() or len(children.read_text().splitlines()) < 2
               or not self.lake.rows("SELECT 1 FROM stored_bytes WHERE place = 'shards' AND state = 'present'")):
            time.sleep(0.05)
        process.kill()
        process.communicate()
        pids = [[int(word) for word in line.split()] for line in children.read_text().splitlines()]
        # The command itself goes with tarn, whose kernel sees to it.
        while any(is_alive(line[2]) for line in pids):
            time.sleep(0.05)
        self.assertIn("a part of a download", self.lake.attempt("doctor").stdout)
        copy = Lake(self.directory / "copy")
        shutil.copytree(self.lake.directory, copy.directory)
        copy.run("doctor", "--copied")
        copy.run("evict", "made")
        self.assertEqual([path for path in (copy.directory / "shards" / "made").iterdir()], [])
        done = self.lake.attempt("sync", "--allow-commands", "--command-timeout", "2s")
        self.assertEqual(done.returncode, PARTIAL, done.stderr)
        self.assertEqual([pid for line in pids for pid in line if is_alive(pid)], [])
        self.assertEqual(self.left(), [])

    def test_two_at_a_time_follow_jobs(self) -> None:
        self.add("slow", count=4)
        self.lake.run("sync", "--allow-commands", "--jobs", 1)
        rows = self.lake.rows("SELECT started_at, ended_at FROM v_command ORDER BY started_at")
        for one, next in zip(rows, rows[1:]):
            self.assertLessEqual(one["ended_at"], next["started_at"])
        self.lake.run("evict", "made")
        self.lake.run("sync", "--allow-commands", "--jobs", 4)
        rows = self.lake.rows("SELECT started_at, ended_at FROM v_command ORDER BY transfer DESC LIMIT 4")
        self.assertGreater(min(row["ended_at"] for row in rows), max(row["started_at"] for row in rows))

    # What is recorded.

    def test_command_and_inputs_are_recorded_and_other_bytes_are_a_revision(self) -> None:
        inputs = self.directory / "inputs"
        inputs.mkdir()
        for ordinal in range(2):
            (inputs / f"in_{ordinal}.txt").write_text(f"first {ordinal}")
        self.add("reading", "--input", "inputs/in_{ordinal}.txt", "--input", self.script, count=2, more=("{input}",))
        self.lake.run("sync", "--allow-commands")
        row = self.lake.rows("SELECT * FROM v_command WHERE ordinal = 1")[0]
        self.assertEqual((row["exit_status"], row["signal"]), (0, None))
        self.assertIn("reading", row["command"])
        digests = dict(reversed(item.split(" ", 1)) for item in row["inputs"].split("; "))
        self.assertEqual(
            digests, {str(inputs / "in_1.txt"): support_digest(inputs / "in_1.txt"),
                      str(self.script): support_digest(self.script)})
        shards = {row["ordinal"]: row for row in self.lake.rows("SELECT ordinal, sha256, trust FROM v_shard")}
        self.assertEqual(row["sha256"], shards[1]["sha256"])
        self.assertEqual(shards[1]["trust"], "first-use")
        (inputs / "in_1.txt").write_text("second")
        said = self.lake.run("sync", "--refresh", "--allow-commands")
        self.assertIn("new revision of made_01.npy", said)
        self.assertEqual(self.lake.rows("SELECT revision FROM v_shard ORDER BY ordinal"), [{"revision": 1}, {"revision": 2}])
        answer = self.lake.run("sql", "SELECT count(*) AS n FROM v_command WHERE sha256 IN (SELECT sha256 FROM v_shard)")
        self.assertIn("3", answer)

    def test_the_lineage_names_command_and_inputs(self) -> None:
        (self.directory / "in.txt").write_text("words")
        self.add("reading", "--input", "in.txt", count=2, more=("{input}",))
        self.lake.run("sync", "--allow-commands")
        self.built()
        document = json.loads(self.lake.run("export", "v"))
        self.assertIn("in.txt", json.dumps(document))
        self.assertIn("command:", json.dumps(document))
        statement = json.loads(self.lake.run("export", "v", "--format", "in-toto"))
        self.assertIn(support_digest(self.directory / "in.txt"), json.dumps(statement))
        json.loads(self.lake.run("export", "v", "--format", "croissant"))

    # As tasks.

    def test_workers_make_the_same_version(self) -> None:
        # So long that what it is called leaves no room for what is the matter with it, if one were cut.
        long = ("-" * 200,)
        self.add("good", count=4, more=long)
        self.lake.run("sync", "--allow-commands")
        digest = self.built()
        other = Lake(self.directory / "other")
        other.run("init", other.directory)
        self.lake = other
        self.add("good", count=4, more=long)
        other.run("sync", "--allow-commands")
        other.run("train", "t", "--images", "made", "--method", "kmeans", "--nlist", 4)
        other.run("evict", "made")
        build = ["build", "v", "--trained", "t", "--images", "made", "--shards-per-output", 2]
        self.trace.unlink()
        done = other.attempt(*build, "--executor", "local:2")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--allow-commands", done.stderr)
        self.assertEqual(self.traced(), [])
        other.run(*build, "--executor", "local:2", "--allow-commands")
        self.assertEqual(self.digest(), digest)
        self.assertEqual(sorted(self.traced()), [f"good {n}" for n in range(4)])

    def test_a_plan_runs_nothing_that_its_worker_does_not_allow(self) -> None:
        self.add("good", count=2)
        self.lake.run("sync", "--allow-commands")
        self.lake.run("train", "t", "--images", "made", "--method", "kmeans", "--nlist", 4)
        self.lake.run("evict", "made")
        self.trace.unlink()
        tasks = self.directory / "tasks"
        self.lake.run("plan", "build", "v", "--trained", "t", "--images", "made", "--tasks", tasks, "--allow-commands")
        self.assertIn("--allow-commands", (tasks / "run.txt").read_text())
        worker = [str(support.TARN), "worker", str(tasks), "--task", "0", "--scratch", str(self.directory)]
        done = subprocess.run(worker, capture_output=True, text=True, env=support.environment())
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertEqual(self.traced(), [])
        subprocess.run([*worker, "--allow-commands"], check=True, capture_output=True, env=support.environment())
        self.lake.run("ingest", tasks)
        self.assertEqual(len(self.traced()), 2)

    def test_repair_runs_them_with_leave(self) -> None:
        self.add("good")
        self.lake.run("sync", "--allow-commands")
        self.built()
        self.trace.unlink()
        path = self.lake.directory / "shards" / self.lake.rows("SELECT path FROM v_shard WHERE ordinal = 1")[0]["path"]
        whole = path.read_bytes()
        damaged = whole[:-1] + bytes([whole[-1] ^ 1])
        path.write_bytes(damaged)
        # A version rests on it: it stays until the command may run.
        self.lake.run("verify", "--repair", exits=INTEGRITY)
        self.assertEqual((self.traced(), path.read_bytes()), ([], damaged))
        self.lake.run("verify", "--repair", "--allow-commands", exits=INTEGRITY)
        self.assertEqual((self.traced(), path.read_bytes()), (["good 1"], whole))
        self.lake.run("verify")

    # The example.

    def test_the_example_embeds_names_and_finds_them(self) -> None:
        self.lake.run(
            "source", "add", "names", "--modality", "other", "--dimension", 256, "--dtype", "float16", "--count", 6,
            "--shard-names", "names_{ordinal:04}.npy", "--url", f"command:{sys.executable} {EMBED} {{input}} {{output}}",
            "--input", f"{FEATURES}/metadata/metadata_{{ordinal:04}}.txt", "--input", EMBED)
        self.lake.run("sync", "--allow-commands")
        self.lake.run("train", "names", "--images", "names", "--method", "kmeans", "--nlist", 16)
        self.lake.run("build", "names", "--trained", "names", "--images", "names")
        lines = [line for shard in range(6) for line in
                 (FEATURES / "metadata" / f"metadata_{shard:04}.txt").read_text().splitlines()]
        asked = [7, 700, 1700, 3500]
        (self.directory / "asked.txt").write_text("".join(lines[row] + "\n" for row in asked))
        subprocess.run([sys.executable, EMBED, self.directory / "asked.txt", self.directory / "asked.npy"], check=True)
        self.lake.run("search", "names", "--queries", self.directory / "asked.npy", "-k", 5, "--nprobe", 16, "--output",
                      self.directory / "found")
        found = np.load(self.directory / "found.ids.npy")
        captions = [line.split("\t")[-1] for line in lines]
        for row, ids in zip(asked, found):
            # Some pictures share a caption; what is found first has the one asked for.
            self.assertIn(captions[row], [captions[id] for id in ids])


def support_rows(ordinal: int) -> np.ndarray:
    return np.arange(1, 1 + (40 + ordinal) * DIMENSION, dtype=np.float32).reshape(-1, DIMENSION)


def support_digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    unittest.main()
