"""B13: a banking day whose payments were not settled, none of them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

D = Decimal


def gaps(w: Any) -> list[tuple[str, str, Decimal]]:
    return [row for row in w.found() if row[0] == "B13"]


def day_of(w: Any, moment: Any, day: int, *tenders: str, first: int = 1) -> None:
    for n, tender in enumerate(tenders, first):
        w.payment(n, f"{n}0.00", moment(day), tender=tender)
        w.posting(n, f"{n}0.00", moment(day, 18))


@pytest.mark.parametrize(
    ("tenders", "on", "found"),
    [
        (("CARD", "WALLET"), 7, False),  # Monday's cards: two banking days are not over
        (("CARD", "WALLET"), 8, True),
        (("EFT", "EFT"), 8, False),
        (("EFT", "EFT"), 9, True),
        (("OBD", None), 9, False),
        (("OBD", None), 13, True),  # the 12th is a holiday
        (("CARD", "EFT", "EFT"), 8, False),  # most of the day's payments have time left
        (("CARD", "EFT"), 8, True),
    ],
)
def test_after_the_grace_of_most(
    world: Any, moment: Any, tenders: tuple[str, ...], on: int, found: bool
) -> None:
    w = world(as_of=moment(on, 20), codes={"B13": {"at_least": 2}})
    day_of(w, moment, 5, *tenders)
    amount = sum((D(f"{n}0.00") for n in range(1, len(tenders) + 1)), D("0.00"))
    assert gaps(w) == ([("B13", "2026-10-05", amount)] if found else [])


def test_tells_what_is_missing(world: Any, moment: Any) -> None:
    w = world()
    day_of(w, moment, 5, "CARD", "CARD", "CARD")
    assert w.told("B13") == (
        "Of the 3 payments of 2026-10-05, together 60.00 USD, not one is settled; "
        "the day's batch was due by 2026-10-08 00:00."
    )


def test_not_if_one_of_the_day_is_settled_or_there_is_just_one(world: Any, moment: Any) -> None:
    w = world()
    day_of(w, moment, 5, "CARD", "CARD", "CARD")
    w.settled(2, "20.00", date(2026, 10, 7))
    day_of(w, moment, 6, "CARD", first=4)
    assert gaps(w) == []
    assert [code for code, _, _ in w.found()] == ["B10"] * 3


def test_not_for_declined_refunds_or_what_came_back(world: Any, moment: Any) -> None:
    w = world()
    day_of(w, moment, 5, "CARD", "CARD")
    w.rows["payments"][0]["approved"] = False
    day_of(w, moment, 7, "EFT", "EFT", first=5)
    w.returned(5, "50.00")
    assert gaps(w) == []


def test_a_weekends_payments_belong_to_the_next_banking_day(world: Any, moment: Any) -> None:
    for settled, expected in ((False, [("B13", "2026-10-13", D("60.00"))]), (True, [])):
        w = world(codes={"B13": {"at_least": 2}})
        day_of(w, moment, 10, "CARD")  # Saturday
        day_of(w, moment, 12, "CARD", first=2)  # a holiday
        day_of(w, moment, 13, "CARD", first=3)
        if settled:
            w.settled(1, "10.00", date(2026, 10, 14))
        assert gaps(w) == expected


def test_held_while_settlements_are_not_complete(world: Any, moment: Any) -> None:
    for end, expected in ((moment(7, 20), []), (moment(8, 20), ["B13"])):
        w = world(codes={"B13": {"at_least": 2}})
        day_of(w, moment, 5, "CARD", "CARD")
        for feed in ("payments", "settlements", "ach_rejects"):
            w.poll(feed, moment(1), end if feed == "settlements" else w.as_of)
        assert [code for code, _, _ in gaps(w)] == expected
        held = w.run().totals.filter(kind="held", name="B13")
        assert held["rows"].to_list() == ([] if expected else [1]) or held["rows"].item() == 0
