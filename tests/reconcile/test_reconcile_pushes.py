"""What the Data Pump pushed against what the report says, what it never delivered, and what only it knows."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.errors import SettingsError
from tasks.reconcile import load_rules


def pumped(world: Any, moment: Any, **more: Any) -> Any:
    """Pushes are expected from the first of October."""
    return world(pump_since=moment(1), **more)


@pytest.fixture
def pushed(world: Any, moment: Any) -> Any:
    """A payment that is posted and settled as reported, and pushed as given."""

    def made(**push: Any) -> Any:
        w = pumped(world, moment)
        w.chain(agent_code="A-17")
        w.push(**push)
        return w

    return made


def test_pushed_as_reported(pushed: Any, moment: Any) -> None:
    w = pushed()
    assert w.found() == []
    assert w.item()["pushed_at"] == moment(5, 15, 1)
    w = pushed(payment_guid="00000000-0000-4000-8000-000000000001".upper(), account_number=" 0012345678")
    assert w.found() == []
    assert w.item()["pushed_at"] is not None


def test_pushed_in_time_or_late(pushed: Any, moment: Any) -> None:
    w = pushed(received_at=moment(29))
    assert w.found() == []
    assert w.item()["pushed_at"] == moment(29)


@pytest.mark.parametrize(
    ("push", "code", "amount", "sentence"),
    [
        (
            {"amount": "90.00"}, "B05", "-10.00",
            "Payment {} (account …5678) was pushed with 90.00 USD and is reported with 100.00 USD; difference -10.00 USD.",
        ),
        (
            {"account_number": "0087654321"}, "B08", "100.00",
            "Payment {} of 100.00 USD is reported for account …5678, invoice INV-1, and was pushed for account …4321, "
            "invoice INV-1.",
        ),
        (
            {"invoice_number": "INV-7", "amount": "90.00"}, "B08", "100.00",
            "Payment {} of 100.00 USD is reported for account …5678, invoice INV-1, and was pushed for account …5678, "
            "invoice INV-7.",
        ),
        (
            {"agent_code": "A-99"}, "B08", "100.00",
            "Payment {} of 100.00 USD (account …5678) is reported for agent A-17, and agent A-99 stands in the push.",
        ),
        (
            {"approved": False, "amount": "90.00"}, "B09", "100.00",
            "Payment {} of 100.00 USD (account …5678) is approved in the report and was pushed as declined.",
        ),
    ],
)  # fmt: skip
def test_pushed_otherwise(
    pushed: Any, guid_of: Any, push: dict[str, Any], code: str, amount: str, sentence: str
) -> None:
    w = pushed(**push)
    assert w.found() == [(code, guid_of(1), Decimal(amount))]
    assert w.told(code) == sentence.format(guid_of(1))
    evidence = json.loads(w.run().breaks["evidence"].item())
    assert [row["variant"] for row in evidence["push"]] == [1]
    assert w.item()["state"] == "BROKEN"


@pytest.mark.parametrize(
    "push",
    [{"invoice_number": None}, {"account_number": None}, {"agent_code": None}, {"agent_code": " a-17"}],
)
def test_what_is_not_pushed_says_nothing(pushed: Any, push: dict[str, Any]) -> None:
    assert pushed(**push).found() == []


def test_one_content_that_agrees_is_enough(pushed: Any, guid_of: Any) -> None:
    w = pushed(amount="90.00")
    w.push(variant=2)
    assert w.found() == []
    w = pushed()
    w.push(variant=2, amount="90.00")
    assert w.found() == []
    w = pushed(amount="90.00")
    w.push(variant=2, amount="80.00")
    assert w.found() == [("B05", guid_of(1), Decimal("-20.00"))]


@pytest.mark.parametrize(
    ("payment", "push", "codes"),
    [
        ({"approved": False}, {"approved": False}, []),
        ({"approved": False}, {"approved": False, "amount": "90.00", "invoice_number": "INV-7"}, []),
        ({"approved": False}, {"approved": True}, ["B09"]),
        ({"approved": True, "status": "VOIDED"}, {"approved": True}, []),
        ({"approved": False, "status": "VOIDED"}, {"approved": True}, []),
        ({"approved": False, "status": "DECLINED"}, {"approved": True}, ["B09"]),
    ],
)
def test_declined_and_voided(
    world: Any, moment: Any, payment: dict[str, Any], push: dict[str, Any], codes: list[str]
) -> None:
    w = pumped(world, moment)
    w.payment(**payment)
    w.push(**push)
    assert [code for code, _, _ in w.found()] == codes


def test_a_class_of_the_postings_goes_first(world: Any, moment: Any, guid_of: Any) -> None:
    """Posted as it was wrongly pushed: one break, the posting's, with the push as evidence."""
    w = pumped(world, moment)
    w.payment()
    w.posting(1, "90.00")
    w.settled()
    w.push(amount="90.00")
    assert w.found() == [("B05", guid_of(1), Decimal("-10.00"))]
    assert "stands at 90.00 USD in IMT" in w.told("B05")
    assert json.loads(w.run().breaks["evidence"].item())["push"][0]["payment_amount"] == "90.00"


def test_status_goes_before_missing(world: Any, moment: Any) -> None:
    w = pumped(world, moment)
    w.payment()
    w.settled()
    w.push(approved=False)
    assert [code for code, _, _ in w.found()] == ["B09"]


