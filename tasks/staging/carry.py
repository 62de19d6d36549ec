"""Carries over, at a replay, what the archive cannot give back: break history, alerts, the outbox."""

from __future__ import annotations

import duckdb

from tasks.staging.query import frame
from tasks.staging.store import Staging

_SCHEMAS = ("recon", "outbox")
_TABLES = (("check", "alerts"),)


def carry_over(old: Staging, new: Staging) -> dict[str, int]:
    """Copies those tables from `old` into `new`; returns rows per table. An unreadable old file gives nothing.

    The caller holds the lock of `old`.
    """
    if not old.path.exists():
        return {}
    with new.open() as connection:
        quoted = str(old.path).replace("'", "''")
        try:
            connection.execute(f"ATTACH '{quoted}' AS old_file (READ_ONLY)")
        except duckdb.Error:
            return {}
        return {name: _copy(connection, name) for name in _names(connection)}


def _names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    tables = frame(
        connection,
        """SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'old_file' ORDER BY 1, 2""",
    ).rows()
    return [f'"{s}"."{t}"' for s, t in tables if s in _SCHEMAS or (s, t) in _TABLES]


def _copy(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    connection.execute(f"CREATE TABLE IF NOT EXISTS {name} AS SELECT * FROM old_file.{name} LIMIT 0")
    connection.execute(f"DELETE FROM {name}")
    connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM old_file.{name}")
    return int(connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0])
