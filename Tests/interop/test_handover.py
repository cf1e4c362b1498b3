"""A version handed to somebody else: reproduced from its document, described for others' tools."""

import contextlib
import hashlib
import json
import pathlib
import re
import shutil
import sqlite3
import urllib.parse

from support import FEATURES, SHARDS, USAGE, Lake, LakeTest


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Handover(LakeTest):
    """One lake exports, another has nothing but the document and the server."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(FEATURES)
        self.lake = self.built_lake(self.server.url)

    def shard(self, url: str) -> pathlib.Path:
        """The example file that the server gives for an address."""
        self.assertTrue(url.startswith(self.server.url), url)
        return FEATURES / urllib.parse.urlparse(url).path.lstrip("/")

    def test_an_empty_lake_makes_the_same_bytes_from_the_document_alone(self) -> None:
        document = self.scratch / "clips-1.json"
        document.write_text(self.lake.run("export", "clips@1"))
        expected = {path.name: sha256(path) for path in self.lake.outputs("clips@1")}
        lock = sha256(self.lake.directory / "versions" / "clips@1" / "clips.lock.json")
        self.assertEqual(json.loads(document.read_text())["version_sha256"], lock)
        shutil.rmtree(self.lake.directory)

        other = self.new_lake("elsewhere")
        answer = json.loads(other.run("reproduce", "--from", document, "--allow-inside", "--json"))
        self.assertEqual(answer["outcome"], "identical")
        self.assertEqual({path.name: sha256(path) for path in other.outputs("clips@1")}, expected)
        self.assertEqual(sha256(other.directory / "versions" / "clips@1" / "clips.lock.json"), lock)
        (row,) = other.rows("SELECT outcome FROM reproduction")
        self.assertEqual(row["outcome"], "identical")
        # Again, and from what it exports itself: nothing is fetched or made twice.
        transfers = len(other.rows("SELECT 1 FROM transfer"))
        self.assertEqual(json.loads(other.run("reproduce", "--from", document, "--allow-inside", "--json"))["outcome"], "identical")
        self.assertEqual(len(other.rows("SELECT 1 FROM transfer")), transfers)
        again = json.loads(other.run("export", "clips@1"))
        self.assertEqual(again, json.loads(document.read_text()))

    def test_the_in_toto_statement_names_every_output_and_what_it_was_made_from(self) -> None:
        statement = json.loads(self.lake.run("export", "clips@1", "--format", "in-toto"))
        self.assertEqual(statement["_type"], "https://in-toto.io/Statement/v1")
        self.assertEqual(statement["predicateType"], "https://slsa.dev/provenance/v1")
        self.assertEqual(set(statement), {"_type", "subject", "predicateType", "predicate"})
        self.assertEqual(
            {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]},
            {path.name: sha256(path) for path in self.lake.outputs("clips@1")})
        definition = statement["predicate"]["buildDefinition"]
        self.assertTrue(urllib.parse.urlparse(definition["buildType"]).scheme)
        trained, *shards = definition["resolvedDependencies"]
        self.assertEqual(trained["digest"]["sha256"], sha256(self.lake.trained_path("clip")))
        self.assertEqual(len(shards), 2 * SHARDS)
        for dependency in shards:
            self.assertEqual(dependency["digest"], {"sha256": sha256(self.shard(dependency["uri"]))})
        parameters = definition["externalParameters"]
        inputs = self.lake.rows("SELECT sha256, first_id, rows, output FROM v_version_input ORDER BY input")
        self.assertEqual(
            [{key: entry[key] for key in ("sha256", "first_id", "rows", "output")} for entry in parameters["inputs"]],
            inputs)
        self.assertEqual((parameters["version"], parameters["trained"]["nlist"]), ("clips@1", 64))
        details = statement["predicate"]["runDetails"]
        self.assertTrue(urllib.parse.urlparse(details["builder"]["id"]).scheme)
        for time in (details["metadata"]["startedOn"], details["metadata"]["finishedOn"]):
            self.assertRegex(time, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        (lock,) = details["byproducts"]
        self.assertEqual(
            lock["digest"]["sha256"], sha256(self.lake.directory / "versions" / "clips@1" / "clips.lock.json"))

    def check_croissant(self, document: dict) -> list[dict]:
        """The rules of Croissant 1.0 for a dataset of files; gives its files."""
        self.assertEqual(document["@type"], "sc:Dataset")
        self.assertEqual(document["conformsTo"], "http://mlcommons.org/croissant/1.0")
        self.assertEqual(document["@context"]["@vocab"], "https://schema.org/")
        self.assertEqual(document["@context"]["cr"], "http://mlcommons.org/croissant/")
        for required in ("name", "description", "version", "datePublished"):
            self.assertTrue(document[required])
        self.assertRegex(document["version"], r"^\d+\.\d+\.\d+$")
        files = document["distribution"]
        identifiers = [file["@id"] for file in files]
        self.assertEqual(len(set(identifiers)), len(identifiers))
        for file in files:
            self.assertEqual(file["@type"], "cr:FileObject")
            self.assertTrue(file["name"] and file["contentUrl"] and file["encodingFormat"])
            self.assertIsNotNone(re.fullmatch(r"[0-9a-f]{64}", file["sha256"]))
            self.assertIsNotNone(re.fullmatch(r"\d+ B", file["contentSize"]))
        return files

    def test_croissant_describes_a_version_and_a_source(self) -> None:
        document = json.loads(self.lake.run("export", "clips@1", "--format", "croissant", "--json"))
        files = self.check_croissant(document)
        outputs = {path.name: path for path in self.lake.outputs("clips@1")}
        for file in files:
            path = outputs.get(file["contentUrl"]) or self.shard(file["contentUrl"])
            self.assertEqual((file["sha256"], file["contentSize"]), (sha256(path), f"{path.stat().st_size} B"))
        self.assertEqual(len(files), len(outputs) + 2 * SHARDS)

        source = json.loads(self.lake.run("source", "export", "images", "--format", "croissant"))
        files = self.check_croissant(source)
        self.assertEqual(len(files), SHARDS)
        for file in files:
            self.assertEqual(file["sha256"], sha256(self.shard(file["contentUrl"])))

    def test_croissant_of_a_source_without_digests_is_refused(self) -> None:
        lake: Lake = self.new_lake("empty")
        lake.add_examples(self.server.url)
        done = lake.attempt("source", "export", "images", "--format", "croissant")
        self.assertEqual(done.returncode, 21)
        self.assertIn(f"{SHARDS} of {SHARDS} shards of images have no digest", done.stderr)

    def test_a_document_of_somebody_else_reads_nothing_here(self) -> None:
        document = self.scratch / "theirs.json"
        document.write_text(self.lake.run("export", "clips@1"))
        other = self.new_lake("careful")
        done = other.attempt("reproduce", "--from", document)
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertIn("--allow-inside", done.stderr)
        self.assertEqual(other.rows("SELECT count(*) AS held FROM v_shard WHERE state = 'present'")[0]["held"], 0)
        # The user's word is enough, also later.
        answer = json.loads(other.run("reproduce", "--from", document, "--allow-inside", "--json"))
        self.assertEqual(answer["outcome"], "identical")

    def test_a_secret_of_an_address_is_a_place_that_the_environment_fills_in(self) -> None:
        lake = self.new_lake("secrets")
        url = f"{self.server.url}/img_emb/img_emb_{{ordinal:04}}.npy"
        arguments = ("source", "add", "images", "--count", 1, "--dimension", 512, "--url")
        done = lake.attempt(*arguments, f"{url}?token=planted-secret")
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("'token'", done.stderr)
        self.assertNotIn("planted-secret", done.stderr + done.stdout)
        lake.run(*arguments, f"{url}?token={{env:PLANTED}}&id=7", "--keep-query", "ID")
        done = lake.attempt("sync")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("PLANTED", done.stderr)
        said = lake.run("sync", PLANTED="planted-secret")
        croissant = lake.run("source", "export", "images", "--format", "croissant")
        metalink = lake.run("source", "export", "images", "--format", "metalink")
        shown = lake.run("source", "show", "images", "--json")
        for text in (croissant, metalink.replace("&amp;", "&"), shown):
            self.assertIn("?token={env:PLANTED}&id=7", text)
        held = b"".join(path.read_bytes() for path in lake.directory.rglob("*") if path.is_file())
        self.assertNotIn(b"planted-secret", held + (said + croissant + metalink + shown).encode())

    def test_a_secret_that_an_older_tarn_kept_is_shown_nowhere(self) -> None:
        lake = self.new_lake("older")
        lake.run(
            "source", "add", "images", "--count", 1, "--dimension", 512, "--url",
            f"{self.server.url}/img_emb/img_emb_{{ordinal:04}}.npy")
        with contextlib.closing(sqlite3.connect(lake.directory / "catalog.sqlite")) as catalog, catalog:
            catalog.execute("UPDATE shard_location SET url = url || '?token=planted-secret'")
            catalog.execute("UPDATE mirror SET template = template || '?token=planted-secret'")
        said = [
            lake.run("sync"), lake.run("source", "show", "images"), lake.run("source", "probe", "images"),
            lake.run("source", "export", "images", "--format", "metalink"),
            lake.run("source", "export", "images", "--format", "croissant"),
        ]
        self.assertIn("token=REDACTED", said[1])
        self.assertNotIn("planted-secret", "".join(said))