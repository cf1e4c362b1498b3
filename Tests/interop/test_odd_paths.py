"""Directories that have names which are no text, and a working directory that is gone."""

import os
import pathlib
import subprocess

from support import FEATURES, TARN, USAGE, LakeTest, environment

ODD = b"bad\xff"


class OddPaths(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        self.odd = os.fsencode(self.scratch) + b"/" + ODD
        os.mkdir(self.odd)

    def call(self, *words: bytes | str, cwd: bytes | None = None, shell: str = "exec", **environ: bytes | str):
        done = subprocess.run(
            ["/bin/sh", "-c", f'{shell} "$@"', "sh", os.fspath(TARN), *words], cwd=cwd or os.fsencode(self.scratch),
            env={**environment(), **environ}, capture_output=True, timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def refused(self, *words: bytes | str, **how) -> None:
        before = sorted(self.files())
        status, told, said = self.call(*words, **how)
        self.assertEqual((status, told), (USAGE, ""), said)
        self.assertEqual(said.count("\n"), 1, said)
        self.assertTrue("not UTF-8" in said or "cannot be told" in said, said)
        self.assertEqual(sorted(self.files()), before, words)

    def files(self) -> list[bytes]:
        return [os.path.join(place, name) for place, below, files in os.walk(os.fsencode(self.scratch))
                for name in below + files]

    def test_no_lake_is_made_under_another_name(self) -> None:
        self.refused("init", cwd=self.odd)
        self.refused("init", "lake", cwd=self.odd)
        self.refused("init", self.odd)
        self.refused("init", os.fsencode(self.scratch) + b"/new\xfe")
        self.refused("init", "lake", "--shards", self.odd)
        os.symlink(self.odd, self.scratch / "link")
        self.refused("init", "link")
        self.refused("init", "lake", "--artifacts", "link")

    def test_every_verb_says_it(self) -> None:
        lake = self.new_lake()
        for words in (["status"], ["sync"], ["versions"], ["gc"], ["sql", "SELECT 1"], ["rebuild-catalog"], ["doctor"]):
            self.refused(*words, cwd=self.odd)
            self.refused(*words, "--lake", self.odd)
            self.refused(*words, b"--lake=" + self.odd)
            self.refused(*words, TARN_LAKE=self.odd)
        # A lake that is named from / needs no working directory.
        self.assertEqual(self.call("status", "--lake", str(lake.directory), cwd=self.odd)[0], 0)
        self.assertEqual(self.call("status", cwd=self.odd, TARN_LAKE=str(lake.directory))[0], 0)
        self.assertEqual(self.call("--version", cwd=self.odd)[0], 0)
        # Files are not looked for under another name, either.
        self.refused("source", "add", "images", "--directory", self.odd, "--lake", str(lake.directory))

    def test_a_directory_that_is_gone_is_not_the_root(self) -> None:
        gone = pathlib.Path(self.scratch, "gone")
        for words in (["init"], ["init", "lake"], ["status"]):
            gone.mkdir()
            status, told, said = self.call(*words, cwd=os.fsencode(gone), shell=f"rmdir '{gone}'; exec")
            self.assertEqual((status, told, said.count("\n")), (USAGE, "", 1), said)
            self.assertIn("the working directory cannot be told", said)
        self.assertFalse(pathlib.Path("/catalog.sqlite").exists())
        lake = self.new_lake()
        gone.mkdir()
        done = self.call(
            "source", "add", "images", "--directory", str(FEATURES / "img_emb"), "--lake", str(lake.directory),
            cwd=os.fsencode(gone), shell=f"rmdir '{gone}'; exec")
        self.assertEqual(done[0], 0, done)
