#!/usr/bin/env python3
"""Writes the pages of docs/reference that follow from the tool and its sources.

    scripts/reference.py [--check]

verbs.md is what `tarn VERB --help` prints, views.md what `tarn schema` does, and the
layouts in files.md are those at the heads of the files that write them. With --check
nothing is written, and pages that are not current are named. TARN is the binary
(default: the release build).
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
TARN = pathlib.Path(os.environ.get("TARN", ROOT / ".build" / "release" / "tarn"))
# Said once, at the head of the page of verbs.
EVERYWHERE = ("--lake", "--json", "-q, --quiet", "-v, --verbose", "--wait", "--version", "-h, --help")


def tarn(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TARN_")}
    return subprocess.run(
        [TARN, *arguments], env={**environment, "COLUMNS": "80"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=True).stdout


def verbs() -> list[list[str]]:
    """The words of every verb, in the order of `tarn --help`, groups before their verbs."""
    found: list[list[str]] = []

    def walk(command: dict, words: list[str]) -> None:
        for part in command.get("subcommands", []):
            if part["commandName"] != "help" and part.get("shouldDisplay", True):
                found.append([*words, part["commandName"]])
                walk(part, found[-1])

    walk(json.loads(tarn("--experimental-dump-help"))["command"], [])
    return found


def entries(text: str) -> tuple[str, dict[str, str]]:
    """A help text without its options of every verb, and these."""
    kept, common, name = [], {}, None
    for line in text.splitlines():
        entry = re.match(r"  (\S.*?)(?:  |$)", line)
        if entry:
            name = next((each for each in EVERYWHERE if entry[1].startswith(each)), None)
        elif not line.startswith("   "):
            name = None
        if name is None:
            kept.append(line)
        else:
            common[name] = common.get(name, "") + line + "\n"
    return "\n".join(kept), common


def verbs_page() -> str:
    sections, common = [], {}
    for words in verbs():
        text = re.sub(r"(?ms)^EXIT STATUS\n.*?\n\n", "", tarn(*words, "--help"))
        text = re.sub(r"(?ms)^SUBCOMMANDS:\n.*", "", text)
        text, found = entries(text)
        # A group of which nothing is left has no title.
        text = re.sub(r"(?m)^[A-Z][A-Z ]*:\n+(?=[A-Z][A-Z ]*:\n|\Z)", "", text.removeprefix("OVERVIEW: ") + "\n")
        text = re.sub(r"\n{3,}(?=[A-Z][A-Z ]*:\n)", "\n\n", text).strip()
        for name, lines in found.items():
            common.setdefault(name, lines)
        sections.append(f"## {' '.join(words)}\n\n```text\n{text}\n```\n")
    options = "".join(common[name] for name in EVERYWHERE if name in common)
    return (
        "# Verbs\n\nWritten by `make docs-reference` from what `tarn VERB --help` prints. Exit codes have\n"
        "[a page of their own](exit-codes.md).\n\n## Options of every verb\n\n"
        "Not every verb has `--wait`, `--json` or `--lake`; its own help says so.\n\n"
        f"```text\n{options}```\n\n" + "\n".join(sections))


def views_page() -> str:
    with tempfile.TemporaryDirectory() as scratch:
        tarn("init", scratch + "/lake")
        views = json.loads(tarn("schema", "--json", "--lake", scratch + "/lake"))
    sections = []
    for view, columns in sorted(views.items()):
        rows = "".join(f"| `{column['column']}` | {column['meaning'].replace('|', chr(92) + '|')} |\n" for column in columns)
        sections.append(f"## {view}\n\n| column | meaning |\n| --- | --- |\n{rows}")
    return (
        "# Views\n\nThe public SQL interface, written by `make docs-reference` from what `tarn schema` prints. Questions\n"
        "to ask of them are in [SQL.md](../SQL.md).\n\n" + "\n".join(sections))


def layout(path: str) -> str:
    """The layout at the head of a source file, from the word Layout up to its invariants."""
    head = re.match(r"(?:[^\n]*\n)*?//[^\n]*(?:\n//[^\n]*)*", (ROOT / path).read_text("utf-8"))[0]
    lines = [line.removeprefix("//").removeprefix(" ").rstrip() for line in head.splitlines() if line.startswith("//")]
    start = next(number for number, line in enumerate(lines) if line.startswith("Layout") or "8 bytes" in line)
    end = next((number for number, line in enumerate(lines) if line.startswith("Invariants")), len(lines))
    return "\n".join(lines[start:end]).strip("\n")


def files_page() -> str:
    text = (PAGES / "files.md").read_text("utf-8")
    return re.sub(
        r"(<!-- layout: (\S+) -->\n```text\n).*?(```\n)", lambda found: found[1] + layout(found[2]) + "\n" + found[3], text,
        flags=re.DOTALL)


def stale(write: bool) -> list[pathlib.Path]:
    """The pages that are not what they should be; written anew if that is wanted."""
    found = []
    for name, text in (("verbs.md", verbs_page()), ("views.md", views_page()), ("files.md", files_page())):
        path = PAGES / name
        if not path.exists() or path.read_text("utf-8") != text:
            found.append(path)
            if write:
                path.write_text(text, "utf-8")
    return found


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: reference.py [--check]")
    found = stale(write=not check)
    for path in found:
        print(f"reference: {path.relative_to(ROOT)} {'is not current; run: make docs-reference' if check else 'is written'}")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
