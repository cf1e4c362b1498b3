"""The folder of `tarn export --format clip-retrieval`, opened by what of clip-retrieval's server reads it: each hit's
metadata is that of its row, whatever holes and excluded rows there are."""

import ast
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import time
import unittest

import faiss
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from support import LakeTest, environment

COUNT, SHARDS, DIMENSION = 60, 4, 8


def has_unnamed_files(directory: pathlib.Path) -> bool:
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        return False
    return True


def clip_back():
    """The functions of clip-retrieval's server that open a folder; the rest of the module wants flask, torch and h5py."""
    spec = importlib.util.find_spec("clip_retrieval")
    if spec is None:
        return None
    source = (pathlib.Path(spec.submodule_search_locations[0]) / "clip_back.py").read_text()
    wanted = {"ParquetMetadataProvider", "load_metadata_provider", "load_index", "meta_to_dict"}
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if getattr(node, "name", None) in wanted]
    names = {"Path": pathlib.Path, "pd": pd, "np": np, "os": os, "faiss": faiss, "pa": pa}
    exec(compile(tree, "clip_back.py", "exec"), names)
    assert wanted <= names.keys()
    return names


def caption(shard: int, row: int) -> str | None:
    return None if row % 7 == 3 else f"ünïcode \"{shard}\" {row}"


