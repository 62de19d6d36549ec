"""Breaks over runs: stable ids, opened, changed, closed, re-opened; events only ever added."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.reconcile import BREAKS, EVENTS, HISTORY, BankingCalendar, advance, empty, load_rules
from tasks.reconcile.breaks import break_id

CALENDAR = BankingCalendar()
RULES = load_rules({"zone": "America/Chicago"})


def at(day: int) -> datetime:
    return datetime(2026, 10, day, 15, tzinfo=UTC)


def found(*breaks: tuple[str, str, str], severity: str = "HIGH") -> pl.DataFrame:
    rows = [
        {
            "break_id": break_id(code, subject),
            "code": code,
            "name": "n",
            "severity": severity,
            "subject": subject,
        }
        | {"amount": Decimal(amount), "occurred_at": at(1), "sentence": "s", "evidence": "{}"}
        for code, subject, amount in breaks
    ]
    return pl.DataFrame(rows, schema=dict(BREAKS)) if rows else empty(BREAKS)


def step(before: pl.DataFrame, now: pl.DataFrame, day: int, **more: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    return advance(before, now, at(day), f"run-{day}", rules=RULES, calendar=CALENDAR, **more)


def test_the_id_depends_on_class_and_subject_alone() -> None:
    assert break_id("B01", "x") == "a56e896347f4652c"
    assert break_id("B01", "x") != break_id("B02", "x") != break_id("B02", "y")


def test_a_life(world: Any) -> None:
    first, opened = step(pl.DataFrame(), found(("B05", "a", "1.00"), ("B01", "b", "5.00")), 5)
    assert opened["kind"].to_list() == ["opened", "opened"]
    assert opened["run_id"].unique().to_list() == ["run-5"]
    second, changed = step(first, found(("B05", "a", "2.00")), 6)
    assert sorted(changed.select("kind", "from_amount", "to_amount").rows()) == [
        ("changed", Decimal("1.00"), Decimal("2.00")),
        ("closed", Decimal("5.00"), None),
    ]
    third, back = step(second, found(("B05", "a", "2.00"), ("B01", "b", "5.00")), 13)
    assert back["kind"].to_list() == ["reopened"]
    row = third.row(by_predicate=pl.col("subject") == "b", named=True)
    assert (row["state"], row["reopened_count"], row["opened_at"], row["closed_at"]) == (
        "open",
        1,
        at(5),
        None,
    )
    assert row["age"] == 5  # banking days from the 5th to the 13th, the 12th being a holiday
    assert third.height == 2


def test_a_closed_break_stops_ageing() -> None:
    first, _ = step(pl.DataFrame(), found(("B01", "b", "5.00")), 5)
    closed, _ = step(first, found(), 7)
    later, events = step(closed, found(), 30)
    assert events.is_empty()
    assert later.select("state", "age", "closed_at", "last_seen_at").row(0) == ("closed", 2, at(7), at(5))


def test_no_auto_close_while_a_feed_of_the_class_is_incomplete() -> None:
    first, _ = step(
        pl.DataFrame(), found(("B10", "a", "1.00"), ("B12", "b", "1.00"), ("B36", "payments", "0.00")), 5
    )
    after, events = step(first, found(), 6, complete_feeds={"settlements"})
    states = dict(after.select("code", "state").rows())
    assert states == {"B10": "open", "B12": "closed", "B36": "closed"}  # B10 needs payments too
    assert events.height == 2
    after, _ = step(after, found(), 7, complete_feeds={"settlements", "payments"})
    assert after["state"].unique().to_list() == ["closed"]


def test_a_new_severity_is_a_change() -> None:
    first, _ = step(pl.DataFrame(), found(("B01", "a", "1.00"), severity="MED"), 5)
    after, events = step(first, found(("B01", "a", "1.00")), 6)
    assert events["note"].to_list() == ["severity MED to HIGH"]
    assert after["severity"].to_list() == ["HIGH"]


def test_columns_that_others_added_are_carried_on() -> None:
    first, _ = step(pl.DataFrame(), found(("B01", "a", "1.00")), 5)
    owned = first.with_columns(owner=pl.lit("kim"))
    after, _ = step(owned, found(("B01", "a", "1.00"), ("B01", "z", "1.00")), 6)
    assert dict(after.select("subject", "owner").rows()) == {"a": "kim", "z": None}


def test_empty_frames() -> None:
    for nothing in (pl.DataFrame(), empty(HISTORY)):
        breaks, events = step(nothing, empty(BREAKS), 5)
        assert breaks.schema == empty(HISTORY).schema
        assert events.schema == empty(EVENTS).schema
        assert breaks.is_empty()
        assert events.is_empty()


_SETS = st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1.00", "2.00"])), min_size=1, max_size=6
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(runs=_SETS)
def test_history_over_any_runs(runs: list[dict[str, str]]) -> None:
    """Re-running changes nothing; events add up to the state; a break keeps its row and opening for ever."""
    breaks, log = pl.DataFrame(), empty(EVENTS)
    for day, present in enumerate(runs, start=1):
        now = found(*(("B01", subject, amount) for subject, amount in present.items()))
        before = breaks
        breaks, events = step(breaks, now, day)
        again, none = step(breaks, now, day)
        assert again.equals(breaks)
        assert none.is_empty()
        log = pl.concat([log, events])
        assert set(breaks.filter(pl.col("state") == "open")["subject"]) == set(present)
        if before.height:
            kept = before.join(breaks, on="break_id", suffix="_now")
            assert kept.height == before.height
            assert (kept["opened_at"] == kept["opened_at_now"]).all()
    last = log.group_by("break_id", maintain_order=True).agg(
        pl.col("kind").last(), (pl.col("kind") == "opened").sum().alias("n")
    )
    told = breaks.join(last, on="break_id")
    assert told.height == breaks.height
    assert (told["n"] == 1).all()
    assert ((told["state"] == "closed") == (told["kind"] == "closed")).all()
    assert breaks["reopened_count"].sum() == (log["kind"] == "reopened").sum()
