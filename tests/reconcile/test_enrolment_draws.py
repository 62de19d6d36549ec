"""B34 and B35: a draw that did not come, one too many, one after the payer had left."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

D = Decimal
ACCOUNT = "0012345678"
DRAW = date(2026, 10, 15)  # a Thursday
SAME = {"invoice_number": "INV-1"}


@pytest.fixture
def enrolled(world: Any, moment: Any) -> Any:
    """An account in AutoPay at both sides, and INV-1 with 80.00 to be drawn on the 15th."""

    def made(bill: dict[str, Any] | None = None, **more: Any) -> Any:
        w = world()
        row = {
            "account_number": ACCOUNT,
            "autopay": True,
            "enrolled_at": moment(1),
            "first_seen_at": moment(1),
        }
        w.add("autopay", **row | more)
        flag = {"account_number": ACCOUNT, "list": "AUTOPAY", "enrolled": True, "changed_at": moment(1)}
        w.add("flags", **flag, first_seen_at=moment(1))
        owed = {"invoice_number": "INV-1", "account_number": ACCOUNT, "balance": "80.00"}
        w.add(
            "bills", **owed | {"due_date": date(2026, 10, 17), "autopay_collection_date": DRAW} | (bill or {})
        )
        return w

    return made


def found(w: Any, *codes: str) -> list[tuple[str, str, Decimal]]:
    return [row for row in w.found() if row[0] in codes]


MISSED = [("B34", "INV-1", D("80.00"))]


def test_nothing_was_drawn(enrolled: Any) -> None:
    w = enrolled()
    assert w.found() == MISSED
    assert w.told("B34") == (
        "AutoPay did not draw 80.00 USD for invoice INV-1 (account …5678) on 2026-10-15 00:00, nor was it paid "
        "otherwise by 2026-10-19 00:00."
    )
    assert w.run().breaks["severity"].to_list() == ["HIGH"]


@pytest.mark.parametrize(
    ("day", "more", "is_found"),
    [
        (14, {}, False),
        (15, {"payment_source": "PORTAL_OTP"}, False),
        (16, {}, False),  # the day of grace
        (18, {}, False),  # Sunday belongs to the banking day before
        (19, {}, True),
        (15, {"invoice_number": "INV-2"}, True),
        (15, {"approved": False}, False),  # tried, and the card said no
        (15, {"approved": False, "payment_source": "PORTAL_OTP"}, True),
        (15, {"invoice_number": " inv\u20101"}, False),
    ],
)
def test_paid_or_tried_by_the_day_of_grace(
    enrolled: Any, moment: Any, day: int, more: dict[str, Any], is_found: bool
) -> None:
    w = enrolled()
    w.payment(1, "80.00", moment(day), **{"payment_source": "AUTOPAY"} | more)
    assert found(w, "B34") == (MISSED if is_found else [])


@pytest.mark.parametrize(
    ("more", "is_found"),
    [
        ({"enrolled_at": "the 13th"}, True),
        ({"enrolled_at": "the 14th"}, False),
        ({"cancelled_at": "the 14th"}, False),
        ({"cancelled_at": "the 20th"}, True),
        ({"gone_at": "the 14th"}, False),
        ({"autopay": False}, False),
        ({"invoice_type_id": "2"}, False),
        ({"invoice_type_id": "1"}, True),
        ({"account_number": "0099"}, False),
    ],
)
def test_who_counts_as_enrolled(enrolled: Any, moment: Any, more: dict[str, Any], is_found: bool) -> None:
    named = {k: moment(int(v[4:6])) if str(v).startswith("the ") else v for k, v in more.items()}
    w = enrolled({"invoice_type_id": "1"}, **named)
    assert bool(found(w, "B34")) is is_found


def test_the_collection_day_may_follow_from_the_due_date(enrolled: Any, moment: Any) -> None:
    for due, is_found in ((17, True), (31, False)):  # two days before it
        w = enrolled({"autopay_collection_date": None, "due_date": date(2026, 10, due)}, draw_offset_days=2)
        assert bool(found(w, "B34")) is is_found
    w = enrolled({"autopay_collection_date": None, "due_date": None})
    assert w.found() == []


def test_a_weekend_does_not_count(enrolled: Any, moment: Any) -> None:
    """To be drawn on Saturday the 17th: the day of grace is Monday."""
    for day, is_found in ((19, False), (20, True)):
        w = enrolled({"autopay_collection_date": date(2026, 10, 17)})
        w.payment(1, "80.00", moment(day), payment_source="AUTOPAY")
        assert bool(found(w, "B34")) is is_found


def test_nothing_owed_is_nothing_to_draw(enrolled: Any) -> None:
    assert enrolled({"balance": "0.00"}).found() == []
    assert enrolled({"balance": "-5.00"}).found() == []


def test_payments_that_are_not_complete_prove_nothing(enrolled: Any, moment: Any) -> None:
    for start, end, is_found in ((1, 16, False), (3, 30, False), (1, 30, True)):
        w = enrolled()
        w.poll("payments", moment(start, 0), moment(end, 0))
        assert bool(found(w, "B34")) is is_found


def test_without_flags_of_imt_draws_are_not_judged(enrolled: Any, moment: Any) -> None:
    w = enrolled()
    w.rows["flags"] = []
    w.event()
    drawn(w, 1, moment(5))
    drawn(w, 2, moment(8))
    assert w.found() == []


def drawn(w: Any, n: int, at: Any, amount: str = "100.00", **more: Any) -> None:
    w.payment(n, amount, at, **{**SAME, "payment_source": "AUTOPAY", **more})
    if more.get("approved", True):
        w.posting(n, amount, at + timedelta(hours=3), **SAME)
        w.settled(n, amount, (at + timedelta(days=2)).date())


@pytest.fixture
def twice(enrolled: Any, moment: Any) -> Any:
    """INV-1 owes 100.00, AutoPay draws it on the 5th; something else pays it on the 8th."""

    def made(amount: str = "100.00", owed: str = "100.00", **more: Any) -> Any:
        w = enrolled({"balance": "0.00"})
        w.event("INV-1", owed)
        drawn(w, 1, moment(5))
        drawn(w, 2, moment(8), amount, **{"payment_source": "RECURRING"} | more)
        return w

    return made


def test_autopay_and_a_recurring_payment(twice: Any, guid_of: Any) -> None:
    w = twice()
    assert w.found() == [("B35", guid_of(2), D("100.00"))]
    assert w.told("B35") == (
        f"Payment {guid_of(2)} of 100.00 USD on 2026-10-08 10:00 (account …5678) takes 100.00 USD more than invoice "
        f"INV-1 owed, which was 0.00 USD: AutoPay and another payment, {guid_of(1)} of 2026-10-05 10:00, for one "
        "invoice."
    )
    assert (w.item(2)["state"], w.item(2)["break_codes"]) == ("BROKEN", "B35")
    assert w.item(1)["state"] == "MATCHED_PROVISIONAL"


@pytest.mark.parametrize(
    ("amount", "owed", "above"),
    [
        ("100.00", "200.00", None),
        ("100.00", "199.99", "0.01"),
        ("60.00", "120.00", "40.00"),
        ("100.00", "-5.00", "100.00"),
    ],
)
def test_only_what_is_above_the_balance(
    twice: Any, guid_of: Any, amount: str, owed: str, above: str | None
) -> None:
    told = found(twice(amount, owed), "B35")
    assert [row for row in told if row[1] == guid_of(2)] == ([("B35", guid_of(2), D(above))] if above else [])


@pytest.mark.parametrize("first", ["RECURRING", "PORTAL_OTP", "AUTOPAY"])
def test_autopay_may_be_the_later_one_or_both(enrolled: Any, moment: Any, guid_of: Any, first: str) -> None:
    w = enrolled({"balance": "0.00"})
    w.event()
    drawn(w, 1, moment(5), payment_source=first)
    drawn(w, 2, moment(8))
    assert w.found() == [("B35", guid_of(2), D("100.00"))]


@pytest.mark.parametrize("more", [{"approved": False}, {"invoice_number": "INV-7"}, {"status": "VOIDED"}])
def test_what_is_no_second_collection(twice: Any, more: dict[str, Any]) -> None:
    assert found(twice(**more), "B35") == []


def test_two_payments_without_autopay_are_none_of_its(twice: Any, moment: Any) -> None:
    w = twice()
    w.rows["payments"][0]["payment_source"] = "PORTAL_OTP"
    assert found(w, "B35") == []


def test_money_that_went_back_was_not_collected(twice: Any, moment: Any) -> None:
    w = twice()
    w.returned(1, at=moment(9))
    w.posting(1, "-100.00", moment(9), kind="REVERSAL", **SAME)
    assert found(w, "B35") == []


def test_the_balance_is_that_of_the_later_payment(twice: Any, moment: Any, guid_of: Any) -> None:
    """IMT billed more in between; what it had not booked by then is still to come off."""
    w = twice()
    w.event("INV-1", "100.00", moment(7))
    assert found(w, "B35") == []
    w = twice()
    w.event("INV-1", "100.00", moment(5, 16))  # booked at 18
    assert found(w, "B35") == [("B35", guid_of(2), D("100.00"))]


def test_an_unknown_balance_is_no_break(twice: Any) -> None:
    w = twice()
    w.rows["events"] = []
    assert found(w, "B35") == []


def test_lines_of_a_split_payment_count_each_for_its_invoice(
    enrolled: Any, moment: Any, guid_of: Any
) -> None:
    w = enrolled({"balance": "0.00"})
    w.event("INV-11", "60.00")
    w.event("INV-12", "40.00")
    drawn(w, 1, moment(4), "60.00", invoice_number="INV-11")
    w.split("60.00", "40.00", n=2, payment_source="PORTAL_OTP", at=moment(5))
    for line, amount in ((1, "60.00"), (2, "40.00")):
        w.posting(2, amount, moment(5, 18), invoice_number=f"INV-1{line}")
    w.settled(2)
    assert found(w, "B35") == [("B35", guid_of(2), D("60.00"))]


@pytest.mark.parametrize(
    ("ic", "imt", "is_found"),
    [
        ({"autopay": False, "cancelled_at": 10}, {}, True),
        ({"autopay": False, "cancelled_at": 13}, {}, False),  # opted out after the draw
        ({"gone_at": 10}, {}, True),
        ({}, {"enrolled": False, "changed_at": 10}, True),
        ({}, {"enrolled": False, "changed_at": 13}, False),
        ({"enrolled_at": 11}, {"enrolled": False, "changed_at": 10}, False),  # joined again
        ({"autopay": False, "cancelled_at": 10}, {"changed_at": 11}, False),
        ({"autopay": False, "cancelled_at": 10, "account_number": "0099"}, {}, False),
    ],
)
def test_drawn_after_the_payer_had_left(
    enrolled: Any, moment: Any, guid_of: Any, ic: dict[str, Any], imt: dict[str, Any], is_found: bool
) -> None:
    w = enrolled(
        {"balance": "0.00"},
        **{k: moment(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v in ic.items()},
    )
    w.rows["flags"][0] |= {k: moment(v) if k == "changed_at" else v for k, v in imt.items()}
    w.event()
    drawn(w, 1, moment(12))
    told = found(w, "B35")
    assert told == ([("B35", guid_of(1), D("100.00"))] if is_found else [])
    if is_found:
        side = "IMT" if imt else "InvoiceCloud"
        assert w.told("B35").endswith(
            f"after the account had left AutoPay on 2026-10-10 10:00, as {side} has it."
        )


def test_one_who_left_pays_by_himself(enrolled: Any, moment: Any) -> None:
    w = enrolled({"balance": "0.00"}, autopay=False, cancelled_at=moment(10))
    w.event()
    drawn(w, 1, moment(12), payment_source="PORTAL_OTP")
    assert found(w, "B35") == []
