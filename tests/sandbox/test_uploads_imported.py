"""UploadInvoice as an import: what a file says becomes what ViewInvoiceByInvoiceNumber shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import zeep

from sandbox import Sandbox
from sandbox.bif import FIELDS
from sandbox.captured import CAPTURED_NOW, write_captured
from sandbox.serving import BILLER_GUID, WEB_SERVICE_KEY
from sandbox.store import CarrierData

if TYPE_CHECKING:
    from tests.sandbox.conftest import Uploader


def test_ordinary_reissued_and_deleted(uploader: Uploader) -> None:
    line, view = uploader.line, uploader.view
    answer = uploader.send(line("A", "N-1", "88.10"), line("A", "N-2", "9.00"), line("A", "INV-0001", "7.00"))
    assert uploader.told(answer) == ("3", "0", [])
    assert "<ReceiptID>RCPT000001</ReceiptID>" in answer
    assert "<Errors />" in answer
    shown = view("N-1")
    assert (shown["Success"], shown["AccountNumber"], shown["BalanceDue"]) == ("true", "0012345", "88.10")
    assert (shown["InvoiceDate"], shown["InvoiceDueDate"]) == ("2026-11-01T00:00:00", "2026-11-20T00:00:00")
    assert shown["AllowPartialPayments"] == "true"
    assert view("INV-0001")["BalanceDue"] == "7.00"  # the captured one, replaced
    assert uploader.told(uploader.send(line("R", "N-1"), line("D", "N-2"))) == ("2", "0", [])
    shown = view("N-1")
    assert [shown[name] for name in ("TotalAmountDue", "BalanceDue", "MinimumAmountDue")] == ["0.00"] * 3
    assert view("N-2")["ErrorMessage"] == "Invoice not found"
    assert uploader.told(uploader.send(line("A", "N-2", "5.00"))) == ("1", "0", [])
    assert view("N-2")["BalanceDue"] == "5.00"
    assert len(list(uploader.sandbox.uploads.iterdir())) == 3


def test_bad_lines_are_refused_with_line_number_and_reason(uploader: Uploader) -> None:
    line = uploader.line
    answer = uploader.send(
        line("A", "N-1", "1.00"),
        line("A", "N-2", "1.00", AccountNumber=""),
        line("A", "N-3", "1.00", InvoiceDueDate=""),
        line("X", "N-4", "1.00"),
        line("R", "N-5"),
        line("D", "N-5"),
        line("A", "N-6", "1.00", InvoiceDueDate="20.11.2026"),
        line("A", "N-7", "1.00") + "|more",
        line("R", "N-1", InvoiceDueDate=""),
    )
    assert uploader.told(answer) == (
        "2",
        "7",
        [
            ("3", "N-2", "Account number is missing"),
            ("4", "N-3", "Due date is missing"),
            ("5", "N-4", "Unknown record type"),
            ("6", "N-5", "Invoice does not exist"),
            ("7", "N-5", "Invoice does not exist"),
            ("8", "N-6", "Invalid date"),
            ("9", "N-7", f"{len(FIELDS)} fields expected, {len(FIELDS) + 1} found"),
        ],
    )
    assert uploader.view("N-1")["BalanceDue"] == "0.00"
    assert uploader.view("N-3")["Success"] == "false"


def test_an_amount_that_is_none(uploader: Uploader) -> None:
    content = uploader.bif(uploader.line("A", "N-1", "1.00")).replace(b"|1.00|1.00||", b"|1.OO|1.00||")
    assert uploader.told(uploader.send_file(content)) == ("0", "1", [("2", "N-1", "Invalid amount")])


INCOMPLETE, UNREADABLE = "File is not complete", "File is not readable"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.replace(b"|1234|", b"|9|"), "Invalid BID"),
        (lambda file: file.replace(b"TRL|F-1|1|1|0|0", b"TRL|F-1|2|2|0|0"), INCOMPLETE),
        (lambda file: file.replace(b"TRL|F-1|1|1|0|0", b"TRL|F-1|1|0|1|0"), INCOMPLETE),
        (lambda file: file.replace(b"TRL|F-1|1|1|0|0|1.00", b"TRL|F-1|1|1|0|0|1.01"), INCOMPLETE),
        (lambda file: file.replace(b"TRL|F-1", b"TRL|F-2"), INCOMPLETE),
        (lambda file: file.partition(b"TRL")[0], INCOMPLETE),
        (lambda file: file.partition(b"\n")[0], INCOMPLETE),
        (lambda file: b"HDR|1|1234\r\n", UNREADABLE),
        (lambda file: file.replace(b"Ace", b"\xff"), UNREADABLE),
        (lambda file: file.replace(b'Ace""', b'Ace"'), UNREADABLE),
    ],
)
def test_whole_files_that_are_refused(
    damage: Callable[[bytes], bytes], message: str, uploader: Uploader
) -> None:
    answer = uploader.send_file(damage(uploader.bif(uploader.line("A", "N-1", "1.00"))))
    assert "<Success>false</Success>" in answer
    assert f"<ErrorMessage>{message}</ErrorMessage>" in answer
    assert uploader.told(answer) == ("0", "0", [])
    assert uploader.sandbox.imported() == []
    assert uploader.view("N-1")["Success"] == "false"
    assert len(list(uploader.sandbox.uploads.iterdir())) == 1


def test_a_file_of_another_format_has_its_lines_counted(uploader: Uploader) -> None:
    assert uploader.told(uploader.send_file(b"01234\n\n56789\n")) == ("2", "0", [])
    assert uploader.sandbox.imported() == []


def test_what_was_imported_is_remembered(uploader: Uploader) -> None:
    uploader.send(uploader.line("A", "N-1", "88.10", BalanceDue="80.10"))
    uploader.send(uploader.line("D", "N-9"))
    entries = uploader.sandbox.imported()
    assert entries[0] == {
        "receipt_id": "RCPT000001",
        "file_name": "example.bif",
        "line_no": 2,
        "record_type": "A",
        "invoice_number": "N-1",
        "account_number": "0012345",
        "total_amount_due": Decimal("88.10"),
        "balance_due": Decimal("80.10"),
        "accepted": True,
        "message": "",
        "at": "2026-11-10T00:00:00Z",
    }
    wanted = ("RCPT000002", False, "Invoice does not exist")
    assert tuple(entries[1][name] for name in ("receipt_id", "accepted", "message")) == wanted
    shown = json.loads(uploader.caller.get("/_sandbox/imported").body)
    money = ("total_amount_due", "balance_due")
    assert shown == [entry | {name: str(entry[name]) for name in money} for entry in entries]


def test_zeep_reads_the_line_errors(captured: Sandbox, uploader: Uploader) -> None:
    client: Any = zeep.Client(f"{captured.url}CloudInvoicing.asmx?wsdl")  # type: ignore[no-untyped-call]
    content = uploader.bif(uploader.line("A", "N-1", "1.00"), uploader.line("R", "N-5"))
    key = {"BillerGUID": BILLER_GUID, "WebServiceKey": WEB_SERVICE_KEY}
    answer = client.service.UploadInvoice(Req=key | {"FileName": "a.bif", "FileData": content})
    (error,) = answer.Errors.UploadError
    assert (answer.Success, answer.RecordsAccepted, answer.RecordsRejected) == (True, 1, 1)
    assert (error.LineNumber, error.InvoiceNumber, error.Message) == (3, "N-5", "Invoice does not exist")


def test_look_ups_can_be_stale(uploader: Uploader) -> None:
    sandbox, line, view = uploader.sandbox, uploader.line, uploader.view
    sandbox.view_delay = timedelta(minutes=10)
    assert sandbox.view_delay == timedelta(minutes=10)
    uploader.send(line("A", "N-1", "1.00"), line("A", "INV-0001", "7.00"))
    for minutes, found, balance in ((0, "false", "0.00"), (9, "false", "0.00"), (10, "true", "7.00")):
        sandbox.clock(CAPTURED_NOW + timedelta(minutes=minutes))
        assert view("N-1")["Success"] == found
        assert view("INV-0001")["BalanceDue"] == balance
    assert uploader.told(uploader.send(line("D", "N-1"))) == ("1", "0", [])
    assert view("N-1")["Success"] == "true"
    gone = ("0", "1", [("2", "N-1", "Invoice does not exist")])
    assert uploader.told(uploader.send(line("R", "N-1"))) == gone
    sandbox.clock(CAPTURED_NOW + timedelta(minutes=20))
    assert view("N-1")["Success"] == "false"


def test_quirks(uploader: Uploader) -> None:
    sandbox, line = uploader.sandbox, uploader.line
    uploader.send(line("A", "N-1", "5.00"), line("A", "N-2", "6.00"))
    sandbox.quirk("N-1", "keep_open")
    sandbox.quirk("N-2", "keep_open")
    sandbox.quirk("N-3", "reject", "Customer record is locked")
    answer = uploader.send(line("R", "N-1"), line("D", "N-2"), line("A", "N-3", "1.00"))
    assert uploader.told(answer) == ("2", "1", [("4", "N-3", "Customer record is locked")])
    assert [uploader.view(number)["BalanceDue"] for number in ("N-1", "N-2")] == ["5.00", "6.00"]
    with pytest.raises(ValueError, match="reject, keep_open"):
        sandbox.quirk("N-1", "melt")


def test_quirks_of_a_carrier(tmp_path: Path) -> None:
    folder = write_captured(tmp_path)
    odd = {"invoice_number": ["N-1"], "quirk": ["reject"], "message": [None]}
    pl.DataFrame(odd, schema_overrides={"message": pl.String}).write_parquet(folder / "ic_quirks.parquet")
    assert CarrierData(folder).quirks() == {"N-1": ("reject", "")}


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that has none of the carrier's invoices, and another BID."""
    folder = write_captured(tmp_path / "carrier")
    with Sandbox(folder, now=CAPTURED_NOW, sftp_port=None, empty=True, bid="77") as sandbox:
        yield sandbox


