"""Fetching as a user meets it: probes, plans, exports, limits, over a real nginx."""

import base64
import hashlib
import http.client
import http.server
import json
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import unittest
import xml.etree.ElementTree

import numpy as np

from s3server import S3Server
from support import (
    DIMENSION, FEATURES, INPUTS_MISSING, INTEGRITY, LOCKED, PARTIAL, SHARDS, USAGE, LakeTest, environment, json_lines,
    shown_by_ps)
from webserver import free_port

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
        # The first bytes of each are asked for, which tell its rows.
        self.assertEqual({request["method"] for request in self.server.requests()}, {"HEAD", "GET"})
        self.assertLessEqual(max(request["bytes"] for request in self.server.requests()), 4096)

    def test_probe_names_shards_on_no_mirror(self) -> None:
        self.add(count=SHARDS + 1)
        text = self.lake.run("source", "probe", "images", exits=PARTIAL)
        self.assertIn(f"on no mirror: 1 shard: img_emb_{SHARDS:04}.npy", text)
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
        self.assertIn("the disk is full: ", done.stderr)
        self.assertEqual(self.server.requests(), [])
        self.lake.run("sync", "--keep-free", "1MB", "--bwlimit", "00:00,off 12:00,1GB/s", "--per-host", 1)

    def test_verify_names_damaged_chunks_and_repair_fetches_those_alone(self) -> None:
        self.add()
        self.lake.run("sync")
        asked = len(self.server.requests())
        before = self.lake.files()
        (shard,) = (self.lake.directory / "shards" / "images").glob("img_emb_0002*.npy")
        damaged = bytearray(shard.read_bytes())
        damaged[1000] ^= 4
        shard.write_bytes(damaged)
        (report,) = json_lines(self.lake.run("verify", "--json", exits=INTEGRITY))[:1]
        self.assertEqual([damage["chunks"] for damage in report["damages"]], ["0 of 1"])
        text = self.lake.run("verify", "--repair", exits=INTEGRITY)
        self.assertIn("chunks 0 of 1; restored", text)
        self.assertEqual(self.lake.files(), before)
        (request,) = self.server.requests()[asked:]
        self.assertEqual((request["status"], request["range"]), (206, f"bytes=0-{len(damaged) - 1}"))
        self.lake.run("verify")
        # Cut short it is mended by a sync; with no server left it is named, and kept.
        shard.write_bytes(damaged[:2000])
        (mended, *_, summary) = json_lines(self.lake.run("sync", "--json"))
        self.assertEqual((mended["type"], summary["mended"], summary["fetched"]), ("mended", 1, 0))
        self.assertEqual(self.lake.files(), before)

    def test_a_limit_is_changed_while_a_run_is_under_way(self) -> None:
        self.add()
        self.assertEqual(json.loads(self.lake.run("limit", "--json")), {"bwlimit": None})
        # At this rate the run would take minutes.
        self.lake.run("limit", "20kB/s")
        process = subprocess.Popen(
            self.lake.command("sync", "--json", "--bwlimit", "off"), env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(process.kill)
        for line in process.stdout:
            if json.loads(line)["type"] == "progress":
                break
        # What takes the whole lake waits; what only looks at the source does not.
        self.lake.run("evict", "images", exits=LOCKED)
        self.lake.run("source", "mirror", "list", "images")
        self.lake.run("limit", "off")
        events = [json.loads(line) for line in process.stdout]
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertEqual((events[-1]["type"], events[-1]["fetched"]), ("summary", SHARDS))
        self.assertIn("fetched", {event["type"] for event in events})
        self.assertEqual(self.lake.rows("SELECT setting, value FROM v_setting"), [{"setting": "bwlimit", "value": "off"}])
        self.lake.run("limit", "--clear")
        self.assertEqual(self.lake.rows("SELECT * FROM v_setting"), [])
        self.lake.run("limit", "quick", exits=USAGE)

    def test_a_reconstructed_mirror_is_marked_and_asked_last(self) -> None:
        self.add("--reconstructed", f"{self.server.url}/one/img_emb_{{ordinal:04}}.npy", places=("two",))
        self.assertEqual(
            self.lake.rows("SELECT priority, provenance FROM mirror ORDER BY priority"),
            [{"priority": 0, "provenance": "original"}, {"priority": 1, "provenance": "reconstructed"}])
        self.lake.run("sync")
        asked = [request["uri"] for request in self.server.requests() if request["uri"].startswith("/one/")]
        self.assertEqual(asked, ["/one/img_emb_0003.npy"])

    def test_shards_that_fail_alike_are_told_once_and_counted(self) -> None:
        count = 40
        self.add(places=("nowhere",), count=count)
        done = self.lake.attempt("sync", "--json")
        self.assertEqual(done.returncode, PARTIAL, done.stderr)
        self.assertEqual(sum(event.get("type") == "failed" for event in json_lines(done.stdout)), count)
        lines = [line for line in done.stderr.splitlines() if line.startswith("tarn: img_emb_")]
        self.assertEqual(len(lines), 5)
        (said,) = [line for line in done.stderr.splitlines() if line.startswith(f"tarn: and {count - 5} more shards")]
        query = said.split('"')[1]
        self.assertEqual(len(json.loads(self.lake.run("sql", query, "--format", "json"))), count)

    def test_s9_a_name_and_password_of_netrc_go_to_their_host(self) -> None:
        self.add()
        netrc = self.scratch / ".netrc"
        netrc.write_text("default login d password d\nmachine 127.0.0.1 login u password planted-netrc\n")
        netrc.chmod(0o600)
        server = RecordingServer(FEATURES / "img_emb")
        self.addCleanup(server.stop)
        lake = self.new_lake("other")
        lake.run("source", "add", "images", "--url", f"{server.url}/img_emb_{{ordinal:04}}.npy", "--count", 1,
                 "--dimension", DIMENSION)
        lake.run("sync", HOME=str(self.scratch))
        self.assertTrue(server.headers)
        basic = "Basic " + base64.b64encode(b"u:planted-netrc").decode()
        self.assertEqual([headers.get("Authorization") for headers in server.headers], [basic] * len(server.headers))
        # One that others can read does not count, unless it is named.
        netrc.chmod(0o644)
        for variables, expected in (({}, None), ({"NETRC": str(netrc)}, basic)):
            server.headers.clear()
            lake.run("sync", "--refresh", HOME=str(self.scratch), **variables)
            self.assertEqual({headers.get("Authorization") for headers in server.headers}, {expected})

    def test_a_timetable_that_is_none_is_refused(self) -> None:
        self.add()
        self.lake.run("sync", "--bwlimit", "25:00,1MB/s", exits=USAGE)


class Faces(LakeTest):
    """What a real nginx does when it is set up otherwise."""

    def add(self, url: str) -> None:
        self.lake = self.new_lake()
        self.lake.run("source", "add", "images", "--url", f"{url}/img_emb_{{ordinal:04}}.npy", "--count", SHARDS,
                      "--dimension", DIMENSION, "--sha256", FEATURES / "sha256sums.txt")

    def test_a_server_without_ranges_is_asked_for_the_whole_again(self) -> None:
        rows = np.random.default_rng(1).standard_normal((20_000, DIMENSION)).astype(np.float16)
        (self.scratch / "served").mkdir()
        np.save(self.scratch / "served" / "0.npy", rows)
        server = self.serve(self.scratch / "served", "location / { root @root@; max_ranges 0; limit_rate 12m; }")
        self.lake = self.new_lake()
        self.lake.run("source", "add", "images", "--url", f"{server.url}/{{ordinal}}.npy", "--count", 1, "--dimension", DIMENSION)
        process = subprocess.Popen(self.lake.command("sync", "--quiet"), env=environment(), stderr=subprocess.DEVNULL)
        part, deadline = self.lake.directory / "shards" / "images" / "0.npy.part", time.monotonic() + 60
        while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 1 << 20):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), 130)
        self.lake.run("sync")
        (shard,) = (self.lake.directory / "shards" / "images").glob("0.*.npy")
        np.testing.assert_array_equal(np.load(shard), rows)
        self.assertTrue(any(request["range"] and request["status"] == 200 for request in server.requests()))

    def test_tls_with_an_authority_of_ones_own(self) -> None:
        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], cwd=self.scratch, check=True, capture_output=True)

        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority")
        openssl("req", *new, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=127.0.0.1")
        (self.scratch / "names").write_text("subjectAltName=IP:127.0.0.1")
        openssl("x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "names", "-out", "own.pem")
        port = free_port()
        self.serve(FEATURES, f"""
            listen 127.0.0.1:{port} ssl;
            ssl_certificate {self.scratch}/own.pem;
            ssl_certificate_key {self.scratch}/own.key;
            location / {{ alias @root@/img_emb/; }}
        """)
        self.add(f"https://127.0.0.1:{port}")
        done = self.lake.attempt("sync", "--shards", "0")
        self.assertEqual(done.returncode, PARTIAL, done.stderr)
        self.assertIn("certificate", done.stderr)
        self.lake.run("sync", SSL_CERT_FILE=str(self.scratch / "ca.pem"))
        self.assertEqual({row["trust"] for row in self.lake.rows("SELECT trust FROM v_shard")}, {"manifest"})


class RecordingServer:
    """Serves a directory and keeps the headers of every request."""

    def __init__(self, root: pathlib.Path) -> None:
        self.headers: list[http.client.HTTPMessage] = []
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(root))

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                outer.headers.append(self.headers)
                super().do_GET()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Stores(LakeTest):
    """Shards in an S3-compatible store that checks every signature by itself."""

    KEYS = {"AKPLANTED1": "planted/S3+cret"}
    TOKEN = "planted-token=="

    def setUp(self) -> None:
        super().setUp()
        bucket = self.scratch / "store" / "bucket" / "image features"
        bucket.mkdir(parents=True)
        for name in NAMES:
            shutil.copy(FEATURES / "img_emb" / name, bucket)
        self.server = S3Server(self.scratch / "store", self.KEYS, region="eu-lab-1", token=self.TOKEN)
        self.addCleanup(self.server.stop)
        self.lake = self.new_lake()
        self.lake.run("source", "add", "images", "--url", "s3://bucket/image%20features/img_emb_{ordinal:04}.npy", "--count",
                      SHARDS, "--dimension", DIMENSION)
        self.clean = {name: "" for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")}
        self.keys = {
            "AWS_ENDPOINT_URL": self.server.url, "AWS_REGION": "eu-lab-1", "AWS_ACCESS_KEY_ID": "AKPLANTED1",
            "AWS_SECRET_ACCESS_KEY": self.KEYS["AKPLANTED1"], "AWS_SESSION_TOKEN": self.TOKEN, "HOME": str(self.scratch)}

    def holding(self, *secrets: str) -> list[str]:
        """Files of the lake that hold one of these."""
        return [str(path) for path in self.lake.directory.rglob("*") if path.is_file()
                and any(secret.encode() in path.read_bytes() for secret in secrets)]

    def test_shards_come_from_a_store_that_checks_signatures(self) -> None:
        self.lake.run("source", "probe", "images", **{**self.clean, **self.keys})
        self.assertEqual({method for method, *_ in self.server.requests}, {"HEAD", "GET"})
        self.lake.run("sync", **{**self.clean, **self.keys})
        self.assertEqual(self.server.refusals, [])
        self.assertEqual(
            {row["sha256"] for row in self.lake.rows("SELECT sha256 FROM v_shard")},
            {hashlib.sha256((FEATURES / "img_emb" / name).read_bytes()).hexdigest() for name in NAMES})
        # A range is signed like any other request.
        (shard,) = (self.lake.directory / "shards" / "images").glob("img_emb_0001*.npy")
        shard.write_bytes(shard.read_bytes()[:1000])
        self.lake.run("sync", **{**self.clean, **self.keys})
        self.assertEqual(self.server.requests[-1][2], f"bytes=0-{(FEATURES / 'img_emb' / NAMES[1]).stat().st_size - 1}")
        self.assertEqual(self.server.refusals, [])
        urls = {row["url"].split("/img_emb_")[0] for row in self.lake.rows("SELECT url FROM v_transfer")}
        self.assertEqual(urls, {"s3://bucket/image%20features"})
        self.assertEqual(self.holding("AKPLANTED1", "planted"), [])

    def test_a_profile_of_the_aws_files_is_used(self) -> None:
        (self.scratch / ".aws").mkdir()
        (self.scratch / ".aws" / "credentials").write_text(
            f"[lab]\naws_access_key_id = AKPLANTED1\naws_secret_access_key = {self.KEYS['AKPLANTED1']}\n"
            f"aws_session_token = {self.TOKEN}\n")
        (self.scratch / ".aws" / "config").write_text(
            f"[profile lab]\nregion = eu-lab-1\nendpoint_url = {self.server.url}\n")
        unset = {name: "" for name in self.keys}
        self.lake.run("sync", **{**self.clean, **unset, "HOME": str(self.scratch), "AWS_PROFILE": "lab"})
        self.assertEqual(self.server.refusals, [])

    def test_s4_ps_shows_no_secret_while_a_transfer_runs(self) -> None:
        secrets = {**self.clean, **self.keys, "HF_TOKEN": "hf_planted", "PLANTED": "planted-here"}
        # One that an address gets when it is asked.
        url = f"{self.serve(FEATURES).url}/img_emb/img_emb_{{ordinal:04}}.npy?token={{env:PLANTED}}"
        self.lake.run("source", "add", "open", "--url", url, "--count", 1, "--dimension", DIMENSION)
        for source in ("images", "open"):
            # At this rate the run would take minutes.
            process = subprocess.Popen(
                self.lake.command("sync", source, "--json", "--bwlimit", "20kB/s"), env=environment(**secrets),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.addCleanup(process.kill)
            for line in process.stdout:
                if json.loads(line).get("bytes", 0) > 0:
                    break
            shown = shown_by_ps(process.pid)
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            self.assertEqual(process.wait(timeout=60), 130)
            self.assertIn(f" sync {source} ", shown)
            self.assertIn("tarn-fetch", shown)
            self.assertNotRegex(shown, "planted|PLANTED")

    def test_s4_a_refused_key_is_neither_kept_nor_said(self) -> None:
        for wrong in ({"AWS_SECRET_ACCESS_KEY": "planted-wrong"}, {"AWS_SESSION_TOKEN": "planted-stale"},
                      {"AWS_ACCESS_KEY_ID": "AKPLANTED2"}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}):
            done = self.lake.attempt("sync", "-v", "--jobs", "1", "--shards", "0", **{**self.clean, **self.keys, **wrong})
            self.assertIn(done.returncode, (PARTIAL, 75), done.stderr)
            for text in (done.stdout, done.stderr):
                self.assertNotIn("planted", text)
                self.assertNotIn("AKPLANTED", text)
        self.assertEqual(self.holding("AKPLANTED1", "AKPLANTED2", "planted"), [])
        self.assertGreaterEqual(len(self.server.refusals), 3)


if __name__ == "__main__":
    unittest.main()
