"""B32 and B33: IC's list and IMT's flag differ after the last event and a day."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

ACCOUNT = "0012345678"
ZERO = Decimal("0.00")


def flag(w: Any, moment: Any, on: bool = True, kind: str = "AUTOPAY", **more: Any) -> None:
    row = {"account_number": ACCOUNT, "list": kind, "enrolled": on, "changed_at": moment(5)}
    w.add("flags", **row | {"first_seen_at": moment(5)} | more)


def listed(w: Any, moment: Any, on: bool = True, **more: Any) -> None:
    row = {"account_number": ACCOUNT, "autopay": on, "enrolled_at": moment(4), "first_seen_at": moment(4)}
    w.add("autopay", **row | more)


def paper(w: Any, moment: Any, on: bool = True, **more: Any) -> None:
    row = {"account_number": ACCOUNT, "paperless": on, "changed_at": moment(4), "first_seen_at": moment(4)}
    w.add("paperless", **row | more)


def found(w: Any, code: str) -> list[tuple[str, Decimal, str]]:
    rows = w.run().breaks.filter(pl.col("code") == code)
    return list(rows.select("subject", "amount", "severity").iter_rows())


@pytest.mark.parametrize(("ic", "imt"), [(True, False), (False, True), (None, True), (True, None)])
def test_one_says_on_and_the_other_off(world: Any, moment: Any, ic: bool | None, imt: bool | None) -> None:
    w = world()
    flag(w, moment, True, account_number="another")
    listed(w, moment, True, account_number="another")
    if imt is not None:
        flag(w, moment, imt)
    if ic is not None:
        listed(w, moment, ic)
    assert found(w, "B32") == [(ACCOUNT, ZERO, "MED")]
    words = {True: "on", False: "off", None: "off"}
    assert f"…5678 is {words[ic]} at InvoiceCloud and {words[imt]} in IMT" in w.told("B32")
    assert "no draw is due in the next 3 banking days." in w.told("B32")


@pytest.mark.parametrize("on", [True, False])
def test_both_say_the_same(world: Any, moment: Any, on: bool) -> None:
    w = world()
    flag(w, moment, on, account_number=" 0012345678 ")
    listed(w, moment, on)
    assert w.found() == []


def test_without_flags_of_imt_nothing_is_said(world: Any, moment: Any) -> None:
    w = world()
    listed(w, moment)
    paper(w, moment)
    flag(w, moment, kind="PAPERLESS")
    assert w.found() == []


@pytest.mark.parametrize(("hours", "expected"), [(23, 0), (24, 0), (25, 1)])
def test_a_day_of_grace_after_the_last_event_of_either(
    world: Any, moment: Any, hours: int, expected: int
) -> None:
    for side in ("changed_at", "enrolled_at"):
        w = world()
        last = {side: w.as_of - timedelta(hours=hours)}
        flag(w, moment, False, **(last if side == "changed_at" else {}))
        listed(w, moment, True, **(last if side == "enrolled_at" else {}))
        assert len(found(w, "B32")) == expected, side


@pytest.mark.parametrize("feed", ["autopay", "enrolment_flags"])
@pytest.mark.parametrize("status", ["suspect", "failed"])
def test_an_incomplete_list_proves_nothing(world: Any, moment: Any, feed: str, status: str) -> None:
    """The last good one is from before the event and its day."""
    w = world()
    flag(w, moment, True, changed_at=moment(20))
    for name in ("autopay", "enrolment_flags", "paperless"):
        w.poll(name, None, None, at=moment(20))
        w.poll(name, None, None, status if name == feed else "ok", at=moment(30))
    assert found(w, "B32") == []
    held = w.run().totals.filter((pl.col("kind") == "held") & (pl.col("name") == "B32"))
    assert held["rows"].item() == 1
    w.poll(feed, None, None, at=moment(30, 12))
    assert found(w, "B32") == [(ACCOUNT, ZERO, "MED")]


def test_never_polled_is_no_list(world: Any, moment: Any) -> None:
    w = world()
    flag(w, moment)
    w.poll("enrolment_flags", None, None, at=moment(30))
    assert found(w, "B32") == []


@pytest.mark.parametrize(
    ("day", "severity"), [(2, "HIGH"), (4, "HIGH"), (5, "MED"), (-1, "MED")]
)  # from Friday 30 October: the third banking day after is Wednesday the 4th
def test_high_if_a_draw_is_near(world: Any, moment: Any, day: int, severity: str) -> None:
    draw = date(2026, 11, day) if day > 0 else date(2026, 10, 29)
    w = world()
    flag(w, moment, False)
    listed(w, moment, True, next_collection_date=draw)
    assert found(w, "B32") == [(ACCOUNT, ZERO, severity)]
    w = world()
    flag(w, moment, True)
    bill = {"invoice_number": "INV-1", "account_number": ACCOUNT, "balance": "10.00"}
    w.add("bills", **bill, autopay_collection_date=draw)
    assert found(w, "B32") == [(ACCOUNT, ZERO, severity)]


def test_cancelled_or_gone_at_ic_is_off(world: Any, moment: Any) -> None:
    for more in ({"cancelled_at": moment(10)}, {"gone_at": moment(10)}):
        w = world()
        flag(w, moment, True)
        listed(w, moment, True, **more)
        assert found(w, "B32") == [(ACCOUNT, ZERO, "MED")]
        w = world()
        flag(w, moment, True)
        listed(w, moment, True, **{name: w.as_of - timedelta(hours=3) for name in more})
        assert found(w, "B32") == []


def test_enrolled_under_one_of_its_types_is_enrolled(world: Any, moment: Any) -> None:
    w = world()
    flag(w, moment)
    listed(w, moment, False, invoice_type_id="1")
    listed(w, moment, True, invoice_type_id="2")
    assert w.found() == []


@pytest.mark.parametrize(
    ("ic", "imt", "words"),
    [
        ({"on": True}, {"on": False}, "on at InvoiceCloud and off in IMT"),
        ({"on": False}, {"on": True}, "off at InvoiceCloud and on in IMT"),
        ({}, {"prints": True}, "on at both, and IMT still prints"),
        ({"email_bounced": True}, {"prints": False}, "IMT prints nothing, and mail to the payer came back"),
        ({"email_bounced": True}, {}, "IMT prints nothing, and mail to the payer came back"),
        ({}, {"prints": False}, None),
        ({"on": False}, {"on": False, "prints": True}, None),
        ({"on": False, "email_bounced": True}, {"on": False}, None),
    ],
)
@pytest.mark.parametrize("legal", [True, None])
def test_paperless(
    world: Any, moment: Any, ic: dict[str, Any], imt: dict[str, Any], words: str | None, legal: bool | None
) -> None:
    w = world()
    paper(w, moment, **ic)
    flag(w, moment, kind="PAPERLESS", legal_notice=legal, **imt)
    severity = "HIGH" if legal else "MED"
    assert found(w, "B33") == ([(ACCOUNT, ZERO, severity)] if words else [])
    if words:
        assert w.told("B33").endswith(f": {words}{'; a legal notice is due by mail' if legal else ''}.")


def test_paperless_has_its_day_of_grace(world: Any, moment: Any) -> None:
    w = world()
    paper(w, moment, changed_at=w.as_of - timedelta(hours=23))
    flag(w, moment, False, kind="PAPERLESS")
    assert found(w, "B33") == []
