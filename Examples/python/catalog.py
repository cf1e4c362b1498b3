#!/usr/bin/env python3
"""Read a lake's catalog with pandas and with DuckDB.

    catalog.py LAKE VERSION

The views that begin with v_ are tarn's interface. The catalog may be read while tarn
works; it is opened so that nothing can be written.
"""

import argparse
import contextlib
import pathlib
import sqlite3

import duckdb
import pandas


def shards(lake: pathlib.Path) -> pandas.DataFrame:
    """A row for each shard, by pandas through Python's own SQLite."""
    with contextlib.closing(sqlite3.connect(f"file:{lake}/catalog.sqlite?mode=ro", uri=True)) as catalog:
        # Whole numbers with nulls among them are Int64; they would be floats else.
        return pandas.read_sql(
            "SELECT source, ordinal, shard, state, rows, bytes, path FROM v_shard ORDER BY source, ordinal", catalog,
            dtype={"rows": "Int64", "bytes": "Int64"})


def inputs(lake: pathlib.Path, version: str) -> pandas.DataFrame:
    """The shards of a version and the file that holds the rows of each, by DuckDB, joined in its own words."""
    database = duckdb.connect()
    database.execute("LOAD sqlite")
    database.execute(f"ATTACH '{lake}/catalog.sqlite' AS lake (TYPE sqlite, READ_ONLY)")
    return database.execute(
        """SELECT i.shard, i.first_id, i.rows, o.file
           FROM lake.v_version_input i JOIN lake.v_output_shard o USING (version, output)
           WHERE i.version = ? ORDER BY i.first_id""", [version]).df()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lake", type=pathlib.Path)
    parser.add_argument("version", help="NAME@N")
    arguments = parser.parse_args()
    found = shards(arguments.lake)
    print(found.groupby(["source", "state"])[["rows", "bytes"]].sum())
    print()
    print(inputs(arguments.lake, arguments.version).to_string(index=False))


if __name__ == "__main__":
    main()
