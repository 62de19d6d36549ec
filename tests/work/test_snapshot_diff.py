"""Two snapshots of one biller: what opened, closed, changed, came back, and the row that did it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import SettingsError
from tasks.reconciling import run_reconcile
from tasks.snapshot import publish_snapshot
from tasks.work.diff import diff

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
# A further version of a posting, as a file of IMT brings it.
VERSION = """
    INSERT INTO imt.postings_versions BY NAME
    SELECT * REPLACE ('later' AS poll_id, version + 1 AS version, {amount} AS amount, TIMESTAMPTZ '2026-10-30 23:30:00Z' AS version_seen_at)
    FROM imt.postings_versions WHERE is_current AND payment_guid = '{guid}';
    UPDATE imt.postings_versions SET is_current = false WHERE payment_guid = '{guid}' AND poll_id <> 'later'"""


def snapshot(desk: Any, hour: int) -> Path:
    at = CLOSE + timedelta(hours=hour)
    run_reconcile(desk.settings, "acme", at)
    return publish_snapshot(desk.settings, "acme", at).path


def test_what_changed_and_the_row_that_did_it(desk: Any) -> None:
    right, other = desk.one("B05"), desk.one("B05", 1)
    before = snapshot(desk, 0)
    paid = f"(SELECT sum(payment_amount) FROM feed.payments WHERE payment_guid = '{right['payment_guid']}')"
    desk.run(VERSION.format(guid=right["payment_guid"], amount=paid))
    desk.run(VERSION.format(guid=other["payment_guid"], amount="amount + 1"), "later")
    after = snapshot(desk, 1)
    told = diff(before, after)
    found = {row["break_id"]: row for row in told["breaks"]}
    assert {which: row["change"] for which, row in found.items()} == {
        right["break_id"]: "closed", other["break_id"]: "changed",
    }  # fmt: skip
    changed = found[other["break_id"]]
    assert changed["amount_before"] == other["amount"] != changed["amount_now"]
    (row,) = changed["rows"]
    assert (row["table"], row["link"], row["change"], row["poll_id"], row["version"]) == (
        "imt.postings", "payment", "changed", "later", 2,
    )  # fmt: skip
    assert (told["before"]["as_of"], told["after"]["as_of"]) == (CLOSE, CLOSE + timedelta(hours=1))
    desk.run(VERSION.replace("later", "last").format(guid=right["payment_guid"], amount="amount - 5"), "last")
    last = snapshot(desk, 2)
    assert [(row["change"], row["break_id"]) for row in diff(after, last)["breaks"]] == [
        ("reopened", right["break_id"])
    ]
    assert {row["change"] for row in diff(before, last)["breaks"]} == {"changed"}
    assert diff(last, last)["breaks"] == []


def test_breaks_of_time_alone_have_no_row(desk_before: Any, desk: Any) -> None:
    before = publish_snapshot(desk_before.settings, "acme", CLOSE - timedelta(days=3)).path
    told = diff(before, publish_snapshot(desk.settings, "acme", CLOSE).path)
    opened = [row["code"] for row in told["breaks"] if row["change"] == "opened"]
    assert len(opened) == len(told["breaks"]) > 2
    assert "B01" in opened
    assert any(row["rows"] == [] for row in told["breaks"])


def test_files_that_cannot_be_compared(desk: Any, tmp_path: Path) -> None:
    one = publish_snapshot(desk.settings, "acme", CLOSE).path
    two = publish_snapshot(desk.settings, "acme", CLOSE + timedelta(hours=1)).path
    with pytest.raises(SettingsError, match="put the earlier one first"):
        diff(two, one)
    with pytest.raises(SettingsError, match="there is no file"):
        diff(one, tmp_path / "none.duckdb")
    with pytest.raises(SettingsError, match="is no snapshot that can be read"):
        diff(one, desk.settings.file)
    with pytest.raises(SettingsError, match="is no snapshot that can be read"):
        diff(desk.settings.folder("staging") / "acme.duckdb", one)
