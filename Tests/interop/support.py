"""What the interop tests share: running tarn, looking into a lake, making features."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEATURES = ROOT / "Examples" / "features"
TARN = pathlib.Path(os.environ.get("TARN", ROOT / ".build" / "release" / "tarn"))
SHARDS = 6
DIMENSION = 512
NLIST = 64

# Exit codes of the command line; `tarn --help` lists them.
FAILURE, PARTIAL, NO_LAKE, LOCKED = 1, 3, 10, 11
INTEGRITY, INPUTS_MISSING, DIFFERS, USAGE = 20, 21, 24, 64

sys.path.insert(0, str(ROOT / "scripts"))
from webserver import Nginx  # noqa: E402


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would steer tarn, plus `changes`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TARN_")}
    return {**kept, **changes}


def shown_by_ps(pid: int) -> str:
    """What every user of the machine sees of a process, its threads and all that they began."""
    process = pathlib.Path("/proc", str(pid))
    text = (process / "cmdline").read_text().replace("\0", " ") + "\n"
    for thread in (process / "task").iterdir():
        text += (thread / "comm").read_text()
        for child in (thread / "children").read_text().split():
            text += shown_by_ps(int(child))
    return text


class Lake:
    """A lake in a directory, and the tarn binary at work on it."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory

    def command(self, *arguments: object) -> list[str]:
        # A server that fails in a test fails for good, unless the test is of patience.
        asks = (arguments[0] in ("sync", "build") or arguments[:2] in (("source", "probe"), ("source", "add"))
                or arguments[0] == "verify" and "--repair" in arguments)
        asks = asks and not {"--patience", "--offline"} & set(arguments)
        patience = ["--patience", "0"] if asks else []
        return [str(TARN), *map(str, arguments), *patience, "--lake", str(self.directory)]

    def attempt(self, *arguments: object, **environ: str) -> subprocess.CompletedProcess:
        """Runs tarn to its end, however it ends."""
        return subprocess.run(
            self.command(*arguments), env=environment(**environ), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300, cwd=self.directory.parent)

    def run(self, *arguments: object, exits: int = 0, **environ: str) -> str:
        """Runs tarn, which must exit with `exits`; gives its standard output."""
        done = self.attempt(*arguments, **environ)
        if done.returncode != exits:
            raise AssertionError(
                f"{' '.join(self.command(*arguments))}\nexited with {done.returncode}, not {exits}\n"
                f"stdout: {done.stdout}\nstderr: {done.stderr}")
        return done.stdout

    def rows(self, query: str, *parameters: object) -> list[dict]:
        """The answer to an SQL query, straight from the catalog file."""
        # Closed, and not left to the collector: an open catalog keeps its room.
        with contextlib.closing(sqlite3.connect(f"file:{self.directory}/catalog.sqlite?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, parameters)]

    def tables(self) -> dict[str, list[tuple]]:
        """Every row of every table, in key order."""
        dump = {}
        with sqlite3.connect(f"file:{self.directory}/catalog.sqlite?mode=ro", uri=True) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in names:
                dump[name] = sorted(connection.execute(f'SELECT * FROM "{name}"'), key=repr)
        return dump

    def files(self) -> dict[str, str]:
        """Digest and inode of every file by path.

        Left out are the database's own, whose rows `tables` compares, and the lock,
        which says which command held it last.
        """
        found = {}
        for path in sorted(self.directory.rglob("*")):
            if path.is_file() and path.name != "tarn.lock" and not path.name.startswith("catalog.sqlite"):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(self.directory))] = f"{digest} inode {path.stat().st_ino}"
        return found

    def state(self) -> tuple[dict, dict]:
        return self.tables(), self.files()

    def outputs(self, version: str) -> list[pathlib.Path]:
        """The FAISS files of a version, in order."""
        name = version.split("@")[0]
        return sorted((self.directory / "versions" / version).glob(f"{name}.*.faiss"))

    def trained_path(self, name: str) -> pathlib.Path:
        (row,) = self.rows("SELECT path FROM v_trained_index WHERE trained_index = ?", name)
        (lake,) = self.rows("SELECT artifacts_directory FROM lake")
        return self.directory / lake["artifacts_directory"] / row["path"]

    def add_examples(self, url: str, *options: object) -> None:
        """Registers the example features, served at `url`, as `images` and `captions`."""
        for name, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            self.run(
                "source", "add", name, "--url", f"{url}/{kind}/{kind}_{{ordinal:04}}.npy", "--count", SHARDS,
                "--dimension", DIMENSION, "--dtype", "float16", "--modality", modality, *options)

    def train(self, name: str = "clip", *options: object) -> None:
        self.run(
            "train", name, "--images", "images", "--captions", "captions", "--nlist", NLIST,
            "--iterations", 10, "--seed", 1, *options)

    def build(self, name: str = "clips", **environ: str) -> None:
        self.run("build", name, "--trained", "clip", "--images", "images", "--shards-per-output", 2, **environ)


class LakeTest(unittest.TestCase):
    """A test with a scratch directory that goes when it ends."""

    maxDiff = 2000

    def setUp(self) -> None:
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="tarn-test-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def serve(self, root: pathlib.Path, locations: str | None = None) -> Nginx:
        server = Nginx(root, locations)
        self.addCleanup(server.stop)
        return server

    def new_lake(self, name: str = "lake") -> Lake:
        lake = Lake(self.scratch / name)
        done = subprocess.run(
            [str(TARN), "init", str(lake.directory)], env=environment(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return lake

    def built_lake(self, url: str) -> Lake:
        """A lake with the examples synced, trained on and built as clips@1."""
        lake = self.new_lake()
        lake.add_examples(url, "--sizes", FEATURES / "sizes.txt", "--sha256", FEATURES / "sha256sums.txt")
        lake.run("sync")
        lake.train()
        lake.build()
        return lake


def example(kind: str) -> np.ndarray:
    """All rows of `img_emb` or `text_emb` in shard order, binary64 `[3600 × 512]`."""
    parts = [np.load(path) for path in sorted((FEATURES / kind).glob("*.npy"))]
    return np.concatenate(parts).astype(np.float64)


def json_lines(text: str) -> list:
    """What `--json` printed: one document, or one a line."""
    try:
        document = json.loads(text)
        return document if isinstance(document, list) else [document]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
