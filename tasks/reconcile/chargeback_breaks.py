"""B23: a card dispute that took the money, and IMT's books do not show it."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_day
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.model import TIME
from tasks.reconcile.rules import Rules
from tasks.reconcile.taken_back import TakenBack

_ROW = [
    "chargeback_id",
    "case_no",
    "stage",
    "chargeback_date",
    "amount",
    "payment_guid",
    "processor_reference",
]


def unposted(
    taken: TakenBack, coverage: Coverage, rules: Rules, calendar: BankingCalendar, as_of: datetime
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """B23, the cases held back, and the (item) frame of payments concerned.

    The last stage of the case counts: one that was won (REVERSED) asks for nothing. The n-th case of a payment
    needs the n-th posting that takes money back, booked at most the wait of a reversal before the dispute.
    """
    if taken.disputes.is_empty():
        return NO_BREAKS, NONE_HELD, taken.disputes.select("item")
    grace = rules.codes["B23"].grace_banking_days
    today = pl.lit(local_day(as_of, rules.zone))
    lost = taken.disputes.filter(pl.col("stage") != "REVERSED").sort("chargeback_date", "chargeback_id")
    lost = lost.with_columns(nth=pl.int_range(1, pl.len() + 1).over("key"))
    first = calendar.subtract(pl.col("chargeback_date"), rules.reversal_wait_banking_days)
    booked = (
        lost.select("chargeback_id", "key", first=first)
        .join(taken.undone.select("key", "booked_on"), on="key")
        .filter(pl.col("booked_on") >= pl.col("first"))
        .group_by("chargeback_id")
        .agg(booked=pl.len())
    )
    late = calendar.between(pl.col("chargeback_date"), today) > grace
    rows = (
        lost.join(booked, on="chargeback_id", how="left", maintain_order="left")
        .filter((pl.col("booked").fill_null(0) < pl.col("nth")) & late)
        .with_columns(
            subject="chargeback_id",
            occurred_at=day_start(pl.col("chargeback_date"), rules.zone).cast(TIME),
            due_at=day_start(calendar.add(pl.col("chargeback_date"), grace + 1), rules.zone).cast(TIME),
            other=pl.coalesce("payment_guid", "processor_reference"),
            what=pl.col("stage").replace_strict({"SECOND": "second "}, default="", return_dtype=pl.String),
        )
    )
    proven = coverage.covers("postings", rows["occurred_at"], rows["due_at"])
    shown = rows.filter(proven)
    found = build("B23", rules, shown, facts=("other", "what"), evidence={"chargeback": _ROW})
    return found, rows.filter(~proven), shown.select("item").drop_nulls().unique()
