"""A real S3-compatible server for the tests: OpenStack Swift with its s3api middleware.

Four processes of this user in a scratch directory, from the Python packages of
requirements.txt: a proxy that speaks S3 (path-style, region us-east-1) and one account,
container and object server behind it, on free loopback ports.
"""

import datetime
import getpass
import hashlib
import http.client
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

from s3server import ALGORITHM, signature
from support import ROOT
from webserver import die_with_parent, free_port

BACKENDS = ("account", "container", "object")
PIPELINE = "catch_errors gatekeeper healthcheck listing_formats s3api tempauth bulk slo proxy-server"

SWIFT = """\
[swift-hash]
swift_hash_path_prefix = tarn
swift_hash_path_suffix = test
[storage-policy:0]
name = one
default = yes
"""
COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {etc}
devices = {devices}
mount_check = false
fallocate_reserve = 0
disable_fallocate = true
"""
BACKEND = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
PROXY = """
[pipeline:main]
pipeline = {pipeline}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
min_segment_size = 1
max_bucket_listing = {listing}
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
"""

# Writes the ring of each NAME:PORT into a directory.
RINGS = """
import sys
from swift.common.ring import RingBuilder
for place in sys.argv[2:]:
    name, port = place.split(":")
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1.0})
    builder.rebalance(seed=1)
    builder.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""


def scratch_directory() -> pathlib.Path:
    """A directory whose file system keeps extended attributes, where Swift has its metadata."""
    for parent in (tempfile.gettempdir(), ROOT / ".build"):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="tarn-store-", dir=parent))
        try:
            os.setxattr(directory, "user.tarn", b"1" * 1024)
            return directory
        except OSError:
            shutil.rmtree(directory)
    raise unittest.SkipTest("no file system with extended attributes for OpenStack Swift")


class ObjectStore:
    """The server, up when this is made; `access_key` and `secret_key` are right for it, and a
    page of a listing has `listing_limit` keys."""

    def __init__(self, access_key: str, secret_key: str, listing_limit: int = 1000) -> None:
        self.listing_limit = listing_limit
        """`access_key` has the form `ACCOUNT:USER`."""
        self.access_key, self.secret_key = access_key, secret_key
        self.scratch = scratch_directory()
        self.processes: list[subprocess.Popen] = []
        self.buckets: set[str] = set()
        for _ in range(5):
            self._start()
            if self._answers():
                return
            self._end()
        logs = "\n".join(path.read_text()[-2000:] for path in self.scratch.glob("*.log"))
        shutil.rmtree(self.scratch)
        raise RuntimeError(f"OpenStack Swift does not start:\n{logs}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, bucket: str, key: str, data: bytes, part_bytes: int | None = None) -> None:
        """Stores an object, in one piece or by a multipart upload."""
        if bucket not in self.buckets:
            self.ask("PUT", bucket)
            self.buckets.add(bucket)
        path = f"{bucket}/{key}"
        if part_bytes is None:
            self.ask("PUT", path, data)
            return
        upload = self._text("UploadId", self.ask("POST", path, query={"uploads": ""}))
        parts = [data[start:start + part_bytes] for start in range(0, len(data), part_bytes)]
        for number, part in enumerate(parts, 1):
            self.ask("PUT", path, part, {"partNumber": str(number), "uploadId": upload})
        document = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{hashlib.md5(part).hexdigest()}</ETag></Part>"
            for number, part in enumerate(parts, 1))
        self.ask("POST", path, f"<CompleteMultipartUpload>{document}</CompleteMultipartUpload>".encode(), {"uploadId": upload})

    def ask(self, method: str, path: str, body: bytes = b"", query: dict[str, str] | None = None) -> bytes:
        """Sends a signed request and gives the body of its answer, which must be of success."""
        host, digest = f"127.0.0.1:{self.port}", hashlib.sha256(body).hexdigest()
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        target = "/" + urllib.parse.quote(path, safe="/-_.~")
        items = urllib.parse.urlencode(sorted((query or {}).items()), quote_via=urllib.parse.quote)
        headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": date}
        lines = [f"{name}:{value}" for name, value in headers.items()]
        names = ";".join(headers)
        request = "\n".join([method, target, items, *lines, "", names, digest])
        scope = f"{date[:8]}/us-east-1/s3/aws4_request"
        text = "\n".join([ALGORITHM, date, scope, hashlib.sha256(request.encode()).hexdigest()])
        headers["Authorization"] = (
            f"{ALGORITHM} Credential={self.access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={signature(self.secret_key, scope, text)}")
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request(method, f"{target}?{items}" if items else target, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:1000]!r}")
        return text

    def _text(self, tag: str, document: bytes) -> str:
        found = re.search(f"<{tag}>([^<]+)</{tag}>", document.decode())
        assert found, document
        return found[1]

    def stop(self) -> None:
        self._end()
        shutil.rmtree(self.scratch, ignore_errors=True)

    # The servers

    def _start(self) -> None:
        etc = self.scratch / "etc"
        shutil.rmtree(etc, ignore_errors=True)
        (self.scratch / "devices" / "d1").mkdir(parents=True, exist_ok=True)
        etc.mkdir()
        (etc / "swift.conf").write_text(SWIFT)
        common = {"user": getpass.getuser(), "etc": etc, "devices": self.scratch / "devices"}
        ports = {}
        for name in BACKENDS:
            port = free_port()
            (etc / f"{name}-server.conf").write_text((COMMON + BACKEND).format(name=name, port=port, **common))
            ports[name] = port
        self._rings(ports)
        self.port = free_port()
        account, user = self.access_key.split(":")
        filters = "".join(
            f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in PIPELINE.split()
            if name not in ("s3api", "tempauth", "proxy-server"))
        (etc / "proxy-server.conf").write_text(
            COMMON.format(port=self.port, **common)
            + PROXY.format(pipeline=PIPELINE, account=account, user=user, secret=self.secret_key,
                           listing=self.listing_limit) + filters)
        for name in (*BACKENDS, "proxy"):
            with open(self.scratch / f"{name}.log", "wb") as log:
                self.processes.append(subprocess.Popen(
                    [sys.executable, "-W", "ignore", self._program(f"swift-{name}-server"),
                     etc / f"{name}-server.conf", "--verbose"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent))

    def _rings(self, ports: dict[str, int]) -> None:
        """Says where each backend is: here, and once."""
        # In a process of its own: Swift's modules change how Python's sockets and locks work.
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", RINGS, self.scratch / "etc", *(f"{name}:{port}" for name, port in ports.items())],
            check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def _program(self, name: str) -> pathlib.Path:
        return pathlib.Path(sys.executable).parent / name

    def _answers(self) -> bool:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and all(process.poll() is None for process in self.processes):
            try:
                # Takes the proxy and all that is behind it.
                self.put("ready", "ready", b"")
                return True
            except (OSError, http.client.HTTPException, RuntimeError):
                time.sleep(0.1)
        return False

    def _end(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
