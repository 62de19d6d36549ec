"""How one pushed field is read: money to the cent, times in UTC, keys as they are, and no value in a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.inbound.fields import PushField
from tasks.inbound.values import Unreadable, microseconds, moment, read_value

CHICAGO = ZoneInfo("America/Chicago")


def value(text: str, read: str, **more: Any) -> Any:
    return read_value(text, PushField.model_validate({"from": "X", "read": read, **more}), CHICAGO)


def utc(*parts: int) -> int:
    return microseconds(datetime(*parts, tzinfo=UTC))  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("0", 0), ("0.00", 0), ("-0.00", 0), ("12", 1200), ("12.3", 1230), ("12.30", 1230), ("0.01", 1),
        ("0000012.30", 1230), ("9999999999999999.99", 999999999999999999), ("", None),
    ],
)  # fmt: skip
def test_money_is_read_to_the_cent(text: str, cents: int | None) -> None:
    assert value(text, "money") == cents


@pytest.mark.parametrize(
    "text",
    [
        "12.345", "1,234.00", "$5", "5 ", " 5", "+5", "-5", "-0.01", "1e3", ".5", "5.", "1.2.3", "NaN", "Infinity", "0x1f",
        "١٢", "１２", "12345678901234567", "5\n", "--5", "1_0",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(Unreadable) as caught:
        value(text, "money")
    assert text.strip() not in str(caught.value) or text.strip() in "5"


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("2026-11-10T03:04:05", "local", utc(2026, 11, 10, 9, 4, 5)),
        ("2026-07-10T03:04:05", "local", utc(2026, 7, 10, 8, 4, 5)),
        ("2026-11-10T03:04:05Z", "local", utc(2026, 11, 10, 3, 4, 5)),
        ("2026-11-10T03:04:05-05:00", "local", utc(2026, 11, 10, 8, 4, 5)),
        ("2026-11-10T03:04:05-05:00", "gmt", utc(2026, 11, 10, 3, 4, 5)),
        ("2026-11-10T03:04:05+05:30", "offset", utc(2026, 11, 9, 21, 34, 5)),
        ("2026-11-10T03:04:05.1234567Z", "offset", utc(2026, 11, 10, 3, 4, 5) + 123456),
        ("2026-11-10T03:04:05.5", "gmt", utc(2026, 11, 10, 3, 4, 5) + 500000),
        ("11/10/2026 3:04:05 AM", "local", utc(2026, 11, 10, 9, 4, 5)),
        ("11/10/2026 12:04:05 AM", "gmt", utc(2026, 11, 10, 0, 4, 5)),
        ("11/10/2026 12:04:05 PM", "gmt", utc(2026, 11, 10, 12, 4, 5)),
        ("1/2/2026 11:59:59 pm", "gmt", utc(2026, 1, 2, 23, 59, 59)),
        ("1/2/2026 11:59:59\u202fPM", "gmt", utc(2026, 1, 2, 23, 59, 59)),
        ("2024-02-29T00:00:00Z", "offset", utc(2024, 2, 29)),
        ("0001-01-01T00:00:00", "local", None),
        ("1/1/0001 12:00:00 AM", "local", None),
    ],
)
def test_times_are_read_as_the_map_says(text: str, read: str, expected: int | None) -> None:
    assert value(text, read) == expected


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-11-10T03:04:05", "offset"), ("11/10/2026 3:04:05 AM", "offset"), ("2026-11-10", "gmt"),
        ("2026-11-10 03:04:05", "gmt"), ("2026-02-29T00:00:00Z", "gmt"), ("2026-11-10T24:00:00Z", "gmt"),
        ("2026-11-10T23:59:60Z", "gmt"), ("13/10/2026 3:04:05 AM", "gmt"), ("11/10/2026 13:04:05 PM", "gmt"),
        ("11/10/2026 0:04:05 AM", "gmt"), ("11/10/2026 3:04:05", "gmt"), ("11/10/26 3:04:05 AM", "gmt"),
        ("2026-11-10T03:04:05+15:00", "offset"), ("2026-11-10T03:04:05+05:99x", "offset"), ("1794344645", "gmt"),
        ("9999-12-31T23:59:59-14:00", "offset"), ("2026-11-10T03:04:05z", "offset"), ("yesterday", "local"),
        ("2026-03-08T02:30:00", "local"), ("2026-11-01T01:30:00", "local"), ("11/1/2026 1:30:00 AM", "local"),
    ],
)  # fmt: skip
def test_a_time_that_may_mean_two_things_or_none_is_refused(text: str, read: str) -> None:
    with pytest.raises(Unreadable) as caught:
        value(text, read)
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "truth"),
    [("True", True), ("true", True), ("1", True), ("Y", True), ("y", True), ("False", False), ("0", False), ("N", False)],
)  # fmt: skip
def test_truths(text: str, truth: bool) -> None:
    assert value(text, "bool") is truth


@pytest.mark.parametrize("text", ["yes", "2", "-1", "T", "on", "null", " true", "approved"])
def test_no_truths(text: str) -> None:
    with pytest.raises(Unreadable):
        value(text, "bool")


@pytest.mark.parametrize("text", ["0007", "00-12 b", "Ä-1", "-5", "1" * 64])
def test_numbers_of_accounts_stay_as_they_are(text: str) -> None:
    assert value(text, "reference") == text


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1", "@x", " 7", "../7", "a/b", "a\\b", "'7", "<7>", "7\x00", "7\u202e", "1" * 65, "7\n", "\ud800",
        "a\u200bb", ".7",
    ],
)  # fmt: skip
def test_numbers_that_do_harm_later_are_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        value(text, "reference")


def test_text_of_two_lines_is_one_text_and_control_characters_are_none() -> None:
    assert value(" 1 Main St\r\n  Apt 2\t", "text") == "1 Main St Apt 2"
    assert value(" \n ", "text") is None
    for text in ("a\x00b", "a\x1bb", "a\x85b", "a\ud800b"):
        with pytest.raises(Unreadable):
            value(text, "text")
    with pytest.raises(Unreadable):
        value("x" * 11, "text", max=10)


def test_guids_are_lower_case_and_an_unset_one_is_none() -> None:
    assert value("AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE", "guid") == "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    assert value("00000000-0000-0000-0000-000000000000", "guid") is None
    for text in ("{AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE}", "AAAAAAAABBBBCCCCDDDDEEEEEEEEEEEE", "x"):
        with pytest.raises(Unreadable):
            value(text, "guid")


@given(
    st.text(max_size=40),
    st.sampled_from(["guid", "reference", "text", "money", "bool", "gmt", "offset", "local"]),
)
def test_any_text_is_a_value_or_unreadable(text: str, read: str) -> None:
    try:
        read_as = value(text, read)
    except Unreadable as error:
        read_as, words = None, str(error)
    else:
        words = ""
    assert read_as is None or isinstance(read_as, str | int)
    assert len(text) < 12 or text not in words


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)))
def test_microseconds_are_exact(at: datetime) -> None:
    at = at.replace(tzinfo=UTC)
    assert moment(microseconds(at)) == at
    assert value(at.isoformat(timespec="microseconds"), "offset") == microseconds(at)


def test_dates_of_the_two_halves_of_the_year_differ_by_an_hour() -> None:
    summer, winter = value("2026-07-01T00:00:00", "local"), value("2026-12-01T00:00:00", "local")
    assert timedelta(microseconds=winter - summer) == timedelta(days=153, hours=1)
