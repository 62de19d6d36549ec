"""Banking days of the Federal Reserve: no weekends, no holidays.

A holiday on a Sunday is kept on the Monday; one on a Saturday is not moved.
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

_MONDAY, _THURSDAY = 0, 3


def holidays(year: int) -> set[date]:
    """The Federal Reserve's holidays of a year, as kept."""
    fixed = [date(year, *day) for day in ((1, 1), (6, 19), (7, 4), (11, 11), (12, 25))]
    kept = {day + timedelta(days=1) if day.weekday() == 6 else day for day in fixed}
    last_of_may = date(year, 5, 31)
    return kept | {
        _nth(year, 1, _MONDAY, 3),
        _nth(year, 2, _MONDAY, 3),
        last_of_may - timedelta(days=last_of_may.weekday()),
        _nth(year, 9, _MONDAY, 1),
        _nth(year, 10, _MONDAY, 2),
        _nth(year, 11, _THURSDAY, 4),
    }


def _nth(year: int, month: int, weekday: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


class BankingCalendar:
    """Counts banking days on whole columns, for dates in [first, last]."""

    def __init__(self, first: date, last: date) -> None:
        closed = set().union(*(holidays(year) for year in range(first.year, last.year + 1)))
        span = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        open_days = [day.weekday() < 5 and day not in closed for day in span]
        self.first = first
        self.days = pl.Series("day", [day for day, is_open in zip(span, open_days, strict=True) if is_open])
        self._upto = pl.Series("upto", open_days).cast(pl.Int64).cum_sum()

    def index(self, dates: pl.Series) -> pl.Series:
        """Number of banking days from `first` up to and including each date."""
        return self._upto.gather((dates - self.first).dt.total_days())

    def add(self, dates: pl.Series, count: pl.Series | int) -> pl.Series:
        """The count-th banking day after each date (count 0 on a closed day: the banking day before)."""
        return self.days.gather(self.index(dates) - 1 + count)
