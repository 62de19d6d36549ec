"""What reconcile() is told of payments judged apart: sums for the classes that look at many payments at once.

A payment stands straight where each side has one row of it, under its guid and to the cent, and nothing else asks
for it. No other payment's verdict hangs on such a one, nor on one that came back and was reversed; but days, batches,
rates and totals count them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from tasks.reconcile.model import ACH_REJECTS, MONEY, TIME, Schema, empty

# Rows of settled batches, summed over all that a batch or a deposit does not tell apart.
FOLDED: Schema = {
    "settled_batch_id": pl.String, "settled_date": pl.Date, "transaction_type": pl.String, "batch_total": MONEY,
    "batch_item_count": pl.Int32, "excluded": pl.Boolean, "rows": pl.Int64, "settled_amount": MONEY,
    "fee_amount": MONEY, "first_seen_at": TIME, "last_seen_at": TIME,
}  # fmt: skip
_KEY = ("settled_batch_id", "settled_date", "transaction_type", "batch_total", "batch_item_count", "excluded")
SUMS: Schema = {"name": pl.String, "rows": pl.Int64, "amount": MONEY}
# Straight payments by the biller's day and tender; `settled`: their batch is known.
DAYS: Schema = {"payment_day": pl.Date, "tender": pl.String, "settled": pl.Boolean, "rows": pl.Int64}
# Those not settled yet; and those of the last days with the day IMT booked them for (class B39), as many as move over
# midnight together.
WAITING: Schema = {
    "payment_date": TIME, "payment_day": pl.Date, "tender": pl.String, "payment_amount": MONEY,
}  # fmt: skip
CLOCK: Schema = {"payment_date": TIME, "payment_day": pl.Date, "posted_on": pl.Date, "rows": pl.Int64}

# Those that came back and were reversed, with every code that they came back with.
BACK: Schema = {"guid_key": pl.String, "payment_day": pl.Date, "tender": pl.String, "return_code": pl.String}


@dataclass(frozen=True)
class Apart:
    """states: by state · pushed: as push_breaks.arrivals · named: all rows of batches that have a guid, folded; None
    if the caller passes every row of settlements · returned: rows of ach_rejects left out, back: their payments. USD."""

    states: pl.DataFrame = field(default_factory=lambda: empty(SUMS))
    days: pl.DataFrame = field(default_factory=lambda: empty(DAYS))
    waiting: pl.DataFrame = field(default_factory=lambda: empty(WAITING))
    clock: pl.DataFrame = field(default_factory=lambda: empty(CLOCK))
    pushed: pl.DataFrame = field(default_factory=lambda: empty(SUMS))
    named: pl.DataFrame | None = None
    returned: pl.DataFrame = field(default_factory=lambda: empty(ACH_REJECTS))
    back: pl.DataFrame = field(default_factory=lambda: empty(BACK))


NOTHING = Apart()


def fold(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of settled batches (with `excluded`) → FOLDED."""
    return (
        rows.group_by(_KEY)
        .agg(
            *(pl.col(name).fill_null(0).sum().cast(MONEY) for name in ("settled_amount", "fee_amount")),
            pl.col("first_seen_at", "last_seen_at").max(),
            rows=pl.len(),
        )
        .select(pl.col(name).cast(kind) for name, kind in FOLDED.items())
    )


def added(sums: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """`sums` (name, rows, amount) with `more` of the same names added to it; the order of `sums` stays."""
    if more.is_empty():
        return sums
    other = more.select("name", more_rows="rows", more_amount="amount")
    both = sums.join(other, on="name", how="left", maintain_order="left")
    return both.with_columns(
        rows=pl.col("rows") + pl.col("more_rows").fill_null(0),
        amount=(pl.col("amount") + pl.col("more_amount").fill_null(0)).cast(MONEY),
    ).drop("more_rows", "more_amount")
