"""B44: payments that InvoiceCloud tells with another amount a day before the close, long after all had matched.

Only what a poll three days before the close has seen, settled by then, and a later one asks for again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from sandbox.carrier.span import SETTLED_AT, STAMP, Span, money

POLLED, OVERLAP, AT = (
    timedelta(days=3),
    timedelta(days=3),
    timedelta(hours=30),
)  # before the close; one poll's reach
_SLOWEST = 2  # banking days until a card payment is settled
_AGAIN, _BACK = 6, 7  # endings of posting ids


def mark(span: Span, book: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    """The book with `restated_cents`: the amount told later; null for all but the payments of B44."""
    settled = span.calendar.add(book["local_date"].clip(upper_bound=span.close.date()), _SLOWEST)
    known = settled.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + SETTLED_AT <= span.close - POLLED
    asked_again = pl.col("payment_date") > span.close - POLLED - OVERLAP + timedelta(hours=2)
    usual = pl.col("plant").is_null() & pl.col("right").is_null() & pl.col("paired").is_null()
    usual &= ~pl.col("twin") & pl.col("approved") & (pl.col("tender") == "CARD")
    usual &= (
        (pl.len().over("invoice_number") == 1) & (pl.col("payment_source") != "AUTOPAY") & ~pl.col("lost")
    )
    taken = book.filter(usual & asked_again & known).sort("rank", "seq").head(wanted["B44"])["seq"]
    off = 211 + (pl.col("rank") % 1_300).cast(pl.Int64)
    return book.with_columns(
        pl.when(pl.col("seq").is_in(taken.implode())).then(pl.col("cents") + off).alias("restated_cents")
    )


def told(span: Span, book: pl.DataFrame, reported: pl.DataFrame) -> pl.DataFrame:
    """The payments report with both versions of a restated payment; `hidden_at`: since when a row is not told."""
    later = book.filter(pl.col("restated_cents").is_not_null()).select(
        "payment_guid", money("restated_cents").alias("payment_amount")
    )
    if later.is_empty():
        return reported
    at = pl.lit(span.close - AT, STAMP)
    is_old = pl.col("payment_guid").is_in(later["payment_guid"].implode())
    first = reported.with_columns(pl.when(is_old).then(at).alias("hidden_at"))
    second = first.filter(is_old).drop("payment_amount").join(later, on="payment_guid", maintain_order="left")
    second = second.with_columns(at.alias("visible_at"), pl.lit(None, STAMP).alias("hidden_at"))
    return pl.concat([first, second.select(first.columns)]).sort(
        "payment_date", "payment_guid", "visible_at", maintain_order=True
    )


def corrected(span: Span, own: pl.DataFrame, book: pl.DataFrame) -> list[pl.DataFrame]:
    """IMT takes its posting back an hour later and books the new amount: no other break comes of it."""
    rows = own.join(book.select("payment_guid", "restated_cents").drop_nulls(), on="payment_guid")
    rows = rows.with_columns(
        pl.lit(span.close - AT + timedelta(hours=1), STAMP).dt.truncate("1s").alias("posted_at")
    )
    back = rows.with_columns(
        (pl.col("id") + _BACK).alias("id"), (-pl.col("cents")).alias("cents"), pl.lit("REVERSAL").alias("kind"),
        pl.lit("CORRECTION").alias("reason"), pl.col("id").alias("reverses"),
    )  # fmt: skip
    again = rows.with_columns((pl.col("id") + _AGAIN).alias("id"), pl.col("restated_cents").alias("cents"))
    return [back, again]


def breaks(book: pl.DataFrame) -> pl.DataFrame:
    """code, subject, cents, account_number, invoice_number of B44: what is told now less what was told before."""
    return book.filter(pl.col("restated_cents").is_not_null()).select(
        pl.lit("B44").alias("code"),
        pl.col("payment_guid").alias("subject"),
        (pl.col("restated_cents") - pl.col("cents")).alias("cents"),
        "account_number",
        "invoice_number",
    )
