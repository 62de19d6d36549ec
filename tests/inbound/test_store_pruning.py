"""What staging and IMT have for good leaves the store; pushes never do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from tasks.inbound import tables
from tasks.inbound.calls import keep
from tasks.inbound.collect import collect
from tasks.inbound.handover import hand_over, read_acks
from tasks.inbound.model import Call
from tasks.inbound.pruning import CALLS_KEPT, FILES_KEPT, prune
from tasks.inbound.values import microseconds


def call(desk: Any, number: int) -> Call:
    at = microseconds(desk.now + timedelta(seconds=number))
    return Call("acme", at, "INVOICE", "json", None, f"INV-{number}", "unknown", None, None, None, 40)


def test_staged_calls_go_after_a_week(desk: Any) -> None:
    keep(desk.store, [call(desk, n) for n in range(3)])
    later = desk.now + CALLS_KEPT + timedelta(days=1)
    assert prune(desk.store, "acme", later) == 0
    assert collect(desk.settings, "acme", desk.now).rtdr_calls == 3
    assert len(desk.rows("calls")) == 3
    assert prune(desk.store, "other", later) == 0
    collect(desk.settings, "acme", later)
    assert desk.rows("calls") == []
    assert desk.staged("SELECT count(*) AS n FROM imt.rtdr_calls") == [{"n": 3}]


def test_bytes_of_files_go_when_imt_has_had_them_for_long(desk: Any) -> None:
    desk.take(desk.push(1))
    hand_over(desk.settings, "acme", desk.now)
    prune(desk.store, "acme", desk.now + FILES_KEPT + timedelta(days=1))
    assert desk.rows("handovers", "rows")[0] == (1,)
    assert len(desk.rows("handovers", "content")[0][0]) > 100
    desk.acknowledge("postings-acme-00000001.csv")
    read_acks(desk.settings, "acme", desk.now)
    prune(desk.store, "acme", desk.now + FILES_KEPT + timedelta(days=1))
    assert desk.rows("handovers", "content", "rows") == [(b"", 1)]
    with desk.store.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.pushes)) == 1
