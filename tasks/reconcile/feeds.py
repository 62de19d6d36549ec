"""What the polls prove: how far a feed is complete; which is late, has a gap, gave a suspect answer.

A verdict that something is missing is drawn only over a time that good answers cover without a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from tasks.reconcile.breaks import build
from tasks.reconcile.model import BREAKS, POLLS, TIME, ZERO, conform, empty
from tasks.reconcile.rules import Rules

# Files from IMT have no polls of their own unless the caller passes some: then they guard as feeds do.
_UNGUARDED_WITHOUT_POLLS = "postings"
_ALWAYS = datetime(9999, 1, 1, tzinfo=UTC)


class Coverage:
    """Stretches of time, per feed, that good answers cover without a gap. Bounds are UTC."""

    def __init__(self, polls: pl.DataFrame) -> None:
        self._feeds = frozenset(polls["feed"].to_list())
        self.stretches = _stretches(polls)
        self._own = {part["feed"][0]: part for part in self.stretches.partition_by("feed")}

    def complete_to(self, feed: str, moments: pl.Series) -> pl.Series:
        """Per moment: the end of the covered stretch that holds it; null where no good answer holds it."""
        if moments.is_empty():
            return pl.Series(dtype=TIME)
        if feed == _UNGUARDED_WITHOUT_POLLS and feed not in self._feeds:
            return pl.Series(values=[_ALWAYS], dtype=TIME).new_from_index(0, len(moments))
        own = self._own.get(feed)
        if own is None:
            return pl.Series(values=[None], dtype=TIME).new_from_index(0, len(moments))
        # The first end, null, is that of a moment before all starts.
        ends = pl.concat([pl.Series([None], dtype=TIME), own["end"]])
        place = pl.lit(own["start"]).search_sorted(pl.col("at").fill_null(own["start"][0]), side="right")
        asked = moments.cast(TIME).to_frame("at").with_columns(to=pl.lit(ends).gather(place))
        return asked.select(pl.when(pl.col("to") >= pl.col("at")).then("to"))["to"]

    def covers(self, feed: str, start: pl.Series, end: pl.Series) -> pl.Series:
        """Per row: is [start, end] covered without a gap?"""
        if start.is_empty():
            return pl.Series(dtype=pl.Boolean)
        return (self.complete_to(feed, start) >= end).fill_null(False)


def _stretches(polls: pl.DataFrame) -> pl.DataFrame:
    """Good windows, merged where they touch or overlap: feed, start, end."""
    windows = (
        polls.filter(pl.col("status") == "ok")
        .select("feed", start="window_from", end=pl.coalesce("covered_to", "window_to"))
        .drop_nulls()
        .sort("feed", "start", "end")
    )
    reached = pl.col("end").cum_max().shift(1).over("feed")
    new = (pl.col("start") > reached).fill_null(False).cast(pl.Int64).cum_sum().over("feed")
    return (
        windows.with_columns(part=new)
        .group_by("feed", "part")
        .agg(pl.col("start").min(), pl.col("end").max())
        .sort("feed", "start")
        .select("feed", "start", "end")
    )


def feed_breaks(polls: pl.DataFrame, coverage: Coverage, rules: Rules, as_of: datetime) -> pl.DataFrame:
    """B36 (late, never polled, or a gap between good windows) and B37 (suspect answer not made good)."""
    polls = polls.filter(pl.col("feed").is_in(list(rules.feeds)))
    if polls.is_empty():
        return empty(BREAKS)
    late = _late(polls, rules, as_of).join(_gaps(coverage), on="subject", how="full", coalesce=True)
    stale = late.with_columns(
        detail=pl.concat_str("late", "gap", separator="; ", ignore_nulls=True),
        occurred_at=pl.coalesce("occurred_at", "gap_from"),
        **_NOBODY,
    ).filter(pl.col("subject").is_in(list(rules.feeds)) & (pl.col("detail") != ""))
    suspect = _suspect(polls).with_columns(due_at=pl.lit(None, TIME), **_NOBODY)
    return pl.concat(
        [
            build("B36", rules, stale, facts=("detail",), evidence={"feed": ["subject", "detail", "due_at"]}),
            build(
                "B37",
                rules,
                suspect,
                facts=("detail",),
                evidence={"poll": ["subject", "detail", "requested_at"]},
            ),
        ]
    )


def complete_feeds(polls: pl.DataFrame, rules: Rules, as_of: datetime) -> frozenset[str]:
    """Feeds that are neither late nor broken by a gap nor suspect: only their breaks may be closed."""
    polls = conform(polls, POLLS, "polls")
    found = feed_breaks(polls, Coverage(polls), rules, as_of)
    seen = set(polls["feed"].to_list()) & set(rules.feeds)
    return frozenset(seen - set(found["subject"].to_list()))


_NOBODY = {name: pl.lit(None, pl.String) for name in ("payment_guid", "account_number", "invoice_number")} | {
    "amount": ZERO
}


def _late(polls: pl.DataFrame, rules: Rules, as_of: datetime) -> pl.DataFrame:
    """subject, occurred_at (last good answer, else the first poll of any feed), due_at, late (text)."""
    hours = pl.DataFrame(
        {"subject": list(rules.feeds), "hours": [feed.interval_hours for feed in rules.feeds.values()]},
        schema={"subject": pl.String, "hours": pl.Float64},
    )
    good = (
        polls.filter(pl.col("status") == "ok")
        .group_by(subject="feed")
        .agg(last_ok=pl.col("finished_at").max())
    )
    allowed = pl.duration(seconds=pl.col("hours") * 3600 * rules.late_factor)
    since = pl.coalesce("last_ok", pl.lit(polls["requested_at"].min(), TIME))
    last = pl.col("last_ok").dt.strftime("%Y-%m-%d %H:%MZ")
    said = pl.format("last good answer {}, expected every {} h", last.fill_null("never"), pl.col("hours"))
    late = pl.col("last_ok").is_null() | (pl.lit(as_of, TIME) - pl.col("last_ok") > allowed)
    return hours.join(good, on="subject", how="left").select(
        "subject",
        occurred_at=pl.when(late).then(since),
        due_at=pl.when(late).then(since + allowed),
        late=pl.when(late).then(said),
    )


def _gaps(coverage: Coverage) -> pl.DataFrame:
    """subject, gap_from, gap (text): one row per feed whose good windows do not touch."""
    until = pl.col("start").shift(-1).over("feed")
    text = pl.format(
        "no good answer for {} to {}",
        pl.col("end").dt.strftime("%Y-%m-%d %H:%MZ"),
        until.dt.strftime("%Y-%m-%d %H:%MZ"),
    )
    return (
        coverage.stretches.with_columns(gap=text, until=until)
        .filter(pl.col("until").is_not_null())
        .group_by(subject="feed")
        .agg(gap_from=pl.col("end").min(), gap=pl.col("gap").sort_by("end").str.join("; "))
    )


def _suspect(polls: pl.DataFrame) -> pl.DataFrame:
    """Latest suspect poll per feed that no later good answer makes good: subject, occurred_at, detail."""
    suspect = polls.filter(pl.col("status") == "suspect").with_row_index("poll")
    if suspect.is_empty():
        return suspect.select(subject="feed", occurred_at="finished_at", detail="reason")
    good = polls.filter(pl.col("status") == "ok").select(
        "feed", ok_from="window_from", ok_to=pl.coalesce("covered_to", "window_to"), ok_at="requested_at"
    )
    later = suspect.join(good, on="feed").filter(pl.col("ok_at") >= pl.col("requested_at"))
    healed = _healed(later)
    order: Sequence[str] = ("requested_at", "finished_at", "reason")
    return (
        suspect.join(healed, on="poll", how="anti")
        .sort(order, nulls_last=False)
        .group_by(subject="feed")
        .agg(
            pl.col("requested_at").last(),
            occurred_at=pl.col("finished_at").last(),
            detail=pl.col("reason").last().fill_null("no reason given"),
        )
    )


def _healed(later: pl.DataFrame) -> pl.DataFrame:
    """Suspect polls whose window the later good answers cover together (full snapshots: any later one)."""
    merged = later.sort("poll", "ok_from", "ok_to").with_columns(
        reached=pl.col("ok_to").cum_max().shift(1).over("poll")
    )
    wanted_to = pl.coalesce("covered_to", "window_to")
    starts_in_time = pl.col("ok_from").first() <= pl.col("window_from").first()
    inside = (pl.col("ok_from") > pl.col("reached")) & (pl.col("reached") < wanted_to)
    no_hole = ~inside.fill_null(False).any()
    reaches = pl.col("ok_to").max() >= wanted_to.first()
    snapshot = pl.col("window_from").first().is_null()
    return (
        merged.group_by("poll")
        .agg(ok=snapshot | (starts_in_time & no_hole & reaches).fill_null(False))
        .filter("ok")
    )


def interval(rules: Rules, feed: str) -> timedelta:
    """One full window of a feed."""
    return timedelta(hours=rules.feeds[feed].interval_hours)
