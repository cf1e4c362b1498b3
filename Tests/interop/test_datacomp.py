"""Files in DataComp's shape: names that are MD5s, archives of several arrays with a table beside each."""

import hashlib
import json
import pathlib

import numpy as np

import pyarrow as pa
import pyarrow.parquet as pq

from hubserver import Hub
from support import DIMENSION, FEATURES, INTEGRITY, SHARDS, USAGE, Lake, LakeTest, json_lines

ROWS = "SELECT source, array_name, files_of, shards, present, present_bytes FROM v_source ORDER BY source"


def features(kind: str, ordinal: int) -> np.ndarray:
    name = {"img_emb": "img_emb", "text_emb": "text_emb"}[kind]
    return np.load(FEATURES / kind / f"{name}_{ordinal:04}.npy").astype(np.float16)


def unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def write(directory: pathlib.Path, deflated: bool) -> list[str]:
    """Six archives and the tables beside them; their names in order."""
    directory.mkdir(parents=True)
    save = np.savez_compressed if deflated else np.savez
    names = []
    for ordinal in range(SHARDS):
        name = hashlib.md5(str(ordinal).encode()).hexdigest()
        images, texts = features("img_emb", ordinal), features("text_emb", ordinal)
        save(directory / f"{name}.npz", b32_img=unit(images[:, :256]), b32_txt=unit(texts[:, :256]), l14_img=images,
             l14_txt=texts, dedup=unit(images[:, 256:]))
        # Nobody asks for it.
        (directory / f"{name}.parquet").write_bytes(b"PAR1 is what no test here reads PAR1")
        names.append(name)
    return sorted(names)


