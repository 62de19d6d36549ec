"""B04 by what each invoice owed: other invoices' balances and payments say nothing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

D = Decimal


def codes(w: Any) -> list[str]:
    return [code for code, _, _ in w.found()]


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([("INV-1", "100.00", 1)], ["B04"]),
        ([("INV-1", "200.00", 1)], []),
        ([("INV-1", "200.00", 1), ("INV-9", "0.00", 2)], []),  # another invoice's balance says nothing
        ([("INV-1", "100.00", 1), ("INV-9", "900.00", 2)], ["B04"]),
        ([("INV-1", "900.00", 1), ("INV-1", "100.00", 2)], ["B04"]),  # the newest before the first payment
        ([("INV-1", "100.00", 1), ("INV-1", "900.00", 6)], ["B04"]),
        ([("INV-9", "100.00", 1)], []),
    ],
)
def test_b04_asks_what_this_invoice_owed(
    world: Any, moment: Any, events: list[tuple[str, str, int]], found: list[str]
) -> None:
    w = world()
    for number, balance, day in events:
        w.event(number, balance, moment(day))
    for n in (1, 2):
        at = moment(5) + timedelta(minutes=5 * n)
        w.payment(n, at=at, invoice_number="INV-1", payment_source="IVR")
        w.posting(n, at=at, invoice_number="INV-1")
        w.settled(n)
    assert codes(w) == found


def test_b04_counts_what_was_paid_since_the_balance_was_told(world: Any, moment: Any) -> None:
    """INV-1 owed 250.00 on the 1st; 50.01 and 100.00 were paid before the second 100.00 came: 149.99 for both."""
    for before, owed in (("50.01", "199.99"), ("50.00", None)):
        w = world()
        w.event("INV-1", "250.00", moment(1))
        for n, amount, at in ((3, before, moment(4)), (1, "100.00", moment(5)), (2, "100.00", moment(5, 16))):
            w.payment(n, amount, at, invoice_number="INV-1", payment_source="IVR")
            w.posting(n, amount, at, invoice_number="INV-1")
            w.settled(n, amount)
        assert codes(w) == (["B04"] if owed else [])
        if owed:
            assert w.told("B04").endswith(f"the invoice owed {owed} USD.")


def test_b04_on_two_invoices_each_by_its_own_balance(world: Any, moment: Any, guid_of: Any) -> None:
    """INV-1 owed both payments, INV-2 only one; through channels that nobody named."""
    w = world()
    w.event("INV-2", "100.00", moment(1))
    w.event("INV-1", "200.00", moment(2))
    for n, number in ((1, "INV-1"), (2, "INV-2"), (3, "INV-1"), (4, "INV-2")):
        at = moment(5, 15, n)
        w.payment(n, at=at, invoice_number=number)
        w.posting(n, at=at, invoice_number=number)
        w.settled(n)
    assert w.found() == [("B04", guid_of(4), D("100.00"))]
    assert w.told("B04").endswith(
        "paid through an unknown channel on 2026-10-05 10:02 and through an unknown channel on 2026-10-05 10:04; "
        "the invoice owed 100.00 USD."
    )


def test_b04_other_invoices_payments_take_nothing_off_a_balance(world: Any, moment: Any) -> None:
    w = world()
    for number in ("INV-1", "INV-2"):
        w.event(number, "199.99", moment(1))
    for n, number, day in ((1, "INV-2", 4), (2, "INV-1", 5), (3, "INV-1", 5), (4, "INV-2", 6)):
        at = moment(day, 15, n)
        w.payment(n, at=at, invoice_number=number)
        w.posting(n, at=at, invoice_number=number)
        w.settled(n)
    assert codes(w) == ["B04"]
    assert w.told("B04").endswith("the invoice owed 199.99 USD.")
