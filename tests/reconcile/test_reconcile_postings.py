"""Payments against postings: B01, B02, B03, B05, B06, B08, B09, and the twins that are no breaks."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

D = Decimal


def test_a_chain_without_fault_is_matched_and_raises_nothing(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    assert w.found() == []
    item = w.item()
    assert (item["state"], item["state_reason"], item["match_rule"]) == (
        "MATCHED_PROVISIONAL",
        "posted and settled",
        "key1",
    )
    assert item["posted_amount"] == item["settled_amount"] == D("100.00")
    # Settled on 7 October: 120 days later is 4 February 2027, the window closes as that day ends.
    assert item["due_by"] == moment(5, 6, month=10).replace(year=2027, month=2)


def test_b01_payment_not_in_books(world: Any, guid_of: Any) -> None:
    w = world()
    w.payment(1, "120.50")
    w.settled(1, "120.50")
    assert w.found() == [("B01", guid_of(1), D("120.50"))]
    row = w.run().breaks.row(0, named=True)
    assert row["severity"] == "HIGH"
    assert row["name"] == "missing in books"
    assert "120.50 USD" in row["sentence"]
    assert "…5678" in row["sentence"]
    assert "0012345678" not in row["sentence"]


def test_b01_not_at_the_grace_but_right_after_it(world: Any, moment: Any) -> None:
    for late, expected in ((timedelta(0), []), (timedelta(microseconds=1), ["B01"])):
        w = world(as_of=moment(5, 17) + timedelta(hours=6) + late)  # first seen at 17:00
        w.payment()
        assert [code for code, _, _ in w.found()] == expected
    w = world(as_of=moment(5, 23))
    w.payment()
    assert (w.item()["state"], w.item()["due_by"]) == ("IN_FLIGHT", moment(5, 23))


def test_b01_suspense_counts_as_received(world: Any) -> None:
    w = world()
    w.payment()
    w.posting(kind="SUSPENSE", account_number="SUSPENSE-1")
    w.settled()
    assert w.found() == [("B41", "P1", D("100.00"))]  # in suspense for weeks
    assert w.item()["state_reason"] == "in suspense and settled"


def test_b01_is_held_while_imt_files_are_known_to_be_old(world: Any, moment: Any) -> None:
    w = world()
    w.payment()
    w.settled()
    for feed in ("payments", "settlements", "ach_rejects"):
        w.poll(feed, moment(1, 5, month=9), w.as_of)
    for feed in ("autopay", "paperless"):
        w.poll(feed, None, None)
    w.poll("postings", moment(1, 5, month=9), moment(5, 16))
    assert w.found() == []
    assert w.item()["state"] == "IN_FLIGHT"
    assert w.item()["state_reason"].startswith("held: postings")


def test_b02_posted_and_not_reported(world: Any) -> None:
    w = world()
    w.posting(7, "33.00", posting_id="X1")
    assert w.found() == [("B02", "X1", D("33.00"))]


@pytest.mark.parametrize(
    "more",
    [
        {"origin": "LOCKBOX"},
        {"origin": "CLOUDSTORE"},
        {"status": "REFUSED"},
        {"kind": "REVERSAL", "amount": "-33.00"},
    ],
)
def test_b02_only_for_posted_money_of_ic(world: Any, more: dict[str, Any]) -> None:
    w = world()
    w.posting(7, more.pop("amount", "33.00"), **more)
    assert w.found() == []


def test_b02_grace_of_a_day_and_guard(world: Any, moment: Any) -> None:
    for late, expected in ((0, []), (1, ["B02"])):
        w = world(as_of=moment(6, 18) + timedelta(microseconds=late))
        w.posting(7, at=moment(5, 18))
        assert [code for code, _, _ in w.found()] == expected
    w = world()
    w.posting(7, "33.00")
    w.poll("payments", moment(5, 19), w.as_of)  # complete only from after the posting on
    for feed in ("settlements", "ach_rejects"):
        w.poll(feed, moment(1), w.as_of)
    for feed in ("autopay", "paperless"):
        w.poll(feed, None, None)
    assert w.found() == []
    held = w.run().totals.row(by_predicate=(pl.col("kind") == "held") & (pl.col("name") == "B02"), named=True)
    assert (held["rows"], held["amount"]) == (1, D("33.00"))


def test_b03_posted_twice_and_the_reversed_twin(world: Any, guid_of: Any, moment: Any) -> None:
    w = world()
    w.chain()
    second = w.posting(at=moment(6))
    assert w.found() == [("B03", guid_of(1), D("100.00"))]
    w.posting(1, "-100.00", moment(6, 20), kind="REVERSAL", reason="DUPLICATE", reverses_posting_id=second)
    assert w.found() == []


def test_b03_reversed_in_part_is_an_amount_break(world: Any, guid_of: Any, moment: Any) -> None:
    w = world()
    w.chain()
    second = w.posting(at=moment(6))
    w.posting(1, "-50.00", moment(6, 20), kind="REVERSAL", reverses_posting_id=second)
    assert w.found() == [("B05", guid_of(1), D("50.00"))]


def test_b02_needs_the_report_from_the_effective_date_on(world: Any, moment: Any) -> None:
    for start, held in ((moment(4, 6), True), (moment(4, 5), False)):  # midnight in Chicago is 05:00
        w = world()
        w.posting(7, "33.00", effective_date=date(2026, 10, 4))
        w.poll("payments", start, w.as_of)
        assert ("B02" not in w.run().breaks["code"]) is held


def test_b03_not_for_one_payment_in_two_parts(world: Any) -> None:
    w = world()
    w.payment()
    w.posting(1, "60.00")
    w.posting(1, "40.00")
    w.settled()
    assert w.found() == []


def test_two_equal_payments_are_two_payments(world: Any) -> None:
    w = world()
    w.chain(1, invoice_number="INV-1")
    w.chain(2, invoice_number="INV-1")
    w.rows["postings"][1]["invoice_number"] = "INV-1"
    assert w.found() == []


@pytest.mark.parametrize(
    ("posted", "difference"), [("99.99", "-0.01"), ("100.01", "0.01"), ("90.00", "-10.00")]
)
def test_b05_to_the_cent(world: Any, guid_of: Any, posted: str, difference: str) -> None:
    w = world()
    w.payment()
    w.posting(1, posted)
    w.settled()
    assert w.found() == [("B05", guid_of(1), D(difference))]


def test_b05_tolerance_is_data(world: Any) -> None:
    w = world(tolerance="0.01")
    w.payment()
    w.posting(1, "99.99")
    w.settled()
    assert w.found() == []


@pytest.mark.parametrize(("posted", "difference"), [("102.50", "2.50"), ("97.50", "-2.50")])
def test_b06_difference_is_the_fee(world: Any, guid_of: Any, posted: str, difference: str) -> None:
    w = world()
    w.payment()
    w.posting(1, posted)
    w.settled()
    assert w.found() == [("B06", guid_of(1), D(difference))]


def test_b06_one_cent_off_the_fee_is_an_amount_break_and_a_zero_fee_none(world: Any) -> None:
    w = world()
    w.payment()
    w.posting(1, "102.51")
    w.payment(2, convenience_fee="0.00")
    w.posting(2)
    w.settled()
    w.settled(2)
    assert [code for code, _, _ in w.found()] == ["B05"]


def test_fee_included_in_the_payment_is_not_expected_in_the_books(world: Any) -> None:
    w = world(fee_model="payer_paid_included")
    w.payment()
    w.posting(1, "97.50")
    w.settled()
    assert w.found() == []


def test_b08_wrong_account(world: Any, guid_of: Any) -> None:
    w = world()
    w.payment()
    w.posting(account_number="0012345679")
    w.settled()
    assert w.found() == [("B08", guid_of(1), D("100.00"))]
    row = w.run().breaks.row(0, named=True)
    assert "…5678" in row["sentence"]
    assert "…5679" in row["sentence"]


def test_b08_leading_zeros_count(world: Any) -> None:
    w = world()
    w.payment()
    w.posting(account_number="12345678")
    w.settled()
    assert [code for code, _, _ in w.found()] == ["B08"]


@pytest.mark.parametrize(
    ("reported", "posted"),
    [
        ("INV-1", "INV\u20131"),
        ("INV-1", "inv-1"),
        ("INV-1", " INV-1 "),
        ("INV\u22121", "INV\u20141"),
        ("INV-1", None),
    ],
)
def test_b08_not_for_dashes_case_blanks_or_an_empty_invoice(
    world: Any, reported: str, posted: str | None
) -> None:
    w = world()
    w.payment(invoice_number=reported)
    w.posting(invoice_number=posted)
    w.settled()
    assert w.found() == []


def test_b08_not_once_the_wrong_posting_was_taken_back(world: Any, moment: Any) -> None:
    for reference in ({}, {"reverses_posting_id": "P1"}):
        w = world()
        w.payment()
        w.posting(account_number="0099999999")
        w.posting(1, "-100.00", moment(6), kind="REVERSAL", account_number="0099999999", **reference)
        w.posting(at=moment(6, 16))
        w.settled()
        assert w.found() == []


def test_b09_declined_and_posted(world: Any, guid_of: Any, moment: Any) -> None:
    w = world()
    w.payment(approved=False)
    w.posting()
    assert w.found() == [("B09", guid_of(1), D("100.00"))]
    w.posting(1, "-100.00", moment(6), kind="REVERSAL")
    assert w.found() == []
    assert (w.item()["state"], w.item()["state_reason"]) == ("EXPLAINED", "declined, posted and reversed")


def test_b09_voided_counts_as_declined(world: Any) -> None:
    w = world()
    w.payment(status="VOIDED")
    w.posting()
    assert [code for code, _, _ in w.found()] == ["B09"]
    w.rows["postings"].clear()
    assert w.found() == []
    assert w.item()["state_reason"] == "voided"


def test_b09_approved_and_refused_unless_posted_after_all(world: Any, guid_of: Any, moment: Any) -> None:
    w = world()
    w.payment()
    w.posting(status="REFUSED")
    w.settled()
    assert w.found() == [("B09", guid_of(1), D("100.00"))]
    w.posting(at=moment(6))
    assert w.found() == []


def test_declined_and_unposted_is_explained(world: Any) -> None:
    w = world()
    w.payment(approved=False)
    assert w.found() == []
    assert (w.item()["state"], w.item()["state_reason"]) == ("EXPLAINED", "declined")


def test_reversal_ahead_of_the_return_waits_two_banking_days(world: Any, moment: Any) -> None:
    states = []
    for day in (9, 13, 15):  # reversed on Thursday the 8th; the 12th is a holiday
        w = world(as_of=moment(day, 20))
        w.chain()
        w.posting(1, "-100.00", moment(8), kind="REVERSAL", reason="NSF")
        states.append((w.item()["state"], w.item()["break_codes"]))
    assert states == [("IN_FLIGHT", None), ("IN_FLIGHT", None), ("BROKEN", "B17")]


def test_money_moved_from_suspense_to_the_account_is_posted_once(world: Any, moment: Any) -> None:
    w = world()
    w.payment()
    first = w.posting(kind="SUSPENSE")
    w.posting(1, "-100.00", moment(6), kind="REVERSAL", reverses_posting_id=first)
    w.posting(at=moment(6, 16))
    w.settled()
    assert w.found() == []
    assert w.item()["reversed_amount"] == D("0.00")


def test_evidence_holds_both_rows_and_no_personal_data(world: Any) -> None:
    w = world()
    w.payment(customer_name="Ada Example", remote_ip="203.0.113.9")
    w.posting(1, "99.99", effective_date=date(2026, 10, 5))
    w.settled()
    evidence = pl.Series([w.run().breaks["evidence"][0]]).str.json_decode(
        pl.Struct(
            {
                "payment": pl.Struct({"payment_amount": pl.String, "account_number": pl.String}),
                "postings": pl.List(pl.Struct({"posting_id": pl.String, "amount": pl.String})),
            }
        )
    )[0]
    assert evidence["payment"] == {"payment_amount": "100.00", "account_number": "0012345678"}
    assert evidence["postings"] == [{"posting_id": "P1", "amount": "99.99"}]
    assert "Ada" not in w.run().breaks["evidence"][0]
    assert "203.0" not in w.run().breaks["evidence"][0]
