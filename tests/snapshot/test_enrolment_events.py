"""v_enrolment_events: what changed between complete lists, from the versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from checks.contracts import FEEDS
from checks.describe import polars_schema
from tasks.pull import staging_of
from tasks.snapshot import publish_snapshot
from tasks.staging.merge import Target, merge
from tasks.staging.polls import record_load
from tasks.staging.query import frame

FIRST = datetime(2026, 10, 1, 12, tzinfo=UTC)
TARGET = Target("feed", "autopay", FEEDS["autopay"], ("account_number", "invoice_type_id"))


def enrolment(account: str, on: bool, mail: str = "a@example.com", method: str = "EFT") -> dict[str, Any]:
    return {
        "account_number": account,
        "invoice_type_id": "3",
        "autopay": on,
        "email": mail,
        "payment_method": method,
    }


def lists(settings: Any, *days: list[dict[str, Any]]) -> None:
    staging_of(settings, "acme").path.unlink()
    staging_of(settings, "acme").journal.unlink()
    for number, rows in enumerate(days):
        schema = polars_schema(FEEDS["autopay"])
        given = pl.DataFrame(rows, schema=schema).with_row_index("row_no", offset=1)
        with staging_of(settings, "acme").transaction(f"list {number}") as connection:
            merge(
                connection, TARGET, given.with_columns(pl.col("row_no").cast(pl.Int64)), poll_id=f"poll {number}",
                form="soap", seen_at=FIRST + timedelta(days=number), complete_snapshot=True,
            )  # fmt: skip
            record_load(connection, f"list {number}", "test", FIRST)


def test_events(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    lists(
        settings,
        [enrolment("A1", True), enrolment("A2", True), enrolment("A3", False), enrolment("A4", True)],
        [enrolment("A1", True), enrolment("A2", False), enrolment("A3", True), enrolment("A5", True), enrolment("A6", False)],
        [enrolment("A1", True, "b@example.com"), enrolment("A2", False), enrolment("A3", True, method="CARD"),
         enrolment("A4", True), enrolment("A5", True), enrolment("A6", False)],
    )  # fmt: skip
    path = publish_snapshot(settings, "acme", FIRST + timedelta(days=9)).path
    with duckdb.connect(str(path), read_only=True) as connection:
        events = frame(connection, "SELECT account_number, seen_at, event, changed FROM v_enrolment_events")
    found = [
        (row[0], (row[1] - FIRST).days, row[2], row[3])
        for row in events.sort("seen_at", "account_number").iter_rows()
    ]
    assert found == [
        ("A2", 1, "CANCELLED", None),
        ("A3", 1, "ENROLLED", None),
        ("A4", 1, "LEFT_THE_LIST", None),
        ("A5", 1, "ENROLLED", None),
        ("A6", 1, "LISTED", None),
        ("A1", 2, "CHANGED", "contact data"),  # masked in the file, so only that it changed
        ("A3", 2, "CHANGED", "payment_method"),
        ("A4", 2, "ENROLLED", None),
    ]
