"""The programs of Examples/python find what tarn finds; their README is run by Tests/docs."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas
from support import DIMENSION, FEATURES, NLIST, ROOT, LakeTest, json_lines
from test_serve import Server

EXAMPLES = ROOT / "Examples" / "python"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ExamplesTest(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        url = self.serve(FEATURES).url
        self.lake = self.built_lake(url)
        self.lake.run("source", "add", "about", "--companion-of", "images", "--url", f"{url}/metadata/metadata_{{ordinal:04}}.txt")
        self.lake.run("sync", "about")

    def test_stock_faiss_gives_the_ids_of_tarn(self) -> None:
        example = load("search_faiss")
        indexes = example.open_version(self.lake.directory / "versions" / "clips@1")
        queries = np.load(FEATURES / "queries.npy").astype(np.float32)
        for k, nprobe in ((1, 1), (5, 8), (10, NLIST)):
            scores, ids = example.search(indexes, queries, k, nprobe)
            stem = self.scratch / "answer"
            self.lake.run("search", "clips@1", "--queries", FEATURES / "queries.npy", "-k", k, "--nprobe", nprobe, "--output", stem)
            found, wanted = np.load(f"{stem}.ids.npy"), np.load(f"{stem}.scores.npy")
            np.testing.assert_allclose(scores, wanted, atol=1e-5)
            # FAISS sums in another order: what is equal but for that may change places.
            same = (ids == found) | (np.abs(scores - wanted) < 1e-5)
            self.assertTrue(same.all())
            self.assertGreater((ids == found).mean(), 0.99)

    def test_more_rows_than_there_are_leave_places_empty(self) -> None:
        example = load("search_faiss")
        indexes = example.open_version(self.lake.directory / "versions" / "clips@1")
        scores, ids = example.search(indexes, np.eye(1, DIMENSION, dtype=np.float32), 2000, 1)
        rows = ids[ids >= 0]
        self.assertLess(len(rows), 2000)
        self.assertEqual(len(set(rows.tolist())), len(rows))
        self.assertTrue((ids[0, len(rows):] == -1).all())

    def test_who_gives_no_arguments_reads_the_usage(self) -> None:
        programs = sorted(EXAMPLES.glob("*.py"))
        self.assertGreater(len(programs), 3)
        for program in programs:
            done = subprocess.run(
                [sys.executable, "-B", program], capture_output=True, text=True, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertTrue(done.stderr.startswith(f"usage: {program.name} "), done.stderr)

    def test_pandas_and_duckdb_read_what_the_catalog_says(self) -> None:
        example = load("catalog")
        shards = example.shards(self.lake.directory)
        self.assertEqual(shards["rows"].sum(), 3 * 3600)
        self.assertEqual(set(shards["state"]), {"present"})
        for path, size in zip(shards["path"], shards["bytes"]):
            self.assertEqual((self.lake.directory / "shards" / path).stat().st_size, size)
        scanner = pathlib.Path(importlib.util.find_spec("duckdb_extension_sqlite_scanner").submodule_search_locations[0])
        (file,) = scanner.glob("extensions/*/sqlite_scanner.duckdb_extension")
        # The extension of PyPI, which needs no network, in place of an installed one.
        source = (EXAMPLES / "catalog.py").read_text().replace('"LOAD sqlite"', repr(f"LOAD '{file}'"))
        names: dict = {"__name__": "catalog"}
        exec(compile(source, "catalog.py", "exec"), names)
        inputs = names["inputs"](self.lake.directory, "clips@1")
        wanted = self.lake.rows(
            "SELECT i.shard, i.first_id, i.rows, o.file FROM v_version_input i JOIN v_output_shard o"
            " ON o.version = i.version AND o.output = i.output WHERE i.version = 'clips@1' ORDER BY i.first_id")
        self.assertEqual(inputs.to_dict("records"), wanted)
        self.assertEqual(len(wanted), 6)

    def test_rows_are_joined_as_tarn_joins_them(self) -> None:
        example = load("join_rows")
        ids = [0, 602, 603, 1485, 3599]
        found = example.rows(self.lake.directory, "clips@1", "about", ids)
        said = json_lines(self.lake.run("locate", "clips@1", *ids, "--columns", "text", "--json"))
        self.assertEqual(found["id"].tolist(), [row["id"] for row in said])
        self.assertEqual(found["row"].tolist(), [row["row"] for row in said])
        self.assertEqual(found["text"].tolist(), [row["columns"]["text"] for row in said])
        for wrong in (-1, 3600):
            with self.assertRaisesRegex(SystemExit, f"row {wrong} of"):
                example.rows(self.lake.directory, "clips@1", "about", [wrong])
        # Parquet, as LAION has it.
        frame = pandas.DataFrame({"url": ["a", None], "width": [1, 2]})
        frame.to_parquet(self.scratch / "m.parquet")
        pandas.testing.assert_frame_equal(example.table(self.scratch / "m.parquet"), frame)

    def test_the_server_answers(self) -> None:
        server = Server(self.lake, "clips@1")
        self.addCleanup(server.stop)
        address = server.url
        done = subprocess.run(
            [sys.executable, "-B", EXAMPLES / "ask_serve.py", address, "clips@1", FEATURES / "queries.npy"],
            capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr)
        first, *rest = done.stdout.splitlines()
        self.assertEqual(first, "versions: clips@1")
        answer = json.loads("\n".join(rest[:-1]))
        said = json_lines(self.lake.run(
            "search", "clips@1", "--queries", FEATURES / "queries.npy", "-k", 3, "--columns", "text", "--json"))[0]
        self.assertEqual((answer["ids"], answer["scores"]), (said["ids"], said["scores"]))
        self.assertEqual(answer["columns"], said["columns"])
        wrong = subprocess.run(
            [sys.executable, "-B", EXAMPLES / "ask_serve.py", address, "other@1", FEATURES / "queries.npy"],
            capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(wrong.returncode, 1)
        self.assertRegex(wrong.stderr, r"/api/search: 404 .*other")
