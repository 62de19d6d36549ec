"""Judges a well-formed answer that may still lie: too little, too old, or the same as before.

A suspect window stages what it has (true rows do no harm) but advances no watermark, lets no row be
called missing, and raises one alert. Rules: domain.md B37; reliability.md 2a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tasks.archive import Poll
from tasks.invoicecloud.catalogue import FeedSpec
from tasks.staging import polls
from tasks.staging.merge import Target
from tasks.staging.query import Connection, from_us, scalar

_HISTORY = 3
FLOOR_ROWS = 50


@dataclass(frozen=True)
class Case:
    """What is judged. `rows`: contract columns of all rows of the answer, null where a value was unreadable."""

    connection: Connection
    feed: FeedSpec
    target: Target
    poll: Poll
    rows: pl.DataFrame

    @property
    def rows_in(self) -> int:
        """All rows of the answer."""
        return self.rows.height


@dataclass(frozen=True)
class Suspicion:
    """Why an answer is not believed."""

    reason: str
    message: str


def judge(case: Case) -> Suspicion | None:
    """The first rule that the answer breaks, or None."""
    rules = (_shrunk, _empty, _repeated, _rows_gone, _below_floor)
    return next((found for rule in rules if (found := rule(case))), None)


def _shrunk(case: Case) -> Suspicion | None:
    """A list of customers that lost most of its rows overnight is a half answer, not an exodus."""
    history = polls.ok_row_counts(case.connection, case.feed.name)
    if case.feed.kind != "snapshot" or not history or not case.rows_in:
        return None
    if case.rows_in >= case.feed.shrink_limit * history[0]:
        return None
    return Suspicion("shrunk", f"{case.rows_in} rows, the last complete list had {history[0]}")


def _empty(case: Case) -> Suspicion | None:
    """An empty report where there was never an empty one."""
    if case.rows_in or case.feed.empty == "allowed":
        return None
    history: Sequence[int] = polls.ok_row_counts(case.connection, case.feed.name)
    enough = 1 if case.feed.kind == "snapshot" else _HISTORY
    if len(history) < enough or min(history) == 0:
        return None
    return Suspicion("empty_unexpected", f"the report is empty; none of the last {len(history)} was")


def _repeated(case: Case) -> Suspicion | None:
    """The same bytes for another window are honest only if all rows lie in both windows."""
    feed, poll = case.feed, case.poll
    if feed.kind != "window" or not case.rows_in or poll.window_from is None or poll.window_to is None:
        return None
    earlier: Any = polls.earlier_same_bytes(case.connection, poll)
    if earlier is None:
        return None
    start, end = max(poll.window_from, earlier["window_from"]), min(poll.window_to, earlier["window_to"])
    moments = case.rows[feed.watermark_column].drop_nulls()
    if feed.clock == "date":
        moments = moments.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if moments.is_between(start, end, closed="left").all():
        return None
    return Suspicion(
        "repeated_bytes", f"the same bytes as poll {earlier['poll_id']}, which asked for another window"
    )


def _rows_gone(case: Case) -> Suspicion | None:
    """Rows known from before that lie in this window must be in the answer again (overlap)."""
    feed, poll, target = case.feed, case.poll, case.target
    if feed.kind != "window" or poll.window_from is None or poll.window_to is None:
        return None
    case.connection.register("answer", case.rows.select(target.key))
    same = " AND ".join(f'a."{name}" IS NOT DISTINCT FROM c."{name}"' for name in target.key)
    bound = "TIMESTAMPTZ" if feed.clock == "utc" else "DATE"
    missing = scalar(
        case.connection,
        f"""SELECT count(*) FROM {target.versions} c
            WHERE c.is_current AND c.present
              AND c."{feed.watermark_column}" >= $1::{bound} AND c."{feed.watermark_column}" < $2::{bound}
              AND NOT EXISTS (SELECT 1 FROM answer a WHERE {same})""",
        [_bound(feed, poll.window_from), _bound(feed, poll.window_to)],
    )
    case.connection.unregister("answer")
    if not missing:
        return None
    return Suspicion("rows_gone", f"{missing} rows seen before in this window are missing from the answer")


def _below_floor(case: Case) -> Suspicion | None:
    """Far fewer rows than on the same weekdays of the four weeks before (domain.md B37).

    Only whole days of the window count, only if those four weeks are covered, and only where at least
    FLOOR_ROWS rows are expected: small numbers vary by themselves.
    """
    feed, poll = case.feed, case.poll
    if feed.kind != "window" or not feed.floor or poll.window_from is None or poll.window_to is None:
        return None
    if not _covered(case, poll.window_from):
        return None
    day = f'CAST("{feed.watermark_column}" AS DATE)'
    case.connection.register("answer", case.rows.select(feed.watermark_column))
    expected, came = case.connection.execute(
        f"""WITH days AS (
                SELECT unnest(generate_series(CAST($1::TIMESTAMPTZ + INTERVAL 1 DAY - INTERVAL 1 MICROSECOND AS DATE),
                                              CAST($2::TIMESTAMPTZ AS DATE) - 1, INTERVAL 1 DAY))::DATE AS day),
            before AS (
                SELECT d.day, d.day - CAST(7 * w.week AS INTEGER) AS earlier FROM days d, range(1, 5) w(week)),
            counted AS (
                SELECT {day} AS day, count(*) AS rows FROM {case.target.versions}
                WHERE is_current AND present AND {day} IN (SELECT earlier FROM before) GROUP BY 1),
            usual AS (
                SELECT b.day, median(coalesce(c.rows, 0)) AS rows FROM before b LEFT JOIN counted c ON c.day = b.earlier
                GROUP BY 1)
            SELECT (SELECT coalesce(sum(rows), 0) FROM usual),
                   (SELECT count(*) FROM answer WHERE {day} IN (SELECT day FROM days))""",
        [poll.window_from, poll.window_to],
    ).fetchall()[0]
    case.connection.unregister("answer")
    if expected < FLOOR_ROWS or came >= feed.floor * expected:
        return None
    return Suspicion("below_floor", f"{came} rows, about {expected:.0f} are usual on such days")


def _covered(case: Case, start: datetime) -> bool:
    """True if good windows of this feed reach back four weeks before `start`."""
    earliest = scalar(
        case.connection,
        "SELECT epoch_us(min(window_from)) FROM poll.runs WHERE feed = $1 AND status = 'ok'",
        [case.feed.name],
    )
    return earliest is not None and from_us(earliest) <= start - timedelta(days=28)


def _bound(feed: FeedSpec, instant: Any) -> Any:
    return instant if feed.clock == "utc" else instant.date()
