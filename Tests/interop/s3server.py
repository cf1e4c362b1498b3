"""An S3 server that checks every signature by itself, for the tests of fetching.

Path-style, GET and HEAD with single ranges, over a directory `root/BUCKET/KEY`. A
request is answered only if its AWS Signature Version 4 is right: the canonical request
is put together again from what arrived and signed with `hmac`.
"""

import datetime
import hashlib
import hmac
import http.server
import pathlib
import re
import threading
import urllib.parse

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY = hashlib.sha256(b"").hexdigest()


def signature(secret: str, scope: str, text: str) -> str:
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class S3Server:
    """Serves `root` until `stop`; `keys` are secrets by access key, `token` the session's."""

    def __init__(self, root: pathlib.Path, keys: dict[str, str], region: str = "us-east-1", token: str | None = None):
        self.refusals: list[str] = []
        self.requests: list[tuple[str, str, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def fault(self) -> str | None:
                """What is wrong with the signature; None when nothing is."""
                match = re.fullmatch(
                    ALGORITHM + r" Credential=([^/]+)/(\d{8}/([^/]+)/s3/aws4_request), ?SignedHeaders=([^,]+), ?Signature=(\w+)",
                    self.headers.get("Authorization", ""))
                if not match:
                    return "no signature"
                key, scope, signed_region, names, claimed = match.groups()
                if key not in keys or signed_region != region:
                    return "an unknown key or another region"
                if token is not None and self.headers.get("x-amz-security-token") != token:
                    return "no session token"
                date = self.headers.get("x-amz-date", "")
                age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.strptime(
                    date + "+0000", "%Y%m%dT%H%M%SZ%z")
                if abs(age.total_seconds()) > 900 or not scope.startswith(date[:8]):
                    return "a date that is not today's"
                body = self.headers.get("x-amz-content-sha256")
                if body not in (EMPTY, "UNSIGNED-PAYLOAD"):
                    return "another body's digest"
                signed = names.split(";")
                if not {"host", "x-amz-date"} <= set(signed):
                    return "too few signed headers"
                path, _, query = self.path.partition("?")
                # S3 encodes a key once: everything but unreserved characters and the slash.
                canonical_path = urllib.parse.quote(urllib.parse.unquote(path), safe="/-_.~")
                lines = [f"{name}:{' '.join(self.headers.get(name, '').split())}" for name in signed]
                request = "\n".join([self.command, canonical_path, query, *lines, "", names, body])
                text = "\n".join([ALGORITHM, date, scope, hashlib.sha256(request.encode()).hexdigest()])
                right = hmac.compare_digest(signature(keys[key], scope, text), claimed)
                return None if right else f"a wrong signature of\n{request}"

            def refuse(self, status: int, why: str) -> None:
                outer.refusals.append(why)
                body = f"<Error><Message>{status}</Message></Error>".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_GET(self) -> None:
                outer.requests.append((self.command, self.path, self.headers.get("Range")))
                why = self.fault()
                if why:
                    return self.refuse(403, why)
                path = (root / urllib.parse.unquote(self.path).lstrip("/")).resolve()
                if not path.is_relative_to(root.resolve()) or not path.is_file():
                    return self.refuse(404, "no such key")
                data = path.read_bytes()
                etag = f'"{hashlib.md5(data).hexdigest()}"'
                start, end, status = 0, len(data), 200
                asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if asked and self.headers.get("If-Range", etag) == etag:
                    start, end = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data)) if asked[2] else len(data)
                    status = 206
                self.send_response(status)
                self.send_header("ETag", etag)
                self.send_header("Content-Length", str(end - start))
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data[start:end])

            do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
