"""What a pull makes of honest and of lying answers: versions, suspicion, watermarks, windows, full lists."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from sandbox import Sandbox
from tasks.errors import CredentialError, IcflowsError, SettingsError, StagingBusy, Throttled
from tasks.pull import plan

LAG = timedelta(minutes=5)


def _day(day: int, hour: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def _with_rows(table: pl.DataFrame, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """`table` and one copy of its first row per item of `rows`, changed as the item says."""
    extra = [
        table.head(1).with_columns(pl.lit(v, table.schema[k]).alias(k) for k, v in row.items())
        for row in rows
    ]
    return pl.concat([table, *extra])


def _guid(number: int) -> str:
    return f"00000000-0000-0000-0000-0000000def{number:02d}"


@pytest.mark.parametrize("feed", ["payments", "settlements", "ach-rejects", "autopay", "paperless"])
def test_the_same_window_any_number_of_times_gives_the_same_tables(feed: str, office: Any) -> None:
    first = office.pull(feed)
    assert (first.status, first.rows_new) == ("ok", first.rows_in)
    assert first.rows_in > 0
    before = office.dump()
    for _ in range(3):
        again = office.pull(feed)
        assert (again.rows_new, again.rows_amended, again.rows_unchanged) == (0, 0, first.rows_in)
    assert office.dump() == before


@pytest.mark.parametrize("feed", ["payments", "settlements", "ach-rejects"])
def test_both_wire_forms_are_the_same_rows(feed: str, office: Any) -> None:
    table = feed.replace("-", "_")
    office.configure(feeds={table: {"form": "dataset"}})
    first = office.pull(feed)
    office.configure(feeds={table: {"form": "soap"}})
    second = office.pull(feed)
    assert (first.form, second.form) == ("dataset", "soap")
    assert (second.rows_unchanged, second.rows_new, second.rows_amended) == (first.rows_in, 0, 0)


def test_an_amended_row_is_a_new_version_and_the_old_one_is_kept(office: Any, ic: Sandbox) -> None:
    office.pull()
    payments = office.table("payments")
    changed = (
        pl.when(pl.col("invoice_number") == "INV-0002")
        .then(pl.lit("88.01"))
        .otherwise(pl.col("payment_amount"))
    )
    office.serve(payments=payments.with_columns(changed.cast(pl.Decimal(18, 2)).alias("payment_amount")))
    later = office.at + timedelta(hours=2)
    result = office.pull(at=later)
    assert (result.status, result.rows_amended, result.rows_unchanged, result.rows_new) == ("ok", 1, 3, 0)
    versions = office.rows(
        "SELECT version, payment_amount, is_current, first_seen_at, version_seen_at, last_seen_at FROM feed.payments_versions"
        " WHERE invoice_number = 'INV-0002' ORDER BY version"
    )
    assert [(v["version"], v["payment_amount"], v["is_current"]) for v in versions] == [
        (1, Decimal("88.00"), False),
        (2, Decimal("88.01"), True),
    ]
    assert [v["first_seen_at"] for v in versions] == [office.at, office.at]
    assert [v["version_seen_at"] for v in versions] == [office.at, later]
    assert [v["last_seen_at"] for v in versions] == [office.at, later]
    current = office.rows("SELECT * FROM feed.payments WHERE invoice_number = 'INV-0002'")
    assert [(row["payment_amount"], row["version"]) for row in current] == [(Decimal("88.01"), 2)]


def test_a_late_row_is_caught_by_the_overlap(office: Any, ic: Sandbox) -> None:
    office.pull()
    late = {"payment_guid": _guid(1), "payment_date": _day(9, 5), "invoice_number": "INV-9"}
    office.serve(payments=_with_rows(office.table("payments"), [late]))
    (window,) = plan(office.settings, "acme", "payments", office.at + timedelta(hours=2))
    assert window[0] == office.window[1] - timedelta(days=3)
    assert office.pull(window=window, at=office.at + timedelta(hours=2)).rows_new == 1


def test_identical_duplicates_count_once(office: Any, ic: Sandbox) -> None:
    ic.fault("duplicate_rows", rows=2)
    result = office.pull()
    assert (result.rows_in, result.rows_new, result.rows_duplicate, result.rows_quarantined) == (6, 4, 2, 0)
    assert len(office.current()) == 4


def test_conflicting_duplicates_are_both_set_aside(office: Any, ic: Sandbox) -> None:
    ic.fault("conflicting_rows", rows=1)
    result = office.pull()
    assert (result.rows_in, result.rows_new, result.rows_quarantined) == (5, 3, 2)
    held = office.rows("SELECT raw->>'PaymentAmount' AS amount, reasons FROM quarantine.payments ORDER BY 1")
    assert [row["amount"] for row in held] == ["120.50", "121.50"]
    assert all("different content" in row["reasons"][0] for row in held)
    assert office.pull().rows_new == 1
    assert office.rows("SELECT count(*) AS n FROM quarantine.payments WHERE released_at IS NULL") == [
        {"n": 0}
    ]


@pytest.mark.parametrize(("kind", "reason"), [("half_rows", "rows_gone"), ("empty", "rows_gone")])
def test_a_window_that_lost_rows_is_suspect(kind: str, reason: str, office: Any, ic: Sandbox) -> None:
    office.pull()
    before, mark = office.dump("feed.payments"), office.watermark()
    ic.fault(kind, times=-1)
    wider = (office.window[0], office.at - LAG)
    result = office.pull(window=wider)
    assert (result.status, result.reason) == ("suspect", reason)
    assert office.watermark() == mark
    assert office.runs()[-1]["covered_to"] is None
    assert [_identity(row) for row in office.dump("feed.payments")["feed.payments"]] == [
        _identity(row) for row in before["feed.payments"]
    ]
    ic.clear_faults()
    assert office.pull(window=wider).status == "ok"
    assert office.watermark() == wider[1]


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["payment_guid"], row["payment_amount"], row["version"]


def test_the_same_bytes_for_another_window_are_suspect(office: Any, ic: Sandbox) -> None:
    office.pull()
    ic.fault("same_bytes", times=-1)
    result = office.pull(window=(_day(10), _day(10, 12)))
    assert (result.status, result.reason, result.rows_in) == ("suspect", "repeated_bytes", 4)
    assert office.watermark() == office.window[1]
    assert office.runs()[-1]["sha256"] == office.runs()[0]["sha256"]


def test_the_same_bytes_for_a_wider_window_may_be_honest(office: Any) -> None:
    office.pull()
    assert office.pull(window=(_day(1), _day(10, 11))).status == "ok"


def test_an_empty_report_where_there_never_was_one_is_suspect(office: Any, ic: Sandbox) -> None:
    office.configure(feeds={"payments": {"empty": "suspect"}})
    for hour in (9, 10, 11):
        assert office.pull(window=(_day(1), _day(10, hour))).status == "ok"
    result = office.pull(window=(_day(10, 8), _day(10, 11) + timedelta(minutes=30)))
    assert (result.status, result.reason, result.rows_in) == ("suspect", "empty_unexpected", 0)
    assert office.watermark() == _day(10, 11)


def test_an_empty_window_of_a_feed_that_may_be_empty_is_recorded_as_zero(office: Any) -> None:
    result = office.pull(window=(_day(1, month=9), _day(2, month=9)))
    assert (result.status, result.rows_in, result.sum_in) == ("ok", 0, Decimal("0.00"))
    assert office.rows("SELECT count(*) AS n FROM poll.loads") == [{"n": 1}]


def test_an_enrolment_that_changes_is_a_version_and_one_that_left_is_marked_gone(
    office: Any, ic: Sandbox
) -> None:
    office.pull("autopay")
    changed = (
        office.table("autopay")
        .filter(pl.col("account_number") == "0012346")
        .with_columns(autopay=pl.lit(False))
    )
    office.serve(autopay=changed)
    result = office.pull("autopay", at=office.at + timedelta(days=1))
    assert (result.status, result.rows_amended, result.rows_gone) == ("ok", 1, 1)
    assert [(r["account_number"], r["autopay"], r["version"]) for r in office.current("autopay")] == [
        ("0012346", False, 2)
    ]
    history = office.rows(
        "SELECT account_number, version, present, is_current FROM feed.autopay_versions ORDER BY 1, 2"
    )
    assert [tuple(row.values()) for row in history] == [
        ("0012346", 1, True, False),
        ("0012346", 2, True, True),
        ("0012349", 1, True, False),
        ("0012349", 2, False, True),
    ]
    office.serve(autopay=pl.concat([changed, office.sandbox.exchange.cloud.data.table("autopay").head(0)]))
    assert office.pull("autopay", at=office.at + timedelta(days=2)).rows_gone == 0


def test_a_customer_who_comes_back_is_present_again(office: Any, ic: Sandbox) -> None:
    whole = office.table("autopay")
    office.pull("autopay")
    office.serve(autopay=whole.head(1))
    office.pull("autopay", at=office.at + timedelta(days=1))
    office.serve(autopay=whole)
    result = office.pull("autopay", at=office.at + timedelta(days=2))
    assert (result.rows_amended, result.rows_unchanged) == (1, 1)
    assert len(office.current("autopay")) == 2


@pytest.mark.parametrize(("feed", "column"), [("autopay", "AutoPay"), ("paperless", "PaperInvoices")])
def test_a_list_with_a_quarantined_row_marks_nobody_gone(
    feed: str, column: str, office: Any, ic: Sandbox
) -> None:
    office.pull(feed)
    office.serve(**{feed: _with_rows(office.table(feed).tail(1), [{"account_number": "77"}])})
    ic.fault("bad_value", column=column, value="maybe", row=0)
    result = office.pull(feed)
    assert (result.rows_gone, result.rows_quarantined, result.rows_new) == (0, 1, 1)
    assert len(office.current(feed)) == 3


def test_a_list_that_shrank_to_less_than_half_is_suspect(office: Any, ic: Sandbox) -> None:
    rows = [{"account_number": f"77{n}"} for n in range(6)]
    office.serve(autopay=_with_rows(office.table("autopay"), rows))
    assert office.pull("autopay").rows_new == 8
    office.serve(autopay=office.table("autopay").head(3))
    result = office.pull("autopay", at=office.at + timedelta(days=1))
    assert (result.status, result.reason, result.rows_gone) == ("suspect", "shrunk", 0)
    assert len(office.current("autopay")) == 8


def test_a_list_that_turned_empty_is_suspect(office: Any, ic: Sandbox) -> None:
    office.pull("paperless")
    ic.fault("empty", times=-1)
    result = office.pull("paperless")
    assert (result.status, result.reason, result.rows_gone) == ("suspect", "empty_unexpected", 0)
    assert len(office.current("paperless")) == 2


@pytest.mark.parametrize(("skew", "warned"), [(-7200, True), (7200, True), (-30, False)])
def test_the_watermark_never_passes_the_servers_clock(
    skew: int, warned: bool, office: Any, ic: Sandbox
) -> None:
    ic.clock(office.at + timedelta(seconds=skew))
    result = office.pull(window=(_day(1), office.at - LAG))
    expected = min(office.at, office.at + timedelta(seconds=skew)) - LAG
    assert office.watermark() == expected
    assert office.runs()[-1]["covered_to"] == expected
    assert any("clock differs" in warning for warning in result.warnings) is warned


def test_a_date_header_ahead_moves_nothing_past_our_own_clock(office: Any, ic: Sandbox) -> None:
    ic.fault("clock_ahead", seconds=36_000)
    office.pull(window=(_day(1), office.at + timedelta(hours=8)))
    assert office.watermark() == office.at - LAG


def test_a_gap_does_not_advance_the_watermark(office: Any) -> None:
    office.pull(window=(_day(1), _day(2)))
    assert office.pull(window=(_day(5), _day(6))).status == "ok"
    assert office.watermark() == _day(2)
    office.pull(window=(_day(2), _day(5)))
    assert office.watermark() == _day(5)


def test_a_first_window_that_failed_is_asked_for_again(office: Any, ic: Sandbox) -> None:
    """Nothing was ever pulled, the oldest window fails, the next ones pass: the next plan still reaches back."""
    first, second, *_ = plan(office.settings, "acme", "payments", office.at)
    ic.fault("close_no_reply")
    with pytest.raises(IcflowsError):
        office.pull(window=first)
    office.pull(window=second)
    again = plan(office.settings, "acme", "payments", office.at + timedelta(minutes=1))
    assert again[0][0] <= first[0] + timedelta(minutes=1)


def test_windows_reach_back_stay_behind_and_are_cut(office: Any) -> None:
    planned = plan(office.settings, "acme", "payments", office.at)
    assert planned[0][0] == office.at - timedelta(days=30)
    assert planned[-1][1] == office.at - LAG
    assert all(end - start <= timedelta(days=7) for start, end in planned)
    assert all(a[1] == b[0] for a, b in pairwise(planned))
    assert plan(office.settings, "acme", "autopay", office.at) == [(None, None)]


def test_settlements_are_asked_for_in_whole_days_of_the_billers_calendar(office: Any, ic: Sandbox) -> None:
    evening = datetime(2026, 11, 11, 2, tzinfo=UTC)  # 20:00 of the 10th in Chicago
    planned = plan(office.settings, "acme", "settlements", evening)
    assert planned[-1][1] == _day(11)
    office.pull_all("settlements", at=evening)
    assert ic.calls()[-1]["window"][1] == "2026-11-11T00:00:00Z"


@pytest.mark.parametrize(
    ("start", "end"),
    [(_day(3), _day(3)), (_day(4), _day(3)), (datetime(2026, 11, 1), None)],
)
def test_a_window_that_is_none_is_refused(start: Any, end: Any, office: Any) -> None:
    with pytest.raises(SettingsError):
        plan(office.settings, "acme", "payments", office.at, start, end)


def test_retry_after_is_honoured_and_then_the_answer_taken(office: Any, ic: Sandbox) -> None:
    slept: list[float] = []
    ic.fault("http_429", times=1, retry_after=7)
    ic.fault("http_503", times=1, retry_after=11)
    result = office.pull(sleep=slept.append)
    assert (result.status, result.rows_new, slept) == ("ok", 4, [7, 11])


def test_retry_after_as_a_date_is_honoured(office: Any, ic: Sandbox) -> None:
    slept: list[float] = []
    ic.fault("http_503", retry_after="Tue, 10 Nov 2026 12:01:30 GMT")
    assert office.pull(sleep=slept.append).status == "ok"
    assert slept == [90]


def test_a_server_that_asks_for_too_long_a_pause_is_not_waited_for(office: Any, ic: Sandbox) -> None:
    slept: list[float] = []
    ic.fault("http_503", times=-1, retry_after=86_400)
    with pytest.raises(Throttled) as caught:
        office.pull(sleep=slept.append)
    assert (caught.value.retry_after, slept, len(ic.calls())) == (86_400, [], 1)


@pytest.mark.parametrize("feed", ["payments", "autopay"])
def test_a_wrong_key_is_asked_once(
    feed: str, office: Any, ic: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_WEB_SERVICE_KEY", "wrong-canary-key")
    for form in ("dataset", "soap") if feed == "payments" else ("soap",):
        ic.exchange.log.clear()
        office.configure(feeds={feed: {"form": form}})
        with pytest.raises(CredentialError) as caught:
            office.pull(feed)
        assert len(ic.calls()) == 1
        assert "wrong-canary-key" not in repr(caught.value)


def test_a_database_timeout_is_no_credential_error_though_its_trace_names_the_key(
    office: Any, ic: Sandbox, wire_folder: Any
) -> None:
    """ASP.NET prints the operation's parameter names, WebServiceKey among them, below every fault."""
    captured = (wire_folder / "PaymentReportingDataSetFromGMT.refused.soap11.response.xml").read_text("utf-8")
    text = captured.split("ApplicationException: ")[1].split("</faultstring>")[0]
    trace = text.replace("&gt;", ">").replace("&lt;", "<").removeprefix("Invalid BillerGUID or WebServiceKey")
    ic.fault("fault_500", times=-1, message=f"Timeout expired.{trace}")
    with pytest.raises(IcflowsError) as caught:
        office.pull()
    assert type(caught.value).__name__ == "ServerTrouble"


