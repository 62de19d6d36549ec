"""Uploads whose answer is lost, wrong, or comes before the deed."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.captured import CAPTURED_NOW

if TYPE_CHECKING:
    from tests.sandbox.conftest import Uploader


@contextmanager
def no_answer() -> Iterator[None]:
    """The connection ends without a byte."""
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        yield


@pytest.mark.parametrize(("kind", "taken"), [("close_no_reply", True), ("reset", True), ("not_taken", False)])
def test_the_answer_is_lost(kind: str, taken: bool, uploader: Uploader) -> None:
    sandbox = uploader.sandbox
    sandbox.fault(kind, operation="UploadInvoice")
    with no_answer():
        uploader.send(uploader.line("A", "N-1", "1.00"))
    assert uploader.view("N-1")["Success"] == str(taken).lower()
    assert len(sandbox.imported()) == int(taken)
    assert sandbox.uploads.exists() == taken
    call = sandbox.calls()[0]
    assert (call["operation"], call["status"], call["fault"]) == ("UploadInvoice", None, kind)


def test_not_taken_fits_every_operation(uploader: Uploader) -> None:
    uploader.sandbox.fault("not_taken")
    with no_answer():
        uploader.caller.post("PaymentReportingSOAP")
    assert uploader.caller.post("PaymentReportingSOAP").status == 200


def test_taken_late(uploader: Uploader) -> None:
    sandbox = uploader.sandbox
    sandbox.fault("late_taken", operation="UploadInvoice", seconds=600)
    with no_answer():
        uploader.send(uploader.line("A", "N-1", "1.00"))
    assert (uploader.view("N-1")["Success"], sandbox.imported()) == ("false", [])
    sandbox.clock(CAPTURED_NOW + timedelta(seconds=599))
    uploader.send(uploader.line("A", "N-1", "2.00"))
    assert uploader.view("N-1")["BalanceDue"] == "2.00"
    sandbox.clock(CAPTURED_NOW + timedelta(seconds=700))
    assert uploader.view("N-1")["BalanceDue"] == "1.00"
    assert [(entry["receipt_id"], entry["at"]) for entry in sandbox.imported()] == [
        ("RCPT000001", "2026-11-10T00:09:59Z"),
        ("RCPT000002", "2026-11-10T00:10:00Z"),
    ]


def test_lines_refused_on_request(uploader: Uploader) -> None:
    lines = [uploader.line("A", f"N-{n}", "1.00") for n in range(1, 5)]
    uploader.sandbox.fault("reject_lines", lines=[2], invoices=["N-4"], message="Not today")
    refused = [("2", "N-1", "Not today"), ("5", "N-4", "Not today")]
    assert uploader.told(uploader.send(*lines)) == ("2", "2", refused)
    found = [uploader.view(f"N-{n}")["Success"] for n in range(1, 5)]
    assert found == ["false", "true", "true", "false"]
    assert uploader.told(uploader.send(*lines)) == ("4", "0", [])


@pytest.mark.parametrize("taken", [False, True])
def test_a_count_that_is_short(taken: bool, uploader: Uploader) -> None:
    uploader.sandbox.fault("short_count", by=1, taken=taken)
    lines = [uploader.line("A", f"N-{n}", "1.00") for n in (1, 2)]
    assert uploader.told(uploader.send(*lines)) == ("1", "0", [])
    assert uploader.view("N-1")["Success"] == "true"
    assert uploader.view("N-2")["Success"] == str(taken).lower()
    assert [entry["accepted"] for entry in uploader.sandbox.imported()] == [True, taken]


def test_faults_of_uploads_wait_for_one(uploader: Uploader) -> None:
    uploader.sandbox.fault("reject_lines", invoices=["N-1"])
    assert uploader.caller.post("PaymentReportingSOAP").status == 200
    assert uploader.view("N-1")["Success"] == "false"
    refused = ("0", "1", [("2", "N-1", "Record refused")])
    assert uploader.told(uploader.send(uploader.line("A", "N-1", "1.00"))) == refused
