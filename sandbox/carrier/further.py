"""The answer sheet of the further classes: the bank's statement, disputes, refunds, suspense and flags."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from sandbox.carrier import restated
from sandbox.carrier.autopays import OUT, TWICE, AutoPays
from sandbox.carrier.plants import REFUND_POSTED, REFUNDED
from sandbox.carrier.postings import posting_id
from sandbox.carrier.returns import SIGNED_OFF, WAS_FINAL, short
from sandbox.carrier.span import STAMP, Span, local_date, money

NOTES = {
    "B10": "approved, never settled, nor is any other payment of its day",
    "B13": "none of the day's payments is settled",
    "B14": "the bank's credit is of another amount",
    "B15": "the bank's credit never came",
    "B17": "reversed without a return",
    "B19": "returned with another amount",
    "B21": "returned when it was final, or its day signed off",
    "B22": "returned after its code's window",
    "B23": "disputed, not posted",
    "B44": "told with another amount after it had matched",
    "B43": "more came back than four fifths of the limit",
    "B24": "refunded on one side only",
    "B32": "AutoPay here, not there",
    "B33": "paperless here, not there, or printed all the same",
    "B34": "enrolled, due and not drawn",
    "B35": "paid although AutoPay had drawn, or drawn after the payer had left",
    "B40": "two postings fit",
    "B41": "in suspense for long",
}
# Endings of the posting ids that are subjects: see disputes.py.
_BACK, _REFUND = 4, 5
# Nacha's limits in thousandths of the debits of sixty days, and their codes (none: all); told from 80 % of a limit on.
RATES: dict[str, tuple[int, tuple[str, ...]]] = {
    "UNAUTHORISED": (5, ("R05", "R07", "R10", "R11", "R29", "R51")),
    "ADMINISTRATIVE": (30, ("R02", "R03", "R04")),
    "ALL": (150, ()),
}
RATE_DAYS, RATE_LEAST, DEBITS = timedelta(days=60), 5, ("EFT",)
_COLUMNS = ("code", "subject", "cents", "account_number", "invoice_number")


def sheet(
    span: Span,
    book: pl.DataFrame,
    disputed: pl.DataFrame,
    refunded: pl.DataFrame,
    credited: pl.DataFrame,
    kept: pl.DataFrame,
    pays: AutoPays | None,
    wanted: Mapping[str, int],
) -> pl.DataFrame:
    """Columns and order as truth.sheet. Subject of a B14 is the bank's reference of its line: the id that a line
    gets is made by whoever loads it."""
    none = pl.lit(None, pl.String)
    whole = book.filter(pl.col("plant").is_not_null())
    guid = pl.col("payment_guid")
    unsettled = book.filter(pl.col("gap") & pl.col("approved"))  # each of a B13's payments is a B10 besides
    of_payments = [
        unsettled.with_columns(pl.lit("B10").alias("code"), guid.alias("subject")).select(_COLUMNS),
        _of(whole, "B17", _posting(_BACK), pl.col("cents")),
        _of(whole, "B19", guid, -short()),
        _of(whole, "B22", guid, pl.col("cents")),
        _of(whole, SIGNED_OFF, guid, pl.col("cents")),
        _of(whole, WAS_FINAL, guid, pl.col("cents")),
        _of(whole, REFUND_POSTED, _posting(_REFUND), pl.col("cents")),
        _of(whole, "B40", guid, pl.col("cents")),
        _of(whole, "B41", _posting(0), pl.col("cents")),
        _of(whole, OUT, guid, pl.col("cents")),
        _of(whole, TWICE, guid, pl.col("cents")),
        _of(disputed, "B23", pl.col("chargeback_id"), pl.col("cents")),
        _of(refunded, REFUNDED, pl.col("refund_id"), pl.col("cents")),
    ]
    gaps = unsettled.group_by("local_date").agg(pl.col("cents").sum())
    nobody = {"account_number": none, "invoice_number": none}
    day = pl.col("local_date").cast(pl.String)
    other = [
        restated.breaks(book),
        gaps.with_columns(pl.lit("B13").alias("code"), day.alias("subject"), **nobody),
        credited.filter(pl.col("plant") == "B14").with_columns(
            pl.col("plant").alias("code"), pl.col("bank_reference").alias("subject"),
            pl.col("cents") - pl.col("due_cents"), **nobody,
        ),
        credited.filter(pl.col("plant") == "B15").with_columns(
            pl.col("plant").alias("code"), pl.col("settled_to").cast(pl.String).alias("subject"),
            pl.col("due_cents").alias("cents"), **nobody,
        ),
        kept.filter(pl.col("plant").is_not_null()).with_columns(
            pl.col("plant").alias("code"), pl.col("account_number").alias("subject"),
            pl.lit(0, pl.Int64).alias("cents"), none.alias("invoice_number"),
        ),
    ]  # fmt: skip
    if wanted["B43"]:
        other.append(_rates(span, book))
    if pays is not None:
        other.append(
            pays.missed.with_columns(
                pl.lit("B34").alias("code"),
                pl.col("invoice_number").alias("subject"),
                pl.col("premium_cents").alias("cents"),
            )
        )
    rows = pl.concat([part.select(_COLUMNS) for part in (*of_payments, *other)])
    return rows.select(
        "code",
        "subject",
        money("cents").alias("amount"),
        "account_number",
        "invoice_number",
        pl.col("code").replace_strict(NOTES).alias("note"),
    )


def _rates(span: Span, book: pl.DataFrame) -> pl.DataFrame:
    """B43 follows from what came back: the debits of the last days, and those of them with a code of a group."""
    today = local_date("moment")
    now = pl.DataFrame({"moment": [span.close]}, schema={"moment": STAMP}).select(today).item()
    recent = pl.col("local_date").is_between(now - RATE_DAYS, now, closed="right")
    debits = book.filter(pl.col("approved") & recent & pl.col("tender").is_in(DEBITS))
    back = debits.filter("returned")["return_code"]
    counts = {group: back.is_in(codes).sum() if codes else back.len() for group, (_, codes) in RATES.items()}
    high = [
        group
        for group, (per_mille, _) in RATES.items()
        if counts[group] >= RATE_LEAST and counts[group] * 1_250 >= per_mille * debits.height
    ]
    nobody = {name: pl.lit(None, pl.String) for name in ("account_number", "invoice_number")}
    return pl.DataFrame({"subject": high}, schema={"subject": pl.String}).with_columns(
        pl.lit("B43").alias("code"), pl.lit(0, pl.Int64).alias("cents"), **nobody
    )


def _posting(ending: int) -> pl.Expr:
    return posting_id(pl.col("seq") * 10 + ending)


def _of(rows: pl.DataFrame, plant: str, subject: pl.Expr, cents: pl.Expr) -> pl.DataFrame:
    return rows.filter(pl.col("plant") == plant).select(
        pl.lit(plant[:3]).alias("code"),
        subject.alias("subject"),
        cents.alias("cents"),
        "account_number",
        "invoice_number",
    )
