"""What a sealed version's digest was, it stays: a lake of schema 9 against this tarn.

Fixtures/lake-schema9.tar.gz is the catalog, the lock files and the documents of a lake made by tarn at
schema 9 from the example features, with a version of each kind: paired k-means, plain k-means, a mean of
captions and a learned router, in each codec. Its digests are the pins of this file.
"""

import hashlib
import pathlib
import shutil
import sqlite3
import tarfile

from support import FEATURES, Lake, LakeTest

FIXTURE = pathlib.Path(__file__).parents[1] / "Fixtures" / "lake-schema9.tar.gz"

# How each trained index of the fixture was made.
TRAININGS = {
    "clip": ("--captions", "captions", "--nlist", 64, "--iterations", 10, "--seed", 1),
    "plain": ("--nlist", 32, "--method", "kmeans", "--codec", "sq8"),
    "mean": ("--captions", "captions", "--nlist", 32, "--codec", "fp16", "--router", "caption-mean"),
    "learned": (
        "--captions", "captions", "--nlist", 32, "--codec", "sq4", "--ranges", "quantiles:0.005", "--router", "learned",
        "--router-epochs", 3),
    "flat": ("--captions", "captions", "--nlist", 16, "--codec", "flat"),
}
VERSIONS = [f"{name}@1" for name in TRAININGS]


class OldLake(LakeTest):
    """A catalog of schema 9, and the same job done anew."""

    def restored(self) -> Lake:
        """The old lake with its shards in their places and every artifact lost."""
        directory = self.scratch / "old"
        with tarfile.open(FIXTURE) as archive:
            archive.extractall(directory, filter="data")
        for name in ("artifacts", "scratch"):
            (directory / name).mkdir()
        self.pins = pins(directory / "catalog.sqlite")
        for path, name, source in self.pins["shards"]:
            target = directory / "shards" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(FEATURES / {"images": "img_emb", "captions": "text_emb"}[source] / name, target)
        return Lake(directory)

    def train(self, lake: Lake) -> None:
        for name, options in TRAININGS.items():
            lake.run("train", name, "--images", "images", *options)

    def test_a_lake_of_schema_9_migrates_and_reproduces(self) -> None:
        lake = self.restored()
        locks = {path.name: path.read_bytes() for path in lake.directory.glob("versions/*/*.lock.json")}
        self.assertEqual(len(locks), len(VERSIONS))
        # The trained files are gone: the same inputs give the same bytes, or this fails.
        self.train(lake)
        self.assertTrue((lake.directory / "catalog.sqlite.backup-schema9").exists())
        for version in VERSIONS:
            self.assertIn("identical", lake.run("reproduce", version))
        # Outputs and segments are gone too: made again from shards, under every name they had.
        lake.run("verify", "--repair", exits=20)
        report = lake.run("verify", "--json", exits=0)
        self.assertIn('"damages":[]', report)
        self.assertEqual(self.found(lake), self.pins["digests"])
        for path in lake.directory.glob("versions/*/*.lock.json"):
            self.assertEqual(path.read_bytes(), locks[path.name], path.name)
        with sqlite3.connect(f"file:{lake.directory}/catalog.sqlite?mode=ro", uri=True) as connection:
            events = connection.execute("SELECT count(*) FROM event WHERE actor = 'root@example'").fetchone()
            evaluations = connection.execute("SELECT count(*) FROM evaluation_recall").fetchone()
            pinned = connection.execute("SELECT version FROM v_pin WHERE unpinned_at IS NULL").fetchall()
        self.assertEqual(events[0], self.pins["events"])
        self.assertEqual(evaluations[0], self.pins["recalls"])
        self.assertEqual(pinned, [("plain@1",)])

    def test_the_same_job_done_anew_has_the_same_digests(self) -> None:
        self.restored()
        lake = self.new_lake("new")
        for name, kind, modality in (("images", "img_emb", "image"), ("captions", "text_emb", "text")):
            lake.run(
                "source", "add", name, "--url", f"https://features.example/{kind}/{kind}_{{ordinal:04}}.npy", "--count", 6,
                "--dimension", 512, "--dtype", "float16", "--modality", modality, "--sizes", FEATURES / "sizes.txt",
                "--sha256", FEATURES / "sha256sums.txt")
            lake.run("import", name, *sorted((FEATURES / kind).glob("*.npy")))
        self.train(lake)
        for name in TRAININGS:
            lake.run("build", name, "--trained", name, "--images", "images", "--shards-per-output", 2)
        self.assertEqual(self.found(lake), self.pins["digests"])
        segments = {row["sha256"] for row in lake.rows("SELECT sha256 FROM segment")}
        self.assertEqual(segments, self.pins["segments"])
        for path in sorted((lake.directory / "artifacts").rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), path.stem, path)

    def found(self, lake: Lake) -> dict:
        return digests(lake.directory / "catalog.sqlite")


def digests(catalog: pathlib.Path) -> dict:
    """Digests of trained indexes, outputs and versions, as the views tell them."""
    with sqlite3.connect(f"file:{catalog}?mode=ro", uri=True) as connection:
        return {
            "trained": dict(connection.execute("SELECT trained_index, sha256 FROM v_trained_index")),
            "versions": dict(connection.execute("SELECT version, sha256 FROM v_version")),
            "outputs": connection.execute(
                "SELECT version, output, sha256, lists_sha256 FROM v_output_shard ORDER BY version, output").fetchall(),
        }


def pins(catalog: pathlib.Path) -> dict:
    """What a catalog of schema 9 says, read by SQL of that schema."""
    with sqlite3.connect(f"file:{catalog}?mode=ro", uri=True) as connection:
        return {
            "digests": digests(catalog),
            "segments": {row[0] for row in connection.execute("SELECT sha256 FROM segment")},
            "shards": connection.execute(
                "SELECT h.path, h.name, s.name FROM shard h JOIN source s ON s.id = h.source_id").fetchall(),
            "events": connection.execute("SELECT count(*) FROM event").fetchone()[0],
            "recalls": connection.execute("SELECT count(*) FROM evaluation_recall").fetchone()[0],
        }
