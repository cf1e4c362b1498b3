"""Versions pushed to a real S3-compatible store, pulled from it into an empty lake, and made again."""

import hashlib
import http.client
import http.server
import signal
import subprocess
import threading
import time

from objectstore import ObjectStore
from support import LakeTest, environment, json_lines
from test_s3 import features

ACCESS_KEY, SECRET_KEY = "lab:AKPLANTED3", "planted/S3cret+key=="
ROWS, DIMENSION = 30_000, 1024


class Proxy:
    """Passes requests on to a store, notes them, and can fail or cut them."""

    def __init__(self, port: int) -> None:
        self.requests: list[tuple[str, str, int]] = []
        self.fail = lambda method, path: None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def pass_on(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                answer = outer.fail(self.command, self.path)
                if answer == "cut":
                    self.close_connection = True
                    return
                if answer is None:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                    # The signature is over the host that the client named.
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        connection.putheader(name, value)
                    connection.endheaders(body)
                    got = connection.getresponse()
                    answer = (got.status, got.getheaders(), got.read())
                    connection.close()
                status, headers, data = answer
                outer.requests.append((self.command, self.path, status))
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                length = dict((k.lower(), v) for k, v in headers).get("content-length", str(len(data)))
                self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    try:
                        self.wfile.write(data)
                    except ConnectionError:
                        self.close_connection = True

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def count(self, method: str, text: str) -> int:
        return sum(1 for found, path, status in self.requests if found == method and text in path and status < 300)


class Publishing(LakeTest):
    @classmethod
    def setUpClass(cls) -> None:
        cls.store = ObjectStore(ACCESS_KEY, SECRET_KEY)
        cls.addClassCleanup(cls.store.stop)
        cls.store.put("bucket", "shards/0.npy", features(ROWS, 1, DIMENSION))

    def setUp(self) -> None:
        super().setUp()
        self.proxy = Proxy(self.store.port)
        self.addCleanup(self.proxy.stop)
        self.keys = {
            "HOME": str(self.scratch), "AWS_ENDPOINT_URL": self.proxy.url, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_PROFILE": "", "AWS_ENDPOINT_URL_S3": "", "AWS_SESSION_TOKEN": ""}
        self.lake = self.new_lake()
        self.lake.run("source", "add", "images", "--url", "s3://bucket/shards/{ordinal}.npy", "--count", 1,
                      "--dimension", DIMENSION)
        self.lake.run("sync", **self.keys)

    def build(self, codec: str) -> None:
        self.lake.run("train", "t", "--images", "images", "--method", "kmeans", "--nlist", 4, "--iterations", 1, "--pairs",
                      500, "--codec", codec, "--normalise")
        self.lake.run("build", "v", "--trained", "t", "--images", "images")

    def place(self) -> str:
        return f"s3://bucket/{self.id().rsplit('.')[-1]}/indexes"

    def uploads(self) -> str:
        return self.store.ask("GET", "bucket", query={"uploads": ""}).decode()

    def test_pushed_pulled_and_made_again(self) -> None:
        self.build("sq4")
        place = self.place()
        self.lake.run("push", "v@1", place, **self.keys)
        sent = self.proxy.count("PUT", "indexes/")
        (again,) = json_lines(self.lake.run("push", "v@1", place, "--json", **self.keys))
        self.assertEqual((again["written"], again["there"]), (0, 4))
        self.assertEqual(self.proxy.count("PUT", "indexes/"), sent)
        other = self.new_lake("other")
        # The store is on this machine.
        other.run("pull", place, "--allow-inside", **self.keys)
        self.assertEqual(other.run("export", "v@1"), self.lake.run("export", "v@1"))
        (result,) = json_lines(other.run("reproduce", "v@1", "--fetch", "--json", **self.keys))
        self.assertEqual(result["outcome"], "identical")
        other.run("verify", **self.keys)
        done = other.attempt("pull", place, **self.keys)
        self.assertIn("already", done.stdout)
        for path in [*self.lake.directory.rglob("*"), *other.directory.rglob("*")]:
            if path.is_file():
                self.assertNotIn(b"planted", path.read_bytes())

    def test_parts_that_were_taken_are_not_sent_again(self) -> None:
        self.build("flat")
        place = self.place()
        (output,) = (self.lake.directory / "versions" / "v@1").glob("v.000.faiss")
        size = output.stat().st_size
        self.assertGreater(size, 64 << 20)
        # The second part meets a store that is down, until the push gives up.
        self.proxy.fail = lambda method, path: (503, [], b"") if "partNumber=2" in path else None
        done = self.lake.attempt("push", "v@1", place, "--patience", "0", "--jobs", "1", **self.keys)
        self.assertEqual(done.returncode, 75, done.stderr)
        self.assertIn("stay in the store", done.stderr)
        self.proxy.fail = lambda method, path: None
        self.lake.run("push", "v@1", place, **self.keys)
        for part in range(1, (size + (64 << 20) - 1) // (64 << 20) + 1):
            self.assertEqual(self.proxy.count("PUT", f"partNumber={part}&"), 1)
        self.assertNotIn("<UploadId>", self.uploads())
        other = self.new_lake("other")
        other.run("pull", place, **self.keys)
        self.assertEqual(hashlib.sha256((other.directory / "versions/v@1/v.000.faiss").read_bytes()).digest(),
                         hashlib.sha256(output.read_bytes()).digest())

    def test_an_error_within_a_success_is_an_error(self) -> None:
        self.build("flat")
        refused = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
        self.proxy.fail = lambda method, path: (200, [], refused) if method == "POST" and "uploadId" in path else None
        done = self.lake.attempt("push", "v@1", self.place(), "--patience", "0", **self.keys)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("AccessDenied", done.stderr)
        # What was refused for good leaves nothing.
        self.assertNotIn("<UploadId>", self.uploads())

    def test_a_connection_that_breaks_and_a_kill_cost_nothing(self) -> None:
        self.build("sq4")
        place = self.place()
        cuts = iter(["cut", "cut"])
        self.proxy.fail = lambda method, path: next(cuts, None) if method == "PUT" else None
        self.lake.run("push", "v@1", place, "--patience", "1m", **self.keys)
        other = self.new_lake("other")
        process = subprocess.Popen(
            other.command("pull", place, "--bwlimit", "2MB/s", "--quiet"), env=environment(**self.keys), cwd=self.scratch,
            stderr=subprocess.DEVNULL)
        work = other.directory / "artifacts" / ".work"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(path.stat().st_size > 1 << 20 for path in work.glob("*.part")):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), 130)
        other.run("pull", place, **self.keys)
        # The rest came by a range.
        self.assertIn(206, [status for method, path, status in self.proxy.requests if path.endswith("v.000.faiss")])
        other.run("verify")

    def test_what_is_there_with_other_bytes_stays(self) -> None:
        self.build("sq4")
        place = self.place()
        self.store.put("bucket", f"{place.removeprefix('s3://bucket/')}/v@1/v.000.faiss", b"mine")
        done = self.lake.attempt("push", "v@1", place, **self.keys)
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertEqual(self.store.ask("GET", f"bucket/{place.removeprefix('s3://bucket/')}/v@1/v.000.faiss"), b"mine")