def test_nothing_but_what_was_uploaded(bare: Sandbox, uploader: Uploader) -> None:
    other = type(uploader)(type(uploader.caller)(bare))
    assert uploader.view("INV-0001")["Success"] == "true"
    assert other.view("INV-0001")["Success"] == "false"
    assert other.told(other.send(other.line("R", "INV-0001"), bid="77"))[1] == "1"
    assert other.told(other.send(other.line("A", "INV-0001", "3.00"), bid="77"))[0] == "1"
    assert other.view("INV-0001")["BalanceDue"] == "3.00"


def test_another_carrier_begins_afresh(uploader: Uploader) -> None:
    uploader.send(uploader.line("A", "N-1", "1.00"))
    cloud = uploader.sandbox.exchange.cloud
    cloud.data = CarrierData(cloud.data.folder)
    assert uploader.sandbox.imported() == []
    assert uploader.view("N-1")["Success"] == "false"


def test_many_at_once(uploader: Uploader) -> None:
    line = uploader.line

    def upload(worker: int) -> list[str]:
        lines = [(line("A", f"N-{worker}", "1.00"), line("A", f"M-{n}", "1.00")) for n in range(10)]
        return [uploader.send(*pair) for pair in lines]

    with ThreadPoolExecutor(6) as pool:
        answers = [answer for group in pool.map(upload, range(6)) for answer in group]
    assert len({re.findall(r"RCPT\d+", answer)[0] for answer in answers}) == 60
    entries = uploader.sandbox.imported()
    assert len(entries) == 120
    assert len({(entry["receipt_id"], entry["line_no"]) for entry in entries}) == 120


def test_a_hundred_thousand_invoices_are_known_by_number(tmp_path: Path) -> None:
    folder = write_captured(tmp_path)
    one = pl.read_parquet(folder / "ic_invoices.parquet")
    number = pl.format("INV-{}", pl.int_range(pl.len())).alias("invoice_number")
    pl.concat([one] * 100_000).with_columns(number).write_parquet(folder / "ic_invoices.parquet")
    data = CarrierData(folder)
    found = [data.invoice(f"INV-{n}") for n in range(0, 100_000, 10)]
    assert all(row is not None and row["account_number"] == "0012345" for row in found)
    assert data.invoice("INV-100000") is None
    data._tables["ic_invoices"] = one  # another table, another index
    assert data.invoice("INV-0001") is not None
    assert data.invoice("INV-99999") is None
