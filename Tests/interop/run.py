#!/usr/bin/env python3
"""Runs every interop test and says in one line how it went."""

import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import support  # noqa: E402


def main() -> int:
    if not support.TARN.exists():
        print(f"interop: {support.TARN} is not built; run: make build", file=sys.stderr)
        return 1
    loader = unittest.TestLoader()
    if len(sys.argv) > 1:
        suite = loader.loadTestsFromNames(sys.argv[1:])
    else:
        suite = loader.discover(str(pathlib.Path(__file__).parent))
    started = time.monotonic()
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(suite)
    for test, reason in result.skipped:
        print(f"interop: SKIPPED {test.id()}: {reason}")
    word = "passed" if result.wasSuccessful() else "FAILED"
    print(
        f"interop: {word}: {result.testsRun} tests, {len(result.failures)} failures, {len(result.errors)} errors, "
        f"{len(result.skipped)} skipped, {time.monotonic() - started:.0f} s")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
