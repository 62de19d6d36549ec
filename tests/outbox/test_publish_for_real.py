"""publish over real HTTP, DuckDB on disk, the archive: every answer IC can give, and none at all."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import time
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import CredentialError, Stop
from tasks.loading import load_file
from tasks.outbox.people import decide, withhold
from tasks.outbox.publish import PublishResult, outbox_of, publish
from tasks.replay import replay
from tasks.settings import load_settings

GUID = "99999999-8888-7777-6666-555555555555"
HOUR = timedelta(hours=1)
SPOKEN = "Zebra Quagmire"


def event(number: str, what: str = "NEW", at: str = "2026-11-10T08:00:00Z", **change: str) -> dict[str, str]:
    return {
        "event_id": f"E-{number}-{what}-{at[11:13]}", "event": what, "occurred_at": at, "invoice_number": number,
        "account_number": "0012345", "invoice_date": "2026-11-10", "due_date": "2026-12-10",
        "total_amount_due": "120.50", "balance_due": "120.50", "customer_name": SPOKEN, "replaces_invoice_number": "",
        "still_in_imt": "", "pdf_path": "",
    } | change  # fmt: skip


class Sending:
    """An office that sends: events in, runs, what IC took."""

    def __init__(self, office: Any, **biller: Any) -> None:
        self.office, self.ic, self.at = office, office.sandbox, office.at
        self.settings = office.configure(invoice_format_guid=GUID, **biller)
        self._files = 0

    def told(self, *events: dict[str, str]) -> None:
        self._files += 1
        path = self.office.folder / f"events{self._files}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(events[0]))
            writer.writeheader()
            writer.writerows(events)
        assert load_file(self.settings, "acme", "invoices", path, self.at).rows_quarantined == 0

    def run(self, later: timedelta = timedelta(0)) -> PublishResult:
        self.at += later
        self.ic.clock(self.at)
        return publish(self.settings, "acme", self.at)

    def taken(self) -> list[tuple[str, str, Decimal]]:
        return [
            (r["record_type"], r["invoice_number"], r["balance_due"])
            for r in self.ic.imported()
            if r["accepted"]
        ]

    def uploads(self) -> int:
        return sum(call["operation"] == "UploadInvoice" for call in self.ic.calls())

    def states(self) -> list[str]:
        return [file["state"] for file in outbox_of(self.settings, "acme").files()]


@pytest.fixture
def sending(office: Any) -> Sending:
    return Sending(office)


def test_an_hour_goes_in_one_file_and_only_once(sending: Sending) -> None:
    sending.told(event("N-1"), event("N-2"), event("N-3", balance_due="-5.00"))
    result = sending.run()
    assert (result.status, result.records, result.amount) == ("sent", 3, Decimal("241.00"))
    assert sending.taken() == [
        ("A", "N-1", Decimal("120.50")),
        ("A", "N-2", Decimal("120.50")),
        ("A", "N-3", Decimal("0.00")),
    ]
    sending.told(event("N-1"), event("N-2"), event("N-3", balance_due="-5.00"))
    assert sending.run(HOUR).status == "nothing"
    assert sending.uploads() == 1
    file = outbox_of(sending.settings, "acme").files()[0]
    assert (file["records_accepted"], file["records_rejected"], file["attempt"]) == (3, 0, 1)
    archived = next(sending.office.archive.folder.glob("outbox/*/*/*.bif"))
    assert (
        archived.read_bytes()
        == next(sending.ic.uploads.glob(f"{file['receipt_id']}_{file['file_name']}")).read_bytes()
    )
    assert GUID.encode() in archived.read_bytes()


@pytest.mark.parametrize(("still", "letter"), [("true", "R"), ("false", "D")])
def test_a_reissue_recalls_the_old_invoice_and_a_look_sees_it_obeyed(
    sending: Sending, still: str, letter: str
) -> None:
    sending.told(event("N-1"))
    sending.run()
    sending.told(
        event("N-1R", "REISSUED", "2026-11-10T09:00:00Z", replaces_invoice_number="N-1", still_in_imt=still)
    )
    assert sending.run(HOUR).records == 2
    assert sending.taken()[1:] == [("A", "N-1R", Decimal("120.50")), (letter, "N-1", Decimal("0.00"))]
    assert sending.run(HOUR).recalls_not_obeyed == 0
    looks = sending.office.rows("SELECT invoice_number, verdict FROM outbox.looks")
    assert [tuple(look.values()) for look in looks] == [("N-1", "yes")]
    calls = len(sending.ic.calls())
    sending.run(HOUR)
    assert len(sending.ic.calls()) == calls


def test_a_recall_that_ic_ignores_is_looked_at_until_it_is_obeyed(sending: Sending) -> None:
    sending.told(event("N-1"))
    sending.run()
    sending.ic.quirk("N-1", "keep_open")
    sending.told(event("N-1", "CANCELLED", "2026-11-10T09:00:00Z", still_in_imt="true"))
    assert sending.run(HOUR).records == 1
    assert [sending.run(HOUR).recalls_not_obeyed for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    "fault", ["close_no_reply", "reset", "unfinished_chunk", "short_content_length", "http_503", "no_result"]
)
def test_a_lost_answer_is_settled_by_asking_and_nothing_overtakes_it(sending: Sending, fault: str) -> None:
    sending.told(event("N-1"), event("N-2"))
    sending.ic.fault(fault, operation="UploadInvoice")
    carried_out = fault not in ("http_503", "no_result")
    first = sending.run()
    assert (first.status, [f["state"] for f in first.files], first.records) == ("waiting", ["unknown"], 0)
    sending.told(event("N-1", "CHANGED", "2026-11-10T09:00:00Z", balance_due="20.50"), event("N-3"))
    held = sending.run(timedelta(minutes=10))
    assert held.held == [{"reason": "an earlier file with this invoice is not settled", "records": 1}]
    assert sending.uploads() == 2
    sending.run(timedelta(minutes=30))
    if not carried_out:
        assert sending.states()[0] == "unknown"
        sending.run(timedelta(minutes=30))
    sending.run(timedelta(minutes=5))
    assert sending.states() == ["accepted"] * 3
    assert Counter(sending.taken()) == Counter(
        [
            ("A", "N-1", Decimal("120.50")),
            ("A", "N-2", Decimal("120.50")),
            ("A", "N-3", Decimal("120.50")),
            ("A", "N-1", Decimal("20.50")),
        ]
    )
    assert sending.taken()[-1] == ("A", "N-1", Decimal("20.50"))


def test_what_never_arrived_is_sent_again_after_two_looks(sending: Sending) -> None:
    sending.told(event("N-1"))
    sending.ic.fault("not_taken", operation="UploadInvoice")
    assert sending.run().files[0]["state"] == "unknown"
    assert sending.run(timedelta(minutes=31)).files[0]["state"] == "unknown"
    assert sending.uploads() == 1
    assert sending.run(timedelta(minutes=31)).files[0]["state"] == "accepted"
    assert (sending.uploads(), len(sending.taken())) == (2, 1)
    assert outbox_of(sending.settings, "acme").files()[0]["attempt"] == 2


def test_an_upload_that_is_taken_late_is_not_doubled(sending: Sending) -> None:
    sending.told(event("N-1"))
    sending.ic.fault("late_taken", operation="UploadInvoice", seconds=2400)
    sending.run()
    states = [sending.run(timedelta(minutes=31)).files[0]["state"] for _ in range(2)]
    assert (states, len(sending.taken()), sending.uploads()) == (["unknown", "accepted"], 1, 1)


def test_what_ic_did_not_let_in_goes_with_the_next_run(sending: Sending) -> None:
    sending.told(event("N-1"))
    sending.ic.fault("http_429", operation="UploadInvoice", retry_after=None)
    assert [f["state"] for f in sending.run().files] == ["composed"]
    assert (sending.run(HOUR).status, len(sending.taken())) == ("sent", 1)


def test_a_file_that_waited_is_taken_back_when_imt_has_overtaken_it(sending: Sending) -> None:
    sending.told(event("N-1"))
    sending.run()
    sending.told(event("N-1", "CANCELLED", "2026-11-10T09:00:00Z", still_in_imt="false"), event("N-2"))
    sending.ic.fault("http_429", operation="UploadInvoice", retry_after=None)
    assert [f["state"] for f in sending.run(HOUR).files] == ["composed"]
    sending.told(event("N-1", "CHANGED", "2026-11-10T10:00:00Z", balance_due="20.50"))
    assert sending.run(HOUR).records == 2
    assert sending.states() == ["accepted", "dropped", "accepted"]
    assert sending.taken()[1:] == [("A", "N-2", Decimal("120.50")), ("A", "N-1", Decimal("20.50"))]


def test_a_guard_holds_back_what_waited_as_well(sending: Sending) -> None:
    sending.told(event("N-1"))
    sending.ic.fault("http_429", operation="UploadInvoice", retry_after=None)
    sending.run()
    sending.told(event("N-9", "CANCELLED", still_in_imt="false"))
    assert (sending.run(HOUR).status, sending.taken()) == ("blocked", [])


def test_a_wrong_key_stops_the_run_and_nothing_is_lost(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending.told(event("N-1"))
    monkeypatch.setenv("ACME_WEB_SERVICE_KEY", "another")
    with pytest.raises(CredentialError):
        sending.run()
    assert sending.states() == ["composed"]
    monkeypatch.undo()
    monkeypatch.setenv("ACME_WEB_SERVICE_KEY", "canary-key-5f3a9c")
    assert (sending.run(HOUR).status, len(sending.taken())) == ("sent", 1)


def test_a_refused_line_is_told_and_the_rest_counts_as_sent(sending: Sending) -> None:
    sending.told(event("N-1"), event("N-2"), event("N-3"))
    sending.ic.fault(
        "reject_lines", operation="UploadInvoice", invoices=["N-2"], message="Account 0012345678 is closed"
    )
    result = sending.run()
    assert (result.status, result.records, result.files[0]["records_rejected"]) == ("sent", 2, 1)
    rows = sending.office.rows(
        "SELECT invoice_number, line_no, state, reason FROM outbox.records ORDER BY line_no"
    )
    assert [(r["invoice_number"], r["state"]) for r in rows] == [
        ("N-1", "accepted"),
        ("N-2", "rejected"),
        ("N-3", "accepted"),
    ]
    assert rows[1]["line_no"] == 3
    assert rows[1]["reason"] == "Account ***5678 is closed"


@pytest.mark.parametrize("taken", [True, False])
def test_counts_that_do_not_cover_the_file_are_asked_about(sending: Sending, taken: bool) -> None:
    sending.told(event("N-1"), event("N-2"))
    sending.ic.fault("short_count", operation="UploadInvoice", taken=taken)
    assert sending.run().files[0]["reason"] == "count_short"
    states = [file["state"] for _ in range(2) for file in sending.run(timedelta(minutes=31)).files]
    assert states == (["accepted"] if taken else ["unknown", "undecided"])


def test_a_wrong_recall_stops_the_run_until_a_person_withholds_it(sending: Sending) -> None:
    sending.told(event("N-1"), event("N-9", "CANCELLED", still_in_imt="false"))
    blocked = sending.run()
    assert (blocked.status, [g["guard"] for g in blocked.guards]) == ("blocked", ["never_sent"])
    assert (sending.uploads(), sending.states()) == (0, [])
    with pytest.raises(Stop, match="no event"):
        withhold(sending.settings, "acme", "E-nothing", "Ann Lee", "typed wrong", sending.at)
    assert withhold(sending.settings, "acme", "E-N-9-CANCELLED-08", "Ann Lee", "typed wrong", sending.at) == 1
    assert (sending.run(HOUR).status, sending.taken()) == ("sent", [("A", "N-1", Decimal("120.50"))])


def test_mips_sends_each_record_by_itself_with_a_link(office: Any) -> None:
    sending = Sending(
        office,
        product="mips-apps",
        outbound={"pdf_link": "https://pdf.example/{account_number}/{invoice_number}.pdf"},
    )
    sending.told(event("N-1"), event("N-2"))
    assert sending.run().records == 2
    assert (sending.uploads(), len(sending.taken())) == (2, 2)
    newest = sorted(sending.ic.uploads.glob("RCPT*"), key=lambda path: path.stat().st_mtime_ns)[-2:]
    files = [path.read_text() for path in newest]
    assert "https://pdf.example/0012345/N-1.pdf" in files[0]
    assert GUID not in "".join(files)


def test_looks_that_disagree_wait_for_a_person(sending: Sending) -> None:
    sending.told(event("N-1"), event("N-2"))
    sending.ic.fault("not_taken", operation="UploadInvoice")
    sending.run()
    sending.told(
        event("N-2", at="2026-11-10T08:30:00Z")
    )  # IC gets N-2 another way: an amended event is held meanwhile
    other = Sending(sending.office, biller_guid="11111111-2222-3333-4444-555555555555")
    file = outbox_of(sending.settings, "acme").files()[0]
    body = outbox_of(sending.settings, "acme").history.body(file["file_id"])
    lines = body.split(b"\r\n")
    assert other.ic is sending.ic
    kept = [lines[0], lines[2], lines[3].replace(b"|2|2|0|0|241.00|241.00", b"|1|1|0|0|120.50|120.50"), b""]
    from tasks.invoicecloud.operations import Operations

    Operations(sending.settings.biller("acme"), sending.office.archive).upload(
        "x", "x.bif", b"\r\n".join(kept), sending.at
    )
    for _ in range(2):
        sending.run(timedelta(minutes=31))
    assert sending.states() == ["undecided"]
    with pytest.raises(Stop, match="bears a name"):
        decide(sending.settings, "acme", file["file_id"], "requeue", " ", "", sending.at)
    decided = decide(
        sending.settings,
        "acme",
        file["file_id"][-8:],
        "requeue",
        "Ann Lee",
        "portal shows N-2 only",
        sending.at,
    )
    assert decided["state"] == "accepted"
    sending.run(HOUR)
    assert Counter(number for _, number, _ in sending.taken())["N-1"] == 1
    moves = sending.office.rows('SELECT "by", to_state, note FROM outbox.moves ORDER BY "at"')
    assert {"by": "Ann Lee", "to_state": "accepted", "note": "portal shows N-2 only"} in moves


def test_a_lost_staging_file_does_not_send_again(sending: Sending) -> None:
    sending.told(event("N-1"), event("N-2"))
    sending.run()
    sending.told(event("N-3"))
    sending.ic.fault("close_no_reply", operation="UploadInvoice")
    sending.run(HOUR)
    staging = outbox_of(sending.settings, "acme").staging
    before = sending.office.dump("outbox.files", "outbox.records", "outbox.moves")
    staging.path.unlink()
    staging.journal.unlink()
    replay(sending.settings, "acme", sending.at)
    assert sending.office.dump("outbox.files", "outbox.records", "outbox.moves") == before
    sending.run(HOUR)
    assert (sending.states(), sending.uploads()) == (["accepted", "accepted"], 2)


def test_a_replay_keeps_the_outbox(sending: Sending) -> None:
    sending.told(event("N-1"))
    sending.run()
    before = sending.office.dump("outbox.files", "outbox.records", "outbox.moves", "outbox.applied")
    replay(sending.settings, "acme", sending.at)
    assert sending.office.dump("outbox.files", "outbox.records", "outbox.moves", "outbox.applied") == before
    assert sending.run(HOUR).status == "nothing"


def _publish(file: Path, at: datetime) -> None:
    publish(load_settings(file), "acme", at)


def test_two_runs_at_once_send_once(sending: Sending) -> None:
    sending.told(*(event(f"N-{n}") for n in range(20)))
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=_publish, args=(sending.settings.file, sending.at)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0]
    assert (sending.uploads(), len(sending.taken())) == (1, 20)


def test_killed_at_any_moment_nothing_is_lost_and_nothing_doubled(sending: Sending) -> None:
    """kill -9 of the whole process, twelve times, on the real disk; the first run is timed to spread the kills."""
    context = multiprocessing.get_context("fork")
    numbers, killed = [], 0
    for round_no in range(12):
        numbers.append(f"K-{round_no}")
        sending.told(event(numbers[-1]))
        run = context.Process(target=_publish, args=(sending.settings.file, sending.at))
        run.start()
        time.sleep(0.05 + 0.03 * round_no)
        if run.is_alive():
            os.kill(run.pid or 0, signal.SIGKILL)
            killed += 1
        run.join(20)
        sending.at += timedelta(minutes=31)
        sending.ic.clock(sending.at)
    for _ in range(4):
        sending.run(timedelta(minutes=31))
    assert killed >= 3
    assert set(sending.states()) == {"accepted"}
    assert Counter(number for _, number, _ in sending.taken()) == Counter(numbers)


def test_no_key_and_no_person_in_logs_notes_and_results(
    sending: Sending, mutter: pytest.LogCaptureFixture, canary_key: str
) -> None:
    sending.told(event("N-1"), event("N-9", "CANCELLED", still_in_imt="false"))
    results = [sending.run()]
    withhold(sending.settings, "acme", "E-N-9-CANCELLED-08", "Ann Lee", "x", sending.at)
    sending.ic.fault("close_no_reply", operation="UploadInvoice")
    results += [sending.run(HOUR), sending.run(HOUR)]
    told = mutter.text + str(results)
    for path in sending.office.archive.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert canary_key.encode() not in data, path
            told += (
                data.decode("utf-8", errors="replace") if path.suffix in (".json", ".moves", ".jsonl") else ""
            )
    assert canary_key not in told
    assert SPOKEN not in told
