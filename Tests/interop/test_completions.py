"""What shells offer: the scripts as the tool writes them, run in the shells that are installed."""

import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import sqlite3
import struct
import subprocess
import termios
import time
import unittest

from support import FEATURES, TARN, LakeTest, environment


class Completions(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        # What a terminal has shown and nobody has looked at.
        self.text = ""
        self.lake = self.new_lake()
        for name in ("images", "images-b", "captions"):
            self.lake.run("source", "add", name, "--directory", FEATURES / "img_emb")

    def script(self, shell: str) -> str:
        path = self.scratch / f"tarn.{shell}"
        path.write_text(subprocess.run(
            [TARN, "--generate-completion-script", shell], check=True, capture_output=True, text=True).stdout)
        return str(path)

    def bash(self, line: str, words: list[str], **environ: str) -> list[str]:
        """What bash offers for the last word of a line that it splits into these words."""
        program = (
            f"source {shlex.quote(self.script('bash'))}\n"
            f"COMP_WORDS=({' '.join(shlex.quote(word) for word in [str(TARN), *words])})\n"
            f"COMP_CWORD={len(words)} COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)} COMP_TYPE=9 COMP_KEY=9\n"
            f"function=$(complete -p tarn | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
            f"\"$function\" tarn {shlex.quote(words[-1])} {shlex.quote(words[-2] if len(words) > 1 else 'tarn')}\n"
            "printf '%s\\n' \"${COMPREPLY[@]}\"\n")
        done = subprocess.run(
            ["bash", "--norc", "-c", program], capture_output=True, text=True, cwd=self.scratch, timeout=60,
            env=environment(TARN_LAKE=str(self.lake.directory)) | environ)
        self.assertEqual(done.stderr, "", line)
        return done.stdout.split()

    def complete(self, line: str, **environ: str) -> list[str]:
        return self.bash("tarn " + line, line.split(" "), **environ)

    def test_bash_offers_names_of_the_lake(self) -> None:
        self.assertEqual(self.complete("sy"), ["sync"])
        self.assertEqual(self.complete("sync im"), ["images", "images-b"])
        self.assertEqual(self.complete("sync "), ["captions", "images", "images-b"])
        self.assertEqual(self.complete("build x --images images-"), ["images-b"])
        self.assertIn("--trained", self.complete("build x --tr"))
        # Another lake, where one is named.
        other = self.new_lake("other")
        other.run("source", "add", "imports", "--directory", FEATURES / "img_emb")
        self.assertEqual(self.complete(f"sync --lake {other.directory} im"), ["imports"])

    def test_bash_knows_what_stands_before_the_verb(self) -> None:
        other = self.new_lake("other")
        other.run("source", "add", "imports", "--directory", FEATURES / "img_emb")
        for lake in (f"--lake {other.directory}", f"-q --lake {other.directory} --json", f"--lake {other.directory} -v"):
            self.assertEqual(self.complete(f"{lake} sy"), ["sync"], lake)
            self.assertEqual(self.complete(f"{lake} sync im"), ["imports"], lake)
            self.assertEqual(self.complete(f"{lake} source sh"), ["show"], lake)
            self.assertEqual(self.complete(f"{lake} source show im"), ["imports"], lake)
            self.assertEqual(self.complete(f"{lake} build x --images im"), ["imports"], lake)
        # Bash splits at the mark.
        words = ["--lake", "=", str(other.directory), "sync", "im"]
        self.assertEqual(self.bash(f"tarn --lake={other.directory} sync im", words), ["imports"])
        self.assertEqual(self.complete("--lake oth"), ["other"])
        self.assertEqual(self.complete("-q --lake oth"), ["other"])
        self.assertEqual(self.bash("tarn --lake=oth", ["--lake", "=", "oth"]), ["other"])
        self.assertEqual(self.complete("--la"), ["--lake"])
        self.assertEqual(self.complete("-q sync im"), ["images", "images-b"])

    def test_bash_offers_files_where_files_go(self) -> None:
        (self.scratch / "queries@2.npy").write_bytes(b"")
        (self.scratch / "queue").mkdir()
        for line in ("search x --queries que", "convert que", "import images que", "source add x --sizes que"):
            self.assertEqual(sorted(self.complete(line)), ["queries@2.npy", "queue"], line)
        for line in ("init que", "worker que", "source add x --directory que", "export x --into que"):
            self.assertEqual(self.complete(line), ["queue"], line)

    def test_values_that_are_files_are_completed_as_such(self) -> None:
        dump = subprocess.run([TARN, "--experimental-dump-help"], check=True, capture_output=True, text=True).stdout
        commands, seen = [json.loads(dump)["command"]], 0
        while commands:
            command = commands.pop()
            commands += command.get("subcommands", [])
            for argument in command.get("arguments", []):
                name = argument.get("valueName", "").lower()
                kind = next(iter(argument.get("completionKind") or {"none": 0}))
                if re.fullmatch(r"(file|dir)(\..*)?|files|directory|tasks-dir|dst", name) and command["commandName"] != "pull":
                    self.assertIn(kind, ("file", "directory"), f"{command['commandName']} {name}")
                    seen += 1
        self.assertGreater(seen, 40)

    def test_bash_offers_versions(self) -> None:
        self.lake.run("sync", "images", "captions")
        self.lake.run("train", "clip", "--images", "images", "--nlist", 4, "--method", "kmeans", "--pairs", 400)
        self.lake.run("build", "laion", "--trained", "clip", "--images", "images")
        self.assertEqual(self.complete("search la"), ["laion@1"])
        self.assertEqual(self.complete("show "), ["clip", "laion@1"])
        self.assertEqual(self.complete("build x --trained "), ["clip"])
        # It is one word.
        self.assertEqual(self.complete("search laion@"), ["laion@1"])
        # A verb is no directory of its name; only directories are completed as such.
        (self.scratch / "versions").mkdir()
        lines = {
            "tarn search la": "tarn search laion@1 ", "tarn search laion@": "tarn search laion@1 ",
            "tarn search laion@1": "tarn search laion@1 ", "tarn diff laion@1 la": "tarn diff laion@1 laion@1 ",
            "tarn search laion@1 --nor": "tarn search laion@1 --normalise ", "tarn versi": "tarn versions ",
            "tarn search laion@1 --lake vers": "tarn search laion@1 --lake versions/",
            "tarn --lake vers": "tarn --lake versions/", "tarn --lake=vers": "tarn --lake=versions/",
            "tarn -q versi": "tarn -q versions ",
            # The quotes of the line end those that printf has it in.
            f"tarn --lake '{self.lake.directory}' search laion@": f"tarn --lake {self.lake.directory} search laion@1 ",
            "tarn search x --queries vers": "tarn search x --queries versions/",
        }
        for first in ("", "COMP_WORDBREAKS=${COMP_WORDBREAKS//@/}"):
            # Twice, as what completes must not change the shell.
            found = self.typed([*lines, *lines], first)
            self.assertEqual(found, [*lines.values()] * 2, first)

    def typed(self, lines: list[str], first: str) -> list[str]:
        """What one interactive bash makes of lines with TAB behind them."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.scratch)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment(
                TARN_LAKE=str(self.lake.directory), PATH=f"{TARN.parent}:{os.environ['PATH']}", TERM="dumb", PS1="$ "))
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 400, 0, 0))
        self.text = ""

        def read(until: str) -> str:
            return self.shown(terminal, until)

        try:
            setup = f"bind 'set enable-bracketed-paste off'; {first}\nsource {self.script('bash')}; before=$COMP_WORDBREAKS"
            os.write(terminal, f"{setup}; echo '(re''ady)'\n".encode())
            read(r"\((ready)\)")
            shown = []
            for line in lines:
                # Ctrl-A and Ctrl-E: the line as it stands is what printf prints.
                os.write(terminal, line.encode() + b"\t\x01printf '[%s]\\n' '\x05'\n")
                shown.append(read(r"\n\[([^\]]*)\]"))
            os.write(terminal, b"[ \"$before\" = \"$COMP_WORDBREAKS\" ]; echo \"[$?]\"\n")
            self.assertEqual(read(r"\n\[(\d)\]"), "0", "the shell's word breaks are others")
            return shown
        finally:
            os.close(terminal)
            os.waitpid(child, 0)

    def shown(self, terminal: int, until: str) -> str:
        """The first group of a pattern, once the terminal has shown it; what comes after is looked at next."""
        end = time.monotonic() + 120
        while not (found := re.search(until, self.text)):
            self.assertLess(time.monotonic(), end, f"{until!r} was not shown: {self.text!r}")
            if select.select([terminal], [], [], 1)[0]:
                self.text += os.read(terminal, 65536).decode()
        self.text = self.text[found.end():]
        return found[1]

    def test_nothing_is_said_where_there_is_no_lake(self) -> None:
        self.assertEqual(self.complete("sync im", TARN_LAKE=str(self.scratch / "none")), [])
        catalog = self.lake.directory / "catalog.sqlite"
        catalog.write_bytes(b"no catalog" * 1000)
        self.assertEqual(self.complete("sync im"), [])
        for words in ([], ["sync"], ["nothing", "--", "positional@0", "0", "0"], ["sync", "--", "--nothing", "1", "1"]):
            done = subprocess.run([TARN, "---completion", *words], capture_output=True, text=True, cwd=self.scratch)
            self.assertEqual((done.stdout, done.stderr), ("", ""), words)

    def test_names_that_bash_would_run_are_not_offered(self) -> None:
        mark = self.scratch / "mark"
        with sqlite3.connect(self.lake.directory / "catalog.sqlite") as catalog:
            catalog.execute("PRAGMA ignore_check_constraints = ON")
            triggers = [row[0] for row in catalog.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
            for trigger in triggers:
                catalog.execute(f'DROP TRIGGER "{trigger}"')
            catalog.execute("UPDATE source SET name = ? WHERE name = 'images-b'", [f"im$(touch {mark})`touch {mark}`"])
        self.assertEqual(self.complete("sync im"), ["images"])
        self.assertFalse(mark.exists())

    def test_scripts_are_what_their_shells_read(self) -> None:
        subprocess.run(["bash", "-n", self.script("bash")], check=True)
        for shell in ("zsh", "fish"):
            text = pathlib.Path(self.script(shell)).read_text()
            self.assertIn("---completion sync -- positional@0", text, shell)

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed")
    def test_fish_offers_names_of_the_lake(self) -> None:
        (self.scratch / "queries.npy").write_bytes(b"")
        lines = {
            "sync im": ["images", "images-b"], f"--lake {self.lake.directory} sync im": ["images", "images-b"],
            "-q versi": ["versions"], "search x --queries que": ["queries.npy"], "convert que": ["queries.npy"],
        }
        for line, offered in lines.items():
            done = subprocess.run(
                ["fish", "--no-config", "-c", f"source {self.script('fish')}; complete -C {shlex.quote('tarn ' + line)}"],
                check=True, capture_output=True, text=True, cwd=self.scratch,
                env=environment(TARN_LAKE=str(self.lake.directory), PATH=f"{TARN.parent}:{os.environ['PATH']}"))
            self.assertEqual(([word.split("\t")[0] for word in done.stdout.splitlines()], done.stderr), (offered, ""), line)

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh_offers_names_of_the_lake(self) -> None:
        subprocess.run(["zsh", "-n", self.script("zsh")], check=True)
        (self.scratch / "functions").mkdir()
        shutil.copy(self.script("zsh"), self.scratch / "functions" / "_tarn")
        (self.scratch / "queries.npy").write_bytes(b"")
        (self.scratch / "place").mkdir()
        # Ctrl-O shows the line as it stands.
        (self.scratch / ".zshrc").write_text(
            f"PS1='$ '; unsetopt PROMPT_SP; fpath=({shlex.quote(str(self.scratch / 'functions'))} $fpath)\n"
            "autoload -Uz compinit; compinit -u -D\n"
            "say() { BUFFER=\"print -r -- '[$BUFFER]'\"; zle accept-line }; zle -N say; bindkey '^O' say\n"
            "echo '(re''ady)'\n")
        lines = {
            "tarn sync ca": "tarn sync captions ", f"tarn --lake {self.lake.directory} sync ca":
            f"tarn --lake {self.lake.directory} sync captions ", "tarn -q versi": "tarn -q versions ",
            "tarn --lake pla": "tarn --lake place/", "tarn init pla": "tarn init place/",
            "tarn search x --queries que": "tarn search x --queries queries.npy ",
        }
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.scratch)
            os.execvpe("zsh", ["zsh", "-i"], environment(
                TARN_LAKE=str(self.lake.directory), PATH=f"{TARN.parent}:{os.environ['PATH']}", TERM="dumb",
                HOME=str(self.scratch), ZDOTDIR=str(self.scratch)))
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 400, 0, 0))
        try:
            self.shown(terminal, r"\((ready)\)")
            for line, completed in lines.items():
                os.write(terminal, line.encode() + b"\t\x0f")
                self.assertEqual(self.shown(terminal, r"\n\[([^\]]*)\]"), completed)
        finally:
            os.close(terminal)
            os.waitpid(child, 0)
