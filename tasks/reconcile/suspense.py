"""B41: money in suspense that nobody has placed."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_date, local_day
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.keys import id_key
from tasks.reconcile.model import TIME
from tasks.reconcile.postings import Books
from tasks.reconcile.rules import Rules

_ROW = ["posting_id", "amount", "posted_at", "reason", "payment_guid", "account_number"]


def aged(
    postings: pl.DataFrame,
    books: Books,
    coverage: Coverage,
    rules: Rules,
    calendar: BankingCalendar,
    as_of: datetime,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """B41, the rows held back, and all that waits, with its `age` in banking days. B41: in suspense for more banking days than the grace; HIGH from the class's day on.

    Placed is what a posting takes back (it names the suspense posting, or its payment's guid without naming one),
    and what has a PAYMENT of its own guid or payment booked no earlier.
    """
    rule, today = rules.codes["B41"], pl.lit(local_day(as_of, rules.zone))
    aside = (pl.col("status") == "POSTED") & (pl.col("kind") == "SUSPENSE") & (pl.col("origin") == "IC")
    waiting = postings.filter(aside)
    if waiting.is_empty():
        return NO_BREAKS, NONE_HELD, waiting.with_columns(age=pl.lit(None, pl.Int32))
    waiting = _unplaced(waiting, postings, books)
    age = calendar.between(local_date(pl.col("posted_at"), rules.zone), today)
    waiting = waiting.with_columns(age=age)
    rows = waiting.filter(pl.col("age") > rule.grace_banking_days)
    due = calendar.add(local_date(pl.col("posted_at"), rules.zone), rule.grace_banking_days + 1)
    rows = rows.with_columns(
        subject="posting_id",
        occurred_at="posted_at",
        due_at=day_start(due, rules.zone).cast(TIME),
        count=pl.col("age"),
        severity=pl.when(pl.col("age") >= rule.high_from_banking_days)
        .then(pl.lit("HIGH"))
        .otherwise(pl.lit(rule.severity)),
    )
    proven = coverage.covers("postings", rows["posted_at"], rows["due_at"])
    found = build("B41", rules, rows.filter(proven), facts=("count",), evidence={"posting": _ROW})
    return found, rows.filter(~proven), waiting


def _unplaced(waiting: pl.DataFrame, postings: pl.DataFrame, books: Books) -> pl.DataFrame:
    waiting = waiting.with_columns(guid_key=id_key("payment_guid"))
    posted = postings.filter(pl.col("status") == "POSTED").with_columns(guid_key=id_key("payment_guid"))
    named = posted.select(posting_id="reverses_posting_id").drop_nulls()
    waiting = waiting.join(named, on="posting_id", how="anti")
    out = posted.filter(
        pl.col("kind").is_in(["REVERSAL", "REFUND", "TRANSFER"]) & pl.col("reverses_posting_id").is_null()
    )
    placed = posted.filter(pl.col("kind") == "PAYMENT")
    later = pl.concat([rows.select("guid_key", at="posted_at") for rows in (out, placed)]).drop_nulls()
    later = later.join(waiting.select("guid_key"), on="guid_key", how="semi")
    items = books.claims.filter(pl.col("status") == "POSTED").select(
        "posting_id", "item", "kind", "posted_at"
    )
    own = waiting.join(items.select("posting_id", "item"), on="posting_id", how="left", maintain_order="left")
    asked = own.select("item").drop_nulls()
    paid = items.filter(pl.col("kind") == "PAYMENT").join(asked, on="item", how="semi")
    by_item = own.join(paid.select("item", at="posted_at"), on="item").filter(
        pl.col("at") >= pl.col("posted_at")
    )
    by_guid = waiting.join(later, on="guid_key").filter(pl.col("at") >= pl.col("posted_at"))
    gone = pl.concat([by_item.select("posting_id"), by_guid.select("posting_id")])
    return waiting.join(gone, on="posting_id", how="anti")
