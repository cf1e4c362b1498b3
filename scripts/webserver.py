#!/usr/bin/env python3
"""Serve a directory from a real nginx on a free loopback port.

    scripts/webserver.py DIRECTORY -- COMMAND [ARGUMENT]...

runs COMMAND with TARN_DEMO_URL=http://127.0.0.1:PORT and stops the server when it
ends, however it ends. The tests import `Nginx` and give it locations of their own.

The server is a process of this user with its configuration, logs and scratch files
in a temporary directory; no system service is touched.
"""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

CONFIGURATION = """\
daemon off;
master_process off;
worker_processes 1;
pid {scratch}/nginx.pid;
error_log {scratch}/error.log notice;
events {{ worker_connections 512; }}
http {{
  log_format json escape=json '{{"method":"$request_method","uri":"$uri","status":$status,'
    '"range":"$http_range","bytes":$body_bytes_sent}}';
  access_log {scratch}/access.log json;
  client_body_temp_path {scratch}/body;
  proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port};
    server_name localhost;
    location = /.ready {{ access_log off; return 204; }}
{locations}
  }}
}}
"""


def nginx_binary() -> str:
    """The path of nginx; Debian keeps it out of a user's PATH."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        sys.exit("nginx is not installed; run: make deps")
    return found


def free_port() -> int:
    """A port that was free a moment ago; the caller tries again if it is taken by now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent() -> None:
    """Asks Linux to end this process when its parent dies, were it by SIGKILL."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Nginx:
    """One nginx process, serving until `stop`; a context manager."""

    def __init__(self, root: pathlib.Path, locations: str | None = None) -> None:
        """Starts the server; it answers when this returns.

        `locations` are the location blocks of its one server; without any, all of
        `root` is served. `@root@` in them stands for `root`.
        """
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="tarn-nginx-"))
        blocks = (locations or "location / { root @root@; }").replace("@root@", str(pathlib.Path(root).resolve()))
        for _ in range(10):
            self.port = free_port()
            text = CONFIGURATION.format(scratch=self.scratch, port=self.port, locations=blocks)
            (self.scratch / "nginx.conf").write_text(text)
            if self._start():
                return
            self.process.kill()
            self.process.wait()
        errors = (self.scratch / "error.log").read_text()
        shutil.rmtree(self.scratch)
        raise RuntimeError(f"nginx does not start:\n{errors}")

    def _start(self) -> bool:
        self.process = subprocess.Popen(
            [nginx_binary(), "-p", self.scratch, "-e", self.scratch / "error.log", "-c", self.scratch / "nginx.conf"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        return self._answers()

    def fail(self) -> None:
        """Goes away in the middle of its answers; `come_back` ends it."""
        self.process.kill()
        self.process.wait()

    def come_back(self) -> None:
        """Serves again, at the same address."""
        if not self._start():
            raise RuntimeError(f"port {self.port} was taken meanwhile")

    def _answers(self) -> bool:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/.ready", timeout=5) as answer:
                    # Another server may have taken the port; it would not know this.
                    return answer.status == 204 and self.process.poll() is None
            except urllib.error.HTTPError:
                return False
            except OSError:
                time.sleep(0.02)
        return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> list[dict]:
        """Every request answered so far: method, uri, status, range, bytes."""
        lines = (self.scratch / "access.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self) -> "Nginx":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def main() -> int:
    arguments = sys.argv[1:]
    if len(arguments) < 3 or arguments[1] != "--":
        sys.exit("usage: webserver.py DIRECTORY -- COMMAND [ARGUMENT]...")
    directory, command = pathlib.Path(arguments[0]), arguments[2:]
    # A signal must pass through `finally`, which stops the server.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    with Nginx(directory) as server:
        child = subprocess.Popen(command, env={**os.environ, "TARN_DEMO_URL": server.url})
        try:
            return child.wait()
        except KeyboardInterrupt:
            return 130
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()


if __name__ == "__main__":
    sys.exit(main())
