"""A reconcile run on real staging: verdicts kept whole, once, and only forward."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks import reconciling
from tasks.errors import ControlTotalError, SettingsError, StagingBusy, Stop
from tasks.loading import load_file
from tasks.pull import staging_of
from tasks.reconcile import Outcome, reconcile
from tasks.reconciling import rules_of, run_reconcile
from tasks.settings import Settings
from tasks.staging.polls import record_load
from tasks.staging.query import frame, scalar
from tasks.staging.store import Staging

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
TABLES = ("runs", "items", "totals", "breaks", "break_events")


def tables(settings: Settings) -> dict[str, pl.DataFrame]:
    with staging_of(settings, "acme").open() as connection:
        return {name: frame(connection, f"SELECT * FROM recon.{name} ORDER BY ALL") for name in TABLES}


def ask(settings: Settings, sql: str) -> Any:
    with staging_of(settings, "acme").open() as connection:
        return scalar(connection, sql)


def test_the_answer_sheet_is_found_and_nothing_else(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    key = ["code", "subject", "amount"]
    found = tables(settings)["breaks"].filter(pl.col("state") == "open").select(key)
    planted = day.carrier.truth().select(key)
    assert planted.height > 30
    assert found.sort(key).equals(planted.with_columns(pl.col("amount").cast(pl.Decimal(18, 2))).sort(key))


def test_states_add_up_to_the_feed_in_the_tables(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    feed = "(SELECT (count(*), sum(payment_amount)) FROM feed.payments)"
    states = "(SELECT (sum(rows)::BIGINT, sum(amount)) FROM recon.totals WHERE kind = 'state')"
    items = "(SELECT (count(*), sum(payment_amount)) FROM recon.items)"
    assert ask(settings, f"SELECT {feed} = {states} AND {feed} = {items}") is True


def test_the_same_moment_and_rows_change_nothing(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    before, loads = tables(settings), ask(settings, "SELECT count(*) FROM poll.loads")
    first, second = run_reconcile(settings, "acme", CLOSE), run_reconcile(settings, "acme", CLOSE)
    assert first == second
    assert first.opened > 0
    assert {row["severity"] for row in first.breaks_open} == {"HIGH", "MED"}
    after = tables(settings)
    assert all(after[name].equals(before[name]) for name in TABLES)
    assert ask(settings, "SELECT count(*) FROM poll.loads") == loads


def test_history_over_two_moments(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    kept = tables(settings)
    assert kept["runs"]["as_of"].to_list() == [CLOSE - timedelta(days=3), CLOSE]
    events = kept["break_events"]
    assert events.height == kept["runs"]["opened"].sum()
    assert events.filter(pl.col("break_id").is_duplicated()).is_empty()
    old = kept["breaks"].filter(pl.col("opened_at") == CLOSE - timedelta(days=3))
    assert old.height > 0
    assert set(old["last_seen_at"].to_list()) == {CLOSE}
    assert set(old["age"].to_list()) == {3}


def test_a_later_moment_makes_a_run_but_no_event(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    events = tables(settings)["break_events"]
    result = run_reconcile(settings, "acme", CLOSE + timedelta(minutes=10))
    assert (result.opened, result.closed, result.changed, result.new_high) == (0, 0, 0, [])
    after = tables(settings)
    assert after["break_events"].equals(events)
    assert after["runs"].height == 3


def test_no_run_before_the_last_one(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    before = tables(settings)
    with pytest.raises(Stop, match=r"2026-10-30T23:00:00Z stands.*2026-10-29T23:00:00Z") as refused:
        run_reconcile(settings, "acme", CLOSE - timedelta(days=1))
    assert refused.value.reason == "as_of_before_last_run"
    assert all(tables(settings)[name].equals(before[name]) for name in TABLES)


def test_a_moment_needs_a_zone(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    with pytest.raises(SettingsError, match="time zone"):
        run_reconcile(settings, "acme", datetime(2026, 10, 30, 23))


def test_a_posting_that_comes_later_closes_its_break(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    missing = tables(settings)["breaks"].filter(pl.col("code") == "B01").row(0, named=True)
    posting = {
        "posting_id": "LATE-1", "system": "SPECTRUM", "payment_guid": missing["payment_guid"],
        "account_number": missing["account_number"], "invoice_number": missing["invoice_number"],
        "amount": str(missing["amount"]), "kind": "PAYMENT", "origin": "IC", "status": "POSTED",
        "posted_at": "2026-10-30T22:00:00Z", "effective_date": "2026-10-30",
    }  # fmt: skip
    file = tmp_path / "late.csv"
    pl.DataFrame([posting]).write_csv(file)
    load_file(settings, "acme", "postings", file, CLOSE)
    result = run_reconcile(settings, "acme", CLOSE)  # the same moment, other rows: another run
    assert (result.opened, result.closed) == (0, 1)
    after = tables(settings)
    assert after["runs"]["as_of"].to_list() == [CLOSE - timedelta(days=3), CLOSE, CLOSE]
    assert after["runs"]["run_id"].is_unique().all()
    closed = after["break_events"].filter(pl.col("kind") == "closed").row(0, named=True)
    assert (closed["break_id"], closed["run_id"]) == (missing["break_id"], result.run_id)


def test_without_any_postings_file_nothing_is_called_missing(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    with staging_of(settings, "acme").transaction("wipe") as connection:
        for table in ("imt.postings_versions", "recon.breaks", "recon.runs", "recon.break_events"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM poll.runs WHERE feed = 'postings'")
        record_load(connection, "wipe", "test", CLOSE)
    result = run_reconcile(settings, "acme", CLOSE)
    assert not {"B01", "B09", "B42"} & {row["code"] for row in result.breaks_open}
    states = {row["name"]: row["rows"] for row in result.states}
    assert states["IN_FLIGHT"] > 500
    assert states["MATCHED_PROVISIONAL"] == 0


def test_result_tells_money_states_and_sentences(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    result = run_reconcile(settings, "acme", CLOSE)
    assert [row["name"] for row in result.excluded] == ["CLOUDSTORE", "INTERBANK_RETURNS"]
    assert result.excluded[0]["amount"] > 0
    assert sum(row["rows"] for row in result.states) == result.payments == 600
    assert sum(row["amount"] for row in result.states) == result.payments_amount
    assert all(list(row) == ["code", "name", "severity", "count", "amount"] for row in result.breaks_open)
    amounts = [abs(row["amount"]) for row in result.new_high]
    assert amounts == sorted(amounts, reverse=True)
    assert all("…" in row["sentence"] for row in result.new_high if row["code"] == "B01")


def test_rules_come_from_the_settings(day: Any, tmp_path: Path) -> None:
    plain = day.copy("close", tmp_path / "a")
    assert rules_of(plain, "acme").zone == "America/Chicago"
    assert rules_of(plain, "acme").feeds["settlements"].interval_hours == 4
    more = (
        '\n[billers.acme.feeds.settlements]\ninterval = "6h"\n[billers.acme.rules]\ntolerance = "0.05"\n'
        "[billers.acme.rules.feeds.payments]\ninterval_hours = 1.5\n[billers.acme.rules.codes.B05]\nseverity = 'LOW'\n"
    )
    own = day.copy("close", tmp_path / "b", more)
    rules = rules_of(own, "acme")
    assert rules.feeds["settlements"].interval_hours == 6
    assert rules.feeds["payments"].interval_hours == 1.5
    assert rules.codes["B05"].severity == "LOW"
    before = {row["code"]: row for row in run_reconcile(plain, "acme", CLOSE).breaks_open}
    after = run_reconcile(own, "acme", CLOSE)  # other rules at the same moment are another run
    low = next(row for row in after.breaks_open if row["code"] == "B05")
    assert (before["B05"]["severity"], low["severity"]) == ("HIGH", "LOW")
    assert after.changed + after.closed >= before["B05"]["count"]


def test_a_wrong_rule_is_refused_with_the_nearest(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path, "\n[billers.acme.rules]\ntolerence = '0.01'\n")
    with pytest.raises(SettingsError, match="tolerance"):
        run_reconcile(settings, "acme", CLOSE)


def test_what_does_not_add_up_is_not_kept(day: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict lost on the way: the whole run is taken back, items that stood before it as well."""
    settings = day.copy("close", tmp_path)
    before = tables(settings)

    def one_lost(*args: Any, **more: Any) -> Outcome:
        outcome = reconcile(*args, **more)
        return replace(outcome, items=outcome.items.head(-1))

    monkeypatch.setattr(reconciling, "reconcile", one_lost)
    with pytest.raises(ControlTotalError, match="payments to items: 600 rows"):
        run_reconcile(settings, "acme", CLOSE + timedelta(minutes=1))
    assert all(tables(settings)[name].equals(before[name]) for name in TABLES)


def test_two_runs_at_once_keep_one(day: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run holds the file from its first row to its last, so another waits, and says for what if it is too long."""
    settings = day.copy("close", tmp_path)
    root = staging_of(settings, "acme").root
    monkeypatch.setattr(reconciling, "staging_of", lambda *_: Staging(root, "acme", lock_timeout=0.2))
    later, met = CLOSE + timedelta(minutes=1), []

    def meanwhile(*args: Any, **more: Any) -> Outcome:
        with pytest.raises(StagingBusy, match="in use by process"):
            run_reconcile(settings, "acme", later)
        met.append(later)
        return reconcile(*args, **more)

    monkeypatch.setattr(reconciling, "reconcile", meanwhile)
    run_reconcile(settings, "acme", later)
    assert met == [later]
    assert ask(settings, "SELECT count(*) FROM recon.runs WHERE as_of = '2026-10-30 23:01:00Z'") == 1


def test_an_empty_biller_gets_an_empty_run(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    staging_of(settings, "acme").path.unlink()
    staging_of(settings, "acme").journal.unlink()
    result = run_reconcile(settings, "acme", CLOSE)
    assert (result.payments, result.breaks_open, result.opened) == (0, [], 0)
    assert {row["rows"] for row in result.states} == {0}
