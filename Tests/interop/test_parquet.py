"""Parquet files of other writers: every value is the one that their own readers give."""

import datetime
import itertools
import json
import math
import os
import pathlib
import subprocess

import duckdb
import fastparquet
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from support import TARN, LakeTest

BENCH = pathlib.Path(os.environ.get("TARN_BENCH", TARN.parent / "tarn-bench"))
ROWS, DIMENSION = 700, 12


class Reader:
    """tarn's reader, which answers a line with a line."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [BENCH, "parquet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, *words: object) -> dict:
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the reader ended with {self.process.wait()} at {words}")
        return json.loads(line)

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def plain(value: object) -> object:
    """A value as the reader's lines have it."""
    if isinstance(value, (list, np.ndarray)):
        return [plain(element) for element in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, datetime.datetime):
        return (value - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
    if isinstance(value, datetime.date):
        return (value - datetime.date(1970, 1, 1)).days
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 63:
        return str(value)
    return value


def with_nulls(values: list, are_there: bool, random: np.random.Generator) -> list:
    return [None if are_there and random.random() < 0.3 else value for value in values]


def flat_columns(nulls: bool) -> pa.Table:
    """A column of every flat type that is read; few distinct values and many."""
    random = np.random.default_rng(7)
    few = random.integers(0, 9, ROWS)
    many = random.integers(-(1 << 62), 1 << 62, ROWS)
    floats = random.standard_normal(ROWS)
    floats[:3] = [math.nan, math.inf, -0.0]
    values = {
        "bool": (pa.bool_(), [bool(v & 1) for v in few]),
        "run of bool": (pa.bool_(), [row > 300 for row in range(ROWS)]),
        "int8": (pa.int8(), [int(v) - 4 for v in few]),
        "uint8": (pa.uint8(), [int(v) + 200 for v in few]),
        "int32": (pa.int32(), [int(v >> 32) for v in many]),
        "uint32": (pa.uint32(), [int(v >> 32) & 0xFFFFFFFF for v in many]),
        "int64": (pa.int64(), [int(v) for v in many]),
        "uint64": (pa.uint64(), [int(v) * 2 & (1 << 64) - 1 for v in many]),
        "float": (pa.float32(), [float(v) for v in floats.astype(np.float32)]),
        "double": (pa.float64(), [float(v) for v in floats]),
        "half": (pa.float16(), list(floats.astype(np.float16))),
        "text": (pa.string(), [f"caption {v} ünï {'x' * int(v)}" for v in few]),
        "url": (pa.string(), [f"https://host.example/{v:x}.jpg" if v > 0 else "" for v in many]),
        "binary": (pa.binary(), [int(v & 0xFFFF).to_bytes(2, "big") * int(w) for v, w in zip(many, few)]),
        "sha": (pa.binary(5), [int(v & 0xFFFFFFFFFF).to_bytes(5, "big") for v in many]),
        "day": (pa.date32(), [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(v)) for v in few]),
        "time": (pa.timestamp("us"), [datetime.datetime(2021, 5, 1) + datetime.timedelta(seconds=int(v)) for v in few]),
        "nothing": (pa.int32(), [None if nulls else 1] * ROWS),
    }
    if nulls:
        values["no type"] = (pa.null(), [None] * ROWS)
    return pa.table(
        [pa.array(with_nulls(values, nulls, random), kind) for kind, values in values.values()],
        schema=pa.schema([pa.field(name, kind, nullable=nulls) for name, (kind, _) in values.items()]))


