"""Brings what IMT says is owed from staging into the service's store, beside a service that goes on taking pushes.

Accounts are written whole, some at a time: an answer sees an account before or after, never half of it, and a push
leaves a balance in the transaction that puts its posting into it. A run that ends midway is done again by the next:
only the last transaction says which loads the store holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from filelock import FileLock, Timeout
from sqlalchemy import Column, select, text

from tasks.errors import StagingBusy
from tasks.inbound import figures
from tasks.inbound.figures import Part
from tasks.inbound.store import Store, open_store
from tasks.inbound.tables import accounts, applied, balances, pushes
from tasks.pull import staging_of
from tasks.settings import Settings
from tasks.staging.owed import Owed, read_owed
from tasks.staging.store import Staging

ROWS_AT_ONCE = 1_000  # some ten milliseconds of SQLite's one writer
_NAMES_AT_ONCE = 50_000
_WAITING = {name: pl.String() for name in ("push_id", "payment_guid", "account_number", "invoice_number")}
_NOT_POSTED = "posted_at IS NULL AND approved"  # in the words of the index: SQLite looks no further


@dataclass(frozen=True)
class RefreshResult:
    """Rows written: `invoices` (with `removed` ones), `accounts`; `pushes_posted`: pushes that IMT's figures hold now.

    full: everything was compared, not only what new loads touched. known_as_of: IMT was last heard then; None: never.
    """

    invoices: int
    accounts: int
    pushes_posted: int
    full: bool
    known_as_of: datetime | None
    removed: int = 0


def refresh(settings: Settings, biller: str, at: datetime) -> RefreshResult:
    """Staging → store. Incremental; all of it if the store is empty or staging was rebuilt without a load.

    Raises StagingBusy (also: another refresh of this biller runs), StagingDamaged, StorageTrouble.
    """
    staging = staging_of(settings, biller)
    with _alone(staging, settings.storage.lock_timeout_seconds):
        store = open_store(settings)
        try:
            return renew(store, staging, biller, at)
        finally:
            store.close()


@contextmanager
def _alone(staging: Staging, seconds: float) -> Iterator[None]:
    """Two at once could write older figures over newer ones."""
    lock = FileLock(staging.root / f"{staging.biller}.refresh.lock")
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise StagingBusy(f"another refresh of {staging.biller} runs; waited {seconds:g} s") from None
    try:
        yield
    finally:
        lock.release()


def renew(
    store: Store,
    staging: Staging,
    biller: str,
    at: datetime,
    *,
    everything: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> RefreshResult:
    """refresh() on an open store. `pause` gets the seconds for which others may have SQLite's one writer."""
    held, waiting = _known(store, biller)
    with staging.open() as connection:
        owed = read_owed(connection, held, waiting, everything=everything or not held)
    gone = _absent(store, biller, owed, balances.c.invoice_number, owed.invoices)
    dropped = _absent(store, biller, owed, accounts.c.account_number, owed.accounts)
    for part in _parts(owed, gone, dropped):
        started = time.monotonic()
        with store.writing("pushes" if part.posted.height else None) as target:
            figures.write(target, biller, part, at)
        if store.is_sqlite:
            pause(time.monotonic() - started)  # who waits for it sleeps and looks again: there is no queue
    with store.writing() as target:
        figures.finish(target, biller, held, owed.loads, owed.known_as_of, at)
    return RefreshResult(
        invoices=owed.invoices.height, accounts=owed.accounts.height, pushes_posted=owed.posted.height,
        full=owed.touched is None, known_as_of=owed.known_as_of, removed=gone.height,
    )  # fmt: skip


def _known(store: Store, biller: str) -> tuple[frozenset[str], pl.DataFrame]:
    """Loads that the store holds, and the pushes in it that no posting was seen of. No loads if it has no balances."""
    with store.reading() as connection:
        loads = connection.scalars(select(applied.c.load_id).where(applied.c.biller == biller)).all()
        columns = [pushes.c[name] for name in _WAITING]
        rows = connection.execute(select(*columns).where(pushes.c.biller == biller, text(_NOT_POSTED))).all()
        some = connection.execute(
            select(balances.c.biller).where(balances.c.biller == biller).limit(1)
        ).first()
    held = frozenset(loads) if some else frozenset()
    return held, pl.DataFrame([tuple(row) for row in rows], schema=_WAITING, orient="row")


def _absent(store: Store, biller: str, owed: Owed, key: Column[str], there: pl.DataFrame) -> pl.DataFrame:
    """Account and `key` of rows that the store may have and staging has not (any more)."""
    if owed.touched is None:
        names = _stored(store, biller, key)
    else:
        names = (
            owed.touched.select(*dict.fromkeys((key.name, "account_number"))).drop_nulls().unique(key.name)
        )
    return names.join(there.select(key.name), on=key.name, how="anti")


def _stored(store: Store, biller: str, key: Column[str]) -> pl.DataFrame:
    """Account and `key` of every row of the biller in the key's table."""
    names = dict.fromkeys((key.name, "account_number"))
    schema = {name: pl.String() for name in names}
    with store.reading() as connection:
        query = select(*(key.table.c[name] for name in names)).where(key.table.c.biller == biller)
        result = connection.execution_options(yield_per=_NAMES_AT_ONCE).execute(query)
        parts = [
            pl.DataFrame(list(map(tuple, rows)), schema=schema, orient="row") for rows in result.partitions()
        ]
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def _parts(owed: Owed, gone: pl.DataFrame, dropped: pl.DataFrame) -> Iterator[Part]:
    """Whole accounts, some ROWS_AT_ONCE rows together."""
    frames = (owed.invoices, gone, owed.accounts, dropped, owed.posted)
    units = pl.concat([frame.select("account_number") for frame in frames])
    units = units.group_by("account_number").len().sort("account_number")
    before = pl.col("len").cum_sum() - pl.col("len")
    units = units.select("account_number", part=before // ROWS_AT_ONCE)
    split = [
        frame.join(units, on="account_number").partition_by("part", as_dict=True, include_key=False)
        for frame in frames
    ]
    for part in units["part"].unique().sort():
        yield Part(*(parts.get((part,), frame.clear()) for parts, frame in zip(split, frames, strict=True)))
