"""Small reads of staging for commands: what is there, what was set aside, what is broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from checks.contracts import FEEDS, IMT
from tasks.invoicecloud.catalogue import feed_spec
from tasks.loading import AMOUNTS
from tasks.pull import staging_of
from tasks.settings import Settings
from tasks.staging.query import frame, scalar
from tasks.staging.standing import SUGGESTED
from tasks.staging.work import CURRENT


@dataclass(frozen=True)
class TableOverview:
    """One table: current rows, their sum (None without an amount), rows in quarantine and why."""

    name: str
    rows: int
    amount: Any
    quarantined: int
    reasons: dict[str, int]
    last_poll: str | None


def read_tables(settings: Settings, biller: str) -> list[TableOverview]:
    """All feed tables and IMT tables."""
    found = []
    with staging_of(settings, biller).open() as connection:
        for schema, name in [("feed", n) for n in FEEDS] + [("imt", n) for n in IMT]:
            amount = AMOUNTS[name] if schema == "imt" else feed_spec(name).amount_column
            rows, total = connection.execute(
                f"SELECT count(*), {f'sum({amount})::DECIMAL(18,2)' if amount else 'NULL'} FROM {schema}.{name}"
            ).fetchall()[0]
            reasons = connection.execute(
                f"""SELECT reason, count(*) FROM (SELECT unnest(reasons) AS reason FROM quarantine.{name}
                    WHERE released_at IS NULL) GROUP BY 1 ORDER BY 2 DESC, 1"""
            ).fetchall()
            found.append(
                TableOverview(
                    name=f"{schema}.{name}", rows=rows, amount=total,
                    quarantined=scalar(connection, f"SELECT count(*) FROM quarantine.{name} WHERE released_at IS NULL"),
                    reasons=dict(reasons),
                    last_poll=scalar(
                        connection,
                        """SELECT status || coalesce(' (' || reason || ')', '') FROM poll.runs
                           WHERE feed = $1 ORDER BY poll_id DESC LIMIT 1""",
                        [name],
                    ),
                )
            )  # fmt: skip
    return found


def read_breaks(settings: Settings, biller: str) -> pl.DataFrame:
    """All breaks, open and closed, with their history columns (recon.breaks), and where the work on each stands:
    work_state, owner, version (empty: nobody said a word)."""
    with staging_of(settings, biller).open() as connection:
        return frame(
            connection,
            f"""SELECT b.*, coalesce(w.state, 'open') AS work_state, w.owner, w.version
                FROM recon.breaks b LEFT JOIN ({CURRENT}) w USING (break_id)""",
        )


def read_suggestions(settings: Settings, biller: str, most: int) -> pl.DataFrame:
    """The strongest `most` rows of recon.suggestions, greater amounts first: payments that a person may find posted."""
    with staging_of(settings, biller).open() as connection:
        return frame(connection, f"{SUGGESTED} LIMIT $1", [most])


def read_totals(settings: Settings, biller: str) -> pl.DataFrame:
    """Payments by state and the proof row of the latest reconcile (recon.totals)."""
    with staging_of(settings, biller).open() as connection:
        return frame(connection, "SELECT * FROM recon.totals")
