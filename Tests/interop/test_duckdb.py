"""The catalog in DuckDB and pandas: every view answers there as it does in SQLite."""

import contextlib
import datetime
import importlib.util
import io
import math
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

import duckdb

from hubserver import Hub
from support import DIMENSION, FEATURES, ROOT, SHARDS, TARN, Lake, Nginx, environment

SCANNER = pathlib.Path(importlib.util.find_spec("duckdb_extension_sqlite_scanner").origin).parent
# DuckDB has no function of time that this view needs, and has SQLite run it.
RUN_BY_SQLITE = {"v_location"}
TYPES = {"integer": "BIGINT", "real": "DOUBLE", "text": "VARCHAR"}


def load_scanner() -> str:
    """The statement that loads the extension from PyPI, which needs no network."""
    (file,) = SCANNER.glob("extensions/*/sqlite_scanner.duckdb_extension")
    return f"LOAD '{file}'"


class DuckDB(unittest.TestCase):
    """One lake with a row or more in every view."""

    maxDiff = 2000

    @classmethod
    def setUpClass(cls) -> None:
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="tarn-test-"))
        cls.addClassCleanup(shutil.rmtree, scratch, ignore_errors=True)
        cls.lake = Lake(scratch / "lake")
        subprocess.run(
            [str(TARN), "init", str(cls.lake.directory)], env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, check=True, timeout=60)
        server = Nginx(FEATURES, None)
        cls.addClassCleanup(server.stop)
        hub = Hub()
        cls.addClassCleanup(hub.stop)
        hub.commit({"one.npy": b"not asked for", "README.md": b"# features"})
        cls.fill(cls.lake, server.url, hub.url)

    @staticmethod
    def fill(lake: Lake, url: str, hub: str) -> None:
        for name, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            # The first mirror has no directory of that name, so the second is asked.
            lake.run(
                "source", "add", name, "--url", f"{url}/none/{kind}_{{ordinal:04}}.npy",
                "--mirror", f"{url}/{kind}/{kind}_{{ordinal:04}}.npy", "--count", SHARDS,
                "--dimension", DIMENSION, "--dtype", "float16", "--modality", modality)
        lake.run(
            "source", "add", "nowhere", "--url", f"{url}/none_{{ordinal}}.npy", "--count", 2, "--dimension", DIMENSION,
            "--dtype", "float16")
        lake.run(
            "source", "add", "listed", "--listing", "hf://datasets/org/set", "--match", "*.npy", "--dimension", DIMENSION,
            "--dtype", "float16", HF_ENDPOINT=hub)
        copy = "import shutil, sys; print('a copy'); shutil.copy(sys.argv[1], sys.argv[2])"
        lake.run(
            "source", "add", "made", "--url", f'command:{sys.executable} -c "{copy}" {{input}} {{output}}',
            "--input", FEATURES / "img_emb" / "img_emb_{ordinal:04}.npy", "--count", 1, "--shard-names",
            "made_{ordinal}.npy", "--dimension", DIMENSION, "--dtype", "float16")
        lake.run("sync", "made", "--allow-commands")
        lake.run("sync", "images", "captions")
        lake.run("source", "probe", "images")
        lake.train()
        lake.run(
            "train", "plain", "--method", "kmeans", "--router", "none", "--images", "images", "--nlist", 16,
            "--iterations", 2, "--codec", "flat")
        lake.build()
        lake.run("build", "plain", "--trained", "plain", "--images", "images", "--shards-per-output", 4)
        lake.run(
            "evaluate", "clips@1", "--queries", FEATURES / "text_emb" / "text_emb_0000.npy", "-k", 10, "--nprobe", "1,4")
        lake.run("push", "clips@1", lake.directory.parent / "a 'place'")
        for version in ("clips@1", "plain@1"):
            lake.run("pin", version, "--reason", "it's good")
        lake.run("unpin", "plain@1")
        lake.run("revoke", "plain@1", "--reason", "a test")
        # The built version holds it.
        taken = lake.directory.parent / "taken.txt"
        taken.write_text("7\n")
        lake.run("exclude", "images", "--ids", taken, "--reason", "a test")
        lake.run("limit", "20MB/s")
        notes = lake.directory.parent / "notes"
        notes.mkdir()
        for row in lake.rows("SELECT ordinal, rows FROM v_shard WHERE source = 'images'"):
            # One is misaligned.
            (notes / f"note_{row['ordinal']}.txt").write_text("a note\n" * (row["rows"] - (row["ordinal"] == 1)))
        lake.run("source", "add", "notes", "--companion-of", "images", "--directory", notes)
        lake.run("sync", "notes")
        lake.run("pack", "notes", exits=20)
        values = lake.directory.parent / "values.txt"
        values.write_text("it's gone\n")
        lake.run("exclude", "images", "--match", "text", "--values", values, "--reason", "a test")

    def attach(self) -> duckdb.DuckDBPyConnection:
        db = duckdb.connect()
        self.addCleanup(db.close)
        db.execute(load_scanner())
        db.execute(f"ATTACH '{self.lake.directory}/catalog.sqlite' AS lake (TYPE sqlite, READ_ONLY)")
        return db

    def test_every_view_has_the_values_that_sqlite_gives(self) -> None:
        lake, db = self.lake, self.attach()
        names = [row["name"] for row in lake.rows("SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name")]
        self.assertGreaterEqual(len(names), 15)
        sqlite = sqlite3.connect(f"file:{lake.directory}/catalog.sqlite?mode=ro", uri=True)
        self.addCleanup(sqlite.close)
        for view in names:
            answer = db.execute(f"SELECT * FROM lake.{view}")
            columns = [(column[0], str(column[1])) for column in answer.description]
            rows = answer.fetchall()
            cursor = sqlite.execute(f"SELECT * FROM {view}")
            self.assertEqual([name for name, _ in columns], [column[0] for column in cursor.description], view)
            expected = cursor.fetchall()
            self.assertTrue(expected, f"{view} has no row to compare")
            for name, type_name in columns:
                with self.subTest(view=view, column=name):
                    found = {kind for (kind,) in sqlite.execute(f'SELECT DISTINCT typeof("{name}") FROM {view}')}
                    kinds = {TYPES[kind] for kind in found - {"null"}} or {type_name}
                    self.assertEqual({"VARCHAR"} if view in RUN_BY_SQLITE else kinds, {type_name})
            if view in RUN_BY_SQLITE:
                rows = [tuple(map(self.typed, row, like)) for row, like in zip(sorted(rows, key=str), sorted(expected, key=str))]
            self.assertEqual(sorted(rows, key=str), sorted(expected, key=str), view)

    def typed(self, text: str | None, like: object) -> object:
        """A text as SQLite has it, where that is a number.

        DuckDB brings a SQLite of another release, which rounds a time in the middle of two milliseconds the other
        way: in a rate of a transfer that took ten of them, a tenth; in a time that is a day later, the last digit.
        """
        if text is None or like is None:
            return text
        if isinstance(like, str):
            return like if self.moment(text) is not None and abs(self.moment(text) - (self.moment(like) or 0)) < 0.0015 else text
        if isinstance(like, int):
            return int(text)
        return like if math.isclose(float(text), like, rel_tol=0.5) else float(text)

    @staticmethod
    def moment(text: str) -> float | None:
        """A time of the catalog's in seconds; None for any other text."""
        try:
            return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").timestamp()
        except ValueError:
            return None

    def test_a_condition_finds_the_same_rows(self) -> None:
        lake, db = self.lake, self.attach()
        for question in (
            "SELECT shard, url FROM {}v_shard WHERE source = 'images' AND ordinal = 3",
            "SELECT source, shard FROM {}v_shard WHERE state = 'registered' ORDER BY shard",
            "SELECT version, is_pinned FROM {}v_version WHERE is_pinned = 1",
            "SELECT kind, count(*) FROM {}v_garbage GROUP BY kind ORDER BY kind",
            "SELECT sha256 FROM {}v_version_input WHERE version = 'clips@1' AND is_present = 1 ORDER BY input",
            'SELECT verb, count(*) FROM {}v_event WHERE "at" > \'2026\' GROUP BY verb ORDER BY verb',
        ):
            with self.subTest(question=question):
                with sqlite3.connect(f"file:{lake.directory}/catalog.sqlite?mode=ro", uri=True) as sqlite:
                    expected = sqlite.execute(question.format("")).fetchall()
                self.assertTrue(expected)
                self.assertEqual(db.execute(question.format("lake.")).fetchall(), expected)
        question = "SELECT sum(julianday(ended_at) >= julianday(started_at)) AS n FROM v_transfer"
        self.assertEqual(
            db.execute("SELECT n FROM sqlite_query('lake', ?)", [question]).fetchall(),
            [(str(lake.rows(question)[0]["n"]),)])

    def test_duckdb_lists_the_whole_catalog(self) -> None:
        lake, db = self.lake, self.attach()
        functions = db.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table'"
            " AND function_name LIKE 'duckdb_%' AND len(parameters) = 0").fetchall()
        views = db.execute("SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE internal").fetchall()
        listings = [f"FROM {name}()" for (name,) in functions] + [f"FROM {name}" for (name,) in views]
        self.assertIn("FROM duckdb_indexes()", listings)
        self.assertIn("FROM information_schema.tables", listings)
        for listing in [*listings, "SHOW ALL TABLES", "SHOW TABLES FROM lake"]:
            with self.subTest(listing=listing):
                db.execute(listing).fetchall()
        entries = {"table": "duckdb_tables() SELECT table_name", "view": "duckdb_views() SELECT view_name",
                   "index": "duckdb_indexes() SELECT index_name"}
        for kind, listing in entries.items():
            listed = {name for (name,) in db.execute(f"FROM {listing} WHERE database_name = 'lake'").fetchall()}
            named = lake.rows("SELECT name FROM sqlite_master WHERE type = ? AND sql <> ''", kind)
            self.assertEqual(listed, {row["name"] for row in named})

    def test_the_examples_of_the_documentation_run(self) -> None:
        lake = self.lake
        section = (ROOT / "docs" / "SQL.md").read_text().split("## DuckDB and pandas")[1].split("\n## ")[0]
        examples = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        self.assertEqual(len(examples), 2)
        said = []
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(lake.directory)
        for example in examples:
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(example.replace("LOAD sqlite", load_scanner().replace('"', "")), {})
            said.append(output.getvalue())
        (held,) = lake.rows("SELECT sum(bytes) AS bytes FROM v_shard WHERE source = 'images' AND state = 'present'")
        for output in said:
            self.assertRegex(output, rf"images.*\b{held['bytes']}\b")
