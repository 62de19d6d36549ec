"""What an invoice and an account owe now, case by case."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

HOUR = timedelta(hours=1)


def owes(books: Any, number: str) -> Decimal:
    answer = books.invoice(number)
    assert answer.result == "answered"
    return answer.of.balance_due


def test_facts_of_an_open_invoice(books: Any) -> None:
    books.load(
        "invoice_events",
        {"event_id": "E1", "invoice_number": "I1", "autopay_collection_date": date(2026, 11, 29)},
    )
    books.refresh()
    found = books.invoice("I1").of
    assert (found.invoice_number, found.account_number, found.balance_due) == ("I1", "A1", Decimal("100.00"))
    assert (found.invoice_date, found.due_date) == (date(2026, 11, 1), date(2026, 12, 1))
    assert found.autopay_collection_date == date(2026, 11, 29)
    assert (found.total_amount_due, found.minimum_amount_due) == (Decimal("100.00"), Decimal("25.00"))
    assert (found.payable, found.reason, found.allow_partial, found.successor) == (True, "", True, None)


def test_nothing_is_answered_before_imt_was_heard(books: Any) -> None:
    assert books.invoice("I1").result == "stale"
    assert books.invoice("I1").known_as_of is None
    books.load("invoice_events", {"event_id": "E1", "invoice_number": "I1"}, at=books.at - 4 * HOUR)
    books.refresh()
    late = books.invoice("I1")
    assert (late.result, late.of, late.known_as_of) == ("stale", None, books.at - 4 * HOUR)
    assert books.account("A1").result == "stale"
    assert books.invoice("I1", stale_minutes=240).result == "answered"
    books.load("postings", {"posting_id": "P1", "amount": Decimal(1), "invoice_number": "elsewhere"})
    books.refresh()
    assert books.invoice("I1").result == "answered"


@pytest.mark.parametrize("number", ["I9", "", "I1'", "I\x001", "I1\n", "\ud800", "x" * 70])
def test_unknown_numbers(books: Any, number: str) -> None:
    books.load("invoice_events", {"event_id": "E1", "invoice_number": "I1"})
    books.refresh()
    assert books.invoice(number).result == "unknown"
    assert books.account(number).result == "unknown"


def test_a_push_counts_at_once_and_for_a_while(books: Any) -> None:
    books.load("invoice_events", {"event_id": "E1", "invoice_number": "I1"})
    books.refresh()
    books.push(books.guid(1), 8000, invoice_number="I1")
    found = books.invoice("I1").of
    assert (found.balance_due, found.pushed_amount) == (Decimal("20.00"), Decimal("80.00"))
    assert found.minimum_amount_due == Decimal("20.00")
    books.push(books.guid(1), 8000, invoice_number="I1")  # again
    books.push(books.guid(1), 7000, invoice_number="I1")  # other content: a conflict lowers nothing
    books.push(books.guid(2), 5000, invoice_number="I1", approved=False)
    assert owes(books, "I1") == Decimal("20.00")
    books.push(books.guid(3), 5000, invoice_number="I1")
    found = books.invoice("I1").of
    assert (found.balance_due, found.payable, found.reason) == (Decimal("0.00"), False, "paid")
    assert books.account("A1").of.balance_due == Decimal("0.00")
    books.load(
        "postings", {"posting_id": "P", "amount": Decimal(1), "invoice_number": "I0"}, at=books.at + 5 * HOUR
    )
    books.refresh()
    assert books.invoice("I1", books.at + 5 * HOUR).of.balance_due == Decimal("100.00")


def test_the_posting_takes_over(books: Any) -> None:
    books.load("invoice_events", {"event_id": "E1", "invoice_number": "I1"})
    books.refresh()
    books.push(books.guid(1), 8000, invoice_number="I1")
    posting = {
        "posting_id": "P1",
        "payment_guid": books.guid(1).upper(),
        "amount": Decimal("80.00"),
        "invoice_number": "I1",
    }
    books.load("postings", posting)
    assert owes(books, "I1") == Decimal("20.00")
    assert books.refresh().pushes_posted == 1
    assert owes(books, "I1") == Decimal("20.00")
    books.load("postings", posting | {"posting_id": "P2", "kind": "REVERSAL", "amount": Decimal("-80.00")})
    books.refresh()
    assert owes(books, "I1") == Decimal("100.00")
    books.push(books.guid(2), 1000, invoice_number="I1")
    refused = {
        "posting_id": "P3",
        "payment_guid": books.guid(2),
        "amount": Decimal("10.00"),
        "status": "REFUSED",
    }
    books.load("postings", refused)
    assert books.refresh().pushes_posted == 0


def test_what_the_event_holds_counts_once(books: Any) -> None:
    """At the event's own moment and before it: in the event's balance. After it: not."""
    at = books.at - 5 * HOUR
    books.load("invoice_events", {"event_id": "E1", "invoice_number": "I1", "occurred_at": at})
    for n, shift in enumerate((-HOUR, 0 * HOUR, HOUR)):
        moment = {"posted_at": at + shift, "occurred_at": at + shift, "invoice_number": "I1"}
        books.load("postings", {"posting_id": f"P{n}", "amount": Decimal(10)} | moment)
        books.load("adjustments", {"adjustment_id": f"D{n}", "amount": Decimal(3)} | moment)
    books.refresh()
    assert owes(books, "I1") == Decimal("93.00")


def test_money_in_suspense_is_on_no_invoice(books: Any) -> None:
    books.load("invoice_events", {"event_id": "E1", "invoice_number": "I1"})
    suspense = {"posting_id": "P1", "kind": "SUSPENSE", "amount": Decimal(40), "invoice_number": "I1"}
    books.load("postings", suspense)
    out = {"posting_id": "P2", "kind": "REVERSAL", "amount": Decimal(-40), "reverses_posting_id": "P1"}
    books.load("postings", out | {"invoice_number": "I1"})
    books.refresh()
    assert owes(books, "I1") == Decimal("100.00")
    books.load(
        "postings", suspense | {"kind": "PAYMENT"}
    )  # IMT restates it: now it was a payment, taken back
    books.refresh()
    assert owes(books, "I1") == Decimal("100.00")
    books.load("postings", {"posting_id": "P3", "amount": Decimal(40), "invoice_number": "I1"})
    books.refresh()
    assert owes(books, "I1") == Decimal("60.00")


def test_paid_invoices_may_owe_again(books: Any) -> None:
    books.load(
        "invoice_events",
        {"event_id": "E1", "invoice_number": "I1", "event": "CHANGED", "balance_due": Decimal(0)},
    )
    books.refresh()
    found = books.invoice("I1").of
    assert (found.balance_due, found.payable, found.reason, found.minimum_amount_due) == (0, False, "paid", 0)
    books.load(
        "adjustments",
        {"adjustment_id": "D1", "kind": "FEE", "amount": Decimal("25.50"), "invoice_number": "I1"},
    )
    books.refresh()
    found = books.invoice("I1").of
    assert (found.balance_due, found.payable, found.reason) == (Decimal("25.50"), True, "")
    assert [one.invoice_number for one in books.account("A1").of.invoices] == ["I1"]


def test_a_credit_is_zero_on_its_invoice_and_counts_for_the_account(books: Any) -> None:
    books.load("invoice_events", *({"event_id": f"E{n}", "invoice_number": f"I{n}"} for n in (1, 2)))
    books.load(
        "adjustments",
        {"adjustment_id": "D1", "kind": "CREDIT", "amount": Decimal(-130), "invoice_number": "I1"},
    )
    books.refresh()
    assert owes(books, "I1") == Decimal("0.00")
    found = books.account("A1").of
    assert (found.balance_due, [one.invoice_number for one in found.invoices]) == (Decimal("70.00"), ["I2"])


def test_recalled_invoices_name_their_living_successor(books: Any) -> None:
    reissue = {"event": "REISSUED", "still_in_imt": True}
    books.load(
        "invoice_events",
        {"event_id": "E1", "invoice_number": "I1", "occurred_at": books.at - 9 * HOUR},
        reissue | {"event_id": "E2", "invoice_number": "I2", "replaces_invoice_number": "I1", "occurred_at": books.at - 8 * HOUR},
        reissue | {"event_id": "E3", "invoice_number": "I3", "replaces_invoice_number": "I2", "occurred_at": books.at - 7 * HOUR},
    )  # fmt: skip
    books.refresh()
    for number in ("I1", "I2"):
        found = books.invoice(number).of
        assert (found.balance_due, found.payable, found.reason, found.successor) == (
            0,
            False,
            "superseded",
            "I3",
        )
    assert books.invoice("I3").of.successor is None
    assert [one.invoice_number for one in books.account("A1").of.invoices] == ["I3"]
    gone = {"event_id": "E4", "invoice_number": "I3", "event": "CANCELLED", "still_in_imt": False}
    books.load("invoice_events", gone | {"occurred_at": books.at - 6 * HOUR})
    books.refresh()
    assert books.invoice("I3").of.reason == "cancelled"
    assert books.invoice("I1").of.successor is None
    assert books.account("A1").of == type(books.account("A1").of)(
        "A1", Decimal("0.00"), False, (), Decimal("0.00")
    )


def test_invoices_that_replace_each_other_end(books: Any) -> None:
    pair = [("I1", "I2"), ("I2", "I1")]
    books.load(
        "invoice_events",
        *(
            {
                "event_id": a,
                "invoice_number": a,
                "event": "REISSUED",
                "still_in_imt": True,
                "replaces_invoice_number": b,
            }
            for a, b in pair
        ),
    )
    books.refresh()
    found = books.invoice("I1").of
    assert (found.reason, found.successor) == ("superseded", None)


def test_money_beside_the_invoices(books: Any) -> None:
    books.load("invoice_events", {"event_id": "E1", "invoice_number": "I1"})
    books.load("adjustments", {"adjustment_id": "D1", "kind": "FEE", "amount": Decimal(20)})
    books.load(
        "adjustments", {"adjustment_id": "D2", "kind": "FEE", "amount": Decimal(7), "account_number": "A2"}
    )
    books.refresh()
    assert (books.account("A1").of.balance_due, owes(books, "I1")) == (Decimal("120.00"), Decimal("100.00"))
    assert (books.account("A2").of.balance_due, books.account("A2").of.payable) == (Decimal("7.00"), True)
    books.push(books.guid(1), 5000, account_number="A1")
    assert (books.account("A1").of.balance_due, owes(books, "I1")) == (Decimal("70.00"), Decimal("100.00"))
    cash = {"posting_id": "P1", "payment_guid": books.guid(1), "amount": Decimal(50)}
    books.load("postings", cash, {"posting_id": "P2", "amount": Decimal(60), "origin": "CLOUDSTORE"})
    books.refresh()
    assert (books.account("A1").of.balance_due, books.account("A1").of.pushed_amount) == (Decimal("70.00"), 0)
    books.load("postings", cash | {"posting_id": "P3", "kind": "TRANSFER", "invoice_number": "I1"})
    books.refresh()
    assert (books.account("A1").of.balance_due, owes(books, "I1")) == (Decimal("70.00"), Decimal("50.00"))


def test_money_that_came_for_a_recalled_invoice_stays_with_the_account(books: Any) -> None:
    books.load(
        "invoice_events",
        {"event_id": "E1", "invoice_number": "I1"},
        {"event_id": "E2", "invoice_number": "I2", "event": "REISSUED", "replaces_invoice_number": "I1", "still_in_imt": True},
    )  # fmt: skip
    books.refresh()
    books.push(books.guid(1), 6000, invoice_number="I1")
    assert books.account("A1").of.balance_due == Decimal("40.00")
    posting = {
        "posting_id": "P1",
        "payment_guid": books.guid(1),
        "amount": Decimal(60),
        "invoice_number": "I1",
    }
    books.load("postings", posting)
    books.refresh()
    assert (books.account("A1").of.balance_due, owes(books, "I2")) == (Decimal("40.00"), Decimal("100.00"))
    books.load("postings", posting | {"posting_id": "P2", "kind": "TRANSFER", "invoice_number": "I2"})
    books.refresh()
    assert (books.account("A1").of.balance_due, owes(books, "I2")) == (Decimal("40.00"), Decimal("40.00"))
    back = {"posting_id": "P3", "kind": "REFUND", "amount": Decimal(-500), "invoice_number": "I1"}
    books.load("postings", back)
    books.refresh()
    assert books.account("A1").of.balance_due == Decimal("40.00")  # a recalled invoice asks for nothing


def test_open_invoices_of_an_account_come_by_due_date(books: Any) -> None:
    due = {"I1": date(2026, 12, 9), "I2": None, "I3": date(2026, 11, 9), "I4": date(2026, 12, 9)}
    books.load(
        "invoice_events", *({"event_id": n, "invoice_number": n, "due_date": day} for n, day in due.items())
    )
    books.refresh()
    assert [one.invoice_number for one in books.account("A1").of.invoices] == ["I3", "I1", "I4", "I2"]
