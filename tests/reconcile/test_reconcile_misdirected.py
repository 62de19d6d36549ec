"""B30: payments of invoices that were dead by then, and postings on the invoices that replaced them."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.reconcile import advance


@pytest.fixture
def late(world: Any, moment: Any) -> Any:
    """INV-1 was replaced by INV-2 on the 4th; the payment of the 5th is posted and settled on INV-1."""
    w = world()
    replaced(w, "INV-1", "INV-2", moment(4))
    w.invoice("INV-2", "PAID")
    w.chain()
    return w


def replaced(w: Any, number: str, by: str | None, at: Any, **more: Any) -> None:
    w.invoice(number, "SUPERSEDED" if by else "CANCELLED", at, successor=by, **more)


def found(w: Any) -> list[str]:
    return [code for code, _, _ in w.found()]


def test_paid_on_a_replaced_invoice(late: Any, guid_of: Any) -> None:
    assert late.found() == [("B30", guid_of(1), Decimal("100.00"))]
    row = late.run().breaks.row(0, named=True)
    assert row["sentence"] == (
        f"Payment {guid_of(1)} of 100.00 USD on 2026-10-05 10:00 (account …5678) is for invoice INV-1, replaced by "
        "INV-2 in IMT since 2026-10-04 10:00; posted to INV-1; suggest: transfer to INV-2."
    )
    assert (row["severity"], row["payment_guid"], row["invoice_number"]) == ("MED", guid_of(1), "INV-1")
    evidence = json.loads(row["evidence"])
    assert evidence["invoice"]["successor"] == "INV-2"
    assert [posting["invoice_number"] for posting in evidence["postings"]] == ["INV-1"]
    item = late.item()
    assert (item["state"], item["break_codes"]) == ("BROKEN", "B30")


def test_paid_on_a_cancelled_invoice_goes_to_suspense(world: Any, moment: Any) -> None:
    w = world()
    replaced(w, "INV-1", None, moment(4))
    w.chain()
    assert w.told("B30").endswith(
        "INV-1, cancelled in IMT since 2026-10-04 10:00; posted to INV-1; suggest: suspense."
    )


@pytest.mark.parametrize(("seconds", "codes"), [(-1, ["B30"]), (0, ["B30"]), (1, [])])
def test_dead_at_the_very_instant_counts_and_later_does_not(
    world: Any, moment: Any, seconds: int, codes: list[str]
) -> None:
    w = world()
    replaced(w, "INV-1", None, moment(5) + timedelta(seconds=seconds))
    w.chain()
    assert found(w) == codes


def test_not_posted_yet_is_misdirected_already(world: Any, moment: Any) -> None:
    w = world(as_of=moment(5, 18))
    replaced(w, "INV-1", "INV-2", moment(4))
    w.payment()
    assert "not posted yet; suggest: transfer to INV-2" in w.told("B30")
    assert w.item()["state"] == "BROKEN"


def test_with_a_posting_break_both_stand(world: Any, moment: Any) -> None:
    w = world()
    replaced(w, "INV-1", "INV-2", moment(4))
    w.payment()
    w.settled()
    assert found(w) == ["B01", "B30"]
    assert w.item()["break_codes"] == "B01,B30"
    w.posting(invoice_number="INV-77")
    assert found(w) == ["B08", "B30"]


@pytest.mark.parametrize("at", [4, 6])
def test_posted_to_the_successor_is_as_it_should_be(world: Any, moment: Any, at: int) -> None:
    """Neither wrong reference nor misdirected, whether the invoice died before or after it was paid."""
    w = world()
    replaced(w, "INV-1", "INV-2", moment(at))
    w.payment()
    w.settled()
    w.posting(invoice_number=" inv\u20132")
    assert w.found() == []
    assert w.item()["state"] == "MATCHED_PROVISIONAL"


def test_posted_to_the_successor_on_another_account_is_wrong(world: Any, moment: Any) -> None:
    w = world()
    replaced(w, "INV-1", "INV-2", moment(4))
    w.payment()
    w.settled()
    w.posting(invoice_number="INV-2", account_number="999")
    assert found(w) == ["B08"]


def test_another_invoice_without_succession_stays_a_wrong_reference(world: Any, moment: Any) -> None:
    w = world()
    w.invoice("INV-1", "PAID")
    replaced(w, "INV-3", "INV-2", moment(4))
    w.payment()
    w.settled()
    w.posting(invoice_number="INV-2")
    assert found(w) == ["B08"]


def test_in_suspense_it_waits_for_a_person(world: Any, moment: Any) -> None:
    w = world()
    replaced(w, "INV-1", None, moment(4))
    w.payment()
    w.settled()
    w.posting(kind="SUSPENSE", invoice_number=None)
    assert found(w) == ["B41"]  # but not for weeks
    assert w.item()["state"] == "MATCHED_PROVISIONAL"


def test_the_suggestions_close_it(world: Any, late: Any, moment: Any) -> None:
    """Reversed and posted anew, a transfer, or reversed and put in suspense: each leaves no B30."""
    late.posting(kind="TRANSFER", invoice_number="INV-2")
    assert late.found() == []
    late.rows["postings"].pop()
    late.posting(amount="-100.00", at=moment(6), kind="REVERSAL", reverses_posting_id="P1")
    assert "B30" in found(late)
    late.posting(at=moment(6, 16), invoice_number="INV-2")
    assert late.found() == []
    late.rows["postings"][-1] |= {"kind": "SUSPENSE", "invoice_number": None}
    assert found(late) == ["B41"]
    assert late.item()["state"] == "MATCHED_PROVISIONAL"


def test_a_refused_or_negative_transfer_moves_nothing(late: Any) -> None:
    late.posting(kind="TRANSFER", invoice_number="INV-2", status="REFUSED")
    late.posting(kind="TRANSFER", invoice_number="INV-2", amount="-100.00")
    late.posting(kind="TRANSFER", invoice_number="INV-3")
    late.posting(kind="TRANSFER", invoice_number="INV-2", payment_guid=None)
    assert found(late) == ["B30"]


def test_half_on_the_successor_is_half_misdirected(world: Any, moment: Any) -> None:
    w = world()
    replaced(w, "INV-1", "INV-2", moment(4))
    w.payment()
    w.settled()
    w.posting(amount="60.00", invoice_number="INV-2")
    w.posting(amount="40.00")
    assert found(w) == ["B30"]


def test_chains_of_successors(world: Any, moment: Any) -> None:
    w = world()
    replaced(w, "INV-1", "INV-2", moment(2))
    replaced(w, "INV-2", "INV-3", moment(3))
    w.chain()
    assert w.told("B30").endswith("posted to INV-1; suggest: transfer to INV-3.")
    for number in ("INV-2", "INV-3"):
        w.rows["postings"][0]["invoice_number"] = number
        assert w.found() == []
    w.rows["postings"][0]["invoice_number"] = "INV-1"
    replaced(w, "INV-3", None, moment(4))
    assert w.told("B30").endswith("suggest: suspense.")


def test_a_circle_of_successors_ends_in_suspense(world: Any, moment: Any) -> None:
    w = world()
    replaced(w, "INV-1", "INV-2", moment(4))
    replaced(w, "INV-2", "INV-1", moment(4))
    w.chain()
    assert w.told("B30").endswith("suggest: suspense.")


def test_a_posting_on_the_successor_without_any_id_is_found(world: Any, moment: Any) -> None:
    w = world()
    replaced(w, "INV-1", "INV-2", moment(4))
    w.payment()
    w.settled()
    w.posting(payment_guid=None, invoice_number="INV-2")
    assert w.found() == []
    assert (w.item()["match_rule"], w.item()["state"]) == ("key3", "MATCHED_PROVISIONAL")


def test_two_such_payments_stay_ambiguous(world: Any, moment: Any) -> None:
    w = world()
    replaced(w, "INV-1", "INV-2", moment(4))
    for n in (1, 2):
        w.payment(n, invoice_number="INV-1")
        w.settled(n)
    w.posting(payment_guid=None, invoice_number="INV-2")
    assert [w.item(n)["state"] for n in (1, 2)] == ["AMBIGUOUS"] * 2
    assert "B30" not in found(w)


@pytest.mark.parametrize(
    "more",
    [
        {"approved": False},
        {"status": "VOIDED"},
        {"refund_of_guid": "00000000-0000-4000-8000-000000000009"},
        {"invoice_number": None},
        {"invoice_number": "INV-01"},
        {"invoice_number": "0INV-1"},
    ],
)
def test_not_misdirected(world: Any, moment: Any, more: Any) -> None:
    """Not accepted, a refund, or of an invoice that IMT does not know (zeros count)."""
    w = world(as_of=moment(5, 16))
    replaced(w, "INV-1", None, moment(4))
    w.payment(**more)
    assert w.found() == []


def test_numbers_are_read_as_ic_writes_them(world: Any, moment: Any) -> None:
    w = world(as_of=moment(5, 16))
    replaced(w, "Inv-Ä-007", None, moment(4))
    w.payment(invoice_number=" INV\u2212Ä-007 ")
    assert found(w) == ["B30"]


def test_two_invoices_that_read_alike_are_told_apart_or_not_judged(world: Any, moment: Any) -> None:
    w = world(as_of=moment(5, 16))
    replaced(w, "INV-A", None, moment(4))
    w.invoice("inv-a")
    w.payment(1, invoice_number="inv-a")
    w.payment(2, invoice_number="Inv-a")
    assert w.found() == []
    w.payment(3, "0.01", invoice_number="INV-A")
    assert [amount for _, _, amount in w.found()] == [Decimal("0.01")]


def test_money_that_went_back_needs_no_new_place(late: Any, moment: Any) -> None:
    late.returned(at=moment(8))
    late.posting(amount="-100.00", at=moment(8, 20), kind="REVERSAL", reverses_posting_id="P1")
    assert late.found() == []
    assert late.item()["state"] == "EXPLAINED"


def test_it_closes_only_while_the_payments_feed_is_complete(late: Any, moment: Any) -> None:
    breaks, _ = advance(pl.DataFrame(), late.run().breaks, moment(6), "r1", rules=late.rules)
    late.rows["postings"][0]["invoice_number"] = "INV-2"
    now = late.run().breaks
    _, events = advance(breaks, now, moment(7), "r2", complete_feeds={"settlements"}, rules=late.rules)
    assert events.is_empty()
    _, events = advance(breaks, now, moment(7), "r3", complete_feeds={"payments"}, rules=late.rules)
    assert events["kind"].to_list() == ["closed"]
