"""What the report tells, read from staging in one go: sums, open breaks, feeds, quarantine, alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from checks.contracts import FEEDS, IMT
from tasks.pull import staging_of
from tasks.reconcile import BankingCalendar
from tasks.reconcile.banking_days import local_date, local_day
from tasks.reconciling import push_loss
from tasks.report.work import collect_work
from tasks.settings import Settings
from tasks.snapshot import about
from tasks.staging import publish, recon
from tasks.staging.inputs import last_run
from tasks.staging.query import frame
from tasks.staging.standing import SUGGESTED
from tasks.work.model import BUCKETS

WORST = 20
SHOWN = 20
FILES = 12
AGES = BUCKETS
Row = dict[str, Any]
Ask = Callable[[str], pl.DataFrame]


@dataclass(frozen=True)
class Facts:
    """Rows for the page; of suggestions the strongest. Money is Decimal (USD), instants are aware UTC; `run` is None before the first run,
    `pump` where nothing was pushed and no push is expected; `work`: states, figures, periods."""

    info: Row
    run: Row | None
    totals: list[Row]
    classes: list[Row]
    ages: list[Row]
    worst: list[Row]
    feed_breaks: list[Row]
    invoices: list[Row]
    files: list[Row]
    pump: Row | None
    cash: list[Row]
    excluded: list[Row]
    health: list[Row]
    quarantine: list[Row]
    alerts: list[Row]
    work: Row
    suggestions: list[Row] = field(default_factory=list)


def collect(settings: Settings, biller: str, as_of: datetime) -> Facts:
    """Reads under the staging lock; the definitions are those of the snapshot's views."""
    with staging_of(settings, biller).open() as connection:
        run = last_run(connection)
        made = {
            "as_of": as_of, "made_at": as_of, "masked": True, "duckdb_version": None,
            "last_run_id": run and run["run_id"], "last_run_as_of": run and run["as_of"],
        }  # fmt: skip
        known = about(settings, biller, made)
        publish.add_views(connection, known, temporary=True)

        def ask(sql: str) -> pl.DataFrame:
            return frame(connection, sql)

        return Facts(
            info=known.info.row(0, named=True),
            run=dict(run) if run else None,
            totals=recon.states(connection).to_dicts(),
            classes=recon.open_classes(connection).sort("amount", "count", descending=True).to_dicts(),
            ages=ages(
                ask("SELECT amount, occurred_at FROM recon.breaks WHERE state = 'open'"), as_of, known.info
            ),
            worst=ask(f"SELECT * FROM v_open_breaks LIMIT {WORST}").to_dicts(),
            feed_breaks=ask(
                "SELECT code, subject, sentence FROM v_open_breaks WHERE code IN ('B36', 'B37') ORDER BY code, subject"
            ).to_dicts(),
            invoices=_invoices(ask),
            files=ask(
                f"SELECT * FROM outbox.files ORDER BY composed_at DESC, file_id DESC LIMIT {FILES}"
            ).to_dicts(),
            pump=_pump(ask),
            cash=_cash(ask),
            excluded=_excluded(ask),
            health=ask("SELECT * FROM v_feed_health").to_dicts(),
            quarantine=_quarantine(ask),
            alerts=_alerts(ask),
            work=collect_work(ask),
            suggestions=ask(f"{SUGGESTED} LIMIT {SHOWN}").to_dicts(),
        )


def ages(breaks: pl.DataFrame, as_of: datetime, info: pl.DataFrame) -> list[Row]:
    """Open breaks (amount, occurred_at) in buckets of banking days since the item happened: low, high, count, amount."""
    zone = info["time_zone"].item()
    today = pl.lit(local_day(as_of, zone))
    happened = local_date(pl.col("occurred_at"), zone)
    days = breaks.select(
        pl.col("amount").abs(), days=BankingCalendar().between(happened, today).fill_null(0).clip(0, None)
    )
    found = []
    for low, high in AGES:
        inside = days.filter(pl.col("days").is_between(low, 1_000_000 if high is None else high))
        found.append({"low": low, "high": high, "count": inside.height, "amount": inside["amount"].sum()})
    return found


def _invoices(ask: Ask) -> list[Row]:
    """Invoices by where they stand with IC; empty where nothing was ever composed, held or stopped."""
    return ask(
        """SELECT sent_status AS status, count(*) AS rows,
                  coalesce(sum(imt_balance_due) FILTER (imt_status = 'OPEN'), 0)::DECIMAL(18,2) AS imt_amount,
                  coalesce(sum(accepted_balance_due), 0)::DECIMAL(18,2) AS sent_amount
           FROM v_invoice_status
           WHERE EXISTS (SELECT 1 FROM outbox.files) OR EXISTS (SELECT 1 FROM outbox.held)
              OR EXISTS (SELECT 1 FROM outbox.guards)
           GROUP BY ALL"""
    ).to_dicts()


