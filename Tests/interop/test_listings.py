"""Sources whose names follow no pattern: listed in a Hub's tree, in a prefix of a real
S3-compatible store (OpenStack Swift), and in a plain list at an address."""

import hashlib
import io
import json
import unittest
import urllib.parse

import numpy as np

from hubserver import Hub
from objectstore import ObjectStore
from support import FAILURE, INPUTS_MISSING, INTEGRITY, PARTIAL, USAGE, LakeTest

DIMENSION = 8
TOKEN = "hf_planted3"
ACCESS_KEY, SECRET_KEY = "lab:AKPLANTED5", "planted/S3cret"
ODD = "100% + a b/é~ü/(x)'!*;=&,$@:"


def features(seed: int, rows: int = 4) -> bytes:
    file = io.BytesIO()
    values = np.random.default_rng(seed).standard_normal((rows, DIMENSION))
    np.save(file, (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16))
    return file.getvalue()


def name(seed: int) -> str:
    """As DataComp calls its shards: a digest, which says nothing of the order."""
    return hashlib.md5(str(seed).encode()).hexdigest()


def dataset(seeds: range) -> dict[str, bytes]:
    files = {"README.md": b"# features\n", ".gitattributes": b"*.npy filter=lfs\n"}
    for seed in seeds:
        files[f"shards/{name(seed)}.npy"] = features(seed, seed + 3)
        files[f"shards/{name(seed)}.parquet"] = b"PAR1" + bytes([seed]) * 20 + b"PAR1"
    return files


