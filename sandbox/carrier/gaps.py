"""B13: a banking day none of whose payments is ever settled."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from sandbox.carrier.span import OLD_BANKING_DAYS, Span

_MONDAY, _FRIDAY, _DAY = 1, 5, timedelta(days=1)


def mark(span: Span, book: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    """The book with `gap`: paid on one of the days of B13. Nothing else is planted on what was paid then.

    Such a day is old, no Monday or Friday, and has a banking day on either side, so that no weekend's payments
    belong to it. The fullest of these days are taken: one with a single payment shows no missing batch.
    """
    days = book.group_by("local_date").agg(pl.col("approved").sum().alias("paid")).sort("local_date")
    index = span.calendar.index(days["local_date"])
    before = span.calendar.index(days["local_date"] - _DAY)
    earlier = span.calendar.index(days["local_date"] - 2 * _DAY)
    after = span.calendar.index(days["local_date"] + _DAY)
    today = int(span.calendar.index(pl.Series([span.close.date()]))[0])
    inner = (
        (index - before == 1)
        & (before - earlier == 1)
        & (after - index == 1)
        & (today - index > OLD_BANKING_DAYS)
    )
    weekday = days["local_date"].dt.weekday()
    fit = days.filter(inner & (weekday != _MONDAY) & (weekday != _FRIDAY) & (days["paid"] > 2))
    taken = fit.sort("paid", "local_date", descending=True).head(wanted["B13"])["local_date"]
    return book.with_columns(pl.col("local_date").is_in(taken.implode()).alias("gap"))
