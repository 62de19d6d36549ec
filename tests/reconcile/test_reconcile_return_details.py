"""Returns in detail: B17, B19, B21, B22, re-presentments and news between banks."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

D = Decimal


def debit(w: Any, n: int = 1, **more: Any) -> None:
    w.chain(n, tender="EFT", **more)


@pytest.mark.parametrize("reason", ["NSF", "nsf ", "RETURNED"])
def test_b17_a_reversal_without_a_return(world: Any, moment: Any, reason: str) -> None:
    for day, found in (
        (14, []),
        (15, [("B17", "REV", D("100.00"))]),
    ):  # booked on the 9th; the 12th is a holiday
        w = world(as_of=moment(day, 20))
        debit(w)
        w.posting(1, "-100.00", moment(9, 18), kind="REVERSAL", reason=reason, posting_id="REV")
        assert w.found() == found
        assert w.item()["break_codes"] == ("B17" if found else None)


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ({"reason": "DUPLICATE"}, ["B05"]),  # no return is claimed
        ({"reason": None}, ["B05"]),
        ({"reason": "CHARGEBACK"}, ["B05"]),  # the export of chargebacks was never loaded
    ],
)
def test_b17_not_for_other_reversals(world: Any, moment: Any, more: dict[str, Any], codes: list[str]) -> None:
    w = world()
    debit(w)
    w.posting(1, "-100.00", moment(9), kind="REVERSAL", **more)
    assert [code for code, _, _ in w.found()] == codes


def test_b17_a_dispute_that_the_export_does_not_hold(world: Any, moment: Any) -> None:
    w = world()
    w.chain()
    w.chain(2)
    w.disputed(2)
    for n in (1, 2):
        w.posting(n, "-100.00", moment(14), kind="REVERSAL", reason="CHARGEBACK", posting_id=f"REV{n}")
    assert w.found() == [("B17", "REV1", D("100.00"))]


def test_b17_of_a_payment_from_before_and_not_for_other_money(world: Any, moment: Any) -> None:
    w = world()
    w.posting(8, "-70.00", moment(9), kind="REVERSAL", reason="NSF", posting_id="REV")
    w.posting(9, "-71.00", moment(9), kind="REVERSAL", reason="NSF", origin="LOCKBOX")
    assert w.found() == [("B17", "REV", D("70.00"))]
    w.returned(8, "70.00")
    assert [code for code, _, _ in w.found()] == []


def test_b17_is_held_while_returns_are_not_complete(world: Any, moment: Any) -> None:
    w = world()
    debit(w)
    w.posting(1, "-100.00", moment(9), kind="REVERSAL", reason="NSF")
    for feed in ("payments", "settlements", "ach_rejects"):
        w.poll(feed, moment(1), moment(13) if feed == "ach_rejects" else w.as_of)
    assert [code for code, _, _ in w.found() if code != "B36"] == []


@pytest.mark.parametrize(
    ("back", "apart"),
    [("100.00", None), ("102.50", None), ("99.99", "-0.01"), ("60.00", "-40.00"), ("130.00", "30.00")],
)
def test_b19_neither_the_payment_nor_with_its_fee(
    world: Any, moment: Any, guid_of: Any, back: str, apart: str | None
) -> None:
    w = world()
    debit(w)
    w.returned(1, back)
    found = [row for row in w.found() if row[0] == "B19"]
    assert found == ([("B19", guid_of(1), D(apart))] if apart else [])
    assert ("B19" in (w.item()["break_codes"] or "")) is (apart is not None)


def test_b19_one_line_of_a_split_payment_is_right(world: Any) -> None:
    w = world()
    w.split("60.00", "40.00", tender="EFT")
    w.returned(1, "40.00", invoice_number="INV-12")
    assert [row for row in w.found() if row[0] == "B19"] == []


@pytest.mark.parametrize(
    ("code", "timely", "untimely"),
    [
        ("R01", 15, 16),  # settled on the 7th: two banking days and three of slack, the 12th is a holiday
        ("R29", 15, 16),
        (" r02", 15, 16),
    ],
)
def test_b22_after_two_banking_days_and_the_slack(
    world: Any, moment: Any, guid_of: Any, code: str, timely: int, untimely: int
) -> None:
    for day, expected in ((timely, []), (untimely, [("B22", guid_of(1), D("100.00"))])):
        w = world()
        debit(w)
        w.returned(at=moment(day), return_code=code)
        w.posting(1, "-100.00", moment(day, 18), kind="REVERSAL", reason="NSF")
        assert w.found() == expected, day


def test_b22_after_sixty_days_and_the_slack(world: Any, moment: Any, guid_of: Any) -> None:
    for back, found in ((date(2026, 12, 9), []), (date(2026, 12, 10), ["B22"])):  # the 6th is a Sunday
        at = moment(5).replace(month=back.month, day=back.day)
        w = world(as_of=at + timedelta(days=1))
        debit(w)
        w.returned(at=at, return_code="R10")
        assert [code for code, _, _ in w.found() if code == "B22"] == found


@pytest.mark.parametrize("more", [{"return_code": "R06"}, {"return_code": "R97"}, {"reject_sequence": 2}])
def test_b22_not_without_a_window_nor_for_a_second_presentment(
    world: Any, moment: Any, more: dict[str, Any]
) -> None:
    w = world()
    debit(w)
    w.returned(at=moment(29), **more)
    assert w.found() == []


def test_b22_not_if_it_came_back_before_it_settled_or_settled_never(world: Any, moment: Any) -> None:
    w = world()
    debit(w)
    w.payment(2, tender="EFT")
    w.posting(2)
    w.returned(at=moment(6))
    w.returned(2, at=moment(28))
    assert "B22" not in [code for code, _, _ in w.found()]


def test_b21_when_the_payment_was_final(world: Any, moment: Any, guid_of: Any) -> None:
    """Settled on the 7th: final after 60 days and two banking days, from 9 December on (Chicago)."""
    for day, found in ((8, []), (9, [("B21", guid_of(1), D("100.00"))])):
        at = moment(day, 15, month=12)
        w = world(as_of=at + timedelta(hours=5))
        debit(w)
        w.returned(at=at, return_code="R06")
        assert [row for row in w.found() if row[0] == "B21"] == found


def test_b21_when_its_period_was_closed(world: Any, moment: Any, guid_of: Any) -> None:
    period = {"period": "2026-10", "first_day": date(2026, 10, 1), "last_day": date(2026, 10, 7)}
    for closed, found in ((moment(8), ["B21"]), (moment(9, 15), []), (moment(10), [])):
        w = world()
        debit(w)
        w.returned(at=moment(9, 15))
        w.posting(1, "-100.00", moment(10), kind="REVERSAL", reason="NSF")
        w.add("periods", closed_at=closed, **period)
        assert [code for code, _, _ in w.found()] == found
    w.rows["periods"][0] |= {"closed_at": moment(8)}
    assert w.told("B21").endswith(
        "came back on 2026-10-09 10:00 (R01, 100.00 USD) when its period 2026-10 was closed: "
        "post it in the open period, the closed one stays."
    )


def test_news_between_banks_is_in_none_of_these_classes(world: Any, moment: Any) -> None:
    w = world()
    debit(w)
    w.returned(1, "55.00", at=moment(29), return_code="R68")
    assert w.found() == []
    w.posting(1, "-100.00", moment(9), kind="REVERSAL", reason="NSF")
    assert [code for code, _, _ in w.found()] == ["B17"]  # it is no return either
