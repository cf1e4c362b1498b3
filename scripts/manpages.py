#!/usr/bin/env python3
"""Writes the man pages of the tool and of every verb, of what the tool says of itself.

    manpages.py TARN VERSION DATE DIRECTORY

DIRECTORY gets tarn.1, tarn-sync.1, tarn-source-add.1 and so on. DATE is as it shall stand in the footer.
"""

import json
import pathlib
import re
import subprocess
import sys


def escaped(text: str) -> str:
    """Text as roff shows it as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha")
    # A line that begins with a dot would be a request.
    return re.sub(r"(?m)^\.", "\\\\&.", text.replace("~", "\\(ti"))


def names(argument: dict) -> str:
    """-q, --quiet; or --jobs N; or a place."""
    value = f"\\fI{escaped(argument['valueName'])}\\fR"
    if argument["kind"] == "positional":
        return value
    flags = sorted(argument["names"], key=lambda name: len(name["name"]))
    text = ", ".join(("\\-" if name["kind"] == "short" else "\\-\\-") + escaped(name["name"]) for name in flags)
    return f"\\fB{text}\\fR" + (f" {value}" if argument["kind"] == "option" else "")


def synopsis(path: list[str], command: dict) -> str:
    words = [f"\\fB{escaped(' '.join(path))}\\fR"]
    if command.get("subcommands"):
        words.append("\\fIverb\\fR")
    for argument in shown(command):
        if argument["kind"] == "positional":
            text = names(argument) + ("..." if argument["isRepeating"] else "")
            words.append(f"[{text}]" if argument["isOptional"] else text)
    return " ".join(words + ["[\\fIoptions\\fR]"])


def shown(command: dict) -> list[dict]:
    return [argument for argument in command.get("arguments", []) if argument["shouldDisplay"]]


def discussion(text: str) -> list[str]:
    """Paragraphs; headings in capitals as sections; indented lines as they are."""
    lines, is_literal = [], False
    for line in text.split("\n"):
        literal = line.startswith(" ")
        if literal != is_literal:
            lines.append(".nf" if literal else ".fi")
            is_literal = literal
        if line and line.upper() == line and re.fullmatch(r"[A-Z ]+", line):
            lines.append(f".SH {line}")
        elif not line:
            lines.append(".PP")
        else:
            lines.append(escaped(line))
    if is_literal:
        lines.append(".fi")
    # A paragraph's beginning says nothing beside a section's, or at the end.
    kept: list[str] = []
    for line in lines:
        if line == ".PP" and (not kept or kept[-1] == ".PP" or kept[-1].startswith(".SH")):
            continue
        if line.startswith(".SH"):
            while kept and kept[-1] == ".PP":
                kept.pop()
        kept.append(line)
    while kept and kept[-1] == ".PP":
        kept.pop()
    return kept


def page(path: list[str], command: dict, version: str, date: str) -> str:
    name = "-".join(path)
    lines = [
        f'.TH {escaped(name.upper())} 1 "{date}" "tarn {version}" "tarn"', ".SH NAME",
        f"{escaped(name)} \\- {escaped(command['abstract'].rstrip('.'))}", ".SH SYNOPSIS", synopsis(path, command)]
    body = discussion(command.get("discussion", "").strip("\n"))
    # What is said before the first heading describes; sections of its own follow the options.
    first = next((place for place, line in enumerate(body) if line.startswith(".SH")), len(body))
    if body[:first]:
        lines += [".SH DESCRIPTION", *body[:first]]
    verbs = [verb for verb in command.get("subcommands", []) if verb["shouldDisplay"] and verb["commandName"] != "help"]
    if verbs:
        lines.append(".SH VERBS")
        for verb in verbs:
            target = "-".join(path + [verb["commandName"]])
            lines += [".TP", f"\\fB{escaped(target)}\\fR(1)", escaped(verb["abstract"])]
    for title, kinds in (("ARGUMENTS", {"positional"}), ("OPTIONS", {"option", "flag"})):
        arguments = [argument for argument in shown(command) if argument["kind"] in kinds]
        if arguments:
            lines.append(f".SH {title}")
        for argument in arguments:
            said = argument.get("abstract", "")
            if argument.get("defaultValue"):
                said += f" (default: {argument['defaultValue']})"
            if argument.get("discussion"):
                said += "\n" + argument["discussion"]
            lines += [".TP", names(argument), escaped(said.strip()) or "\\&"]
    lines += body[first:]
    if len(path) > 1:
        lines += [".SH SEE ALSO", f"\\fB{escaped('-'.join(path[:-1]))}\\fR(1)"]
    return "\n".join(lines) + "\n"


def main() -> None:
    tool, version, date, directory = sys.argv[1:]
    pages = pathlib.Path(directory)
    pages.mkdir(parents=True, exist_ok=True)
    help_text = subprocess.run([tool, "--experimental-dump-help"], capture_output=True, text=True, check=True).stdout

    def write(path: list[str], command: dict) -> None:
        (pages / f"{'-'.join(path)}.1").write_text(page(path, command, version, date))
        for verb in command.get("subcommands", []):
            if verb["shouldDisplay"] and verb["commandName"] != "help":
                write(path + [verb["commandName"]], verb)

    write(["tarn"], json.loads(help_text)["command"])


if __name__ == "__main__":
    main()
