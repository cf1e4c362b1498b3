"""A server shaped like huggingface.co, for the tests of listings: trees in pages, branches and
commits, digests in LFS, tokens, and a store on another port that files are redirected to."""

import hashlib
import http.server
import json
import re
import threading
import urllib.parse

# Files with these endings are in LFS, as the Hub's .gitattributes has it.
STORED = (".npy", ".npz", ".parquet")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes, fields: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (fields or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Whoever refuses an answer hangs up in its middle."""

    def start(self) -> str:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Hub:
    """One dataset, `org/set`; `commit` adds a state of it and moves `main` there."""

    def __init__(self, page: int = 3, token: str | None = None) -> None:
        self.page, self.token = page, token
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        # Answers that the next requests get instead, and what was asked.
        self.scripted: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[str] = []
        self.stored: list[tuple[str, str | None]] = []
        self.lies: dict[str, str] = {}
        outer = self

        class Pages(_Handler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if outer.scripted:
                    status, fields, body = outer.scripted.pop(0)
                    return self.answer(status, body, fields)
                if outer.token and self.headers.get("Authorization") != f"Bearer {outer.token}":
                    return self.answer(401, b'{"error":"Invalid username or password."}')
                outer.route(self)

        class Store(_Handler):
            def do_GET(self) -> None:
                outer.stored.append((self.path, self.headers.get("Authorization")))
                data = outer.blobs()[self.path.split("?")[0].rsplit("/", 1)[1]]
                ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if not ranged:
                    return self.answer(200, data)
                first, last = int(ranged[1]), min(int(ranged[2] or len(data) - 1), len(data) - 1)
                self.answer(206, data[first:last + 1], {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

        self._pages, self._store = (_Server(("127.0.0.1", 0), handler) for handler in (Pages, Store))
        self.url, self.store = self._pages.start(), self._store.start()

    def stop(self) -> None:
        self._pages.stop()
        self._store.stop()

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        text = json.dumps(sorted((path, hashlib.sha256(data).hexdigest()) for path, data in files.items()))
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def blobs(self) -> dict[str, bytes]:
        return {hashlib.sha256(data).hexdigest(): data for files in self.commits.values() for data in files.values()}

    def route(self, handler: _Handler) -> None:
        path, _, query = handler.path.partition("?")
        asked = re.fullmatch(r"(/api)?/datasets/org/set/(revision|tree|resolve)/([^/]+)/?(.*)", path)
        revision = urllib.parse.unquote(asked[3]) if asked else ""
        commit = self.branches.get(revision, revision)
        if commit not in self.commits:
            return handler.answer(404, b'{"error":"Repository not found"}')
        rest, files = urllib.parse.unquote(asked[4]), self.commits[commit]
        if asked[2] == "revision":
            return handler.answer(200, json.dumps({"id": "org/set", "sha": commit}).encode())
        if asked[2] == "resolve":
            if rest not in files:
                return handler.answer(404, b"Entry not found")
            digest = hashlib.sha256(files[rest]).hexdigest()
            return handler.answer(302, b"", {"Location": f"{self.store}/blobs/{digest}?X-Amz-Signature=planted"})
        entries = self.entries(files, rest.rstrip("/"))
        if not entries:
            return handler.answer(404, b'{"error":"not found on this revision"}')
        start = int(urllib.parse.parse_qs(query).get("cursor", ["0"])[0])
        fields = {"Content-Type": "application/json"}
        if start + self.page < len(entries):
            fields["Link"] = f'<{self.url}{path}?recursive=true&cursor={start + self.page}>; rel="next"'
        handler.answer(200, json.dumps(entries[start:start + self.page]).encode(), fields)

    def entries(self, files: dict[str, bytes], below: str) -> list[dict]:
        found, directories = [], set()
        # In an order of its own: whoever wants another one sorts.
        for path, data in sorted(files.items(), key=lambda item: hashlib.md5(item[0].encode()).digest()):
            if below and not path.startswith(below + "/"):
                continue
            directories.update("/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1))
            entry = {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": path}
            if path.endswith(STORED):
                digest = self.lies.get(path, hashlib.sha256(data).hexdigest())
                entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 134}
            found.append(entry)
        kept = [path for path in sorted(directories) if path != below and path.startswith(below)]
        return [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in kept] + found
