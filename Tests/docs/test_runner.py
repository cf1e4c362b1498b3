"""The runner of the documentation finds what is wrong with a page."""

import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import compare  # noqa: E402
import links  # noqa: E402
import pages  # noqa: E402
import run  # noqa: E402


class CompareTest(unittest.TestCase):
    def test_an_ellipsis_is_some_characters_of_a_line_or_some_lines(self) -> None:
        self.assertTrue(compare.matches(["a … c", "…", "z"], ["a b c", "1", "2", "z  "]))
        self.assertTrue(compare.matches(["…", "z"], ["z"]))
        self.assertTrue(compare.matches([], []))
        for actual in (["a b c", "1"], ["a b", "z"], ["z"], ["a b c", "z", "z2"], []):
            self.assertFalse(compare.matches(["a … c", "…", "z"], actual), actual)
        self.assertFalse(compare.matches(["1.5"], ["1x5"]))

    def test_a_rule_is_as_wide_as_what_is_below_it(self) -> None:
        self.assertTrue(compare.matches(["--  ----"], ["--  ---------"]))
        for other in ("---  ----", "--  ----  --", "--", "--  a---"):
            self.assertFalse(compare.matches(["--  ----"], [other]), other)

    def test_what_differs_is_shown_beside_what_is_right(self) -> None:
        self.assertEqual(compare.difference(["a …", "b"], ["a 1", "c"])[3:], [" a …", "-b", "+c"])


class ParseTest(unittest.TestCase):
    def test_commands_go_on_and_have_their_output(self) -> None:
        (block,) = pages.parse("```console\n$ a \\\n    b\none\n$ for x in 1 2; do\n  c; done\n$ d 'e\nf'\ntwo\n\nthree\n```\n")
        self.assertEqual([command.text for command in block.commands()], ["a \\\n    b", "for x in 1 2; do\n  c; done", "d 'e\nf'"])
        self.assertEqual([command.expected for command in block.commands()], [["one"], [], ["two", "", "three"]])

    def test_what_cannot_be_meant_is_refused(self) -> None:
        for text in ("```\nx\n```\n", "```sh\nx\n", "```pyhton\nx\n```\n", "<!-- docs-test: wrold -->\n", "<!-- docs-test: run\nx\n"):
            with self.assertRaises(pages.PageError, msg=text):
                pages.parse(text)

    def test_options_are_those_of_tarn(self) -> None:
        self.assertEqual(
            run.options("tarn source add x --url 'a --no' | tarn worker --task=1 # --none\nother --thing\ntarn build \\\n  --jobs 2"),
            [(("source", "add"), "--url"), (("worker",), "--task"), (("build",), "--jobs")])


class PageTest(unittest.TestCase):
    def differences(self, text: str) -> list[str]:
        with tempfile.TemporaryDirectory() as scratch:
            path = pathlib.Path(scratch, "page.md")
            path.write_text(text)
            tally = run.Tally()
            with unittest.mock.patch.object(run, "ROOT", pathlib.Path(scratch)):
                for directory in ("Examples", "scripts"):
                    pathlib.Path(scratch, directory).mkdir()
                run.Page(path, tally, write=False).run()
            return tally.differences

    def test_a_true_page_has_none(self) -> None:
        self.assertEqual(self.differences(
            "<!-- docs-test: run\nname=x\n-->\n```console\n$ cd /; echo $name\nx\n$ false; echo $?\n1\n$ pwd\n/\n```\n"
            "<!-- docs-test: exits 3 -->\n```console\n$ (exit 3)\n```\n"
            "```sh\ncd /tmp\ntrue\n```\n```python\nprint(1)\n```\n<!-- docs-test: output -->\n```text\n1\n```\n"
            "<!-- docs-test: world -->\n```sh\nexit 1\n```\n"), [])

    def test_each_fault_is_found(self) -> None:
        for text, said in (
            ("```console\n$ echo a\nb\n```\n", "prints something else"),
            ("```console\n$ echo a\n```\n", "prints something else"),
            ("```console\n$ false\n```\n", "exits with 1"),
            ("<!-- docs-test: exits 3 -->\n```console\n$ true\n```\n", "none of its commands exits with 3"),
            ("```sh\nfalse\ntrue\n```\n", "exits with 1"),
            ("```python\n1 / 0\n```\n", "exits with 1"),
            ("<!-- docs-test: world\nfalse\n-->\n```sh\ntrue\n```\n", "exits with 1"),
            ("<!-- docs-test: world -->\n```sh\ntarn sync --frobnicate\n```\n", "has no --frobnicate"),
            ("<!-- docs-test: run\nfalse\ntrue\n-->\n", "exits with 1"),
            ("```python\nprint(1)\n```\n<!-- docs-test: output -->\n```text\n2\n```\n", "prints something else"),
            ("[a](nowhere.md)\n", "leads nowhere"),
            ("[a](#heading)\n# Headings\n", "leads nowhere"),
        ):
            found = self.differences(text)
            self.assertEqual(len(found), 1, text)
            self.assertIn(said, found[0])


class LinkTest(unittest.TestCase):
    def test_headings_are_named_as_github_does(self) -> None:
        self.assertEqual(links.anchors("# How-to\n## A `b`, c\n## A `b`, c\n"), {"how-to", "a-b-c", "a-b-c-1"})


if __name__ == "__main__":
    unittest.main()
