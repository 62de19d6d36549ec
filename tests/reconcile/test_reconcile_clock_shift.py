"""B39: a feed's clock is off. One break instead of one per item, and from the sixth item on."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

ZERO = Decimal("0.00")


def codes(w: Any) -> Counter[str]:
    return Counter(code for code, _, _ in w.found() if code != "B10")


def apart(w: Any, moment: Any, count: int, days: int = 2) -> None:
    """Payments, and `days` after each a posting without guid or reference, effective and booked that day."""
    for n in range(1, count + 1):
        w.payment(n, at=moment(8))
        w.posting(n, at=moment(8 + days, 18), payment_guid=None)
        w.settled(n)


@pytest.mark.parametrize(("days", "words"), [(2, "one day later"), (-2, "one day earlier")])
def test_six_items_a_day_off(world: Any, moment: Any, guid_of: Any, days: int, words: str) -> None:
    w = world()
    apart(w, moment, 6, days)
    assert w.found() == [("B39", "payments", ZERO)]
    assert w.told("B39") == (
        f"The clock of feed payments seems to be off: 6 items would match if its times were moved by {words}; they are "
        "held, and no breaks."
    )
    items = w.run().items
    assert set(items["state"]) == {"IN_FLIGHT"}
    assert set(items["state_reason"]) == {"held: clock shift (B39)"}
    assert w.run().breaks["severity"].to_list() == ["HIGH"]


def test_five_are_not_more_than_five(world: Any, moment: Any) -> None:
    w = world()
    apart(w, moment, 5)
    assert codes(w) == {"B01": 5, "B02": 5}


def test_how_many_is_a_rule(world: Any, moment: Any) -> None:
    w = world(codes={"B39": {"at_least": 7}})
    apart(w, moment, 6)
    assert codes(w) == {"B01": 6, "B02": 6}


@pytest.mark.parametrize("days", [1, 3])
def test_a_day_off_is_tolerated_and_three_are_no_shift(world: Any, moment: Any, days: int) -> None:
    w = world()
    apart(w, moment, 7, days)
    assert codes(w) == ({} if days == 1 else {"B01": 7, "B02": 7})


def test_what_no_shift_explains_is_told_besides(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    apart(w, moment, 6)
    w.payment(9)
    w.settled(9)
    assert codes(w) == {"B39": 1, "B01": 1}
    assert w.item(9)["break_codes"] == "B01"


def test_other_accounts_amounts_and_several_candidates_do_not_count(world: Any, moment: Any) -> None:
    for more in ({"account_number": "0099"}, {"amount": "100.01"}, {"invoice_number": "INV-99"}):
        w = world()
        apart(w, moment, 6)
        w.rows["postings"][0] |= more
        assert codes(w) == {"B01": 6, "B02": 6}, more
    w = world()
    apart(w, moment, 6)
    w.posting(1, at=moment(10, 18), payment_guid=None)
    assert codes(w) == {"B01": 6, "B02": 7}


@pytest.mark.parametrize(
    ("hours", "words"), [(5, "the zone's UTC offset"), (-5, "minus the zone's UTC offset")]
)
def test_times_that_are_the_utc_offset_off(world: Any, moment: Any, hours: int, words: str) -> None:
    """Matched by guid, in the evening (or morning) each: IMT's effective date is the day before (after)."""
    w = world()
    true = moment(8, 2) if hours > 0 else moment(8, 6)  # 21:00 and 01:00 in Chicago
    local = (true - timedelta(hours=5)).date()
    for n in range(1, 9):
        w.payment(n, at=true + timedelta(hours=hours), first_seen_at=moment(8, 12))
        w.posting(n, at=moment(8, 18), effective_date=local)
        w.settled(n, on=moment(9).date())
    assert w.found() == [("B39", "payments", ZERO)]
    assert f"8 items would match if its times were moved by {words};" in w.told("B39")
    assert set(w.run().items["state"]) == {"MATCHED_PROVISIONAL"}


def test_late_postings_of_some_are_no_shift_of_all(world: Any, moment: Any) -> None:
    """Seven postings take effect a day later; for nine others a shift would be wrong."""
    w = world()
    for n in range(1, 17):
        w.payment(n, at=moment(8))
        w.posting(n, at=moment(9, 18), effective_date=moment(9 if n < 8 else 8).date())
        w.settled(n, on=moment(9).date())
    assert w.found() == []


def test_returns_whose_date_of_the_payment_is_off(world: Any, moment: Any) -> None:
    for count, expected in (
        (6, {"B39": 1}),
        (5, {"B18": 1}),
    ):  # their subject is one: account and invoice differ
        w = world()
        for n in range(1, count + 1):
            w.chain(n, tender="EFT")
            w.returned(n, original_payment_guid=None, original_payment_date=moment(7), reject_sequence=n)
        told = codes(w)
        assert told == (expected if count == 6 else {"B18": 5})
    shifted = w.run().breaks.filter(pl.col("code") == "B39")
    assert shifted.is_empty()
