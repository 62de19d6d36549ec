"""What of the pushes wants a person's eye: the causes of alerts, as numbers and push ids. No personal data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from tasks.inbound.handover_lines import handover_lines
from tasks.inbound.store import open_store
from tasks.inbound.tables import FLAGGED, freshness, handovers, pushes, refusals, unread
from tasks.inbound.values import microseconds, moment
from tasks.settings import Settings

MOST_IDS = 1_000
SILENT = timedelta(minutes=2)


@dataclass(frozen=True)
class Flagged:
    """How many, and the ids of the first thousand, oldest first."""

    count: int = 0
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flags:
    """Pushes that came since the moment asked for; files and heartbeat as they are now.

    conflicts: other content under a known GUID · unread: ids as in the answer to InvoiceCloud · suspense: money for
    an account nobody knows · above_balance: more than was owed · refused_enrolments: list → times not told of yet ·
    handovers_late/refused: file names · alive_at: last sign of life; silent: none for two minutes.
    """

    conflicts: Flagged
    unread: Flagged
    suspense: Flagged
    above_balance: Flagged
    refused_enrolments: dict[str, int]
    handovers_late: tuple[str, ...]
    handovers_refused: tuple[str, ...]
    alive_at: datetime | None
    silent: bool


CONFLICT = pushes.c.variant > 1
SUSPENSE = and_(pushes.c.variant == 1, pushes.c.approved, ~pushes.c.account_known)
ABOVE = and_(pushes.c.variant == 1, pushes.c.above_balance)


def flags(settings: Settings, biller: str, at: datetime, since: datetime | None = None) -> Flags:
    """Reads the store. `since`: pushes received from then on (all). Raises StorageTrouble, StagingDamaged."""
    inbound = settings.biller(biller).inbound
    late = at - timedelta(minutes=inbound.ack_minutes if inbound else 0)
    start = microseconds(since) if since else 0
    with closing(open_store(settings)) as store, store.reading() as connection:
        open_ones = handovers.c.acknowledged_at.is_(None) | handovers.c.refused_at.is_not(None)
        lines = handover_lines(connection, biller, open_ones)
        alive = connection.scalar(select(freshness.c.alive_at).where(freshness.c.biller == biller))
        alive_at = moment(alive)
        return Flags(
            conflicts=_flagged(connection, biller, start, CONFLICT),
            unread=_unread(connection, biller, start),
            suspense=_flagged(connection, biller, start, SUSPENSE),
            above_balance=_flagged(connection, biller, start, ABOVE),
            refused_enrolments=_untold(connection, biller),
            handovers_late=tuple(
                line.file_name
                for line in lines
                if line.refused_at is None and line.made_at < microseconds(late)
            ),
            handovers_refused=tuple(line.file_name for line in lines if line.refused_at is not None),
            alive_at=alive_at,
            silent=alive_at is None or at - alive_at > SILENT,
        )


def told(settings: Settings, biller: str, refused_enrolments: Mapping[str, int]) -> None:
    """The refusals that `flags` counted have been told of: the next ones count from here."""
    with closing(open_store(settings)) as store, store.writing() as connection:
        for name, times in sorted(refused_enrolments.items()):
            of = refusals.c.biller == biller, refusals.c.list == name
            connection.execute(update(refusals).where(*of).values(told_times=refusals.c.told_times + times))


def _flagged(connection: Connection, biller: str, start: int, which: ColumnElement[bool]) -> Flagged:
    c = pushes.c
    where = c.biller == biller, c.received_at >= start, FLAGGED, which
    return _first(connection, c.push_id, where, (c.received_at, c.push_id))


def _unread(connection: Connection, biller: str, start: int) -> Flagged:
    c = unread.c
    found = _first(
        connection, c.sha256, (c.biller == biller, c.received_at >= start), (c.received_at, c.sha256)
    )
    return Flagged(found.count, tuple(name[:32] for name in found.ids))


def _first(connection: Connection, name: Any, where: tuple[Any, ...], order: tuple[Any, ...]) -> Flagged:
    count = connection.execute(select(func.count()).where(*where)).scalar_one()
    ids = connection.scalars(select(name).where(*where).order_by(*order).limit(MOST_IDS)).all()
    return Flagged(count, tuple(ids))


def _untold(connection: Connection, biller: str) -> dict[str, int]:
    c = refusals.c
    rows = connection.execute(
        select(c.list, c.times - c.told_times).where(c.biller == biller, c.times > c.told_times)
    )
    return dict(rows.tuples().all())
