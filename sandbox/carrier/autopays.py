"""AutoPay that can be judged: who is enrolled since when, what was drawn, and what was not (B34) or wrongly (B35).

The payments of a carrier come at random, so that most bills of an enrolled account are not drawn. Where B34 or
B35 is planted, an account is enrolled a few days before the close, or ten days before the collection day of its last bill,
and only payments that stand alone on their bill are AutoPay's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

import polars as pl

from sandbox.carrier import invoices
from sandbox.carrier.span import STAMP, Span

COLLECTED_BEFORE = timedelta(days=2)  # the collection day of a bill, before it is due
ENROLLED_BEFORE, ENROLLED_LATE = timedelta(days=10), timedelta(days=2)
_JUDGED = timedelta(days=25)
_OTHER = "SCHEDULED"  # what AutoPay's other payments are then
TWICE, OUT = "B35/twice", "B35/out"


class AutoPays(NamedTuple):
    """`enrolled`: account_number, enrolled_at, left_at (null: still enrolled); `missed`: the bills of B34."""

    enrolled: pl.DataFrame
    missed: pl.DataFrame


def settle(
    span: Span, insured: pl.DataFrame, book: pl.DataFrame, wanted: Mapping[str, int]
) -> tuple[pl.DataFrame, AutoPays | None]:
    """The book with AutoPay's payments, and who is enrolled; (book, None) where neither class is planted."""
    if not wanted["B34"] + wanted["B35"]:
        return book, None
    book = _drawn(span, book, wanted["B35"])
    bills = invoices.build(span, insured, book).filter("autopay")
    day = pl.col("due_date") - COLLECTED_BEFORE
    tried = book["invoice_number"].unique().implode()
    close = span.close.date()
    late = bills.with_columns(day.alias("day")).filter(
        pl.col("day").is_between(close - _JUDGED, span.old.date() - timedelta(days=1))
    )
    out = book.filter(pl.col("plant") == OUT)
    gone = out.select("account_number", (pl.col("payment_date") - ENROLLED_BEFORE).alias("left_at"))
    # What replaces an invoice that died early (B30) may be due by the close, and is not drawn.
    dead = book.filter(pl.col("plant") == "B30").select("account_number")
    late = late.join(dead, on="account_number", how="anti", maintain_order="left")
    late = late.join(gone, on="account_number", how="anti", maintain_order="left")
    untried = late.filter(~pl.col("invoice_number").is_in(tried)).sort("premium_cents", "invoice_number")
    missed = untried.head(wanted["B34"])
    sound = book.group_by("invoice_number").agg(
        (
            pl.col("plant").is_null()
            & pl.col("right").is_null()
            & ~pl.col("returned")
            & (pl.col("payment_date") <= span.old)
        )
        .all()
        .alias("sound")
    )
    paid = late.filter(pl.col("balance_cents") == 0).join(
        sound.filter("sound"), on="invoice_number", how="semi"
    )
    long = pl.concat([missed, paid.select(missed.columns)]).select(
        "account_number",
        (
            (pl.col("day") - ENROLLED_BEFORE).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
            + timedelta(hours=16)
        )
        .cast(STAMP)
        .alias("since"),
    )
    recent = pl.lit(span.close - ENROLLED_LATE, STAMP).dt.truncate("1s")
    enrolled = (
        insured.filter("autopay")
        .select("account_number")
        .join(long.unique("account_number"), on="account_number", how="left", maintain_order="left")
        .join(gone.unique("account_number"), on="account_number", how="left", maintain_order="left")
        .select("account_number", pl.col("since").fill_null(recent).alias("enrolled_at"), "left_at")
    )
    return book, AutoPays(enrolled, missed)


def _drawn(span: Span, book: pl.DataFrame, count: int) -> pl.DataFrame:
    """B35 in turn: a bill that AutoPay paid is paid again by another channel; drawn after the payer had left."""
    auto = pl.col("payment_source") == "AUTOPAY"
    usual = pl.col("plant").is_null() & pl.col("right").is_null() & pl.col("paired").is_null()
    usual &= ~pl.col("twin") & ~pl.col("gap") & ~pl.col("returned") & pl.col("approved")
    of = "invoice_number"
    book = book.with_columns(
        usual.all().over(of).alias("usual"), pl.len().over(of).alias("tries"), auto.alias("auto"),
        pl.col("seq").rank("ordinal").over(of).alias("place"),
        (auto & (pl.col("cents") == pl.col("premium_cents"))).first().over(of, order_by="seq").alias("first_auto"),
    )  # fmt: skip
    old = pl.col("payment_date") <= span.old
    twice = (
        pl.col("usual") & (pl.col("tries") == 2) & pl.col("first_auto") & ~auto & (pl.col("place") == 2) & old
    )
    alone = pl.col("usual") & (pl.col("tries") == 1) & auto
    again = book.filter(twice).sort("rank", "seq").head((count + 1) // 2)
    left = book.filter(alone & old).sort("rank", "seq").unique("acct", keep="first", maintain_order=True)
    # Nothing else of that account is AutoPay's, for it would be drawn after the payer had left as well.
    lone = book.filter(auto).group_by("acct").len().filter(pl.col("len") == 1)
    left = left.join(lone, on="acct", how="semi", maintain_order="left").head(count // 2)
    kept = alone | pl.col(of).is_in(again[of].implode())
    book = book.with_columns(
        pl.when(pl.col("seq").is_in(again["seq"].implode())).then(pl.lit(TWICE))
        .when(pl.col("seq").is_in(left["seq"].implode())).then(pl.lit(OUT))
        .otherwise("plant").alias("plant"),
        pl.when(auto & ~kept).then(pl.lit(_OTHER)).otherwise("payment_source").alias("payment_source"),
    )  # fmt: skip
    return book.drop("usual", "tries", "auto", "place", "first_auto")


def listed(drawn: pl.DataFrame, insured: pl.DataFrame, pays: AutoPays | None) -> pl.DataFrame:
    """InvoiceCloud's AutoPay list: `drawn` (enrolments.autopay), or that of `pays`."""
    if pays is None:
        return drawn
    usual = drawn.filter("autopay").unique("account_number", keep="first", maintain_order=True)
    held = pays.enrolled.filter(pl.col("left_at").is_null()).join(
        usual.drop("enrolled_at", "valid_from", "valid_to"), on="account_number", maintain_order="left"
    )
    kept = held.join(insured.select("account_number"), on="account_number", how="semi", maintain_order="left")
    return kept.with_columns(
        pl.col("enrolled_at").alias("valid_from"), pl.lit(None, STAMP).alias("valid_to")
    ).select(drawn.columns)
