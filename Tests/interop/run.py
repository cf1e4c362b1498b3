#!/usr/bin/env python3
"""Runs interop tests, all or those of the modules named, and says in one line how it went.

    run.py [--events FILE] [MODULE[.CLASS[.TEST]]…]

FILE gets a JSON line for each beginning, end, failure and skip, as Swift Testing's event
stream has them: scripts/run_tests.py reads both.
"""

import argparse
import json
import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import support  # noqa: E402


class Result(unittest.TextTestResult):
    """A result that also writes events."""

    events = None

    def say(self, kind: str, test: unittest.TestCase, text: str = "") -> None:
        if self.events is None:
            return
        payload = {
            "kind": kind, "testID": f"{test.id()}/{type(test).__module__}.py:0:0",
            "instant": {"absolute": time.monotonic()}, "messages": [{"text": text}] if text else []}
        self.events.write(json.dumps({"kind": "event", "payload": payload}) + "\n")
        self.events.flush()

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.say("testStarted", test)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        if not any(test is skipped for skipped, _ in self.skipped):
            self.say("testEnded", test)

    def addFailure(self, test: unittest.TestCase, err: tuple) -> None:
        super().addFailure(test, err)
        self.say("issueRecorded", test, self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: tuple) -> None:
        super().addError(test, err)
        self.say("issueRecorded", test, self.errors[-1][1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: tuple | None) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = self.failures if issubclass(err[0], test.failureException) else self.errors
            self.say("issueRecorded", test, f"{subtest._subDescription()}\n{failed[-1][1]}")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self.say("issueRecorded", test, "unexpected success")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self.say("testSkipped", test, reason)


def main() -> int:
    if not support.TARN.exists():
        print(f"interop: {support.TARN} is not built; run: make build", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    loader = unittest.TestLoader()
    if arguments.names:
        suite = loader.loadTestsFromNames(arguments.names)
    else:
        suite = loader.discover(str(pathlib.Path(__file__).parent))
    if arguments.events:
        Result.events = arguments.events.open("a", encoding="utf-8")
    started = time.monotonic()
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout, resultclass=Result).run(suite)
    for test, reason in result.skipped:
        print(f"interop: SKIPPED {test.id()}: {reason}")
    word = "passed" if result.wasSuccessful() else "FAILED"
    print(
        f"interop: {word}: {result.testsRun} tests, {len(result.failures)} failures, {len(result.errors)} errors, "
        f"{len(result.skipped)} skipped, {time.monotonic() - started:.0f} s")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
