"""B04: paid twice within hours for more than was owed; and everything that only looks like it."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

SAME = {"invoice_number": "INV-1"}


@pytest.fixture
def twice(world: Any, moment: Any) -> Any:
    """INV-1 owes 100.00; it is paid on the portal, and five minutes later once more through the agent."""

    def made(apart: timedelta = timedelta(minutes=5), amount: str = "100.00", **more: Any) -> Any:
        w = world()
        w.event()
        paid(w, 1, moment(5), payment_source="PORTAL_OTP")
        paid(w, 2, moment(5) + apart, amount, **{"payment_source": "AGENTCONNECT"} | more)
        return w

    return made


def paid(w: Any, n: int, at: Any, amount: str = "100.00", **more: Any) -> None:
    w.payment(n, amount, at, **{**SAME, **more})
    if more.get("approved", True) and more.get("status") != "VOIDED":
        w.posting(
            n,
            amount,
            at,
            **{k: v for k, v in {**SAME, **more}.items() if k in ("invoice_number", "account_number")},
        )
        w.settled(n, amount, (at + timedelta(days=2)).date())


def doubles(w: Any) -> list[tuple[str, Decimal]]:
    return [(subject, amount) for code, subject, amount in w.found() if code == "B04"]


def test_through_two_channels(twice: Any, guid_of: Any) -> None:
    w = twice()
    assert w.found() == [("B04", guid_of(2), Decimal("100.00"))]
    row = w.run().breaks.row(0, named=True)
    assert row["sentence"] == (
        f"Payment {guid_of(2)} of 100.00 USD on 2026-10-05 10:05 (account …5678, invoice INV-1) looks like a second "
        f"payment of {guid_of(1)}: same account, invoice and amount, paid through PORTAL_OTP on 2026-10-05 10:00 and "
        "through AGENTCONNECT on 2026-10-05 10:05; the invoice owed 100.00 USD."
    )
    assert (row["severity"], row["payment_guid"], row["invoice_number"]) == ("MED", guid_of(2), "INV-1")
    assert json.loads(row["evidence"])["first"]["payment_guid"] == guid_of(1)
    assert (w.item(2)["state"], w.item(2)["break_codes"]) == ("BROKEN", "B04")
    assert w.item(1)["state"] == "MATCHED_PROVISIONAL"


@pytest.mark.parametrize(
    ("apart", "source", "is_found"),
    [
        (timedelta(minutes=15), "AGENTCONNECT", True),
        (timedelta(minutes=15, seconds=1), "AGENTCONNECT", False),
        (timedelta(minutes=15, seconds=1), "PORTAL_OTP", True),
        (timedelta(hours=24), "PORTAL_OTP", True),
        (timedelta(hours=25), "PORTAL_OTP", False),
        (timedelta(0), "PORTAL_OTP", True),
        (timedelta(hours=2), None, False),
    ],
)
def test_how_far_apart(
    twice: Any, guid_of: Any, apart: timedelta, source: str | None, is_found: bool
) -> None:
    expected = [(guid_of(2), Decimal("100.00"))] if is_found else []
    assert doubles(twice(apart, payment_source=source)) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"amount": "100.01"},
        {"invoice_number": "INV-7"},
        {"account_number": "0087654321"},
        {"approved": False},
        {"status": "VOIDED"},
    ],
)
def test_what_is_no_second_payment(twice: Any, other: dict[str, Any]) -> None:
    w = twice(**other)
    w.event("INV-7")
    assert w.found() == []


@pytest.mark.parametrize("which", [1, 2])
def test_money_that_went_back_is_not_there_twice(twice: Any, moment: Any, which: int) -> None:
    w = twice()
    w.returned(which, at=moment(9))
    w.posting(which, "-100.00", moment(9), kind="REVERSAL", invoice_number="INV-1")
    assert doubles(w) == []


def test_refunded(twice: Any, moment: Any, guid_of: Any) -> None:
    w = twice()
    w.payment(3, "-100.00", moment(6), refund_of_guid=guid_of(2), status="REFUNDED", **SAME)
    assert doubles(w) == []


@pytest.mark.parametrize(
    ("owed", "is_found"), [("199.99", True), ("200.00", False), ("0.00", True), ("-5.00", True)]
)
def test_the_balance_covers_both_or_not(
    world: Any, moment: Any, guid_of: Any, owed: str, is_found: bool
) -> None:
    w = world()
    w.event("INV-1", owed)
    paid(w, 1, moment(5))
    paid(w, 2, moment(5, 16))
    assert doubles(w) == ([(guid_of(2), Decimal("100.00"))] if is_found else [])


def test_the_balance_is_that_at_the_first_payment(world: Any, moment: Any, guid_of: Any) -> None:
    """Later events do not count, earlier ones are superseded, and what was paid since the event is off."""
    w = world()
    w.event("INV-1", "50.00", moment(1))
    w.event("INV-1", "300.00", moment(3))
    w.event("INV-1", "0.00", moment(6))
    paid(w, 1, moment(5))
    paid(w, 2, moment(5, 16))
    assert doubles(w) == []
    paid(w, 3, moment(4), "100.01")
    assert doubles(w) == [(guid_of(2), Decimal("100.00"))]
    w.rows["payments"][-1]["payment_date"] = moment(2)
    assert doubles(w) == []


def test_an_unknown_balance_is_no_break(twice: Any, moment: Any) -> None:
    w = twice()
    w.rows["events"] = []
    assert doubles(w) == []
    w.event("INV-1", at=moment(5, 16))
    assert doubles(w) == []
    w.event("INV-2")
    assert doubles(w) == []


def test_the_number_reads_the_same(twice: Any) -> None:
    w = twice()
    w.rows["events"] = []
    w.event(" inv\u20131")
    assert len(doubles(w)) == 1


def test_three_of_a_kind_are_two_too_many(twice: Any, moment: Any, guid_of: Any) -> None:
    w = twice()
    paid(w, 3, moment(5, 17), payment_source="PORTAL_OTP")
    assert [subject for subject, _ in doubles(w)] == [guid_of(2), guid_of(3)]


def test_each_line_of_a_split_payment_counts_for_its_invoice(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    for line in (1, 2):
        w.event(f"INV-1{line}", "60.00")
    for n in (1, 2):
        w.split("60.00", "40.00", n=n, at=moment(5, 15, n))
        for line, amount in ((1, "60.00"), (2, "40.00")):
            w.posting(n, amount, moment(5, 16), invoice_number=f"INV-1{line}")
            w.settled(n, amount, invoice_number=f"INV-1{line}")
    assert w.found() == [("B04", guid_of(2), Decimal("100.00"))]


def test_hours_and_minutes_are_rules(world: Any, moment: Any) -> None:
    w = world(codes={"B04": {"within_hours": 48}})
    w.event()
    paid(w, 1, moment(5))
    paid(w, 2, moment(7))
    assert len(doubles(w)) == 1
