"""Which settled dates a bank credit covers: first what agrees to the cent, then what is left, in order of time.

Works on lists of days and credits: some hundred a year, whatever the number of payments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple, Protocol

_TOGETHER = 3  # one date's money comes in the credits of so many value dates at most


class Credit(NamedTuple):
    """A bank line; `place` counts banking days, so that differences are banking days."""

    line_id: str
    value_date: date
    amount: Decimal
    place: int


class Day(NamedTuple):
    """A settled date and what the bank should see of it."""

    day: date
    expected: Decimal
    place: int


class Limits(Protocol):
    """How far apart a settled date and its credit may lie (rules.toml, deposits)."""

    @property
    def lag_banking_days(self) -> int: ...
    @property
    def usual_lag_banking_days(self) -> int: ...
    @property
    def covers_dates(self) -> int: ...


@dataclass(frozen=True)
class Cover:
    """Bank lines that belong together, the greatest first, and the settled dates that they pay; maybe none."""

    line_ids: tuple[str, ...]
    days: tuple[date, ...]
    value_date: date


def cover(credits: Sequence[Credit], days: Sequence[Day], limits: Limits) -> list[Cover]:
    """Every credit in exactly one cover, every day in one at most. Both sides in order of date.

    To the cent, smallest set of consecutive open dates first: each credit alone, then the credits of a value
    date together, then those of up to three value dates for a single date (its money came in parts). Several credits
    for several dates would hide what is too much in one and too little in the other. What is left is set against the open dates between
    those of its neighbours, nearest sum first: a credit is never set against money that is older than what the
    credit before it paid.
    """
    search = _Search(days, limits)
    for credit in credits:
        search.take([credit])
    for _, same in groupby(search.left(credits), key=lambda credit: credit.value_date):
        search.take(list(same))
    groups = [list(same) for _, same in groupby(search.left(credits), key=lambda credit: credit.value_date)]
    for count in range(2, _TOGETHER + 1):
        for start in range(len(groups) - count + 1):
            search.take([credit for group in groups[start : start + count] for credit in group], dates=1)
    for _, same in groupby(search.left(credits), key=lambda credit: credit.value_date):
        search.take_nearest(list(same))
    return search.found


class _Search:
    """What is still open on either side."""

    def __init__(self, days: Sequence[Day], limits: Limits) -> None:
        self.days, self.limits = days, limits
        self.open = [True] * len(days)
        self.found: list[Cover] = []
        self._used: set[str] = set()

    def left(self, credits: Sequence[Credit]) -> list[Credit]:
        return [credit for credit in credits if credit.line_id not in self._used]

    def take(self, credits: Sequence[Credit], dates: int | None = None) -> None:
        """Claims the dates (so many at most) that agree with the credits to the cent, if there are any."""
        if any(credit.line_id in self._used for credit in credits):
            return
        wanted = sum(credit.amount for credit in credits)
        runs = self._runs(credits, 0, len(self.days))
        exact = [r for r in runs if len(r) <= (dates or len(r)) and self._sum(r) == wanted]
        if exact:
            self._claim(credits, min(exact, key=lambda run: self._order(run, credits)))

    def take_nearest(self, credits: Sequence[Credit]) -> None:
        """Claims the run between the neighbours' dates whose sum comes nearest; none is open: no date."""
        wanted = sum(credit.amount for credit in credits)
        runs = list(self._runs(credits, *self._between(credits[0].value_date)))
        nearest = min(
            runs, key=lambda run: (abs(self._sum(run) - wanted), *self._order(run, credits)), default=()
        )
        self._claim(credits, nearest)

    def _between(self, value_date: date) -> tuple[int, int]:
        """Places in `days` after the last date paid earlier and before the first one paid later."""
        paid = {day.day: n for n, day in enumerate(self.days)}
        before = [paid[day] for c in self.found if c.value_date < value_date for day in c.days]
        after = [paid[day] for c in self.found if c.value_date > value_date for day in c.days]
        return max(before, default=-1) + 1, min(after, default=len(self.days))

    def _runs(self, credits: Sequence[Credit], first: int, last: int) -> Iterator[tuple[int, ...]]:
        """Consecutive open dates in days[first:last] that end at most the lag before the first credit's day, none
        after the last one's."""
        ends, begins = credits[-1], credits[0]
        near = [
            n
            for n in range(first, last)
            if self.open[n]
            and self.days[n].day <= ends.value_date
            and begins.place - self.days[n].place <= self.limits.lag_banking_days + self.limits.covers_dates
        ]
        for length in range(1, min(self.limits.covers_dates, len(near)) + 1):
            for start in range(len(near) - length + 1):
                run = tuple(near[start : start + length])
                if begins.place - self.days[run[-1]].place <= self.limits.lag_banking_days:
                    yield run

    def _sum(self, run: Sequence[int]) -> Decimal:
        return sum((self.days[n].expected for n in run), Decimal("0.00"))

    def _order(self, run: Sequence[int], credits: Sequence[Credit]) -> tuple[int, int, int]:
        """Fewest dates, then the usual lag, then the oldest."""
        lag = credits[0].place - self.days[run[-1]].place
        return len(run), abs(lag - self.limits.usual_lag_banking_days), run[0]

    def _claim(self, credits: Sequence[Credit], run: Sequence[int]) -> None:
        for n in run:
            self.open[n] = False
        self._used |= {credit.line_id for credit in credits}
        ordered = sorted(credits, key=lambda credit: (-credit.amount, credit.line_id))
        days = tuple(self.days[n].day for n in run)
        self.found.append(Cover(tuple(c.line_id for c in ordered), days, credits[-1].value_date))
