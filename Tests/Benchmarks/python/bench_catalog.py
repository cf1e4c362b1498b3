#!/usr/bin/env python3
"""The catalog of a large lake: what status, versions and each view cost.

    bench_catalog.py [--shards 1000000] [--versions 100] [--directory DIR]

Makes a catalog of schema 2 through that schema's own triggers, lets tarn migrate it
(the copy taken before and its check are part of the time), and times commands as a
user meets them: a process each, its start included. `cold` is the first run after the
catalog was dropped from the page cache, `warm` the median of five after that.

A view is read in pages of 100 rows, and once whole with every column computed.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import tool

ROOT = pathlib.Path(__file__).resolve().parents[3]
NOW = "2026-01-01T00:00:00.000Z"
SOURCES = 20
PAGE_TARGET, WHOLE_TARGET = 0.100, 2.0


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_lake(lake: pathlib.Path, shards: int, versions: int) -> None:
    """A lake with sources, transfers, versions, segments and a history; no files."""
    subprocess.run([tool.TARN, "init", str(lake)], check=True, stdout=subprocess.DEVNULL)
    catalog = lake / "catalog.sqlite"
    for suffix in ("", "-wal", "-shm"):
        pathlib.Path(f"{catalog}{suffix}").unlink(missing_ok=True)
    database = sqlite3.connect(catalog, isolation_level=None)
    database.executescript("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
    for name in ("M0001_catalog", "M0002_history"):
        database.executescript((ROOT / "Migrations" / f"{name}.sql").read_text())
    database.executescript("PRAGMA user_version = 2; PRAGMA application_id = 0x5441524E; BEGIN")
    run, many = database.execute, database.executemany
    run("INSERT INTO lake VALUES (1, '00000000-0000-4000-8000-000000000000', 'shards', 'artifacts', ?)", (NOW,))

    each = shards // SOURCES
    # Of ten shards five are held, three were, one never was and one cannot be had.
    states = ["present"] * 5 + ["evicted"] * 3 + ["registered", "failed"]
    for source in range(SOURCES):
        base = source * each
        run("INSERT INTO source (id, name, modality, dimension, dtype, created_at, kept_query) "
            "VALUES (?, ?, 'image', 768, 'float16', ?, '')", (source + 1, f"images-{source:02}", NOW))
        url = f"https://host-{source}.example/img_emb/img_emb_"
        run("INSERT INTO mirror VALUES (?, ?, 0, ?, 'original', ?, 0)", (source + 1, source + 1, url + "{ordinal}.npy", NOW))
        rows = [(base + i + 1, i, states[i % 10]) for i in range(each)]
        many(
            "INSERT INTO shard (id, source_id, ordinal, name, expected_byte_count, state, current_revision, path,"
            " last_error, changed_at, verified_at) VALUES (?, ?, ?, ?, 1536000128, ?, ?, ?, ?, ?, ?)",
            ((id, source + 1, i, f"img_emb_{i}.npy", state, 1 if state in ("present", "evicted") else None,
              f"images-{source:02}/img_emb_{i}.{digest(str(id))[:16]}.npy" if state == "present" else None,
              "404 Not Found" if state == "failed" else None, NOW, NOW if state == "present" else None)
             for id, i, state in rows))
        many("INSERT INTO shard_location (shard_id, mirror_id, url) VALUES (?, ?, ?)",
             ((id, source + 1, f"{url}{i}.npy") for id, i, _ in rows))
        many("INSERT INTO shard_revision VALUES (?, 1, ?, 1536000128, 1000000, 'first-use', ?, '\"e\"', NULL, ?)",
             ((id, digest(str(id)), source + 1, NOW) for id, _, state in rows if state in ("present", "evicted")))
        many("INSERT INTO transfer (shard_id, mirror_id, url, started_at, ended_at, received_byte_count, http_status,"
             " outcome) VALUES (?, ?, ?, ?, '2026-01-01T00:00:30.000Z', 1536000128, 200, ?)",
             ((id, source + 1, f"{url}{i}.npy", NOW, "failed" if state == "failed" else "complete")
              for id, i, state in rows if state != "registered"))

    def artifact(kind: str, name: str, size: int) -> tuple:
        hexes = digest(name)
        return (hexes, kind, size, f"{kind}/{hexes[:2]}/{hexes}", NOW)

    add_artifact = "INSERT INTO artifact (sha256, kind, byte_count, path, created_at) VALUES (?, ?, ?, ?, ?)"
    for trained in range(SOURCES):
        row = artifact("trained-index", f"trained {trained}", 402653184)
        run(add_artifact, row)
        run("INSERT INTO trained_index (id, name, state, method, codec, nlist, dimension, iterations, seed, pair_count,"
            " image_source_id, caption_source_id, spec, spec_sha256, created_at) VALUES (?, ?, 'training', 'kmeans',"
            " 'sq4', 131072, 768, 10, 1, 20000000, ?, NULL, '{}', ?, ?)",
            (trained + 1, f"clip-{trained:02}", trained + 1, digest(f"spec {trained}"), NOW))
        run("UPDATE trained_index SET state = 'ready', sha256 = ?, ready_at = ? WHERE id = ?", (row[0], NOW, trained + 1))

    # Each version takes the observed shards of one source; the last two are unfinished.
    inputs = shards // versions
    for version in range(versions):
        source = version % SOURCES
        unfinished = version >= versions - 2
        run("INSERT INTO index_version (id, name, number, state, trained_index_id, source_id, shards_per_output,"
            " missing_policy, bad_rows_policy, spec, spec_sha256, environment, created_at)"
            " VALUES (?, ?, ?, 'planned', ?, ?, 40, 'fail', 'fail', '{}', ?, '{}', ?)",
            (version + 1, f"laion-{source:02}", version // SOURCES + 1, source + 1, source + 1,
             digest(f"version {version}"), NOW))
        chosen = [i for i in range(each) if i % 10 < 8][:inputs]
        many("INSERT INTO version_input (version_id, ordinal, shard_id, revision, output_ordinal, first_id, row_count)"
             " VALUES (?, ?, ?, 1, ?, ?, 1000000)",
             ((version + 1, place, source * each + i + 1, place // 40, 1000000 * i) for place, i in enumerate(chosen)))
        run("UPDATE index_version SET state = 'building' WHERE id = ?", (version + 1,))
        encoded = chosen[: len(chosen) // 2] if unfinished else chosen
        trained = digest(f"trained {source}")
        if version < SOURCES or unfinished:
            segments = [(artifact("segment", f"segment {source} {i}", 400000000), i) for i in encoded]
            if version < SOURCES:
                many(add_artifact, (row for row, _ in segments))
                many("INSERT INTO segment VALUES (?, ?, '', 'fail', 1, ?, 1000000, 0, ?)",
                     ((trained, digest(str(source * each + i + 1)), row[0], NOW) for row, i in segments))
        outputs = range(len(encoded) // 40)
        rows = [artifact("output-shard", f"output {version} {number}", 15000000000) for number in outputs]
        many(add_artifact, rows)
        many("INSERT INTO output_shard VALUES (?, ?, ?, ?, ?, ?, ?, 40000000, 15000000000, ?, ?)",
             ((version + 1, number, row[0], 40 * number, 40 * number + 39, 1000000 * chosen[40 * number],
               1000000 * (chosen[40 * number + 39] + 1), digest(f"lists {version} {number}"), NOW)
              for number, row in zip(outputs, rows)))
        if not unfinished:
            run("UPDATE index_version SET state = 'sealed', version_sha256 = ?, sealed_at = ? WHERE id = ?",
                (digest(f"lock {version}"), NOW, version + 1))

    previous = "0" * 64

    def events():
        nonlocal previous
        for seq in range(1, shards // 5 + 1):
            fields = [str(seq), NOW, "bench@host", "fetched", f"images-00/img_emb_{seq}.npy", "{}", previous]
            previous = digest("".join(field + "\n" for field in fields))
            yield (seq, *fields[1:], previous)

    many("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", events())
    run("COMMIT")
    assert run("PRAGMA foreign_key_check").fetchall() == []
    database.close()


def drop_from_cache(lake: pathlib.Path) -> None:
    for name in ("catalog.sqlite", "catalog.sqlite-wal"):
        if (lake / name).exists():
            with open(lake / name, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(command: list[str], lake: pathlib.Path) -> float:
    start = time.perf_counter()
    result = subprocess.run([tool.TARN, *command, "--lake", str(lake)], capture_output=True)
    elapsed = time.perf_counter() - start
    if result.returncode != 0:
        sys.exit(f"{command}: {result.stderr.decode()}")
    return elapsed


def measure(title: str, command: list[str], lake: pathlib.Path, target: float) -> bool:
    drop_from_cache(lake)
    cold = seconds(command, lake)
    warm = statistics.median(seconds(command, lake) for _ in range(5 if cold < 1 else 1))
    verdict = "" if warm <= target and cold <= target else "  over" if warm > target else "  over when cold"
    print(f"  {title:<34} {cold * 1000:8.0f} {warm * 1000:8.0f}   {target * 1000:6.0f}{verdict}", flush=True)
    return not verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1_000_000)
    parser.add_argument("--versions", type=int, default=100)
    parser.add_argument("--directory", help="keep the lake here, and use one that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(options.directory or temporary)
        lake = directory / "lake"
        if not lake.exists():
            start = time.perf_counter()
            make_lake(lake, options.shards, options.versions)
            print(f"made a catalog of schema 2 in {time.perf_counter() - start:.0f} s", flush=True)
        size = (lake / "catalog.sqlite").stat().st_size
        counts = sqlite3.connect(f"file:{lake}/catalog.sqlite?mode=ro", uri=True)
        there = {name for (name,) in counts.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        figures = {
            table: counts.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("shard", "shard_revision", "transfer", "index_version", "version_input", "output_shard",
                          "segment", "artifact", "stored_bytes", "event") if table in there}
        schema = counts.execute("PRAGMA user_version").fetchone()[0]
        counts.close()
        print(f"catalog: {size / 1e6:.0f} MB, schema {schema}; " + ", ".join(f"{n} {t}" for t, n in figures.items()))
        drop_from_cache(lake)
        pin = seconds(["pin", "laion-00@1", "--reason", "benchmark"], lake)
        print(f"the next command that writes, migrating from schema {schema}: {pin:.1f} s", flush=True)
        unpin = seconds(["unpin", "laion-00@1"], lake)
        print(f"a command that writes after that: {unpin:.2f} s", flush=True)

        print(f"  {'':<34} {'cold ms':>8} {'warm ms':>8}   target")
        views = json.loads(subprocess.run(
            [tool.TARN, "schema", "--json", "--lake", str(lake)], capture_output=True, check=True).stdout)
        good = [
            measure("status", ["status"], lake, PAGE_TARGET),
            measure("versions", ["versions"], lake, PAGE_TARGET),
        ]
        for view in views:
            good.append(measure(f"{view}, 100 rows", ["sql", f"SELECT * FROM {view} LIMIT 100"], lake, PAGE_TARGET))
        for view, columns in views.items():
            all_columns = ", ".join(f"max({column['column']})" for column in columns)
            good.append(measure(
                f"{view}, whole", ["sql", f"SELECT count(*), {all_columns} FROM {view}"], lake, WHOLE_TARGET))
        print(f"{sum(good)} of {len(good)} within their targets, cold and warm")


if __name__ == "__main__":
    main()