class ClipFolder(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        random = np.random.default_rng(5)
        for name in ("features", "meta"):
            (self.scratch / name).mkdir()
        self.rows = []
        for shard in range(SHARDS):
            rows = random.standard_normal((COUNT, DIMENSION)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            self.rows.append(rows)
            np.save(self.scratch / "features" / f"img_{shard}.npy", rows)
            pq.write_table(pa.table({
                "url": [f"https://host/{shard}/{row}" for row in range(COUNT)],
                "caption": [caption(shard, row) for row in range(COUNT)], "width": list(range(COUNT)),
                "ratio": [row / 8 for row in range(COUNT)], "safe": [row % 2 == 0 for row in range(COUNT)],
            }), self.scratch / "meta" / f"meta_{shard}.parquet", row_group_size=17)
        self.lake = self.new_lake()
        self.lake.run("source", "add", "images", "--directory", self.scratch / "features")
        self.lake.run("source", "add", "meta", "--companion-of", "images", "--directory", self.scratch / "meta")
        self.lake.run("sync", "--quiet")
        self.lake.run("pack", "meta", "--quiet")
        self.folder = self.scratch / "folder"

    def build(self, *options: object) -> None:
        self.lake.run("train", "t", "--images", "images", "--method", "kmeans", "--nlist", 4, "--quiet")
        self.lake.run("build", "v", "--trained", "t", "--images", "images", "--quiet", *options)

    def exported(self, version: str, *options: object) -> dict:
        return json.loads(self.lake.run(
            "export", version, "--format", "clip-retrieval", "--into", self.folder, "--json", *options))

    def check(self, version: str, excluded: set[int], columns: list[str]) -> None:
        """Every id has its row's metadata, and searches find what `tarn search` finds."""
        back = clip_back()
        if back is None:
            self.skipTest("clip-retrieval is not installed (pip install --no-deps clip-retrieval)")
        paths = json.loads((self.folder / "indices_paths.json").read_text())
        self.assertEqual(paths, {version: str(self.folder)})
        folder = paths[version]
        self.assertFalse(os.path.exists(folder + "/text.index"))
        for is_mapped in (False, True):
            index = back["load_index"](folder + "/image.index", is_mapped)
            self.assertEqual(index.ntotal, SHARDS * COUNT - len(excluded))
        provider, mapping = back["load_metadata_provider"](folder, False, False, index, columns, False)
        self.assertIsNone(mapping)
        self.assertEqual(len(provider.metadata_df), SHARDS * COUNT)
        metas = [back["meta_to_dict"](meta) for meta in provider.get(list(range(SHARDS * COUNT)), columns)]
        for number, meta in enumerate(metas):
            shard, row = divmod(number, COUNT)
            values = {"url": f"https://host/{shard}/{row}", "caption": caption(shard, row), "width": str(row),
                      "ratio": str(row / 8) if row % 8 else str(row // 8), "safe": "true" if row % 2 == 0 else "false"}
            for name in columns:
                expected = None if number in excluded else values[name]
                if expected is None:
                    self.assertTrue(pd.isna(meta[name]), f"{number}: {meta}")
                elif name == "ratio":
                    self.assertEqual(float(meta[name]), float(expected))
                else:
                    self.assertEqual(meta[name], expected)
        queries = np.concatenate(self.rows)[::11]
        np.save(self.scratch / "queries.npy", queries)
        lines = self.lake.run("search", version, "--queries", self.scratch / "queries.npy", "-k", 5, "--nprobe", 4, "--json")
        faiss.extract_index_ivf(index).nprobe = 4
        # As the server asks.
        scores, ids, _ = index.search_and_reconstruct(queries, 5)
        for line, own_ids, own_scores in zip(map(json.loads, lines.splitlines()), ids, scores):
            self.assertEqual(line["ids"], own_ids.tolist())
            np.testing.assert_allclose(line["scores"], own_scores, rtol=1e-4)

    def test_ids_are_places_of_their_metadata(self) -> None:
        self.build("--shards-per-output", 2)
        said = self.exported("v@1")
        self.assertEqual((said["ids"], said["rows"], said["metadata_files"]), (SHARDS * COUNT,) * 2 + (SHARDS,))
        self.assertEqual(said["columns"], ["url", "caption"])
        self.check("v@1", set(), ["url", "caption"])

    def test_values_of_all_kinds_are_texts(self) -> None:
        self.build()
        self.exported("v@1", "--columns", "width,ratio,safe,url,caption")
        self.check("v@1", set(), ["url", "caption", "width", "ratio", "safe"])

    def test_holes_and_excluded_rows_shift_nothing(self) -> None:
        self.lake.run("source", "drop-shards", "images", "--shards", 2)
        gone = {0, 61, 62, SHARDS * COUNT - 1}
        ids = self.scratch / "gone.txt"
        ids.write_text("".join(f"{number}\n" for number in sorted(gone)))
        self.lake.run("exclude", "images", "--ids", ids, "--reason", "asked for")
        self.build()
        self.exported("v@1")
        self.check("v@1", gone | set(range(2 * COUNT, 3 * COUNT)), ["url", "caption"])

    def test_a_kill_leaves_no_folder(self) -> None:
        """Whenever it is killed, the folder is there whole or not at all; SIGTERM leaves nothing beside it."""
        self.build()
        # Where files cannot be without a name, the place is tried by one that has a name for an instant.
        hidden = (".folder-",) if has_unnamed_files(self.scratch) else (".folder-", ".tarn-")
        for number, delay in enumerate(np.linspace(0.0, 0.4, 9)):
            for kill in (signal.SIGTERM, signal.SIGKILL):
                place = self.scratch / f"place-{number}-{kill}"
                place.mkdir()
                process = subprocess.Popen(
                    self.lake.command("export", "v@1", "--format", "clip-retrieval", "--into", place / "folder"),
                    env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(delay)
                process.send_signal(kill)
                process.wait(60)
                left = {path.name for path in place.iterdir()}
                if kill == signal.SIGTERM and len(hidden) == 1:
                    self.assertLessEqual(left, {"folder"})
                if "folder" in left:
                    self.assertEqual(
                        sorted(path.name for path in (place / "folder").iterdir()),
                        ["image.index", "indices_paths.json", "metadata"])
                    self.assertEqual(len(list((place / "folder" / "metadata").iterdir())), SHARDS)
                else:
                    self.assertTrue(all(name.startswith(hidden) for name in left), left)


if __name__ == "__main__":
    unittest.main()
