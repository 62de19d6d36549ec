"""The life of breaks over runs: opened, changed, closed, re-opened. Stable ids, append-only events."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, local_date, local_day
from tasks.reconcile.model import BREAKS, EVENTS, HISTORY, MONEY, TIME, conform
from tasks.reconcile.rules import Rules, load_rules


def advance(
    previous: pl.DataFrame,
    found: pl.DataFrame,
    as_of: datetime,
    run_id: str,
    *,
    complete_feeds: Collection[str] | None = None,
    rules: Rules | None = None,
    calendar: BankingCalendar | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Breaks after this run, and the events of this run alone (append them to the earlier ones).

    A break that is found no more is closed, unless a feed that guards its class is missing from
    `complete_feeds` (None: all are complete). One that comes back is re-opened under its old id and first
    opening time. `age` = banking days since it was opened. Further columns of `previous` are carried on.
    """
    rules, calendar = rules or load_rules(), calendar or BankingCalendar()
    extra = [name for name in previous.columns if name not in HISTORY]
    kept = previous.select(extra) if previous.columns else pl.DataFrame()
    before = pl.concat([conform(previous, HISTORY, "previous breaks"), kept], how="horizontal")
    joined = _joined(before, conform(found, BREAKS, "found breaks"))
    joined = joined.with_columns(event=_event(rules, complete_feeds))
    now = pl.lit(as_of, TIME)
    here, event = pl.col("is_found"), pl.col("event")
    opened, reopened, closed = event == "opened", event == "reopened", event == "closed"
    after = joined.with_columns(
        *(
            pl.when(here).then(f"{name}_found").otherwise(name).alias(name)
            for name in BREAKS
            if name != "break_id"
        ),
        state=pl.when(here).then(pl.lit("open")).when(closed).then(pl.lit("closed")).otherwise("state"),
        opened_at=pl.when(opened).then(now).otherwise("opened_at"),
        closed_at=pl.when(here).then(pl.lit(None, TIME)).when(closed).then(now).otherwise("closed_at"),
        last_seen_at=pl.when(here).then(now).otherwise("last_seen_at"),
        reopened_count=pl.col("reopened_count").fill_null(0) + reopened.fill_null(False).cast(pl.Int32),
    )
    until = pl.coalesce(local_date(pl.col("closed_at"), rules.zone), pl.lit(local_day(as_of, rules.zone)))
    after = after.with_columns(age=calendar.between(local_date(pl.col("opened_at"), rules.zone), until))
    columns = [pl.col(name).cast(kind) for name, kind in HISTORY.items()]
    breaks = after.select(*columns, *extra).sort("break_id")
    return breaks, _events(joined, as_of, run_id)


def _joined(before: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    renamed = found.rename({name: f"{name}_found" for name in BREAKS if name != "break_id"})
    return before.join(
        renamed.with_columns(is_found=pl.lit(True)), on="break_id", how="full", coalesce=True
    ).with_columns(pl.col("is_found").fill_null(False))


def _event(rules: Rules, complete_feeds: Collection[str] | None) -> pl.Expr:
    """opened, reopened, changed (amount or severity), closed, or null if nothing happened."""
    held = [
        code
        for code, rule in rules.codes.items()
        if complete_feeds is not None and not set(rule.guard) <= set(complete_feeds)
    ]
    here, state = pl.col("is_found"), pl.col("state")
    changed = (pl.col("amount") != pl.col("amount_found")) | (pl.col("severity") != pl.col("severity_found"))
    may_close = ~pl.col("code").is_in(held)
    return (
        pl.when(here & state.is_null()).then(pl.lit("opened"))
        .when(here & (state == "closed")).then(pl.lit("reopened"))
        .when(here & changed).then(pl.lit("changed"))
        .when(~here & (state == "open") & may_close).then(pl.lit("closed"))
    )  # fmt: skip


def _events(joined: pl.DataFrame, as_of: datetime, run_id: str) -> pl.DataFrame:
    note = (
        pl.when(pl.col("event") == "closed").then(pl.lit("no longer found"))
        .when((pl.col("event") == "changed") & (pl.col("severity") != pl.col("severity_found")))
        .then(pl.format("severity {} to {}", "severity", "severity_found"))
        .when(pl.col("event") == "changed").then(pl.lit("amount"))
    )  # fmt: skip
    events = joined.filter(pl.col("event").is_not_null()).select(
        "break_id",
        at=pl.lit(as_of, TIME),
        run_id=pl.lit(run_id),
        kind="event",
        from_amount=pl.col("amount").cast(MONEY),
        to_amount=pl.col("amount_found").cast(MONEY),
        note=note,
    )
    return events.select(pl.col(name).cast(kind) for name, kind in EVENTS.items()).sort("break_id")
