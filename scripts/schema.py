#!/usr/bin/env python3
"""Writes Migrations/Schema.sql: what all migrations together make of an empty catalog.

    scripts/schema.py [--check]

A new catalog is made of it and of Views.sql, in a part of the time that the steps
take. MigrationTests holds it against the steps. With --check nothing is written.
"""

import pathlib
import re
import sqlite3
import sys

MIGRATIONS = pathlib.Path(__file__).resolve().parent.parent / "Migrations"
HEAD = """\
-- The tables of a new catalog: what M0001 to M{last:04} make of an empty one, indexes,
-- triggers and first rows included. Written by scripts/schema.py; never edited.

"""


def statements(text: str) -> list[str]:
    """The statements of a script, one by one, so that all run in one transaction."""
    found, rest = [], ""
    for line in text.splitlines(keepends=True):
        rest += line
        if sqlite3.complete_statement(rest):
            found.append(rest)
            rest = ""
    return found


def migrated() -> tuple[sqlite3.Connection, int]:
    """A catalog that has seen every migration, views aside, and the last one's number."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    first_without_views = int(
        re.search(r"firstWithoutViews = (\d+)", (MIGRATIONS / "Steps" / "Migrations.swift").read_text()).group(1))
    files = sorted(MIGRATIONS.glob("M[0-9]*.sql"))
    for number, file in enumerate(files, start=1):
        if number == first_without_views:
            for (view,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'view'").fetchall():
                database.execute(f"DROP VIEW {view}")
        for statement in statements(file.read_text()):
            database.execute(statement)
    return database, len(files)


def literal(value: None | int | float | str) -> str:
    if value is None:
        return "NULL"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def rows(database: sqlite3.Connection, table: str) -> str:
    """The rows of a table as one INSERT, or nothing."""
    found = database.execute(f"SELECT * FROM {table}").fetchall()
    lines = ",\n".join("  (" + ", ".join(map(literal, row)) + ")" for row in found)
    return f"INSERT INTO {table} VALUES\n{lines};\n" if found else ""


def schema() -> str:
    database, last = migrated()
    objects = database.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' ORDER BY rowid"
    ).fetchall()
    parts = [sql + ";\n" for kind, _, sql in objects if kind != "trigger"]
    parts += [rows(database, name) for kind, name, _ in objects if kind == "table"]
    # What the planner is told of tables that are empty yet.
    parts += ["ANALYZE sqlite_schema;\n", rows(database, "sqlite_stat1"), "ANALYZE sqlite_schema;\n"]
    # Behind the rows, which come into being and do not change.
    parts += [sql + ";\n" for kind, _, sql in objects if kind == "trigger"]
    return HEAD.format(last=last) + "\n".join(part for part in parts if part)


def main() -> None:
    page = MIGRATIONS / "Schema.sql"
    text = schema()
    if sys.argv[1:] == ["--check"]:
        if not page.exists() or page.read_text() != text:
            sys.exit("Migrations/Schema.sql is not what the migrations make: scripts/schema.py writes it")
        return
    page.write_text(text)


if __name__ == "__main__":
    main()