def _pump(ask: Ask) -> Row | None:
    """What the Data Pump pushed, and what the last run missed (arrivals: name → rows, amount; loss: a share)."""
    counts = ask(
        """SELECT count(DISTINCT lower(payment_guid)) AS payments, count(*) FILTER (variant > 1) AS conflicts,
                  count(DISTINCT lower(payment_guid)) FILTER (variant > 1) AS conflicting,
                  count(*) FILTER (taken AND NOT account_known) AS suspense,
                  coalesce(sum(payment_amount) FILTER (taken AND NOT account_known), 0)::DECIMAL(18,2) AS suspense_amount,
                  count(*) FILTER (taken AND above_balance) AS above,
                  coalesce(sum(payment_amount) FILTER (taken AND above_balance), 0)::DECIMAL(18,2) AS above_amount,
                  count(*) FILTER (taken AND handover_sequence IS NULL) AS waiting,
                  count(*) FILTER (taken AND handover_sequence IS NOT NULL AND acknowledged_at IS NULL) AS unacknowledged,
                  coalesce(sum(payment_amount) FILTER (taken AND acknowledged_at IS NULL), 0)::DECIMAL(18,2) AS open_amount,
                  count(DISTINCT CASE WHEN acknowledged_at IS NULL THEN handover_sequence END) AS open_files,
                  max(received_at) AS last_at
           FROM (SELECT *, approved AND variant = 1 AS taken FROM imt.pushes)"""
    ).row(0, named=True)
    told = ask("SELECT name, rows, amount FROM recon.totals WHERE kind = 'pushed'").to_dicts()
    if not counts["payments"] and not told:
        return None
    return {**counts, "arrivals": {row["name"]: row for row in told}, "loss": push_loss(told)}


def _cash(ask: Ask) -> list[Row]:
    """Per day, all tenders together; days without any money between the first and the last are there too."""
    days = ask(
        """SELECT day, sum(payments)::BIGINT AS payments,
                  COLUMNS('_amount$|^difference$').sum()::DECIMAL(18,2)
           FROM v_daily_cash GROUP BY day ORDER BY day"""
    )
    if days.is_empty():
        return []
    every = days.select(pl.date_range(pl.col("day").min(), pl.col("day").max(), "1d").alias("day"))
    filled = every.join(days, on="day", how="left", maintain_order="left")
    zero = pl.lit("0.00").cast(pl.Decimal(18, 2))
    money = [name for name in days.columns if name not in ("day", "payments")]
    return filled.with_columns(
        pl.col("payments").fill_null(0), *(pl.col(n).fill_null(zero) for n in money)
    ).to_dicts()


def _excluded(ask: Ask) -> list[Row]:
    return ask(
        """SELECT exclusion, owner, expiry, count(*) AS rows, sum(settled_amount)::DECIMAL(18,2) AS amount,
                  count(*) FILTER (NOT has_record) AS unsupported,
                  coalesce(sum(settled_amount) FILTER (NOT has_record), 0)::DECIMAL(18,2) AS unsupported_amount
           FROM v_excluded GROUP BY ALL ORDER BY exclusion"""
    ).to_dicts()


def _quarantine(ask: Ask) -> list[Row]:
    parts = [
        f"""SELECT '{table}' AS feed, unnest(reasons) AS reason, first_seen_at, last_seen_at
            FROM quarantine.{table} WHERE released_at IS NULL"""
        for table in (*FEEDS, *IMT)
    ]
    return ask(
        f"""SELECT feed, reason, count(*) AS rows, min(first_seen_at) AS first_seen_at, max(last_seen_at) AS last_seen_at
            FROM ({" UNION ALL ".join(parts)}) GROUP BY ALL ORDER BY rows DESC, feed, reason LIMIT 30"""
    ).to_dicts()


def _alerts(ask: Ask) -> list[Row]:
    return ask(
        """SELECT severity, kind, subject, title, raised_at, times, sent_at FROM "check".alerts
           WHERE cleared_at IS NULL ORDER BY CASE severity WHEN 'HIGH' THEN 0 ELSE 1 END, raised_at DESC LIMIT 50"""
    ).to_dicts()
