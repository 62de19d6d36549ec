"""B39: a made carrier whose payments report is served with another clock. It disturbs all that hangs on a day.

Ask for the answer's row with feed_faults={"B39": ["payments"]}, and call `shift` before the carrier is served.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from sandbox.carrier.carrier import Carrier
from sandbox.carrier.span import Span, local_date

_BOOKED_LATER = timedelta(days=1)


def shift(carrier: Carrier, by: timedelta, nameless: int) -> int:
    """Moves the times of the payments report by `by` (backwards), in the carrier's folder; postings keep theirs.

    Of `nameless` payments whose day changes with that, IMT's posting loses GUID and reference and is booked a day
    later: by account, invoice, amount and day it would be found, and beside the shifted report it is not. They
    are usual old payments that nothing else hangs on. Returns how many there were.
    """
    if by >= timedelta(0):
        raise ValueError("backwards only: later times would lie after the close")
    payments, postings = carrier.table("payments"), carrier.table("imt_postings")
    moved = payments.with_columns(pl.col("payment_date") + by)
    changed = payments.filter(
        local_date("payment_date") != moved.select(local_date("payment_date")).to_series()
    )
    chosen = _usual(carrier, changed, payments, postings).head(nameless)["payment_guid"].implode()
    loses = pl.col("payment_guid").is_in(chosen)
    later = pl.col("posted_at") + _BOOKED_LATER
    booked = postings.with_columns(
        pl.when(loses).then(later).otherwise("posted_at").alias("posted_at"),
        pl.when(loses)
        .then(pl.col("effective_date") + _BOOKED_LATER)
        .otherwise("effective_date")
        .alias("effective_date"),
        pl.when(~loses.fill_null(False)).then("payment_guid").alias("payment_guid"),
        pl.when(~loses.fill_null(False)).then("processor_reference").alias("processor_reference"),
    )
    moved.sort("payment_date", "payment_guid").write_parquet(carrier.folder / "payments.parquet")
    booked.write_parquet(carrier.folder / "imt_postings.parquet")
    return int(booked["payment_guid"].null_count() - postings["payment_guid"].null_count())


def _usual(
    carrier: Carrier, changed: pl.DataFrame, payments: pl.DataFrame, postings: pl.DataFrame
) -> pl.DataFrame:
    """Approved payments of `changed`, old, alone on their invoice at both sides, not returned, and not in the
    answer sheet."""
    of = ["invoice_number"]
    lone = payments.group_by(of).len().filter(pl.col("len") == 1)
    lone = lone.join(postings.group_by(of).len().filter(pl.col("len") == 1), on=of, how="semi")
    planted = carrier.truth().drop_nulls("account_number").select("account_number").unique()
    rejected = carrier.table("ach_rejects").select(payment_guid="original_payment_guid")
    old = pl.col("payment_date") < Span(carrier.start, carrier.close).old
    return (
        changed.filter(pl.col("approved") & old)
        .join(lone, on=of, how="semi")
        .join(planted, on="account_number", how="anti")
        .join(rejected, on="payment_guid", how="anti")
        .sort("payment_date", "payment_guid")
    )
