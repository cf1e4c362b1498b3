"""Fetching as a user meets it: probes, plans, exports, limits, over a real nginx."""

import json
import subprocess
import unittest
import xml.etree.ElementTree

from support import DIMENSION, FEATURES, INPUTS_MISSING, PARTIAL, SHARDS, USAGE, LakeTest, json_lines

# The example images; one shard of the second place is missing.
TWO_PLACES = """
    location /one/ { alias @root@/img_emb/; }
    location = /two/img_emb_0003.npy { return 404; }
    location /two/ { alias @root@/img_emb/; }
"""
NAMES = [f"img_emb_{ordinal:04}.npy" for ordinal in range(SHARDS)]


class Fetching(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve(FEATURES, TWO_PLACES)
        self.lake = self.new_lake()

    def add(self, *options: object, places: tuple[str, ...] = ("one", "two"), count: int = SHARDS, exits: int = 0) -> None:
        urls = [f"{self.server.url}/{place}/img_emb_{{ordinal:04}}.npy" for place in places]
        mirrors = [part for url in urls[1:] for part in ("--mirror", url)]
        self.lake.run(
            "source", "add", "images", "--url", urls[0], "--count", count, "--dimension", DIMENSION, *mirrors, *options,
            exits=exits)

    def test_probe_prints_coverage_and_fetches_nothing(self) -> None:
        self.add()
        (report,) = json_lines(self.lake.run("source", "probe", "images", "--json"))
        sizes = [(FEATURES / "img_emb" / name).stat().st_size for name in NAMES]
        self.assertEqual([mirror["present"] for mirror in report["mirrors"]], [SHARDS, SHARDS - 1])
        self.assertEqual([mirror["absent"] for mirror in report["mirrors"]], [0, 1])
        self.assertEqual([mirror["bytes"] for mirror in report["mirrors"]], [sum(sizes), sum(sizes) - sizes[3]])
        self.assertEqual(report["on_no_mirror"], [])
        self.assertEqual({request["method"] for request in self.server.requests()}, {"HEAD"})
        self.assertEqual(sum(request["bytes"] for request in self.server.requests()), 0)

    def test_probe_names_shards_on_no_mirror(self) -> None:
        self.add(count=SHARDS + 1)
        text = self.lake.run("source", "probe", "images", exits=PARTIAL)
        self.assertIn(f"on no mirror: 1 shards: img_emb_{SHARDS:04}.npy", text)
        (plan,) = json_lines(self.lake.run("sync", "--dry-run", "--json"))
        self.assertEqual(plan["missing"], [f"img_emb_{SHARDS:04}.npy"])

    def test_dry_run_says_what_a_sync_would_do_and_changes_nothing(self) -> None:
        self.add("--sizes", FEATURES / "sizes.txt")
        before = self.lake.state()
        (plan,) = json_lines(self.lake.run("sync", "--dry-run", "--json", "--budget", "1MB"))
        sizes = [(FEATURES / "img_emb" / name).stat().st_size for name in NAMES]
        self.assertEqual((plan["shards"], plan["bytes"], plan["unknown_sizes"]), (SHARDS, sum(sizes), 0))
        self.assertEqual((plan["fits_budget"], plan["fits_disk"]), (sum(sizes) <= 1_000_000, True))
        self.assertIsNone(plan["seconds"])
        self.assertEqual(self.lake.state(), before)
        self.assertEqual(self.server.requests(), [])
        self.lake.run("sync", "--shards", "0-2")
        (plan,) = json_lines(self.lake.run("sync", "--dry-run", "--json"))
        self.assertEqual((plan["shards"], plan["present"], plan["bytes"]), (SHARDS - 3, 3, sum(sizes[3:])))
        self.assertGreater(plan["bytes_per_second"], 0)

    def test_probed_sizes_are_enough_to_plan_ids(self) -> None:
        self.lake.add_examples(self.serve(FEATURES).url)
        self.lake.run("sync")
        self.lake.train()
        url = f"{self.server.url}/one/img_emb_{{ordinal:04}}.npy"
        self.lake.run("source", "add", "again", "--url", url, "--count", SHARDS, "--dimension", DIMENSION)
        last = SHARDS - 1
        self.lake.run("sync", "again", "--shards", last)
        build = ("build", "clips", "--trained", "clip", "--images", "again", "--shards", last, "--offline")
        # The ids of a shard depend on the lengths of all before it.
        self.lake.run(*build, exits=INPUTS_MISSING)
        self.lake.run("source", "probe", "again")
        self.lake.run(*build)
        (found,) = self.lake.rows("SELECT first_id FROM v_version_input")
        (before,) = self.lake.rows("SELECT sum(rows) AS rows FROM v_shard WHERE source = 'images' AND ordinal < ?", last)
        self.assertEqual(found["first_id"], before["rows"])

    def test_exports_are_read_by_the_tools_they_are_for(self) -> None:
        self.add()
        self.lake.run("source", "export", "images", "--format", "sha256sum", exits=INPUTS_MISSING)
        self.lake.run("sync")
        sums = self.lake.run("source", "export", "images", "--format", "sha256sum")
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet"], input=sums, text=True, check=True,
                       cwd=FEATURES / "img_emb", capture_output=True)
        self.assertEqual(len(sums.splitlines()), SHARDS)
        document = xml.etree.ElementTree.fromstring(self.lake.run("source", "export", "images", "--format", "metalink"))
        space = {"m": "urn:ietf:params:xml:ns:metalink"}
        files = document.findall("m:file", space)
        self.assertEqual([file.get("name") for file in files], NAMES)
        for file, line in zip(files, sums.splitlines()):
            self.assertEqual(file.findtext("m:hash", namespaces=space), line.split()[0])
            self.assertEqual(int(file.findtext("m:size", namespaces=space)),
                             (FEATURES / "img_emb" / file.get("name")).stat().st_size)
            self.assertTrue(file.findtext("m:url", namespaces=space).endswith(file.get("name")))
        # What was exported is a manifest for another lake.
        (self.scratch / "sums").write_text(sums)
        (self.scratch / "sizes").write_text(self.lake.run("source", "export", "images", "--format", "sizes"))
        other = self.new_lake("other")
        other.run("source", "add", "images", "--url", f"{self.server.url}/one/img_emb_{{ordinal:04}}.npy", "--count", SHARDS,
                  "--dimension", DIMENSION, "--sizes", self.scratch / "sizes", "--sha256", self.scratch / "sums")
        other.run("sync")
        self.assertEqual({row["trust"] for row in other.rows("SELECT trust FROM v_shard")}, {"manifest"})

    def test_a_hugging_face_tree_gives_sizes_and_digests(self) -> None:
        self.add()
        self.lake.run("sync")
        known = {row["shard"]: row for row in self.lake.rows("SELECT shard, sha256, bytes FROM v_shard")}
        tree = [{"type": "directory", "path": "img_emb", "oid": "0" * 40, "size": 0}] + [
            {"type": "file", "path": f"img_emb/{name}", "oid": "1" * 40, "size": row["bytes"],
             "lfs": {"oid": row["sha256"], "size": row["bytes"], "pointerSize": 135}}
            for name, row in known.items()]
        (self.scratch / "tree.json").write_text(json.dumps(tree))
        other = self.new_lake("other")
        other.run("source", "add", "images", "--url", f"{self.server.url}/one/img_emb_{{ordinal:04}}.npy", "--count", SHARDS,
                  "--dimension", DIMENSION, "--hf-tree", self.scratch / "tree.json")
        other.run("sync")
        self.assertEqual({row["trust"] for row in other.rows("SELECT trust FROM v_shard")}, {"manifest"})
        (self.scratch / "tree.json").write_text("{}")
        other.run("source", "add", "more", "--url", f"{self.server.url}/one/img_emb_{{ordinal:04}}.npy", "--count", SHARDS,
                  "--dimension", DIMENSION, "--hf-tree", self.scratch / "tree.json", exits=USAGE)

    def test_the_floor_of_free_space_parks_the_run(self) -> None:
        self.add("--sizes", FEATURES / "sizes.txt")
        done = self.lake.attempt("sync", "--keep-free", "1000TB")
        self.assertEqual(done.returncode, 28, done.stderr)
        self.assertIn("no room", done.stderr)
        self.assertEqual(self.server.requests(), [])
        self.lake.run("sync", "--keep-free", "1MB", "--bwlimit", "00:00,off 12:00,1GB/s", "--per-host", 1)

    def test_a_timetable_that_is_none_is_refused(self) -> None:
        self.add()
        self.lake.run("sync", "--bwlimit", "25:00,1MB/s", exits=USAGE)


if __name__ == "__main__":
    unittest.main()
