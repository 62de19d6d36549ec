"""The biller's calendar day of an instant, in SQL: offsets of the few spans that the instants fall into.

DuckDB's own timezone() asks the zone's rules for every row, which takes ten times as long.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_LONG = timedelta(days=20 * 365)  # a wrong date far off: not worth a look at each day in between


def local_day_sql(column: str, zone: str, first: datetime, last: datetime) -> str:
    """DATE of TIMESTAMPTZ `column`, whose values lie between `first` and `last` (aware), in an IANA zone."""
    place = ZoneInfo(zone)
    if last - first > _LONG:
        return f"timezone('{place.key}', {column})::DATE"
    changes = offset_changes(place, first.astimezone(UTC), last.astimezone(UTC))
    offset = _microseconds(changes[-1][1])
    if changes[:-1]:
        ends = pairwise(changes)
        whens = " ".join(
            f"WHEN {column} < TIMESTAMPTZ '{end:%Y-%m-%d %H:%M:%S}+00' THEN {_microseconds(before)}"
            for (_, before), (end, _) in ends
        )
        offset = f"CASE {whens} ELSE {offset} END"
    return f"make_timestamp(epoch_us({column}) + {offset})::DATE"


def offset_changes(place: ZoneInfo, first: datetime, last: datetime) -> list[tuple[datetime, timedelta]]:
    """From when on (UTC) which offset holds, beginning with `first`. Two changes within a day are not told apart."""
    found = [(first, _offset(place, first))]
    at = first
    while at < last:
        then = min(at + _DAY, last)
        if _offset(place, then) != found[-1][1]:
            found.append((_change(place, at, then), _offset(place, then)))
        at = then
    return found


def _change(place: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first whole second of the new offset."""
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        if _offset(place, middle) == _offset(place, before):
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def _offset(place: ZoneInfo, at: datetime) -> timedelta:
    offset = at.astimezone(place).utcoffset()
    return timedelta(0) if offset is None else offset


def _microseconds(offset: timedelta) -> str:
    return str(offset // timedelta(microseconds=1))
