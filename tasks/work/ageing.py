"""How old a break is: banking days since the item happened, in the buckets of domain facts 42 and 43."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, local_date, local_day
from tasks.work.model import BUCKETS

_NO_END = 1_000_000


def banking_days(since: pl.Expr, as_of: datetime, zone: str, calendar: BankingCalendar) -> pl.Expr:
    """Int32 banking days between the local day of the instant `since` and that of `as_of`; 0 where it is unknown."""
    today = pl.lit(local_day(as_of, zone))
    return calendar.between(local_date(since, zone), today).fill_null(0)


def bucket_name(low: int, high: int | None) -> str:
    """'0-1', '61+'."""
    return f"{low}+" if high is None else f"{low}-{high}"


def in_buckets(aged: pl.DataFrame) -> pl.DataFrame:
    """(days, amount) → one row per bucket, also an empty one: position, bucket, low, high, count, amount (absolute, USD)."""
    edges = [
        (rank, bucket_name(low, high), low, _NO_END if high is None else high)
        for rank, (low, high) in enumerate(BUCKETS)
    ]
    buckets = pl.DataFrame(edges, schema=["position", "bucket", "low", "high"], orient="row")
    spread = buckets.join(aged.select("days", pl.col("amount").abs()), how="cross")
    inside = pl.col("days").is_between("low", "high")
    counted = spread.group_by("position").agg(
        count=inside.sum().cast(pl.Int64), amount=pl.col("amount").filter(inside).sum()
    )
    found = buckets.join(counted, on="position", how="left").sort("position")
    zero = pl.lit("0.00").cast(pl.Decimal(18, 2))
    return found.with_columns(
        pl.col("count").fill_null(0), pl.col("amount").cast(pl.Decimal(18, 2)).fill_null(zero)
    )
