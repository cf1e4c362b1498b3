#!/usr/bin/env python3
"""Runs the tests, several processes at a time, and prints a page.

    run_tests.py swift [NAME…]      the Swift tests; NAMEs are regular expressions of MODULE.SUITE
    run_tests.py interop [NAME…]    the Python tests; NAMEs are modules of Tests/interop
    run_tests.py all                both at once: while one of them waits, others work

Everything that is printed meanwhile goes to .build/test-logs, a file for each process.
While it runs there is a line a minute with what is under way; what failed stands at the very
end, with its message. Exits with 0 when all passed, 1 when something failed or did not run,
130 on Ctrl-C. TARN_TEST_JOBS says how many processes (4): on two
cores half of them wait for a disk, a process or a clock.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOGS = ROOT / ".build" / "test-logs"
BUNDLE = ROOT / ".build" / "release" / "tarnPackageTests.xctest"
SWIFT_TESTING = [str(BUNDLE), "--testing-library", "swift-testing"]
# What takes long goes first, by itself.
ALONE = ["CLITests.CrashLoopTests", "FetchTests.HostileMatrixTests", "CLITests.DamageMatrixTests"]
# Waits out real timeouts, a minute or two of doing nothing: beside the others, in nobody's place.
IDLE = ["FetchTests.SilentServerTests"]
SUITES_PER_PROCESS = 8
LAST_LINES = 25


class Unit:
    """One process: the tests of some suites, and what came of them."""

    def __init__(
        self, family: str, label: str, command: list[str], expected: int, is_idle: bool = False) -> None:
        self.family = family
        self.label = label
        self.is_idle = is_idle
        self.command = command
        self.expected = expected
        name = re.sub(r"[^\w.-]+", "_", f"{family}-{label}")
        self.log = LOGS / f"{name}.log"
        self.events = LOGS / f"{name}.jsonl"
        self.began = 0.0
        self.seconds = 0.0
        # Of processors, with all that it started and waited for.
        self.worked = 0.0
        self.process: subprocess.Popen | None = None
        self.under_way: dict[str, float] = {}
        self.done: dict[str, float] = {}
        self.failures: dict[str, list[str]] = {}
        self.skipped: dict[str, str] = {}
        self.stream = None
        self.rest = ""

    def start(self) -> None:
        self.events.unlink(missing_ok=True)
        self.events.touch()
        self.stream = self.events.open(encoding="utf-8", errors="replace")
        self.began = time.monotonic()
        command = [word.replace("{events}", str(self.events)) for word in self.command]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def has_ended(self) -> bool:
        """Whether it is over; asked again it says the same."""
        if self.process.returncode is None:
            pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self.worked = used.ru_utime + used.ru_stime
        return self.process.returncode is not None

    def read(self) -> None:
        """Takes in the events that were written since."""
        text = self.rest + self.stream.read()
        *lines, self.rest = text.split("\n")
        for line in lines:
            if line.strip():
                self.take(json.loads(line))

    def take(self, line: dict) -> None:
        if line["kind"] != "event":
            return
        event = line["payload"]
        test = event.get("testID", "")
        # A suite's id has no source location; an issue may be outside of every test.
        name = re.sub(r"/[^/]+:\d+:\d+$", "", test)
        is_test = name != test
        kind, now = event["kind"], event["instant"]["absolute"]
        if kind == "testStarted" and is_test:
            self.under_way[name] = now
        elif kind == "testEnded" and is_test:
            self.done[name] = now - self.under_way.pop(name, now)
        elif kind == "testSkipped" and is_test:
            self.skipped[name] = text_of(event)
        elif kind == "issueRecorded" and not event.get("issue", {}).get("isKnown"):
            self.failures.setdefault(name or self.label, []).append(text_of(event))

    def finish(self) -> None:
        """Judges the whole: a process that ended otherwise than its tests say is a failure too."""
        self.read()
        self.stream.close()
        self.seconds = time.monotonic() - self.began
        status = self.process.returncode
        count = len(self.done) + len(self.skipped)
        if (status != 0 and not self.failures) or count < self.expected or status < 0:
            ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            said = [f"the process ended with {ended} after {count} of {self.expected} tests"]
            if self.under_way:
                said.append("under way: " + ", ".join(sorted(self.under_way)))
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
            self.failures.setdefault(self.label, []).append("\n".join(said + ["its last lines:"] + lines))


def text_of(event: dict) -> str:
    location = event.get("issue", {}).get("sourceLocation") or {}
    place = f"{location['fileID']}:{location['line']}: " if "fileID" in location else ""
    return place + "\n".join(message["text"] for message in event.get("messages", []))


def swift_units(names: list[str]) -> list[Unit]:
    if not BUNDLE.exists():
        sys.exit(f"tests: {BUNDLE.relative_to(ROOT)} is not built; run: make build")
    for path in (ROOT / "Tests").rglob("*.swift"):
        if re.search(r"^\s*(@\w+ )?import XCTest", path.read_text(), re.M):
            sys.exit(f"tests: {path.relative_to(ROOT)} imports XCTest, whose tests are not run here; use Testing")
    listed = subprocess.run([*SWIFT_TESTING, "--list-tests"], cwd=ROOT, capture_output=True, text=True, check=True)
    suites: dict[str, int] = {}
    for line in listed.stdout.splitlines():
        suite = line.split("/")[0]
        if not names or any(re.search(name, suite) for name in names):
            suites[suite] = suites.get(suite, 0) + 1
    groups = [[suite] for suite in IDLE + ALONE if suite in suites]
    modules = sorted({suite.split(".")[0] for suite in suites})
    for module in modules:
        rest = [suite for suite in suites if suite.split(".")[0] == module and suite not in IDLE + ALONE]
        # Every so many-th: neighbours by name are of one kind, and take alike.
        count = -(-len(rest) // SUITES_PER_PROCESS)
        groups += [rest[start::count] for start in range(count)]
    units = []
    numbers: dict[str, int] = {}
    for group in groups:
        module = group[0].split(".")[0]
        numbers[module] = numbers.get(module, 0) + 1
        filters = "^(" + "|".join(re.escape(suite) for suite in group) + ")(/|$)"
        units.append(
            Unit("swift", f"{module}-{numbers[module]}",
                 [*SWIFT_TESTING, "--filter", filters,
                  "--event-stream-output-path", "{events}", "--event-stream-version", "0"],
                 sum(suites[suite] for suite in group), is_idle=group[0] in IDLE))
    return units


def interop_units(names: list[str]) -> list[Unit]:
    folder = ROOT / "Tests" / "interop"
    runner = [sys.executable, "-B", str(folder / "run.py"), "--events", "{events}"]
    # The largest first: what takes longest ends the run.
    files = sorted(folder.glob("test_*.py"), key=lambda path: -path.stat().st_size)
    return [Unit("interop", path.stem, [*runner, path.stem], 1) for path in files if not names or path.stem in names]


def together(families: list[list[Unit]]) -> list[Unit]:
    """Units of several families in turn, what is idle first; each has its longest first."""
    idle = [unit for units in families for unit in units if unit.is_idle]
    rest = [[unit for unit in units if not unit.is_idle] for units in families]
    # Spread evenly: a family that has fewer ends with the others.
    ranked = [(number / len(units), order, unit) for order, units in enumerate(rest) for number, unit in enumerate(units)]
    return idle + [unit for _, _, unit in sorted(ranked, key=lambda item: item[:2])]


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def run(units: list[Unit], jobs: int) -> None:
    waiting, running = list(units), []
    began = said = time.monotonic()
    try:
        while waiting or running:
            while waiting and (waiting[0].is_idle or sum(not unit.is_idle for unit in running) < jobs):
                unit = waiting.pop(0)
                unit.start()
                running.append(unit)
            time.sleep(0.1)
            for unit in list(running):
                # Ended first: then all its events are there to be read.
                ended = unit.has_ended()
                unit.read()
                if ended:
                    unit.finish()
                    running.remove(unit)
            if time.monotonic() - said >= 60:
                said = time.monotonic()
                tell(units, running, said - began)
    except KeyboardInterrupt:
        for unit in running:
            unit.process.terminate()
        for unit in running:
            try:
                unit.process.wait(5)
            except subprocess.TimeoutExpired:
                unit.process.kill()
        print("tests: interrupted", flush=True)
        sys.exit(130)


def tell(units: list[Unit], running: list[Unit], elapsed: float) -> None:
    done = sum(len(unit.done) for unit in units)
    failed = sum(len(unit.failures) for unit in units)
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    under_way = sorted((began, name) for unit in running for name, began in unit.under_way.items())
    longest = ", ".join(f"{name.split('/', 1)[-1]} {now - began:.0f} s" for began, name in under_way[:3])
    words = f", {failed} FAILED" if failed else ""
    print(f"  {clock(elapsed)}  {done} tests done{words}; longest under way: {longest or 'none'}", flush=True)


def table(units: list[Unit]) -> None:
    rows: dict[str, list[float]] = {}
    for unit in units:
        for name, seconds in unit.done.items():
            row = rows.setdefault(re.split(r"[./]", name)[0], [0, 0.0])
            row[0] += 1
            row[1] = max(row[1], seconds)
    seconds: dict[str, list[float]] = {}
    for unit in units:
        for suite in {re.split(r"[./]", name)[0] for name in unit.done}:
            row = seconds.setdefault(suite, [0.0, 0.0])
            row[0] += unit.seconds
            row[1] += unit.worked
    width = max([len(name) for name in rows], default=5)
    # By the clock, of processors, and of the longest test: what a run on busy processors is shortened by is the second.
    print(f"{'suite':{width}}  tests  seconds   worked  longest")
    for name, (count, longest) in sorted(rows.items()):
        print(f"{name:{width}}  {count:5.0f}  {seconds[name][0]:7.0f}  {seconds[name][1]:7.0f}  {longest:7.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=["swift", "interop", "all"])
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    LOGS.mkdir(parents=True, exist_ok=True)
    families = ["swift", "interop"] if arguments.family == "all" else [arguments.family]
    for family in families:
        for old in LOGS.glob(f"{family}-*"):
            old.unlink()
    found = {"swift": swift_units, "interop": interop_units}
    units = together([found[family](arguments.names) for family in families])
    if not units:
        sys.exit(f"tests: none is called {' or '.join(arguments.names)}")
    jobs = int(os.environ.get("TARN_TEST_JOBS", "4"))
    print(f"{' and '.join(families)} tests: {len(units)} processes, {jobs} at a time; logs in {LOGS.relative_to(ROOT)}",
          flush=True)
    began = time.monotonic()
    run(units, jobs)
    table(units)
    for unit in units:
        for name, reason in sorted(unit.skipped.items()):
            print(f"skipped: {name}: {reason}")
    for unit in units:
        for name, issues in sorted(unit.failures.items()):
            print(f"\n✘ {name}   ({unit.log.relative_to(ROOT)})")
            for issue in issues:
                print("  " + issue.replace("\n", "\n  "))
    print(f"\n{time.monotonic() - began:.0f} s")
    for family in families:
        own = [unit for unit in units if unit.family == family]
        failed = {name for unit in own for name in unit.failures}
        passed = len({name for unit in own for name in unit.done} - failed)
        skipped = sum(len(unit.skipped) for unit in own)
        print(f"{family}: {passed} passed, {len(failed)} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if any(unit.failures for unit in units) else 0


if __name__ == "__main__":
    sys.exit(main())
