"""What `icflows pushes` shows: how many came, what is flagged, what waits for IMT, and how far each file is."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, and_, func, select

from tasks.inbound.flags import ABOVE, CONFLICT, SUSPENSE
from tasks.inbound.handover_lines import Handover, handover_lines, money_text
from tasks.inbound.store import open_store
from tasks.inbound.tables import (
    UNSTAGED,
    UNSTAGED_CALLS,
    calls,
    enrolment_pushes,
    freshness,
    handovers,
    pushes,
    refusals,
    unread,
)
from tasks.inbound.values import moment
from tasks.settings import Settings

FILES = 20  # the last ones; and all that are not acknowledged


def overview(settings: Settings, biller: str) -> dict[str, Any]:
    """Counts, USD as text, times as aware UTC; no personal data. Raises StorageTrouble, StagingDamaged.

    Keys: payments, enrolments, unread, refused_enrolments, waiting_for_imt, not_collected, files, alive_at,
    known_as_of (how fresh IMT's balances are).
    """
    settings.biller(biller)
    with closing(open_store(settings)) as store, store.reading() as connection:
        return {
            "biller": biller,
            "payments": _payments(connection, biller),
            "enrolments": _enrolments(connection, biller),
            "unread": _unread(connection, biller),
            "refused_enrolments": dict(_pairs(connection, biller, refusals.c.list, refusals.c.times)),
            "waiting_for_imt": _waiting(connection, biller),
            "not_collected": _not_collected(connection, biller),
            "files": _files(connection, biller),
            **_heartbeat(connection, biller),
        }


def _payments(connection: Connection, biller: str) -> dict[str, Any]:
    c, first = pushes.c, pushes.c.variant == 1
    counted = {
        "received": first, "approved": and_(first, c.approved), "declined": and_(first, ~c.approved),
        "repeated": c.times_seen > 1, "conflicts": CONFLICT, "suspense": SUSPENSE, "above_balance": ABOVE,
        "posted": and_(first, c.posted_at.is_not(None)),
    }  # fmt: skip
    columns = [func.count().filter(which).label(name) for name, which in counted.items()]
    row = connection.execute(select(*columns, func.max(c.last_seen_at)).where(c.biller == biller)).one()
    return {**dict(zip(counted, row, strict=False)), "last_received": moment(row[-1])}


def _enrolments(connection: Connection, biller: str) -> dict[str, int]:
    c = enrolment_pushes.c
    found = select(c.list, func.count()).where(c.biller == biller).group_by(c.list).order_by(c.list)
    return dict(connection.execute(found).tuples().all())


def _unread(connection: Connection, biller: str) -> dict[str, Any]:
    c = unread.c
    found = select(func.count(), func.max(c.last_seen_at)).where(c.biller == biller)
    count, last = connection.execute(found).one()
    reasons = select(c.reasons, func.count()).where(c.biller == biller).group_by(c.reasons)
    return {
        "count": count,
        "last_received": moment(last),
        "reasons": {"; ".join(json.loads(words)): times for words, times in connection.execute(reasons)},
    }


def _pairs(connection: Connection, biller: str, *columns: Any) -> list[tuple[Any, ...]]:
    table = columns[0].table
    found = select(*columns).where(table.c.biller == biller).order_by(columns[0])
    return [tuple(row) for row in connection.execute(found)]


def _waiting(connection: Connection, biller: str) -> dict[str, Any]:
    """Approved payments that IMT has not acknowledged, in a file or in none yet."""
    c = pushes.c
    found = select(func.count(), func.sum(c.payment_amount), func.min(c.received_at)).where(
        c.biller == biller, c.variant == 1, c.approved, c.acknowledged_at.is_(None)
    )
    rows, amount, oldest = connection.execute(found).one()
    return {"payments": rows, "amount": money_text(int(amount or 0)), "oldest": moment(oldest)}


def _not_collected(connection: Connection, biller: str) -> dict[str, int]:
    lacking = {pushes: UNSTAGED, enrolment_pushes: UNSTAGED, unread: UNSTAGED_CALLS, calls: UNSTAGED_CALLS}
    return {
        table.name: connection.execute(
            select(func.count()).select_from(table).where(table.c.biller == biller, which)
        ).scalar_one()
        for table, which in lacking.items()
    }


def _files(connection: Connection, biller: str) -> list[dict[str, Any]]:
    """Newest first."""
    newest = select(func.max(handovers.c.sequence)).where(handovers.c.biller == biller)
    last = connection.execute(newest).scalar_one() or 0
    wanted = (handovers.c.sequence > last - FILES) | handovers.c.acknowledged_at.is_(None)
    return [_file(line) for line in reversed(handover_lines(connection, biller, wanted))]


def _file(line: Handover) -> dict[str, Any]:
    state = "offered" if line.offered_at is not None else "made"
    if line.refused_at is not None:
        state = "refused"
    elif line.acknowledged_at is not None:
        state = "acknowledged"
    return {
        "sequence": line.sequence, "file": line.file_name, "kind": line.kind, "rows": line.rows,
        "amount": money_text(line.amount), "state": state, "made_at": moment(line.made_at),
        "times_offered": line.times_offered, "acknowledged_at": moment(line.acknowledged_at),
        "message": line.message,
    }  # fmt: skip


def _heartbeat(connection: Connection, biller: str) -> dict[str, Any]:
    row = connection.execute(
        select(freshness.c.alive_at, freshness.c.known_as_of).where(freshness.c.biller == biller)
    ).one_or_none()
    return {"alive_at": moment(row[0]) if row else None, "known_as_of": moment(row[1]) if row else None}
