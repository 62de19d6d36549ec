"""Hands what InvoiceCloud pushed to IMT: numbered files with control totals, each offered until IMT acknowledges it.

    <handover>/postings-<biller>-<sequence>.csv                    the rows
              /postings-<biller>-<sequence>.csv.control.json       comes last: the file is complete
              /acks/postings-<biller>-<sequence>.csv.ack.json      IMT's answer (tasks/inbound/acks.py)
              /done/                                               all three, once they agree

A push gets its file in the transaction that keeps the file's bytes: in one file, and in no other, whenever the
process dies. Postings and enrolments share one run of numbers, from 1, without gaps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update

from tasks.archive import translated_os_errors, write_durably
from tasks.errors import Stop, StorageTrouble
from tasks.inbound.acks import AckResult, read_acks
from tasks.inbound.handover_files import FileFormat, as_bytes, enrolments, postings
from tasks.inbound.handover_lines import Handover, HandoverKind, alone, handover_lines, money_text, updated
from tasks.inbound.store import Store, open_store
from tasks.inbound.tables import LOOSE, enrolment_pushes, handovers, pushes
from tasks.inbound.values import microseconds
from tasks.settings import Inbound, Settings

__all__ = ["AckResult", "HandoverResult", "hand_over", "offer_again", "read_acks"]
ROWS = 20_000  # in one file; the store is locked no longer than it takes to number so many
_NUMBERED_AT_ONCE = 1_000


@dataclass(frozen=True)
class HandoverResult:
    """Files made now, offered for the first time, and offered again; rows and money of those made (USD)."""

    made: list[str] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    rows: int = 0
    amount: Decimal = Decimal("0.00")


def hand_over(settings: Settings, biller: str, at: datetime) -> HandoverResult:
    """Files what is new, and offers what IMT has not acknowledged. Without [inbound] handover nothing is done.

    New: approved payments (first content alone; a conflict waits for a person) and enrolment events. A file that
    IMT refused waits for `offer_again`. Raises StorageTrouble (store or folder), StagingBusy (another run).
    """
    inbound = settings.biller(biller).inbound
    if inbound is None or inbound.handover is None:
        return HandoverResult()
    with alone(settings, biller), closing(open_store(settings)) as store:
        made: list[Handover] = []
        for kind in ("postings", "enrolments"):
            while (one := _file_next(store, biller, kind, inbound, at)) is not None:
                made.append(one)
        late = at - timedelta(minutes=inbound.ack_minutes)
        first, again = _offer(store, biller, inbound.handover, at, late)
    amount = Decimal(money_text(sum(one.amount for one in made)))
    return HandoverResult(
        [one.file_name for one in made], first, again, sum(one.rows for one in made), amount
    )


def offer_again(settings: Settings, biller: str, sequence: int) -> str:
    """A person has cured what IMT refused: the next run offers the same file again. Returns its name; Stop if none."""
    with alone(settings, biller), closing(open_store(settings)) as store, store.writing() as connection:
        found = handover_lines(connection, biller, handovers.c.sequence == sequence)
        if not found or found[0].refused_at is None:
            raise Stop(f"{biller}: IMT has refused no file {sequence}", reason="no_such_file")
        change = {"refused_at": None, "message": None, "offered_at": None}
        connection.execute(updated(biller, sequence).values(change))
        return found[0].file_name


def _file_next(
    store: Store, biller: str, kind: HandoverKind, inbound: Inbound, at: datetime
) -> Handover | None:
    """One more file of what has none yet; None if there is nothing. The bytes are made before the store is locked."""
    table = pushes if kind == "postings" else enrolment_pushes
    with store.reading() as connection:
        rows = _loose_pushes(connection, biller) if table is pushes else _loose_events(connection, biller)
    if not rows:
        return None
    form: FileFormat = inbound.handover_format
    content = as_bytes(postings(rows) if table is pushes else enrolments(rows), form)
    with store.writing("pushes") as connection:
        last = select(func.max(handovers.c.sequence)).where(handovers.c.biller == biller)
        newest = connection.execute(last).scalar_one()
        sequence = (_highest(inbound.handover, biller) if newest is None else newest) + 1
        line = Handover(
            sequence=sequence, kind=kind, file_name=f"{kind}-{biller}-{sequence:08d}.{form}", rows=len(rows),
            amount=sum(row.payment_amount for row in rows) if table is pushes else 0,
            sha256=hashlib.sha256(content).hexdigest(), made_at=microseconds(at), offered_at=None, times_offered=0,
            acknowledged_at=None, refused_at=None, message=None,
        )  # fmt: skip
        connection.execute(insert(handovers), {"biller": biller, "content": content, **line.__dict__})
        _number(connection, table, biller, [row.push_id for row in rows], sequence)
    return line


def _highest(folder: Path | None, biller: str) -> int:
    """The highest number that lies in the folder: a store that was lost must not give IMT a number it knows."""
    name = re.compile(rf"(?:postings|enrolments)-{re.escape(biller)}-(\d{{8,}})\..*")
    places = [folder, folder / "acks", folder / "done"] if folder else []
    with translated_os_errors("handover folder"):
        names = [path.name for place in places if place.is_dir() for path in place.iterdir()]
    return max((int(found[1]) for found in map(name.fullmatch, names) if found), default=0)


def _number(
    connection: Connection, table: Table, biller: str, push_ids: Sequence[str], sequence: int
) -> None:
    """Raises StorageTrouble if another run was faster: then nothing is kept."""
    for start in range(0, len(push_ids), _NUMBERED_AT_ONCE):
        some = push_ids[start : start + _NUMBERED_AT_ONCE]
        connection.execute(
            update(table)
            .where(table.c.biller == biller, table.c.push_id.in_(some), table.c.handover_sequence.is_(None))
            .values(handover_sequence=sequence, revision=table.c.revision + 1)
        )
    count = select(func.count()).where(table.c.biller == biller, table.c.handover_sequence == sequence)
    if connection.execute(count).scalar_one() != len(push_ids):
        raise StorageTrouble(f"another run files the pushes of {biller} for IMT", reason="busy")


def _loose_pushes(connection: Connection, biller: str) -> Sequence[Any]:
    c = pushes.c
    columns = (
        c.push_id, c.payment_guid, c.account_number, c.invoice_number, c.payment_amount, c.convenience_fee, c.tender,
        c.payment_source, c.agent_code, c.payment_date, c.received_at, c.above_balance, c.account_known,
    )  # fmt: skip
    found = select(*columns).where(c.biller == biller, LOOSE).order_by(c.received_at, c.push_id).limit(ROWS)
    return connection.execute(found).all()


def _loose_events(connection: Connection, biller: str) -> Sequence[Any]:
    c = enrolment_pushes.c
    columns = (
        c.push_id, c.list, c.account_number, c.invoice_type_id, c.enrolled, c.occurred_at, c.payment_method,
        c.received_at,
    )  # fmt: skip
    found = select(*columns).where(c.biller == biller, c.handover_sequence.is_(None))
    return connection.execute(found.order_by(c.received_at, c.push_id).limit(ROWS)).all()


def _offer(
    store: Store, biller: str, folder: Path, at: datetime, late: datetime
) -> tuple[list[str], list[str]]:
    """Puts down what was never put down, what is gone, and what lies there too long: same name, same bytes."""
    open_ones = (handovers.c.acknowledged_at.is_(None), handovers.c.refused_at.is_(None))
    with store.reading() as connection:
        waiting = handover_lines(connection, biller, *open_ones)
    first: list[str] = []
    again: list[str] = []
    for line in waiting:
        with translated_os_errors("handover folder"):
            there = (folder / line.file_name).exists() and (folder / line.control_name).exists()
        if there and line.offered_at is not None and line.offered_at > microseconds(late):
            continue
        _put_down(store, biller, folder, line)
        with store.writing() as connection:
            change = {"offered_at": microseconds(at), "times_offered": line.times_offered + 1}
            connection.execute(updated(biller, line.sequence).values(change))
        (again if line.times_offered else first).append(line.file_name)
    return first, again


def _put_down(store: Store, biller: str, folder: Path, line: Handover) -> None:
    with store.reading() as connection:
        of = handovers.c.biller == biller, handovers.c.sequence == line.sequence
        content = connection.execute(select(handovers.c.content).where(*of)).scalar_one()
    with translated_os_errors("handover folder"):
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / line.file_name, content)
        write_durably(folder / line.control_name, line.control)
