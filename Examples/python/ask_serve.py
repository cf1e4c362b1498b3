#!/usr/bin/env python3
"""Ask `tarn serve` over HTTP: a search, where its rows come from, and SQL.

    ask_serve.py ADDRESS VERSION QUERIES.npy

Python's library and NumPy are enough. With a token, send it as `Authorization: Bearer TOKEN`.
"""

import argparse
import json
import pathlib
import urllib.error
import urllib.request

import numpy as np


def ask(address: str, path: str, body: dict | None = None) -> object:
    """The JSON, or the lines of JSON, that a path answers; an error says what the server said."""
    request = urllib.request.Request(
        address + path, data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{path}: {error.code} {json.load(error)['message']}") from None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="http://HOST:PORT")
    parser.add_argument("version", help="NAME@N")
    parser.add_argument("queries", type=pathlib.Path)
    arguments = parser.parse_args()
    address, version = arguments.address.rstrip("/"), arguments.version
    queries = np.load(arguments.queries).astype(np.float32)
    print("versions:", *ask(address, "/indices-list"))
    found = ask(address, "/api/search", {"version": version, "vectors": queries[:1].tolist(), "k": 3, "columns": True})
    print(json.dumps(found, indent=1))
    print(json.dumps(ask(address, "/api/sql", {"sql": "SELECT count(*) AS shards, sum(bytes) AS bytes FROM v_shard"})))


if __name__ == "__main__":
    main()
