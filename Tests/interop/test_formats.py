"""Shards of every feature format: fetched from a server, and the same bytes built from each."""

import io
import json
import struct
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from support import DIMENSION, FEATURES, INTEGRITY, PARTIAL, SHARDS, LakeTest


def fbin(rows: np.ndarray) -> bytes:
    return struct.pack("<II", *rows.shape) + rows.tobytes()


def fvecs(rows: np.ndarray) -> bytes:
    return b"".join(struct.pack("<I", len(row)) + row.tobytes() for row in rows)


def safetensors(rows: np.ndarray) -> bytes:
    header = json.dumps({
        "__metadata__": {"format": "pt"},
        "features": {"dtype": "F32", "shape": list(rows.shape), "data_offsets": [0, rows.nbytes]}}).encode()
    return struct.pack("<Q", len(header)) + header + rows.tobytes()


def torch(rows: np.ndarray) -> bytes:
    """What torch.save writes for one tensor, without PyTorch."""
    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    count, columns = rows.shape
    pickle = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + number(rows.size) + b"tQK\x00" + number(count) + number(columns)
        + b"\x86" + number(columns) + b"K\x01\x86\x89ccollections\nOrderedDict\n)RtR.")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in (("data.pkl", pickle), ("byteorder", b"little"), ("data/0", rows.tobytes()), ("version", b"3\n")):
            archive.writestr("shard/" + name, data)
    return file.getvalue()


