"""`tarn serve`: clip-retrieval's own client, answers as `tarn search` gives them, hostile requests, pages in a browser."""

import base64
import contextlib
import http.client
import importlib.util
import json
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

from support import FEATURES, ROOT, Lake, LakeTest, environment
from webserver import die_with_parent, free_port, nginx_binary

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUERIES = np.load(FEATURES / "queries.npy").astype(np.float32)


def clip_client():
    """clip-retrieval's module of its client; the package around it would import torch."""
    spec = importlib.util.find_spec("clip_retrieval")
    if spec is None:
        return None
    path = pathlib.Path(spec.submodule_search_locations[0]) / "clip_client.py"
    spec = importlib.util.spec_from_file_location("clip_client", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Server:
    """A `tarn serve` that listens."""

    def __init__(self, lake: Lake, *options: object, files: int | None = None) -> None:
        limit = None if files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            lake.command("serve", *options, "--listen", f"127.0.0.1:{self.port}", "--json"), env=environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit)
        self.said = json.loads(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())

    def get(self, path: str, **headers: str) -> tuple[int, bytes, dict]:
        return self.ask("GET", path, **headers)

    def knn(self, **members: object) -> tuple[int, object]:
        asked = {"modality": "image", "num_images": 10, "indice_name": "clips"} | members
        status, body, _ = self.ask("POST", "/knn-service", asked)
        return status, json.loads(body)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


