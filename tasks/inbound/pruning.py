"""Takes out of the store what staging and IMT have for good: old calls, and the bytes of acknowledged files.

Pushes stay: their GUIDs say what was taken already, however late IC repeats one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from tasks.inbound.store import Store
from tasks.inbound.tables import calls, handovers
from tasks.inbound.values import microseconds

CALLS_KEPT = timedelta(days=7)
FILES_KEPT = timedelta(days=90)
_AT_ONCE = 5_000  # SQLite has one writer, and pushes wait for it


def prune(store: Store, biller: str, at: datetime) -> int:
    """Removes what is that old; returns how many calls went. Raises StorageTrouble."""
    gone, some = 0, _AT_ONCE
    before = calls.c.called_at < microseconds(at - CALLS_KEPT)
    oldest = select(calls.c.number).where(calls.c.biller == biller, calls.c.staged, before).limit(_AT_ONCE)
    while some == _AT_ONCE:
        with store.reading() as connection:
            numbers = connection.scalars(oldest).all()
        some = len(numbers)
        gone += some
        if numbers:
            with store.writing() as connection:
                connection.execute(delete(calls).where(calls.c.number.in_(numbers)))
    _empty_files(store, biller, at)
    return gone


def _empty_files(store: Store, biller: str, at: datetime) -> None:
    """A file that IMT acknowledged long ago is never offered again; its line stays, with its SHA-256."""
    old = (
        handovers.c.biller == biller, handovers.c.acknowledged_at < microseconds(at - FILES_KEPT),
        handovers.c.refused_at.is_(None), handovers.c.content != b"",
    )  # fmt: skip
    with store.reading() as connection:
        sequences = connection.scalars(select(handovers.c.sequence).where(*old)).all()
    for sequence in sequences:
        with store.writing() as connection:
            of = handovers.c.biller == biller, handovers.c.sequence == sequence
            connection.execute(update(handovers).where(*of).values(content=b""))