class DataComp(LakeTest):
    def publish(self, deflated: bool = False) -> tuple[list[str], pathlib.Path]:
        kind = "deflated" if deflated else "stored"
        names = write(self.scratch / "served" / kind, deflated)
        self.server = self.serve(self.scratch / "served")
        urls = self.scratch / f"{kind}.txt"
        urls.write_text("".join(f"{self.server.url}/{kind}/{name}.npz\n" for name in names))
        return names, urls

    def register(self, lake: Lake, urls: pathlib.Path) -> None:
        kind = ("--dimension", DIMENSION, "--dtype", "float16")
        lake.run("source", "add", "images", "--url-list", urls, "--allow-inside", "--array", "l14_img", *kind)
        lake.run("source", "add", "texts", "--files-of", "images", "--array", "l14_txt", "--modality", "text", *kind)

    def made(self, urls: pathlib.Path, name: str) -> Lake:
        lake = self.new_lake(name)
        self.register(lake, urls)
        lake.run("sync", "texts")
        lake.run("train", "clip", "--images", "images", "--captions", "texts", "--nlist", 32, "--iterations", 4)
        lake.run("build", "dc", "--trained", "clip", "--images", "images", "--shards-per-output", 2)
        return lake

    def asked(self, since: int = 0) -> list[tuple[str, int]]:
        """Files that were asked for, and the bytes that came."""
        found = [(request["uri"].split("/")[-1], request["bytes"]) for request in self.server.requests()[since:]]
        self.assertFalse([name for name, _ in found if not name.endswith(".npz")], found)
        return sorted(found)

    def test_each_byte_is_fetched_once_and_a_version_made_again_elsewhere(self) -> None:
        names, urls = self.publish()
        served = self.scratch / "served" / "stored"
        once = sorted((f"{name}.npz", (served / f"{name}.npz").stat().st_size) for name in names)
        lake = self.made(urls, "lake")
        lake.run("sync")
        self.assertEqual(self.asked(), once)
        total = sum(size for _, size in once)
        self.assertEqual(lake.rows(ROWS), [
            {"source": "images", "array_name": "l14_img", "files_of": None, "shards": 6, "present": 6, "present_bytes": total},
            {"source": "texts", "array_name": "l14_txt", "files_of": "images", "shards": 6, "present": 6, "present_bytes": 0}])

        # Searched: the nearest rows of images themselves, exactly scored from the array.
        images = np.concatenate([features("img_emb", int_of(name)) for name in names])
        queries = self.scratch / "queries.npy"
        np.save(queries, images[[0, 700, 3599]])
        found = json_lines(lake.run("search", "dc", "--queries", queries, "-k", 3, "--nprobe", 32, "--rerank", 10, "--json"))
        exact = images.astype(np.float32)[[0, 700, 3599]] @ images.astype(np.float32).T
        for query, answer in enumerate(np.argsort(-exact, axis=1, kind="stable")[:, 0]):
            (hits,) = (row for row in found if row["query"] == query)
            self.assertAlmostEqual(hits["scores"][0], float(exact[query, answer]), places=3)
            self.assertEqual(hits["ids"][0], answer)
        (place,) = json_lines(lake.run("locate", "dc", 700, "--json"))
        self.assertEqual((place["source"], place["row"], place["shard"]), ("images", 700 - len(features("img_emb", int_of(names[0]))), f"{names[1]}.npz"))

        # Again from the document alone: each file once more.
        document = self.scratch / "dc.json"
        document.write_text(lake.run("export", "dc"))
        told = json.loads(document.read_text())
        self.assertEqual([(s["name"], s["array"], s.get("files_of")) for s in told["sources"]],
                         [("images", "l14_img", None), ("texts", "l14_txt", "images")])
        before = len(self.server.requests())
        empty = self.new_lake("empty")
        empty.run("reproduce", "--from", document, "--allow-inside", "--patience", 0)
        self.assertEqual(self.asked(before), once)
        self.assertEqual([path.read_bytes() for path in empty.outputs("dc@1")], [path.read_bytes() for path in lake.outputs("dc@1")])

        # A document that says another array is one that contradicts itself.
        document.write_text(json.dumps(told).replace("l14_txt", "b32_txt"))
        self.new_lake("liar").run("reproduce", "--from", document, "--allow-inside", "--patience", 0, exits=INTEGRITY)

    def test_rows_are_learned_from_the_ends_of_files(self) -> None:
        """Nobody says dimension, dtype or rows, and there is never room for all: training and build know beforehand."""
        wanted: list[bytes] = []
        for deflated in (False, True):
            names, urls = self.publish(deflated)
            wanted = wanted or [path.read_bytes() for path in self.made(urls, "whole").outputs("dc@1")]
            sizes = [path.stat().st_size for path in (self.scratch / "served" / ("deflated" if deflated else "stored")).glob("*.npz")]
            lake = self.new_lake(f"small-{deflated}")
            lake.run("source", "add", "images", "--url-list", urls, "--allow-inside", "--array", "l14_img")
            lake.run("source", "add", "texts", "--files-of", "images", "--array", "l14_txt", "--modality", "text")
            before = len(self.server.requests())
            lake.run("source", "probe", "images")
            self.assertEqual(
                lake.rows("SELECT l.row_count FROM shard_location l JOIN shard h ON h.id = l.shard_id ORDER BY h.ordinal"),
                [{"row_count": len(features("img_emb", int_of(name)))} for name in names])
            self.assertLess(sum(size for _, size in self.asked(before)), sum(sizes) // 3)
            budget = f"{2 * max(sizes)}B"
            lake.run("train", "clip", "--images", "images", "--captions", "texts", "--nlist", 32, "--iterations", 4, "--budget", budget)
            lake.run("build", "dc", "--trained", "clip", "--images", "images", "--shards-per-output", 2, "--budget", budget)
            self.assertEqual([path.read_bytes() for path in lake.outputs("dc@1")], wanted)

    def test_packed_archives_give_the_same_index(self) -> None:
        """Files of other bytes have other digests, which lineage states; rows are the same, and so is all that is made of
        rows alone: the trained index, and every output file."""
        lakes = []
        for deflated in (False, True):
            _, urls = self.publish(deflated)
            lakes.append(self.made(urls, f"lake-{deflated}"))
        stored, packed = lakes
        self.assertEqual(stored.trained_path("clip").read_bytes(), packed.trained_path("clip").read_bytes())
        outputs = [[path.read_bytes() for path in lake.outputs("dc@1")] for lake in lakes]
        self.assertEqual(len(outputs[0]), 3)
        self.assertEqual(outputs[0], outputs[1])
        digests = [lake.rows("SELECT sha256 FROM v_version_input ORDER BY input") for lake in lakes]
        self.assertNotEqual(digests[0], digests[1])
        versions = [lake.rows("SELECT sha256 FROM v_version") for lake in lakes]
        self.assertNotEqual(versions[0], versions[1])

    def test_a_directory_of_archives_and_tables_is_one_of_archives(self) -> None:
        write(self.scratch / "here", True)
        lake = self.new_lake()
        # Beside features of another kind nobody can tell which are meant.
        np.save(self.scratch / "here" / "0.npy", features("img_emb", 0))
        done = lake.attempt("source", "add", "images", "--directory", self.scratch / "here", "--array", "b32_img")
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertIn(".npy, .npz", done.stderr)
        (self.scratch / "here" / "0.npy").unlink()
        # No dimension is said: the first archive tells.
        lake.run("source", "add", "images", "--directory", self.scratch / "here", "--array", "b32_img")
        lake.run("source", "add", "texts", "--files-of", "images", "--array", "b32_txt", "--modality", "text")
        self.assertEqual(lake.rows("SELECT source, dimension, dtype, shards FROM v_source ORDER BY source"), [
            {"source": "images", "dimension": 256, "dtype": "float16", "shards": 6},
            {"source": "texts", "dimension": 256, "dtype": "float16", "shards": 6}])
        lake.run("sync")
        refused = lake.attempt("source", "add", "all", "--directory", self.scratch / "here")
        self.assertEqual(refused.returncode, INTEGRITY, refused.stderr)
        self.assertIn("--array", refused.stderr)

    def test_a_repository_of_archives_and_tables_answers_with_addresses_and_captions(self) -> None:
        write(self.scratch / "made", False)
        files: dict[str, bytes] = {"README.md": b"a set"}
        for path in (self.scratch / "made").glob("*.npz"):
            files[f"shards/{path.name}"] = path.read_bytes()
            rows = range(len(features("img_emb", int_of(path.stem))))
            table = pa.table({
                "uid": [f"{path.stem}{row:05}" for row in rows], "url": [f"https://host.example/{path.stem}/{row}.jpg" for row in rows],
                "text": [f"picture {row} of {path.stem[:6]}" for row in rows],
                "clip_l14_similarity_score": [row / 10 for row in rows],
                "face_bboxes": [[[0.1, 0.2]] if row % 2 else [] for row in rows]})
            pq.write_table(table, self.scratch / "table.parquet", compression="zstd")
            files[f"shards/{path.stem}.parquet"] = (self.scratch / "table.parquet").read_bytes()
        hub = Hub()
        self.addCleanup(hub.stop)
        hub.commit(files)
        lake = self.new_lake()
        environ = {"HF_ENDPOINT": hub.url}
        kind = ("--dimension", DIMENSION, "--dtype", "float16")
        place = ("--listing", "hf://datasets/org/set/shards")
        lake.run("source", "add", "images", *place, "--match", "*.npz", "--array", "l14_img", *kind, **environ)
        lake.run("source", "add", "texts", "--files-of", "images", "--array", "l14_txt", "--modality", "text", *kind)
        lake.run("source", "add", "meta", "--companion-of", "images", *place, "--match", "*.parquet", **environ)
        lake.run("sync", **environ)
        # Every file once, as the listing's digests say.
        asked = sorted(path.split("?")[0].rsplit("/", 1)[1] for path, _ in hub.stored)
        self.assertEqual(asked, sorted(hashlib.sha256(body).hexdigest() for name, body in files.items() if name != "README.md"))
        self.assertEqual({row["trust"] for row in lake.rows("SELECT DISTINCT trust FROM v_shard")}, {"manifest"})
        lake.run("train", "clip", "--images", "images", "--captions", "texts", "--nlist", 32, "--iterations", 4)
        lake.run("build", "dc", "--trained", "clip", "--images", "images", "--shards-per-output", 2)
        names = sorted(path.stem for path in (self.scratch / "made").glob("*.npz"))
        queries = self.scratch / "queries.npy"
        np.save(queries, features("img_emb", int_of(names[3]))[[17, 40]])
        answers = json_lines(lake.run("search", "dc", "--queries", queries, "-k", 1, "--nprobe", 32, "--rerank", 10,
                                      "--columns", "url,text", "--json"))
        for row, answer in zip((17, 40), answers):
            self.assertEqual(answer["columns"], [
                {"url": f"https://host.example/{names[3]}/{row}.jpg", "text": f"picture {row} of {names[3][:6]}"}])
        # What can't be read is refused when it is asked for.
        refused = lake.attempt("search", "dc", "--queries", queries, "--columns", "face_bboxes")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("face_bboxes", refused.stderr)
        lake.run("reproduce", "dc@1")


def int_of(name: str) -> int:
    """The ordinal whose MD5 is a name."""
    return next(ordinal for ordinal in range(SHARDS) if hashlib.md5(str(ordinal).encode()).hexdigest() == name)
