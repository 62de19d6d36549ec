"""B25: an invoice that is owed in IMT and that InvoiceCloud does not have, and why."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.reconcile import advance


def b25(w: Any) -> list[tuple[str, Decimal]]:
    return [(subject, amount) for code, subject, amount in w.found() if code == "B25"]


def test_in_no_file_after_two_hours(world: Any) -> None:
    w = world()
    w.invoice()
    assert w.found() == [("B25", "INV-1", Decimal("80.00"))]
    row = w.run().breaks.row(0, named=True)
    assert row["sentence"] == (
        "Invoice INV-1 of 80.00 USD (account …5678) is not billed at InvoiceCloud, "
        "due there by 2026-10-05 12:10: no file holds it."
    )
    assert (row["severity"], row["name"], row["payment_guid"]) == ("MED", "unbilled item", None)
    assert json.loads(row["evidence"])["invoice"]["status"] == "OPEN"


@pytest.mark.parametrize(("seconds", "found"), [(-1, False), (0, False), (1, True)])
def test_grace_counts_from_when_imt_told(world: Any, moment: Any, seconds: int, found: bool) -> None:
    w = world(as_of=moment(5, 17, 10) + timedelta(seconds=seconds))
    w.invoice(at=moment(5), told_at=moment(5, 15, 10))
    assert bool(b25(w)) is found


def test_no_grace_is_at_once(world: Any, moment: Any) -> None:
    w = world(as_of=moment(5, 15, 10), codes={"B25": {"grace_hours": 0}})
    w.invoice(told_at=moment(5, 15, 10))
    assert b25(w) == [("INV-1", Decimal("80.00"))]


@pytest.mark.parametrize(
    "more",
    [
        {"status": "PAID"},
        {"status": "SUPERSEDED"},
        {"status": "CANCELLED"},
        {"balance_due": "0.00"},
        {"balance_due": "-5.00"},
    ],
)
def test_nothing_owed_nothing_to_bill(world: Any, more: Any) -> None:
    w = world()
    w.invoice(**more)
    assert w.found() == []


def test_one_cent_is_owed(world: Any) -> None:
    w = world()
    w.invoice(balance_due="0.01")
    assert b25(w) == [("INV-1", Decimal("0.01"))]


def test_an_accepted_record_bills_it_and_another_invoices_does_not(world: Any) -> None:
    w = world()
    w.invoice()
    w.record("INV-2")
    w.record("0INV-1")
    assert b25(w) == [("INV-1", Decimal("80.00"))]
    w.record("INV-1")
    assert b25(w) == []


def test_numbers_keep_zeros_and_letters(world: Any) -> None:
    w = world()
    for number in ("007", "7", "Ä–1"):
        w.invoice(number)
    w.record("7")
    assert b25(w) == [("007", Decimal("80.00")), ("Ä–1", Decimal("80.00"))]


def test_a_later_change_on_its_way_leaves_it_billed(world: Any, moment: Any) -> None:
    w = world()
    w.invoice()
    w.record(at=moment(1))
    w.record(at=moment(6), state="in_file", file_state="composed")
    assert w.found() == []


def test_billed_again_after_a_recall(world: Any, moment: Any) -> None:
    """A, then R, and IMT has it live again: the old A does not bill it."""
    w = world()
    w.invoice()
    w.record(at=moment(1))
    w.record(kind="R", at=moment(2))
    assert w.told("B25").endswith("recalled by R and not billed again.")
    w.record(at=moment(6))
    assert w.found() == []


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"state": "in_file", "file_state": "undecided"}, "its A is in file F1, which is undecided."),
        ({"state": "in_file", "file_state": "dropped"}, "its A is in file F1, which is dropped."),
        ({"state": "withheld", "file_state": None}, "a person withheld it."),
        ({"state": "resent", "file_state": "accepted"}, "no file holds it."),
        (
            {"state": "refused", "file_state": "dropped", "reason": None},
            "its A was refused (no reason given).",
        ),
    ],
)
def test_the_sentence_says_where_it_is(world: Any, record: Any, words: str) -> None:
    w = world()
    w.invoice()
    w.record(**record)
    assert w.told("B25").endswith(words)


def test_held_by_the_outbox_is_said(world: Any, moment: Any) -> None:
    w = world()
    w.invoice()
    w.add("held", event_id="E1", invoice_number="INV-1", reason="image_missing", held_at=moment(5, 16))
    assert w.told("B25").endswith(": held back (image missing).")
    evidence = json.loads(w.run().breaks["evidence"][0])
    assert evidence["held"]["event_id"] == "E1"


def test_a_run_stopped_by_a_guard_is_said(world: Any, moment: Any) -> None:
    w = world()
    w.invoice()
    w.add(
        "guards", found_at=moment(6), guard="delete_share", record_type="D", invoice_number="*", sentence="S."
    )
    assert "stopped before anything was sent (B29)" in w.told("B25")


@pytest.mark.parametrize(
    "record",
    [{"state": "rejected"}, {"state": "refused", "file_state": "refused"}],
)
def test_what_ic_refused_is_told_as_b26(world: Any, record: Any) -> None:
    w = world()
    w.invoice()
    w.record(**record)
    assert b25(w) == []


def test_opens_closes_and_opens_again(world: Any, moment: Any) -> None:
    w = world()
    w.invoice()
    none = pl.DataFrame()
    breaks, events = advance(none, w.run().breaks, moment(6), "r1", complete_feeds=(), rules=w.rules)
    assert events["kind"].to_list() == ["opened"]
    w.record()
    breaks, events = advance(breaks, w.run().breaks, moment(7), "r2", complete_feeds=(), rules=w.rules)
    assert events["kind"].to_list() == ["closed"]  # without any complete feed: its class has no guard
    w.rows["records"].clear()
    breaks, events = advance(breaks, w.run().breaks, moment(8), "r3", complete_feeds=(), rules=w.rules)
    assert (events["kind"].to_list(), breaks["reopened_count"].to_list()) == (["reopened"], [1])


def test_where_no_file_was_ever_composed_nobody_is_told_of_each_bill(world: Any) -> None:
    w = world()
    w.invoice()
    w.sends = False
    assert w.found() == []
