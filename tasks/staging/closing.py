"""What closing a period asks of staging: its payments by state, what no run has compared, unsigned HIGH breaks."""

from __future__ import annotations

from datetime import date

import duckdb
import polars as pl

from tasks.staging.query import frame, scalar
from tasks.staging.work import CURRENT

_PAID = "CAST(timezone($1, payment_date) AS DATE) BETWEEN $2 AND $3"
_KEY = "payment_guid, payment_line_no, invoice_number, payment_amount"


def states(connection: duckdb.DuckDBPyConnection, zone: str, first: date, last: date) -> pl.DataFrame:
    """Payments made in these days by verdict: state, rows, amount."""
    return frame(
        connection,
        f"""SELECT state, count(*) AS rows, sum(payment_amount)::DECIMAL(18,2) AS amount
            FROM recon.items WHERE {_PAID} GROUP BY state ORDER BY state""",
        [zone, first, last],
    )


def not_compared(connection: duckdb.DuckDBPyConnection, zone: str, first: date, last: date) -> int:
    """Payments of these days that came, changed or went since the last run."""
    now = f"SELECT {_KEY} FROM feed.payments WHERE {_PAID}"
    then = f"SELECT {_KEY} FROM recon.items WHERE {_PAID}"
    sql = "SELECT count(*) FROM ({} EXCEPT ALL {})"
    days = [zone, first, last]
    return int(scalar(connection, sql.format(now, then), days)) + int(
        scalar(connection, sql.format(then, now), days)
    )


def high_unsigned(connection: duckdb.DuckDBPyConnection, zone: str, first: date, last: date) -> pl.DataFrame:
    """HIGH breaks of items of these days that the last run found and nobody signed off: break_id, code, amount, work_state."""
    return frame(
        connection,
        f"""SELECT b.break_id, b.code, b.amount, coalesce(w.state, 'open') AS work_state
            FROM recon.breaks b LEFT JOIN ({CURRENT}) w USING (break_id)
            WHERE b.severity = 'HIGH' AND b.state = 'open' AND coalesce(w.state, 'open') <> 'signed_off'
              AND CAST(timezone($1, coalesce(b.occurred_at, b.opened_at)) AS DATE) BETWEEN $2 AND $3
            ORDER BY abs(b.amount) DESC, b.break_id""",
        [zone, first, last],
    )