def list_columns(nulls: bool) -> pa.Table:
    """Lists of features, all whole, and lists of anything, some of them null or empty."""
    random = np.random.default_rng(8)
    features = random.standard_normal((ROWS, DIMENSION))
    repeated = features.round()
    ragged = [list(range(int(n))) for n in random.integers(0, 30, ROWS)]
    kinds = {
        "list": (pa.list_(pa.field("element", pa.float32(), nullable=nulls)), features.astype(np.float32).tolist()),
        "large": (pa.large_list(pa.field("element", pa.float64(), nullable=nulls)), features.tolist()),
        "halves": (pa.list_(pa.field("element", pa.float16(), nullable=nulls)), list(features.astype(np.float16))),
        "fixed": (pa.list_(pa.field("element", pa.float32(), nullable=nulls), DIMENSION), repeated.astype(np.float32).tolist()),
        "long": (pa.list_(pa.float32()), np.tile(repeated, 9).astype(np.float32).tolist()),
    }
    table = pa.table(
        [pa.array(values, kind) for kind, values in kinds.values()],
        schema=pa.schema([pa.field(name, kind, nullable=nulls) for name, (kind, _) in kinds.items()]))
    ints = with_nulls([with_nulls(row, nulls, random) for row in ragged], nulls, random)
    texts = with_nulls([with_nulls([f"tag {v}" for v in row], nulls, random) for row in ragged], nulls, random)
    return table.append_column("ints", pa.array(ints, pa.list_(pa.int32()))).append_column(
        "tags", pa.array(texts, pa.list_(pa.string())))


FEATURES = ("list", "large", "halves", "fixed", "long")


