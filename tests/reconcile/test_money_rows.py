"""A break of each class of money, whole: its amount, its times (UTC), its sentence and its evidence to the cent."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

SEVENTH, LAST = date(2026, 10, 7), date(2026, 10, 31)


def paid_twice(w: Any, moment: Any) -> None:
    w.event()
    for n, source in ((1, "PORTAL_OTP"), (2, None)):
        at = moment(5) + timedelta(minutes=5 * (n - 1))
        w.payment(n, "100.00", at, invoice_number="INV-1", payment_source=source, tender="EFT")
        w.posting(n, "100.00", at, invoice_number="INV-1")
        w.settled(n)


def no_batch(w: Any, moment: Any) -> None:
    for n, amount in ((1, "10.00"), (2, "20.00"), (3, "30.01")):
        w.payment(n, amount, moment(7))
        w.posting(n, amount, moment(7, 18))


def every_part(w: Any, moment: Any) -> None:
    """A settled date with every part that a deposit may have."""
    w.chain()
    w.rows["settlements"][0]["fee_amount"] = "1.50"
    w.settled(9, "-3.00", SEVENTH, transaction_type="ADJUSTMENT", payment_guid=None, processor_reference="X")
    w.returned(1, "100.00", moment(7))
    w.disputed(7, "20.00", SEVENTH)
    w.refunded(8, "5.00", SEVENTH)
    w.bank("400.00", date(2026, 10, 8))


def no_credit(w: Any, moment: Any) -> None:
    w.chain()
    w.bank("1.00", date(2026, 10, 1))
    w.bank("7.77", date(2026, 10, 20), text="OTHER")


def reversed_alone(w: Any, moment: Any) -> None:
    w.payment(tender="EFT")
    w.posting(posting_id="GOOD")
    w.settled()
    back = {"kind": "REVERSAL", "reason": "nsf", "posting_id": "REV", "reverses_posting_id": "GOOD"}
    w.posting(1, "-100.00", moment(9, 18), **back)


def came_back(w: Any, moment: Any, amount: str = "100.00", day: int = 9) -> None:
    w.chain(tender="EFT")
    w.returned(1, amount, moment(day))


def came_back_twice(w: Any, moment: Any) -> None:
    came_back(w, moment, day=8)
    w.returned(1, "100.00", moment(9), return_code="R09")


def came_back_late(w: Any, moment: Any) -> None:
    came_back(w, moment)
    first = date(2026, 10, 1)
    w.add("periods", period="2026-10", first_day=first, last_day=LAST, closed_at=moment(8))


def disputed(w: Any, moment: Any) -> None:
    w.chain()
    w.disputed(processor_reference="PR1")


def refunded(w: Any, moment: Any) -> None:
    w.chain()
    w.refunded(1, "30.00")


def refunded_at_imt(w: Any, moment: Any) -> None:
    w.chain()
    w.chain(2)
    w.refunded(2, "1.00")
    w.posting(2, "-1.00", moment(14), kind="REFUND")
    w.posting(1, "-30.00", moment(14), kind="REFUND", reason="goodwill", posting_id="ALONE")


def refunded_above(w: Any, moment: Any) -> None:
    w.chain()
    w.refunded(1, "100.01")
    w.posting(1, "-100.01", moment(14), kind="REFUND")


MADE: dict[str, Any] = {
    "B04": paid_twice,
    "B13": no_batch,
    "B14": every_part,
    "B15": no_credit,
    "B17": reversed_alone,
    "B18": lambda w, moment: w.returned(5, "12.34", moment(9), return_code="R03"),
    "B19": lambda w, moment: came_back(w, moment, "130.00"),
    "B20": came_back_twice,
    "B21": came_back_late,
    "B22": lambda w, moment: came_back(w, moment, day=16),
    "B23": disputed,
    "B24": refunded,
    "B24imt": refunded_at_imt,
    "B24above": refunded_above,
}
RULES: dict[str, dict[str, Any]] = {"B14": {"deposits": {"fees": "deducted"}}}
UNTIL = {"B13": datetime.fromisoformat("2026-10-16T23:00Z")}
TOLD: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).parents[1].joinpath("data", "money_breaks.json").read_text("utf-8")
)


def text(value: Any) -> str | None:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return str(value) if isinstance(value, Decimal) else value


@pytest.mark.parametrize("case", MADE)
def test_a_break_in_full(world: Any, moment: Any, case: str) -> None:
    w = world(as_of=UNTIL.get(case), **RULES.get(case, {}))
    MADE[case](w, moment)
    row = w.run().breaks.filter(pl.col("code") == case[:3]).row(0, named=True)
    told = dict(TOLD[case])
    evidence, seen = told.pop("evidence"), json.loads(row["evidence"])
    assert {name: text(row[name]) for name in told} == told
    assert set(seen) == set(evidence)
    for name, part in evidence.items():
        assert (
            {key: seen[name][key] for key in part} == part if isinstance(part, dict) else seen[name] == part
        )
