"""People's words on breaks and closed periods in schema recon. Both tables are only ever added to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from tasks.reconcile.model import Schema
from tasks.staging.query import frame, scalar
from tasks.work.model import KPIS, PERIODS, PROGRAM, WORK_EVENTS

Row = dict[str, Any]
# The newest word on each break says where it stands.
CURRENT = """SELECT * FROM recon.work_events
    QUALIFY row_number() OVER (PARTITION BY break_id ORDER BY sequence DESC) = 1"""
_NEAR = 5
# What was decided on is there again, or is another amount by now: a person must look once more.
_REOPEN = f"""
    INSERT INTO recon.work_events BY NAME
    SELECT (SELECT coalesce(max(sequence), 0) FROM recon.work_events) + row_number() OVER (ORDER BY e.break_id)
               AS sequence,
           e.break_id, (w.version + CASE w.state WHEN 'signed_off' THEN 1 ELSE 0 END)::INTEGER AS version,
           $2::TIMESTAMPTZ AS "at", e.run_id, 'reopened' AS action, '{PROGRAM}' AS "by", w.owner,
           CASE e.kind WHEN 'reopened' THEN 'found again'
                ELSE 'amount was ' || e.from_amount || ', is ' || e.to_amount END AS note,
           'open' AS state, e.to_amount AS amount
    FROM recon.break_events e JOIN ({CURRENT}) w USING (break_id)
    WHERE e.run_id = $1 AND w.state IN ('resolved', 'accepted', 'signed_off')
      AND (e.kind = 'reopened' OR (e.kind = 'changed' AND e.from_amount IS DISTINCT FROM e.to_amount))"""


def find(connection: duckdb.DuckDBPyConnection, text: str) -> list[Row]:
    """Breaks with this id; if there is none, those whose id ends in it (recon.breaks columns)."""
    sql = "SELECT * FROM recon.breaks WHERE {} ORDER BY break_id"
    exact = frame(connection, sql.format("break_id = $1"), [text])
    return (
        exact if exact.height else frame(connection, sql.format("ends_with(break_id, $1)"), [text])
    ).to_dicts()


def near(connection: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    """The ids that are written most like `text`, nearest first; at most five."""
    found = frame(
        connection,
        f"""SELECT break_id FROM recon.breaks
            ORDER BY damerau_levenshtein(right(break_id, greatest(length($1), 1)), $1), break_id LIMIT {_NEAR}""",
        [text],
    )
    return found["break_id"].to_list()


def current(connection: duckdb.DuckDBPyConnection, break_id: str) -> Row | None:
    """The newest word on a break; None if nobody has said one."""
    found = frame(connection, f"SELECT * FROM ({CURRENT}) WHERE break_id = $1", [break_id])
    return found.row(0, named=True) if found.height else None


def decided_by(connection: duckdb.DuckDBPyConnection, break_id: str, version: int) -> str | None:
    """Who last resolved or accepted this version of the work."""
    by = scalar(
        connection,
        """SELECT "by" FROM recon.work_events
           WHERE break_id = $1 AND version = $2 AND action IN ('resolved', 'accepted') ORDER BY sequence DESC LIMIT 1""",
        [break_id, version],
    )
    return None if by is None else str(by)


def standing(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Where each break that anybody worked on stands: break_id, work_state, owner, version."""
    return frame(connection, f"SELECT break_id, state AS work_state, owner, version FROM ({CURRENT})")


def decisions(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """The first decision on each break: break_id, decided_at."""
    return frame(
        connection,
        """SELECT break_id, min("at") AS decided_at FROM recon.work_events
           WHERE action IN ('resolved', 'accepted') GROUP BY break_id""",
    )


def history(connection: duckdb.DuckDBPyConnection, break_id: str) -> tuple[list[Row], list[Row]]:
    """All that the program and all that people said of a break, oldest first."""
    program = frame(
        connection, 'SELECT * FROM recon.break_events WHERE break_id = $1 ORDER BY "at", run_id', [break_id]
    )
    people = frame(
        connection, "SELECT * FROM recon.work_events WHERE break_id = $1 ORDER BY sequence", [break_id]
    )
    return program.to_dicts(), people.to_dicts()


def add_event(connection: duckdb.DuckDBPyConnection, event: Mapping[str, Any]) -> Row:
    """Adds one word, with the next sequence number, and returns it as it is kept. The caller's transaction holds the

    only writer's lock.
    """
    last = scalar(connection, "SELECT coalesce(max(sequence), 0) FROM recon.work_events")
    line = {**event, "sequence": last + 1}
    _add(connection, "work_events", WORK_EVENTS, [line])
    return line


def reopen_by_program(connection: duckdb.DuckDBPyConnection, run_id: str, as_of: datetime) -> int:
    """Opens the work again on what this run found again or found changed after a decision; how many."""
    connection.execute(_REOPEN, [run_id, as_of]).fetchall()
    return int(scalar(connection, "SELECT count(*) FROM recon.work_events WHERE run_id = $1", [run_id]))


def periods(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The closed periods, earliest first (PERIODS)."""
    return frame(connection, "SELECT * FROM recon.periods ORDER BY first_day, last_day").to_dicts()


def add_period(connection: duckdb.DuckDBPyConnection, period: Mapping[str, Any]) -> None:
    """Adds one closed period."""
    _add(connection, "periods", PERIODS, [period])


def add_kpis(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame) -> None:
    """Adds the figures of one run (KPIS)."""
    _insert(connection, "kpis", rows.select(pl.col(name).cast(kind) for name, kind in KPIS.items()))


def kpis_of(connection: duckdb.DuckDBPyConnection, run_id: str) -> pl.DataFrame:
    """The figures of one run in order: name, part, value, unit."""
    sql = "SELECT name, part, value, unit FROM recon.kpis WHERE run_id = $1 ORDER BY position"
    return frame(connection, sql, [run_id])


def _add(
    connection: duckdb.DuckDBPyConnection, table: str, schema: Schema, rows: list[Mapping[str, Any]]
) -> None:
    _insert(connection, table, pl.DataFrame(rows, schema=dict(schema)))


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    connection.register("added", rows)
    connection.execute(f"INSERT INTO recon.{table} BY NAME SELECT * FROM added")
    connection.unregister("added")
