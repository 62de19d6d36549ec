"""The pull flow on the plain engine, over real HTTP: retries, stops, suspicion, and what people are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasks.errors import CredentialError, SettingsError, Throttled

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # imported by apprise
AUTOPAY = "BillerAutoPayCustomerReportSOAP"


def pull(branch: Any, feed: str = "payments", **more: Any) -> dict[str, Any]:
    from flows.pull_feed import pull_feed

    given = {"as_of": branch.at, "settings_file": branch.file} | more
    result: dict[str, Any] = pull_feed("acme", feed, **given)
    return result


@pytest.mark.parametrize("feed", ["payments", "settlements", "ach-rejects", "autopay", "paperless"])
def test_each_feed_is_pulled_and_a_second_pull_changes_nothing(branch: Any, titles: Any, feed: str) -> None:
    first = pull(branch, feed)
    staged = branch.current(feed.replace("-", "_"))
    again = {} if feed in ("autopay", "paperless") else {"window_from": branch.at - timedelta(days=15)}
    second = pull(branch, feed, **again)
    assert first["status"] == second["status"] == "ok"
    assert first["rows_new"] == len(staged) > 0
    assert (second["rows_new"], second["rows_amended"], second["rows_gone"]) == (0, 0, 0)
    assert second["rows_unchanged"] == second["rows_in"] > 0
    assert titles() == []


def test_a_result_holds_counts_and_references_only(branch: Any, canary_key: str) -> None:
    result = pull(branch)
    shown = repr(result)
    assert canary_key not in shown
    assert not [row["account_number"] for row in branch.current() if row["account_number"] in shown]
    assert not [row["payment_guid"] for row in branch.current() if row["payment_guid"] in shown]
    assert {poll["poll_id"] for poll in result["polls"]} == {run["poll_id"] for run in branch.runs()}


def test_what_may_pass_is_asked_for_again(weekly: Any, titles: Any) -> None:
    weekly.sandbox.fault("http_503", times=2, retry_after=0)
    result = pull(weekly)
    runs = weekly.runs()
    assert result["status"] == "ok"
    assert [run["status"] for run in runs[:3]] == ["failed", "failed", "ok"]
    assert len({run["window_from"] for run in runs[:3]}) == 1
    assert titles() == []


def test_retries_end_and_later_windows_stay_untouched(weekly: Any, titles: Any) -> None:
    weekly.sandbox.fault("http_503", times=-1, retry_after=0)
    with pytest.raises(Throttled, match="acme / payments / 2026-10-11"):
        pull(weekly)
    assert len(weekly.sandbox.calls()) == 3
    assert len({run["window_from"] for run in weekly.runs()}) == 1
    assert weekly.watermark() is None
    assert titles() == ["payments: poll failed (http_503)"]


def test_what_is_staged_before_a_failure_stays(branch: Any) -> None:
    pull(branch, window_from=branch.at - timedelta(days=20), window_to=branch.at - timedelta(days=6))
    mark, rows = branch.watermark(), len(branch.current())
    branch.sandbox.fault("http_503", times=-1, retry_after=0)
    with pytest.raises(Throttled):
        pull(branch)
    assert branch.watermark() == mark
    assert len(branch.current()) == rows


def test_a_refused_login_is_never_tried_again(weekly: Any, titles: Any) -> None:
    weekly.sandbox.fault("login_html", times=-1)
    with pytest.raises(CredentialError):
        pull(weekly)
    assert len(weekly.sandbox.calls()) == 1
    assert titles() == ["payments: poll failed (login_page)"]


def test_a_failing_feed_is_told_once_and_again_after_it_was_healthy(branch: Any, titles: Any) -> None:
    for number in range(3):
        branch.sandbox.fault("login_html", times=1)
        with pytest.raises(CredentialError):
            pull(branch, as_of=branch.at + timedelta(minutes=number))
    assert len(titles()) == 1
    assert pull(branch, as_of=branch.at + timedelta(minutes=5))["status"] == "ok"
    branch.sandbox.fault("login_html", times=1)
    with pytest.raises(CredentialError):
        pull(branch, as_of=branch.at + timedelta(minutes=6))
    assert titles() == ["payments: poll failed (login_page)"] * 2


def test_a_suspect_window_goes_on_and_is_told_once(branch: Any, titles: Any) -> None:
    pull(branch)
    halves = {"max_window": "5d", "initial": "10d"}
    branch.configure(alerts=branch.settings.alerts.urls, feeds={"payments": halves})
    branch.sandbox.fault("empty", operation="PaymentReportingDataSetFromGMT", times=1)
    later = branch.at + timedelta(minutes=10)
    branch.sandbox.clock(later)
    result = pull(branch, as_of=later, window_from=branch.at - timedelta(days=10))
    states = [poll["status"] for poll in result["polls"]]
    assert result["status"] == "suspect"
    assert states == ["suspect", "ok", "ok"]
    assert titles() == ["payments: suspect answer (rows_gone)"]


def test_half_a_customer_list_is_suspect_until_the_whole_one_comes(branch: Any, titles: Any) -> None:
    pull(branch, "autopay")
    branch.sandbox.fault("empty", operation=AUTOPAY, times=2)
    for minute in (10, 20):
        assert pull(branch, "autopay", as_of=branch.at + timedelta(minutes=minute))["status"] == "suspect"
    assert titles() == ["autopay: suspect answer (empty_unexpected)"]
    assert pull(branch, "autopay", as_of=branch.at + timedelta(minutes=30))["status"] == "ok"
    assert branch.rows('SELECT cleared_at IS NULL AS open FROM "check".alerts') == [{"open": False}]


def test_rows_set_aside_are_a_failed_check(branch: Any, titles: Any, canary_key: str) -> None:
    branch.sandbox.fault("bad_money", value="12.345", times=-1)
    result = pull(branch)
    assert result["rows_quarantined"] > 0
    told = branch.sandbox.hooks()
    assert titles() == [f"payments: {result['rows_quarantined']} rows set aside by the contract"]
    assert "quarantine.payments" in told[0]["message"]
    assert canary_key not in str(told)
    assert "12.345" not in str(told)
    branch.sandbox.clear_faults()
    later = branch.at + timedelta(minutes=10)
    assert pull(branch, as_of=later, window_from=branch.at - timedelta(days=15))["rows_quarantined"] == 0
    assert branch.rows('SELECT count(*) AS n FROM "check".alerts WHERE cleared_at IS NULL') == [{"n": 0}]


def test_a_wrong_call_is_no_alert(branch: Any, titles: Any) -> None:
    with pytest.raises(SettingsError, match="the window is empty"):
        pull(branch, window_from=branch.at, window_to=branch.at)
    with pytest.raises(SettingsError, match="as_of needs a time zone"):
        pull(branch, as_of=branch.at.replace(tzinfo=None))
    with pytest.raises(SettingsError, match="there is no feed 'payment'"):
        pull(branch, "payment")
    assert titles() == []
    assert branch.sandbox.calls() == []


def test_a_run_that_comes_too_late_has_nothing_to_do(branch: Any) -> None:
    from flows.guards import made_up_for

    now, interval = branch.at, branch.settings.feed("acme", "payments").interval
    due = now - interval - timedelta(minutes=1)
    assert not made_up_for(branch.settings, "acme", "payments", now, due), "nothing was pulled since"
    pull(branch)
    assert made_up_for(branch.settings, "acme", "payments", now, due)
    assert not made_up_for(branch.settings, "acme", "payments", now, now - interval), (
        "not later than one interval"
    )
    assert not made_up_for(branch.settings, "acme", "payments", now, None), "not scheduled"
    mark = branch.watermark()
    assert not made_up_for(branch.settings, "acme", "payments", mark + 3 * interval, mark), (
        "due at the watermark"
    )
