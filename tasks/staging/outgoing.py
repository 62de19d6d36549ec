"""check.alerts, the outbox of alerts: raise, clear, list, mark."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from tasks.staging.query import frame, scalar

_COLUMNS = ["alert_id", "kind", "subject", "severity", "title", "body"]


def raise_rows(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[str, ...]], at: datetime
) -> set[str]:
    """Inserts alerts whose kind and subject are not open; counts the others. Returns the new ids."""
    connection.register("raised", pl.DataFrame(rows, schema=_COLUMNS, orient="row"))
    connection.begin()
    connection.execute(
        """UPDATE "check".alerts AS a SET times = times + 1, last_raised_at = $1::TIMESTAMPTZ, body = r.body
           FROM raised r WHERE a.kind = r.kind AND a.subject = r.subject AND a.cleared_at IS NULL""",
        [at],
    )
    new = frame(
        connection,
        """SELECT * FROM raised r WHERE NOT EXISTS (
               SELECT 1 FROM "check".alerts a WHERE a.kind = r.kind AND a.subject = r.subject AND a.cleared_at IS NULL)
           QUALIFY row_number() OVER (PARTITION BY kind, subject ORDER BY alert_id) = 1""",
    )
    connection.register("fresh", new)
    connection.execute(
        """INSERT OR IGNORE INTO "check".alerts
           SELECT alert_id, kind, subject, severity, title, body, $1::TIMESTAMPTZ, 1, $1::TIMESTAMPTZ, 0, NULL, NULL
           FROM fresh""",
        [at],
    )
    connection.commit()
    connection.unregister("raised")
    connection.unregister("fresh")
    return set(new["alert_id"])


def clear(connection: duckdb.DuckDBPyConnection, kind: str, subjects: list[str], at: datetime) -> int:
    """Closes open alerts; returns how many."""
    return int(
        scalar(
            connection,
            """UPDATE "check".alerts SET cleared_at = $1::TIMESTAMPTZ
               WHERE kind = $2 AND cleared_at IS NULL AND list_contains($3, subject)""",
            [at, kind, subjects],
        )
    )


def unsent(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Alerts never sent, oldest first."""
    return frame(
        connection,
        """SELECT alert_id, kind, subject, severity, title, body FROM "check".alerts
           WHERE sent_at IS NULL ORDER BY raised_at, alert_id""",
    ).to_dicts()


def mark_sent(connection: duckdb.DuckDBPyConnection, sent: list[str], tried: list[str], at: datetime) -> None:
    """Notes the try on all of `tried` and the sending on those in `sent`."""
    connection.execute(
        """UPDATE "check".alerts SET tries = tries + 1,
               sent_at = CASE WHEN list_contains($1, alert_id) THEN $3::TIMESTAMPTZ ELSE sent_at END
           WHERE list_contains($2, alert_id)""",
        [sent, tried, at],
    )
