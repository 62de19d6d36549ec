"""B44: a row that changed after its payment was matched."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

D = Decimal


@pytest.fixture
def again(world: Any, moment: Any, guid_of: Any) -> Any:
    """Payment 1, matched in the run of the 20th at 100.00, and what its row says since the 22nd."""

    def made(
        before: str = "100.00", now: str = "90.00", state: str | None = "MATCHED_PROVISIONAL", **more: Any
    ) -> Any:
        w = world()
        w.chain(1, now)
        row = {"feed": "payments", "key": guid_of(1), "payment_guid": guid_of(1), "version": 2}
        row |= {"account_number": "0012345678", "invoice_number": "INV-1", "seen_at": moment(22)}
        row |= {"amount_before": before, "amount_now": now, "status_before": "true", "status_now": "true"}
        w.add("restated", **row | more)
        if state:
            known = {"payment_guid": guid_of(1), "state": state, "payment_amount": before}
            w.add("matched", **known, as_of=moment(20))
        return w

    return made


def test_another_amount(again: Any, guid_of: Any) -> None:
    w = again()
    assert w.found() == [("B44", guid_of(1), D("-10.00"))]
    assert w.told("B44") == (
        f"Row {guid_of(1)} of payments was restated on 2026-10-22 10:00, after payment {guid_of(1)} (account …5678) had "
        "been matched: 100.00 USD is now 90.00 USD."
    )
    row = w.run().breaks.row(0, named=True)
    assert (row["severity"], row["payment_guid"], row["invoice_number"]) == ("HIGH", guid_of(1), "INV-1")
    assert json.loads(row["evidence"])["versions"][0]["amount_before"] == "100.00"


def test_a_push_with_the_amount_of_then_is_no_second_break(again: Any, guid_of: Any) -> None:
    """Pushed as the report said at that time; any other amount of a push is told as ever."""
    w = again()
    w.push(1, "100.00")
    assert w.found() == [("B44", guid_of(1), D("-10.00"))]
    w = again()
    w.push(1, "95.00")
    assert w.found() == [("B05", guid_of(1), D("5.00")), ("B44", guid_of(1), D("-10.00"))]


@pytest.mark.parametrize("state", [None, "IN_FLIGHT", "BROKEN", "AMBIGUOUS"])
def test_what_was_not_matched_is_not_restated(again: Any, state: str | None) -> None:
    assert again(state=state).found() == []


def test_restated_before_it_was_matched(again: Any, moment: Any) -> None:
    w = again(seen_at=moment(19))
    w.rows["matched"][0]["payment_amount"] = "90.00"
    assert w.found() == []
    w = again(seen_at=moment(20), feed="settlements")
    assert w.found() == []


def test_a_poll_under_way_while_the_last_run_read(again: Any, moment: Any, guid_of: Any) -> None:
    """It was asked for before the run, and the run still had the old amount."""
    assert again(seen_at=moment(19)).found() == [("B44", guid_of(1), D("-10.00"))]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("false", "approved is now not approved"),
        ("true VOIDED", "approved is now approved VOIDED"),
        ("true REJECTED", None),  # news: the money went back, and other classes judge that
        ("true REFUNDED", None),
        ("true CHARGED_BACK", None),
    ],
)
def test_another_status(again: Any, guid_of: Any, status: str, words: str | None) -> None:
    w = again(now="100.00", status_before="true APPROVED", status_now=status)
    assert [row for row in w.found() if row[0] == "B44"] == (
        [("B44", guid_of(1), D("0.00"))] if words else []
    )
    if words:
        assert w.told("B44").endswith(f": {words}.")


def test_a_settled_row_with_another_date(again: Any, guid_of: Any) -> None:
    dates = {"status_before": "2026-10-07", "status_now": "2026-10-08"}
    w = again(now="100.00", feed="settlements", key="B7/x", **dates)
    assert w.found() == [("B44", "B7/x", D("0.00"))]
    assert w.told("B44").endswith(": 2026-10-07 is now 2026-10-08.")


def test_several_versions_are_one_break_from_first_to_last(again: Any, moment: Any, guid_of: Any) -> None:
    w = again()
    third = w.rows["restated"][0] | {"version": 3, "amount_before": "90.00", "amount_now": "70.00"}
    w.add("restated", **third | {"seen_at": moment(24)})
    assert w.found() == [("B44", guid_of(1), D("-30.00"))]
    w.rows["restated"][1]["amount_now"] = "100.00"
    assert w.found() == []


def test_once_told_it_stays(again: Any, moment: Any, guid_of: Any) -> None:
    """The run after: the item is matched anew, or broken, and the break is still there."""
    for state in ("MATCHED_PROVISIONAL", "BROKEN"):
        w = again(state=None)
        known = {"payment_guid": guid_of(1), "state": state, "payment_amount": "90.00", "as_of": moment(23)}
        w.add("matched", **known)
        assert w.found() == []
        w.add("matched", key=guid_of(1), payment_guid=guid_of(1), as_of=moment(22))
        assert w.found() == [("B44", guid_of(1), D("-10.00"))]


def test_each_row_is_a_break_of_its_own(again: Any, guid_of: Any) -> None:
    w = again()
    w.add("restated", **w.rows["restated"][0] | {"feed": "settlements", "key": "B7/x"})
    assert [subject for _, subject, _ in w.found()] == [guid_of(1), "B7/x"]
