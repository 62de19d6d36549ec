"""One use of every row, ambiguity instead of guesses, null keys that never join."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from tasks.reconcile.keys import pair_once

D = Decimal


def nameless(w: Any, n: int, amount: str = "100.00", **more: Any) -> str:
    posted: str = w.posting(n, amount, payment_guid=None, **more)
    return posted


def test_key2_by_processor_reference_and_amount(world: Any) -> None:
    w = world()
    w.payment()
    nameless(w, 1, processor_reference="pr1 ", account_number="0012345678", invoice_number="INV-1")
    w.settled()
    assert w.found() == []
    assert w.item()["match_rule"] == "key2"


def test_same_reference_with_another_amount_is_an_amount_break(world: Any, guid_of: Any) -> None:
    w = world()
    w.payment()
    nameless(w, 1, "99.99", processor_reference="PR1")
    w.settled()
    assert w.found() == [("B05", guid_of(1), D("-0.01"))]


def test_key3_by_account_invoice_amount_and_a_day_more_or_less(world: Any, moment: Any) -> None:
    for day, rule in ((4, "key3"), (5, "key3"), (6, "key3"), (7, None)):
        w = world()
        w.payment(invoice_number="INV\u20111")
        nameless(w, 1, at=moment(day, 18), invoice_number="inv-1")
        w.settled()
        assert w.item()["match_rule"] == rule


def test_key3_takes_the_effective_date_too(world: Any, moment: Any) -> None:
    w = world()
    w.payment()
    nameless(w, 1, at=moment(13), effective_date=date(2026, 10, 5))
    w.settled()
    assert w.item()["match_rule"] == "key3"


def test_key3_never_joins_null_invoices_or_other_origins_or_one_cent_off(world: Any) -> None:
    for more in (
        {"invoice_number": None},
        {"origin": "LOCKBOX"},
        {"amount": "100.01"},
        {"account_number": "12345678"},
    ):
        w = world()
        w.payment(invoice_number=None if "invoice_number" in more else "INV-1")
        nameless(w, 1, **more)
        w.settled()
        assert w.item()["match_rule"] is None, more
        assert w.item()["break_codes"] == "B01"


def test_null_guids_and_references_join_nothing(world: Any, guid_of: Any) -> None:
    w = world()
    w.payment(processor_reference=None)
    w.payment(2, processor_reference="  ", account_number="0099", invoice_number="Z")
    nameless(w, 8, processor_reference=None)
    nameless(w, 9, processor_reference=" ")
    w.settled(3, payment_guid=None, processor_reference=None)
    codes = sorted(code for code, _, _ in w.found())
    assert codes == ["B01", "B01", "B02", "B02", "B10", "B10", "B11"]


def test_contradicting_references_are_two_payments(world: Any) -> None:
    w = world()
    w.payment()
    nameless(w, 1, processor_reference="PR-OTHER", posting_id="X")
    w.settled()
    assert [(code, subject) for code, subject, _ in w.found()][1:] == [("B02", "X")]


def test_two_postings_for_one_payment_under_a_weak_key_are_ambiguous(world: Any) -> None:
    w = world()
    w.payment()
    nameless(w, 1)
    nameless(w, 1)
    w.settled()
    assert [code for code, _, _ in w.found()] == ["B40"]
    assert (w.item()["state"], w.item()["match_rule"]) == ("AMBIGUOUS", None)


def test_two_payments_for_one_posting_are_ambiguous_both(world: Any, moment: Any) -> None:
    w = world()
    w.payment(1, invoice_number="INV-9")
    w.payment(2, invoice_number="INV-9", at=moment(6))
    nameless(w, 9)
    w.settled(1)
    w.settled(2)
    assert [code for code, _, _ in w.found()] == ["B40", "B40"]
    assert w.run().items["state"].to_list() == ["AMBIGUOUS", "AMBIGUOUS"]


def test_a_stronger_key_frees_the_weaker_one(world: Any) -> None:
    """Two equal payments, one posted with its guid: the nameless posting belongs to the other."""
    w = world()
    w.payment(1, invoice_number="INV-9")
    w.payment(2, invoice_number="INV-9")
    w.posting(1, invoice_number="INV-9")
    nameless(w, 9)
    w.settled(1)
    w.settled(2)
    assert w.found() == []
    assert w.run().items.sort("payment_guid")["match_rule"].to_list() == ["key1", "key3"]


def test_a_claimed_payment_is_not_claimed_again(world: Any) -> None:
    w = world()
    w.chain()
    nameless(w, 1, processor_reference="PR1", posting_id="AGAIN")
    assert w.found() == [("B02", "AGAIN", D("100.00"))]


def test_a_posting_with_a_foreign_guid_is_not_claimed_by_account(world: Any, guid_of: Any) -> None:
    w = world()
    w.payment()
    w.posting(5, invoice_number="INV-1", posting_id="X")
    w.settled()
    assert w.found() == [("B01", guid_of(1), D("100.00")), ("B02", "X", D("100.00"))]


def test_declined_tries_do_not_make_the_good_one_ambiguous(world: Any) -> None:
    w = world()
    for n in (1, 2):
        w.payment(n, approved=False, invoice_number="INV-3")
    w.payment(3)
    nameless(w, 3)
    w.settled(3)
    assert w.found() == []
    assert w.item(3)["match_rule"] == "key3"


def test_one_guid_on_two_payment_rows_is_ambiguous(world: Any) -> None:
    w = world()
    w.payment()
    w.payment()
    w.posting()
    w.settled()
    assert [code for code, _, _ in w.found()] == ["B40"]
    assert w.run().items["state"].to_list() == ["AMBIGUOUS", "AMBIGUOUS"]


def test_settlement_by_reference_and_amount(world: Any) -> None:
    w = world()
    w.payment()
    w.posting()
    w.settled(payment_guid=None)
    assert w.found() == []
    assert w.item()["settled_amount"] == D("100.00")
    w.settled(payment_guid=None)
    assert [code for code, _, _ in w.found()] == ["B40"]
    assert w.item()["state"] == "AMBIGUOUS"


def test_a_return_without_guid_finds_its_payment_by_account(world: Any, moment: Any) -> None:
    w = world()
    w.chain(1, tender="EFT")
    w.returned(original_payment_guid=None)
    assert [code for code, _, _ in w.found()] == ["B16"]
    w.returned(original_payment_guid=None, reject_sequence=2, at=moment(12))
    assert [code for code, _, _ in w.found()] == ["B40"]
    assert w.item()["state"] == "AMBIGUOUS"


def test_pair_once_counts_candidates_and_never_lists_them() -> None:
    """A quadratic join of these rows would be 4e10 pairs."""
    size = 200_000
    left = pl.DataFrame({"l": range(size), "key": ["same"] * (size - 1) + ["own"]})
    right = pl.DataFrame({"r": range(size), "key": ["same"] * (size - 1) + ["own"]})
    paired = pair_once(left, right, ["key"])
    assert paired.pairs.rows() == [(size - 1, size - 1)]
    assert len(paired.left_ambiguous) == len(paired.right_ambiguous) == size - 1
