"""Invoices as IMT tells of them: an event when one is made, paid, reissued or cancelled."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from sandbox.carrier import contacts, recalls
from sandbox.carrier.draws import Draws
from sandbox.carrier.span import STAMP, Span, money

_LEAST = 2_500  # cents; the minimum due where more is owed
_COLUMNS = (
    "event", "occurred_at", "acct", "account_number", "policy_number", "invoice_type_id", "autopay",
    "invoice_number", "invoice_date", "due_date", "total_cents", "balance_cents", "replaces_invoice_number",
    "still_in_imt", "agent_code", "plant",
)  # fmt: skip


def build(
    draws: Draws, span: Span, bills: pl.DataFrame, fates: pl.DataFrame, booked: pl.DataFrame, strays: int
) -> pl.DataFrame:
    """All events up to the close in order of time; money in cents; `event_id`; `plant` of the invoice.

    `booked` are IMT's postings: its own balance follows from them. `strays` (B29) are cancellations of
    invoices that were never billed.
    """
    fated = bills.drop("paid_at", "balance_cents").join(
        fates.rename({"event": "fate"}), on="invoice_number", how="left", maintain_order="left"
    )
    fated = fated.join(_posted(booked), on="invoice_number", how="left", maintain_order="left")
    left = pl.col("premium_cents") - pl.col("posted_cents").fill_null(0)
    fated = fated.with_columns(
        left.clip(lower_bound=0).alias("balance_cents"),
        pl.lit(None, pl.String).alias("replaces_invoice_number"),
        pl.col("premium_cents").alias("total_cents"),
        pl.col("still_in_imt").alias("still"),
        pl.lit(None, pl.Boolean).alias("still_in_imt"),
    )
    parts = [
        _made(fated),
        _paid(fated),
        _reissued(draws, fated.filter(pl.col("fate") == "REISSUED")),
        _cancelled(fated.filter(pl.col("fate") == "CANCELLED")),
        _strays(draws, span, bills, strays),
    ]
    frame = pl.concat([part.select(_COLUMNS) for part in parts])
    frame = frame.filter(pl.col("occurred_at") <= span.close).sort("occurred_at", "invoice_number", "event")
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).cast(pl.String).str.zfill(9)
    return frame.with_columns(pl.concat_str(pl.lit("EV-"), number).alias("event_id"))


def _posted(booked: pl.DataFrame) -> pl.DataFrame:
    """invoice_number, paid_at (its last payment was posted then), posted_cents (the sum of all posted by then)."""
    of = booked.filter((pl.col("status") == "POSTED") & pl.col("invoice_number").is_not_null())
    paid = of.filter(pl.col("kind") == "PAYMENT")
    last = paid.group_by("invoice_number").agg(pl.col("posted_at").max().alias("paid_at"))
    until = of.join(last, on="invoice_number").filter(pl.col("posted_at") <= pl.col("paid_at"))
    return until.group_by("invoice_number").agg(
        pl.col("paid_at").first(), pl.col("cents").sum().alias("posted_cents")
    )


def _made(fated: pl.DataFrame) -> pl.DataFrame:
    return fated.with_columns(
        pl.lit("NEW").alias("event"),
        recalls.made().alias("occurred_at"),
        pl.col("premium_cents").alias("balance_cents"),
    )


def _paid(fated: pl.DataFrame) -> pl.DataFrame:
    """The balance when IMT posted the last payment, not before: what is posted after an event is taken off
    its balance. A recalled invoice does not change any more."""
    at = pl.col("paid_at")
    alive = pl.col("recall_at").is_null() | (at < pl.col("recall_at"))
    return fated.filter(pl.col("paid_at").is_not_null() & alive).with_columns(
        pl.lit("CHANGED").alias("event"), at.alias("occurred_at")
    )


def _reissued(draws: Draws, old: pl.DataFrame) -> pl.DataFrame:
    """The successor asks for what was owed at the recall, a little more or less."""
    paid = pl.col("paid_at").is_not_null() & (pl.col("paid_at") < pl.col("recall_at"))
    owed = pl.when(paid).then("balance_cents").otherwise("premium_cents")
    owed = (owed + draws.between("reissue", old.height, -1_500, 4_500)).clip(lower_bound=500)
    day = pl.col("recall_at").dt.date()
    late = day + timedelta(days=20)
    return old.select(
        pl.lit("REISSUED").alias("event"),
        pl.col("recall_at").alias("occurred_at"),
        *(name for name in _COLUMNS[2:7]),
        pl.concat_str("invoice_number", pl.lit("-R1")).alias("invoice_number"),
        day.alias("invoice_date"),
        pl.when(pl.col("due_date") > day).then("due_date").otherwise(late).alias("due_date"),
        owed.alias("total_cents"),
        owed.alias("balance_cents"),
        pl.col("invoice_number").alias("replaces_invoice_number"),
        pl.col("still").alias("still_in_imt"),
        "agent_code",
        pl.lit(None, pl.String).alias("plant"),
    )


def _cancelled(old: pl.DataFrame) -> pl.DataFrame:
    return old.with_columns(
        pl.lit("CANCELLED").alias("event"),
        pl.col("recall_at").alias("occurred_at"),
        pl.lit(0, pl.Int64).alias("balance_cents"),
        pl.col("still").alias("still_in_imt"),
    )


def _strays(draws: Draws, span: Span, bills: pl.DataFrame, count: int) -> pl.DataFrame:
    """B29: gone from IMT, told half an hour before the close, never billed."""
    like = bills[draws.below("stray", count, bills.height)]
    number = (pl.int_range(pl.len()) + 1).cast(pl.String).str.zfill(6)
    return like.with_columns(
        pl.lit("CANCELLED").alias("event"),
        pl.lit(span.close - recalls.STRAY_BEFORE, STAMP).dt.truncate("1s").alias("occurred_at"),
        pl.concat_str(pl.lit("INV-X"), number, pl.lit("-01")).alias("invoice_number"),
        pl.lit(0, pl.Int64).alias("total_cents"),
        pl.lit(0, pl.Int64).alias("balance_cents"),
        pl.lit(None, pl.String).alias("replaces_invoice_number"),
        pl.lit(False).alias("still_in_imt"),
        pl.lit("B29").alias("plant"),
    )


def imt(events: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """The events as IMT exports them; `people` are the contacts by `acct`, `events` has `pdf_path`."""
    frame = events.join(people, on="acct", how="left", maintain_order="left")
    return frame.select(
        "event_id",
        "event",
        "occurred_at",
        "invoice_number",
        "account_number",
        "policy_number",
        pl.col("invoice_type_id").cast(pl.String),
        "invoice_date",
        "due_date",
        money("total_cents").alias("total_amount_due"),
        money("balance_cents").alias("balance_due"),
        money(pl.col("balance_cents").clip(upper_bound=_LEAST)).alias("minimum_amount_due"),
        pl.when("autopay").then(pl.col("due_date") - timedelta(days=2)).alias("autopay_collection_date"),
        pl.lit(True).alias("allow_partial"),
        *contacts.COLUMNS,
        "agent_code",
        "replaces_invoice_number",
        "still_in_imt",
        "pdf_path",
    )


def quirks(fates: pl.DataFrame) -> pl.DataFrame:
    """What InvoiceCloud does wrong with which invoice: invoice_number, quirk, message."""
    kind = pl.col("plant").replace_strict({"B26": "reject", "B28": "keep_open"}, default=None)
    return (
        fates.select("invoice_number", kind.cast(pl.String).alias("quirk"))
        .filter(pl.col("quirk").is_not_null())
        .with_columns(
            pl.when(pl.col("quirk") == "reject")
            .then(pl.lit("Customer record is locked by another process"))
            .alias("message")
        )
        .sort("invoice_number")
    )
