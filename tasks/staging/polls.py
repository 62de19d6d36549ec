"""What the staging file knows of polls: runs, loads, watermarks, and the history that suspicion needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl

from tasks.archive import Poll
from tasks.staging.query import frame, from_us, scalar
from tasks.staging.schema import POLL_RUNS


@dataclass(frozen=True)
class Counts:
    """Rows of one poll by fate: rows_in = new + unchanged + amended + duplicate + quarantined."""

    rows_in: int = 0
    rows_new: int = 0
    rows_unchanged: int = 0
    rows_amended: int = 0
    rows_duplicate: int = 0
    rows_quarantined: int = 0
    rows_gone: int = 0
    sum_in: Decimal | None = None


def is_loaded(connection: duckdb.DuckDBPyConnection, load_id: str) -> bool:
    """True if this load was committed; the load log decides, never a guess."""
    return scalar(connection, "SELECT 1 FROM poll.loads WHERE load_id = $1", [load_id]) is not None


def record_load(connection: duckdb.DuckDBPyConnection, load_id: str, kind: str, at: datetime) -> None:
    """Marks a load as done, inside its own transaction."""
    connection.execute("INSERT INTO poll.loads VALUES ($1, $2, $3)", [load_id, kind, at])


def record_run(
    connection: duckdb.DuckDBPyConnection,
    poll: Poll,
    counts: Counts,
    *,
    status: str,
    reason: str | None,
    message: str | None,
    covered_to: datetime | None,
) -> None:
    """One line of poll.runs."""
    values: dict[str, Any] = {
        "poll_id": poll.poll_id,
        "feed": poll.feed,
        "form": poll.form,
        "operation": poll.operation,
        "window_from": poll.window_from,
        "window_to": poll.window_to,
        "covered_to": covered_to,
        "requested_at": poll.requested_at,
        "finished_at": poll.requested_at + timedelta(milliseconds=poll.duration_ms),
        "status": status,
        "reason": reason,
        "message": message,
        "http_status": poll.http_status,
        "sha256": poll.sha256,
        "bytes": poll.bytes,
        "duration_ms": poll.duration_ms,
        **counts.__dict__,
    }
    names = list(POLL_RUNS)
    marks = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    connection.execute(
        f"INSERT INTO poll.runs ({', '.join(names)}) VALUES ({marks})", [values[n] for n in names]
    )


def watermark(connection: duckdb.DuckDBPyConnection, feed: str) -> datetime | None:
    """Up to where the feed is proven complete, aware UTC; None before the first window."""
    mark = scalar(connection, "SELECT epoch_us(watermark) FROM poll.watermarks WHERE feed = $1", [feed])
    return None if mark is None else from_us(mark)


def advance_watermark(connection: duckdb.DuckDBPyConnection, poll: Poll, covered_to: datetime) -> None:
    """Moves the watermark to `covered_to` if this window touches what is already covered."""
    old = watermark(connection, poll.feed)
    if old is not None and poll.window_from is not None and poll.window_from > old:
        return  # a gap lies between: the windows do not touch
    if old is None and _earlier_window_open(connection, poll):
        return  # the first pull's first window is not proven yet: the next pull must begin there
    if old is None or covered_to > old:
        connection.execute(
            "INSERT OR REPLACE INTO poll.watermarks VALUES ($1, $2, $3)",
            [poll.feed, covered_to, poll.poll_id],
        )


def _earlier_window_open(connection: duckdb.DuckDBPyConnection, poll: Poll) -> bool:
    """True if an earlier window of the same pull gave nothing that counts."""
    return bool(
        scalar(
            connection,
            """SELECT count(*) FROM poll.runs r
               WHERE feed = $1 AND status <> 'ok' AND requested_at = $2::TIMESTAMPTZ AND window_from < $3::TIMESTAMPTZ
                 AND NOT EXISTS (SELECT 1 FROM poll.runs o WHERE o.feed = r.feed AND o.status = 'ok'
                     AND o.window_from <= r.window_from AND o.window_to >= r.window_to)""",
            [poll.feed, poll.requested_at, poll.window_from],
        )
    )


def earlier_same_bytes(connection: duckdb.DuckDBPyConnection, poll: Poll) -> Mapping[str, Any] | None:
    """The latest earlier poll of the feed with the same body, rows and another window."""
    earlier = frame(
        connection,
        """SELECT poll_id, window_from, window_to FROM poll.runs
           WHERE feed = $1 AND sha256 = $2 AND rows_in > 0 AND poll_id <> $3
             AND (window_from, window_to) IS DISTINCT FROM ($4::TIMESTAMPTZ, $5::TIMESTAMPTZ)
           ORDER BY poll_id DESC LIMIT 1""",
        [poll.feed, poll.sha256, poll.poll_id, poll.window_from, poll.window_to],
    )
    return earlier.row(0, named=True) if earlier.height else None


def ok_row_counts(connection: duckdb.DuckDBPyConnection, feed: str) -> list[int]:
    """rows_in of the feed's ok polls, newest first."""
    rows = connection.execute(
        "SELECT rows_in FROM poll.runs WHERE feed = $1 AND status = 'ok' ORDER BY poll_id DESC LIMIT 50",
        [feed],
    ).fetchall()
    return [row[0] for row in rows]


def record_checks(
    connection: duckdb.DuckDBPyConnection, poll_id: str, subject: str, at: datetime, results: pl.DataFrame
) -> None:
    """Appends to check.results. `results`: check_name, status (pass|warn|fail), rows, detail."""
    connection.register("results", results)
    connection.execute(
        """INSERT INTO "check".results
           SELECT $1, $2, check_name, status, rows, detail, $3::TIMESTAMPTZ FROM results""",
        [poll_id, subject, at],
    )
    connection.unregister("results")
