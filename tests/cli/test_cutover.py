"""`icflows doctor --cutover`: every detail of the conversion, from a biller that has nothing to one that has moved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import update

from cli.cutover import CHECKS, Detail, Ground, Step, details, walk
from cli.doctor_outbound import outbound
from sandbox import Sandbox
from tasks.inbound.pushes import read_push
from tasks.inbound.store import open_store
from tasks.inbound.stored import beat, take
from tasks.inbound.tables import freshness
from tasks.outbox.model import FILES, LOOKS, RECORDS, shaped
from tasks.outbox.publish import outbox_of
from tasks.staging import outbox as sql
from tasks.staging.query import frame

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
GUID = "99999999-8888-7777-6666-555555555555"
FEEDS = ("payments", "settlements", "ach_rejects", "autopay", "paperless")
PERSONS = {
    "RTDR web services", "payment posting by Data Pump", "Data Pump for AutoPay", "Data Pump for paperless",
    "PDF remote linking off, at IC", "PDF settings",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks at a Prefect server that happens to run on this machine."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")


@pytest.fixture
def moved(
    captured_folder: Path, office_class: Any, tmp_path: Path, canary_key: str, monkeypatch: Any
) -> Iterator[Any]:
    """An office with everything that the cutover asks for on this side, but nothing sent yet."""
    monkeypatch.setenv("CUTOVER_SFTP", "sandbox-password")
    with Sandbox(captured_folder, now=AT, key=canary_key) as sandbox:
        office = office_class(tmp_path / "office", sandbox)
        office.sftp = {
            "host": "127.0.0.1", "port": sandbox.sftp_port, "username": "sandbox", "password": "env:CUTOVER_SFTP",
            "host_key": sandbox.host_key_line,
        }  # fmt: skip
        office.configure(invoice_format_guid=GUID, sftp=office.sftp)
        yield office


def steps(office: Any, at: datetime = AT) -> dict[str, Step]:
    return {step.what: step for step in walk(office.settings, "acme", at)}


def seen(office: Any, key: str) -> tuple[str, str]:
    """What one check says."""
    return CHECKS[key](Ground(office.settings, "acme", AT), "")


def poll_all(office: Any) -> None:
    for feed in FEEDS:
        assert office.pull(feed).status == "ok"


def sent(
    office: Any, kind: str = "convert", state: str = "accepted", verdict: str | None = "yes", guid: str | None = GUID,
    link: str | None = None, seen_account: str = "0012345", record_state: str = "accepted",
) -> None:  # fmt: skip
    """One file with a bill and a recall, as the outbox would hold it, and what looks showed of them."""
    file_id, money = f"20261110T110000Z-bif-{kind}", Decimal("5.00")
    facts = {
        "file_id": file_id,
        "composed_at": AT - timedelta(hours=1),
        "account_number": "0012345",
        "balance_due": money,
    }
    rows = [
        facts | {"record_id": f"{file_id}:{n}", "line_no": n, "invoice_number": f"INV-{n}", "record_type": letter,
                 "state": record_state, "invoice_format_guid": guid if letter == "A" else None, "pdf_link": link}
        for n, letter in ((2, "A"), (3, "R"))
    ]  # fmt: skip
    looks = [
        {"look_id": "l", "file_id": file_id, "record_id": row["record_id"], "at": AT, "verdict": verdict,
         "account_number": seen_account}
        for row in rows
    ]  # fmt: skip
    file = {
        "file_id": file_id,
        "kind": kind,
        "state": state,
        "records": 2,
        "composed_at": facts["composed_at"],
    }
    with outbox_of(office.settings, "acme").staging.open() as connection:
        sql.insert(connection, "files", shaped(pl.DataFrame([file]), FILES))
        sql.insert(connection, "records", shaped(pl.DataFrame(rows, infer_schema_length=None), RECORDS))
        sql.insert(connection, "looks", shaped(pl.DataFrame(looks), LOOKS).head(2 if verdict else 0))


def called(office: Any) -> None:
    """The service lives, was pushed a payment, and heard of IMT."""
    office.configure(
        invoice_format_guid=GUID, sftp=office.sftp, inbound={"keys": ["env:ACME_WEB_SERVICE_KEY"]}
    )
    fields = {
        "BillerGUID": office.settings.biller("acme").biller_guid, "PaymentGUID": "aaaaaaaa-0000-0000-0000-000000000001", "PaymentAmount": "1.00", "Approved": "True",
        "PaymentDate": "2026-11-10T11:00:00Z", "InvoiceNumber": "INV-2",
    }  # fmt: skip
    with closing(open_store(office.settings)) as store:
        beat(store, ["acme"], AT)
        take(store, [read_push(office.settings, "acme", "form", fields)], AT)
        with store.writing() as connection:
            connection.execute(update(freshness).values(known_as_of=int(AT.timestamp()) * 1_000_000))


class Prefect:
    """A Prefect API that is healthy and has one deployment, or none."""

    def __init__(self) -> None:
        self.deployment: dict[str, Any] | None = {"paused": False, "schedules": [_schedule(True)]}
        self.status = 200
        self.asked: list[str] = []


def _schedule(active: bool) -> dict[str, Any]:
    return {"active": active, "schedule": {"cron": "50 * * * *"}}


@contextmanager
def serving(prefect: Prefect) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            prefect.asked.append(self.path)
            if self.path.endswith("/health"):
                self._answer(200, True)
            elif prefect.deployment is None:
                self._answer(404, {"detail": "Deployment not found"})
            else:
                self._answer(prefect.status, prefect.deployment)

        def _answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_detail_is_looked_at_or_given_to_a_person() -> None:
    keys = {detail.key.partition(":")[0] for detail in details() if detail.key}
    assert keys == set(CHECKS), "a check without a row, or a row without a check"
    assert {detail.what for detail in details() if detail.portal} == PERSONS
    assert len({detail.what for detail in details()}) == len(details()) >= 17
    with pytest.raises(ValueError, match="either a check looks"):
        Detail(what="w", feature="f", detail="d", how="h")


def test_a_biller_that_has_not_begun(moved: Any) -> None:
    moved.configure(product="mips-apps", outbound={"pdf_link": "https://pdf.example/{invoice_number}.pdf"})
    moved.sandbox.fault("reset", operation="*", times=-1)
    found = steps(moved)
    not_so = {what for what, step in found.items() if step.state == "fail"}
    assert not_so == {
        "reissued invoices updated", "payment reporting services", "batch settlement services", "ACH rejects polled",
        "AutoPay list polled", "paperless list polled", "PDF remote linking off, here", "SFTP", "invoice format GUID",
        "RTDR answers here", "Data Pump receiver here",
    }  # fmt: skip
    assert {what for what, step in found.items() if step.state == "person"} == PERSONS | {
        "hourly sending",
        "account numbers",
    }
    for step in found.values():
        assert step.seen in ("seen to be so", "seen not to be so", "only a person can see it")
        assert step.how
        assert "{biller}" not in step.how


def test_a_biller_that_has_moved(moved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    poll_all(moved)
    sent(moved)
    called(moved)
    with serving(Prefect()) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        found = steps(moved)
    assert {what for what, step in found.items() if step.state != "ok"} == PERSONS
    for what in PERSONS:
        assert found[what].where.startswith("IC portal → Biller administration → ")
        assert "assumed: IC's menus are not public" in found[what].where


def test_a_poll_counts_for_two_intervals(moved: Any) -> None:
    poll_all(moved)
    late = AT + timedelta(hours=7)
    moved.sandbox.clock(late)
    assert CHECKS["polled"](Ground(moved.settings, "acme", AT + timedelta(hours=6)), "ach_rejects")[0] == "ok"
    told = steps(moved, late)["ACH rejects polled"]
    assert told.state == "fail"
    assert "the last good answer is of 2026-11-10 12:00 UTC; it is due every 3 h" in told.words


def test_without_a_fresh_poll_every_operation_is_really_called_and_nothing_is_kept(moved: Any) -> None:
    told = steps(moved)
    for what, operations in (
        ("payment reporting services", {"PaymentReportingSOAP", "PaymentReportingDataSetFromGMT"}),
        ("batch settlement services", {"BillerSettledBatchDetailSOAP", "BillerSettledBatchDetailDataSet"}),
    ):
        assert told[what].state == "ok"
        assert operations <= {call["operation"] for call in moved.sandbox.calls()}
        assert all(operation in told[what].words for operation in operations)
    assert moved.rows("SELECT count(*) AS n FROM poll.runs") == [{"n": 0}]
    assert not list(moved.settings.folder("archive").rglob("*.xml"))


@pytest.mark.parametrize("operation", ["PaymentReportingSOAP", "PaymentReportingDataSetFromGMT"])
def test_one_operation_that_answers_wrongly_is_seen(moved: Any, operation: str) -> None:
    moved.sandbox.fault("success_false", operation=operation, times=-1)
    told = steps(moved)["payment reporting services"]
    assert told.state == "fail"
    assert told.words


CONVERSIONS: list[tuple[str, dict[str, Any], str, str]] = [
    ("the file is not settled", {"state": "unknown"}, "fail", "is unknown"),
    ("not looked at yet", {"verdict": None}, "fail", "2 of 2 records are not seen at IC yet"),
    ("IC shows it otherwise", {"verdict": "no"}, "fail", "shows 2 otherwise"),
    ("a look told nothing", {"verdict": "unclear"}, "fail", "2 of 2 records are not seen"),
    ("IC refused lines", {"record_state": "rejected"}, "fail", "IC refused 2 of 2 records"),
    ("all well", {}, "ok", "IC shows all 2 records as sent"),
    ("before and after look alike", {"verdict": "same"}, "ok", "IC shows all 2 records as sent"),
]


@pytest.mark.parametrize(("what", "change", "state", "words"), CONVERSIONS, ids=[c[0] for c in CONVERSIONS])
def test_the_conversion_is_verified_record_by_record(
    moved: Any, what: str, change: dict[str, Any], state: str, words: str
) -> None:
    sent(moved, **change)
    told = seen(moved, "converted")
    assert (told[0], words in told[1]) == (state, True), told


def test_where_nothing_had_to_be_sent_the_report_says_so(moved: Any) -> None:
    folder = moved.settings.folder("reports") / "acme"
    folder.mkdir(parents=True)
    (folder / "conversion-20261110T120000Z.html").write_text("nothing had to be sent")
    state, words = seen(moved, "converted")
    assert state == "person"
    assert "conversion-20261110T120000Z.html says why" in words


def test_what_was_refused_and_sent_again_counts_by_its_last_record(moved: Any) -> None:
    sent(moved, record_state="rejected", verdict=None)
    sent(moved, kind="hourly")
    assert seen(moved, "converted")[0] == "ok"


def test_another_account_at_ic_is_seen(moved: Any) -> None:
    sent(moved, seen_account="0099999")
    assert seen(moved, "accounts")[0] == "fail"
    assert "2 of 2 records have another account" in seen(moved, "accounts")[1]


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        ({"guid": None}, "fail", "carry another format GUID, or none"),
        ({"guid": "00000000-0000-0000-0000-000000000000"}, "fail", "carry another format GUID, or none"),
        ({"state": "refused", "record_state": "refused"}, "person", "no file with bills was accepted yet"),
        ({"kind": "individual"}, "person", "no file with bills was accepted yet"),
        ({"kind": "hourly"}, "ok", "stands in every bill of"),
    ],
    ids=str,
)
def test_the_format_guid_must_be_in_what_was_sent(
    moved: Any, change: dict[str, Any], state: str, words: str
) -> None:
    sent(moved, **change)
    told = seen(moved, "guid")
    assert (told[0], words in told[1]) == (state, True), told


def test_links_of_the_old_product_do_not_count_but_one_of_the_new_does(moved: Any) -> None:
    sent(moved, kind="individual", link="https://pdf.example/1.pdf")
    assert seen(moved, "no_links")[0] == "ok"
    sent(moved, kind="hourly", link="https://pdf.example/1.pdf")
    assert "2 records of Spectrum's files carry a link" in seen(moved, "no_links")[1]


DEPLOYED: list[tuple[str, dict[str, Any] | None, int, str, str]] = [
    ("on", {"paused": False, "schedules": [_schedule(True)]}, 200, "ok", "its schedule is on (50 * * * *)"),
    ("off", {"paused": False, "schedules": [_schedule(False)]}, 200, "fail", "no schedule of it is on"),
    ("none", {"paused": False, "schedules": []}, 200, "fail", "no schedule of it is on"),
    ("paused", {"paused": True, "schedules": [_schedule(True)]}, 200, "fail", "paused"),
    ("not deployed", None, 404, "fail", "publish-invoices/invoices-acme is not deployed"),
    ("a login is asked for", {}, 401, "person", "does not show deployments (HTTP 401)"),
    ("another program answers", {"hello": 1}, 200, "person", "gave no readable answer (KeyError)"),
]


@pytest.mark.parametrize(("what", "body", "status", "state", "words"), DEPLOYED, ids=[d[0] for d in DEPLOYED])
def test_hourly_sending_is_seen_at_the_prefect_server(
    moved: Any, monkeypatch: pytest.MonkeyPatch, what: str, body: Any, status: int, state: str, words: str
) -> None:
    prefect = Prefect()
    prefect.deployment, prefect.status = body, status
    with serving(prefect) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        told = seen(moved, "hourly")
    assert (told[0], words in told[1]) == (state, True), told
    assert prefect.asked[-1] == "/api/deployments/name/publish-invoices/invoices-acme"


def test_without_a_server_it_says_that_it_cannot_be_seen(moved: Any) -> None:
    state, words = seen(moved, "hourly")
    assert state == "person"
    assert "no Prefect server answers" in words


@pytest.fixture
def call(moved: Any, canary_key: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "ICFLOWS_CONFIG": str(moved.settings.file),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        script = [sys.executable, "-m", "cli.main", "doctor", *words, "--as-of", "2026-11-10T12:00:00Z"]
        done = subprocess.run(
            script, capture_output=True, text=True, env=environment, timeout=120, check=False
        )
        assert canary_key not in done.stdout + done.stderr
        return done

    return run


def test_the_command_shows_every_row_and_ends_with_1_if_one_is_not_so(call: Any, moved: Any) -> None:
    first = call("--cutover")
    assert first.returncode == 1, first.stderr
    assert (
        "FAIL Invoice Data: reissued invoices updated  seen not to be so: no conversion file was ever"
        in first.stdout
    )
    assert "cure: icflows convert --biller acme" in first.stdout
    assert "look Adjustment Data: RTDR web services  only a person can see it: IC portal → " in first.stdout
    poll_all(moved)
    sent(moved)
    called(moved)
    second = call("--cutover", "--biller", "acme")
    assert second.returncode == 0, second.stdout
    assert "12 seen to be so, 0 seen not to be so, 7 for a person to see" in second.stdout
    told = json.loads(call("--cutover", "--json").stdout)
    assert [line["what"] for line in told] == [detail.what for detail in details()]
    assert {line["state"] for line in told} == {"ok", "person"}
    assert call("--cutover", "--biller", "nobody").returncode == 2


def words_of(office: Any) -> dict[str, tuple[str, str]]:
    found = outbound(office.settings, "acme")
    return {finding.what.removeprefix("acme: "): (finding.state, finding.words) for finding in found}


def test_doctor_looks_at_the_way_out(moved: Any, tmp_path: Path) -> None:
    found = words_of(moved)
    assert found["BIF layout"][0] == "ok"
    assert found["bill presentment"] == ("ok", "invoice_format_guid is set")
    assert found["bill images"][0] == "warn"
    assert "outbox" not in found, "there is no staging yet, so there is nothing to say"
    moved.configure(outbound={"layout": "mine.toml", "images": "images"}, drop_folder="drop", sftp=moved.sftp)
    found = words_of(moved)
    assert found["BIF layout"] == ("fail", found["BIF layout"][1])
    assert "there is no BIF layout 'mine.toml'" in found["BIF layout"][1]
    assert found["bill presentment"][0] == "warn"
    assert found["bill images"] == ("fail", f"{moved.folder / 'images'} is not there")
    assert found["drop folder"] == ("fail", f"{moved.folder / 'drop'} is not there")
    for name in ("images", "drop"):
        (moved.folder / name).mkdir()
    found = words_of(moved)
    assert found["bill images"] == ("ok", f"{moved.folder / 'images'} is readable")
    assert found["drop folder"] == ("ok", f"{moved.folder / 'drop'} is writable")


def test_doctor_asks_each_product_for_what_it_needs(moved: Any) -> None:
    moved.configure(product="mips-apps")
    assert words_of(moved)["bill presentment"] == ("warn", "no outbound.pdf_link; invoices cannot be sent")
    link = {"pdf_link": "https://pdf.example/{invoice_number}.pdf"}
    moved.configure(product="mips-apps", outbound=link)
    found = words_of(moved)
    assert found["bill presentment"] == ("ok", "outbound.pdf_link is set")
    assert "bill images" not in found
    moved.configure(invoice_format_guid=GUID, outbound=link)
    assert words_of(moved)["bill presentment"][0] == "warn"
    moved.configure(invoice_format_guid=GUID, outbound={"images": str(moved.folder)})
    assert words_of(moved)["bill images"] == ("fail", "outbound.images without SFTP")


def test_doctor_warns_of_files_that_wait_for_a_person(moved: Any) -> None:
    sent(moved, kind="hourly", state="unknown", record_state="in_file")
    assert words_of(moved)["outbox"] == ("ok", "1 unknown")
    sent(moved, kind="convert", state="undecided", record_state="in_file")
    assert words_of(moved)["outbox"] == ("warn", "1 undecided, 1 unknown")
    with outbox_of(moved.settings, "acme").staging.open() as connection:
        assert frame(connection, "SELECT count(*) AS n FROM outbox.files").item() == 2
