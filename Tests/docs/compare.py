"""Whether a command printed what a page says.

In a page `…` stands for any characters of a line, and a line that is `…` alone for
any number of lines. Blanks at the end of a line do not count, nor does how wide the
rule below a table's head is in its last column: that follows from paths and ports.
"""

import difflib
import re

ELLIPSIS = "…"
# What differs from run to run wherever it is printed.
VOLATILE = [
    re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?"),
    re.compile(r"\b\d+(\.\d+)? ([kMG]i?)?B/s"),
]


RULE = re.compile(r"-+(  -+)*")


def line_matches(expected: str, actual: str) -> bool:
    if RULE.fullmatch(expected.strip()) and RULE.fullmatch(actual.strip()):
        return expected.rstrip().rstrip("-") == actual.rstrip().rstrip("-")
    pattern = ".*".join(re.escape(part) for part in expected.rstrip().split(ELLIPSIS))
    return re.fullmatch(pattern, actual.rstrip()) is not None


def matches(expected: list[str], actual: list[str]) -> bool:
    """Whether all of `actual` is what `expected` says."""
    # reachable[j]: the first lines of `expected` so far can be the first j of `actual`.
    reachable = [True] + [False] * len(actual)
    for line in expected:
        if line.strip() == ELLIPSIS:
            for place in range(len(actual)):
                reachable[place + 1] = reachable[place + 1] or reachable[place]
        else:
            for place in range(len(actual), 0, -1):
                reachable[place] = reachable[place - 1] and line_matches(line, actual[place - 1])
            reachable[0] = False
    return reachable[len(actual)]


def difference(expected: list[str], actual: list[str]) -> list[str]:
    """A diff, in which lines that are right stand as the page has them."""
    shown = [next((line for line in expected if line.strip() != ELLIPSIS and line_matches(line, each)), each.rstrip())
             for each in actual]
    return list(difflib.unified_diff([line.rstrip() for line in expected], shown, "the page", "the command", lineterm="", n=1))


def masked(line: str) -> str:
    """A line as a page may have it."""
    for pattern in VOLATILE:
        line = pattern.sub(ELLIPSIS, line)
    return line.rstrip()
