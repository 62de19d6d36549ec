"""What of the pushes wants an eye, and what a person is shown: numbers and ids, no name, no address."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from tasks.inbound import tables
from tasks.inbound.collect import CollectResult, collect, flags, overview, told
from tasks.inbound.handover import hand_over, read_acks
from tasks.inbound.stored import beat, refuse_enrolment
from tasks.inbound.values import microseconds


def gather(desk: Any, minutes: float = 1) -> CollectResult:
    return collect(desk.settings, "acme", desk.now + timedelta(minutes=minutes))


def called(desk: Any, number: int, **changes: Any) -> None:
    row = {
        "biller": "acme", "called_at": microseconds(desk.now) + number, "subject": "INVOICE", "form": "soap11",
        "account_number": "0007", "invoice_number": f"00{number}", "result": "answered", "balance_answered": 1005,
        "payable": True, "known_as_of": microseconds(desk.now), "latency_us": 812,
    }  # fmt: skip
    with desk.store.writing() as connection:
        connection.execute(insert(tables.calls), row | changes)


def test_flags_tell_what_wants_an_eye(any_desk: Any) -> None:
    desk = any_desk
    desk.owes("002", "0007", 1000)
    desk.take(desk.push(1), desk.push(3, Approved="False"), desk.push(2), desk.unread(4, Approved=""))
    desk.take(desk.push(1, PaymentAmount="1"), at=desk.now + timedelta(hours=1))
    found = flags(desk.settings, "acme", desk.now)
    assert [ids[-5:] for ids in found.suspense.ids] == ["001-1"]
    assert [ids[-5:] for ids in found.above_balance.ids] == ["002-1"]
    assert [ids[-5:] for ids in found.conflicts.ids] == ["001-2"]
    assert (found.unread.count, len(found.unread.ids[0])) == (1, 32)
    later = flags(desk.settings, "acme", desk.now, since=desk.now + timedelta(minutes=1))
    assert (later.suspense.count, later.unread.count, later.conflicts.count) == (0, 0, 1)
    for value in desk.personal.values():
        assert value not in repr(found)


def test_flags_tell_of_files_and_heartbeat(desk: Any) -> None:
    assert flags(desk.settings, "acme", desk.now).silent
    beat(desk.store, ["acme"], desk.now)
    desk.take(desk.push(1))
    hand_over(desk.settings, "acme", desk.now)
    soon = flags(desk.settings, "acme", desk.now + timedelta(minutes=2))
    assert (soon.silent, soon.alive_at, soon.handovers_late) == (False, desk.now, ())
    late = flags(desk.settings, "acme", desk.now + timedelta(minutes=61))
    assert (late.silent, late.handovers_late) == (True, ("postings-acme-00000001.csv",))
    desk.acknowledge("postings-acme-00000001.csv", rows=7)
    read_acks(desk.settings, "acme", desk.now)
    refused = flags(desk.settings, "acme", desk.now + timedelta(minutes=61))
    assert (refused.handovers_late, refused.handovers_refused) == ((), ("postings-acme-00000001.csv",))


def test_refused_enrolments_are_told_once(any_desk: Any) -> None:
    desk = any_desk
    for _ in range(3):
        refuse_enrolment(desk.store, "other", "PAPERLESS", desk.now)
    found = flags(desk.settings, "other", desk.now)
    assert found.refused_enrolments == {"PAPERLESS": 3}
    refuse_enrolment(desk.store, "other", "PAPERLESS", desk.now)
    told(desk.settings, "other", found.refused_enrolments)
    assert flags(desk.settings, "other", desk.now).refused_enrolments == {"PAPERLESS": 1}
    assert flags(desk.settings, "acme", desk.now).refused_enrolments == {}


def test_the_overview_counts_and_names_no_person(any_desk: Any) -> None:
    desk = any_desk
    assert overview(desk.settings, "acme")["payments"]["received"] == 0
    desk.owes("001", "0007", 5000)
    desk.take(
        desk.push(1),
        desk.push(1),
        desk.push(2),
        desk.push(3, Approved="0"),
        desk.unread(4, Approved="", PaymentAmount="x"),
    )
    desk.take(desk.push(1, PaymentAmount="1"), desk.event())
    hand_over(desk.settings, "acme", desk.now)
    desk.take(desk.push(5))
    called(desk, 1)
    beat(desk.store, ["acme"], desk.now)
    shown = overview(desk.settings, "acme")
    assert shown["payments"] == {
        "received": 4, "approved": 3, "declined": 1, "repeated": 1, "conflicts": 1, "suspense": 2,
        "above_balance": 0, "posted": 0, "last_received": desk.now,
    }  # fmt: skip
    assert shown["waiting_for_imt"] == {"payments": 3, "amount": "36.90", "oldest": desk.now}
    assert shown["enrolments"] == {"AUTOPAY": 1}
    assert shown["unread"]["reasons"] == {
        "PaymentAmount is no amount with at most two decimals; Approved is missing": 1
    }
    assert shown["not_collected"] == {"pushes": 5, "enrolment_pushes": 1, "unread": 1, "calls": 1}
    assert [(file["file"], file["state"], file["rows"], file["amount"]) for file in shown["files"]] == [
        ("enrolments-acme-00000002.csv", "offered", 1, "0.00"), ("postings-acme-00000001.csv", "offered", 2, "24.60"),
    ]  # fmt: skip
    assert shown["alive_at"] == desk.now
    for value in desk.personal.values():
        assert value not in repr(shown)


def test_no_personal_data_is_in_a_log(desk: Any, mutter: pytest.LogCaptureFixture) -> None:
    desk.take(
        desk.push(1),
        desk.push(1, PaymentAmount="1"),
        desk.unread(2, Approved="", PaymentAmount="x"),
        desk.event(),
    )
    hand_over(desk.settings, "acme", desk.now)
    gather(desk)
    flags(desk.settings, "acme", desk.now)
    assert mutter.records
    for value in (*desk.personal.values(), "canary@example.com"):
        assert value not in mutter.text
