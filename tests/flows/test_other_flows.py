"""Load, reconcile, snapshot, invoices and alerts on the plain engine, on the captured carrier."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # imported by apprise
HEAD = "posting_id,system,payment_guid,account_number,amount,kind,origin,status,posted_at,effective_date"
LINE = "P{n},SPECTRUM,{guid},{account},{amount},PAYMENT,IC,POSTED,{at},2026-11-09"


def load(branch: Any, lines: list[str], kind: str = "postings", **more: Any) -> dict[str, Any]:
    from flows.load_file import load_file

    path = branch.folder / f"{kind}-{len(list(branch.folder.iterdir()))}.csv"
    path.write_text("\n".join([HEAD, *lines]) + "\n", "utf-8")
    given = {"as_of": branch.at, "settings_file": branch.file} | more
    result: dict[str, Any] = load_file("acme", kind, str(path), **given)
    return result


def pull_money(branch: Any, as_of: Any) -> None:
    from flows.pull_feed import pull_feed

    for feed in ("payments", "settlements", "ach-rejects"):
        pull_feed("acme", feed, as_of=as_of, settings_file=branch.file)


def reconcile(branch: Any, as_of: Any) -> dict[str, Any]:
    from flows.reconcile import reconcile as flow

    result: dict[str, Any] = flow("acme", as_of=as_of, settings_file=branch.file)
    return result


def posting(number: int, guid: str = "", account: str = "0012345", amount: str = "1.00") -> str:
    return LINE.format(n=number, guid=guid, account=account, amount=amount, at="2026-11-09T12:00:00Z")


def test_a_file_is_loaded_once_and_bad_rows_are_told(branch: Any, titles: Any) -> None:
    first = load(branch, [posting(1), posting(2, amount="1.005")])
    assert (first["rows_in"], first["rows_new"], first["rows_quarantined"]) == (2, 1, 1)
    assert len(titles()) == 1
    assert titles()[0].startswith("postings: 1 rows of postings-")
    again = load(branch, [posting(1)], as_of=branch.at + timedelta(minutes=1))
    assert (again["rows_new"], again["rows_unchanged"]) == (0, 1)
    assert branch.rows('SELECT count(*) AS n FROM "check".alerts WHERE cleared_at IS NULL') == [{"n": 0}]


def test_new_high_breaks_are_one_alert_per_class_and_run(branch: Any, titles: Any) -> None:
    later = branch.at + timedelta(days=8)
    branch.sandbox.clock(later)
    pull_money(branch, later)
    load(branch, [posting(1, account="0099999", amount="77.00")], as_of=later)
    found = reconcile(branch, later)
    high = {row["code"]: row for row in found["breaks_open"] if row["severity"] == "HIGH"}
    told = [title for title in titles() if title.startswith("B")]
    assert high
    assert len(found["states"]) > 0
    assert "new_high" not in found
    assert sorted(title.split()[0] for title in told) == sorted(set(high) - {"B36", "B37"})
    for title in told:
        row = high[title.split()[0]]
        assert f"{row['count']} new, {row['amount']:,.2f}" in title
    reconcile(branch, later)
    reconcile(branch, later + timedelta(minutes=1))
    assert [title for title in titles() if title.startswith("B")] == told


def test_a_late_feed_is_told_once_and_healed_by_a_pull(branch: Any, titles: Any) -> None:
    from flows.pull_feed import pull_feed

    for feed in ("payments", "settlements", "ach-rejects", "autopay", "paperless"):
        pull_feed("acme", feed, as_of=branch.at, settings_file=branch.file)
    late = branch.at + timedelta(hours=5)
    branch.sandbox.clock(late)
    for minute in (0, 10):
        reconcile(branch, late + timedelta(minutes=minute))
    assert titles().count("payments: the feed is late") == 1
    pull_feed("acme", "payments", as_of=late + timedelta(minutes=20), settings_file=branch.file)
    still = branch.rows(
        "SELECT subject FROM \"check\".alerts WHERE kind = 'feed_late' AND cleared_at IS NULL"
    )
    assert {"subject": "payments"} not in still


def test_reconcile_knows_when_nothing_happened(branch: Any) -> None:
    from flows.guards import nothing_new
    from flows.pull_feed import pull_feed

    now = branch.at
    assert not nothing_new(branch.settings, "acme", now), "there was no run yet"
    pull_money(branch, now)
    reconcile(branch, now)
    assert nothing_new(branch.settings, "acme", now + timedelta(minutes=1))
    assert not nothing_new(branch.settings, "acme", now + timedelta(days=1)), "a new day"
    pull_feed("acme", "payments", as_of=now, settings_file=branch.file)
    assert not nothing_new(branch.settings, "acme", now + timedelta(minutes=1)), "begun before, staged after"


def test_snapshot_and_report_are_published(branch: Any) -> None:
    from flows.publish_snapshot import publish_snapshot

    pull_money(branch, branch.at)
    reconcile(branch, branch.at)
    result = publish_snapshot("acme", as_of=branch.at, settings_file=branch.file)
    for name in ("snapshot", "latest_snapshot", "report", "latest_report"):
        assert Path(result[name]).stat().st_size > 0
    assert result["tables"]["feed.payments"] == len(branch.current())


def test_invoices_wait_and_it_is_said(branch: Any, caplog: pytest.LogCaptureFixture) -> None:
    from flows.publish_invoices import publish_invoices

    with caplog.at_level("INFO", logger="flows"):
        result = publish_invoices("acme", as_of=branch.at, settings_file=branch.file)
    assert (result["sent"], result["waiting"]) == (0, 0)
    assert "this build sends no invoices" in caplog.text
    assert branch.sandbox.calls() == []


def test_what_could_not_be_sent_is_sent_later_and_once(branch: Any, titles: Any) -> None:
    from flows.send_alerts import NotDelivered, send_alerts

    hook = branch.settings.alerts.urls
    branch.configure(alerts=["json://127.0.0.1:9/nobody"])
    with pytest.raises(NotDelivered, match="1 alerts could not be delivered"):
        send_alerts("acme", note="pull-feed acme payments ended as Crashed, run 1", settings_file=branch.file)
    assert titles() == []
    branch.configure(alerts=[])
    assert send_alerts(settings_file=branch.file)["waiting"] == 1
    branch.configure(alerts=hook)
    assert send_alerts(settings_file=branch.file)["sent"] == 1
    assert send_alerts("acme", settings_file=branch.file)["sent"] == 0
    assert titles() == ["run ended badly: pull-feed acme payments ended as Crashed, run 1"]
