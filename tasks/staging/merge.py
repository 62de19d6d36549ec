"""Merges a checked frame into its versions table: new, unchanged, amended, gone. Set-based SQL.

A second sight of the same row changes nothing but last_seen_at; a changed row makes a new version and
keeps the old one; a row that a complete snapshot no longer lists gets a version with present = false.
Running the same frame twice gives the same tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb
import polars as pl

from checks.contracts import Contract
from checks.describe import columns
from tasks.staging.query import scalar


@dataclass(frozen=True)
class Merged:
    """Rows by verdict. new + unchanged + amended = rows given; gone counts stored rows."""

    new: int
    unchanged: int
    amended: int
    gone: int


@dataclass(frozen=True)
class Target:
    """A versioned table: `schema`.`table`, its contract and its business key."""

    schema: str
    table: str
    contract: type[Contract]
    key: tuple[str, ...]

    @property
    def versions(self) -> str:
        return f"{self.schema}.{self.table}_versions"


def merge(
    connection: duckdb.DuckDBPyConnection,
    target: Target,
    frame: pl.DataFrame,
    *,
    poll_id: str,
    form: str,
    seen_at: datetime,
    complete_snapshot: bool = False,
) -> Merged:
    """Merges `frame` (contract columns + row_no) inside the caller's transaction."""
    names = [column.name for column in columns(target.contract)]
    connection.register("incoming", frame)
    try:
        _judge(connection, target, names)
        counts = dict(connection.execute("SELECT verdict, count(*) FROM verdict GROUP BY 1").fetchall())
        _touch_and_supersede(connection, target, seen_at)
        _insert(connection, target, names, poll_id, form, seen_at)
        gone = _mark_gone(connection, target, names, poll_id, form, seen_at) if complete_snapshot else 0
    finally:
        connection.execute("DROP TABLE IF EXISTS temp.verdict")
        connection.unregister("incoming")
    return Merged(counts.get("new", 0), counts.get("unchanged", 0), counts.get("amended", 0), gone)


def _same_key(target: Target, left: str, right: str) -> str:
    return " AND ".join(f'{left}."{name}" IS NOT DISTINCT FROM {right}."{name}"' for name in target.key)


def _judge(connection: duckdb.DuckDBPyConnection, target: Target, names: list[str]) -> None:
    changed = " OR ".join(
        f'i."{name}" IS DISTINCT FROM c."{name}"' for name in names if name not in target.key
    )
    connection.execute(
        f"""CREATE TEMP TABLE verdict AS
            SELECT i.row_no, c.rowid AS current_row, c.version, c.first_seen_at,
                   CASE WHEN c.version IS NULL THEN 'new'
                        WHEN NOT c.present OR {changed or "false"} THEN 'amended'
                        ELSE 'unchanged' END AS verdict
            FROM incoming i
            LEFT JOIN (SELECT rowid, * FROM {target.versions} WHERE is_current) c ON {_same_key(target, "i", "c")}"""
    )


def _touch_and_supersede(connection: duckdb.DuckDBPyConnection, target: Target, seen_at: datetime) -> None:
    connection.execute(
        f"""UPDATE {target.versions} AS t SET last_seen_at = greatest(t.last_seen_at, $1::TIMESTAMPTZ)
            FROM verdict v WHERE v.verdict = 'unchanged' AND t.rowid = v.current_row""",
        [seen_at],
    )
    connection.execute(
        f"""UPDATE {target.versions} AS t SET is_current = false
            FROM verdict v WHERE v.verdict = 'amended' AND t.rowid = v.current_row"""
    )


def _insert(
    connection: duckdb.DuckDBPyConnection,
    target: Target,
    names: list[str],
    poll_id: str,
    form: str,
    seen_at: datetime,
) -> None:
    listing = ", ".join(f'i."{name}"' for name in names)
    connection.execute(
        f"""INSERT INTO {target.versions}
            SELECT {listing}, $1, $2, i.row_no, coalesce(v.first_seen_at, $3::TIMESTAMPTZ), $3::TIMESTAMPTZ,
                   $3::TIMESTAMPTZ, coalesce(v.version, 0) + 1, true, true
            FROM incoming i JOIN verdict v USING (row_no) WHERE v.verdict <> 'unchanged'""",
        [form, poll_id, seen_at],
    )


def _mark_gone(
    connection: duckdb.DuckDBPyConnection,
    target: Target,
    names: list[str],
    poll_id: str,
    form: str,
    seen_at: datetime,
) -> int:
    listing = ", ".join(f'"{name}"' for name in names)
    connection.execute(
        f"""CREATE TEMP TABLE gone AS SELECT c.rowid AS gone_row, c.* FROM {target.versions} c
            WHERE c.is_current AND c.present AND c.poll_id <> $1
              AND NOT EXISTS (SELECT 1 FROM incoming i WHERE {_same_key(target, "i", "c")})""",
        [poll_id],
    )
    connection.execute(
        f"UPDATE {target.versions} AS t SET is_current = false FROM gone g WHERE t.rowid = g.gone_row"
    )
    connection.execute(
        f"""INSERT INTO {target.versions}
            SELECT {listing}, $1, $2, 0, first_seen_at, $3::TIMESTAMPTZ, last_seen_at, version + 1, false, true FROM gone""",
        [form, poll_id, seen_at],
    )
    count = int(scalar(connection, "SELECT count(*) FROM gone"))
    connection.execute("DROP TABLE temp.gone")
    return count
