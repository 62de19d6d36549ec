"""Break classes of settled batches: B11 unidentified, B12 out of balance, B42 excluded without a record."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_day
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.feeds import Coverage, interval
from tasks.reconcile.model import MONEY, TIME
from tasks.reconcile.rules import Rules, tender_days
from tasks.reconcile.settlements import Deposits

_ROW = ["settled_batch_id", "settled_date", "transaction_type", "settled_amount", "payment_guid"]
_ROW += ["processor_reference", "account_number", "invoice_number"]


def unidentified(
    deposits: Deposits, coverage: Coverage, rules: Rules, calendar: BankingCalendar
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B11 and the rows held back. A settled payment was made between settled date - grace (B10, by tender)
    and the row's first sight; the payments feed must be complete over that, less one window at the end."""
    if deposits.unclaimed.is_empty():
        return NO_BREAKS, NONE_HELD
    grace = tender_days(rules.tender_grace("B10"))
    first_day = calendar.subtract(pl.col("settled_date"), grace)
    # No row number: it would name another row as soon as the feed grows.
    nameless = pl.concat_str(
        "settled_batch_id",
        "invoice_number",
        pl.col("settled_amount").cast(pl.String),
        separator="/",
        ignore_nulls=True,
    )
    rows = deposits.unclaimed.with_columns(
        seen_from=day_start(first_day, rules.zone),
        seen_to=_seen_to("settled_date", "first_seen_at", rules, "payments"),
        subject=pl.coalesce("payment_guid", "processor_reference", nameless),
        amount="settled_amount",
        occurred_at=day_start(pl.col("settled_date"), rules.zone),
        due_at=pl.lit(None, TIME),
        batch="settled_batch_id",
    )
    proven = coverage.covers("payments", rows["seen_from"], rows["seen_to"])
    found = build("B11", rules, rows.filter(proven), facts=("batch",), evidence={"settlement": _ROW})
    return found, rows.filter(~proven)


def out_of_balance(
    folded: pl.DataFrame, coverage: Coverage, rules: Rules
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B12 and the batches held back: detail (apart.FOLDED) against IC's own total and count, all rows of the batch."""
    newest = ("last_seen_at", "batch_total", "batch_item_count")
    batches = (
        folded.group_by(subject="settled_batch_id")
        .agg(
            pl.col("settled_date").min(),
            found=pl.col("settled_amount").sum().cast(MONEY),
            rows=pl.col("rows").sum().cast(pl.Int32),
            batch_total=pl.col("batch_total").sort_by(newest).last(),
            batch_item_count=pl.col("batch_item_count").sort_by(newest).last(),
            first_seen_at=pl.col("first_seen_at").max(),
        )
        .filter((pl.col("found") != pl.col("batch_total")) | (pl.col("rows") != pl.col("batch_item_count")))
        .with_columns(
            amount=(pl.col("batch_total") - pl.col("found")).cast(MONEY),
            occurred_at=day_start(pl.col("settled_date"), rules.zone),
            due_at=pl.lit(None, TIME),
            net="found",
            count="rows",
            item_count="batch_item_count",
            **{
                name: pl.lit(None, pl.String) for name in ("payment_guid", "account_number", "invoice_number")
            },
        )
    )
    seen_to = batches.select(to=_seen_to("settled_date", "first_seen_at", rules, "settlements"))["to"]
    proven = coverage.covers("settlements", batches["occurred_at"], seen_to)
    facts = ("batch_total", "item_count", "count", "net")
    evidence = {
        "batch": ["subject", "settled_date", "batch_total", "batch_item_count"],
        "detail": ["rows", "found"],
    }
    return build("B12", rules, batches.filter(proven), facts=facts, evidence=evidence), batches.filter(
        ~proven
    )


def untracked(
    deposits: Deposits, coverage: Coverage, rules: Rules, calendar: BankingCalendar, as_of: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B42 and the rows held back: excluded money without a record of its own after the grace."""
    if deposits.excluded.is_empty():
        return NO_BREAKS, NONE_HELD
    grace = rules.codes["B42"].grace_banking_days
    today = pl.lit(local_day(as_of, rules.zone))
    due = day_start(calendar.add(pl.col("settled_date"), grace + 1), rules.zone)
    rows = (
        deposits.excluded.filter(~pl.col("supported") & (pl.col("transaction_type") == "PAYMENT"))
        .with_columns(
            subject=pl.coalesce("processor_reference", "payment_guid", "settled_batch_id"),
            amount="settled_amount",
            occurred_at=day_start(pl.col("settled_date"), rules.zone),
            due_at=due,
            batch="settled_batch_id",
        )
        .filter(calendar.between(pl.col("settled_date"), today) > grace)
    )
    proven = coverage.covers("postings", rows["occurred_at"], rows["due_at"])
    found = build(
        "B42", rules, rows.filter(proven), facts=("batch", "exclusion"), evidence={"settlement": _ROW}
    )
    return found, rows.filter(~proven)


def _seen_to(day: str, first_seen: str, rules: Rules, feed: str) -> pl.Expr:
    """End of the local day, or one window of `feed` before the row was first seen if that is earlier;
    never before the day began."""
    start = day_start(pl.col(day), rules.zone)
    end = day_start(pl.col(day) + pl.duration(days=1), rules.zone)
    seen = pl.col(first_seen) - pl.lit(interval(rules, feed))
    return pl.max_horizontal(start, pl.min_horizontal(end, seen))