def test_agent_of_the_posting(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    w.payment(agent_code="A-17")
    w.posting(agent_code=" a-17")
    w.settled()
    assert w.found() == []
    w.rows["postings"][0]["agent_code"] = "A-99"
    assert w.found() == [("B08", guid_of(1), Decimal("100.00"))]
    assert w.told("B08").endswith("is reported for agent A-17, and agent A-99 stands in IMT's posting.")
    w.posting(1, "-100.00", moment(6), kind="REVERSAL", reverses_posting_id="P1")
    w.posting(1, "100.00", moment(6, 18), agent_code="A-17")
    assert w.found() == []


def test_pushed_whole_or_line_by_line(world: Any, moment: Any, guid_of: Any) -> None:
    w = pumped(world, moment)
    w.split("60.00", "40.00")
    for number, amount in (("INV-11", "60.00"), ("INV-12", "40.00")):
        w.posting(1, amount, invoice_number=number)
        w.settled(1, amount, invoice_number=number)
    for invoice, amount in ((None, "100.00"), ("INV-12", "100.00"), ("INV-12", "40.00")):
        w.rows["pushes"] = []
        w.push(invoice_number=invoice, amount=amount)
        assert w.found() == []
    for invoice, amount, code in (("INV-12", "60.00", "B05"), ("INV-7", "100.00", "B08")):
        w.rows["pushes"] = []
        w.push(invoice_number=invoice, amount=amount)
        assert [found for found, _, _ in w.found()] == [code]


def test_missing_in_books_says_whether_it_was_pushed(world: Any, moment: Any, guid_of: Any) -> None:
    w = pumped(world, moment)
    w.payment()
    w.settled()
    assert w.found() == [("B01", guid_of(1), Decimal("100.00"))]
    assert w.told("B01").endswith(
        "it was due by 2026-10-05 18:00. The Data Pump never delivered it; it was first seen by poll."
    )
    w.push()
    assert w.told("B01").endswith("it was due by 2026-10-05 18:00. The Data Pump delivered it.")
    for rules in ({}, {"pump_since": moment(6)}):
        silent = world(**rules)
        silent.payment()
        silent.settled()
        assert silent.told("B01").endswith("is not in IMT; it was due by 2026-10-05 18:00.")


@pytest.fixture
def unreported(world: Any, moment: Any) -> Any:
    """Approved, pushed on the 5th, in no report and in no books."""

    def made(as_of: datetime | None = None, **push: Any) -> Any:
        w = pumped(world, moment, as_of=as_of)
        w.push(**push)
        return w

    return made


def test_pushed_and_never_reported(unreported: Any, guid_of: Any) -> None:
    w = unreported()
    assert w.found() == [("B02", guid_of(1), Decimal("100.00"))]
    assert w.told("B02") == (
        f"Payment {guid_of(1)} of 100.00 USD on 2026-10-05 10:00 (account …5678, invoice INV-1) was pushed as approved "
        "and is in no payment report, nor in IMT."
    )


def test_pushed_and_posted_and_never_reported_is_one_break(unreported: Any) -> None:
    w = unreported()
    w.posting(1)
    assert [(code, subject) for code, subject, _ in w.found()] == [("B02", "P1")]


@pytest.mark.parametrize(
    "push",
    [{"approved": False}, {"variant": 2}, {"payment_source": "CLOUDSTORE"}],
)
def test_what_need_not_be_reported(unreported: Any, push: dict[str, Any]) -> None:
    assert unreported(**push).found() == []


def test_a_push_waits_for_its_grace_and_for_a_complete_feed(unreported: Any, moment: Any) -> None:
    assert unreported(as_of=moment(6, 15, 1)).found() == []
    assert len(unreported(as_of=moment(6, 15, 2)).found()) == 1
    w = unreported()
    w.polled = False
    w.poll("payments", moment(1), moment(5, 15))
    assert "B02" not in [code for code, _, _ in w.found()]
    held = w.run().totals.filter((pl.col("kind") == "held") & (pl.col("name") == "B02"))
    assert held.select("rows", "amount").row(0) == (1, Decimal("100.00"))


def arrivals(w: Any) -> list[tuple[str, int, Decimal]]:
    return w.run().totals.filter(pl.col("kind") == "pushed").select("name", "rows", "amount").rows()  # type: ignore[no-any-return]


def test_push_loss(world: Any, moment: Any) -> None:
    w = world(pump_since=moment(5, 15))
    w.chain(1, at=moment(5, 14, 59))
    w.chain(2, at=moment(5, 15))
    w.chain(3, at=moment(6))
    w.payment(4, approved=False)
    w.payment(5, "30.00", at=moment(30, 22))
    w.payment(6, "-100.00", refund_of_guid="x")
    w.split("60.00", "40.00", n=7)
    w.push(3, at=moment(6))
    w.push(4, approved=False)
    w.push(4, approved=False, variant=2)
    assert arrivals(w) == [
        ("reported", 4, Decimal("400.00")), ("pushed", 2, Decimal("200.00")), ("lost", 2, Decimal("200.00"))
    ]  # fmt: skip
    w.as_of = moment(30, 23, 1)
    assert arrivals(w)[0] == ("reported", 5, Decimal("430.00"))


def test_no_push_is_expected(world: Any) -> None:
    w = world()
    w.chain()
    assert arrivals(w) == []
    assert w.item()["pushed_at"] is None


def test_the_begin_of_pushes_needs_a_zone() -> None:
    with pytest.raises(SettingsError, match="pump_since"):
        load_rules({"pump_since": datetime(2026, 10, 1)})


def test_further_sentences_are_checked_too() -> None:
    with pytest.raises(SettingsError, match="did you mean 'amount'"):
        load_rules({"codes": {"B05": {"sentences": {"pushed": "{amuont}"}}}})


def test_many_pushes_of_one_payment(pushed: Any, guid_of: Any) -> None:
    w = pushed(amount="1.00")
    for n in range(2, 12):
        w.push(variant=n, amount=f"{n}.00", received_at=w.as_of - timedelta(hours=n))
    assert w.found() == [("B05", guid_of(1), Decimal("-89.00"))]
