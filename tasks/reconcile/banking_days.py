"""Banking days by the Federal Reserve's rule, as Polars expressions.

A holiday on a Sunday moves to the Monday; one on a Saturday is not moved to the Friday (Fed rule).
Between two days a and b lie the banking days d with a < d <= b: Friday to Monday is 1.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import holidays
import polars as pl

FIRST_YEAR, LAST_YEAR = 2000, 2100


class BankingCalendar:
    """Banking days of the United States; `closed` adds days on which this biller's bank does not work."""

    def __init__(self, closed: tuple[date, ...] = ()) -> None:
        self.holidays: list[date] = sorted({*_federal_reserve_holidays(), *closed})
        self._closed = frozenset(self.holidays)
        # Polars would make this of the dates anew for every expression.
        self._list = pl.Series([self.holidays], dtype=pl.List(pl.Date))

    def is_banking_day(self, day: date) -> bool:
        return day.weekday() < 5 and day not in self._closed

    def between(self, start: pl.Expr, end: pl.Expr) -> pl.Expr:
        """Int32 banking days d with start < d <= end; 0 if end lies before start."""
        one = pl.duration(days=1)
        return pl.business_day_count(start + one, end + one, holidays=self._list).clip(lower_bound=0)

    def add(self, day: pl.Expr, count: int | pl.Expr) -> pl.Expr:
        """The `count`-th banking day after `day`; 0 gives the banking day on or before it."""
        return day.dt.add_business_days(count, holidays=self._list, roll="backward")

    def subtract(self, day: pl.Expr, count: int | pl.Expr) -> pl.Expr:
        """The `count`-th banking day before `day`; 0 gives the banking day on or after it."""
        back = count * -1
        return day.dt.add_business_days(back, holidays=self._list, roll="forward")


def local_date(moment: pl.Expr, zone: str) -> pl.Expr:
    """Calendar date, in the biller's zone, of a UTC timestamp."""
    return moment.dt.convert_time_zone(zone).dt.date()


def day_start(day: pl.Expr, zone: str) -> pl.Expr:
    """UTC timestamp of the first moment of a local date (01:00 where a clock change skips midnight)."""
    midnight = day.cast(pl.Datetime("us"))

    def aware(naive: pl.Expr) -> pl.Expr:
        return naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")

    found = pl.coalesce(aware(midnight), aware(midnight + pl.duration(hours=1)))
    return found.dt.convert_time_zone("UTC")


def local_day(moment: datetime, zone: str) -> date:
    """Calendar date of an aware moment in the biller's zone."""
    if moment.tzinfo is None:
        raise ValueError("as_of must carry a time zone")
    return moment.astimezone(UTC).astimezone(ZoneInfo(zone)).date()


@cache
def _federal_reserve_holidays() -> tuple[date, ...]:
    # observed=False: the library's own rule moves Saturdays to Fridays, which the Fed does not do.
    years = range(FIRST_YEAR, LAST_YEAR + 1)
    legal = holidays.country_holidays("US", years=years, observed=False)
    moved = {day + timedelta(days=1) if day.weekday() == 6 else day for day in legal}
    return tuple(sorted(moved))
