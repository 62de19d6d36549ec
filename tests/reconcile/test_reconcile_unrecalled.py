"""B28: an invoice that is dead in IMT and can still be paid at InvoiceCloud."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest


@pytest.fixture
def dead(world: Any, moment: Any) -> Any:
    """INV-1 was billed on the 1st at 80.00 and replaced by INV-2 on the 5th."""
    w = world()
    w.invoice("INV-1", "SUPERSEDED", moment(5), successor="INV-2")
    w.record("INV-1", at=moment(1))
    return w


def test_no_recall_was_sent(dead: Any) -> None:
    assert dead.found() == [("B28", "INV-1", Decimal("80.00"))]
    assert dead.told("B28") == (
        "Invoice INV-1 (account …5678) is replaced by INV-2 in IMT since 2026-10-05 10:00 and can still be paid at "
        "InvoiceCloud, 80.00 USD: no recall was accepted by 2026-10-05 12:10."
    )


def test_a_recall_was_sent_but_ic_still_asks(dead: Any, moment: Any) -> None:
    dead.record("INV-1", "R", moment(5, 16))
    dead.look("INV-1", moment(6), balance_due="79.99")
    assert dead.found() == [("B28", "INV-1", Decimal("79.99"))]
    sentence = dead.told("B28")
    assert sentence.endswith("R of file F2 was accepted, but the look of 2026-10-06 10:00 still found it.")
    evidence = json.loads(dead.run().breaks["evidence"][0])
    assert evidence["look"]["found"] is True
    assert evidence["record"]["record_type"] == "R"


@pytest.mark.parametrize("kind", ["R", "D"])
@pytest.mark.parametrize(
    "look",
    [
        None,
        {"found": False, "balance_due": None},
        {"balance_due": "0.00"},
        {"balance_due": None},
        {"found": None, "balance_due": "80.00"},
    ],
)
def test_a_recall_was_sent_and_the_look_is_fine(dead: Any, moment: Any, kind: str, look: Any) -> None:
    dead.record("INV-1", kind, moment(5, 16))
    if look is not None:
        dead.look("INV-1", moment(6), **look)
    assert dead.found() == []


def test_the_last_look_counts_and_none_from_before_the_recall(dead: Any, moment: Any) -> None:
    dead.look("INV-1", moment(5, 16))  # before it was accepted
    dead.record("INV-1", "R", moment(5, 16))
    assert dead.found() == []
    dead.look("INV-1", moment(7), found=False, balance_due=None)
    dead.look("INV-1", moment(6))
    assert dead.found() == []
    dead.look("INV-1", moment(8), found=None, balance_due=None)  # no clear answer takes nothing back
    assert dead.found() == []
    dead.look("INV-1", moment(9), balance_due="0.01")
    assert dead.found() == [("B28", "INV-1", Decimal("0.01"))]


@pytest.mark.parametrize(("seconds", "found"), [(-1, False), (0, False), (1, True)])
def test_grace(dead: Any, moment: Any, seconds: int, found: bool) -> None:
    dead.as_of = moment(5, 17, 10) + timedelta(seconds=seconds)
    assert bool(dead.found()) is found


@pytest.mark.parametrize("status", ["OPEN", "PAID"])
def test_a_live_invoice_is_no_unrecalled_one(world: Any, moment: Any, status: str) -> None:
    w = world()
    w.invoice("INV-1", status)
    w.record("INV-1", at=moment(1))
    assert w.found() == []


def test_what_ic_never_had_needs_no_recall(world: Any, moment: Any) -> None:
    w = world()
    w.invoice("INV-1", "CANCELLED", moment(5))
    w.record("INV-1", state="rejected", at=moment(6))
    w.record("INV-1", state="in_file", file_state="composed")
    assert "B28" not in [code for code, _, _ in w.found()]


def test_known_by_the_list_of_open_invoices(world: Any, moment: Any) -> None:
    w = world()
    w.invoice("INV\u20131", "CANCELLED", moment(5))
    w.add("open_at_ic", invoice_number=" inv-1 ", account_number="0012345678", balance_due="55.50")
    assert w.found() == [("B28", "INV–1", Decimal("55.50"))]
    assert "is cancelled in IMT" in w.told("B28")
    w.record("INV–1", "D", moment(6))
    assert w.found() == []


def test_a_bill_sent_anew_after_its_recall_is_payable_again(dead: Any, moment: Any) -> None:
    dead.record("INV-1", "R", moment(5, 16))
    dead.record("INV-1", "A", moment(6), balance_due="60.00")
    assert dead.found() == [("B28", "INV-1", Decimal("60.00"))]


def test_balance_is_the_newest_that_is_known(dead: Any, moment: Any) -> None:
    dead.look("INV-1", moment(1, 14), balance_due="99.00")  # older than the bill of 15:00
    assert dead.found() == [("B28", "INV-1", Decimal("80.00"))]
    dead.look("INV-1", moment(4), balance_due="30.00")
    assert dead.found() == [("B28", "INV-1", Decimal("30.00"))]
    dead.look("INV-1", moment(6), found=False, balance_due=None)
    assert dead.found() == [("B28", "INV-1", Decimal("0.00"))]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"state": "rejected", "reason": "Unknown number."}, "; its R was refused (Unknown number)."),
        ({"state": "in_file", "file_state": "unknown"}, "; its R is in file F2, which is unknown."),
    ],
)
def test_a_recall_on_its_way_is_said(dead: Any, moment: Any, record: Any, words: str) -> None:
    dead.record("INV-1", "R", moment(5, 16), **record)
    assert dead.told("B28").endswith(words)


def test_a_cancelled_invoice_after_an_older_recall_is_not_payable(world: Any, moment: Any) -> None:
    """Reissued (R accepted), later cancelled too: nothing can be paid, whatever D is on its way."""
    w = world()
    w.invoice("INV-1", "CANCELLED", moment(8))
    w.record("INV-1", at=moment(1))
    w.record("INV-1", "R", moment(5))
    assert w.found() == []