def npy(rows: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


WRITERS = {"npy": npy, "fbin": fbin, "fvecs": fvecs, "safetensors": safetensors, "pt": torch}


# Forms of elements that are not float32: of which rows they are, and the same rows in float32.

def doubles(rows: np.ndarray) -> np.ndarray:
    """Between floats, so that rounding shows."""
    return rows.astype(np.float64) * (1 + np.random.default_rng(5).uniform(-2e-8, 2e-8, rows.shape))


def counts(rows: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(rows * 300), -127, 127).astype(np.int8)


OTHERS = {
    "f64.npy": ("float64", doubles, npy), "f16bin": ("float16", lambda rows: rows.astype(np.float16), fbin),
    "i8bin": ("int8", counts, fbin), "u8bin": ("uint8", lambda rows: (counts(rows).astype(np.int16) + 128).astype(np.uint8), fbin),
    "bvecs": ("uint8", lambda rows: (counts(rows).astype(np.int16) + 128).astype(np.uint8), fvecs),
    "i8.npy": ("int8", counts, npy),
}


class Formats(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        self.served = self.scratch / "served"
        self.served.mkdir()
        for ordinal in range(SHARDS):
            rows = np.load(FEATURES / "img_emb" / f"img_emb_{ordinal:04}.npy").astype(np.float32)
            for kind, write in WRITERS.items():
                (self.served / f"{ordinal}.{kind}").write_bytes(write(rows))
        (self.served / "text_emb").symlink_to(FEATURES / "text_emb")
        self.server = self.serve(self.served)
        self.lake = self.new_lake()

    def add(self, kind: str, dimension: int = DIMENSION, name: str | None = None) -> None:
        self.lake.run("source", "add", name or kind, "--url", f"{self.server.url}/{{ordinal}}.{kind}", "--count", SHARDS,
                      "--dimension", dimension, "--dtype", "float32")

    def test_every_format_is_fetched_and_gives_the_same_index(self) -> None:
        for kind in WRITERS:
            self.add(kind)
        self.lake.run("source", "add", "captions", "--url", f"{self.server.url}/text_emb/text_emb_{{ordinal:04}}.npy",
                      "--count", SHARDS, "--dimension", DIMENSION, "--modality", "text")
        self.lake.run("sync")
        self.lake.run("train", "clip", "--images", "npy", "--captions", "captions", "--nlist", 16, "--iterations", 2)
        for kind in WRITERS:
            self.lake.run("build", f"of-{kind}", "--trained", "clip", "--images", kind, "--shards-per-output", 3)
        rows = self.lake.rows("SELECT version, sha256 FROM v_output_shard ORDER BY version, output")
        digests = {kind: [row["sha256"] for row in rows if row["version"] == f"of-{kind}@1"] for kind in WRITERS}
        for kind in WRITERS:
            self.assertEqual(len(digests[kind]), SHARDS // 3)
            self.assertEqual(digests[kind], digests["npy"], kind)
        self.lake.run("verify")

    def test_other_elements_count_as_the_float32_they_convert_to(self) -> None:
        for kind, (dtype, convert, write) in OTHERS.items():
            for ordinal in range(2):
                rows = convert(np.load(FEATURES / "img_emb" / f"img_emb_{ordinal:04}.npy").astype(np.float32))
                (self.served / f"o{ordinal}.{kind}").write_bytes(write(rows))
                (self.served / f"w{ordinal}.{kind}.npy").write_bytes(npy(rows.astype(np.float32)))
            name = kind.replace(".", "-")
            for source, url, given in ((name, f"o{{ordinal}}.{kind}", dtype), (f"{name}-w", f"w{{ordinal}}.{kind}.npy", "float32")):
                self.lake.run("source", "add", source, "--url", f"{self.server.url}/{url}", "--count", 2)
                (found,) = self.lake.rows("SELECT dtype FROM v_source WHERE source = ?", source)
                self.assertEqual(found["dtype"], given, source)
            self.lake.run("sync", name, f"{name}-w")
            versions = []
            for source in (name, f"{name}-w"):
                self.lake.run("train", f"t-{source}", "--images", source, "--method", "kmeans", "--nlist", 8,
                              "--iterations", 2, "--normalise")
                self.lake.run("build", f"v-{source}", "--trained", f"t-{source}", "--images", source)
                versions.append(self.lake.rows(
                    "SELECT sha256 FROM v_output_shard WHERE version = ? ORDER BY output", f"v-{source}@1"))
            self.assertEqual(*versions, kind)
            self.lake.run("reproduce", f"v-{name}@1")
            (spec,) = self.lake.rows("SELECT spec FROM trained_index WHERE name = ?", f"t-{name}")
            said = json.loads(spec["spec"]).get("conversion")
            self.assertEqual(said is None, dtype == "float16", said)
            document = self.scratch / f"{name}.json"
            document.write_text(self.lake.run("export", f"v-{name}@1"))
            again = self.new_lake(f"again-{name}")
            again.run("reproduce", "--from", document, "--allow-inside")
        self.lake.run("verify")

    def test_ids_are_planned_from_sizes_where_those_tell(self) -> None:
        self.lake.add_examples(self.serve(FEATURES).url)
        self.lake.run("sync")
        self.lake.train()
        last = SHARDS - 1
        (before,) = self.lake.rows("SELECT sum(rows) AS rows FROM v_shard WHERE source = 'images' AND ordinal < ?", last)
        for kind in ("npy", "fbin", "fvecs"):
            self.add(kind)
            self.lake.run("source", "probe", kind)
            self.lake.run("build", f"of-{kind}", "--trained", "clip", "--images", kind, "--shards", last)
            (found,) = self.lake.rows("SELECT first_id FROM v_version_input WHERE version = ?", f"of-{kind}@1")
            self.assertEqual(found["first_id"], before["rows"], kind)

    def test_what_only_the_end_of_a_file_tells_is_asked_for_there(self) -> None:
        counts = []
        for ordinal in range(SHARDS):
            rows = np.load(FEATURES / "img_emb" / f"img_emb_{ordinal:04}.npy").astype(np.float32)
            counts.append({"row_count": len(rows)})
            table = pa.table({"id": pa.array(range(len(rows))), "embedding": pa.array(list(rows), pa.list_(pa.float32()))})
            pq.write_table(table, self.served / f"{ordinal}.parquet", row_group_size=100)
        for kind in ("pt", "parquet"):
            self.lake.run("source", "add", kind, "--url", f"{self.server.url}/{{ordinal}}.{kind}", "--count", SHARDS)
            (found,) = self.lake.rows("SELECT dimension, dtype FROM v_source WHERE source = ?", kind)
            self.assertEqual(found, {"dimension": DIMENSION, "dtype": "float32"}, kind)
            before = len(self.server.requests())
            self.lake.run("source", "probe", kind)
            came = sum(request["bytes"] for request in self.server.requests()[before:])
            self.assertLess(came, sum((self.served / f"{ordinal}.{kind}").stat().st_size for ordinal in range(SHARDS)) / 2, kind)
            self.assertEqual(self.lake.rows(
                "SELECT l.row_count FROM shard_location l JOIN shard h ON h.id = l.shard_id JOIN source s ON s.id = h.source_id "
                "WHERE s.name = ? ORDER BY h.ordinal", kind), counts, kind)
            # Another dimension is another file, before a byte of rows was fetched.
            self.add(kind, dimension=DIMENSION + 1, name=f"wrong-{kind}")
            self.lake.run("source", "probe", f"wrong-{kind}", exits=PARTIAL)
            (state,) = self.lake.rows(
                "SELECT DISTINCT l.state FROM shard_location l JOIN shard h ON h.id = l.shard_id JOIN source s ON s.id = h.source_id "
                "WHERE s.name = ?", f"wrong-{kind}")
            self.assertEqual(state, {"state": "faulty"}, kind)

    def test_something_else_is_refused(self) -> None:
        for kind in WRITERS:
            # The dimension is told by the first bytes, or by the end of the file.
            self.add(kind, dimension=DIMENSION + 1, name=f"wrong-{kind}")
            done = self.lake.attempt("sync", f"wrong-{kind}", "--shards", 0)
            self.assertEqual(done.returncode, INTEGRITY, done.stderr)
            self.assertRegex(done.stderr, f"rows (of|have) {DIMENSION} ", kind)
            self.assertIn(f"{DIMENSION + 1}", done.stderr)
        for kind in WRITERS:
            path = self.served / f"1.{kind}"
            path.write_bytes(b"<!DOCTYPE html><html>gone</html>".ljust(path.stat().st_size))
            self.add(kind)
            done = self.lake.attempt("sync", kind, "--shards", 1)
            self.assertEqual(done.returncode, INTEGRITY, done.stderr)
            self.assertIn("it is an HTML page", done.stderr, kind)
        self.assertEqual([path for path in self.lake.files() if path.startswith("shards/")], [])
