"""What a Markdown page has to be run: its fences, and the comments that say how.

A fence's first word says what is done with it:

    console   lines that begin with "$ " are commands, the lines behind one its output
    sh        a script; every command of it has to succeed
    sql       one query of `tarn sql`; "sql duckdb" is one of DuckDB
    python    a program
    text, c, json, xml, ini, make    is shown and not run

A fence without a word is an error. Comments of the page, before the fence that they are about:

    <!-- docs-test: lake -->             a copy of a lake with the example features, built as clips@1, to work in
    <!-- docs-test: web URL DIR -->      DIR of the repository is served by nginx; URL stands for its address
    <!-- docs-test: port N -->           N stands for a free port
    <!-- docs-test: run                  commands that the page does not show
    … -->
    <!-- docs-test: world -->            the next fence needs the world: not run, its verbs and options are looked up;
                                         with lines behind "world", those are run in its place
    <!-- docs-test: exits N -->          the next fence's commands end with 0 or N, one of them at least with N
    <!-- docs-test: values A='x' … -->   what :A stands for in the queries that follow
    <!-- docs-test: before               lines that the next python fence begins with
    … -->
    <!-- docs-test: duckdb -->           DuckDB's extension `sqlite` is installed, from PyPI's file
    <!-- docs-test: output -->           the next fence is what the one before it printed
"""

import dataclasses
import pathlib
import re

RUN = ("console", "sh", "sql", "python")
SHOWN = ("text", "c", "json", "xml", "ini", "make")
DIRECTIVES = ("lake", "web", "port", "run", "world", "exits", "values", "output", "before", "duckdb")


class PageError(Exception):
    """A page that cannot be read; says where."""


@dataclasses.dataclass
class Command:
    """One command of a `console` fence, and what the page says that it prints."""

    text: str
    expected: list[str]
    # Lines of the page that `expected` takes: [first, end).
    first: int
    end: int


@dataclasses.dataclass
class Block:
    """A fence of a page."""

    language: str
    words: list[str]
    lines: list[str]
    # The number of the line behind the opening fence, from 0.
    first: int
    indent: str

    def commands(self) -> list[Command]:
        """The commands of a `console` fence; one goes on behind a backslash and in open quotes or a loop."""
        found: list[Command] = []
        number = 0
        while number < len(self.lines):
            line = self.lines[number]
            if not line.startswith("$ "):
                raise PageError(f"line {self.first + number + 1}: output before the first command")
            text = line[2:]
            number += 1
            while number < len(self.lines) and is_open(text):
                text += "\n" + self.lines[number]
                number += 1
            start = number
            while number < len(self.lines) and not self.lines[number].startswith("$ "):
                number += 1
            found.append(Command(text, self.lines[start:number], self.first + start, self.first + number))
        return found


@dataclasses.dataclass
class Directive:
    """A comment that says how something is run."""

    name: str
    argument: str
    line: int


def is_open(text: str) -> bool:
    """Whether a shell would read on behind `text`."""
    if text.endswith("\\"):
        return True
    quote, before = "", " "
    for place, letter in enumerate(text):
        if quote:
            if letter == quote and (quote == "'" or before != "\\"):
                quote = ""
        elif letter in "'\"" and before != "\\":
            quote = letter
        before = "" if before == "\\" else letter
    if quote:
        return True
    here = re.search(r"<<-?\s*'?(\w+)'?", text)
    if here and not re.search(rf"(?m)^\s*{here[1]}$", text):
        return True
    return bool(re.match(r"(for|while|if) ", text)) and not re.search(r"(?m)\b(done|fi)\b[^\n]*$", text)


def parse(text: str) -> list[Block | Directive]:
    """The fences and the comments of a page, in its order."""
    found: list[Block | Directive] = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        fence = re.match(r"( *)(`{3,})(.*)$", line)
        comment = re.match(r"\s*<!--\s*docs-test:\s*(.*)$", line)
        if fence:
            indent, marks, words = fence[1], fence[2], fence[3].split()
            end = number + 1
            while end < len(lines) and lines[end].strip() != marks:
                end += 1
            if end == len(lines):
                raise PageError(f"line {number + 1}: a fence without an end")
            if not words:
                raise PageError(f"line {number + 1}: a fence without a word that says what it is")
            if words[0] not in RUN + SHOWN:
                raise PageError(f"line {number + 1}: a fence of {words[0]}, which nothing knows how to run or to leave")
            inner = [each.removeprefix(indent) for each in lines[number + 1 : end]]
            found.append(Block(words[0], words[1:], inner, number + 1, indent))
            number = end + 1
        elif comment:
            start, body = number, comment[1]
            while "-->" not in body:
                number += 1
                if number == len(lines):
                    raise PageError(f"line {start + 1}: a comment without an end")
                body += "\n" + lines[number]
            body = body[: body.index("-->")]
            name, _, argument = body.partition("\n") if "\n" in body else body.partition(" ")
            name, rest = (name.split(None, 1) + [""])[:2]
            if name not in DIRECTIVES:
                raise PageError(f"line {start + 1}: docs-test has no {name}")
            found.append(Directive(name, (rest + ("\n" if rest and argument else "") + argument).strip(), start))
            number += 1
        else:
            number += 1
    return found


def pages(root: pathlib.Path) -> list[pathlib.Path]:
    """Every page that is run."""
    found = [root / "README.md", *(root / "docs").rglob("*.md"), *(root / "Examples").rglob("README.md")]
    return sorted(path for path in found if path.is_file())