class Serve(LakeTest):
    @classmethod
    def setUpClass(cls) -> None:
        """One lake and one server for what changes neither."""
        made = cls("setUpClass")
        LakeTest.setUp(made)
        cls.addClassCleanup(made.doCleanups)
        cls.lake = made.built_lake(made.serve(FEATURES).url)
        cls.server = Server(cls.lake)
        cls.addClassCleanup(cls.server.stop)

    def searched(self, *options: object) -> list[dict]:
        out = self.lake.run("search", "clips@1", "--queries", FEATURES / "queries.npy", "--json", *options)
        return [json.loads(line) for line in out.splitlines()]

    # The protocol

    def test_clip_client_gets_what_search_finds(self) -> None:
        module = clip_client()
        if module is None:
            self.skipTest("clip-retrieval is not installed (pip install --no-deps clip-retrieval)")
        client = module.ClipClient(
            url=f"{self.server.url}/knn-service", indice_name="clips@1", num_images=20, deduplicate=False)
        for number, line in enumerate(self.searched("-k", 20)[:10]):
            hits = client.query(embedding_input=QUERIES[number].tolist())
            self.assertEqual([hit["id"] for hit in hits], line["ids"])
            self.assertEqual([hit["similarity"] for hit in hits], line["scores"])
            self.assertEqual([(hit["shard"], hit["row"]) for hit in hits], list(zip(line["shards"], line["rows"])))
        # What goes wrong is JSON too, and says what.
        self.assertIn("encoder", client.query(text="a red bicycle")["message"])
        picture = self.scratch / "picture.png"
        picture.write_bytes(b"\x89PNG")
        self.assertIn("encoder", client.query(image=str(picture))["message"])
        self.assertIn("image_url", client.query(image="http://127.0.0.1/picture.png")["message"])
        self.assertIn("512", client.query(embedding_input=[1.0, 2.0])["message"])
        other = module.ClipClient(url=f"{self.server.url}/knn-service", indice_name="none")
        self.assertIn("clips@1", other.query(embedding_input=QUERIES[0].tolist())["message"])

    def test_words_pictures_and_rows_are_searched_for(self) -> None:
        """An encoder that knows two texts and one picture: what is found is what `tarn search` finds with it."""
        encoder = self.scratch / "encode.py"
        encoder.write_text(
            "import json, sys\nimport numpy as np\n"
            f"rows = np.load({str(FEATURES / 'queries.npy')!r}).astype('float32')\n"
            "for line in sys.stdin:\n"
            "    asked = json.loads(line)\n"
            "    if asked.get('text') == 'strange': print(json.dumps({'error': 'I do not know that'}), flush=True); continue\n"
            "    number = len(asked['text']) if 'text' in asked else open(asked['image'], 'rb').read()[0]\n"
            "    row = rows[number] / np.linalg.norm(rows[number])\n"
            "    print(json.dumps({'embedding': row.tolist()}), flush=True)\n")
        command = f"{sys.executable} {encoder}"
        server = Server(self.lake, "--encoder", command)
        self.addCleanup(server.stop)

        def ids(*options: object) -> list[int]:
            return json.loads(self.lake.run("search", "clips@1", "--json", "-k", 40, *options))["ids"]

        by_text = ids("--text", "a red bicycle", "--encoder", command)
        by_unique = ids("--text", "a red bicycle", "--encoder", command, "--unique", 0.94)
        self.assertNotEqual(by_text, by_unique)
        status, hits = server.knn(text="a red bicycle", num_images=40)
        self.assertEqual([hit["id"] for hit in hits], by_text)
        picture = self.scratch / "picture.png"
        picture.write_bytes(bytes([7]))
        by_picture = ids("--image", picture, "--encoder", command)
        status, hits = server.knn(image=base64.b64encode(bytes([7])).decode(), num_images=40)
        self.assertEqual([hit["id"] for hit in hits], by_picture)
        module = clip_client()
        if module:
            client = module.ClipClient(url=f"{server.url}/knn-service", indice_name="clips", deduplicate=True)
            self.assertEqual([hit["id"] for hit in client.query(text="a red bicycle")], by_unique)
            self.assertEqual([hit["id"] for hit in client.query(image=str(picture))], ids(
                "--image", picture, "--encoder", command, "--unique", 0.94))
            self.assertIn("I do not know that", client.query(text="strange")["message"])
        _, body, _ = server.ask("POST", "/api/search", {"version": "clips@1", "like": 1485, "k": 7})
        self.assertEqual(body.decode(), self.lake.run("search", "clips@1", "--like", 1485, "-k", 7, "--json"))
        _, body, _ = server.ask("POST", "/api/search", {"version": "clips@1", "text": "a red bicycle", "k": 40, "unique": 0.94})
        self.assertEqual(json.loads(body)["ids"], by_unique)
        page = server.get("/search?q=a+red+bicycle&version=clips%401")[1].decode()
        self.assertIn(f">{by_text[0]}</a></td>", page)
        page = server.get("/search?q=%231485")[1].decode()
        self.assertIn('<a href="/search?q=%231485&amp;version=clips@1">1485</a></td>', page)
        self.assertEqual(server.get("/search?q=%23999999")[0], 400)
        self.assertFalse(list(pathlib.Path(tempfile.gettempdir()).glob(".tarn-picture-*")))

    def test_hits_have_what_companions_say_of_them(self) -> None:
        self.lake = self.built_lake(self.serve(FEATURES).url)
        early = Server(self.lake)
        self.addCleanup(early.stop)
        meta = self.scratch / "meta"
        meta.mkdir()
        for shard in sorted((FEATURES / "img_emb").glob("*.npy")):
            with open(meta / f"{shard.stem}.jsonl", "w") as file:
                for row in range(len(np.load(shard, mmap_mode="r"))):
                    file.write(json.dumps({"url": f"https://host.example/{shard.stem}/{row}.png", "caption": f"<{row}> \"é\""}) + "\n")
        self.lake.run("source", "add", "meta", "--companion-of", "images", "--directory", meta)
        self.lake.run("sync", "meta")

        def told(hit: dict) -> dict:
            return {"url": f"https://host.example/{hit['shard'][:-4]}/{hit['row']}.png", "caption": f"<{hit['row']}> \"é\""}

        server = Server(self.lake)
        self.addCleanup(server.stop)
        module = clip_client()
        if module:
            client = module.ClipClient(url=f"{server.url}/knn-service", indice_name="clips", num_images=30)
            for number in range(5):
                hits = client.query(embedding_input=QUERIES[number].tolist())
                self.assertEqual(len(hits), 30)
                for hit in hits:
                    self.assertEqual({name: hit[name] for name in ("url", "caption")}, told(hit))
        status, hits = server.knn(embedding_input=QUERIES[0].tolist(), num_images=2, num_result_ids=3)
        self.assertEqual([len(hit) for hit in hits], [6, 6, 2])
        _, body, _ = server.ask("POST", "/metadata", {"ids": [0, 3599], "indice_name": "clips"})
        for one in json.loads(body):
            self.assertEqual(one["metadata"], one["metadata"] | told(one["metadata"]))
        _, body, _ = server.ask("POST", "/api/search", {"vectors": [QUERIES[0].tolist()], "columns": True})
        self.assertEqual(json.loads(body), json.loads(
            self.lake.run("search", "clips@1", "--queries", FEATURES / "queries.npy", "--columns", "url,caption", "--json").splitlines()[0]))
        from urllib.parse import urlencode
        form = urlencode({"q": json.dumps(QUERIES[0].tolist()), "version": "clips@1"}).encode()
        page = server.ask("POST", "/search", form)[1].decode()
        self.assertIn("&lt;", page)
        self.assertNotIn("<img", page)
        _, body, headers = server.ask("POST", "/search", form + b"&pictures=1")
        self.assertEqual(len(re.findall(r'<img src="https://host\.example/[^"]+" alt="&lt;\d+&gt; &quot;é&quot;"', body.decode())), 10)
        self.assertIn("https:", headers["Content-Security-Policy"])
        # A condition on the page finds what it finds for programs; what is wrong with one is said above the form.
        condition = "caption LIKE '%<1%' AND url != 'a\"b'"
        _, body, _ = server.ask("POST", "/api/search", {"vectors": [QUERIES[0].tolist()], "k": 10, "where": condition})
        page = server.ask("POST", "/search", form + b"&" + urlencode({"where": condition}).encode())[1].decode()
        self.assertEqual(
            [int(found) for found in re.findall(r">(\d+)</a></td><td[^>]*>[^<]+\.npy</td>", page)], json.loads(body)["ids"])
        self.assertIn('<label for="where">', page)
        self.assertIn("value=\"caption LIKE '%&lt;1%' AND url != 'a&quot;b'\"", page)
        self.assertIn("there are caption, url", page)
        for wrong, said in (("nope = 1", "'nope'"), ("caption LIKE", "role=\"alert\""), ("x" * 5000, "role=\"alert\"")):
            status, body, _ = server.ask("POST", "/search", form + b"&" + urlencode({"where": wrong}).encode())
            self.assertEqual(status, 400, wrong[:20])
            self.assertIn(said, body.decode())
            self.assertIn("role=\"alert\"", body.decode())
        # One that began before the companion came shows it, too.
        for _ in range(100):
            hits = early.knn(embedding_input=QUERIES[0].tolist())[1]
            if "caption" in hits[0]:
                break
            time.sleep(0.1)
        for hit in hits:
            self.assertEqual({name: hit[name] for name in ("url", "caption")}, told(hit))
        fewer = Server(self.lake, "--columns", "caption")
        self.addCleanup(fewer.stop)
        status, hits = fewer.knn(embedding_input=QUERIES[0].tolist())
        self.assertEqual(sorted(hits[0]), ["caption", "id", "row", "shard", "similarity"])

    def test_hits_beyond_num_images_are_bare(self) -> None:
        status, hits = self.server.knn(embedding_input=QUERIES[0].tolist(), num_images=3, num_result_ids=8)
        self.assertEqual(status, 200)
        self.assertEqual([sorted(hit) for hit in hits], [["id", "row", "shard", "similarity"]] * 3 + [["id", "similarity"]] * 5)
        status, all_hits = self.server.knn(embedding_input=QUERIES[0].tolist(), num_images=8, indice_name=None)
        self.assertEqual([hit["id"] for hit in all_hits], [hit["id"] for hit in hits])

    def test_the_other_paths_of_the_protocol(self) -> None:
        self.assertEqual(json.loads(self.server.get("/indices-list")[1]), ["clips@1"])
        config = json.loads(self.server.get("/config.json")[1])
        self.assertEqual(config, {"defaultBackend": self.server.url, "defaultIndex": "clips@1", "urlColumn": "url"})
        status, body, _ = self.server.ask("POST", "/metadata", {"ids": [0, 603, 3599], "indice_name": "clips@1"})
        located = json.loads(self.lake.run("locate", "clips@1", 0, 603, 3599, "--json"))
        self.assertEqual(
            json.loads(body), [{"id": row["id"], "metadata": {"shard": row["shard"], "row": row["row"]}} for row in located])
        self.assertEqual(self.server.ask("POST", "/metadata", {"ids": [], "indice_name": "clips"})[1].strip(), b"[]")
        for ids in ([3600], [-1], ["x"], 5, [1.5], [None]):
            status, body, _ = self.server.ask("POST", "/metadata", {"ids": ids, "indice_name": "clips"})
            self.assertIn(status, (400, 404), ids)
            self.assertIn("message", json.loads(body))

    # Answers as the verbs give them

    def test_many_at_a_time_get_what_each_would_alone(self) -> None:
        """Threads ask with different k and nprobe: every answer is `tarn search`'s own line."""
        from concurrent.futures import ThreadPoolExecutor
        expected = {
            (k, nprobe): self.searched("-k", k, "--nprobe", nprobe) for k in (1, 10, 300) for nprobe in (1, 8, 64)}

        def ask(number: int) -> None:
            k, nprobe = (1, 10, 300)[number % 3], (1, 8, 64)[number // 3 % 3]
            first = number * 7 % 150
            status, body, _ = self.server.ask(
                "POST", "/api/search",
                {"version": "clips", "vectors": QUERIES[first:first + 1 + number % 4].tolist(), "k": k, "nprobe": nprobe})
            self.assertEqual(status, 200, body)
            for place, line in enumerate(body.decode().splitlines()):
                want = expected[k, nprobe][first + place]
                self.assertEqual(json.loads(line), want | {"query": place})

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(200)))
        text = self.server.get("/metrics")[1].decode()
        counts = {name: float(value) for name, value in re.findall(r"^(tarn_\w+) ([0-9.e+-]+)$", text, re.M)}
        self.assertGreaterEqual(counts["tarn_queries_total"], 200)
        self.assertLessEqual(counts["tarn_batches_total"], counts["tarn_queries_total"])

    def test_an_api_path_answers_what_its_verb_prints(self) -> None:
        for path, arguments in (
            ("/api/status", ["status"]), ("/api/versions", ["versions"]), ("/api/sources", ["source", "list"]),
            ("/api/show?name=clips%401", ["show", "clips@1"]), ("/api/show?name=clip", ["show", "clip"]),
            ("/api/locate?version=clips&id=7&id=3599", ["locate", "clips", "7", "3599"]),
        ):
            status, body, headers = self.server.get(path)
            self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
            self.assertEqual(body.decode(), self.lake.run(*arguments, "--json"))

    def test_sql_reads_within_its_bounds(self) -> None:
        def ask(sql: str, **members: object) -> tuple[int, object, dict]:
            status, body, headers = self.server.ask("POST", "/api/sql", {"sql": sql} | members)
            return status, json.loads(body), headers

        numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"
        self.assertEqual(ask("SELECT 1 AS a")[:2], (200, [{"a": 1}]))
        self.assertEqual(ask("SELECT 1 WHERE 0")[:2], (200, []))
        self.assertEqual(len(ask(numbers.format(10_000))[1]), 10_000)
        self.assertEqual(ask(numbers.format(10_001))[0], 413)
        status, rows, headers = ask(numbers.format(20_000_000), first=5)
        self.assertEqual((status, rows, headers["Tarn-More"]), (200, [{"i": i} for i in range(1, 6)], "true"))
        self.assertNotIn("Tarn-More", ask(numbers.format(5), first=5)[2])
        for statement in ("DELETE FROM shard", "PRAGMA user_version = 1", "ATTACH 'x' AS y", "SELECT load_extension('x')", "",
                          "SELECT 1; SELECT 2", "VACUUM INTO '/tmp/x'"):
            self.assertEqual(ask(statement)[0], 400, statement)
        begin = time.monotonic()
        # One call of a function that would take longer than anybody waits.
        status, told, _ = ask("SELECT instr(printf('%.20000000c', 'a'), printf('%.10000000c', 'a') || 'b')")
        self.assertIn(status, (400, 503), told)
        # A hint is something that who asks can do.
        status, told, _ = ask("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
        self.assertEqual(status, 503, told)
        self.assertIn("10 s", told["message"])
        self.assertNotIn("--", told["message"])
        self.assertLess(time.monotonic() - begin, 60)
        self.assertEqual(self.server.get("/healthz")[0], 200)

    def test_metrics_are_prometheus_text(self) -> None:
        status, body, headers = self.server.get("/metrics")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; charset=utf-8"))
        kinds, seen = {}, set()
        for line in body.decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, kinds)
                kinds[name] = kind
            elif not line.startswith("#"):
                found = re.fullmatch(r'([a-z_:]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? (-?[0-9.e+-]+)', line)
                self.assertIsNotNone(found, line)
                self.assertNotIn(found[1] + (found[2] or ""), seen)
                seen.add(found[1] + (found[2] or ""))
                self.assertIn(re.sub(r"_(bucket|sum|count)$", "", found[1]), kinds)
        self.assertIn('tarn_source_shards{source="images",state="present"}', seen)
        self.assertIn('tarn_served_rows{version="clips@1"}', seen)

    # Hostile requests

    def test_whoever_may_not_ask_is_told_so(self) -> None:
        for headers, status in (
            ({"Host": "evil.example"}, 421), ({"Host": f"evil.example:{self.server.port}"}, 421),
            ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Sec_Fetch_Site": "cross-site"}, 403),
        ):
            for path in ("/", "/api/status", "/metrics", "/assets/tarn.js"):
                self.assertEqual(self.server.get(path, **headers)[0], status, (path, headers))
        self.assertEqual(self.server.ask("POST", "/knn-service", {}, Origin="https://evil.example")[0], 403)
        self.assertEqual(self.server.ask("POST", "/sql", b"sql=SELECT+1", Origin="https://evil.example")[0], 403)
        self.assertEqual(self.server.ask("POST", "/sql", b"sql=SELECT+1", Origin=self.server.url)[0], 200)

    def test_a_token_is_wanted_in_one_of_two_ways(self) -> None:
        secret = self.scratch / "token"
        secret.write_text("0123456789abcdef\n")
        server = Server(self.lake, "--token-file", secret)
        self.addCleanup(server.stop)
        basic = base64.b64encode(b"anybody:0123456789abcdef").decode()
        for value, status in ((None, 401), ("Bearer x", 401), ("Bearer 0123456789abcdef", 200), (f"Basic {basic}", 200)):
            headers = {"Authorization": value} if value else {}
            self.assertEqual(server.get("/api/versions", **headers)[0], status)
        self.assertEqual(server.get("/healthz")[0], 200)
        module = clip_client()
        if module:
            client = module.ClipClient(
                url=f"http://x:0123456789abcdef@127.0.0.1:{server.port}/knn-service", indice_name="clips")
            self.assertEqual(len(client.query(embedding_input=QUERIES[0].tolist())), 40)

    def test_the_examples_for_nginx_and_systemd_are_taken(self) -> None:
        examples, port = ROOT / "Examples" / "serve", free_port()
        server = Server(self.lake, "--host", "search.example.org")
        self.addCleanup(server.stop)
        text = re.sub(r"(?m)^ *ssl_certificate.*\n", "", (examples / "nginx.conf").read_text())
        for old, new in (("listen 443 ssl;", f"listen 127.0.0.1:{port};"), ("server 127.0.0.1:7700;", f"server 127.0.0.1:{server.port};")):
            self.assertEqual(text.count(old), 1)
            text = text.replace(old, new)
        scratch = "".join(f"{name}_temp_path {self.scratch}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        configuration = self.scratch / "nginx.conf"
        configuration.write_text(
            f"daemon off; master_process off; pid {self.scratch}/nginx.pid; error_log {self.scratch}/error.log;\n"
            f"events {{}}\nhttp {{ access_log off; {scratch}\n{text}\n}}\n")
        proxy = subprocess.Popen(
            [nginx_binary(), "-c", configuration, "-p", self.scratch, "-e", self.scratch / "error.log"],
            preexec_fn=die_with_parent)
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.terminate)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        # Asks through the proxy whatever asks a server.
        through = Server.__new__(Server)
        through.port = port
        host = {"Host": "search.example.org", "Origin": "https://search.example.org"}
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/api/versions", 200), ("/", 200), ("/metrics", 404)):
            self.assertEqual(through.get(path, **host)[0], status, path)
        asked = {"modality": "image", "num_images": 5, "indice_name": "clips", "embedding_input": QUERIES[0].tolist()}
        told = through.ask("POST", "/knn-service", asked, **host)
        self.assertEqual((told[0], told[1]), server.ask("POST", "/knn-service", asked)[:2])
        self.assertEqual(through.get("/api/versions", Host="search.example.org", Origin="https://evil.example")[0], 403)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as link:
            link.putrequest("POST", "/knn-service", skip_host=True)
            for name, value in (("Host", "search.example.org"), ("Content-Length", (8 << 20) + 1)):
                link.putheader(name, str(value))
            link.endheaders()
            self.assertEqual(link.getresponse().status, 413)
        unit = (examples / "tarn-serve.service").read_text()
        command = re.search(r"(?m)^ExecStart=/usr/bin/tarn serve ((?:.*\\\n)*.*)$", unit)[1]
        offered = self.lake.run("serve", "--help")
        for option in re.findall(r"--[a-z-]+", command):
            self.assertRegex(offered, rf"(?m)^ *{option}\b")

    def test_thousands_of_sockets_and_odd_bytes_leave_it_alive(self) -> None:
        def memory() -> int:
            text = pathlib.Path("/proc", str(self.server.process.pid), "status").read_text()
            return int(re.search(r"RssAnon:\s+(\d+) kB", text)[1])

        before = memory()
        with contextlib.ExitStack() as stack:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            for number in range(min(10_000, hard - 512)):
                link = stack.enter_context(socket.socket())
                link.settimeout(30)
                try:
                    link.connect(("127.0.0.1", self.server.port))
                    link.sendall((b"", b"GET / HT", b"\x16\x03\x01\x02\x00", b"POST /knn-service HTTP/1.1\r\nHost: x\r\n")[number % 4])
                except OSError:
                    pass  # closed for a newer one already
                if number % 1000 == 999:
                    self.assertEqual(self.server.get("/healthz")[0], 200)
        self.assertEqual(self.server.get("/healthz")[0], 200)
        self.assertLess(memory() - before, 100_000)
        text = self.server.get("/metrics")[1].decode()
        self.assertGreater(float(re.search(r"^tarn_connections_closed_for_room_total (\d+)", text, re.M)[1]), 1000)

    def test_where_few_files_may_be_open_few_connections_are_served(self) -> None:
        server = Server(self.lake, files=320)
        self.addCleanup(server.stop)
        with contextlib.ExitStack() as stack:
            for number in range(600):
                link = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
                with contextlib.suppress(OSError):
                    link.sendall(b"GET / HT")
                if number % 100 == 99:
                    self.assertEqual(server.get("/api/versions")[0], 200)
            text = server.get("/metrics")[1].decode()
            self.assertLessEqual(float(re.search(r"^tarn_connections (\d+)", text, re.M)[1]), 64)

    def test_nothing_changes_and_a_signal_ends_it(self) -> None:
        before = self.lake.tables()
        server = Server(self.lake)
        for path in ("/", "/versions", "/versions/clips@1", "/search", "/sql", "/api/look"):
            self.assertEqual(server.get(path)[0], 200)
        # One that is asked while it ends, and idle connections, hold nothing up.
        with socket.create_connection(("127.0.0.1", server.port)) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b"200", idle.recv(4096))
            self.assertEqual(server.stop(), 0)
        self.assertEqual(self.lake.tables(), before)
        self.assertFalse(list((self.lake.directory / "leases").glob("*")))

    # Pages

    def test_pages_are_whole_and_ask_nobody_else(self) -> None:
        self.lake.run("evaluate", "clips@1", "--queries", FEATURES / "queries.npy", "--nprobe", "1,8")
        for path in ("/", "/versions", "/versions/clips@1", "/search?q=%5B1%5D", "/sql?canned=build-status", "/none"):
            _, body, headers = self.server.get(path)
            page = body.decode()
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            self.assertNotRegex(page, r"(?i)<script(?![^>]*src=\"/assets/)|\son[a-z]+=|style=|<iframe|javascript:")
            for address in re.findall(r'(?:src|href|action)="([^"]*)"', page):
                self.assertRegex(address, r"^(/(?!/)|#main|data:,$)", path)
        page = self.server.get("/versions/clips@1")[1].decode()
        self.assertEqual(len(re.findall(r'<polyline class="recall', page)), 2)
        self.assertEqual(len(re.findall(r'<rect class="s-merged', page)), 6)
        vector = json.dumps(QUERIES[0].tolist())
        from urllib.parse import urlencode
        page = self.server.ask("POST", "/search", urlencode({"q": vector, "version": "clips@1", "k": 5}).encode())[1].decode()
        for id in self.searched("-k", 5)[0]["ids"]:
            self.assertIn(f">{id}</a></td>", page)
        self.assertNotIn("http:", self.server.get("/search")[2]["Content-Security-Policy"])
        self.assertIn("https: http:", self.server.get("/search?pictures=1")[2]["Content-Security-Policy"])

    def test_a_browser_shows_what_the_lake_does(self) -> None:
        if not CHROMIUM:
            self.skipTest("chromium is not installed")
        dom = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
             f"--user-data-dir={self.scratch}/profile", "--enable-logging=stderr", "--dump-dom", f"{self.server.url}/"],
            capture_output=True, text=True, timeout=120)
        self.assertEqual(dom.returncode, 0, dom.stderr[-500:])
        # The script ran, which the policy lets it, and told the time of its look.
        self.assertRegex(dom.stdout, r'id="looked"[^>]*>[^<]*, as it was ')
        self.assertIn("build clips@1", dom.stdout)
        self.assertNotIn("Content Security Policy", dom.stderr)

    def test_nothing_keeps_anybody_from_using_a_page(self) -> None:
        """axe finds no fault, 320 pixels are enough, light and dark, and a keyboard alone searches."""
        axe = importlib.util.find_spec("axe_selenium_python")
        driver_path = shutil.which("chromedriver")
        if not (CHROMIUM and driver_path and axe):
            self.skipTest("chromium, chromedriver, selenium or axe-selenium-python is not installed")
        from selenium import webdriver
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys
        from selenium.webdriver.support.ui import WebDriverWait
        script = next(pathlib.Path(axe.submodule_search_locations[0]).rglob("axe.min.js")).read_text()
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self.scratch}/driven"):
            options.add_argument(argument)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
        self.addCleanup(browser.quit)
        self.lake.run("evaluate", "clips@1", "--queries", FEATURES / "queries.npy", "--nprobe", "1,8")
        for width, scheme in ((320, "dark"), (1000, "light")):
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
            browser.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            for path in ("/", "/versions", "/versions/clips@1", "/search?q=bike", "/sql?canned=build-status", "/none"):
                browser.get(self.server.url + path)
                browser.execute_script(script)
                found = browser.execute_async_script("const done = arguments[0]; axe.run().then(done)")["violations"]
                self.assertEqual([(one["id"], one["impact"]) for one in found], [], (path, width))
                self.assertLessEqual(
                    browser.execute_script("return document.documentElement.scrollWidth"), width, (path, width))
        browser.get(f"{self.server.url}/search")
        for _ in range(20):
            browser.switch_to.active_element.send_keys(Keys.TAB)
            if browser.switch_to.active_element.get_attribute("id") == "q":
                break
        browser.switch_to.active_element.send_keys("[1, 2]", Keys.TAB)
        self.assertEqual(browser.switch_to.active_element.get_attribute("id"), "where")
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        WebDriverWait(browser, 60).until(lambda driven: "q=" in driven.current_url)
        self.assertTrue(browser.find_elements(By.CSS_SELECTOR, "[role=alert]"))
