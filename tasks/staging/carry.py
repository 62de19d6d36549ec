"""Carries over, at a replay, what was made of the archive and cannot be made again: recon, alerts, the outbox.

What of it is in the archive too (tasks/outbox/history.py, tasks/work/kept.py) comes from there where a table of the old
file cannot be read any more.
"""

from __future__ import annotations

from contextlib import suppress

import duckdb

from tasks.staging.query import frame
from tasks.staging.schema import VERDICTS, items_sql
from tasks.staging.store import Staging

_SCHEMAS = ("recon", "outbox")
_TABLES = (("check", "alerts"),)
# Verdicts of the old file name its rows by number, and a rebuilt file has others: they go over as recon.items tells them.
_ITEMS = ('"recon"."items"', '"recon"."judged"')  # the first a table, in files of earlier releases
_BY_NUMBER = tuple(name for name in VERDICTS if name != "judged")
# Tables that are nothing without each other: all of them come from the old file, or none.
_TOGETHER = (
    ("outbox.files", "outbox.records", "outbox.applied", "outbox.moves"),
    ("recon.runs", "recon.break_events", "recon.breaks"),
)


def carry_over(old: Staging, new: Staging) -> dict[str, int]:
    """Copies those tables from `old` into `new`; returns rows per table. What cannot be read is left out.

    The caller holds the lock of `old`.
    """
    if not old.path.exists():
        return {}
    carried: dict[str, int] = {}
    for group in _groups(_names(old, new)):
        carried |= _copied(old, new, group)
    return carried


def _names(old: Staging, new: Staging) -> list[tuple[str, str]]:
    """(schema, table) of all that is to be carried over; none if the old file cannot be read."""
    with new.open() as connection:
        try:
            _attach(connection, old)
            tables = frame(
                connection,
                """SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'old_file' ORDER BY 1, 2""",
            ).rows()
        except duckdb.Error:
            return []
    known = [(s, t) for s, t in tables if s in _SCHEMAS or (s, t) in _TABLES]
    return [(s, t) for s, t in known if s != "recon" or t not in _BY_NUMBER]


def _groups(names: list[tuple[str, str]]) -> list[list[str]]:
    """Quoted names, those that belong together in one list."""
    found: dict[object, list[str]] = {}
    for schema, table in names:
        name = f"{schema}.{table}"
        group = next((number for number, tables in enumerate(_TOGETHER) if name in tables), name)
        found.setdefault(group, []).append(f'"{schema}"."{table}"')
    return list(found.values())


def _copied(old: Staging, new: Staging, names: list[str]) -> dict[str, int]:
    """Copies all of `names` or, where one cannot be read, none. Each time by a connection of its own: DuckDB gives a
    database up for good when it meets a damaged block.
    """
    with new.open() as connection:
        try:
            _attach(connection, old)
            connection.begin()
            counts = {name: _copy(connection, name) for name in names}
            connection.commit()
        except duckdb.Error:
            with suppress(duckdb.Error):
                connection.rollback()
            return {}
    return counts


def _attach(connection: duckdb.DuckDBPyConnection, old: Staging) -> None:
    quoted = str(old.path).replace("'", "''")
    connection.execute(f"ATTACH '{quoted}' AS old_file (READ_ONLY)")


def _copy(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    source = f"SELECT * FROM old_file.{name}"
    if name in _ITEMS:
        name, source = _ITEMS[1], items_sql("old_file.") if name == _ITEMS[1] else source
    connection.execute(f"CREATE TABLE IF NOT EXISTS {name} AS {source} LIMIT 0")
    connection.execute(f"DELETE FROM {name}")
    connection.execute(f"INSERT INTO {name} BY NAME {source}")
    return int(connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0])
