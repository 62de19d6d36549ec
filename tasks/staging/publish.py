"""Builds a snapshot file out of a staging file: tables copied (personal data masked on the way), views, words.

The file is made new and filled by queries, so a masked value was never in it; a copy of the staging file
with an UPDATE on top would keep the old bytes in free blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import polars as pl

from checks.contracts import FEEDS, IMT, BifRecords
from checks.describe import pii_columns
from tasks.errors import ControlTotalError, Retry
from tasks.reconcile.model import TIME, Schema
from tasks.staging.dictionary import comments
from tasks.staging.query import scalar
from tasks.staging.schema import OUTBOX, RECON, state_views, versioned_ddl
from tasks.staging.store import STORAGE_VERSION

MASK = "'***'"
VIEWS = tuple(Path(__file__).with_name(name) for name in ("views.sql", "work_views.sql"))
_CONTRACTS = {
    **{("feed", name): c for name, c in FEEDS.items()},
    **{("imt", name): c for name, c in IMT.items()},
}
_PLAIN = (
    "poll.runs",
    "poll.watermarks",
    "check.results",
    "check.alerts",
    "recon.items",
    *(f"recon.{name}" for name in RECON),
    *(f"outbox.{name}" for name in OUTBOX if name != "records"),
)


INFO: Schema = {
    "biller": pl.String, "product": pl.String, "as_of": TIME, "made_at": TIME, "time_zone": pl.String,
    "masked": pl.Boolean, "icflows_version": pl.String, "duckdb_version": pl.String, "storage_version": pl.String,
    "last_run_id": pl.String, "last_run_as_of": TIME, "void_statuses": pl.List(pl.String),
    "pump_since": TIME,
}  # fmt: skip
FEED_TIMES: Schema = {
    "feed": pl.String, "position": pl.Int64, "interval_seconds": pl.Int64, "late_after_seconds": pl.Int64,
}  # fmt: skip
EXCLUSIONS: Schema = {
    "position": pl.Int64, "name": pl.String, "column_name": pl.String, "starts_with": pl.String,
    "support_origin": pl.String, "owner": pl.String, "expiry": pl.Date,
}  # fmt: skip
HOLIDAYS: Schema = {"day": pl.Date}


@dataclass(frozen=True)
class About:
    """What the views need besides the tables: snapshot_info (INFO, one row), snapshot_feeds (FEED_TIMES),
    snapshot_exclusions (EXCLUSIONS), snapshot_holidays (HOLIDAYS)."""

    info: pl.DataFrame
    feeds: pl.DataFrame
    exclusions: pl.DataFrame
    holidays: pl.DataFrame


@dataclass(frozen=True)
class Masks:
    """`on`: mask personal data. `readable`: per quarantine table the raw names that are known to be none."""

    on: bool
    readable: Mapping[str, list[str]] = field(default_factory=dict)


def build(connection: duckdb.DuckDBPyConnection, path: Path, about: About, masks: Masks) -> dict[str, int]:
    """Writes the snapshot to `path` (a new file) from the staging file of `connection`; rows per table.

    Raises Retry when the file cannot be written, ControlTotalError if a table arrived incomplete.
    """
    quoted = str(path).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{quoted}' AS snapshot (STORAGE_VERSION '{STORAGE_VERSION}')")
        connection.begin()
        for name, select in _selects(masks).items():
            _copy(connection, name, select)
        connection.execute("USE snapshot")
        _current_rows(connection)
        add_views(connection, about)
        written = _count(connection)
        for statement in comments(connection):
            connection.execute(statement)
        connection.commit()
        connection.execute("CHECKPOINT snapshot; USE staging; DETACH snapshot")
    except duckdb.Error as error:
        # Only errors of the disk speak of no value; any other may quote a row.
        words = (
            str(error).splitlines()[0][:200]
            if isinstance(error, duckdb.IOException)
            else type(error).__name__
        )
        raise Retry(
            f"the snapshot was not written ({words}); the one before still stands", reason="snapshot"
        ) from None
    return written


def add_views(connection: duckdb.DuckDBPyConnection, about: About, *, temporary: bool = False) -> None:
    """snapshot_info, snapshot_feeds, snapshot_exclusions and the views for people, in the current database."""
    kind = "TEMP " if temporary else ""
    tables = {
        "snapshot_info": about.info,
        "snapshot_feeds": about.feeds,
        "snapshot_exclusions": about.exclusions,
        "snapshot_holidays": about.holidays,
    }
    for name, rows in tables.items():
        connection.register("given", rows)
        connection.execute(f"CREATE {kind}TABLE {name} AS SELECT * FROM given")
        connection.unregister("given")
    for file in VIEWS:
        for statement in file.read_text("utf-8").split(";\n"):
            if "CREATE VIEW" in statement:
                connection.execute(statement.replace("CREATE VIEW", f"CREATE {kind}VIEW"))


def _selects(masks: Masks) -> dict[str, str]:
    """Snapshot table → the SELECT on staging that fills it."""
    selects = {}
    for (schema, table), contract in _CONTRACTS.items():
        private = ", ".join(
            f'CASE WHEN "{c}" IS NOT NULL THEN {MASK} END AS "{c}"' for c in pii_columns(contract)
        )
        what = f"* REPLACE ({private})" if masks.on and private else "*"
        selects[f"{schema}.{table}_versions"] = f"SELECT {what} FROM staging.{schema}.{table}_versions"
        raw = f"* REPLACE ({_masked_raw(masks.readable.get(table, []))} AS raw)" if masks.on else "*"
        selects[f"quarantine.{table}"] = f"SELECT {raw} FROM staging.quarantine.{table}"
    for name in _PLAIN:
        schema, table = name.split(".")
        selects[name] = f'SELECT * FROM staging."{schema}"."{table}"'
    hidden = ", ".join(
        f'CASE WHEN "{c}" IS NOT NULL THEN {MASK} END AS "{c}"' for c in pii_columns(BifRecords)
    )
    selects["outbox.records"] = (
        f"SELECT {f'* REPLACE ({hidden})' if masks.on else '*'} FROM staging.outbox.records"
    )
    return selects


def _masked_raw(readable: list[str]) -> str:
    """The raw row with every value masked whose name is not known to be harmless (so an old name is masked too)."""
    known = ", ".join("'{}'".format(name.replace("'", "''")) for name in readable)
    harmless = f"e.key IN ({known})" if known else "false"
    return f"""map_from_entries(list_transform(map_entries(raw::MAP(VARCHAR, VARCHAR)), lambda e: {{
        'key': e.key, 'value': CASE WHEN e.value IS NULL OR {harmless} THEN e.value ELSE {MASK} END}}))::JSON"""


def _copy(connection: duckdb.DuckDBPyConnection, name: str, select: str) -> None:
    schema, table = name.split(".")
    connection.execute(f'CREATE SCHEMA IF NOT EXISTS snapshot."{schema}"')
    connection.execute(f'CREATE TABLE snapshot."{schema}"."{table}" AS {select}')


def _current_rows(connection: duckdb.DuckDBPyConnection) -> None:
    """feed.payments and its like: views on the current versions, as in staging; a second copy would double the file."""
    for (schema, table), contract in _CONTRACTS.items():
        for statement in versioned_ddl(schema, table, contract):
            if statement.startswith("CREATE VIEW"):
                connection.execute(statement)
    for statement in state_views():
        connection.execute(statement)


def _count(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows per table; each table must have the rows that it has in staging."""
    names = [*(f"{schema}.{table}" for schema, table in _CONTRACTS), *_selects(Masks(False))]
    return {name: _same_rows(connection, name) for name in sorted(names)}


def _same_rows(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    schema, table = name.split(".")
    here, there = (
        int(scalar(connection, f'SELECT count(*) FROM {database}."{schema}"."{table}"'))
        for database in ("staging", "snapshot")
    )
    if there != here:
        raise ControlTotalError(f"snapshot: {name} has {here} rows in staging and {there} in the snapshot")
    return there
