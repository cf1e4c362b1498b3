#!/usr/bin/env python3
"""Serving on loopback beside `tarn search` itself, in one run.

    bench_serve.py [--rows 1000000] [--connections 64] [--seconds 60] [--memory-minutes 10] [--sockets 10000] [--threads N]

Connections ask one query each, without a pause, of mixed kinds: half of them /knn-service with 40 results, half /api/search
with 10. Printed: queries a second, 50th and 99th percentile of the time to an answer, CPU of the server for a query, batches,
and the same queries by `tarn search` in files of as many as there are connections, in turn with the server, medians: the
server's rate is to be 0.7 of that. wrk asks where it is installed (Debian's package); threads of this script, which take more
of the CPU themselves, where it is not. Then come those that mean no good, all at once with the load: sockets that are open and
silent, readers that are slow, requests that are malformed or too large, other hosts and sites, tricks with paths. All are to be
refused or bounded, and every query of the load answered. Memory (anonymous, without the mapped index) is looked at while the
load goes on, and is to be flat: from a quarter of the time to the end it grows by less than a twentieth and 16 MB. The script
fails where a bound does not hold.

The lake: example features enlarged by seeded jitter, nprobe 16.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import numpy as np
import tool
from tool import tarn

ROOT = pathlib.Path(__file__).resolve().parents[3]
FEATURES = ROOT / "Examples" / "features"
NLIST, NPROBE, SHARD = 1024, 16, 100_000
TARGET = 0.7
# Server and verb are measured in turn, so often.
ROUNDS = 3
# Growth of memory from a quarter of the time on that counts as none.
GROWTH, SLACK = 1.05, 16 << 20
# Memory that all of those that mean no good may cost together: what bodies and answers may take, and connections.
HOSTILE_BYTES = 600 << 20


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_lake(place: pathlib.Path, rows: int) -> pathlib.Path:
    lake = place / "lake"
    subprocess.run([tool.TARN, "init", str(lake)], check=True, capture_output=True)
    random = np.random.default_rng(31)
    images = np.concatenate([np.load(path) for path in sorted((FEATURES / "img_emb").glob("*.npy"))]).astype(np.float32)
    (place / "shards").mkdir()
    for number in range((rows + SHARD - 1) // SHARD):
        count = min(SHARD, rows - number * SHARD)
        noise = random.standard_normal((count, images.shape[1]), dtype=np.float32) * 0.02
        np.save(place / "shards" / f"img_{number:04}.npy", unit(images[random.integers(0, len(images), count)] + noise).astype(np.float16))
    tarn("source", "add", "images", "--directory", place / "shards", "--lake", lake)
    tarn("sync", "--quiet", "--lake", lake)
    tarn("train", "t", "--images", "images", "--method", "kmeans", "--nlist", NLIST, "--iterations", 3, "--pairs",
         min(rows, 100_000), "--quiet", "--lake", lake)
    tarn("build", "v", "--trained", "t", "--images", "images", "--quiet", "--lake", lake)
    return lake


def queries(count: int) -> np.ndarray:
    random = np.random.default_rng(32)
    captions = np.concatenate([np.load(path) for path in sorted((FEATURES / "text_emb").glob("*.npy"))]).astype(np.float32)
    noise = random.standard_normal((count, captions.shape[1]), dtype=np.float32) * 0.02
    return unit(captions[random.integers(0, len(captions), count)] + noise).astype(np.float32)


class Server:
    def __init__(self, lake: pathlib.Path, threads: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [tool.TARN, "serve", "--lake", str(lake), "--listen", f"127.0.0.1:{self.port}", "--nprobe", str(NPROBE),
             "--threads", str(threads), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.process.stdout.readline()

    def metrics(self) -> dict[str, float]:
        link = http.client.HTTPConnection("127.0.0.1", self.port)
        link.request("GET", "/metrics")
        text = link.getresponse().read().decode()
        return {name: float(value) for name, value in re.findall(r"^([a-z_]+) ([0-9.e+-]+)$", text, re.M)}

    def memory(self) -> int:
        text = pathlib.Path("/proc", str(self.process.pid), "status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", text)[1]) * 1024


WRK = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local place, wrong = math.random(#bodies), 0
function request()
  place = place %% #bodies + 1
  local path, body = bodies[place]:match("^(%%S+) (.*)$")
  return wrk.format("POST", path, {["Content-Type"] = "application/json"}, body)
end
"""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}


