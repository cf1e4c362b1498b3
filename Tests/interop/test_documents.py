"""Documentation that can be held against the tool is."""

import json
import os
import re
import subprocess
import unittest

import support

# Options of every verb, or of all that wait for a writer: DESIGN names them once.
COMMON = {"lake", "json", "quiet", "verbose", "version", "help", "wait"}


def commands() -> dict[str, set[str]]:
    """The options of every command, by its words without `tarn`."""
    dump = subprocess.run(
        [str(support.TARN), "--experimental-dump-help"], env=support.environment(), capture_output=True, text=True,
        timeout=60, check=True)
    found: dict[str, set[str]] = {}

    def walk(command: dict, words: list[str]) -> None:
        parts = command.get("subcommands", [])
        for part in parts:
            walk(part, [*words, part["commandName"]])
        if words == ["help"]:
            return
        names = (name["name"] for argument in command.get("arguments", []) for name in argument.get("names", []))
        options = {name for name in names if len(name) > 1} - COMMON
        # One with others below it is a command where it has options of its own.
        if not parts or words and options - {"version"}:
            found[" ".join(words)] = options

    walk(json.loads(dump.stdout)["command"], [])
    return found


def fences(text: str) -> list[str]:
    """What stands in the fences of a page, without the word behind the first mark."""
    return [inner.split("\n", 1)[1] for inner in text.split("```")[1::2]]


def described() -> dict[str, set[str]]:
    """The same as the command line of DESIGN's section 5 has it."""
    text = (support.ROOT / "docs" / "DESIGN.md").read_text()
    section = text[text.index("\n## 5. "):text.index("\n## 6. ")]
    block = fences(section)[0]
    found: dict[str, set[str]] = {}
    # Options of several verbs are written out once, under a name.
    named = {name: re.search(rf"\({name}: ([^)]*)\)", block).group(1) for name in ("STREAM", "TRAINING", "LIMITS", "COMMANDS", "SCRIPTS")}
    for entry in re.split(r"^tarn ", block, flags=re.MULTILINE)[1:]:
        words = re.match(r"[a-z-]+( (?:add|list|show|probe|export|extend|refresh|set|rename|drop-shards|remove|mirror [a-z]+|build|train|trained|version)\b)?", entry).group()
        for name, options in named.items():
            entry = entry.replace(f"({name}: {options})", "").replace(f"[{name}]", f"[{options}]")
        options = set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", entry)) - COMMON
        found[words] = found.get(words, set()) | options
    return found


class DocumentsTest(unittest.TestCase):
    maxDiff = None

    def test_design_names_every_verb_and_every_option_and_no_other(self):
        self.assertEqual(described(), commands())

    def test_every_exit_code_is_in_the_design_and_the_readme(self):
        text = subprocess.run(
            [str(support.TARN), "--help"], env=support.environment(), capture_output=True, text=True, timeout=60,
            check=True).stdout
        section = text[text.index("EXIT STATUS"):text.index("USAGE")]
        codes = {int(code) for code in re.findall(r"(?:^|,)\s*(\d+) ", section, flags=re.MULTILINE)}
        self.assertGreater(len(codes), 10)
        design = (support.ROOT / "docs" / "DESIGN.md").read_text()
        line = design[design.index("Exit codes, in every"):design.index("\n\n", design.index("Exit codes, in every"))]
        self.assertEqual({int(code) for code in re.findall(r"(?<![\w.@])(\d+) [a-z]", line)}, codes)
        readme = (support.ROOT / "README.md").read_text()
        table = readme[readme.index("## Exit codes"):readme.index("## Limits")]
        self.assertEqual({int(code) for code in re.findall(r"\| (\d+) \|", table)}, codes)

    def test_every_command_of_the_set_up_is_there(self):
        goals = set(re.findall(r"^([a-z-]+):", (support.ROOT / "Makefile").read_text(), flags=re.MULTILINE))
        for document in ("README.md", "CONTRIBUTING.md"):
            text = (support.ROOT / document).read_text()
            section = text[text.index("## Set up"):]
            first, *others = re.findall(r"^(\S+(?: [a-z-]+)?)", fences(section)[0], flags=re.MULTILINE)
            # A bare system has a shell, and no make.
            self.assertEqual(first.split()[0], "scripts/install-deps.sh", document)
            for script in re.findall(r"(?:scripts|\.ci)/[a-z._-]+", text):
                self.assertTrue(os.access(support.ROOT / script, os.X_OK), f"{document}: {script}")
            named = re.findall(r"`make ([a-z-]+)", text) + [line.split()[1] for line in others if line.startswith("make ")]
            self.assertGreater(len(named), 1)
            self.assertEqual(set(named) - goals, set(), document)
        script = (support.ROOT / "scripts" / "install-deps.sh").read_text()
        self.assertIn("make", script[script.index("packages=("):script.index("\n)")].split())


if __name__ == "__main__":
    unittest.main()
