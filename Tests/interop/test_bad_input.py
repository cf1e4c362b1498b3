"""Every bad input a user can meet: one line, the documented code, nothing changed."""

import json
import os
import pathlib
import shutil
import subprocess
import threading

import numpy as np

from support import (
    FAILURE, INPUTS_MISSING, INTEGRITY, NO_LAKE, TARN, USAGE, Lake, LakeTest, environment,
)

ROWS, DIMENSION = 40, 16


def features(seed: int, rows: int = ROWS, dimension: int = DIMENSION) -> np.ndarray:
    """Random rows of unit length, float16."""
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def npy_bytes(array: np.ndarray, directory: pathlib.Path) -> bytes:
    path = directory / "made.npy"
    np.save(path, array)
    data = path.read_bytes()
    path.unlink()
    return data


class BadInput(LakeTest):
    """Two sources of two shards each; what is bad is put in their way."""

    def setUp(self) -> None:
        super().setUp()
        self.web = self.scratch / "web"
        for number, name in enumerate(("images", "captions")):
            (self.web / name).mkdir(parents=True)
            for ordinal in range(2):
                np.save(self.web / name / f"{name}_{ordinal}.npy", features(10 * number + ordinal))
        self.server = self.serve(self.web)
        self.lake = self.new_lake()
        for name, modality in (("images", "image"), ("captions", "text")):
            self.add_source(name, modality)

    def add_source(self, name: str, modality: str) -> None:
        self.lake.run(*self.source_arguments(name, modality))

    def source_arguments(self, name: str, modality: str) -> tuple:
        return (
            "source", "add", name, "--url", f"{self.server.url}/{name}/{name}_{{ordinal}}.npy", "--count", 2,
            "--dimension", DIMENSION, "--dtype", "float16", "--modality", modality)

    def assert_one_line(self, done: subprocess.CompletedProcess, exits: int, *fragments: str) -> None:
        """The command failed with `exits` and one line on stderr that holds every fragment."""
        self.assertEqual(done.returncode, exits, f"stdout: {done.stdout}\nstderr: {done.stderr}")
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, f"not one line:\n{done.stderr}")
        for fragment in fragments:
            self.assertIn(fragment, lines[0])
        self.assertNotIn("Error Domain", lines[0])
        self.assertNotIn("CatalogError", lines[0])

    def assert_refused(self, arguments: tuple, exits: int, *fragments: str) -> None:
        """As `assert_one_line`; and no byte of the lake and no row of the catalog changed."""
        before = self.lake.state()
        self.assert_one_line(self.lake.attempt(*arguments), exits, *fragments)
        self.assertEqual(before, self.lake.state())

    def assert_bad_shard(self, data: bytes, *fragments: str) -> None:
        """Sync refuses these bytes as shard 1 of `images`; shard 0 arrives, nothing of shard 1 stays."""
        (self.web / "images" / "images_1.npy").write_bytes(data)
        self.assert_one_line(self.lake.attempt("sync", "images", "--quiet"), INTEGRITY, "images_1.npy", *fragments)
        rows = self.lake.rows("SELECT shard, state, revision FROM v_shard WHERE source = 'images' ORDER BY ordinal")
        self.assertEqual(rows, [
            {"shard": "images_0.npy", "state": "present", "revision": 1},
            {"shard": "images_1.npy", "state": "failed", "revision": None},
        ])
        self.assertFalse([name for name in self.lake.files() if "images_1" in name], "bad bytes were kept")
        # Once the server has good bytes, the same command mends it.
        np.save(self.web / "images" / "images_1.npy", features(1))
        self.lake.run("sync", "images")

    # Files

    def test_files_to_import_that_are_not_what_they_should_be(self) -> None:
        good = features(1)
        cases = {
            "not an npy": b"PK\x03\x04 something else",
            "truncated": npy_bytes(good, self.scratch)[:-100],
            "too long": npy_bytes(good, self.scratch) + b"more",
            "dimension": npy_bytes(features(1, dimension=8), self.scratch),
            "dtype": npy_bytes(good.astype(np.float64), self.scratch),
            "fortran": npy_bytes(np.asfortranarray(good), self.scratch),
            "empty": b"",
        }
        for name, data in cases.items():
            with self.subTest(name):
                path = self.scratch / "images_1.npy"
                path.write_bytes(data)
                self.assert_refused(("import", "images", path), INTEGRITY, "images_1.npy")

    def test_not_an_npy_file(self) -> None:
        self.assert_bad_shard(b"<html>404, but with status 200</html>" * 40)

    def test_a_truncated_npy_file(self) -> None:
        self.assert_bad_shard(npy_bytes(features(1), self.scratch)[:-100])

    def test_a_wrong_dimension(self) -> None:
        self.assert_bad_shard(npy_bytes(features(1, dimension=8), self.scratch), "8", "16")

    def test_a_wrong_dtype(self) -> None:
        self.assert_bad_shard(npy_bytes(features(1).astype(np.float64), self.scratch), "float16")

    def test_another_dtype_than_registered(self) -> None:
        self.assert_bad_shard(npy_bytes(features(1).astype(np.float32), self.scratch), "float32", "float16")

    def test_fortran_order(self) -> None:
        self.assert_bad_shard(npy_bytes(np.asfortranarray(features(1)), self.scratch), "Fortran")

    def test_an_empty_file(self) -> None:
        self.assert_bad_shard(b"")

    def test_training_rows_that_hold_a_nan(self) -> None:
        bad = features(1)
        bad[7, 3] = np.nan
        self.change_images_1(bad)
        self.lake.run("sync")
        files = self.lake.files()
        arguments = ("train", "t", "--images", "images", "--captions", "captions", "--nlist", 4)
        self.assert_one_line(self.lake.attempt(*arguments, "--quiet"), INTEGRITY, "images/images_1.", "row 7", "NaN")
        self.assertEqual(files, self.lake.files())
        self.assertEqual(self.lake.rows("SELECT 1 FROM v_trained_index WHERE state = 'ready'"), [])
        # With better bytes the same command works.
        self.change_images_1(features(1))
        self.lake.run("sync", "--refresh")
        self.lake.run(*arguments)

    def test_rows_to_build_that_hold_an_infinity(self) -> None:
        self.train()
        bad = features(5)
        bad[39, 0] = np.inf
        self.change_images_1(bad)
        self.lake.run("sync", "--refresh", "--replace")
        arguments = ("build", "v", "--trained", "t", "--images", "images")
        self.assert_one_line(self.lake.attempt(*arguments, "--quiet"), INTEGRITY, "images/images_1.", "row 39", "infin")
        self.assertEqual(self.lake.rows("SELECT * FROM v_version WHERE state = 'sealed'"), [])
        self.assertEqual(self.lake.rows("SELECT * FROM v_output_shard"), [])
        self.change_images_1(features(5))
        self.lake.run("sync", "--refresh", "--replace")
        self.lake.run(*arguments)

    def change_images_1(self, rows: np.ndarray) -> None:
        """The server's shard 1 of `images` becomes another one."""
        path = self.web / "images" / "images_1.npy"
        later = path.stat().st_mtime + 3600
        np.save(path, rows)
        # nginx's ETag is the time and the size: the size is the same, so the time must not be.
        os.utime(path, (later, later))

    # Arguments

    def train(self) -> None:
        self.lake.run("sync")
        self.lake.run("train", "t", "--images", "images", "--captions", "captions", "--nlist", 4)

    def test_sources_of_different_row_counts(self) -> None:
        np.save(self.web / "captions" / "captions_1.npy", features(11, rows=ROWS - 1))
        self.lake.run("sync")
        arguments = ("train", "t", "--images", "images", "--captions", "captions", "--nlist", 4)
        self.assert_refused(arguments, USAGE, "captions", "images", "39", "40")

    def test_more_lists_than_training_rows(self) -> None:
        self.lake.run("sync")
        arguments = ("train", "t", "--images", "images", "--captions", "captions", "--nlist", 2 * ROWS + 1)
        self.assert_refused(arguments, USAGE, "81", "80")

    def test_an_unknown_source(self) -> None:
        self.assert_refused(("sync", "nowhere"), USAGE, "nowhere")
        self.lake.run("sync")
        self.assert_refused(
            ("train", "t", "--images", "images", "--captions", "nowhere", "--nlist", 4), USAGE, "nowhere")

    def test_an_unknown_trained_index(self) -> None:
        self.assert_refused(("build", "v", "--trained", "nothing", "--images", "images"), USAGE, "nothing")

    def test_an_unknown_version(self) -> None:
        self.assert_refused(("reproduce", "nothing@1"), USAGE, "nothing@1")

    def test_a_second_source_of_the_same_name(self) -> None:
        self.assert_refused(self.source_arguments("images", "text"), USAGE, "images")

    def test_shards_that_are_not_here(self) -> None:
        arguments = ("train", "t", "--images", "images", "--captions", "captions", "--nlist", 4)
        self.assert_refused(arguments, INPUTS_MISSING, "tarn sync")

    # Lakes

    def test_no_lake(self) -> None:
        nowhere = self.scratch / "nowhere"
        nowhere.mkdir()
        done = subprocess.run(
            [str(TARN), "status"], cwd=nowhere, env=environment(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60)
        self.assert_one_line(done, NO_LAKE, "tarn init")
        self.assertEqual(list(nowhere.iterdir()), [])
        done = Lake(nowhere).attempt("sync")
        self.assert_one_line(done, NO_LAKE, str(nowhere))
        self.assertEqual(list(nowhere.iterdir()), [])

    def test_a_read_only_lake(self) -> None:
        self.train()
        self.lake.run("build", "v", "--trained", "t", "--images", "images")
        # A user who may read the lake and not write it; root may write anything.
        binary = self.scratch / "tarn"
        shutil.copy(TARN, binary)
        as_reader: list[str] = []
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                self.skipTest("root may write a read-only lake, and there is no setpriv to become nobody")
            as_reader = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        self.scratch.chmod(0o755)
        for path in [self.lake.directory, *self.lake.directory.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        self.addCleanup(subprocess.run, ["chmod", "-R", "u+w", str(self.scratch)])

        def attempt(*arguments: object) -> subprocess.CompletedProcess:
            return subprocess.run(
                [*as_reader, str(binary), *map(str, arguments), "--lake", str(self.lake.directory), "--quiet"],
                env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, cwd="/")

        before = self.lake.state()
        for arguments in (
            self.source_arguments("more", "image"),
            ("sync", "--refresh"),
            ("train", "u", "--images", "images", "--captions", "captions", "--nlist", 3),
            ("build", "w", "--trained", "t", "--images", "images"),
        ):
            with self.subTest(arguments[0]):
                self.assert_one_line(attempt(*arguments), FAILURE, str(self.lake.directory))
        self.assertEqual(before, self.lake.state())
        # Who may only read makes a version again elsewhere, and is told how.
        self.assert_one_line(attempt("reproduce", "v@1"), FAILURE, "tarn export v@1")
        self.assertEqual(before, self.lake.state())
        # Reading needs no write.
        status = attempt("status")
        self.assertEqual(status.returncode, 0, status.stderr)
        if not as_reader:
            return
        # Nor is it held up, or misled, by another who writes.
        rates = [f"{number}MB/s" for number in range(10, 40)]

        def write() -> None:
            for rate in rates:
                self.lake.run("limit", rate)

        writer = threading.Thread(target=write)
        writer.start()
        told = []
        while writer.is_alive():
            found = attempt("sql", "SELECT value FROM v_setting WHERE setting = 'bwlimit'", "--json")
            self.assertEqual(found.returncode, 0, found.stderr)
            told += [row["value"] for row in json.loads(found.stdout)]
        writer.join()
        self.assertEqual(told, sorted(told), "what was read went back in time")
        self.assertTrue(told, "nothing was read meanwhile")


