"""Takes pushes into the store: many in one transaction, each content once, on the disk before anyone hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, bindparam, case, update
from sqlalchemy.dialects import postgresql, sqlite

from tasks.errors import StorageTrouble
from tasks.inbound.model import EnrolmentList, EnrolmentPush, Push, Taken, Unread
from tasks.inbound.settle import Settled, settle_enrolments, settle_unread
from tasks.inbound.settle_payments import settle_payments
from tasks.inbound.store import Store
from tasks.inbound.tables import enrolment_pushes, freshness, pushes, refusals, unread
from tasks.inbound.values import microseconds

Item = Push | EnrolmentPush | Unread
_TRIES = 3


def take(store: Store, items: Sequence[Item], at: datetime) -> list[Taken]:
    """Stores all items in one transaction and returns what became of each, in their order; then they are durable.

    The same content again only counts up; other content under a known GUID is kept as a variant. Raises
    StorageTrouble or StagingDamaged: then nothing of it is stored, and nothing may be acknowledged.
    """
    if not items:
        return []
    for left in reversed(range(_TRIES)):
        try:
            with store.writing("pushes") as connection:
                return _take(connection, items, microseconds(at))
        except StorageTrouble as error:
            if error.reason != "deadlock" or not left:
                raise
    raise AssertionError("the last try returns or raises")


def _take(connection: Connection, items: Sequence[Item], at: int) -> list[Taken]:
    taken: dict[int, Taken] = {}
    for kind, (settle, table, key) in _WAYS.items():
        places = [place for place, item in enumerate(items) if isinstance(item, kind)]
        for biller in dict.fromkeys(items[place].biller for place in places):
            mine = [place for place in places if items[place].biller == biller]
            settled = settle(connection, biller, [items[place] for place in mine], at)
            _keep(connection, biller, table, key, settled, at)
            taken |= dict(zip(mine, settled.taken, strict=True))
    return [taken[place] for place in range(len(items))]


_WAYS: dict[type, tuple[Callable[..., Settled], Table, Column[Any]]] = {
    Push: (settle_payments, pushes, pushes.c.push_id),
    EnrolmentPush: (settle_enrolments, enrolment_pushes, enrolment_pushes.c.push_id),
    Unread: (settle_unread, unread, unread.c.sha256),
}


def _keep(
    connection: Connection, biller: str, table: Table, key: Column[Any], settled: Settled, at: int
) -> None:
    """New rows, then counts of those that were there; in the order of their keys, so that writers never cross."""
    if settled.rows:
        connection.execute(table.insert(), settled.rows)
    if settled.again:
        last = table.c.last_seen_at
        statement = (
            update(table)
            .where(table.c.biller == biller, key == bindparam("of_key"))
            .values(
                times_seen=table.c.times_seen + bindparam("again"),
                last_seen_at=case((last < at, at), else_=last),
            )
        )
        lines = [{"of_key": name, "again": times} for name, times in sorted(settled.again.items())]
        connection.execute(statement, lines)


def refuse_enrolment(store: Store, biller: str, list: EnrolmentList, at: datetime) -> None:
    """Counts a refused enrolment push (Spectrum takes none) for the alert. Raises StorageTrouble."""
    now = microseconds(at)
    row = {"biller": biller, "list": list, "first_at": now, "last_at": now, "times": 1}
    with store.writing() as connection:
        _upsert(connection, refusals, [row], {"last_at": now, "times": refusals.c.times + 1})


def beat(store: Store, billers: Iterable[str], at: datetime) -> None:
    """The service's heartbeat: it was alive at `at`, and could write. Raises StorageTrouble."""
    now = microseconds(at)
    rows = [{"biller": biller, "alive_at": now} for biller in sorted(billers)]
    if rows:
        with store.writing() as connection:
            _upsert(connection, freshness, rows, {"alive_at": now})


def _upsert(connection: Connection, table: Table, rows: list[dict[str, Any]], change: dict[str, Any]) -> None:
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    keys = list(table.primary_key.columns)
    connection.execute(insert(table).on_conflict_do_update(index_elements=keys, set_=change), rows)
