"""A biller at the close of the day, to explain; and rows made for single links of a chain."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from tasks.explain import explain
from tasks.pull import staging_of
from tasks.settings import Settings
from tasks.staging.query import frame

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
LINEAGE = {
    "source_form": "file", "poll_id": "20261030T230000Z-made-1", "row_no": 7, "first_seen_at": CLOSE,
    "version_seen_at": CLOSE, "last_seen_at": CLOSE, "version": 1, "present": True, "is_current": True,
}  # fmt: skip


class Asked:
    """Questions to one biller, and rows put straight into its staging."""

    close = CLOSE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def about(self, key: str, **more: Any) -> dict[str, Any]:
        return explain(self.settings, "acme", key, more.pop("as_of", CLOSE), **more)

    def chain(self, guid: str) -> dict[str, Any]:
        (chain,) = self.about(guid)["chains"]
        return dict(chain)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with staging_of(self.settings, "acme").open() as connection:
            return frame(connection, sql).to_dicts()

    def put(self, table: str, **row: Any) -> None:
        """One row; columns that are not named are null. Versioned tables get their lineage."""
        row = {**(LINEAGE if table.endswith("_versions") else {}), **row}
        with staging_of(self.settings, "acme").open() as connection:
            connection.register("made", pl.DataFrame([row]))
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM made")
            connection.unregister("made")

    def one(self, where: str) -> dict[str, Any]:
        """An item of the last run."""
        return self.rows(f"SELECT * FROM recon.items WHERE {where} ORDER BY payment_guid LIMIT 1")[0]


@pytest.fixture
def asked(day: Any, tmp_path: Path) -> Asked:
    return Asked(day.copy("close", tmp_path))


@pytest.fixture(scope="session")
def seen(day: Any, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """The same for tests that only look."""
    return Asked(day.copy("close", tmp_path_factory.mktemp("seen")))


@pytest.fixture
def made_old() -> Any:
    """A snapshot file with nothing but its own words and two feeds."""

    def make(path: Path) -> Path:
        with duckdb.connect(str(path)) as connection:
            connection.execute(
                """CREATE SCHEMA feed; CREATE SCHEMA imt;
                   CREATE TABLE snapshot_info AS SELECT 'acme' AS biller, TIMESTAMPTZ '2026-10-30 23:00Z' AS as_of,
                          'America/Chicago' AS time_zone;
                   CREATE TABLE feed.payments (payment_guid VARCHAR, account_number VARCHAR, invoice_number VARCHAR);
                   INSERT INTO feed.payments VALUES ('g', 'A-1', 'INV-1')"""
            )
        return path

    return make
