"""Returns, disputes and refunds where several meet: who they are of, and what they add up to."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

D = Decimal
NAMELESS = {"original_payment_guid": None}


def debit(w: Any, n: int = 1, amount: str = "100.00", **more: Any) -> None:
    w.chain(n, amount, tender="EFT", **more)


def of(w: Any, code: str) -> list[tuple[str, Decimal]]:
    return [(subject, amount) for found, subject, amount in w.found() if found == code]


def test_each_payment_counts_its_own_presentments(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    for n in (1, 2):
        debit(w, n)
        w.returned(n)
    assert w.found() == [("B16", guid_of(1), D("100.00")), ("B16", guid_of(2), D("100.00"))]
    w.returned(2, at=moment(12))
    assert of(w, "B20") == [(f"{guid_of(2)}#1", D("100.00"))]
    assert [w.item(n)["break_codes"] for n in (1, 2)] == ["B16", "B16,B20"]


def test_two_presentments_are_one_after_the_other(world: Any, moment: Any, guid_of: Any) -> None:
    """The first by 10.00 too little, the second by 5.00; the newer one is what the payment says."""
    w = world()
    debit(w)
    w.returned(1, "90.00", moment(8))
    w.returned(1, "95.00", moment(13), reject_sequence=2, return_code="R09")
    item = w.item()
    assert (item["returned_amount"], item["reject_date"]) == (D("185.00"), moment(13))
    assert item["state_reason"] == "B16,B19"
    assert w.found() == [("B16", guid_of(1), D("95.00")), ("B19", guid_of(1), D("-15.00"))]


def test_a_presentment_told_twice_counts_once(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    debit(w)
    w.returned(1, "90.00", moment(8))
    w.returned(1, "80.00", moment(9), return_code="R09")
    assert w.item()["returned_amount"] == D("90.00")
    assert w.found() == [
        ("B16", guid_of(1), D("90.00")),
        ("B19", guid_of(1), D("-10.00")),
        ("B20", f"{guid_of(1)}#1", D("80.00")),
    ]


def test_without_a_sequence_the_day_tells_presentments_apart(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    debit(w)
    w.returned(1, at=moment(8), reject_sequence=None)
    w.returned(1, at=moment(13), reject_sequence=None)
    assert of(w, "B20") == []
    assert w.item()["returned_amount"] == D("200.00")
    w.returned(1, at=moment(13, 20), reject_sequence=None)
    assert of(w, "B20") == [(f"{guid_of(1)}#2026-10-13", D("100.00"))]


def test_returns_without_a_guid_go_by_account(world: Any, moment: Any, guid_of: Any) -> None:
    """Paid on the 5th: a return of the 4th, 5th or 6th is its own; told twice it is one too many."""
    for day, own in ((3, False), (4, True), (5, True), (6, True), (7, False)):
        w = world()
        debit(w)
        w.returned(original_payment_date=moment(day), **NAMELESS)
        assert (w.item()["returned_amount"] == D("100.00")) is own, day
        assert [code for code, _, _ in w.found()] == (["B16"] if own else ["B18"])
    w = world()
    debit(w)
    debit(w, 2)
    w.returned(**NAMELESS)
    w.returned(2, **NAMELESS)
    assert [code for code, _, _ in w.found()] == ["B16", "B16"]


@pytest.mark.parametrize(
    "more",
    [{"account_number": "0099999999"}, {"invoice_number": "INV-9"}, {"reject_amount": "100.01"}],
)
def test_returns_that_agree_with_no_payment(world: Any, more: dict[str, Any]) -> None:
    w = world()
    debit(w)
    w.returned(**NAMELESS | more)
    row = w.run().breaks.row(by_predicate=pl.col("code") == "B18", named=True)
    account, invoice = more.get("account_number", "0012345678"), more.get("invoice_number", "INV-1")
    assert (row["subject"], row["payment_guid"]) == (f"{account}/{invoice}/R01", None)
    assert row["amount"] == D(more.get("reject_amount", "100.00"))
    assert w.item()["state"] == "MATCHED_PROVISIONAL"


def test_a_return_of_a_declined_payment_without_a_guid(world: Any) -> None:
    w = world()
    w.payment(approved=False, tender="EFT")
    w.returned(**NAMELESS)
    assert [code for code, _, _ in w.found()] == ["B18"]


def test_a_reversal_for_a_return_that_names_no_guid(world: Any, moment: Any) -> None:
    w = world()
    debit(w)
    w.returned(**NAMELESS)
    w.posting(1, "-100.00", moment(9, 18), kind="REVERSAL", reason="NSF")
    assert w.found() == []
    assert (w.item()["state"], w.item()["state_reason"]) == ("EXPLAINED", "returned R01, reversed")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"payment_guid": None, "reverses_posting_id": "OLD", "processor_reference": "PR8"}, "OLD"),
        ({"payment_guid": None, "processor_reference": "PR8"}, "PR8"),
    ],
)
def test_a_reversal_of_a_payment_from_before_is_told_by_what_it_names(
    world: Any, moment: Any, named: dict[str, Any], told: str
) -> None:
    w = world()
    w.posting(8, "-70.00", moment(9), kind="REVERSAL", reason="NSF", posting_id="REV", **named)
    assert w.found() == [("B17", "REV", D("70.00"))]
    assert f"takes 70.00 USD back as NSF (payment {told}, account …5678)" in w.told("B17")


@pytest.mark.parametrize(
    ("first", "last", "codes"),
    [
        ((1, 4), None, []),  # paid on the 5th
        ((6, 9), None, []),
        ((5, 5), None, ["B21"]),
        ((1, 4), (5, 9), ["B21"]),
        ((5, 9), (1, 31), ["B21"]),
    ],
)
def test_only_the_period_of_the_payment_counts(
    world: Any, moment: Any, first: tuple[int, int], last: tuple[int, int] | None, codes: list[str]
) -> None:
    w = world()
    debit(w)
    w.returned()
    w.posting(1, "-100.00", moment(9, 18), kind="REVERSAL", reason="NSF")
    for n, days in enumerate(filter(None, (first, last))):
        ends = {"first_day": date(2026, 10, days[0]), "last_day": date(2026, 10, days[1])}
        w.add("periods", period=f"P{n}", closed_at=moment(8), **ends)
    assert [code for code, _, _ in w.found()] == codes


def test_disputes_and_refunds_of_several_payments(world: Any, moment: Any) -> None:
    """Each needs its own posting; one payment's says nothing of the other's."""
    w = world()
    for n in (1, 2, 3):
        w.chain(n)
    w.disputed(1)
    w.disputed(2)
    w.posting(2, "-100.00", moment(14), kind="REVERSAL", reason="CHARGEBACK")
    w.refunded(3, "40.00")
    w.refunded(3, "10.00", date(2026, 10, 15))
    w.posting(3, "-40.00", moment(14), kind="REFUND")
    assert w.found() == [("B23", "CASE1-FIRST", D("100.00")), ("B24", "RF2", D("10.00"))]
    assert [w.item(n)["break_codes"] for n in (1, 2, 3)] == ["B23", None, "B24"]


def test_a_receivable_is_a_posting_of_a_dispute_and_of_nothing_else(world: Any, moment: Any) -> None:
    for reason, codes in ((" receivable", []), ("MOVED", ["B23"]), (None, ["B23"])):
        w = world()
        w.chain()
        w.disputed()
        w.posting(1, "-100.00", moment(15), kind="TRANSFER", reason=reason)
        assert [code for code, _, _ in w.found()] == codes, reason


@pytest.mark.parametrize(("day", "codes"), [(8, ["B23"]), (9, []), (13, [])])
def test_a_dispute_may_be_booked_two_banking_days_ahead(
    world: Any, moment: Any, day: int, codes: list[str]
) -> None:
    """Disputed on Wednesday the 14th: from Friday the 9th on, for the 12th is a holiday."""
    w = world()
    w.chain()
    w.disputed(on=date(2026, 10, 14))
    w.posting(1, "-100.00", moment(day), kind="TRANSFER", reason="DISPUTE")
    assert [code for code, _, _ in w.found()] == codes


def test_a_refund_by_reference_or_of_an_unknown_payment(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.refunded(1, "30.00", payment_guid=None, processor_reference=" pr1")
    w.refunded(7, "55.00", payment_guid=None, processor_reference="PR7")
    assert w.found() == [("B24", "RF1", D("30.00")), ("B24", "RF2", D("55.00"))]
    told = w.run().breaks["sentence"].to_list()
    assert "(payment  pr1, account …5678) is not in IMT" in told[0]
    assert "(payment PR7, account …5678) is not in IMT" in told[1]
    link = {"payment_guid": None, "kind": "REFUND"}
    w.posting(1, "-30.00", moment(14), processor_reference="PR1", **link)
    w.posting(7, "-55.00", moment(14), processor_reference="pr7", **link)
    assert w.found() == []


def test_refunds_of_another_origin_are_not_ours_to_miss(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.chain(2)
    w.refunded(2, "1.00")
    w.posting(2, "-1.00", moment(14), kind="REFUND")
    w.posting(1, "-30.00", moment(14), kind="REFUND", origin="LOCKBOX")
    w.posting(1, "-5.00", moment(14), kind="REVERSAL", reason="GOODWILL")
    assert of(w, "B24") == []
    w.posting(1, "-7.00", moment(14), kind="REVERSAL", reason="refunded", posting_id="SAID")
    assert of(w, "B24") == [("SAID", D("7.00"))]


@pytest.mark.parametrize(
    ("paid", "begins", "ends", "found"),
    [
        (None, (6, 15), (20, 15), ["B18"]),  # fourteen days before the return of the 20th
        (None, (6, 16), (20, 15), []),
        (None, (6, 15), (20, 14), []),
        (5, (5, 15), (5, 17), ["B18"]),  # a window of two hours from the payment on
        (5, (5, 15), (5, 16), []),
        (5, (5, 16), (20, 15), []),
    ],
)
def test_b18_needs_the_payments_of_its_time(
    world: Any, moment: Any, paid: int | None, begins: Any, ends: Any, found: list[str]
) -> None:
    w = world()
    w.returned(5, "12.34", moment(20), original_payment_date=moment(paid) if paid else None)
    w.poll("payments", moment(*begins), moment(*ends))
    assert [code for code, _, _ in w.found() if code == "B18"] == found
    held = w.run().totals.filter((pl.col("kind") == "held") & (pl.col("name") == "B18"))
    assert held.select("rows", "amount").rows() == [(0, D("0.00")) if found else (1, D("12.34"))]


def test_b21_of_a_final_payment_says_so(world: Any, moment: Any) -> None:
    w = world(as_of=moment(12, month=12))
    debit(w)
    w.returned(at=moment(11, month=12), return_code="R06")
    assert "came back on 2026-12-11 09:00 (R06, 100.00 USD) when it was final: post it" in w.told("B21")
