"""The stretch of time that a carrier covers, with its banking calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import polars as pl

from sandbox.carrier.banking import BankingCalendar

ZONE = "America/Chicago"
STAMP = pl.Datetime("us", "UTC")
MONEY = pl.Decimal(18, 2)
SETTLED_AT = timedelta(hours=20)  # a batch of a date appears at that date's 20:00 UTC
# Planted breaks are older than this at the close, so no grace or late first sight hides one.
OLD = timedelta(days=5)
OLD_AT_LEAST_BANKING_DAYS = 4
OLD_BANKING_DAYS = 8


@dataclass(frozen=True)
class Span:
    """From `start` to `close` (aware UTC)."""

    start: datetime
    close: datetime

    @cached_property
    def calendar(self) -> BankingCalendar:
        """Banking days with room on both sides."""
        return BankingCalendar(self.start.date() - timedelta(days=20), self.close.date() + timedelta(days=40))

    @property
    def old(self) -> datetime:
        """Latest moment of an event that a planted break may hang on; holidays push it back."""
        upto = int(self.calendar.index(pl.Series([self.close.date()]))[0])
        day = self.calendar.days[upto - 1 - OLD_AT_LEAST_BANKING_DAYS]
        return min(self.close - OLD, datetime(day.year, day.month, day.day, tzinfo=UTC))

    def open_days(self, until: datetime, after_days: int = 0) -> list[date]:
        """Banking days more than `after_days` after the start whose batch is out by `until`."""
        first = self.start.date() + timedelta(days=after_days)
        return [day for day in self.calendar.days.to_list() if day > first and _settled(day) <= until]


def _settled(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + SETTLED_AT


def settled_moment(column: str) -> pl.Expr:
    """The moment that a settlement date's batch appears."""
    return pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + SETTLED_AT


def local_date(column: str) -> pl.Expr:
    """The biller's date of a moment."""
    return pl.col(column).dt.convert_time_zone(ZONE).dt.date()


def money(cents: str | pl.Expr) -> pl.Expr:
    """Cents (whole numbers) as DECIMAL(18,2)."""
    value = pl.col(cents) if isinstance(cents, str) else cents
    return (value.cast(MONEY) / 100).cast(MONEY)
