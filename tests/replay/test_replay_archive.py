"""The archive is the truth: replay makes the same tables, also from a damaged file, and cures a wrong map."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sandbox import Sandbox
from tasks.alerts import Alert, raise_alerts
from tasks.archive import Poll, new_poll_id
from tasks.errors import IcflowsError, SettingsError, StagingDamaged
from tasks.loading import load_file
from tasks.replay import replay

TABLES = (
    *(f"feed.{t}_versions" for t in ("payments", "settlements", "ach_rejects", "autopay", "paperless")),
    *(f"quarantine.{t}" for t in ("payments", "settlements", "ach_rejects", "autopay", "paperless", "postings")),
    "imt.postings_versions", "imt.invoice_events_versions", "poll.runs", "poll.watermarks", "poll.loads",
    '"check".results', '"check".alerts',
)  # fmt: skip
POSTINGS = (
    "posting_id,system,account_number,amount,kind,origin,status,posted_at,effective_date\n"
    "P1,SPECTRUM,0012345,120.50,PAYMENT,IC,POSTED,2026-11-01T06:00:00Z,2026-11-01\n"
    "P2,SPECTRUM,0012345,1e3,PAYMENT,IC,POSTED,2026-11-01T06:00:00Z,2026-11-01\n"
)


@pytest.fixture
def busy_day(office: Any, ic: Sandbox, tmp_path: Path) -> Any:
    """Polls that went well, badly, twice, in the other form; a file; an alert."""
    for feed in ("payments", "settlements", "ach-rejects", "autopay", "paperless"):
        office.pull(feed)
    ic.fault("bad_money", value="12.345", row=1)
    office.pull("settlements")
    later = office.at + timedelta(hours=2)
    changed = office.table("payments").with_columns(
        payment_amount=pl.when(pl.col("invoice_number") == "INV-0001").then(pl.lit("121.00")).otherwise(
            pl.col("payment_amount")
        ).cast(pl.Decimal(18, 2))
    )  # fmt: skip
    office.serve(payments=changed, autopay=office.table("autopay").head(1))
    for kind in ("half_rows", "trailing_junk", "same_bytes"):
        ic.fault(kind)
        office.pull(at=later)
    for kind in ("http_401", "truncate_between_tags"):
        ic.fault(kind)
        with pytest.raises(IcflowsError):
            office.pull(at=later)
    office.pull(at=later)
    office.pull("autopay", at=later)
    file = tmp_path / "postings.csv"
    file.write_text(POSTINGS)
    load_file(office.settings, "acme", "postings", file, later)
    raise_alerts(office.settings, "acme", later, [Alert("feed_late", "payments", "MED", "late", "late")])
    return office


def test_replay_makes_the_same_tables(busy_day: Any) -> None:
    before = busy_day.dump(*TABLES)
    assert before["feed.payments_versions"]
    steps: list[tuple[int, int]] = []
    result = replay(busy_day.settings, "acme", busy_day.at, lambda done, whole: steps.append((done, whole)))
    after = busy_day.dump(*TABLES)
    for table in TABLES:
        assert after[table] == before[table], table
    assert result.polls == len(before["poll.runs"])
    assert result.failed == sum(run["status"] == "failed" for run in before["poll.runs"])
    assert steps[-1] == (result.polls, result.polls)
    assert result.old_file is not None
    assert result.old_file.exists()
    assert result.carried['"check"."alerts"'] == 1


def test_replay_twice_is_replay_once_and_pulling_goes_on(busy_day: Any) -> None:
    before = busy_day.dump(*TABLES)
    replay(busy_day.settings, "acme", busy_day.at)
    replay(busy_day.settings, "acme", busy_day.at + timedelta(minutes=1))
    assert busy_day.dump(*TABLES) == before
    assert busy_day.pull(at=busy_day.at + timedelta(hours=4)).rows_unchanged == 4


@pytest.mark.parametrize("damage", ["gone", "rubbish", "older"])
def test_a_damaged_file_is_rebuilt(damage: str, busy_day: Any) -> None:
    path = busy_day.settings.folder("staging") / "acme.duckdb"
    feeds = [table for table in TABLES if table != '"check".alerts']
    old = path.read_bytes()
    busy_day.pull(at=busy_day.at + timedelta(hours=4))
    before = busy_day.dump(*feeds)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"rubbish" * 1000 if damage == "rubbish" else old)
    with pytest.raises(StagingDamaged, match="icflows replay --biller acme"):
        busy_day.runs()
    replay(busy_day.settings, "acme", busy_day.at)
    assert busy_day.dump(*feeds) == before


def test_alerts_outlive_a_file_that_is_only_older(busy_day: Any) -> None:
    path = busy_day.settings.folder("staging") / "acme.duckdb"
    old = path.read_bytes()
    busy_day.pull(at=busy_day.at + timedelta(hours=4))
    path.write_bytes(old)
    replay(busy_day.settings, "acme", busy_day.at)
    assert busy_day.rows('SELECT count(*) AS n FROM "check".alerts') == [{"n": 1}]


def test_a_poll_with_an_earlier_business_time_keeps_its_place(busy_day: Any) -> None:
    busy_day.pull(at=busy_day.at - timedelta(hours=1))
    before = busy_day.dump("feed.payments_versions")
    replay(busy_day.settings, "acme", busy_day.at)
    assert busy_day.dump("feed.payments_versions") == before


def test_a_corrected_map_cures_the_quarantine(office: Any, ic: Sandbox) -> None:
    office.configure(feeds={"payments": {"columns": {"payment_date": {"read": "offset"}}, "form": "soap"}})
    assert office.pull().rows_quarantined == 4  # naive times have no offset: the map was wrong
    office.configure(feeds={"payments": {"form": "soap"}})
    replay(office.settings, "acme", office.at)
    (run,) = office.runs()
    assert (run["rows_new"], run["rows_quarantined"]) == (4, 0)
    assert len(office.current()) == 4


def test_a_refused_answer_is_cured_by_a_corrected_map(office: Any, ic: Sandbox) -> None:
    ic.fault("renamed_column", times=-1, column="PaymentAmount", to="Amt")
    with pytest.raises(IcflowsError):
        office.pull()
    office.configure(feeds={"payments": {"columns": {"payment_amount": {"from": "Amt"}}}})
    assert replay(office.settings, "acme", office.at).failed == 0
    assert len(office.current()) == 4


def test_an_attempt_without_a_key_is_the_same_before_and_after(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.pull()
    key = "ACME_WEB_SERVICE_KEY"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(key)
        with pytest.raises(SettingsError):
            office.pull()
    before = office.dump("poll.runs", "poll.loads")
    replay(office.settings, "acme", office.at)
    assert office.dump("poll.runs", "poll.loads") == before


def test_an_empty_archive_gives_an_empty_valid_file(office: Any) -> None:
    result = replay(office.settings, "acme", office.at)
    assert (result.polls, result.failed, result.old_file) == (0, 0, None)
    assert office.runs() == []


def test_a_body_without_its_note_is_left_alone(office: Any) -> None:
    """Killed between body and note: nothing was staged of it either."""
    result = office.pull()
    stray = office.archive.body_path(result.poll_id.replace("-payments-", "-payments-0"))
    stray.write_bytes(b"cut")
    assert replay(office.settings, "acme", office.at).polls == 1


def test_changed_bytes_in_the_archive_are_noticed(office: Any) -> None:
    """The note holds the hash: a body that no longer has it must not become rows."""
    result = office.pull()
    body = office.archive.body_path(result.poll_id)
    body.write_bytes(body.read_bytes().replace(b"120.50", b"920.50"))
    assert replay(office.settings, "acme", office.at).failed == 1
    assert office.current() == []


def test_a_kind_of_file_that_is_no_more_is_passed_over(office: Any) -> None:
    poll_id = new_poll_id("imt_invoices", office.at)
    office.archive.note(
        Poll(poll_id, "acme", "invoices", "file", "invoices.csv", None, None, office.at, suffix=".csv")
    )
    result = replay(office.settings, "acme", office.at)
    assert (result.polls, result.failed) == (1, 1)
