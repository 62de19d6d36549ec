"""check.alerts, the outbox of alerts: raise, clear, list, mark."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from tasks.staging.query import frame, scalar

_COLUMNS = ["kind", "subject", "severity", "title", "body"]


def raise_rows(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[str, ...]], at: datetime
) -> set[tuple[str, str]]:
    """Inserts alerts whose kind and subject are not open; counts the others. Returns the new (kind, subject)."""
    connection.register("raised", pl.DataFrame(rows, schema=_COLUMNS, orient="row"))
    connection.begin()
    connection.execute(
        """UPDATE "check".alerts AS a SET times = times + 1, last_raised_at = $1::TIMESTAMPTZ, body = r.body
           FROM raised r WHERE a.kind = r.kind AND a.subject = r.subject AND a.cleared_at IS NULL""",
        [at],
    )
    new = frame(
        connection,
        """SELECT *, (SELECT count(*) FROM "check".alerts a WHERE a.kind = r.kind AND a.subject = r.subject) AS nth
           FROM raised r WHERE NOT EXISTS (
               SELECT 1 FROM "check".alerts a WHERE a.kind = r.kind AND a.subject = r.subject AND a.cleared_at IS NULL)""",
    )
    connection.register("fresh", new)
    connection.execute(
        """INSERT INTO "check".alerts
           SELECT substr(sha256(kind || '|' || subject || '|' || nth), 1, 16), kind, subject, severity, title, body,
                  $1::TIMESTAMPTZ, 1, $1::TIMESTAMPTZ, 0, [], NULL, NULL
           FROM fresh""",
        [at],
    )
    connection.commit()
    connection.unregister("raised")
    connection.unregister("fresh")
    return set(new.select("kind", "subject").rows())


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
    """Alerts that not all receivers have, oldest first; `sent_to` names those that have."""
    return frame(
        connection,
        """SELECT alert_id, kind, subject, severity, title, body, sent_to FROM "check".alerts
           WHERE sent_at IS NULL ORDER BY raised_at, alert_id""",
    ).to_dicts()


def mark_sent(
    connection: duckdb.DuckDBPyConnection, tried: dict[str, list[str]], receivers: list[str], at: datetime
) -> list[str]:
    """Notes a try: alert → receivers that have it by now. Returns the alerts that all `receivers` have."""
    for alert_id, have in tried.items():
        whole = bool(receivers) and set(receivers) <= set(have)
        connection.execute(
            """UPDATE "check".alerts SET tries = tries + 1, sent_to = $2, sent_at = $3::TIMESTAMPTZ
               WHERE alert_id = $1""",
            [alert_id, have, at if whole else None],
        )
    return [alert_id for alert_id, have in tried.items() if receivers and set(receivers) <= set(have)]
