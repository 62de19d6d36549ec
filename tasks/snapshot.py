"""publish_snapshot: a complete, read-only DuckDB file for people, beside the work that goes on.

<snapshots>/<biller>/<UTC>.duckdb and latest.duckdb, in storage version 1.4, so that any DuckDB client from 1.4
on reads it. Personal data is masked unless [storage] mask_personal_data = false.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import polars as pl

from checks.contracts import FEEDS, IMT
from checks.describe import columns, pii_columns
from tasks.dated_files import DatedFiles
from tasks.pull import staging_of
from tasks.reconcile import BankingCalendar
from tasks.reconciling import rules_of
from tasks.settings import Settings
from tasks.staging import publish
from tasks.staging.inputs import last_run
from tasks.staging.query import Connection, frame
from tasks.staging.store import STORAGE_VERSION


@dataclass(frozen=True)
class SnapshotResult:
    """Where the snapshot lies, how big it is, rows per table, and older ones that were removed."""

    path: Path
    latest: Path
    bytes: int
    tables: dict[str, int]
    removed: list[Path]


def machine_clock() -> datetime:
    """Now. Only for stamps that say when a file was made."""
    return datetime.now(UTC)


def snapshots_of(settings: Settings, biller: str) -> DatedFiles:
    """The biller's snapshot folder."""
    settings.biller(biller)
    return DatedFiles(settings.folder("snapshots") / biller, "duckdb", settings.storage.lock_timeout_seconds)


def publish_snapshot(
    settings: Settings, biller: str, as_of: datetime, *, clock: Callable[[], datetime] = machine_clock
) -> SnapshotResult:
    """Writes, flushes and names a new snapshot, then removes what [storage] no longer keeps.

    `clock` only stamps snapshot_info.made_at. Raises Retry when it cannot be written; the old one stands.
    """
    files = snapshots_of(settings, biller)
    with files.replacing(as_of) as part:
        with staging_of(settings, biller).open() as connection:
            tables = write_snapshot(settings, biller, as_of, connection, part, clock)
        size = part.stat().st_size
    removed = files.prune(as_of, settings.storage.keep_snapshots, settings.storage.keep_days)
    return SnapshotResult(files.path(as_of), files.latest, size, tables, removed)


def write_snapshot(
    settings: Settings,
    biller: str,
    as_of: datetime,
    connection: Connection,
    path: Path,
    clock: Callable[[], datetime],
) -> dict[str, int]:
    """Writes what `connection` (open staging) holds to the new file `path`; rows per table. Raises Retry."""
    run, masked = last_run(connection) or {}, settings.storage.mask_personal_data
    duckdb_version = frame(connection, "SELECT version() AS v").item()
    made = {
        "as_of": as_of.astimezone(UTC), "made_at": clock(), "masked": masked,
        "duckdb_version": duckdb_version, "last_run_id": run.get("run_id"), "last_run_as_of": run.get("as_of"),
    }  # fmt: skip
    masks = publish.Masks(masked, readable_names(settings, biller))
    return publish.build(connection, path, about(settings, biller, made), masks)


def about(settings: Settings, biller: str, made: dict[str, object]) -> publish.About:
    """What the views need besides the tables: who, as of when, how often feeds are polled, what is excluded."""
    rules, own = rules_of(settings, biller), settings.biller(biller)
    info = {
        "biller": biller, "product": own.product, **made, "icflows_version": version("icflows"),
        "storage_version": STORAGE_VERSION, "time_zone": own.time_zone, "void_statuses": list(rules.void_statuses),
        "pump_since": own.inbound.pump_since if own.inbound else None,
    }  # fmt: skip
    feeds = [
        (name, rank, round(feed.interval_hours * 3600), round(feed.interval_hours * 3600 * rules.late_factor))
        for rank, (name, feed) in enumerate(rules.feeds.items())
    ]
    exclusions = [
        (rank, name, rule.column, rule.starts_with, rule.support_origin, rule.owner, rule.expiry)
        for rank, (name, rule) in enumerate(rules.exclusions.items())
    ]
    return publish.About(
        info=pl.DataFrame([info], schema=dict(publish.INFO)),
        feeds=pl.DataFrame(feeds, schema=dict(publish.FEED_TIMES), orient="row"),
        exclusions=pl.DataFrame(exclusions, schema=dict(publish.EXCLUSIONS), orient="row"),
        holidays=pl.DataFrame({"day": BankingCalendar().holidays}, schema=dict(publish.HOLIDAYS)).filter(
            pl.col("day").dt.weekday() < 6  # a weekend is no banking day without it
        ),
    )


def readable_names(settings: Settings, biller: str) -> dict[str, list[str]]:
    """Per table the names, as sent, of the columns that are no personal data."""
    names = {table: _feed_names(settings, biller, table) for table in FEEDS}
    private = {table: set(pii_columns(contract)) for table, contract in IMT.items()}
    return names | {
        t: [c.name for c in columns(contract) if c.name not in private[t]] for t, contract in IMT.items()
    }


def _feed_names(settings: Settings, biller: str, table: str) -> list[str]:
    private = set(pii_columns(FEEDS[table]))
    sources = settings.feed(biller, table).columns
    hidden = {column.source for name, column in sources.items() if name in private}
    return sorted({column.source for column in sources.values()} - hidden)
