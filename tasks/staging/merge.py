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
from checks.control import Total
from checks.describe import columns
from tasks.staging.query import scalar


@dataclass(frozen=True)
class Merged:
    """Rows by verdict. new + unchanged + amended = rows given; gone counts stored rows.

    `staged`: rows and money that staging holds now for the rows given, counted in the table itself.
    """

    new: int
    unchanged: int
    amended: int
    gone: int
    staged: Total


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
    amount_column: str = "",
) -> Merged:
    """Merges `frame` (contract columns + row_no) inside the caller's transaction."""
    names = [column.name for column in columns(target.contract)]
    connection.register("incoming", frame)
    try:
        unchanged, amended = _judge(connection, target, names)
        _touch_and_supersede(connection, target, seen_at)
        _insert(connection, target, names, poll_id, form, seen_at, fresh=not unchanged + amended)
        staged = _staged(connection, target, poll_id, amount_column)
        gone = _mark_gone(connection, target, names, poll_id, form, seen_at) if complete_snapshot else 0
    finally:
        connection.execute("DROP TABLE IF EXISTS temp.known")
        connection.unregister("incoming")
    return Merged(frame.height - unchanged - amended, unchanged, amended, gone, staged)


def _staged(connection: duckdb.DuckDBPyConnection, target: Target, poll_id: str, amount: str) -> Total:
    """What the table holds of this poll's rows: those inserted, and those known and unchanged."""
    money = f"coalesce(sum({amount}), 0)::DECIMAL(38,2)" if amount else "0::DECIMAL(38,2)"
    rows, total = connection.execute(
        f"""SELECT count(*), {money} FROM {target.versions} AS t
            WHERE t.is_current AND (t.poll_id = $1
                OR t.rowid IN (SELECT current_row FROM temp.known WHERE NOT amended))""",
        [poll_id],
    ).fetchall()[0]
    return Total(rows, total)


def _same_key(target: Target, left: str, right: str) -> str:
    return " AND ".join(f'{left}."{name}" IS NOT DISTINCT FROM {right}."{name}"' for name in target.key)


def _judge(connection: duckdb.DuckDBPyConnection, target: Target, names: list[str]) -> tuple[int, int]:
    """temp.known: incoming rows whose key is current, and whether they changed. Returns (unchanged, amended)."""
    changed = " OR ".join(
        f'i."{name}" IS DISTINCT FROM c."{name}"' for name in names if name not in target.key
    )
    connection.execute(
        f"""CREATE TEMP TABLE known AS
            SELECT i.row_no, c.rowid AS current_row, c.version, c.first_seen_at,
                   NOT c.present OR {changed or "false"} AS amended
            FROM incoming i
            JOIN (SELECT rowid, * FROM {target.versions} WHERE is_current) c ON {_same_key(target, "i", "c")}"""
    )
    counts = "SELECT count(*) FILTER (NOT amended), count(*) FILTER (amended) FROM temp.known"
    unchanged, amended = connection.execute(counts).fetchall()[0]
    return unchanged, amended


def _touch_and_supersede(connection: duckdb.DuckDBPyConnection, target: Target, seen_at: datetime) -> None:
    connection.execute(
        f"""UPDATE {target.versions} AS t SET last_seen_at = greatest(t.last_seen_at, $1::TIMESTAMPTZ)
            FROM temp.known k WHERE NOT k.amended AND t.rowid = k.current_row""",
        [seen_at],
    )
    connection.execute(
        f"""UPDATE {target.versions} AS t SET is_current = false
            FROM temp.known k WHERE k.amended AND t.rowid = k.current_row"""
    )


def _insert(
    connection: duckdb.DuckDBPyConnection,
    target: Target,
    names: list[str],
    poll_id: str,
    form: str,
    seen_at: datetime,
    *,
    fresh: bool,
) -> None:
    """New and amended rows. `fresh`: no row is known, so nothing needs to be joined."""
    listing = ", ".join(f'i."{name}"' for name in names)
    first, version, source = (
        "coalesce(k.first_seen_at, $3::TIMESTAMPTZ)",
        "coalesce(k.version, 0) + 1",
        "incoming i",
    )
    if fresh:
        first, version = "$3::TIMESTAMPTZ", "1"
    else:
        source += " LEFT JOIN temp.known k USING (row_no) WHERE k.amended IS NULL OR k.amended"
    connection.execute(
        f"""INSERT INTO {target.versions}
            SELECT {listing}, $1, $2, i.row_no, {first}, $3::TIMESTAMPTZ, $3::TIMESTAMPTZ, {version}, true, true
            FROM {source}""",
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
