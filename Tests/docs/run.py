#!/usr/bin/env python3
"""Runs every command block of the documentation and compares what it prints with the page.

    Tests/docs/run.py [--write] [PAGE]...

TARN is the binary (default: the release build). With --write, outputs that differ are
written into the pages; what differs from run to run has to be made … there by hand.
pages.py says how a page is written, compare.py what counts as the same.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARN = pathlib.Path(os.environ.get("TARN", ROOT / ".build" / "release" / "tarn"))
sys.path[:0] = [str(pathlib.Path(__file__).parent), str(ROOT / "scripts")]

import compare  # noqa: E402
import links  # noqa: E402
import reference  # noqa: E402
from pages import RUN, Block, Directive, PageError, pages, parse  # noqa: E402
from shell import Shell  # noqa: E402
from webserver import Nginx, free_port  # noqa: E402

# Pages that are run at a time: what they wait for is mostly the disk and each other's servers.
AT_A_TIME = 3
# What a page calls the directory that it works in; ~ in its commands.
HOME = "/home/you"
READY_LAKE = """\
tarn init lake && cd lake
tarn source add images --directory ~/tarn/Examples/features/img_emb --modality image
tarn source add captions --directory ~/tarn/Examples/features/text_emb --modality text
tarn sync
tarn train clip --images images --captions captions --nlist 64 --iterations 10 --seed 1
tarn build clips --trained clip --images images --shards-per-output 2
"""


INSTALL_SCANNER = """\
import importlib.util, pathlib, duckdb
package = importlib.util.find_spec("duckdb_extension_sqlite_scanner").submodule_search_locations[0]
(file,) = pathlib.Path(package).glob("extensions/*/sqlite_scanner.duckdb_extension")
duckdb.execute(f"INSTALL '{file}'")
"""


class Tally:
    """What was run, and what was wrong with it."""

    def __init__(self) -> None:
        self.pages = self.blocks = self.commands = self.world = self.stand_ins = 0
        self.differences: list[str] = []

    def add(self, other: "Tally") -> None:
        """Counts what was run elsewhere, too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Page:
    """One page, run in a directory of its own."""

    def __init__(self, path: pathlib.Path, tally: Tally, write: bool) -> None:
        self.path, self.tally, self.write = path, tally, write
        self.text = path.read_text("utf-8")
        self.lines = self.text.splitlines()
        # What the page calls something, and what it is called in this run.
        self.names: list[tuple[str, str]] = []
        self.values: dict[str, str] = {}
        self.servers: list[Nginx] = []
        self.changes: list[tuple[int, int, list[str]]] = []
        self.world: str | None = None
        self.exits = 0
        self.printed = ""
        self.output_follows = False
        self.before = ""

    def difference(self, line: int, what: str) -> None:
        self.tally.differences.append(f"{self.path.relative_to(ROOT)}:{line + 1}: {what}")

    def run(self) -> None:
        """Runs the page's blocks in their order."""
        self.tally.pages += 1
        for line, target in links.broken(self.path):
            self.difference(line, f"a link that leads nowhere: {target}")
        try:
            parts = parse(self.text)
        except PageError as error:
            self.tally.differences.append(f"{self.path.relative_to(ROOT)}: {error}")
            return
        if not any(isinstance(part, Directive) or part.language in RUN for part in parts):
            return
        home = pathlib.Path(tempfile.mkdtemp(prefix="tarn-docs-"))
        try:
            (home / "bin").mkdir()
            for tool in (TARN, TARN.with_name("tarn-adopt")):
                if tool.exists():
                    (home / "bin" / tool.name).symlink_to(tool)
            clone = home / "tarn"
            clone.mkdir()
            for directory in ("Examples", "scripts"):
                shutil.copytree(ROOT / directory, clone / directory)
            kept = {name: value for name, value in os.environ.items() if not name.startswith(("TARN_", "AWS_"))}
            environment = {
                **kept, "HOME": str(home), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80",
                "PATH": f"{home / 'bin'}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
            with Shell(home, environment) as self.shell:
                self.home = home
                for part in parts:
                    if isinstance(part, Directive):
                        self.obey(part)
                    elif part.language in RUN or self.output_follows:
                        self.block(part)
        except RuntimeError as error:
            self.difference(0, str(error))
        finally:
            for server in self.servers:
                server.stop()
            shutil.rmtree(home, ignore_errors=True)
        if self.write and self.changes:
            for first, end, lines in reversed(self.changes):
                self.lines[first:end] = lines
            self.path.write_text("\n".join(self.lines) + "\n", "utf-8")

    def obey(self, directive: Directive) -> None:
        name, argument = directive.name, directive.argument
        if name == "web":
            address, directory = argument.split()
            self.servers.append(Nginx(self.home / "tarn" / directory))
            self.names.append((address, self.servers[-1].url))
        elif name == "port":
            self.names.append((argument, str(free_port())))
        elif name == "lake":
            self.hidden(directive.line, f"cp -a '{ready_lake()}' lake && cd lake")
        elif name == "run":
            self.hidden(directive.line, argument)
        elif name == "world":
            self.world = argument
        elif name == "exits":
            self.exits = int(argument)
        elif name == "values":
            self.values = dict(word.split("=", 1) for word in shlex.split(argument))
        elif name == "before":
            self.before = argument + "\n"
        elif name == "duckdb":
            self.hidden(directive.line, f"python3 -c {shlex.quote(INSTALL_SCANNER)}")
        elif name == "output":
            self.output_follows = True

    def hidden(self, line: int, commands: str) -> None:
        status, printed = self.in_shell(commands_in_order(commands))
        if status != 0:
            self.difference(line, f"what is run before the next block exits with {status}:\n{printed}")

    def in_shell(self, command: str) -> tuple[int, str]:
        """Runs a command of the page; what it prints is in the page's names."""
        for shown, real in self.names:
            command = re.sub(rf"(?<![\w.]){re.escape(shown)}(?!\w)", real, command)
        status, printed = self.shell.run(command)
        for shown, real in self.names:
            printed = re.sub(rf"(?<!\w){re.escape(real)}(?!\w)", shown, printed)
        return status, printed.replace(str(self.home), HOME)

    def block(self, block: Block) -> None:
        if self.output_follows:
            self.output_follows = False
            self.hold(block.lines, self.printed, block.first, block.first + len(block.lines), block)
            return
        if self.world is not None:
            self.stand_in(block)
            return
        self.tally.blocks += 1
        exits, self.exits = self.exits, 0
        statuses = []
        if block.language == "console":
            try:
                commands = block.commands()
            except PageError as error:
                self.difference(block.first, str(error))
                return
            for command in commands:
                self.tally.commands += 1
                status, printed = self.in_shell(command.text)
                statuses.append((status, command.text, printed))
                self.hold(command.expected, printed, command.first, command.end, block)
        else:
            self.tally.commands += 1
            status, self.printed = self.in_shell(self.as_command(block))
            statuses.append((status, "\n".join(block.lines), self.printed))
        for status, text, printed in statuses:
            if status not in (0, exits):
                self.difference(block.first, f"exits with {status}: {text}\n{printed}")
        if exits and not any(status == exits for status, _, _ in statuses):
            self.difference(block.first, f"none of its commands exits with {exits}")

    def as_command(self, block: Block) -> str:
        """A block that is no console as a command of the shell."""
        text = "\n".join(block.lines)
        if block.language == "sh":
            return commands_in_order(text)
        if block.language == "python":
            text, self.before = self.before + text, ""
            return f"python3 -c {shlex.quote(text)}"
        for name, value in self.values.items():
            text = re.sub(rf"(?<!:):{name}\b", "'" + value.replace("'", "''") + "'", text)
        if "duckdb" in block.words:
            return f"python3 -c {shlex.quote('import duckdb; print(duckdb.sql(' + repr(text) + '))')}"
        return f"tarn sql {shlex.quote(text)}"

    def hold(self, expected: list[str], printed: str, first: int, end: int, block: Block) -> None:
        """Holds what a command printed against the page."""
        actual = printed.splitlines()
        # A page may leave out blank lines at the end.
        while actual and not actual[-1].strip():
            actual.pop()
        wanted = list(expected)
        while wanted and not wanted[-1].strip():
            wanted.pop()
        if compare.matches(wanted, actual):
            return
        self.changes.append((first, end, [(block.indent + compare.masked(line)).rstrip() for line in actual]))
        if not self.write:
            self.difference(first, "\n".join(["prints something else:", *compare.difference(wanted, actual)]))

    def stand_in(self, block: Block) -> None:
        """A block that needs the world: its options are looked up, and what stands in for it is run."""
        self.tally.world += 1
        script, self.world = self.world, None
        for verb, option in options("\n".join(block.lines)):
            if option not in help_text(verb):
                self.difference(block.first, f"tarn {' '.join(verb)} has no {option}")
        if script:
            self.tally.stand_ins += 1
            self.hidden(block.first, script)


def commands_in_order(script: str) -> str:
    """A script as one command: it ends with the first command that fails, without ending the page's shell."""
    # `set -e` would end the shell that the page goes on in; a trap on ERR leaves the function alone.
    return f"docs_test() {{\ntrap 'return $?' ERR\n{script}\n}}\ndocs_test; docs_status=$?; trap - ERR; (exit $docs_status)"


def options(text: str) -> list[tuple[tuple[str, ...], str]]:
    """Verb and option of every call of tarn in a text."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for call in re.split(r"[|;&]+|\$\(", line.removeprefix("$ ")):
            # What stands in quotes is another program's.
            words = re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "QUOTED", call).split()
            if "tarn" not in words:
                continue
            words = words[words.index("tarn") + 1 :]
            verb = tuple(words[:1])
            if verb in (("source",), ("plan",), ("adopt",)) and len(words) > 1 and not words[1].startswith("-"):
                verb = tuple(words[:2])
            found += [(verb, word.split("=")[0]) for word in words if re.match(r"--[a-z]", word)]
    return found


HELP: dict[tuple[str, ...], str] = {}


def help_text(verb: tuple[str, ...]) -> str:
    if verb not in HELP:
        done = subprocess.run([TARN, *verb, "--help"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        HELP[verb] = done.stdout if done.returncode == 0 else ""
    return HELP[verb]


READY: list[pathlib.Path] = []
READY_LOCK = threading.Lock()


def ready_lake() -> pathlib.Path:
    """A lake with the example features and clips@1, made once a run."""
    with READY_LOCK:
        if not READY:
            home = pathlib.Path(tempfile.mkdtemp(prefix="tarn-docs-"))
            READY.append(home)
            subprocess.run(
                ["bash", "-ec", READY_LAKE.replace("~/tarn", str(ROOT)).replace("tarn ", f"'{TARN}' ")], cwd=home, check=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return READY[0] / "lake"


def run_page(path: pathlib.Path, write: bool) -> Tally:
    tally = Tally()
    Page(path, tally, write).run()
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the commands of the documentation.")
    parser.add_argument("--write", action="store_true", help="write what differs into the pages")
    parser.add_argument("pages", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    if not TARN.exists():
        print(f"docs-test: {TARN} is not built; run: make build", file=sys.stderr)
        return 1
    tally, started = Tally(), time.monotonic()
    if not arguments.pages:
        tally.differences += [
            f"{path.relative_to(ROOT)} is not current; run: make docs-reference" for path in reference.stale(write=False)]
    try:
        chosen = [each.resolve() for each in arguments.pages] or pages(ROOT)
        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            for found in pool.map(lambda path: run_page(path, arguments.write), chosen):
                tally.add(found)
    finally:
        for home in READY:
            shutil.rmtree(home, ignore_errors=True)
    for difference in tally.differences:
        print(difference)
    print(
        f"docs-test: {tally.pages} pages, {tally.blocks} command blocks run ({tally.commands} commands), "
        f"{tally.world} that need the world ({tally.stand_ins} with a stand-in), "
        f"{len(tally.differences)} differences, {time.monotonic() - started:.0f} s")
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
