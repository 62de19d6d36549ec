"""Which windows a pull asks for: [watermark − overlap, now − lag), cut to the feed's longest window.

Half-open, aware UTC. A feed with clock = "date" asks for whole days of the biller's calendar, given as
midnight Z; its last day is the biller's tomorrow, so that today's batches are in.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from tasks.errors import SettingsError
from tasks.invoicecloud.catalogue import FeedSpec

Window = tuple[datetime | None, datetime | None]


def windows(
    feed: FeedSpec,
    watermark: datetime | None,
    as_of: datetime,
    zone: ZoneInfo,
    *,
    window_from: datetime | None = None,
    window_to: datetime | None = None,
) -> list[Window]:
    """The windows of one pull, oldest first. A full snapshot has one window without ends.

    Raises SettingsError if the asked window is empty, turned round, or has no time zone.
    """
    if feed.kind == "snapshot":
        return [(None, None)]
    for name, value in (("--from", window_from), ("--to", window_to)):
        if value is not None and value.tzinfo is None:
            raise SettingsError(f"{name} needs a time zone, for example 2026-11-01T00:00:00Z")
    start = window_from or (watermark - feed.overlap if watermark else as_of - feed.initial)
    end = window_to or as_of - feed.lag
    if feed.clock == "date":
        start = _midnight(start if window_from else start.astimezone(zone), 0)
        end = _midnight(end, 0) if window_to else _midnight(end.astimezone(zone), 1)
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if start >= end:
        raise SettingsError(
            f"the window is empty: {start:%Y-%m-%dT%H:%M:%SZ} is not before {end:%Y-%m-%dT%H:%M:%SZ}"
        )
    return list(pairwise(_cuts(start, end, feed.max_window)))


def _midnight(moment: datetime, days: int) -> datetime:
    return datetime.combine(moment.date() + timedelta(days=days), time(), tzinfo=UTC)


def _cuts(start: datetime, end: datetime, longest: timedelta) -> list[datetime]:
    cuts = [start]
    while cuts[-1] + longest < end:
        cuts.append(cuts[-1] + longest)
    return [*cuts, end]
