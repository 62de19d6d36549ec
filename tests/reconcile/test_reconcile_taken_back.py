"""Chargebacks and refunds against IMT's books: B23, B24."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

D = Decimal


def oct_(day: int) -> date:
    return date(2026, 10, day)


def test_b23_after_two_banking_days(world: Any, moment: Any) -> None:
    for day, expected in ((16, []), (19, [("B23", "CASE1-FIRST", D("100.00"))])):  # Wednesday the 14th
        w = world(as_of=moment(day, 20))
        w.chain()
        w.disputed()
        assert w.found() == expected
        item = w.item()
        state = ("BROKEN", "B23") if expected else ("IN_FLIGHT", "charged back, not reversed yet")
        assert (item["state"], item["state_reason"]) == state
    assert w.told("B23") == (
        "Chargeback CASE1-FIRST of 100.00 USD on 2026-10-14 00:00 (payment "
        "00000000-0000-4000-8000-000000000001, account …5678) is not posted in IMT; "
        "a dispute took the money, due by 2026-10-19 00:00."
    )


@pytest.mark.parametrize(
    "link",
    [
        {},
        {"payment_guid": None, "reverses_posting_id": "P1"},
        {"payment_guid": None, "processor_reference": "PR1"},
    ],
)
def test_b23_not_once_reversed(world: Any, moment: Any, link: dict[str, Any]) -> None:
    w = world()
    w.chain()
    w.disputed()
    w.posting(1, "-100.00", moment(15), kind="REVERSAL", reason="CHARGEBACK", **link)
    assert w.found() == []
    assert (w.item()["state"], w.item()["state_reason"]) == ("EXPLAINED", "charged back, reversed")


@pytest.mark.parametrize(
    ("stages", "found"),
    [
        ([("RETRIEVAL", 14)], []),
        ([("FIRST", 14), ("REVERSED", 20)], []),  # won
        ([("FIRST", 14), ("REVERSED", 20), ("SECOND", 22)], ["CASE1-SECOND"]),
        ([("SECOND", 14)], ["CASE1-SECOND"]),
    ],
)
def test_b23_the_last_stage_counts(world: Any, stages: list[tuple[str, int]], found: list[str]) -> None:
    w = world()
    w.chain()
    for stage, day in reversed(stages):
        w.disputed(1, "100.00", oct_(day), stage)
    assert [subject for _, subject, _ in w.found()] == found


def test_b23_by_reference_or_of_a_payment_from_before(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.disputed(payment_guid=None, processor_reference="pr1 ")
    w.disputed(7, "55.00")
    assert w.found() == [("B23", "CASE1-FIRST", D("100.00")), ("B23", "CASE7-FIRST", D("55.00"))]
    assert w.item()["break_codes"] == "B23"
    w.posting(7, "-55.00", moment(15), kind="REVERSAL", reason="CHARGEBACK")
    assert [subject for _, subject, _ in w.found()] == ["CASE1-FIRST"]


def test_b23_two_cases_need_two_postings_and_an_old_reversal_is_none(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.disputed(1, "40.00")
    w.disputed(1, "60.00", case_no="OTHER", chargeback_id="OTHER-FIRST")
    w.posting(1, "-40.00", moment(15), kind="REVERSAL", reason="CHARGEBACK")
    assert ("B23", "OTHER-FIRST", D("60.00")) in w.found()
    w.rows["postings"][-1]["posted_at"] = moment(8)
    assert [subject for code, subject, _ in w.found() if code == "B23"] == ["CASE1-FIRST", "OTHER-FIRST"]


def test_b24_on_one_side_only(world: Any, moment: Any) -> None:
    for day, found in ((16, False), (19, True)):
        w = world(as_of=moment(day, 20))
        w.chain()
        w.refunded(1, "30.00")
        assert w.found() == ([("B24", "RF1", D("30.00"))] if found else [])
        w = world(as_of=moment(day, 20))
        w.chain()
        w.chain(2)
        w.refunded(2, "10.00", oct_(8))
        w.posting(2, "-10.00", moment(8), kind="REFUND", posting_id="RIGHT")
        w.posting(1, "-30.00", moment(14), kind="REFUND", posting_id="ALONE")
        assert w.found() == ([("B24", "ALONE", D("30.00"))] if found else [])
    assert w.item()["break_codes"] == "B24"
    assert w.told("B24") == (
        "IMT posting ALONE refunds 30.00 USD on 2026-10-14 00:00 (payment 00000000-0000-4000-8000-000000000001, "
        "account …5678); InvoiceCloud knows of no such refund."
    )


@pytest.mark.parametrize(
    "posting", [{"kind": "REFUND"}, {"kind": "REVERSAL", "reason": "Refund"}, {"kind": "REVERSAL"}]
)
def test_b24_not_if_both_have_it(world: Any, moment: Any, posting: dict[str, Any]) -> None:
    w = world()
    w.chain()
    w.refunded()
    w.posting(1, "-100.00", moment(15), **posting)
    assert w.found() == []


@pytest.mark.parametrize("ic", ["batch", "payment"])
def test_b24_not_if_a_feed_tells_of_it(world: Any, moment: Any, guid_of: Any, ic: str) -> None:
    w = world()
    w.chain()
    w.chain(2)
    w.refunded(2, "5.00")
    w.posting(2, "-5.00", moment(14), kind="REFUND")
    w.posting(1, "-30.00", moment(14), kind="REFUND")
    if ic == "batch":
        w.settled(1, "-30.00", oct_(14), transaction_type="REFUND", settled_batch_id="R")
    else:
        w.payment(9, "-30.00", moment(14), refund_of_guid=guid_of(1))
    assert w.found() == []


def test_b24_imts_refunds_wait_for_the_list(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.posting(1, "-30.00", moment(14), kind="REFUND")
    assert w.found() == []


def test_b24_more_than_was_paid(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.refunded(1, "80.00")
    w.refunded(1, "20.01", oct_(15))
    w.posting(1, "-80.00", moment(14), kind="REFUND")
    w.posting(1, "-20.01", moment(15), kind="REFUND")
    assert w.found() == [("B24", "RF2", D("0.01"))]
    assert "is refunded 100.01 USD in all, 0.01 USD more than was paid" in w.told("B24")


def test_b24_differs_by_a_cent(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.refunded(1, "50.00")
    w.posting(1, "-49.99", moment(14), kind="REFUND")
    assert w.found() == [("B24", "RF1", D("50.00"))]


def test_a_dispute_booked_as_a_receivable_is_explained(world: Any, moment: Any) -> None:
    for booked, state in (("-100.00", "EXPLAINED"), ("-99.99", "IN_FLIGHT")):
        w = world()
        w.chain()
        w.disputed()
        w.posting(1, booked, moment(15), kind="TRANSFER", reason="Receivable")
        assert w.found() == []
        assert w.item()["state"] == state
    w.rows["postings"][-1]["amount"] = "-100.00"
    assert w.item()["state_reason"] == "charged back, booked as a receivable"
    w.rows["postings"][-1]["reason"] = "MOVED"  # a transfer for another reason is none
    assert [code for code, _, _ in w.found()] == ["B23"]


def test_a_dispute_won_and_not_restored_says_so(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    w.chain()
    w.disputed()
    w.posting(1, "-100.00", moment(15), kind="REVERSAL", reason="CHARGEBACK")
    w.disputed(1, "100.00", oct_(20), "REVERSED")
    assert w.found() == [("B05", guid_of(1), D("-100.00"))]
    assert w.told("B05") == (
        f"Payment {guid_of(1)} of 100.00 USD (account …5678) was disputed and the dispute is won, but IMT has not "
        "restored it: 0.00 USD in IMT, difference -100.00 USD."
    )
    w.posting(1, at=moment(21))
    assert (w.found(), w.item()["state"]) == ([], "MATCHED_PROVISIONAL")
    w.rows["postings"][-1]["amount"] = "60.00"  # another difference than the dispute's
    assert "stands at 60.00 USD in IMT; difference -40.00 USD" in w.told("B05")


@pytest.mark.parametrize("kind", ["REFUND", "REVERSAL"])
def test_a_payment_refunded_on_both_sides_is_explained(world: Any, moment: Any, kind: str) -> None:
    w = world()
    w.chain()
    w.refunded()
    w.posting(1, "-100.00", moment(15), kind=kind)
    assert w.found() == []
    assert (w.item()["state"], w.item()["state_reason"]) == ("EXPLAINED", "refunded, reversed")


def test_a_refund_of_a_part_leaves_the_rest_matched(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.refunded(1, "99.99")
    w.posting(1, "-99.99", moment(15), kind="REFUND")
    assert (w.found(), w.item()["state"]) == ([], "MATCHED_PROVISIONAL")
