"""One pushed field: text → value, as strictly as the feeds (tasks/reading.py). Nothing is rounded or guessed.

Here a value is read alone and not by the million: the push must be answered before the next one comes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from checks.contracts.base import GUID, REFERENCE
from tasks.inbound.fields import PushField

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# [0-9], not \d: Arabic and full-width digits are digits to a regular expression, not to a ledger.
_MONEY = re.compile(r"(-?)([0-9]{1,16})(?:\.([0-9]{1,2}))?")
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
# .NET's en-US; newer ones put a narrow space before AM.
_ENGLISH = re.compile(
    r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}) ([0-9]{1,2}):([0-9]{2}):([0-9]{2})[ \u202f]([AP]M)", re.I
)
_GUID, _REFERENCE = re.compile(GUID), re.compile(REFERENCE)
_NO_GUID = "00000000-0000-0000-0000-000000000000"  # .NET's unset one
_TRUTH = {"true": True, "1": True, "y": True, "false": False, "0": False, "n": False}
_LINES = re.compile(r"\s*[\r\n\t]\s*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # and halves of characters, which no disk takes
_MOST_OFFSET = timedelta(hours=14)


class Unreadable(ValueError):
    """Why a text is no value of its kind: words without the text."""


def microseconds(at: datetime) -> int:
    """Aware time → microseconds since 1970 in UTC, exactly."""
    return (at - EPOCH) // _MICROSECOND


def moment(at: int | None) -> datetime | None:
    """Microseconds since 1970 → aware UTC."""
    return None if at is None else EPOCH + timedelta(microseconds=at)


def read_value(text: str, field: PushField, zone: ZoneInfo) -> Any:
    """The value of one field (money: cents; time: microseconds since 1970, UTC), None for empty. Raises Unreadable."""
    if field.read in ("text", "code"):
        text = _LINES.sub(" ", text).strip()  # an address of two lines is one text, in each form
    if not text:
        return None
    if len(text) > field.max:
        raise Unreadable("is too long")
    if _CONTROL.search(text):
        raise Unreadable("has characters that are not allowed")
    match field.read:
        case "money":
            return _cents(text)
        case "bool":
            return _truth(text)
        case "guid":
            return _guid(text)
        case "reference":
            if not _REFERENCE.fullmatch(text):
                raise Unreadable("has a form that is not allowed")
            return text
        case "gmt" | "offset" | "local":
            return _time(text, field.read, zone)
        case _:
            return text


def _cents(text: str) -> int:
    found = _MONEY.fullmatch(text)
    if not found:
        raise Unreadable("is no amount with at most two decimals")
    cents = int(found[2]) * 100 + int((found[3] or "0").ljust(2, "0"))
    if found[1] and cents:
        raise Unreadable("is below the least that is allowed")
    return cents


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise Unreadable("is neither true nor false")
    return _TRUTH[text.lower()]


def _guid(text: str) -> str | None:
    if not _GUID.fullmatch(text):
        raise Unreadable("has a form that is not allowed")
    return None if text == _NO_GUID else text.lower()


def _time(text: str, read: str, zone: ZoneInfo) -> int | None:
    try:
        clock, offset = _iso(text) or _english(text) or (None, None)
        if clock is None:
            raise Unreadable("is no date and time")
        if clock.date() == datetime.min.date():  # .NET's unset date
            return None
        if read == "offset" and not offset:
            raise Unreadable("is no date and time with an offset")
        if read != "gmt":
            clock = clock.replace(tzinfo=_fixed(offset)) if offset else _in_zone(clock, zone)
        return microseconds(clock.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise error if isinstance(error, Unreadable) else Unreadable("is no date and time") from None


def _iso(text: str) -> tuple[datetime, str | None] | None:
    """The clock reading (labelled UTC for now) and the printed offset. What is finer than microseconds is cut."""
    found = _ISO.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction = int((found[7] or ".0")[1:7].ljust(6, "0"))
    return datetime(year, month, day, hour, minute, second, fraction, tzinfo=UTC), found[8]


def _english(text: str) -> tuple[datetime, str | None] | None:
    found = _ENGLISH.fullmatch(text)
    if not found:
        return None
    month, day, year, hour, minute, second = (int(part) for part in found.groups()[:6])
    if not 1 <= hour <= 12:
        raise Unreadable("is no date and time")
    hour = hour % 12 + 12 * (found[7].upper() == "PM")
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC), None


def _fixed(offset: str) -> timezone:
    if offset == "Z":
        return UTC
    shift = timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6]))
    if shift > _MOST_OFFSET:
        raise Unreadable("is no date and time")
    return timezone(-shift if offset[0] == "-" else shift)


def _in_zone(clock: datetime, zone: ZoneInfo) -> datetime:
    early, late = clock.replace(tzinfo=zone, fold=0), clock.replace(tzinfo=zone, fold=1)
    if early.utcoffset() != late.utcoffset():
        raise Unreadable("does not exist, or exists twice, in the biller's time zone")
    return early
