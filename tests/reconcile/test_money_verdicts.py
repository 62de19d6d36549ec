"""The state of a payment with its reason and its due time, word by word, at each link of the chain."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

LATER = datetime.fromisoformat("2027-02-20T15:00Z")
BACK = {"kind": "REVERSAL", "reason": "NSF"}


def went_back(kind: str) -> Any:
    def made(w: Any, moment: Any) -> None:
        w.chain()
        w.settled(1, "-100.00", date(2026, 10, 9), transaction_type=kind, settled_batch_id="BACK")

    return made


def paid(*steps: tuple[str, tuple[Any, ...], dict[str, Any]], **more: Any) -> Any:
    """A payment and what follows: method of the world, arguments ("@14" is noon of the 14th), names."""

    def made(w: Any, moment: Any) -> None:
        w.payment(**more)
        for name, args, named in steps:
            getattr(w, name)(*(moment(int(a[1:])) if str(a).startswith("@") else a for a in args), **named)

    return made


def polled(settlements_to: int | None) -> Any:
    def made(w: Any, moment: Any) -> None:
        w.payment()
        w.posting()
        w.poll("payments", moment(1, month=8), w.as_of)
        if settlements_to:
            w.poll("settlements", moment(1, month=8), moment(settlements_to))

    return made


POSTED, SETTLED = ("posting", (), {}), ("settled", (), {})
REVERSED = ("posting", (1, "-100.00", "@9"), BACK)
RETURNED = ("returned", (), {})
PROVISIONAL, FLIGHT, DONE = "MATCHED_PROVISIONAL", "IN_FLIGHT", "EXPLAINED"


@pytest.mark.parametrize(
    ("make", "until", "state", "reason", "due"),
    [
        (paid(), (5, 22), FLIGHT, "not posted yet", "2026-10-05T23:00Z"),  # seen at 17:00, six hours
        (paid(POSTED), (7, 0), FLIGHT, "posted, not settled yet", "2026-10-09T05:00Z"),
        (paid(POSTED), (8, 20), FLIGHT, "posted, not settled yet", "2026-10-09T05:00Z"),
        (paid(("posting", (), {"kind": "SUSPENSE"})), (7, 0), FLIGHT, "in suspense, not settled yet", "2026-10-09T05:00Z"),
        (paid(POSTED, SETTLED, RETURNED, tender="EFT"), (9, 20), FLIGHT, "returned R01, not reversed yet", "2026-10-14T05:00Z"),
        (paid(POSTED, SETTLED, REVERSED, tender="EFT"), (9, 20), FLIGHT, "reversed, no return reported yet", "2026-10-15T05:00Z"),
        (paid(POSTED, SETTLED, RETURNED, REVERSED, tender="EFT"), (30, 0), DONE, "returned R01, reversed", None),
        (went_back("REJECT"), (30, 0), FLIGHT, "reject settled, not reported yet", None),
        (went_back("CHARGEBACK"), (30, 0), FLIGHT, "chargeback settled, not reported yet", None),
        (went_back("REFUND"), (30, 0), PROVISIONAL, "posted and settled", "2027-02-05T06:00Z"),
        (paid(POSTED, SETTLED, ("disputed", (), {})), (15, 0), FLIGHT, "charged back, not reversed yet", None),
        (paid(POSTED, SETTLED, ("disputed", (), {}), REVERSED), (15, 0), DONE, "charged back, reversed", None),
        (paid(POSTED, SETTLED, ("refunded", (), {}), REVERSED), (15, 0), DONE, "refunded, reversed", None),
        (paid(POSTED, SETTLED, REVERSED, status="REJECTED"), (30, 0), DONE, "rejected, reversed", None),
        (paid(approved=False), (30, 0), DONE, "declined", None),
        (paid(status="VOIDED"), (30, 0), DONE, "voided", None),
        (paid(POSTED, REVERSED, status="VOIDED"), (30, 0), DONE, "voided, posted and reversed", None),
        (paid(amount="-10.00"), (30, 0), DONE, "refund of another payment", None),
        (polled(6), (30, 23), FLIGHT, "held: settlements not complete since 2026-10-06 15:00Z", None),
        (polled(None), (30, 23), FLIGHT, "held: settlements not complete since the payment", None),
        (paid(("posting", (), {"kind": "SUSPENSE"}), SETTLED), (30, 0), PROVISIONAL, "in suspense and settled", "2027-02-05T06:00Z"),
        (paid(POSTED, ("settled", (1, "99.00"), {})), (30, 0), PROVISIONAL, "posted; settled 99.00 of 100.00 USD", "2027-02-05T06:00Z"),
        (paid(POSTED, SETTLED, tender="EFT"), (30, 0), PROVISIONAL, "posted and settled", "2026-12-09T06:00Z"),
        (paid(POSTED, SETTLED), LATER, "MATCHED_FINAL", "posted and settled", None),
        (paid(POSTED, ("settled", (1, "99.00"), {})), LATER, PROVISIONAL, "posted; settled 99.00 of 100.00 USD", "2027-02-05T06:00Z"),
    ],
)  # fmt: skip
def test_state_reason_and_due_time(
    world: Any, moment: Any, make: Any, until: Any, state: str, reason: str, due: str | None
) -> None:
    w = world(as_of=until if isinstance(until, datetime) else moment(*until))
    make(w, moment)
    item = w.item()
    assert (item["state"], item["state_reason"], item["break_codes"]) == (state, reason, None)
    assert item["due_by"] == (datetime.fromisoformat(due) if due else None)


def test_held_while_postings_are_not_complete(world: Any, moment: Any) -> None:
    w = world()
    w.payment()
    w.poll("payments", moment(1, month=8), w.as_of)
    w.poll("postings", moment(1, month=8), moment(5, 16))
    item = w.item()
    assert item["state_reason"] == "held: postings not complete to the payment's due time"
    assert (item["state"], item["due_by"]) == ("IN_FLIGHT", None)


def test_every_class_of_a_payment_is_named_in_order(world: Any, moment: Any, guid_of: Any) -> None:
    """On a dead invoice, returned twice and not reversed, drawn by AutoPay."""
    w = world()
    w.invoice("INV-1", "CANCELLED", moment(4))
    w.chain(tender="EFT")
    w.returned(1, "60.00", moment(8))
    w.returned(1, "60.00", moment(9), return_code="R09")
    assert w.item()["break_codes"] == "B16,B20,B30,B19"
    assert w.item()["state_reason"] == "B16,B20,B30,B19"
    assert [(code, amount) for code, _, amount in w.found()] == [
        ("B16", Decimal("60.00")),
        ("B19", Decimal("-40.00")),
        ("B20", Decimal("60.00")),
        ("B30", Decimal("100.00")),
    ]


@pytest.mark.parametrize(
    ("kinds", "codes"),
    [
        (("PAYMENT",), ["B30"]),
        (("SUSPENSE",), []),  # where it belongs
        (("SUSPENSE", "BACK"), ["B30"]),
        (("SUSPENSE", "PAYMENT"), ["B30"]),
    ],
)
def test_money_of_a_dead_invoice(world: Any, moment: Any, kinds: tuple[str, ...], codes: list[str]) -> None:
    w = world(as_of=moment(8))
    w.invoice("INV-1", "CANCELLED", moment(4))
    w.payment()
    w.settled()
    for kind in kinds:
        if kind == "BACK":
            w.posting(1, "-100.00", moment(6), kind="REVERSAL", reverses_posting_id="P1")
        else:
            w.posting(1, kind=kind)
    assert [code for code, _, _ in w.found()] == codes


@pytest.mark.parametrize("more", [{"approved": False}, {"status": "DECLINED"}, {"amount": "-100.00"}])
def test_no_money_on_a_dead_invoice(world: Any, moment: Any, more: dict[str, Any]) -> None:
    w = world(as_of=moment(8))
    w.invoice("INV-1", "CANCELLED", moment(4))
    w.payment(**more)
    assert w.found() == []


@pytest.mark.parametrize(("back", "codes"), [("100.00", []), ("99.99", ["B30"]), ("60.00", ["B30"])])
def test_money_of_a_dead_invoice_that_went_back(world: Any, moment: Any, back: str, codes: list[str]) -> None:
    w = world(as_of=moment(9, 18))
    w.invoice("INV-1", "CANCELLED", moment(4))
    w.chain()
    w.settled(1, f"-{back}", date(2026, 10, 9), transaction_type="REJECT", settled_batch_id="BACK")
    assert [code for code, _, _ in w.found()] == codes


@pytest.mark.parametrize(
    ("steps", "posted", "back"),
    [
        ([("100.00", "SUSPENSE", None), ("-100.00", "REVERSAL", "P1")], "100.00", "100.00"),
        ([("100.00", "SUSPENSE", None), ("100.00", "PAYMENT", None)], "100.00", "0.00"),
        # placed: what takes the suspense posting back is no reversal of the payment
        ([("100.00", "SUSPENSE", None), ("100.00", "PAYMENT", None), ("-100.00", "REVERSAL", "P1")], "100.00", "0.00"),
        ([("100.00", "SUSPENSE", None), ("100.00", "PAYMENT", None), ("-40.00", "REVERSAL", "P2")], "100.00", "40.00"),
    ],
)  # fmt: skip
def test_suspense_counts_while_nothing_is_paid(
    world: Any, moment: Any, steps: list[tuple[str, str, str | None]], posted: str, back: str
) -> None:
    w = world()
    w.payment()
    w.settled()
    for hour, (amount, kind, undoes) in enumerate(steps):
        w.posting(1, amount, moment(6, hour), kind=kind, reverses_posting_id=undoes)
    item = w.item()
    assert (item["posted_amount"], item["reversed_amount"]) == (Decimal(posted), Decimal(back))


@pytest.mark.parametrize(
    ("reversal", "again", "state"),
    [
        (9, None, "EXPLAINED"),
        (8, None, "EXPLAINED"),  # in full, ahead of the return's news
        (9, 12, "MATCHED_PROVISIONAL"),  # collected again
        (9, 8, "BROKEN"),  # posted twice before it came back
    ],
)
def test_a_return_undone_and_collected_again(
    world: Any, moment: Any, reversal: int, again: int | None, state: str
) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned(1, at=moment(9, 6))
    w.posting(1, "-100.00", moment(reversal, 18), kind="REVERSAL", reason="NSF")
    if again:
        w.posting(1, "100.00", moment(again, 20))
    assert w.item()["state"] == state


@pytest.mark.parametrize(
    ("posted", "settled", "codes"),
    [
        ((), True, "B01"),
        ((("100.00", {}), ("100.00", {})), True, "B03"),
        ((("90.00", {}),), True, "B05"),
        ((("97.50", {}),), True, "B06"),
        ((("100.00", {"invoice_number": "INV-2"}),), True, "B08"),
        ((("100.00", {}),), False, "B10"),
        ((("90.00", {}),), False, "B05,B10"),
        ((), False, "B01,B10"),
    ],
)
def test_a_broken_payment_names_its_classes(
    world: Any, posted: tuple[Any, ...], settled: bool, codes: str
) -> None:
    w = world()
    w.payment()
    for amount, more in posted:
        w.posting(1, amount, **more)
    if settled:
        w.settled()
    item = w.item()
    assert (item["state"], item["state_reason"], item["break_codes"]) == ("BROKEN", codes, codes)
    assert [code for code, _, _ in w.found()] == codes.split(",")


def test_an_ambiguous_payment_is_judged_by_nothing_else(world: Any) -> None:
    w = world()
    for n in (1, 2):
        w.payment(n, processor_reference="PR1", invoice_number="INV-1")
    w.posting(1, payment_guid=None, processor_reference="PR1")
    items = w.run().items.select("state", "state_reason", "break_codes", "due_by").rows()
    assert items == [("AMBIGUOUS", "more than one candidate on either side", None, None)] * 2
    assert {code for code, _, _ in w.found()} == {"B40"}
