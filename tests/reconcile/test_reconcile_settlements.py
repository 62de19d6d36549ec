"""Payments against settled batches: B10, B11, B12, B42 and the CloudStore exclusion."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

D = Decimal


def total(outcome: Any, kind: str, name: str) -> tuple[int, Decimal]:
    row = outcome.totals.row(by_predicate=(pl.col("kind") == kind) & (pl.col("name") == name), named=True)
    return row["rows"], row["amount"]


def covered_up_to(w: Any, feed: str, end: Any, start: Any) -> None:
    """Every feed complete from `start`; `feed` only up to `end`."""
    for name in ("payments", "settlements", "ach_rejects"):
        w.poll(name, start, end if name == feed else w.as_of)
    for name in ("autopay", "paperless"):
        w.poll(name, None, None)


@pytest.mark.parametrize(
    ("tender", "days"), [("CARD", 3), ("WALLET", 3), ("EFT", 4), ("OBD", 5), ("CASH", 5), (None, 5)]
)
def test_b10_after_the_tenders_banking_days(
    world: Any, moment: Any, guid_of: Any, tender: str, days: int
) -> None:
    # Paid on Monday 5 October; 12 October is a holiday.
    banking = [6, 7, 8, 9, 13, 14]
    for day, expected in ((banking[days - 1], []), (banking[days], [("B10", guid_of(1), D("100.00"))])):
        w = world(as_of=moment(day, 20))
        w.payment(tender=tender)
        w.posting()
        assert w.found() == expected, day
    assert w.run().breaks["due_at"][0] == moment(banking[days], 5)


def test_b10_not_before_due_and_with_due_time(world: Any, moment: Any) -> None:
    w = world(as_of=moment(6, 20))
    w.payment()
    w.posting()
    item = w.item()
    assert (item["state"], item["state_reason"]) == ("IN_FLIGHT", "posted, not settled yet")
    assert item["due_by"] == moment(9, 5)  # start of Friday the 9th in Chicago


def test_b10_counts_local_days(world: Any, moment: Any) -> None:
    """02:00 UTC on the 6th is still the 5th in Chicago."""
    w = world(as_of=moment(9, 4, 59))  # 23:59 on the 8th in Chicago
    w.payment(at=moment(6, 2))
    w.posting(at=moment(6, 3))
    assert w.found() == []
    w = world(as_of=moment(9, 5))
    w.payment(at=moment(6, 2))
    w.posting(at=moment(6, 3))
    assert [code for code, _, _ in w.found()] == ["B10"]


def test_b10_is_held_while_settlements_are_not_complete(world: Any, moment: Any) -> None:
    w = world()
    w.payment()
    w.posting()
    covered_up_to(w, "settlements", moment(8, 12), moment(1, 5))
    assert [code for code, _, _ in w.found()] == ["B36"]
    item = w.item()
    assert item["state"] == "IN_FLIGHT"
    assert item["state_reason"] == "held: settlements not complete since 2026-10-08 12:00Z"
    w.rows["polls"][1]["window_to"] = moment(9, 12)
    assert "B10" in [code for code, _, _ in w.found()]


def test_b10_is_held_while_settlements_were_never_pulled(world: Any, moment: Any) -> None:
    w = world(as_of=moment(20, 20))
    w.payment()
    w.posting()
    w.poll("payments", moment(1), w.as_of)
    assert "B10" not in [code for code, *_ in w.found()]
    item = w.item()
    assert item["state"] == "IN_FLIGHT"
    assert item["state_reason"] == "held: settlements not complete since the payment"


def test_b10_not_for_declined_or_returned_payments(world: Any) -> None:
    w = world()
    w.payment(approved=False)
    w.payment(2, tender="EFT")
    w.posting(2)
    w.returned(2)
    assert [code for code, _, _ in w.found()] == ["B16"]


def test_b11_settled_and_not_reported(world: Any, guid_of: Any) -> None:
    w = world()
    w.settled(9, "77.00")
    assert w.found() == [("B11", guid_of(9), D("77.00"))]
    w.rows["settlements"][0]["payment_guid"] = None
    assert w.found() == [("B11", "PR9", D("77.00"))]


@pytest.mark.parametrize("kind", ["REFUND", "REJECT", "CHARGEBACK", "ADJUSTMENT"])
def test_b11_only_for_payment_rows(world: Any, kind: str) -> None:
    w = world()
    w.settled(9, "-77.00", transaction_type=kind)
    assert w.found() == []


@pytest.mark.parametrize(
    ("start", "end", "held"),
    [
        (
            (2, 5),
            (7, 21),
            False,
        ),  # from three banking days before Wednesday the 7th to a window before first sight
        ((2, 6), (7, 21), True),
        ((2, 5), (7, 20), True),
    ],
)
def test_b11_guard(world: Any, moment: Any, start: tuple[int, int], end: tuple[int, int], held: bool) -> None:
    w = world()
    w.settled(9, "77.00")
    covered_up_to(w, "payments", moment(*end), moment(*start))
    outcome = w.run()
    assert ("B11" in outcome.breaks["code"]) is not held
    assert total(outcome, "held", "B11") == ((1, D("77.00")) if held else (0, D("0.00")))


def test_b12_detail_against_total(world: Any) -> None:
    w = world()
    w.chain(1)
    w.chain(2)
    for row in w.rows["settlements"]:
        row |= {"batch_total": "200.01", "batch_item_count": 2}
    assert w.found() == [("B12", "B2026-10-07", D("0.01"))]


def test_b12_count_alone(world: Any) -> None:
    w = world()
    w.chain()
    w.rows["settlements"][0] |= {"batch_total": "100.00", "batch_item_count": 2}
    assert w.found() == [("B12", "B2026-10-07", D("0.00"))]


def test_b12_counts_rejects_and_cloudstore_rows_of_the_batch(world: Any) -> None:
    w = world()
    w.chain()
    w.chain(2, tender="EFT")
    w.settled(2, "-100.00", transaction_type="REJECT")
    w.settled(0, "25.00", payment_guid=None, processor_reference="CS1")
    for row in w.rows["settlements"]:
        row |= {"batch_total": "125.00", "batch_item_count": 4}
    w.posting(0, "25.00", payment_guid=None, processor_reference="CS1", origin="CLOUDSTORE")
    assert w.found() == []


def test_b12_is_held_while_the_batchs_day_is_not_covered(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.rows["settlements"][0] |= {"batch_total": "100.01", "batch_item_count": 1}
    covered_up_to(w, "settlements", moment(7, 18), moment(1, 5))  # first seen at 23:00, window of 4 hours
    assert "B12" not in w.run().breaks["code"]
    assert total(w.run(), "held", "B12") == (1, D("0.01"))
    w.rows["polls"][1]["window_to"] = moment(7, 19)
    assert "B12" in w.run().breaks["code"]


def cloudstore(w: Any, reference: str = "CS1", amount: str = "25.00", **more: Any) -> None:
    w.settled(0, amount, payment_guid=None, processor_reference=reference, **more)


def test_cloudstore_with_a_record_is_a_total_and_no_break(world: Any) -> None:
    w = world()
    w.chain()
    cloudstore(w)
    w.posting(0, "25.00", payment_guid=None, processor_reference="CS1", origin="CLOUDSTORE")
    outcome = w.run()
    assert outcome.breaks.is_empty()
    assert total(outcome, "excluded", "CLOUDSTORE") == (1, D("25.00"))
    assert outcome.items.height == 1


def test_b42_cloudstore_without_a_record(world: Any, moment: Any) -> None:
    for day, expected in (
        (9, []),
        (13, [("B42", "CS1", D("25.00"))]),
    ):  # settled on the 7th; 12th is a holiday
        w = world(as_of=moment(day, 20))
        cloudstore(w)
        w.posting(0, "25.01", payment_guid=None, processor_reference="CS1", origin="CLOUDSTORE")
        assert w.found() == expected
        assert total(w.run(), "excluded", "CLOUDSTORE") == (1, D("25.00"))


def test_b42_a_record_supports_one_row_only(world: Any) -> None:
    w = world()
    cloudstore(w)
    cloudstore(w)
    w.posting(0, "25.00", payment_guid=None, processor_reference="CS1", origin="CLOUDSTORE")
    assert w.found() == [("B42", "CS1", D("25.00"))]


def test_an_expired_exclusion_excludes_nothing(world: Any) -> None:
    w = world(exclusions={"CLOUDSTORE": {"expiry": date(2026, 10, 29)}})
    cloudstore(w)
    assert [code for code, _, _ in w.found()] == ["B11"]
    w = world(exclusions={"CLOUDSTORE": {"expiry": date(2026, 10, 30)}})
    cloudstore(w)
    assert [code for code, _, _ in w.found()] == ["B42"]


def test_a_reference_like_cloudstore_with_a_guid_is_an_ordinary_payment(world: Any) -> None:
    w = world()
    w.payment(processor_reference="CS77")
    w.posting()
    w.settled(processor_reference="CS77")
    assert w.found() == []
    assert w.item()["state"] == "MATCHED_PROVISIONAL"


@pytest.mark.parametrize(("tender", "final"), [("EFT", date(2026, 12, 8)), ("CARD", date(2027, 2, 4))])
def test_final_after_the_return_window(world: Any, moment: Any, tender: str, final: date) -> None:
    """EFT: 7 October + 60 days = Sunday 6 December, + 2 banking days; card: + 120 days."""
    last = moment(5, 6).replace(year=final.year, month=final.month, day=final.day) + timedelta(days=1)
    for as_of, state in ((last - timedelta(seconds=1), "MATCHED_PROVISIONAL"), (last, "MATCHED_FINAL")):
        w = world(as_of=as_of)
        w.chain(tender=tender)
        assert w.item()["state"] == state


def test_a_payment_settled_at_another_amount_is_told_and_never_final(world: Any, moment: Any) -> None:
    w = world(as_of=moment(1).replace(year=2028))
    w.payment()
    w.posting()
    w.settled(1, "99.00")
    assert (w.item()["state"], w.item()["state_reason"]) == (
        "MATCHED_PROVISIONAL",
        "posted; settled 99.00 of 100.00 USD",
    )