def test_an_error_that_quotes_a_customer_is_masked(office: Any, ic: Sandbox) -> None:
    ic.fault(
        "fault_500",
        times=-1,
        message="Violation of key: obrien@example.com account 0012346789 card 4111111111111111",
    )
    with pytest.raises(IcflowsError) as caught:
        office.pull()
    words = str(caught.value) + str([run["message"] for run in office.runs()])
    assert not [secret for secret in ("obrien@", "0012346789", "4111111111111111") if secret in words]


def test_a_missing_key_names_its_variable(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_WEB_SERVICE_KEY")
    with pytest.raises(SettingsError, match="ACME_WEB_SERVICE_KEY"):
        office.pull()


def test_a_busy_staging_names_feed_and_window_and_waits_once(office: Any) -> None:
    office.configure(storage={"lock_timeout_seconds": 1.0})
    office.rows("SELECT 1")
    code = f"""
        import sys, time
        from pathlib import Path
        from tasks.staging.store import Staging
        with Staging(Path({str(office.settings.folder("staging"))!r}), "acme").open():
            print("held", flush=True)
            sys.stdin.read()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        with pytest.raises(StagingBusy) as caught:
            office.pull()
        assert time.monotonic() - started < 2
        assert f"process {holder.pid}" in str(caught.value)
        assert str(caught.value).startswith("acme / payments / 2026-11-01T00:00:00Z to ")
    finally:
        holder.communicate("", timeout=10)
    assert office.pull().status == "ok"


def test_a_full_archive_is_not_blamed_on_the_network(office: Any, ic: Sandbox, file_limit: Any) -> None:
    office.rows("SELECT 1")
    ic.fault("huge_text", times=-1, size=9_000_000)
    file_limit(6_000_000)
    with pytest.raises(IcflowsError, match="File too large") as caught:
        office.pull()
    assert caught.value.reason != "unreachable"
    assert str(caught.value).startswith("acme / payments / ")
    assert office.runs()[-1]["status"] == "failed"
    file_limit(1 << 40)
    ic.clear_faults()
    assert office.pull().rows_new == 4


def test_a_gzip_bomb_costs_little_memory(office: Any, ic: Sandbox) -> None:
    """In a process of its own, so that its peak is its own."""
    ic.fault("gzip_bomb", times=-1, size_mb=200)
    code = f"""
        import resource
        from datetime import UTC, datetime
        from tasks.errors import BadAnswer
        from tasks.pull import pull_window, staging_of
        from tasks.settings import load_settings
        settings = load_settings({str(office.settings.file)!r})
        with staging_of(settings, "acme").open():
            pass
        import zeep, xml2arrow, lxml.etree
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        window = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 10, tzinfo=UTC))
        try:
            pull_window(settings, "acme", "payments", window, datetime(2026, 11, 10, 12, tzinfo=UTC))
        except BadAnswer as error:
            print(error.reason, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    reason, megabytes = done.stdout.split() or ("", done.stderr)
    assert reason == "gzip_bomb"
    assert int(megabytes) < 80
