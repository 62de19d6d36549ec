"""B41: aged suspense. B43: shares of returned debits near the limits."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

D = Decimal


@pytest.mark.parametrize(
    ("age", "severity"),
    [
        (timedelta(days=8), None),
        (timedelta(days=9), "MED"),
        (timedelta(days=41), "MED"),
        (timedelta(days=44), "HIGH"),
    ],
)
def test_b41_by_age(world: Any, moment: Any, age: timedelta, severity: str | None) -> None:
    """Booked on Tuesday the 6th: the 12th is a holiday, so the 15th is the sixth banking day; 30 on 19 November."""
    w = world(as_of=moment(6, 20) + age)
    w.posting(1, "75.50", moment(6), kind="SUSPENSE", posting_id="S", payment_guid=None, origin="IC")
    found = [row for row in w.found() if row[0] == "B41"]
    assert found == ([("B41", "S", D("75.50"))] if severity else [])
    assert w.run().breaks.filter(code="B41")["severity"].to_list() == ([severity] if severity else [])


def test_b41_tells_how_long(world: Any, moment: Any) -> None:
    w = world()
    w.posting(1, "75.50", moment(6), kind="SUSPENSE", posting_id="S", payment_guid=None)
    assert "S of 75.50 USD on 2026-10-06 10:00 (account …5678) is not placed for 17 banking days" in w.told(
        "B41"
    )


@pytest.mark.parametrize(
    "placed",
    [
        {"kind": "REVERSAL", "amount": "-100.00", "reverses_posting_id": "S", "payment_guid": None},
        {"kind": "TRANSFER", "amount": "-100.00", "reverses_posting_id": "S", "payment_guid": None},
        {"kind": "REFUND", "amount": "-100.00"},
        {"kind": "PAYMENT", "amount": "100.00"},
    ],
)
def test_b41_not_once_placed(world: Any, moment: Any, placed: dict[str, Any]) -> None:
    w = world()
    w.payment()
    w.posting(kind="SUSPENSE", posting_id="S")
    assert ("B41", "S", D("100.00")) in w.found()
    w.posting(at=moment(8), **placed)
    assert "B41" not in [code for code, _, _ in w.found()]
    w.rows["postings"][-1]["status"] = "REFUSED"
    assert "B41" in [code for code, _, _ in w.found()]


def test_b41_not_for_other_money_nor_for_what_was_paid_before(world: Any, moment: Any) -> None:
    w = world()
    w.posting(1, kind="SUSPENSE", origin="LOCKBOX")
    assert w.found() == []
    w.posting(2, kind="SUSPENSE", posting_id="S")
    w.posting(2, at=moment(1), kind="PAYMENT", origin="OTHER")
    assert "B41" in [code for code, _, _ in w.found()]


def rates(w: Any, debits: int, *codes: str) -> None:
    for n in range(1, debits + 1):
        w.payment(n, tender="EFT")
    for n, code in enumerate(codes, 1):
        w.returned(n, return_code=code)


@pytest.mark.parametrize(
    ("debits", "codes", "found"),
    [
        (500, ["R10", "R29"], ["UNAUTHORISED"]),  # 0.4 %: 80 % of 0.5 %
        (501, ["R10", "R29"], []),
        (250, ["R02", "R03", "R04", "R02", "r03 ", "R04"], ["ADMINISTRATIVE"]),  # 2.4 %
        (251, ["R02", "R03", "R04", "R02", "R03", "R04"], []),
        (25, ["R01", "R01", "R97"], ["ALL"]),  # 12 %, unknown codes too
        (26, ["R01", "R01", "R97"], []),
        (25, ["R01", "R01", "R68"], []),  # news between banks is no return
        (100, ["R10"], []),  # too few to show a rate
    ],
)
def test_b43_at_four_fifths_of_the_limit(world: Any, debits: int, codes: list[str], found: list[str]) -> None:
    w = world(codes={"B43": {"at_least": 2}})
    rates(w, debits, *codes)
    assert [row for row in w.found() if row[0] == "B43"] == [("B43", group, D("0.00")) for group in found]


def test_b43_by_the_day_of_origination_and_debits_alone(world: Any, moment: Any) -> None:
    w = world(codes={"B43": {"at_least": 2}})
    rates(w, 10, "R01", "R01")
    assert w.told("B43") == (
        "Returns of group ALL: 2, that is 20.0 % of 10 debits, in the last 60 days; the limit is 15.00 %."
    )
    w.rows["payments"][0]["tender"] = "CARD"
    assert "B43" not in [code for code, _, _ in w.found()]
    w.rows["payments"][0] |= {
        "tender": "EFT",
        "payment_date": moment(31, month=8),
    }  # the 60th day back is 1 September
    assert "B43" not in [code for code, _, _ in w.found()]
    w.rows["payments"][0] |= {"payment_date": moment(1, month=9)}
    assert "B43" in [code for code, _, _ in w.found()]


def test_b43_a_payment_that_came_back_twice_is_one(world: Any, moment: Any) -> None:
    w = world(codes={"B43": {"at_least": 2}})
    rates(w, 10, "R01")
    w.returned(1, at=moment(15), reject_sequence=2)
    assert "B43" not in [code for code, _, _ in w.found()]


def test_what_waits_and_what_came_back_are_summed(world: Any, moment: Any) -> None:
    """Suspense of any age counts, however young; each debit that came back counts once, whatever the code."""
    w = world()
    w.posting(1, "75.50", moment(6), kind="SUSPENSE", posting_id="S", payment_guid=None)
    w.posting(2, "10.00", moment(30), kind="SUSPENSE", posting_id="T", payment_guid=None)
    w.posting(3, "99.00", moment(30), kind="SUSPENSE", posting_id="U", payment_guid=None, origin="LOCKBOX")
    for n in range(11, 15):
        w.payment(n, tender="EFT")
    w.payment(15)  # a card is no debit
    w.returned(11, return_code="R01")
    w.returned(12, return_code="R10")
    totals = {(row["kind"], row["name"]): (row["rows"], row["amount"]) for row in w.run().totals.to_dicts()}
    assert totals["suspense", "unplaced"] == (2, D("85.50"))
    assert totals["suspense", "oldest"] == (17, D("0.00"))
    rates = {name: rows for (kind, name), (rows, _) in totals.items() if kind == "returns"}
    assert rates["debits"] == 4
    assert sorted(rows for name, rows in rates.items() if name != "debits") == [0, 1, 2]
