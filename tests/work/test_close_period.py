"""Closing a period: what stops it, what is frozen, and that nothing later changes it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.doctor_work import frozen
from tasks.errors import Retry, SettingsError, Stop
from tasks.reconciling import run_reconcile
from tasks.replay import replay
from tasks.snapshot import publish_snapshot, snapshots_of
from tasks.staging import work
from tasks.staging.query import scalar
from tasks.staging.reading import reading
from tasks.work.periods import Period, close_period, closed_periods, digest, period

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
LATER = datetime(2026, 11, 2, 14, tzinfo=UTC)
QUIET = "2026-10-29"  # a day without a HIGH break


def close(desk: Any, text: str = QUIET, at: datetime = LATER, **more: Any) -> dict[str, Any]:
    return close_period(desk.settings, "acme", text, "Ann Ode", at, **more)


def late(desk: Any, at: datetime) -> list[tuple[str, str, str, date]]:
    path = publish_snapshot(desk.settings, "acme", at).path
    with reading(path) as connection:
        sql = "SELECT period, kind, change, day FROM v_late_items ORDER BY ALL"
        return [tuple(row) for row in connection.execute(sql).fetchall()]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-10", date(2026, 10, 1), date(2026, 10, 31)),
        ("2028-02", date(2028, 2, 1), date(2028, 2, 29)),
        ("2026-10-30", date(2026, 10, 30), date(2026, 10, 30)),
    ],
)
def test_a_period_is_a_month_or_a_day(text: str, first: date, last: date) -> None:
    assert period(text) == Period(text, first, last)


def test_anything_else_is_no_period() -> None:
    for text in (
        "2026-13",
        "2026-02-30",
        "2026",
        "202610",
        "2026-10-1",
        "0000-01",
        "../2026-10",
        "2026-10\n",
        "",
    ):
        with pytest.raises(SettingsError, match="a period is a month like 2026-10"):
            period(text)


def test_the_line_says_what_was_closed(desk: Any) -> None:
    line = close(desk)
    paid = (
        "FROM recon.items WHERE CAST(timezone('America/Chicago', payment_date) AS DATE) = DATE '2026-10-29'"
    )
    there = desk.rows(f"SELECT count(*) AS n, sum(payment_amount) AS amount {paid}")[0]
    assert (line["payments_rows"], line["payments_amount"]) == (there["n"], there["amount"])
    states = json.loads(line["states"])
    assert sum(part["rows"] for part in states.values()) == there["n"]
    assert sum(Decimal(part["amount"]) for part in states.values()) == there["amount"]
    assert (line["closed_by"], line["closed_at"], line["as_of"], line["high_unsigned"]) == (
        "Ann Ode",
        LATER,
        CLOSE,
        0,
    )
    assert desk.rows("SELECT * FROM recon.periods") == [line]


def test_what_is_frozen_stays_whatever_comes(desk: Any, tmp_path: Path) -> None:
    line = close(desk)
    path = snapshots_of(desk.settings, "acme").folder / line["snapshot"]
    assert path.name == "close-2026-10-29.duckdb"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert digest(path) == line["sha256"]
    guid = desk.one("B05")["payment_guid"]
    desk.run(f"UPDATE imt.postings_versions SET amount = amount + 1 WHERE payment_guid = '{guid}'")
    run_reconcile(desk.settings, "acme", LATER + timedelta(days=1), whole=True)
    for day in range(1, 5):  # keep_snapshots = 3: one of these is removed
        publish_snapshot(desk.settings, "acme", LATER + timedelta(days=day))
    replay(desk.settings, "acme", LATER + timedelta(days=6))
    assert digest(path) == line["sha256"]
    assert [row["state"] for row in closed_periods(desk.settings, "acme")] == ["ok"]
    assert [(f.state, f.words) for f in frozen(desk.settings, "acme")] == [
        ("ok", "1 frozen snapshots are as they were")
    ]
    with reading(path) as connection:
        assert scalar(connection, "SELECT last_run_id FROM snapshot_info") == line["run_id"]
        assert scalar(connection, "SELECT count(*) FROM recon.items") == 600
    path.chmod(0o644)
    with path.open("ab") as file:
        file.write(b"x")
    assert [f.state for f in frozen(desk.settings, "acme")] == ["fail"]
    path.unlink()
    (gone,) = frozen(desk.settings, "acme")
    assert "close-2026-10-29.duckdb of 2026-10-29 is missing" in gone.words


def test_high_breaks_stop_it_until_they_are_signed_off(desk: Any) -> None:
    sql = """SELECT CAST(timezone('America/Chicago', occurred_at) AS DATE) AS day, list(break_id) AS ids
             FROM recon.breaks WHERE severity = 'HIGH' AND state = 'open' GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1"""
    found = desk.rows(sql)[0]
    text, ids = found["day"].isoformat(), found["ids"]
    with pytest.raises(
        Stop, match=f"{len(ids)} HIGH breaks of {text}, [0-9.,]+ USD, are not signed off: "
    ) as stopped:
        close(desk, text)
    assert all(which in str(stopped.value) for which in ids[:5])
    for which in ids:
        desk.say(which, "accepted")
    with pytest.raises(Stop, match="not signed off"):
        close(desk, text)
    for which in ids[1:]:
        desk.say(which, "signed", "Bo Lee")
    with pytest.raises(Stop, match="say why"):
        close(desk, text, force=True)
    line = close(desk, text, force=True, note="waits for the bank")
    assert (line["high_unsigned"], line["note"]) == (1, "waits for the bank")
    desk.say(ids[0], "signed", "Bo Lee")
    with pytest.raises(Stop, match=f"{text} was closed by Ann Ode"):
        close(desk, text)


def test_a_period_is_over_compared_and_closed_once(desk: Any) -> None:
    with pytest.raises(Stop, match="lasts until 2026-10-31; it can be closed from 2026-11-01 on"):
        close(desk, "2026-10", datetime(2026, 11, 1, 4, tzinfo=UTC))  # still October in Chicago
    with pytest.raises(Stop, match="lasts until 2026-12-31"):
        close(desk, "2026-12")
    with pytest.raises(
        Stop, match="the last run is as of 2026-10-30T23:00:00Z, not after the end of 2026-10"
    ):
        close(desk, "2026-10")
    run_reconcile(desk.settings, "acme", LATER)
    desk.run(
        """UPDATE feed.payments_versions SET payment_amount = payment_amount + 1, poll_id = 'later'
           WHERE payment_guid = (SELECT min(payment_guid) FROM feed.payments)""",
        "later",
    )
    with pytest.raises(Stop, match="payments of 2026-10 came or changed since the last run"):
        close(desk, "2026-10", force=True, note="x")
    run_reconcile(desk.settings, "acme", LATER, whole=True)
    close(desk, "2026-10", force=True, note="waits for InvoiceCloud")
    with pytest.raises(Stop, match="2026-10-29 lies in 2026-10, which was closed by Ann Ode"):
        close(desk)
    with pytest.raises(Stop, match="2026-10 was closed by Ann Ode at 2026-11-02T14:00:00Z"):
        close(desk, "2026-10")
    assert [row["period"] for row in desk.rows("SELECT period FROM recon.periods")] == ["2026-10"]


def test_what_comes_later_is_shown_as_late(desk: Any) -> None:
    close(desk)
    of_day = "CAST(timezone('America/Chicago', payment_date) AS DATE) = DATE '2026-10-29'"
    ids = [
        row["payment_guid"]
        for row in desk.rows(f"SELECT DISTINCT payment_guid FROM feed.payments WHERE {of_day} ORDER BY 1")
    ]
    assert late(desk, LATER) == []
    seen = "version_seen_at = TIMESTAMPTZ '2026-11-03 12:00:00Z'"
    for guid, change in zip(
        ids, ("", ", version = 2, first_seen_at = version_seen_at", ", present = false"), strict=False
    ):
        new = change or ", first_seen_at = TIMESTAMPTZ '2026-11-03 12:00:00Z'"
        desk.run(f"UPDATE feed.payments_versions SET {seen}{new} WHERE payment_guid = '{guid}'")
    day = date(2026, 10, 29)
    assert late(desk, LATER + timedelta(days=2)) == [
        (QUIET, "payment", change, day) for change in ("changed", "gone", "new")
    ]


def test_a_closing_that_was_cut_short_is_done_again(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(work, "add_period", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            close(desk)
    assert closed_periods(desk.settings, "acme") == []
    close(desk, at=LATER + timedelta(hours=1))
    assert [row["state"] for row in closed_periods(desk.settings, "acme")] == ["ok"]


def test_a_full_disk_closes_nothing(desk: Any, file_limit: Callable[[int], None]) -> None:
    file_limit(2_000_000)
    with pytest.raises(Retry):
        close(desk)
    file_limit(1 << 40)
    assert closed_periods(desk.settings, "acme") == []
    assert [p.name for p in snapshots_of(desk.settings, "acme").folder.iterdir()] == [".lock"]
    assert close(desk)["period"] == QUIET