def wrk(server: Server, bodies: list[tuple[str, bytes]], connections: int, seconds: float, place: pathlib.Path):
    """As `measure`, by wrk."""
    (place / "bodies").write_text("\n".join(f"{path} {body.decode()}" for path, body in bodies))
    (place / "ask.lua").write_text(WRK % (place / "bodies"))
    done = subprocess.run(
        ["wrk", "-t", str(min(4, connections)), "-c", str(connections), "-d", f"{max(1, int(seconds))}s", "--latency", "-s",
         place / "ask.lua", f"http://127.0.0.1:{server.port}"], capture_output=True, text=True, check=True)
    assert "Non-2xx" not in done.stdout, done.stdout

    def percentile(share: int) -> float:
        found = re.search(rf"^ +{share}% +([0-9.]+)(us|ms|s|m) *$", done.stdout, re.M)
        assert found, done.stdout
        return float(found[1]) * UNITS[found[2]]

    return int(re.search(r"(\d+) requests in", done.stdout)[1]), seconds, percentile(50), percentile(99)


def measure(server: Server, bodies: list[tuple[str, bytes]], connections: int, seconds: float, place: pathlib.Path):
    """Asks for so long; gives how many answers came, how long it took, and two percentiles of their times."""
    if shutil.which("wrk"):
        return wrk(server, bodies, connections, seconds, place)
    times, took = load(server, bodies, connections, seconds)
    return len(times), took, times[len(times) // 2], times[int(len(times) * 0.99)]


def load(server: Server, bodies: list[tuple[str, bytes]], connections: int, seconds: float) -> tuple[list[float], float]:
    """Asks for so long; gives the time of each answer, and how long it took."""
    times: list[list[float]] = [[] for _ in range(connections)]
    begin = time.monotonic()

    def ask(number: int) -> None:
        link = http.client.HTTPConnection("127.0.0.1", server.port)
        place = number
        while time.monotonic() - begin < seconds:
            path, body = bodies[place % len(bodies)]
            place += connections
            start = time.monotonic()
            link.request("POST", path, body)
            answer = link.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            times[number].append(time.monotonic() - start)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(sum(times, [])), time.monotonic() - begin


def answer(server: Server, request: bytes) -> int:
    """The status of what is answered to some bytes; 0 for a connection that was closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as link:
        try:
            link.sendall(request)
            head = link.recv(64)
        except OSError:
            return 0
    found = re.match(rb"HTTP/1\.1 (\d+) ", head)
    return int(found[1]) if found else 0


def hostile(server: Server) -> list[tuple[str, int, tuple[int, ...]]]:
    """Requests that mean no good: what, what came, and what may come."""
    host = b"Host: localhost\r\n"
    post = b"POST /knn-service HTTP/1.1\r\n" + host
    return [(name, answer(server, request), wanted) for name, request, wanted in [
        ("another host's name", b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", (421,)),
        ("a post of another site", post + b"Origin: https://evil.example\r\nContent-Length: 0\r\n\r\n", (403,)),
        ("a form of another site", b"POST /sql HTTP/1.1\r\n" + host + b"Sec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n\r\n", (403,)),
        ("a path above the root", b"GET /../../etc/passwd HTTP/1.1\r\n" + host + b"\r\n", (400,)),
        ("an encoded path above the root", b"GET /assets/%2e%2e%2fetc%2fpasswd HTTP/1.1\r\n" + host + b"\r\n", (400,)),
        ("an address as a target", b"GET http://evil.example/ HTTP/1.1\r\n" + host + b"\r\n", (400, 421)),
        ("a body of 9 MB", post + b"Content-Length: 9437184\r\n\r\n" + b"[" * 9437184, (0, 413)),
        ("a body that never ends", post + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + b"[" * (1 << 20) + b"\r\n") * 9, (0, 413)),
        ("a head of 20 kB", b"GET / HTTP/1.1\r\n" + host + b"X: " + b"y" * 20_000 + b"\r\n\r\n", (0, 400, 431)),
        ("JSON that is 100,000 deep", post + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000, (400,)),
        ("a handshake of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", (0, 400)),
        ("two lengths", post + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}", (400,)),
    ]]


def crowd(server: Server, count: int, bodies: list[tuple[str, bytes]], place: pathlib.Path) -> None:
    """Opens so many sockets that wait, and some that read slowly, while a few ask as they should."""
    base = server.memory()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(count, hard - 512)
    with contextlib.ExitStack() as stack:
        refused = 0
        for number in range(count):
            link = stack.enter_context(socket.socket())
            link.settimeout(60)
            try:
                link.connect(("127.0.0.1", server.port))
                if number % 4 == 1:
                    link.sendall(b"GET / HT")
            except OSError:
                refused += 1
        path, body = bodies[0]
        for _ in range(32):
            slow = stack.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", server.port))
            slow.sendall(b"".join([f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body] * 4))
        begin = time.monotonic()
        asked, took, _, late = measure(server, bodies, 8, 5, place)
        told = server.metrics()
        print(f"{count} sockets opened at once: {told['tarn_connections']:.0f} are served, {refused} were refused by the system, "
              f"{told['tarn_connections_closed_for_room_total']:.0f} closed for room; 8 connections beside them: {asked / took:.0f} queries/s, "
              f"p99 {1000 * late:.0f} ms")
        wrong = [(name, came, wanted) for name, came, wanted in hostile(server) if came not in wanted]
        assert not wrong, wrong
        grown = server.memory() - base
        print(f"hostile requests: all refused; memory {grown / 1e6:+.0f} MB (at most {HOSTILE_BYTES / 1e6:.0f})")
        assert grown < HOSTILE_BYTES, grown
        assert time.monotonic() - begin < 120
    assert answer(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == 200


def batch_seconds(lake: pathlib.Path, place: pathlib.Path, asked: np.ndarray, options: argparse.Namespace) -> float:
    """What the verb takes for as many queries as there are connections, but for one of them and the process's start."""
    def search(count: int) -> float:
        np.save(place / "queries.npy", asked[:count])
        begin = time.monotonic()
        tarn("search", "v", "--queries", place / "queries.npy", "-k", 40, "--nprobe", NPROBE, "--threads",
             options.threads, "--output", place / "found", "--quiet", "--lake", lake)
        return time.monotonic() - begin

    one = statistics.median(search(1) for _ in range(5))
    return max(statistics.median(search(options.connections) for _ in range(5)) - one, 1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--memory-minutes", type=float, default=10)
    parser.add_argument("--sockets", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tarn-bench-") as place:
        place = pathlib.Path(place)
        lake = make_lake(place, options.rows)
        asked = queries(4096)
        bodies = []
        for number, vector in enumerate(asked.tolist()):
            if number % 2:
                bodies.append(("/api/search", json.dumps({"vectors": [vector], "k": 10}).encode()))
            else:
                bodies.append(("/knn-service", json.dumps(
                    {"embedding_input": vector, "modality": "image", "num_images": 40, "indice_name": "v"}).encode()))
        server = Server(lake, options.threads)
        try:
            measure(server, bodies, options.connections, min(5, options.seconds), place)
            before, spent = server.metrics(), 0.0
            rounds = []
            for _ in range(ROUNDS):
                rounds.append(measure(server, bodies, options.connections, options.seconds / ROUNDS, place))
                begin = server.metrics()["process_cpu_seconds_total"]
                peers = [batch_seconds(lake, place, asked, options) for _ in range(ROUNDS)]
                spent += server.metrics()["process_cpu_seconds_total"] - begin
                rounds[-1] += (statistics.median(peers),)
            after = server.metrics()
            count = sum(asked for asked, *_ in rounds)
            rate = statistics.median(asked / took for asked, took, *_ in rounds)
            middle_time, late_time = (statistics.median(each[place] for each in rounds) for place in (2, 3))
            peer = (options.connections - 1) / statistics.median(each[4] for each in rounds)
            done = {name: after[name] - before[name] for name in after if name in before}
            done["process_cpu_seconds_total"] -= spent
            print(f"rows {options.rows}, nprobe {NPROBE}, connections {options.connections}, threads {options.threads}")
            print(f"serve: {rate:.0f} queries/s, p50 {1000 * middle_time:.1f} ms, p99 {1000 * late_time:.1f} ms, "
                  f"CPU {1000 * done['process_cpu_seconds_total'] / count:.2f} ms a query, "
                  f"{done['tarn_queries_total'] / max(done['tarn_batches_total'], 1):.1f} queries a batch")
            print(f"tarn search: {peer:.0f} queries/s at that batch; ratio {rate / peer:.2f} (at least {TARGET})", flush=True)
            crowd(server, options.sockets, bodies, place)
            seen, end = [server.memory()], time.monotonic() + 60 * options.memory_minutes
            while time.monotonic() < end:
                measure(server, bodies, options.connections, min(30, end - time.monotonic()), place)
                seen.append(server.memory())
            middle = seen[len(seen) // 4]
            print(f"memory (anonymous): {seen[0] / 1e6:.0f} MB, {middle / 1e6:.0f} MB after a quarter, {seen[-1] / 1e6:.0f} MB at "
                  f"the end of {options.memory_minutes:g} min, {max(seen) / 1e6:.0f} MB at most")
            assert rate / peer >= TARGET, f"ratio {rate / peer:.2f}"
            assert seen[-1] <= middle * GROWTH + SLACK, seen
        finally:
            server.process.terminate()
            server.process.wait()


if __name__ == "__main__":
    main()
