"""Banking days by the Federal Reserve's rule."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_date, local_day

CALENDAR = BankingCalendar()


def between(start: date, end: date) -> int:
    frame = pl.DataFrame({"a": [start], "b": [end]})
    return int(frame.select(CALENDAR.between(pl.col("a"), pl.col("b"))).item())


def added(day: date, count: int) -> date:
    found = pl.DataFrame({"d": [day], "n": [count]}).select(
        by_number=CALENDAR.add(pl.col("d"), count), by_column=CALENDAR.add(pl.col("d"), pl.col("n"))
    )
    assert found["by_number"].to_list() == found["by_column"].to_list()
    result: date = found["by_number"][0]
    return result


def test_the_ten_weekday_holidays_of_2026_and_no_other_day() -> None:
    closed = [day for day in CALENDAR.holidays if day.year == 2026 and day.weekday() < 5]
    assert closed == [
        date(2026, 1, 1), date(2026, 1, 19), date(2026, 2, 16), date(2026, 5, 25), date(2026, 6, 19),
        date(2026, 9, 7), date(2026, 10, 12), date(2026, 11, 11), date(2026, 11, 26), date(2026, 12, 25),
    ]  # fmt: skip


def test_a_saturday_holiday_is_not_moved_to_friday() -> None:
    assert date(2026, 7, 4).weekday() == 5
    assert CALENDAR.is_banking_day(date(2026, 7, 3))
    assert CALENDAR.is_banking_day(date(2026, 7, 6))
    assert not CALENDAR.is_banking_day(date(2026, 7, 4))
    assert between(date(2026, 7, 2), date(2026, 7, 6)) == 2


def test_a_sunday_holiday_moves_to_monday() -> None:
    assert date(2027, 7, 4).weekday() == 6
    assert not CALENDAR.is_banking_day(date(2027, 7, 5))
    assert CALENDAR.is_banking_day(date(2027, 7, 6))
    assert between(date(2027, 7, 2), date(2027, 7, 6)) == 1
    assert not CALENDAR.is_banking_day(date(2023, 1, 2))  # New Year 2023 fell on a Sunday


def test_thanksgiving_is_closed_and_the_friday_after_is_not() -> None:
    assert added(date(2026, 11, 25), 1) == date(2026, 11, 27)
    assert between(date(2026, 11, 25), date(2026, 11, 30)) == 2


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (date(2026, 10, 5), date(2026, 10, 5), 0),
        (date(2026, 10, 9), date(2026, 10, 10), 0),  # Friday to Saturday
        (date(2026, 10, 9), date(2026, 10, 13), 1),  # over Columbus Day
        (date(2026, 10, 10), date(2026, 10, 13), 1),  # from a Saturday
        (date(2026, 10, 13), date(2026, 10, 9), 0),  # backwards
    ],
)
def test_days_between_count_the_end_and_not_the_start(start: date, end: date, days: int) -> None:
    assert between(start, end) == days


def test_adding_and_counting_agree_on_every_day_of_a_year() -> None:
    days = pl.date_range(date(2026, 1, 1), date(2026, 12, 31), eager=True).to_frame("d")
    for count in (0, 1, 3, 5):
        later = days.with_columns(end=CALENDAR.add(pl.col("d"), count))
        counted = later.select(n=CALENDAR.between(pl.col("d"), pl.col("end")))["n"]
        assert counted.unique().to_list() == [count]
        assert all(CALENDAR.is_banking_day(day) for day in later["end"])


def test_subtract_mirrors_add() -> None:
    found = pl.DataFrame({"d": [date(2026, 10, 13), date(2026, 10, 11)]}).select(
        CALENDAR.subtract(pl.col("d"), 1)
    )
    # A Sunday stands on the next banking day (the 13th: the 12th is a holiday), then one day back.
    assert found["d"].to_list() == [date(2026, 10, 9), date(2026, 10, 9)]


def test_a_biller_may_add_closed_days() -> None:
    own = BankingCalendar(closed=(date(2026, 11, 27),))
    assert not own.is_banking_day(date(2026, 11, 27))
    assert CALENDAR.is_banking_day(date(2026, 11, 27))


def test_local_dates_follow_the_biller_through_the_end_of_summer_time() -> None:
    moments = pl.Series([datetime(2026, 11, 1, 4, 59, tzinfo=UTC), datetime(2026, 11, 2, 5, 30, tzinfo=UTC)])
    frame = pl.DataFrame({"t": moments})
    days = frame.select(local_date(pl.col("t"), "America/Chicago"))["t"].to_list()
    assert days == [date(2026, 10, 31), date(2026, 11, 1)]
    starts = pl.DataFrame({"d": [date(2026, 11, 1), date(2026, 11, 2)]}).select(
        day_start(pl.col("d"), "America/Chicago")
    )
    assert starts["d"].to_list() == [
        datetime(2026, 11, 1, 5, tzinfo=UTC),
        datetime(2026, 11, 2, 6, tzinfo=UTC),
    ]


def test_a_day_without_midnight_starts_at_one() -> None:
    # Havana's clocks went from 00:00 to 01:00 on 8 March 2026.
    start = pl.DataFrame({"d": [date(2026, 3, 8)]}).select(day_start(pl.col("d"), "America/Havana"))["d"][0]
    assert start == datetime(2026, 3, 8, 5, tzinfo=UTC)


def test_a_naive_as_of_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        local_day(datetime(2026, 10, 5), "America/Chicago")
