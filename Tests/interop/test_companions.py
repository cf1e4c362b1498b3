"""Companions as pyarrow writes them: every value of every row, packed or not, and the join that users do themselves in DuckDB."""

import json
import unittest
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from support import USAGE, LakeTest

COUNT, SHARDS = 50, 2
# Columns that are not read, and what they are.
LEFT_OUT = {"boxes": "a list of lists", "tags": "a list", "size": "a struct", "price": "of the type DECIMAL"}


def table(shard):
    """One shard's rows, of every flat kind, and some that are left out."""
    rows = range(COUNT)
    return pa.table({
        "url": [None if row % 7 == 3 else f"https://host/{shard}/{row}.jpg" for row in rows],
        "caption": [f"ünïcode {row}\n\"quoted\", line {shard}" for row in rows],
        "width": pa.array([row * 37 for row in rows], pa.int32()), "key": pa.array([2**63 + row for row in rows], pa.uint64()),
        "similarity": pa.array([row / 10 for row in rows], pa.float32()), "score": pa.array([row / 3 for row in rows], pa.float64()),
        "safe": pa.array([row % 2 == 0 for row in rows]),
        "seen": pa.array([1_700_000_000_000_000 + row for row in rows], pa.timestamp("us")),
        "day": pa.array([row - 20 for row in rows], pa.date32()), "sha": pa.array([bytes([row] * 4) for row in rows], pa.binary(4)),
        "boxes": [[[0.5, 1.0]]] * COUNT, "tags": [["a"]] * COUNT, "size": [{"width": row, "height": 2} for row in rows],
        "price": pa.array([Decimal(row) / 4 for row in rows], pa.decimal128(9, 2)),
    })


def expected(shard, row):
    """What tarn shows of a row."""
    values = {name: column[row].as_py() for name, column in zip(table(shard).column_names, table(shard).columns)}
    for name in LEFT_OUT:
        del values[name]
    values["key"] = str(values["key"])
    values["similarity"] = float(str(np.float32(values["similarity"])))
    values["seen"] = values["seen"].isoformat(timespec="microseconds")
    values["day"] = values["day"].isoformat()
    values["sha"] = values["sha"].hex()
    return values


class Companions(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        random = np.random.default_rng(5)
        for name in ("features", "meta"):
            (self.scratch / name).mkdir()
        for shard in range(SHARDS):
            rows = random.standard_normal((COUNT, 8)).astype(np.float32)
            np.save(self.scratch / "features" / f"img_{shard}.npy", rows / np.linalg.norm(rows, axis=1, keepdims=True))
            pq.write_table(table(shard), self.scratch / "meta" / f"meta_{shard}.parquet", row_group_size=17)
        self.lake = self.new_lake()
        self.lake.run("source", "add", "images", "--directory", self.scratch / "features")
        self.lake.run("source", "add", "meta", "--companion-of", "images", "--directory", self.scratch / "meta")
        self.lake.run("sync", "--quiet")
        self.lake.run("train", "t", "--images", "images", "--method", "kmeans", "--nlist", 2, "--quiet")
        self.lake.run("build", "v", "--trained", "t", "--images", "images", "--quiet")

    def located(self, *options: object) -> str:
        ids = self.scratch / "ids.npy"
        np.save(ids, np.arange(SHARDS * COUNT, dtype=np.int64))
        return self.lake.run("locate", "v@1", "--ids", ids, *options)

    def test_every_value_is_pyarrows(self):
        names = ",".join(expected(0, 0))
        for packed in (False, True):
            if packed:
                told = self.lake.run("pack", "meta").splitlines()
                self.assertEqual(
                    sorted(line for line in told if "left out" in line),
                    sorted(f"column {name} is left out: it is {what}" for name, what in LEFT_OUT.items()))
            lines = self.located("--columns", names, "--format", "jsonl").splitlines()
            for number, line in enumerate(lines):
                self.assertEqual(json.loads(line)["columns"], expected(*divmod(number, COUNT)), f"packed: {packed}")
            self.assertEqual(len(lines), SHARDS * COUNT)

    def test_a_column_that_is_not_read_is_called_what_it_is(self):
        for packed in (False, True):
            if packed:
                self.lake.run("pack", "meta", "--quiet")
            for name, what in LEFT_OUT.items():
                told = self.lake.attempt("locate", "v@1", "3", "--columns", f"url,{name}")
                self.assertEqual(told.returncode, USAGE, told.stderr)
                line = told.stderr.strip().splitlines()[-1]
                self.assertIn(f"column '{name}' of meta", line)
                self.assertIn(f"is not read: it is {what}", line)

    def test_a_name_that_no_companion_has_is_refused(self):
        """By the server at its start, too; and beside a companion that is not here."""
        late = self.scratch / "late"
        for is_beside in (False, True):
            if is_beside:
                late.mkdir()
                for shard in range(SHARDS):
                    (late / f"late_{shard}.jsonl").write_text("".join(f'{{"score": {row}}}\n' for row in range(COUNT)))
                self.lake.run("source", "add", "late", "--companion-of", "images", "--directory", late)
            for names, wrong in (("url,foo.url", "foo.url"), ("meta.zz", "meta.zz"), ("meta.late.score", "meta.late.score")):
                for verb in (["locate", "v@1", "3"], ["serve", "--listen", "127.0.0.1:0"]):
                    told = self.lake.attempt(*verb, "--columns", names)
                    self.assertEqual(told.returncode, USAGE, (verb, names, told.stderr))
                    # Before it, `locate` may tell of a pack that would make it quicker.
                    lines = told.stderr.strip().splitlines()
                    self.assertIn(f"has the column '{wrong}'", lines[-1])
                    self.assertEqual("late.NAME" in lines[-1], is_beside, told.stderr)
                    self.assertLessEqual(len(lines), 1 if verb[0] == "serve" else 3, told.stderr)
        # One that the absent companion may have is null, and told.
        told = self.lake.attempt("locate", "v@1", "3", "--columns", "late.score,score,other", "--format", "jsonl")
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertEqual(
            json.loads(told.stdout)["columns"], {"late.score": None, "score": expected(0, 3)["score"], "other": None})
        self.assertIn("tarn sync late", told.stderr)
        self.lake.run("sync", "late", "--quiet")
        told = self.lake.attempt("locate", "v@1", "3", "--columns", "late.score,other")
        self.assertEqual(told.returncode, USAGE, told.stdout)
        told = self.lake.attempt("source", "add", "more", "--companion-of", "images", "--directory", late, "--array", "x")
        self.assertEqual(told.returncode, USAGE, told.stderr)
        self.assertIn("no --array", told.stderr)

    def test_duckdb_joins_the_parquet_itself(self):
        places, meta = self.scratch / "ids.csv", self.scratch / "meta"
        places.write_text(self.located("--format", "csv"))
        rows = duckdb.connect().execute(f"""
            SELECT l.id, m.url, m.caption FROM read_csv('{places}') l
            JOIN (SELECT *, parse_filename(filename, true) AS name
                  FROM read_parquet('{meta}/*.parquet', filename = true, file_row_number = true)) m
              ON m.name = replace(replace(l.shard, 'img_', 'meta_'), '.npy', '') AND m.file_row_number = l.row
            ORDER BY l.id""").fetchall()
        self.assertEqual(len(rows), SHARDS * COUNT)
        for number, url, caption in rows:
            values = expected(*divmod(number, COUNT))
            self.assertEqual((url, caption), (values["url"], values["caption"]))


if __name__ == "__main__":
    unittest.main()