class Listings(LakeTest):
    def setUp(self) -> None:
        super().setUp()
        self.lake = self.new_lake()

    def hub(self, **options: object) -> Hub:
        hub = Hub(**options)
        self.addCleanup(hub.stop)
        return hub

    def add(self, hub: Hub, *options: object, place: str = "hf://datasets/org/set/shards", exits: int = 0,
            **environ: str) -> str:
        done = self.lake.attempt(
            "source", "add", "images", "--listing", place, *(options or ("--match", "*.npy")),
            HF_ENDPOINT=hub.url, **environ)
        self.assertEqual(done.returncode, exits, done.stderr)
        return done.stdout + done.stderr

    def refresh(self, *options: object) -> dict:
        return json.loads(self.lake.run("source", "refresh", "images", "--json", "--patience", "0", *options))

    def shards(self) -> list[str]:
        return [row["name"] for row in self.lake.rows("SELECT name FROM shard ORDER BY ordinal")]

    def test_a_tree_gives_names_sizes_and_digests_as_of_a_commit(self) -> None:
        hub = self.hub()
        commit = hub.commit(dataset(range(6)))
        said = self.add(hub)
        self.assertIn("6 shards on 1 mirror, 6 sizes, 6 digests known", said)
        expected = sorted(f"{name(seed)}.npy" for seed in range(6))
        self.assertEqual(self.shards(), expected)
        (listing,) = self.lake.rows("SELECT kind, place, pattern, commit_id, sha256, names FROM v_listing")
        text = "".join(
            f"{hashlib.sha256(data).hexdigest()} {len(data)} {path}\n"
            for path, data in sorted(hub.commits[commit].items()) if path.endswith(".npy"))
        self.assertEqual(listing, {
            "kind": "hub", "place": f"{hub.url}/datasets/org/set/tree/main/shards", "pattern": "*.npy", "commit_id": commit,
            "sha256": hashlib.sha256(text.encode()).hexdigest(), "names": 6})
        # What is fetched is the commit's, whatever the branch has by then.
        hub.commit(dataset(range(7, 9)))
        self.lake.run("sync")
        trusts = self.lake.rows("SELECT trust, sha256 FROM v_shard ORDER BY ordinal")
        self.assertEqual({row["trust"] for row in trusts}, {"manifest"})
        for row, shard in zip(trusts, expected):
            self.assertEqual(row["sha256"], hashlib.sha256(hub.commits[commit][f"shards/{shard}"]).hexdigest())
        self.assertIn(f"commit {commit}", self.lake.run("source", "show", "images"))
        croissant = json.loads(self.lake.run("source", "export", "images", "--format", "croissant"))
        self.assertEqual(croissant["isBasedOn"]["version"], commit)
        self.lake.run("verify")

    def test_only_what_the_pattern_is_of_becomes_a_shard(self) -> None:
        hub = self.hub(page=1)
        hub.commit({**dataset(range(2)), "shards/deep/a.npy": features(9), "other/b.npy": features(10)})
        # Without a pattern the feature files are, if they are of one format: the rest is no shard's.
        said = self.add(hub, "--dimension", DIMENSION, place="hf://datasets/org/set", exits=USAGE)
        self.assertIn("choose with --match '*.npy'", said)
        hub.commit({path: data for path, data in hub.commits[hub.branches["main"]].items() if not path.endswith(".parquet")})
        self.add(hub, "--dimension", DIMENSION, place="hf://datasets/org/set")
        names = [f"{name(seed)}.npy" for seed in range(2)] + ["a.npy", "b.npy"]
        self.assertEqual(sorted(self.shards()), sorted(names))
        other = self.new_lake("other")
        for pattern in ("**", "*.md"):
            done = other.attempt("source", "add", "z", "--listing", f"{hub.url}/api/datasets/org/set/tree/main",
                                 "--match", pattern, "--dimension", "4", "--dtype", "float16")
            self.assertEqual(done.returncode, USAGE, done.stderr)
            self.assertRegex(done.stderr, r"(README\.md|gitattributes).*is no feature file.*--match")
        done = other.attempt("source", "add", "x", "--listing", f"{hub.url}/api/datasets/org/set/tree/main",
                             "--match", "shards/*.npy")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(other.rows("SELECT 1 FROM shard")), 2)
        done = other.attempt("source", "add", "y", "--listing", f"{hub.url}/datasets/org/set/tree/main",
                             "--match", "*.safetensors")
        self.assertEqual(done.returncode, INPUTS_MISSING, done.stderr)
        self.assertIn("--match", done.stderr)

    def test_a_refresh_shows_what_came_went_moved_and_changed(self) -> None:
        hub = self.hub()
        first = hub.commit(dataset(range(5)))
        self.add(hub)
        names = self.shards()
        self.lake.run("sync", "--shards", "0-1")
        before = dict(hub.commits[first])
        after = {path: data for path, data in before.items() if path != f"shards/{names[0]}"}
        after[f"shards/{'0' * 32}.npy"] = features(50)
        after["shards/renamed.npy"] = after.pop(f"shards/{names[2]}")
        after[f"shards/{names[1]}"] = features(60)
        after[f"shards/{names[3]}"] = features(61, 30)
        second = hub.commit(after)
        state = self.lake.state()
        shown = self.refresh("--dry-run")
        self.assertEqual(self.lake.state(), state)
        told = self.refresh()
        self.assertEqual({**shown, "dry_run": False}, told)
        self.assertEqual(told["added"], [f"{'0' * 32}.npy"])
        self.assertEqual(told["gone"], [names[0]])
        self.assertEqual(told["moved"], [{"shard": names[2], "to": "shards/renamed.npy", "taken": True}])
        # What was fetched is kept as it was; what was not is expected as it is now.
        self.assertEqual(told["changed"], [{"shard": names[1], "taken": False}, {"shard": names[3], "taken": True}])
        self.assertEqual(told["listing"]["commit"], second)
        # Behind the others whatever its name, and no ordinal moved.
        self.assertEqual(self.shards(), [*names, f"{'0' * 32}.npy"])
        self.assertEqual(self.refresh()["moved"], [])
        self.assertEqual(len(self.lake.rows("SELECT 1 FROM v_listing")), 2)
        self.lake.run("sync")
        row = self.lake.rows("SELECT sha256 FROM v_shard WHERE ordinal = 3")[0]
        self.assertEqual(row["sha256"], hashlib.sha256(features(61, 30)).hexdigest())
        # A commit is what it was; a revision that is named is followed from then on.
        self.assertEqual(self.refresh("--revision", first)["added"], [])
        self.assertEqual(self.refresh("--dry-run")["added"], [])
        self.lake.run("verify")
        self.lake.run("doctor")

    def test_what_a_version_states_stays(self) -> None:
        hub = self.hub()
        first = hub.commit(dataset(range(4)))
        self.add(hub)
        names = self.shards()
        self.lake.run("sync")
        self.lake.run("train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2")
        self.lake.run("build", "v", "--trained", "t", "--images", "images")
        files = dict(hub.commits[first])
        files["shards/renamed.npy"] = files.pop(f"shards/{names[1]}")
        files["shards/more.npy"] = features(70)
        hub.commit(files)
        told = self.refresh()
        self.assertEqual(told["moved"], [{"shard": names[1], "to": "shards/renamed.npy", "taken": False}])
        self.assertEqual(told["added"], ["more.npy"])
        self.assertIn("v@1 rests on it", self.lake.run("source", "refresh", "images", "--patience", "0"))
        self.lake.run("sync")
        self.lake.run("build", "v", "--trained", "t", "--images", "images")
        for arguments in (["verify"], ["doctor"], ["reproduce", "v@1"], ["reproduce", "v@2"]):
            self.lake.run(*arguments)
        # The commit of before is still there to be had.
        self.lake.run("evict", "images")
        self.lake.run("sync")

    def test_what_another_listing_does_not_tell_of_stays_absent(self) -> None:
        hub, other = self.hub(), self.hub()
        first = hub.commit(dataset(range(3)))
        self.add(hub)
        names = self.shards()
        self.lake.run("sync")
        self.lake.run("train", "t", "--images", "images", "--method", "kmeans", "--nlist", "2")
        self.lake.run("build", "v", "--trained", "t", "--images", "images")
        hub.commit({path: data for path, data in hub.commits[first].items() if path != f"shards/{names[1]}"})
        self.assertEqual(self.refresh()["gone"], [names[1]])
        state = f"SELECT state FROM v_location WHERE shard = '{names[1]}'"
        self.assertEqual(self.lake.rows(state), [{"state": "absent"}])
        # A place of other files says nothing of this one, and the last copy stays.
        other.commit(dataset(range(5, 7)))
        told = self.refresh("--listing", f"{other.url}/datasets/org/set/tree/main/shards", "--match", "*.npy")
        self.assertEqual(len(told["added"]), 2)
        self.assertEqual(self.lake.rows(state), [{"state": "absent"}])
        self.lake.run("evict", "images")
        kept = self.lake.rows("SELECT shard FROM v_shard WHERE state = 'present'")
        self.assertEqual(kept, [{"shard": names[1]}])

    def test_a_token_goes_to_the_hub_and_nowhere_else(self) -> None:
        hub = self.hub(token=TOKEN)
        hub.commit(dataset(range(3)))
        said = self.add(hub, exits=FAILURE)
        self.assertIn("HF_TOKEN", said)
        self.assertEqual(self.lake.rows("SELECT 1 FROM source"), [])
        self.add(hub, HF_TOKEN=TOKEN)
        self.lake.run("sync", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
        self.assertEqual({token for _, token in hub.stored}, {None})
        self.assertTrue(hub.stored)
        for path in self.lake.directory.rglob("*"):
            if path.is_file():
                self.assertNotIn(TOKEN.encode(), path.read_bytes(), path)

    def test_a_hub_that_wants_time_is_waited_for(self) -> None:
        hub = self.hub()
        hub.commit(dataset(range(3)))
        hub.scripted = [(429, {"Retry-After": "1"}, b"")]
        self.add(hub, "--match", "*.npy", "--patience", "1m")
        self.assertEqual(len(self.shards()), 3)

    def test_a_digest_that_lies_is_found(self) -> None:
        hub = self.hub()
        hub.commit(dataset(range(2)))
        path = f"shards/{name(0)}.npy"
        hub.lies[path] = "0" * 64
        self.add(hub)
        done = self.lake.attempt("sync")
        self.assertIn(done.returncode, (PARTIAL, INTEGRITY), done.stderr)
        self.assertIn(f"{name(0)}.npy", done.stderr)
        self.assertEqual(len(self.lake.rows("SELECT 1 FROM v_shard WHERE state = 'present'")), 1)

    def test_hostile_answers_register_nothing(self) -> None:
        hub = self.hub(page=2)
        hub.commit(dataset(range(3)))
        sha = (200, {}, json.dumps({"sha": hub.branches["main"]}).encode())
        entry = {"type": "file", "size": 1000, "path": "shards/a.npy"}

        def page(*entries: object, **fields: str) -> tuple[int, dict[str, str], bytes]:
            return (200, fields, json.dumps(entries).encode())

        here = f"{hub.url}/api/datasets/org/set/tree/{hub.branches['main']}/shards"
        cases = {
            "it is no JSON": [(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>sign in</html>")],
            "it is no array": [(200, {}, b'{"error": "x"}')],
            "nested deeper": [(200, {}, b"[" * 5000)],
            "no type and path": [page({"path": 3})],
            "no number of bytes": [page({**entry, "size": "many"})],
            "not a SHA-256": [page({**entry, "lfs": {"oid": "beef", "size": 1}})],
            "by '.' or '..'": [page({**entry, "path": "shards/../../a.npy"})],
            "not below it": [page({**entry, "path": "secrets/a.npy"})],
            "not seen": [page({**entry, "path": "shards/a\u202e\u0007.npy"})],
            "twice": [page(entry, entry)],
            "cannot be the bytes": [page({**entry, "size": 1 << 60})],
            "comes again": [page(entry, Link=f'<{here}?cursor=1>; rel="next"'),
                            page(Link=f'<{here}?cursor=1>; rel="next"')],
            "elsewhere": [page(entry, Link=f'<{hub.store}/api/datasets/org/set/tree/x?cursor=1>; rel="next"')],
            "not followed": [page(entry, Link='<file:///etc/passwd>; rel="next"')],
            "without a cursor": [page(entry, Link=f'<{here}?page=2>; rel="next"')],
            "2 next pages": [page(entry, Link=f'<{here}?cursor=1>; rel="next", <{here}?cursor=2>; rel="next"')],
            "8.39 MB": [(200, {}, b"[" + b" " * (9 << 20) + b"]")],
            "HTTP 403": [(403, {}, b"{}")],
            "HTTP 503": [(503, {"Retry-After": "9"}, b"")],
        }
        for expected, answers in cases.items():
            with self.subTest(expected):
                hub.scripted = [sha, *answers]
                done = self.lake.attempt(
                    "source", "add", "images", "--listing", "hf://datasets/org/set/shards", "--match", "*.npy",
                    "--dimension", DIMENSION, HF_ENDPOINT=hub.url)
                self.assertNotEqual(done.returncode, 0, expected)
                self.assertIn(expected, done.stderr)
                self.assertEqual(done.stderr.count("\n"), done.stderr.count("\ntarn") + 1, done.stderr)
                self.assertEqual(self.lake.rows("SELECT 1 FROM source"), [])
        hub.scripted = []
        done = self.lake.attempt("source", "add", "images", "--listing", "hf://datasets/org/none", HF_ENDPOINT=hub.url)
        self.assertIn("there is no", done.stderr)
        for place in ("hf://datasets/org", "ftp://host/x", "s3://", "https://host/datasets/org/set", "hf://datasets/../x/y"):
            done = self.lake.attempt("source", "add", "images", "--listing", place)
            self.assertEqual(done.returncode, USAGE, done.stderr)

    def test_a_list_at_an_address(self) -> None:
        root = self.scratch / "web"
        root.mkdir()
        server = self.serve(root)
        for seed in range(3):
            (root / f"{name(seed)}.npy").write_bytes(features(seed))
        lines = [f"{server.url}/{name(seed)}.npy" for seed in range(2)]
        (root / "urls.txt").write_text("\n".join(lines))
        address = f"{server.url}/urls.txt"
        done = self.lake.attempt("source", "add", "images", "--url-list", address)
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertIn("--allow-inside", done.stderr)
        self.lake.run("source", "add", "images", "--url-list", address, "--allow-inside")
        # As given, not sorted.
        self.assertEqual(self.shards(), [f"{name(seed)}.npy" for seed in range(2)])
        self.lake.run("sync")
        (root / "urls.txt").write_text("\n".join([f"{server.url}/{name(2)}.npy", *lines]))
        self.assertEqual(self.refresh()["added"], [f"{name(2)}.npy"])
        self.assertEqual(self.refresh()["added"], [])
        kinds = self.lake.rows("SELECT number, kind, place, names FROM v_listing ORDER BY number")
        self.assertEqual(kinds, [
            {"number": 1, "kind": "list", "place": address, "names": 2},
            {"number": 2, "kind": "list", "place": address, "names": 3}])
        self.lake.run("sync")
        self.lake.run("verify")


class StoreListings(LakeTest):
    @classmethod
    def setUpClass(cls) -> None:
        cls.store = ObjectStore(ACCESS_KEY, SECRET_KEY, listing_limit=3)
        cls.addClassCleanup(cls.store.stop)
        for seed in range(7):
            cls.store.put("bucket", f"{ODD}/{name(seed)}.npy", features(seed, seed + 2))
            cls.store.put("bucket", f"{ODD}/{name(seed)}.parquet", b"PAR1")
        cls.store.put("bucket", f"{ODD}/+plus and space%20.npy", features(80))
        cls.store.put("bucket", "elsewhere/x.npy", features(90))

    def test_a_prefix_gives_names_and_sizes(self) -> None:
        keys = {
            "HOME": str(self.scratch), "AWS_ENDPOINT_URL": self.store.url, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_PROFILE": "", "AWS_ENDPOINT_URL_S3": "", "AWS_SESSION_TOKEN": ""}
        lake = self.new_lake()
        place = f"s3://bucket/{urllib.parse.quote(ODD)}/"
        lake.run("source", "add", "images", "--listing", place, "--match", "*.npy", **keys)
        expected = sorted([f"{name(seed)}.npy" for seed in range(7)] + ["+plus and space%20.npy"])
        self.assertEqual([row["name"] for row in lake.rows("SELECT name FROM shard ORDER BY ordinal")], expected)
        (listing,) = lake.rows("SELECT kind, names, commit_id FROM v_listing")
        self.assertEqual(listing, {"kind": "store", "names": 8, "commit_id": None})
        lake.run("sync", **keys)
        self.assertEqual(len(lake.rows("SELECT 1 FROM v_shard WHERE state = 'present'")), 8)
        # A tag of the store is no digest.
        self.assertEqual({row["trust"] for row in lake.rows("SELECT trust FROM v_shard")}, {"first-use"})
        self.store.put("bucket", f"{ODD}/deep/{name(99)}.npy", features(99))
        told = json.loads(lake.run("source", "refresh", "images", "--json", **keys))
        self.assertEqual((told["added"], told["gone"], told["changed"]), ([f"{name(99)}.npy"], [], []))
        done = lake.attempt("source", "add", "none", "--listing", "s3://nobodys/x/", **keys)
        self.assertEqual(done.returncode, INPUTS_MISSING, done.stderr)
        self.assertIn("NoSuchBucket", done.stderr)
        done = lake.attempt("source", "add", "none", "--listing", "s3://bucket/nothing/", **keys)
        self.assertEqual(done.returncode, INPUTS_MISSING, done.stderr)


if __name__ == "__main__":
    unittest.main()
