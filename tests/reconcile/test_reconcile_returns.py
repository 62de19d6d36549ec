"""Payments against ACH returns: B16, B18, B20, and what a return does to the books."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest

D = Decimal


def test_returned_and_reversed_is_explained(world: Any, moment: Any) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned()
    w.posting(1, "-100.00", moment(10), kind="REVERSAL", reason="NSF")
    assert w.found() == []
    item = w.item()
    assert (item["state"], item["state_reason"]) == ("EXPLAINED", "returned R01, reversed")
    assert (item["posted_amount"], item["reversed_amount"], item["returned_amount"]) == (D("100.00"),) * 3


def test_b16_after_one_banking_day(world: Any, moment: Any, guid_of: Any) -> None:
    # Returned on Thursday the 8th: Friday is the day of grace; Monday the 12th is a holiday.
    for day, expected in ((9, []), (12, []), (13, [("B16", guid_of(1), D("100.00"))])):
        w = world(as_of=moment(day, 20))
        w.chain(tender="EFT")
        w.returned(at=moment(8))
        assert w.found() == expected, day
        if not expected:
            assert w.item()["state"] == "IN_FLIGHT"
            assert w.item()["due_by"] == moment(13, 5)


@pytest.mark.parametrize(
    "link",
    [
        {"payment_guid": None, "reverses_posting_id": "P1"},
        {"payment_guid": None, "processor_reference": "PR1"},
    ],
)
def test_b16_not_when_the_reversal_names_posting_or_reference(
    world: Any, moment: Any, link: dict[str, Any]
) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned()
    w.posting(1, "-100.00", moment(10), kind="REVERSAL", **link)
    assert w.found() == []


def test_b16_a_correction_before_the_return_is_no_reversal_of_it(world: Any, moment: Any) -> None:
    w = world()
    w.chain(tender="EFT")
    double = w.posting(at=moment(6))
    w.posting(1, "-100.00", moment(7), kind="REVERSAL", reason="DUPLICATE", reverses_posting_id=double)
    w.returned(at=moment(9))
    assert [code for code, _, _ in w.found()] == ["B16"]


def test_b16_not_for_what_was_never_posted(world: Any) -> None:
    w = world()
    w.payment(tender="EFT")
    w.settled()
    w.returned()
    assert [code for code, _, _ in w.found()] == ["B01"]


def test_reversed_by_other_than_the_return_is_an_amount_break(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned()
    w.posting(1, "-99.99", moment(10), kind="REVERSAL")
    assert w.found() == [("B05", guid_of(1), D("0.01"))]


def test_returned_then_collected_again_is_matched(world: Any, moment: Any) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned()
    w.posting(1, "-100.00", moment(10), kind="REVERSAL")
    w.posting(at=moment(14))
    assert w.found() == []
    assert w.item()["state"] == "MATCHED_PROVISIONAL"


def test_posted_twice_and_reversed_once_for_the_return_is_a_duplicate(
    world: Any, moment: Any, guid_of: Any
) -> None:
    w = world()
    w.chain(tender="EFT")
    w.posting(at=moment(6))
    w.returned()
    w.posting(1, "-100.00", moment(10), kind="REVERSAL")
    assert w.found() == [("B03", guid_of(1), D("100.00"))]


def test_a_settled_reject_explains_a_reversal_before_the_return_is_reported(world: Any, moment: Any) -> None:
    w = world()
    w.chain(tender="EFT")
    w.settled(1, "-100.00", transaction_type="REJECT", settled_batch_id="B2")
    w.posting(1, "-100.00", moment(10), kind="REVERSAL")
    assert w.found() == []
    assert (w.item()["state"], w.item()["state_reason"]) == ("EXPLAINED", "reject, reversed")


def test_b18_orphan(world: Any, guid_of: Any) -> None:
    w = world()
    w.returned(9, "60.00")
    assert w.found() == [("B18", guid_of(9), D("60.00"))]
    w.rows["ach_rejects"][0]["original_payment_guid"] = None
    assert w.found() == [("B18", "0012345678/INV-9/R01", D("60.00"))]


def test_b18_not_when_imt_knows_the_payment(world: Any) -> None:
    w = world()
    w.returned(9, "60.00")
    w.posting(9, "60.00", posting_id="X", origin="OTHER")
    assert w.found() == []


def test_b18_is_held_until_a_full_window_after_the_payment_is_complete(world: Any, moment: Any) -> None:
    for end, held in ((moment(5, 16), True), (moment(5, 17), False)):  # paid on the 5th at 15:00
        w = world()
        w.returned(9)
        w.poll("payments", moment(1), end)
        for feed in ("settlements", "ach_rejects"):
            w.poll(feed, moment(1), w.as_of)
        assert ("B18" not in w.run().breaks["code"]) is held


def test_b20_one_presentment_twice(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned()
    w.returned(at=moment(10))
    w.posting(1, "-100.00", moment(10), kind="REVERSAL")
    assert w.found() == [("B20", f"{guid_of(1)}#1", D("100.00"))]
    assert (w.item()["state"], w.item()["returned_amount"]) == ("BROKEN", D("100.00"))
    w.returned(at=moment(11))
    assert w.found() == [("B20", f"{guid_of(1)}#1", D("200.00"))]


def test_b20_not_for_a_second_presentment(world: Any, moment: Any) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned()
    w.posting(1, "-100.00", moment(10), kind="REVERSAL")
    w.returned(at=moment(15), reject_sequence=2)
    assert w.found() == []
    assert w.item()["state"] == "EXPLAINED"


def test_interbank_news_is_no_return_and_is_shown(world: Any, moment: Any) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned()
    w.posting(1, "-100.00", moment(10), kind="REVERSAL")
    w.returned(return_code="R74", at=moment(12))
    outcome = w.run()
    assert outcome.breaks.is_empty()
    row = outcome.totals.row(by_predicate=pl.col("name") == "INTERBANK_RETURNS", named=True)
    assert (row["rows"], row["amount"]) == (1, D("100.00"))


def test_an_unknown_code_is_a_return_like_any_other(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned(return_code="R97")
    assert [code for code, _, _ in w.found()] == ["B16"]
    assert "R97" in caplog.text
