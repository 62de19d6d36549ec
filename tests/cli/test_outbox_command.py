"""`icflows outbox` on files that InvoiceCloud took, refused, took in part, or said nothing of."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.loading import load_file
from tasks.outbox.overview import overview
from tasks.outbox.people import show
from tasks.outbox.publish import publish

GUID = "99999999-8888-7777-6666-555555555555"
HEAD = (
    "event_id,event,occurred_at,replaces_invoice_number,still_in_imt,invoice_number,account_number,"
    "invoice_date,due_date,total_amount_due,balance_due,customer_name"
)
Call = Callable[..., subprocess.CompletedProcess[str]]


class Desk:
    """An office that bills and sends, an hour at a time."""

    def __init__(self, office: Any) -> None:
        office.configure(invoice_format_guid=GUID, transport={"tries": 1, "retry_seconds": 0.001})
        self.office, self.settings, self.hours = office, office.settings, 0

    @property
    def at(self) -> Any:
        return self.office.at + timedelta(hours=self.hours)

    def bill(self, *numbers: int, event: str = "NEW", still: str = "") -> None:
        lines = [
            f"E{n}-{event},{event},{self.at:%Y-%m-%dT%H:%M:%SZ},,{still},INV-{n},0012345,2026-11-01,2026-11-30,"
            f"{n}.50,{n}.50,Canaryname"
            for n in numbers
        ]
        path = self.office.folder / "events.csv"
        path.write_text("\n".join([HEAD, *lines]) + "\n", "utf-8")
        load_file(self.settings, "acme", "invoices", path, self.at)

    def send(self, fault: str = "", **args: Any) -> Any:
        """One hourly run; the clock goes on by an hour before it."""
        self.hours += 1
        self.office.sandbox.clock(self.at)
        if fault:
            self.office.sandbox.fault(fault, operation="UploadInvoice", **args)
        return publish(self.settings, "acme", self.at)

    def states(self) -> list[str]:
        return [file["state"] for file in overview(self.settings, "acme").files]

    def records(self) -> dict[str, str]:
        rows = self.office.rows(
            "SELECT invoice_number, state FROM outbox.records ORDER BY composed_at, line_no"
        )
        return {row["invoice_number"]: row["state"] for row in rows}

    def undecided(self) -> str:
        """INV-1 and INV-2 in a file of which InvoiceCloud took only INV-1, without a trustworthy answer."""
        self.bill(1, 2)
        self.send("short_count")
        for _ in range(2):
            self.send()
        newest = overview(self.settings, "acme").files[0]
        assert newest["state"] == "undecided"
        return str(newest["file_id"])

    def refused(self) -> str:
        self.bill(3, 4)
        self.send("success_false")
        newest = overview(self.settings, "acme").files[0]
        assert newest["state"] == "refused"
        return str(newest["file_id"])


@pytest.fixture
def desk(office: Any) -> Desk:
    return Desk(office)


@pytest.fixture
def call(desk: Desk) -> Call:
    def run(*words: str, columns: str = "200") -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "ICFLOWS_CONFIG": str(desk.settings.file), "NO_COLOR": "1", "COLUMNS": columns,
        }  # fmt: skip
        script = [sys.executable, "-m", "cli.main", "outbox", *words]
        return subprocess.run(
            script, capture_output=True, text=True, env=environment, timeout=60, check=False, stdin=subprocess.DEVNULL
        )  # fmt: skip

    return run


def document(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def decide(call: Call, file: str, decision: str, *more: str) -> subprocess.CompletedProcess[str]:
    return call("decide", file, decision, "--by", "Ann Ode", "--note", "seen in the portal", *more)


def test_an_empty_outbox_says_so(call: Call) -> None:
    assert document(call("--json")) == {"files": [], "held": [], "guards": [], "events": 0, "open": {}}
    shown = call()
    assert "0 events are not yet in a file" in shown.stdout


def test_the_list_is_newest_first_and_holds_no_customer(desk: Desk, call: Call) -> None:
    desk.bill(1, 2)
    desk.send("reject_lines", invoices=["INV-2"], message="Account 0012345 is closed")
    accepted = overview(desk.settings, "acme").files[0]["file_id"]
    refused = desk.refused()
    desk.bill(5)
    told = document(call("--biller", "acme", "--json"))
    assert [(file["file_id"], file["state"]) for file in told["files"]] == [
        (refused, "refused"), (accepted, "accepted"),
    ]  # fmt: skip
    assert (told["files"][1]["amount"], told["files"][1]["records_rejected"]) == ("4.00", 1)
    assert told["files"][1]["receipt_id"]
    assert (told["events"], told["open"]) == (1, {"refused": 1})
    assert [file["file_id"] for file in document(call("--state", "accepted", "--json"))["files"]] == [
        accepted
    ]
    shown = call()
    assert shown.stdout.index(refused) < shown.stdout.index(accepted)
    assert "1 refused waits for your word" in shown.stdout
    assert "1 events are not yet in a file" in shown.stdout
    assert accepted not in call("--limit", "1").stdout
    assert "Canaryname" not in shown.stdout + json.dumps(told)


def test_a_narrow_terminal_still_shows_the_end_of_a_file_id(desk: Desk, call: Call) -> None:
    file = desk.refused()
    assert file[-6:] in call(columns="100").stdout


def test_one_file_with_its_time_line(desk: Desk, call: Call) -> None:
    desk.bill(1, 2, 3)
    desk.send("reject_lines", invoices=["INV-2"], message="Account is closed")
    file = overview(desk.settings, "acme").files[0]["file_id"]
    told = document(call("show", file[-8:], "--json"))
    assert told["file"]["file_id"] == file
    assert [move["to_state"] for move in told["moves"]] == ["sending", "accepted"]
    assert [line["reason"] for line in told["rejected"]] == ["Account is closed"]
    shown = call("show", file)
    for words in (
        "composed → sending",
        "sending → accepted",
        "1 lines refused",
        "INV-2",
        "Account is closed",
    ):
        assert words in shown.stdout
    assert "Canaryname" not in shown.stdout + json.dumps(told)


def test_looks_are_shown(desk: Desk, call: Call) -> None:
    shown = call("show", desk.undecided())
    assert "Looks at InvoiceCloud" in shown.stdout
    assert "unknown → undecided" in shown.stdout


@pytest.mark.parametrize(
    ("decision", "file_state", "records"),
    [
        ("accept", "accepted", {"INV-1": "accepted", "INV-2": "accepted"}),
        ("requeue", "accepted", {"INV-1": "accepted", "INV-2": "resent"}),
        ("resend", "composed", {"INV-1": "in_file", "INV-2": "in_file"}),
        ("drop", "dropped", None),
    ],
)
def test_a_word_on_an_undecided_file(
    desk: Desk, call: Call, decision: str, file_state: str, records: dict[str, str] | None
) -> None:
    file = desk.undecided()
    after = document(decide(call, file[-6:], decision, "--yes", "--json"))
    assert (after["file_id"], after["state"]) == (file, file_state)
    assert records is None or desk.records() == records
    last = show(desk.settings, "acme", file)["moves"][-1]
    assert (last["by"], last["note"], last["to_state"]) == ("Ann Ode", "seen in the portal", file_state)


def test_what_is_requeued_goes_out_with_the_next_file(desk: Desk, call: Call) -> None:
    file = desk.undecided()
    document(decide(call, file, "requeue", "--yes", "--json"))
    assert desk.send().records == 1
    assert desk.states() == ["accepted", "accepted"]
    assert desk.records() == {"INV-1": "accepted", "INV-2": "accepted"}


def test_a_refused_file_is_sent_again_when_its_cause_is_gone(desk: Desk, call: Call) -> None:
    file = desk.refused()
    after = document(decide(call, file, "resend", "--yes", "--json"))
    assert after["state"] == "composed"
    assert desk.send().status == "sent"
    assert desk.records() == {"INV-3": "accepted", "INV-4": "accepted"}


def test_an_invoice_of_a_dropped_file_can_be_billed_again(desk: Desk, call: Call) -> None:
    document(decide(call, desk.undecided(), "drop", "--yes", "--json"))
    desk.bill(2, event="CHANGED")
    assert desk.send().records == 1


def test_nothing_is_done_without_a_word_for_it(desk: Desk, call: Call) -> None:
    file = desk.undecided()
    for more in ((), ("--json",)):
        done = decide(call, file, "requeue", *more)
        told = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 2
        assert (
            "1 records that are not at InvoiceCloud wait for the next file; the other 1 count as sent" in told
        )
        assert "repeat with --yes" in told
    assert desk.states() == ["undecided"]


@pytest.mark.parametrize(("answer", "state"), [("y", "accepted"), ("n", "undecided")])
def test_on_a_terminal_it_explains_and_asks(desk: Desk, answer: str, state: str) -> None:
    file = desk.undecided()
    words = ["decide", file, "accept", "--by", "Ann Ode", "--note", "seen", "--biller", "acme"]
    environment = {**os.environ, "ICFLOWS_CONFIG": str(desk.settings.file), "NO_COLOR": "1", "COLUMNS": "200"}
    ours, theirs = pty.openpty()
    script = [sys.executable, "-m", "cli.main", "outbox", *words]
    with subprocess.Popen(script, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        printed = _until(ours, b"Do it?")
        os.write(ours, answer.encode() + b"\n")
        code = process.wait(30)
    os.close(ours)
    assert b"every record counts as sent. Nothing goes out." in printed
    assert code == (0 if answer == "y" else 1)
    assert desk.states() == [state]


def _until(handle: int, mark: bytes) -> bytes:
    printed = b""
    while mark not in printed:
        assert select.select([handle], [], [], 30)[0], printed
        printed += os.read(handle, 4096)
    return printed


def test_a_guard_is_shown_and_a_wrong_event_withheld(desk: Desk, call: Call) -> None:
    desk.bill(1)
    desk.bill(7, event="CANCELLED", still="true")
    assert desk.send().status == "blocked"
    told = document(call("--json"))
    assert [(g["guard"], g["invoice_number"], g["event_id"]) for g in told["guards"]] == [
        ("never_sent", "INV-7", "E7-CANCELLED")
    ]
    assert told["events"] == 2
    shown = call()
    assert "The last run was stopped" in shown.stdout
    assert "E7-CANCELLED" in shown.stdout
    assert "which InvoiceCloud never got from here" in " ".join(shown.stdout.split())
    asked = call("withhold", "E7-CANCELLED", "--by", "Ann Ode", "--note", "typing error")
    assert asked.returncode == 2
    assert "CANCELLED of invoice INV-7" in " ".join(asked.stderr.split())
    done = call("withhold", "E7-CANCELLED", "--by", "Ann Ode", "--note", "typing error", "--yes", "--json")
    assert document(done) == {"event_id": "E7-CANCELLED", "withheld": 1}
    assert desk.send().status == "sent"
    assert document(call("--json"))["guards"] == []


def test_held_records_are_shown_with_their_reason(desk: Desk, call: Call) -> None:
    desk.bill(1)
    desk.send("late_taken", seconds=7200)
    desk.bill(1, event="CHANGED")
    desk.send()
    told = document(call("--json"))
    assert [(line["records"], line["reason"]) for line in told["held"]] == [
        (1, "an earlier file with this invoice is not settled")
    ]
    assert "Held by the last run" in call().stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("show", "nothing"), 1, "the outbox has no file 'nothing'"),
        (("--state", "gone"), 2, "there is no state 'gone'; known: composed"),
        (("--biller", "nobody"), 2, "there is no biller 'nobody'"),
        (
            ("decide", "x", "burn", "--by", "A", "--note", "n"),
            2,
            "there is no decision 'burn'; known: accept",
        ),
        (("decide", "x", "accept", "--note", "n"), 2, "Missing option '--by'"),
        (("withhold", "E-0", "--by", "Ann", "--note", "n"), 1, "no event 'E-0' waits in the outbox"),
        (("frobnicate",), 2, "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_calls_are_told_in_one_line(call: Call, words: tuple[str, ...], code: int, told: str) -> None:
    done = call(*words)
    assert done.returncode == code, done.stdout + done.stderr
    assert told in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_an_accepted_file_needs_no_word(desk: Desk, call: Call) -> None:
    desk.bill(1)
    desk.send()
    file = overview(desk.settings, "acme").files[0]["file_id"]
    done = decide(call, file, "drop", "--yes")
    assert done.returncode == 1
    assert "is accepted" in " ".join(done.stderr.split())
    nameless = call("decide", file, "drop", "--by", " ", "--note", "n", "--yes")
    assert "a decision bears a name" in " ".join(nameless.stderr.split())


def test_the_biller_may_stand_before_or_after(desk: Desk, call: Call) -> None:
    desk.bill(1)
    desk.send()
    file = overview(desk.settings, "acme").files[0]["file_id"]
    before = document(call("--biller", "acme", "show", file, "--json"))
    assert before == document(call("show", file, "--biller", "acme", "--json"))
    assert Path(desk.settings.file).is_file()
