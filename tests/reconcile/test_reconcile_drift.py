"""B27: InvoiceCloud was told a balance that was already wrong; and what explains a difference."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest


@pytest.fixture
def asked(world: Any, moment: Any) -> Any:
    """IMT says 80.00 since the 20th; InvoiceCloud asked at a time of the 21st, and was answered."""

    def made(answer: str = "100.00", **more: Any) -> Any:
        w = world()
        w.owes(at=moment(20))
        w.answered(balance=answer, at=moment(21), **more)
        return w

    return made


def drifts(w: Any) -> list[tuple[str, Decimal]]:
    return [(subject, amount) for code, subject, amount in w.found() if code == "B27"]


def test_told_the_old_balance_after_the_change(asked: Any) -> None:
    w = asked()
    assert w.found() == [("B27", "INV-1", Decimal("20.00"))]
    assert w.told("B27") == (
        "InvoiceCloud was told 100.00 USD for invoice INV-1 (account …5678) on 2026-10-21 10:00; IMT says 80.00 USD "
        "since 2026-10-20 10:00, 20.00 USD apart."
    )
    row = w.run().breaks.row(0, named=True)
    assert (row["severity"], row["invoice_number"], row["payment_guid"]) == ("MED", "INV-1", None)
    assert json.loads(row["evidence"])["told"]["view"] == "answer"


@pytest.mark.parametrize(
    "more",
    [
        {"answer": "80.00"},
        {"result": "stale"},
        {"result": "unknown"},
        {"subject": "ACCOUNT"},
        {"number": "INV-7"},
    ],
)
def test_what_is_no_wrong_answer(asked: Any, more: dict[str, Any]) -> None:
    assert asked(**more).found() == []


def test_answered_before_the_change_or_right_again(asked: Any, moment: Any) -> None:
    w = asked()
    w.rows["calls"][0]["called_at"] = moment(20) - timedelta(seconds=1)
    assert drifts(w) == []
    w.rows["calls"][0]["called_at"] = moment(20)
    assert drifts(w) == [("INV-1", Decimal("20.00"))]
    w.answered(balance="80.00", at=moment(22))
    assert drifts(w) == []
    w.answered(balance="60.00", at=moment(23))
    assert drifts(w) == [("INV-1", Decimal("-20.00"))]


def test_a_change_needs_an_hour_and_a_half(asked: Any, moment: Any) -> None:
    w = asked()
    w.rows["calls"][0]["called_at"] = moment(20, 15, 30)
    w.as_of = moment(20, 16, 30)
    assert drifts(w) == []
    w.as_of = moment(20, 16, 31)
    assert len(drifts(w)) == 1


def test_a_change_nobody_told_of_is_a_break_if_the_biller_says_so(world: Any, moment: Any) -> None:
    w = world(codes={"B27": {"untold_hours": 24}})
    w.owes(at=moment(20))
    w.answered(balance="100.00", at=moment(19))
    assert drifts(w) == [("INV-1", Decimal("20.00"))]
    w.as_of = moment(21, 15)
    assert drifts(w) == []


def test_a_credit_is_told_as_nothing_owed(asked: Any) -> None:
    w = asked("0.00")
    w.rows["balances"][0] |= {"balance": "-12.00", "status": "PAID"}
    assert drifts(w) == []
    w.rows["calls"][0]["balance_answered"] = "5.00"
    assert drifts(w) == [("INV-1", Decimal("5.00"))]


@pytest.mark.parametrize("status", ["SUPERSEDED", "CANCELLED"])
def test_a_dead_invoice_has_its_own_class(asked: Any, status: str) -> None:
    w = asked()
    w.rows["balances"][0]["status"] = status
    assert drifts(w) == []


def test_a_look_shows_it_too(world: Any, moment: Any) -> None:
    w = world()
    w.owes(at=moment(20))
    w.look(at=moment(21), balance_due="100.00")
    assert drifts(w) == [("INV-1", Decimal("20.00"))]
    assert "InvoiceCloud shows 100.00 USD" in w.told("B27")
    w.look(at=moment(22), found=False)
    assert len(drifts(w)) == 1
    w.record(at=moment(23))
    assert drifts(w) == []


def test_numbers_that_read_the_same(asked: Any) -> None:
    assert drifts(asked(invoice_number=" inv\u20131")) == [("INV-1", Decimal("20.00"))]


def test_a_payment_in_between_explains_it(asked: Any, moment: Any) -> None:
    """Paid or pushed, and not on IMT's invoice yet: the answer left it out, as it should."""
    w = asked("50.00")
    assert len(drifts(w)) == 1
    w.payment(1, "30.00", at=moment(20, 18))
    assert drifts(w) == []
    w.rows["payments"][0]["approved"] = False
    assert len(drifts(w)) == 1
    w.rows["payments"] = []
    w.push(1, "30.00", at=moment(20, 18))
    assert drifts(w) == []
    w.rows["pushes"][0]["approved"] = False
    assert len(drifts(w)) == 1


def test_paid_more_than_was_owed_is_told_as_nothing(asked: Any, moment: Any) -> None:
    w = asked("0.00")
    w.payment(1, "95.00", at=moment(20, 18))
    assert drifts(w) == []


def test_a_payment_that_is_posted_explains_nothing(asked: Any, moment: Any) -> None:
    w = asked("50.00")
    w.payment(1, "30.00", at=moment(19))
    w.push(1, "30.00", at=moment(19))
    w.posting(1, "30.00", at=moment(20), payment_guid=None, processor_reference="PR1")
    assert drifts(w) == [("INV-1", Decimal("-30.00"))]


def test_a_payment_after_the_answer(asked: Any, moment: Any) -> None:
    w = asked("80.00")
    w.payment(1, "30.00", at=moment(22))
    assert drifts(w) == []


def test_another_sum_is_no_explanation(asked: Any, moment: Any) -> None:
    w = asked("50.00")
    w.payment(1, "29.99", at=moment(20, 18))
    assert drifts(w) == [("INV-1", Decimal("-30.00"))]


def test_told_elsewhere_is_not_told_again(asked: Any, moment: Any) -> None:
    w = asked()
    w.record(at=moment(3), state="rejected")
    assert [code for code, _, _ in w.found()] == ["B26"]


def test_payments_must_be_known(asked: Any, moment: Any) -> None:
    w = asked()
    w.polled = False
    w.poll("payments", moment(1), moment(21, 14))
    assert drifts(w) == []
    w.rows["polls"] = []
    w.poll("payments", moment(1), moment(21, 16))
    assert len(drifts(w)) == 1
    w.rows["balances"][0]["changed_at"] = moment(1, month=8)
    w.rows["polls"] = []
    w.poll("payments", moment(7, 16), moment(21, 16))
    assert drifts(w) == []
    w.poll("payments", moment(7, 15), moment(8))
    assert len(drifts(w)) == 1
