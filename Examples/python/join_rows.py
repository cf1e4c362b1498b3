#!/usr/bin/env python3
"""Say what is known of the rows that a search found, from a companion's files, without tarn.

    join_rows.py LAKE VERSION COMPANION ID...

A row id is a shard and a row: the shard whose ids begin at or before it. The companion's
shard of the same ordinal has the same row. Parquet and lines of text are read here.
"""

import argparse
import contextlib
import pathlib
import sqlite3

import pandas


def table(path: pathlib.Path) -> pandas.DataFrame:
    """The rows of a companion's file."""
    if path.suffix == ".parquet":
        return pandas.read_parquet(path)
    lines = path.read_text("utf-8").split("\n")
    return pandas.DataFrame({"text": lines[:-1] if lines[-1] == "" else lines})


def rows(
    lake: pathlib.Path, version: str, companion: str, ids: list[int], directory: pathlib.Path | None = None
) -> pandas.DataFrame:
    """A row for each id, in their order: id, shard, row, and the companion's columns.

    `directory` is the one of `tarn init --shards`, where that is not inside the lake.
    """
    directory = directory or lake / "shards"
    with contextlib.closing(sqlite3.connect(f"file:{lake}/catalog.sqlite?mode=ro", uri=True)) as catalog:
        shards = pandas.read_sql(
            """SELECT i.shard, i.first_id, i.rows, s.path
               FROM v_version_input i
               JOIN v_version_companion c ON c.version = i.version AND c.ordinal = i.ordinal
               JOIN v_shard s ON s.source = c.companion AND s.ordinal = c.ordinal AND s.sha256 = c.sha256
               WHERE i.version = ? AND c.companion = ? AND s.path IS NOT NULL ORDER BY i.first_id""",
            catalog, params=(version, companion))
    found = []
    tables: dict[str, pandas.DataFrame] = {}
    for row_id in ids:
        # The last shard that begins at or before the id.
        place = shards["first_id"].searchsorted(row_id, side="right") - 1
        shard = shards.iloc[place] if place >= 0 else None
        if shard is None or row_id >= shard["first_id"] + shard["rows"]:
            raise SystemExit(f"{companion} has nothing here of row {row_id} of {version}")
        row = row_id - shard["first_id"]
        if shard["path"] not in tables:
            tables[shard["path"]] = table(directory / shard["path"])
        found.append({"id": row_id, "shard": shard["shard"], "row": int(row), **tables[shard["path"]].iloc[row].to_dict()})
    return pandas.DataFrame(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lake", type=pathlib.Path)
    parser.add_argument("version", help="NAME@N")
    parser.add_argument("companion")
    parser.add_argument("ids", metavar="id", type=int, nargs="+")
    arguments = parser.parse_args()
    found = rows(arguments.lake, arguments.version, arguments.companion, arguments.ids)
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
