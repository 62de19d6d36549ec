"""Chargebacks, refunds and suspense: what the portal exports of them, and what IMT books.

Wrong ones (B17, B23, B24, B40, B41) and right ones beside them (`right`, see plants.py).
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from sandbox.carrier.plants import (
    CLEARED,
    POSTED_DISPUTE,
    REFUND_POSTED,
    REFUNDED,
    RIGHT_REFUND,
    WON_DISPUTE,
)
from sandbox.carrier.span import Span, money

DISPUTED_AFTER, WON_AFTER, REFUNDED_AFTER = 4, 3, 4  # banking days after the payment; after the dispute
# Endings of posting ids: a payment's own end with 0 to 2 (postings.py).
_SECOND, _BACK, _REFUND = 3, 4, 5


def chargebacks(span: Span, book: pl.DataFrame) -> pl.DataFrame:
    """One row per stage: the book's columns with chargeback_id, case_no, stage, chargeback_date."""
    told = (pl.col("plant") == "B23") | pl.col("right").is_in((POSTED_DISPUTE, WON_DISPUTE))
    first = _later(span, book.filter(told), DISPUTED_AFTER, "chargeback_date").with_columns(
        pl.format("CASE{}", pl.col("seq").cast(pl.String).str.zfill(7)).alias("case_no"),
        pl.lit("FIRST").alias("stage"),
    )
    won = first.filter(pl.col("right") == WON_DISPUTE)
    won = won.with_columns(
        span.calendar.add(won["chargeback_date"], WON_AFTER).alias("chargeback_date"),
        pl.lit("REVERSED").alias("stage"),
    )
    return pl.concat([first, won]).with_columns(pl.format("{}-{}", "case_no", "stage").alias("chargeback_id"))


def refunds(span: Span, book: pl.DataFrame) -> pl.DataFrame:
    """One row per refund at InvoiceCloud: the book's columns with refund_id and refund_date."""
    told = (pl.col("plant") == REFUNDED) | (pl.col("right") == RIGHT_REFUND)
    return _later(span, book.filter(told), REFUNDED_AFTER, "refund_date").with_columns(
        pl.format("RF{}", pl.col("seq").cast(pl.String).str.zfill(7)).alias("refund_id")
    )


def netted(disputed: pl.DataFrame, refunded: pl.DataFrame) -> pl.DataFrame:
    """settled_date, cents: what chargebacks and refunds take off the deposits, each on its own day."""
    sign = pl.when(pl.col("stage") == "REVERSED").then(1).otherwise(-1)
    return pl.concat(
        [
            disputed.select(
                pl.col("chargeback_date").alias("settled_date"), (sign * pl.col("cents")).alias("cents")
            ),
            refunded.select(pl.col("refund_date").alias("settled_date"), -pl.col("cents")),
        ]
    )


def exports(disputed: pl.DataFrame, refunded: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The portal's exports `chargebacks` and `refunds`, as in the contracts, with `visible_at`."""
    named = ("payment_guid", "processor_reference", "account_number", "invoice_number")
    seen = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(hours=15)
    return {
        "chargebacks": disputed.with_columns(pl.col("chargeback_date").alias("day")).select(
            "chargeback_id", "case_no", "stage", "chargeback_date", *named,
            money("cents").alias("amount"), "card_type", pl.lit("10.4").alias("reason"),
            (pl.col("chargeback_date") + timedelta(days=20)).alias("respond_by"), seen.alias("visible_at"),
        ),
        "refunds": refunded.with_columns(pl.col("refund_date").alias("day")).select(
            "refund_id", "refund_date", *named, money("cents").alias("amount"), "tender",
            pl.lit("Requested by the payer").alias("reason"), seen.alias("visible_at"),
        ),
    }  # fmt: skip


def taken_back(span: Span, own: pl.DataFrame, book: pl.DataFrame) -> list[pl.DataFrame]:
    """Reversals (B17, a posted dispute) and refunds (B24, right ones) that IMT books on its `own` postings."""
    whole = own.join(
        book.select("payment_guid", "right", "local_date").unique("payment_guid"), on="payment_guid"
    )
    kinds = {
        "NSF": (_BACK, pl.col("plant") == "B17", "REVERSAL", 1),
        "CHARGEBACK": (_BACK, pl.col("right") == POSTED_DISPUTE, "REVERSAL", DISPUTED_AFTER),
        "REFUND": (
            _REFUND,
            (pl.col("plant") == REFUND_POSTED) | (pl.col("right") == RIGHT_REFUND),
            "REFUND",
            REFUNDED_AFTER,
        ),
    }
    parts = []
    for reason, (ending, which, kind, after) in kinds.items():
        rows = _later(span, whole.filter(which), after, "day")
        at = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        parts.append(
            rows.with_columns(
                (pl.col("id") + ending).alias("id"),
                (-pl.col("cents")).alias("cents"),
                pl.lit(kind).alias("kind"),
                pl.lit(reason).alias("reason"),
                pl.when(pl.lit(kind == "REVERSAL")).then("id").alias("reverses"),
                (at + timedelta(hours=19)).alias("posted_at"),
                pl.lit(None, pl.String).alias("plant"),
            )
        )
    return parts


def set_aside(own: pl.DataFrame, book: pl.DataFrame) -> list[pl.DataFrame]:
    """The `own` postings again: in suspense for B41 and for what is cleared a day later; twice and without a GUID
    for B40; as they were for all others."""
    right = book.select("payment_guid", "right").unique("payment_guid")
    rows = own.join(right, on="payment_guid", how="left", maintain_order="left")
    aside = (pl.col("plant") == "B41").fill_null(False) | (pl.col("right") == CLEARED).fill_null(False)
    twice = (pl.col("plant") == "B40").fill_null(False)
    suspense = rows.filter(aside).with_columns(pl.lit("SUSPENSE").alias("kind"))
    cleared = suspense.filter(pl.col("right") == CLEARED)
    day = timedelta(days=1)
    back = cleared.with_columns(
        (pl.col("id") + _BACK).alias("id"), (-pl.col("cents")).alias("cents"), pl.lit("REVERSAL").alias("kind"),
        pl.lit("SUSPENSE_CLEARED").alias("reason"), pl.col("id").alias("reverses"), pl.col("posted_at") + day,
    )  # fmt: skip
    placed = cleared.with_columns(
        (pl.col("id") + _SECOND).alias("id"), pl.lit("PAYMENT").alias("kind"), pl.col("posted_at") + day
    )
    nameless = rows.filter(twice).with_columns(pl.lit(None, pl.String).alias("payment_guid"))
    again = nameless.with_columns(
        (pl.col("id") + _SECOND).alias("id"), pl.col("posted_at") + timedelta(minutes=9)
    )
    return [rows.filter(~aside & ~twice), suspense, back, placed, nameless, again]


def _later(span: Span, rows: pl.DataFrame, after: int, name: str) -> pl.DataFrame:
    return rows.with_columns(span.calendar.add(rows["local_date"], after).alias(name))
