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


EVENT_HEAD = (
    "event_id,event,occurred_at,invoice_number,account_number,invoice_date,due_date,total_amount_due,balance_due,"
    "replaces_invoice_number,still_in_imt"
)
GUID = "99999999-8888-7777-6666-555555555555"


def told(branch: Any, *lines: str, **more: Any) -> dict[str, Any]:
    from flows.load_file import load_file

    path = branch.folder / f"events-{len(list(branch.folder.iterdir()))}.csv"
    path.write_text("\n".join([EVENT_HEAD, *lines]) + "\n", "utf-8")
    result: dict[str, Any] = load_file(
        "acme", "invoices", str(path), as_of=branch.at, settings_file=branch.file
    )
    return result


def new(number: str) -> str:
    return f"E-{number},NEW,2026-11-10T08:00:00Z,{number},0012345,2026-11-10,2026-12-10,120.50,120.50,,"


def test_invoices_are_sent_and_a_second_run_has_nothing_to_do(branch: Any) -> None:
    from flows.publish_invoices import publish_invoices

    branch.configure(invoice_format_guid=GUID)
    told(branch, new("N-1"), new("N-2"))
    result = publish_invoices("acme", as_of=branch.at, settings_file=branch.file)
    assert (result["status"], result["records"], len(result["files"])) == ("sent", 2, 1)
    assert publish_invoices("acme", as_of=branch.at, settings_file=branch.file)["status"] == "nothing"
    assert len(branch.sandbox.imported()) == 2


def test_a_wrong_recall_fails_the_run_in_plain_words_and_alerts_once(branch: Any, titles: Any) -> None:
    from flows.publish_invoices import publish_invoices
    from tasks.errors import Stop

    branch.configure(
        invoice_format_guid=GUID, alerts=[f"{branch.sandbox.url.replace('http', 'json')}_sandbox/hook"]
    )
    told(branch, new("N-1"), "E-X,CANCELLED,2026-11-10T08:00:00Z,N-9,0012345,2026-11-10,,1.00,1.00,,false")
    for _ in range(2):
        with pytest.raises(Stop, match="D for invoice N-9, which InvoiceCloud never got from here"):
            publish_invoices("acme", as_of=branch.at, settings_file=branch.file)
    assert titles() == ["invoices: 1 wrong recalls stopped the run, nothing was sent"]
    assert branch.sandbox.imported() == []


def test_a_key_that_is_refused_fails_the_run_and_what_was_composed_stays(
    branch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.publish_invoices import publish_invoices
    from tasks.errors import CredentialError

    branch.configure(invoice_format_guid=GUID)
    told(branch, new("N-1"))
    monkeypatch.setenv("ACME_WEB_SERVICE_KEY", "wrong")
    with pytest.raises(CredentialError):
        publish_invoices("acme", as_of=branch.at, settings_file=branch.file)
    assert branch.rows("SELECT state FROM outbox.files") == [{"state": "composed"}]
    kinds = branch.rows('SELECT kind, severity FROM "check".alerts WHERE cleared_at IS NULL')
    assert kinds == [{"kind": "upload_failed", "severity": "HIGH"}]


def test_mips_invoices_go_out_as_soon_as_their_file_is_loaded(branch: Any) -> None:
    branch.configure(product="mips-apps", outbound={"pdf_link": "https://pdf.example/{invoice_number}.pdf"})
    result = told(branch, new("N-1"), new("N-2"))
    assert (result["published"]["status"], len(result["published"]["files"])) == ("sent", 2)
    assert [row["invoice_number"] for row in branch.sandbox.imported()] == ["N-1", "N-2"]


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