class Parquet(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        self.reader = Reader()
        self.addCleanup(self.reader.stop)
        self.path = self.scratch / "file.parquet"
        self.random = np.random.default_rng(9)

    def check_values(self, name: str, expected: list, words: object) -> None:
        expected = [plain(value) for value in expected]
        answer = self.reader.ask("values", self.path, name)
        self.assertEqual(answer.get("values"), expected, f"{name}: {words}: {answer.get('error')}")
        rows = self.random.integers(0, len(expected), 9).tolist()
        answer = self.reader.ask("values", self.path, name, ",".join(map(str, rows)))
        self.assertEqual(answer.get("values"), [expected[row] for row in rows], f"{name}: {words}: {rows}: {answer.get('error')}")

    def check_features(self, name: str, expected: np.ndarray, words: object) -> None:
        target = self.scratch / "floats"
        answer = self.reader.ask("floats", self.path, name, target)
        self.assertNotIn("error", answer, f"{name}: {words}")
        self.assertEqual((answer["rows"], answer["dimension"]), expected.shape)
        self.assertEqual(answer["dtype"], str(expected.dtype))
        self.assertEqual(target.read_bytes(), expected.tobytes(), f"{name}: {words}")
        rows = self.random.integers(0, len(expected), 9).tolist()
        answer = self.reader.ask("floats", self.path, name, target, ",".join(map(str, rows)))
        self.assertNotIn("error", answer, f"{name}: {words}: {rows}")
        self.assertEqual(target.read_bytes(), expected[rows].tobytes(), f"{name}: {words}: {rows}")

    def check(self, table: pa.Table, **options: object) -> None:
        """Writes a table with pyarrow, and holds what is read against what pyarrow reads."""
        pq.write_table(table, self.path, **options)
        found = pq.read_table(self.path)
        for name in table.column_names:
            values = found[name].to_pylist()
            self.check_values(name, values, options)
            if name in FEATURES:
                kind = found.schema.field(name).type.value_type.to_pandas_dtype()
                self.check_features(name, np.array(values, dtype=kind), options)

    def test_pages_codecs_dictionaries_and_nulls(self) -> None:
        tables = [make(nulls) for make in (flat_columns, list_columns) for nulls in (False, True)]
        for version, codec, dictionary, table in itertools.product(
                ("1.0", "2.0"), ("none", "snappy", "gzip", "zstd"), (True, False), tables):
            self.check(table, data_page_version=version, compression=codec, use_dictionary=dictionary)

    def test_sizes_of_pages_and_row_groups(self) -> None:
        tables = [flat_columns(True), list_columns(True)]
        for version, page, group, index, table in itertools.product(
                ("1.0", "2.0"), (64, 3000), (ROWS, 97), (True, False), tables):
            self.check(
                table, data_page_version=version, data_page_size=page, write_batch_size=16, row_group_size=group,
                write_page_index=index, write_page_checksum=index, use_dictionary=page > 64)

    def test_encodings(self) -> None:
        split = ["int32", "uint32", "int64", "uint64", "float", "double", "half", "sha", "day", "time"]
        delta = ["int8", "uint8", "int32", "uint32", "int64", "uint64", "day", "time", "nothing"]
        texts = ["text", "url", "binary"]
        for version, nulls in itertools.product(("1.0", "2.0"), (False, True)):
            for encoding, names in (
                    ("BYTE_STREAM_SPLIT", split), ("DELTA_BINARY_PACKED", delta), ("DELTA_LENGTH_BYTE_ARRAY", texts),
                    ("DELTA_BYTE_ARRAY", texts), ("RLE", ["bool", "run of bool"])):
                self.check(
                    flat_columns(nulls).select(names), data_page_version=version, use_dictionary=False,
                    column_encoding=dict.fromkeys(names, encoding), data_page_size=900, write_batch_size=32)
            lists = list_columns(nulls).select(FEATURES)
            leaves = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in FEATURES}
            self.check(
                lists, data_page_version=version, use_dictionary=False, column_encoding=leaves, compression="zstd")

    def test_older_names_of_elements(self) -> None:
        """The element had another name."""
        self.check(list_columns(True), use_compliant_nested_type=False, version="1.0")

    def test_one_row_and_none(self) -> None:
        for table in (flat_columns(False), flat_columns(True)):
            self.check(table.slice(0, 1))
            pq.write_table(table.slice(0, 0), self.path)
            for name in table.column_names:
                self.assertEqual(self.reader.ask("values", self.path, name), {"values": []})
        pq.write_table(list_columns(False).slice(0, 0), self.path)
        self.assertIn("has no rows", self.reader.ask("floats", self.path, "list")["error"])

    def test_what_duckdb_writes(self) -> None:
        for version, codec, size in itertools.product(("V1", "V2"), ("uncompressed", "snappy", "gzip", "zstd"), (2048, 122880)):
            with duckdb.connect() as connection:
                connection.execute(f"""
                    COPY (
                      SELECT i::INTEGER AS small, i * 1234567891011 AS large, (i % 7)::UTINYINT AS tiny,
                        CASE WHEN i % 3 = 0 THEN NULL ELSE 'caption ' || (i % 50) END AS text,
                        'https://host.example/' || md5(i::VARCHAR) AS url, i % 5 = 0 AS bool, i / 7 AS ratio,
                        (i / 3)::FLOAT AS score, md5(i::VARCHAR)::BLOB AS blob, DATE '2020-01-01' + i::INTEGER AS day,
                        list_transform(range(8), x -> sin(x * i)::FLOAT) AS list,
                        list_transform(range(8), x -> cos(x * i)::FLOAT)::FLOAT[8] AS fixed,
                        list_transform(range(i % 4), x -> 'tag ' || x) AS tags
                      FROM range(5000) t(i)
                    ) TO '{self.path}' (FORMAT parquet, PARQUET_VERSION {version}, COMPRESSION {codec}, ROW_GROUP_SIZE {size})
                    """)
                found = connection.execute(f"SELECT * FROM '{self.path}'").to_arrow_table()
            for name in found.column_names:
                self.check_values(name, found[name].to_pylist(), (version, codec, size))
            for name in ("list", "fixed"):
                self.check_features(
                    name, np.array(found[name].to_pylist(), dtype=np.float32), (version, codec, size))

    def test_what_fastparquet_writes(self) -> None:
        random = np.random.default_rng(10)
        for codec, nulls, groups in itertools.product(("UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"), (False, True), (0, 211)):
            frame = pd.DataFrame({
                "int": random.integers(-(1 << 40), 1 << 40, ROWS), "small": random.integers(0, 5, ROWS).astype(np.int8),
                "float": random.standard_normal(ROWS).astype(np.float32), "double": random.standard_normal(ROWS),
                "bool": random.random(ROWS) < 0.5,
                "text": with_nulls([f"caption {v}" for v in random.integers(0, 99, ROWS)], nulls, random),
                "kind": pd.Categorical(random.choice(["a", "bc", "déf"], ROWS)),
            })
            fastparquet.write(
                str(self.path), frame, compression=codec, has_nulls=nulls,
                row_group_offsets=list(range(0, ROWS, groups)) if groups else ROWS, object_encoding="utf8")
            found = fastparquet.ParquetFile(str(self.path)).to_pandas()
            for name in frame.columns:
                values = found[name].astype(object)
                values = values.where(values.notna(), None).tolist()
                self.check_values(name, values, (codec, nulls, groups))

    def refused(self, column: str, *, how: str = "values") -> str:
        answer = self.reader.ask(how, self.path, column)
        self.assertEqual(answer.get("code"), "badFeatures", answer)
        self.assertIn(str(self.path), answer["error"])
        return answer["error"]

    def test_what_is_not_read_is_named_and_only_when_it_is_asked_for(self) -> None:
        boxes = pa.list_(pa.list_(pa.float64()))
        table = pa.table({
            "uid": pa.array(["a", "b", "c"]),
            "face_bboxes": pa.array([[[0.1, 0.2]], [], None], boxes),
            "exif": pa.array([{"w": 1, "h": 2}] * 3, pa.struct([("w", pa.int32()), ("h", pa.int32())])),
            "tags": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int32())),
            "people": pa.array([[{"x": 1, "y": 2}], [], None], pa.list_(pa.struct([("x", pa.int32()), ("y", pa.int32())]))),
            "price": pa.array([1, 2, None], pa.decimal128(9, 2)),
            "embedding": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32())),
        })
        self.path = self.scratch / "nested.parquet"
        pq.write_table(table, self.path)
        self.check_values("uid", ["a", "b", "c"], "beside nested columns")
        self.check_features("embedding", np.arange(1, 7, dtype=np.float32).reshape(3, 2), "beside nested columns")
        for column, what in (
                ("face_bboxes", "a list of lists"), ("exif", "a struct"), ("exif.w", "a struct"), ("tags", "a map"),
                ("people", "a list of structs"), ("price", "DECIMAL"), ("missing", "there is no such column")):
            self.assertIn(what, self.refused(column))
            self.assertIn(f"column '{column}'", self.refused(column))
        self.assertIn("not a list of floats", self.refused("uid", how="floats"))
        for codec, name in (("brotli", "BROTLI"), ("lz4", "LZ4_RAW")):
            pq.write_table(table, self.path, compression={"uid": codec, "price": "none"})
            self.assertIn(name, self.refused("uid"))
            self.check_features("embedding", np.arange(1, 7, dtype=np.float32).reshape(3, 2), codec)
        times = pa.table({"time": pa.array([1, 2], pa.timestamp("ns"))})
        pq.write_table(times, self.path, use_deprecated_int96_timestamps=True)
        self.assertIn("INT96", self.refused("time"))

    def test_a_row_that_is_no_features_is_named(self) -> None:
        good = [[float(row), 1.0, 2.0] for row in range(400)]
        for bad, words in (
                (None, "row 300 is null"), ([], "row 300 is empty"), ([1.0, None, 2.0], "row 300 holds a null"),
                ([1.0, 2.0], "row 300 has 2 elements, not 3"), ([1.0, 2.0, 3.0, 4.0], "row 300 has more elements than 3")):
            rows = good[:300] + [bad] + good[300:]
            for size, version in itertools.product((1000, 100, 301), ("1.0", "2.0")):
                pq.write_table(
                    pa.table({"emb": pa.array(rows, pa.list_(pa.float32()))}), self.path, row_group_size=size,
                    data_page_version=version, data_page_size=500, write_batch_size=10)
                self.assertIn(words, self.refused("emb", how="floats"))
            pq.write_table(pa.table({"emb": pa.array([bad] + good, pa.list_(pa.float32()))}), self.path)
            first = words.replace("row 300", "row 0").replace("has 2 elements, not 3", "").replace("has more elements than 3", "")
            self.assertIn("row 1 has" if "elements" in words else first, self.refused("emb", how="floats"))
