"""`make install` and `make uninstall`, into directories of the test's own."""

import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import unittest

from support import ROOT, TARN, environment

LIST = "share/tarn/installed.txt"


def tree(directory: pathlib.Path) -> set[str]:
    """What lies below a directory and is no directory itself, links among it."""
    return {
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_symlink() or not path.is_dir()}


class Install(unittest.TestCase):
    def setUp(self) -> None:
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="tarn-install-test-")).resolve()
        self.addCleanup(shutil.rmtree, self.scratch)
        self.prefix = self.scratch / "prefix"

    def run_it(self, *command: object, exits: int = 0, umask: int = -1, **environ: str) -> subprocess.CompletedProcess:
        steering = ("PREFIX", "DESTDIR", "TOOLS", "ZSH_FUNCTIONS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
        inherited = {name: value for name, value in environment().items() if name not in steering}
        done = subprocess.run(
            list(map(str, command)), env=inherited | environ, umask=umask, cwd=self.scratch,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, exits, f"{command}\n{done.stdout}{done.stderr}")
        return done

    def script(self, verb: str, **options) -> subprocess.CompletedProcess:
        return self.run_it(
            ROOT / "scripts" / "install.sh", verb,
            **{"PREFIX": str(self.prefix), "TOOLS": str(TARN.resolve().parent), **options})

    def lay(self, *places: str) -> None:
        """An older version with files at these places, beside files of others."""
        for place in (*places, "bin/other", "share/tarn/docs/other.md"):
            path = self.prefix / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("old")
        (self.prefix / LIST).write_text("".join(f"{place}\n" for place in places))

    def test_a_prefix_has_a_space(self) -> None:
        prefix = self.scratch / "a b"
        tools = self.scratch / "its tools"
        tools.symlink_to(TARN.resolve().parent)
        make = ["make", "--no-print-directory", "-C", ROOT]
        self.run_it(*make, "install", f"PREFIX={prefix}", f"TOOLS={tools}")
        self.assertIn("tarn ", self.run_it(prefix / "bin" / "tarn", "--version").stdout)
        self.assertEqual(tree(self.scratch) - {"its tools"}, {f"a b/{place}" for place in tree(prefix)})
        self.run_it(*make, "uninstall", f"PREFIX={prefix}")
        self.assertEqual(tree(prefix), set())
        self.run_it(*make, "install", "PREFIX=/usr", f"DESTDIR={self.scratch / 'c d'}", f"TOOLS={tools}")
        self.assertIn("usr/bin/tarn", tree(self.scratch / "c d"))

    def test_what_is_not_built_is_named_and_nothing_is_built(self) -> None:
        tools = self.scratch / "tools"
        tools.mkdir()
        (tools / "tarn").symlink_to(TARN.resolve())
        done = self.run_it(
            "make", "--no-print-directory", "-C", ROOT, "MAKE=false", "install", f"PREFIX={self.prefix}", f"TOOLS={tools}",
            exits=2)
        self.assertIn(f"{tools}/tarn-adopt is not built; run: make tool", done.stderr)
        self.assertFalse(self.prefix.exists())

    def test_directories_that_were_made_go_with_their_last_file(self) -> None:
        # What was there stays, empty or not; a second installation forgets nothing.
        for made in (False, True):
            if made:
                (self.prefix / "share/man").mkdir(parents=True)
            before = set(self.prefix.rglob("*"))
            for _ in range(2):
                self.script("install")
            self.script("uninstall")
            self.assertEqual(self.prefix.exists(), made)
            self.assertEqual(set(self.prefix.rglob("*")), before)

    def test_relative_directories_and_a_narrow_umask(self) -> None:
        (self.scratch / "tools").symlink_to(TARN.resolve().parent)
        (self.scratch / "temporary").mkdir()
        # A directory that was there keeps its mode.
        (self.scratch / "to" / "usr" / "share").mkdir(parents=True)
        (self.scratch / "to" / "usr" / "share").chmod(0o700)
        self.script("install", PREFIX="/usr", DESTDIR="to", TOOLS="tools", TMPDIR="temporary", umask=0o077)
        self.assertEqual({path.name for path in self.scratch.iterdir()}, {"to", "tools", "temporary"})
        self.assertEqual(list((self.scratch / "temporary").iterdir()), [])
        usr = self.scratch / "to" / "usr"
        self.assertEqual(tree(usr), {*(usr / LIST).read_text().split("\n"), LIST} - {""})
        for path in usr.rglob("*"):
            mode = stat.S_IMODE(path.lstat().st_mode)
            if path == usr / "share":
                self.assertEqual(mode, 0o700)
            elif path.is_dir():
                self.assertEqual(mode, 0o755, path)
            elif not path.is_symlink():
                self.assertIn(mode, (0o644, 0o755), path)

    def test_what_only_the_older_version_had_goes(self) -> None:
        # One of its files stands where there is a directory now.
        self.lay("bin/tarn-old", "share/tarn/docs/old/gone.md", "share/fish")
        self.script("install")
        listed = (self.prefix / LIST).read_text().split()
        others = {"bin/other", "share/tarn/docs/other.md"}
        self.assertEqual(tree(self.prefix), {*listed, LIST, *others})
        self.assertNotIn("bin/tarn-old", listed)
        self.assertFalse((self.prefix / "share/tarn/docs/old").exists())
        self.script("uninstall")
        self.assertEqual(tree(self.prefix), others)

    def test_an_installation_that_was_killed_can_be_taken_away(self) -> None:
        self.lay("bin/tarn-old", "share/man/man1/tarn-old.1.gz")
        programs = self.scratch / "programs"
        programs.mkdir()
        (programs / "install").write_text(
            '#!/bin/sh\ncase "$*" in *completions/tarn) kill -9 "$PPID"; exit 1;; esac\n'
            f'exec {shutil.which("install")} "$@"\n')
        (programs / "install").chmod(0o755)
        self.script("install", exits=-9, PATH=f"{programs}:{os.environ['PATH']}", TMPDIR=str(programs))
        self.assertIn("libexec/tarn/tarn", tree(self.prefix))
        self.script("uninstall")
        self.assertEqual(tree(self.prefix), {"bin/other", "share/tarn/docs/other.md"})

    def test_nothing_is_written_where_something_is_in_the_way(self) -> None:
        (self.prefix / "bin/tarn").mkdir(parents=True)
        done = self.script("install", exits=1)
        self.assertIn(f"{self.prefix}/bin/tarn is a directory", done.stderr)
        self.assertEqual(sorted(map(str, self.prefix.rglob("*"))), [f"{self.prefix}/bin", f"{self.prefix}/bin/tarn"])
        (self.prefix / "bin/tarn").rmdir()
        (self.prefix / "share").mkdir()
        (self.prefix / "share/man").write_text("mine")
        done = self.script("install", exits=1)
        self.assertIn(f"{self.prefix}/share/man is not a directory", done.stderr)
        self.assertEqual(tree(self.prefix), {"share/man"})

    def test_uninstall_goes_on_after_what_it_cannot_remove(self) -> None:
        self.lay("bin/tarn-a", "bin/tarn-b", "bin/tarn-c")
        (self.prefix / "bin/tarn-b").unlink()
        (self.prefix / "bin/tarn-b").mkdir()
        done = self.script("uninstall", exits=1)
        self.assertIn(f"could not be removed:\n  {self.prefix}/bin/tarn-b\n", done.stderr)
        self.assertEqual(tree(self.prefix), {"bin/other", "share/tarn/docs/other.md", LIST})
        self.assertEqual((self.prefix / LIST).read_text(), "bin/tarn-b\n")
        (self.prefix / "bin/tarn-b").rmdir()
        self.script("uninstall")
        self.assertEqual(tree(self.prefix), {"bin/other", "share/tarn/docs/other.md"})

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_a_root_that_could_not_be_made_is_taken_away(self) -> None:
        project, temporary, tools = (self.scratch / name for name in ("project", "tmp", "tools"))
        for directory in (project / "dist", project / "scripts", temporary, tools):
            directory.mkdir(parents=True)
        for name in ("check-deb.sh", "bare_root.sh"):
            shutil.copy(ROOT / "scripts" / name, project / "scripts")
        for name in ("tarn_1_amd64.deb", "tarn-1-linux-x86_64.tar.gz"):
            (project / "dist" / name).write_bytes(b"")
        fake = tools / "debootstrap"
        # It fails in the middle, with what it had mounted.
        fake.write_text('#!/bin/sh\nmkdir -p "$3/proc" "$3/usr"\nmount -t tmpfs tmpfs "$3/proc"\necho cannot >&2\nexit 1\n')
        fake.chmod(0o755)
        done = self.run_it(
            project / "scripts" / "check-deb.sh", exits=1, TMPDIR=str(temporary), PATH=f"{tools}:{os.environ['PATH']}")
        self.assertIn("cannot", done.stderr)
        self.assertEqual(list(temporary.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
