#!/usr/bin/env python3
"""Holds Tests/findings.tsv against the tests that exist.

A finding is something that once went wrong. Its line has an id (PAGE-NUMBER), what went
wrong, and the tests that keep it right, separated by blanks:

    FetchTests.StallTests/silentServerIsGivenUp       Tests/FetchTests, suite StallTests
    Tests/interop/test_x.py::ClassName.test_y         a Python test

Lines `# expected: PAGE 1-9 12 A1-A8` name the ids that must be there. Sources are read,
nothing is built: a test that is named is one that the runner finds.
"""

import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "Tests" / "findings.tsv"


def expected_ids(text: str) -> list[str]:
    """`code 1-3 A4` is code-1, code-2, code-3 and code-A4."""
    page, *ranges = text.split()
    ids = []
    for item in ranges:
        match = re.fullmatch(r"([A-Z]*)(\d+)([a-z]?)(?:-\1(\d+))?", item)
        if match is None or (match[3] and match[4]):
            sys.exit(f"findings: '{item}' is no number and no range of them")
        first, last = int(match[2]), int(match[4] or match[2])
        ids += [f"{page}-{match[1]}{number}{match[3]}" for number in range(first, last + 1)]
    return ids


def swift_tests() -> set[str]:
    """TARGET.SUITE/TEST of every @Test, and TARGET/TEST of those outside a suite."""
    found = set()
    # A type opens at the margin or inside another; tests lie directly in it.
    opening = re.compile(r"^( *)(?:@\S+ +|@\w+\(.*\) +|private +|final +)*(?:struct|class|actor|enum|extension) (\w+)")
    for path in sorted((ROOT / "Tests").glob("*Tests/**/*.swift")):
        target = path.relative_to(ROOT / "Tests").parts[0]
        suites: list[tuple[int, str]] = []
        is_test = False
        for line in path.read_text().splitlines():
            indent = len(line) - len(line.lstrip(" "))
            if line.strip() and not line.lstrip().startswith(")"):
                while suites and indent <= suites[-1][0] and not line.lstrip().startswith("}"):
                    suites.pop()
            if match := opening.match(line):
                suites.append((len(match[1]), match[2]))
            is_test = is_test or line.lstrip().startswith("@Test")
            if match := re.search(r"\bfunc (\w+)", line):
                if is_test:
                    suite = ".".join(name for _, name in suites)
                    found.add(f"{target}.{suite}/{match[1]}" if suite else f"{target}/{match[1]}")
                is_test = False
    return found


def python_tests() -> set[str]:
    """FILE::CLASS.TEST of every unittest method."""
    found = set()
    for path in sorted(path for room in ("interop", "docs") for path in (ROOT / "Tests" / room).glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found |= {
                    f"{path.relative_to(ROOT)}::{node.name}.{item.name}"
                    for item in node.body if isinstance(item, ast.FunctionDef) and item.name.startswith("test_")
                }
    return found


def main() -> int:
    problems: list[str] = []
    expected: list[str] = []
    tests: dict[str, list[str]] = {}
    known = swift_tests() | python_tests()
    for number, line in enumerate(TABLE.read_text().splitlines(), 1):
        if line.startswith("#") or not line.strip():
            if match := re.match(r"# expected: (.+)", line):
                expected += expected_ids(match[1])
            continue
        cells = line.split("\t")
        if len(cells) != 3 or not all(cell.strip() for cell in cells):
            problems.append(f"line {number} has not three columns: id, what went wrong, tests")
            continue
        if cells[0] in tests:
            problems.append(f"{cells[0]} is there twice")
        tests[cells[0]] = cells[2].split()
    if not expected or not known:
        problems.append("no ids are expected, or no tests found")
    problems += [f"{name} is missing" for name in expected if name not in tests]
    problems += [f"{name} is not among the expected" for name in tests if name not in expected]
    problems += [
        f"{name} names {test}, and there is no such test" for name, named in tests.items() for test in named
        if test not in known
    ]
    for problem in problems:
        print(f"findings: {problem}", file=sys.stderr)
    print(f"findings: {len(tests)} findings, {sum(map(len, tests.values()))} tests, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
