"""Polls: coverage, late feeds and gaps (B36), suspect answers (B37), and which feeds count as complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from tasks.reconcile import complete_feeds
from tasks.reconcile.feeds import Coverage

FEEDS = {"payments", "settlements", "ach_rejects", "autopay", "paperless"}


def fresh(w: Any, *except_: str) -> None:
    """A good poll of every feed, up to now."""
    for feed in FEEDS - set(except_):
        windowed = feed not in ("autopay", "paperless")
        w.poll(feed, w.as_of - timedelta(days=60) if windowed else None, w.as_of if windowed else None)


def stale(w: Any) -> list[tuple[str, str]]:
    return [(code, subject) for code, subject, _ in w.found()]


def whole(w: Any) -> frozenset[str]:
    return complete_feeds(w.inputs().polls, w.rules, w.as_of)


def test_fresh_feeds_raise_nothing_and_are_complete(world: Any) -> None:
    w = world()
    fresh(w)
    assert stale(w) == []
    assert whole(w) == FEEDS


def test_no_poll_at_all_says_nothing_and_proves_nothing(world: Any) -> None:
    w = world()
    w.polled = False
    w.settled(9)
    w.posting(8)
    w.returned(7)
    assert w.found() == []
    assert whole(w) == frozenset()


def test_b36_after_two_intervals(world: Any) -> None:
    for minutes, expected in ((0, []), (1, [("B36", "payments")])):
        w = world()
        fresh(w, "payments")
        w.poll(
            "payments",
            w.as_of - timedelta(days=60),
            w.as_of,
            at=w.as_of - timedelta(hours=4, minutes=minutes),
        )
        assert stale(w) == expected
    row = w.run().breaks.row(0, named=True)
    assert "last good answer 2026-10-30 18:59Z, expected every 2.0 h" in row["sentence"]


def test_b36_failed_and_suspect_polls_do_not_keep_a_feed_fresh(world: Any) -> None:
    w = world()
    fresh(w, "ach_rejects")
    w.poll("ach_rejects", w.as_of - timedelta(days=60), w.as_of, at=w.as_of - timedelta(hours=7))
    w.poll("ach_rejects", w.as_of - timedelta(days=1), w.as_of, "failed")
    assert stale(w) == [("B36", "ach_rejects")]


def test_b36_never_polled_once_any_feed_was(world: Any) -> None:
    w = world()
    fresh(w, "autopay", "settlements")
    assert stale(w) == [("B36", "autopay"), ("B36", "settlements")]
    assert whole(w) == FEEDS - {"autopay", "settlements"}
    assert w.run().breaks["occurred_at"].null_count() == 0


def test_b36_gap_between_good_windows_until_it_is_filled(world: Any, moment: Any) -> None:
    w = world()
    fresh(w, "settlements")
    w.poll("settlements", moment(1), moment(8))
    w.poll("settlements", moment(8, 15, 1), w.as_of)
    assert stale(w) == [("B36", "settlements")]
    assert "no good answer for 2026-10-08 15:00Z to 2026-10-08 15:01Z" in w.run().breaks["sentence"][0]
    w.poll("settlements", moment(8, 14), moment(8, 16), at=w.as_of)
    assert stale(w) == []


def test_windows_that_touch_or_overlap_or_enclose_are_no_gap(world: Any, moment: Any) -> None:
    w = world()
    fresh(w, "payments")
    for start, end in ((1, 20), (3, 5), (20, 25), (24, 30)):
        w.poll("payments", moment(start), w.as_of if end == 30 else moment(end), at=w.as_of)
    assert stale(w) == []


def test_covered_to_wins_over_the_window_that_was_asked_for(world: Any, moment: Any) -> None:
    w = world()
    fresh(w, "payments")
    w.poll("payments", moment(1), moment(8), covered_to=moment(7))
    w.poll("payments", moment(7, 16), w.as_of)
    assert stale(w) == [("B36", "payments")]


def test_b37_until_a_later_good_answer_covers_the_window(world: Any) -> None:
    w = world()
    fresh(w)
    start, end = w.as_of - timedelta(hours=6), w.as_of - timedelta(hours=1)
    w.poll("payments", start, end, "suspect", reason="truncated")
    assert stale(w) == []
    assert whole(w) == FEEDS
    w.rows["polls"][-1] |= {
        "requested_at": w.as_of + timedelta(minutes=1),
        "finished_at": w.as_of + timedelta(minutes=1),
    }
    assert stale(w) == [("B37", "payments")]
    assert whole(w) == FEEDS - {"payments"}
    assert "truncated" in w.run().breaks["sentence"][0]


def test_b37_two_later_answers_together_or_one_with_a_hole(world: Any) -> None:
    for hole, expected in ((0, []), (1, [("B37", "payments")])):
        w = world()
        now = w.as_of
        fresh(w, "payments")
        w.poll("payments", now - timedelta(days=60), now, at=now - timedelta(hours=3))
        w.poll("payments", now - timedelta(hours=6), now, "suspect", at=now - timedelta(hours=2))
        w.poll("payments", now - timedelta(hours=7), now - timedelta(hours=3), at=now)
        w.poll("payments", now - timedelta(hours=3) + timedelta(minutes=hole), now, at=now)
        assert stale(w) == expected


def test_b37_a_full_snapshot_is_healed_by_the_next_good_one(world: Any) -> None:
    w = world()
    fresh(w)
    w.poll("autopay", None, None, "suspect", at=w.as_of + timedelta(minutes=1), reason="empty_unexpected")
    assert stale(w) == [("B37", "autopay")]
    w.poll("autopay", None, None, at=w.as_of + timedelta(minutes=2))
    assert stale(w) == []


def test_coverage_answers_per_moment(world: Any, moment: Any) -> None:
    w = world()
    w.poll("payments", moment(3), moment(5))
    w.poll("payments", moment(7), moment(9))
    coverage = Coverage(w.inputs().polls)
    asked = pl.Series([moment(2), moment(3), moment(4), moment(5), moment(6), moment(8), moment(10), None])
    ends = coverage.complete_to("payments", asked).to_list()
    assert ends == [None, moment(5), moment(5), moment(5), None, moment(9), None, None]
    assert coverage.complete_to("settlements", asked).null_count() == len(asked)
    # Files from IMT guard only where polls of them are given.
    assert (coverage.complete_to("postings", asked) > datetime(9000, 1, 1, tzinfo=UTC)).all()
    assert coverage.covers("payments", asked, asked).to_list() == [
        False,
        True,
        True,
        True,
        False,
        True,
        False,
        False,
    ]
