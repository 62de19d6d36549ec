"""The Biller Invoice File as InvoiceCloud reads it here: header, records, trailer, parted by `|`.

The sandbox's own reading of the assumed format; it shares nothing with the code that writes such files.

    HDR|1|BID|BillerGUID|FileID|CreatedAt
    A|account|invoice|replaces|policy|type|date|due|total|balance|minimum|draw|partial|name|...|image
    TRL|FileID|records|A|R|D|sum of totals|sum of balances
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation

FIELDS = (
    "RecordType", "AccountNumber", "InvoiceNumber", "ReplacesInvoiceNumber", "PolicyNumber", "InvoiceTypeID",
    "InvoiceDate", "InvoiceDueDate", "TotalAmountDue", "BalanceDue", "MinimumAmountDue",
    "AutoPayCollectionDate", "AllowPartialPayments", "CustomerName", "Address1", "Address2", "City", "State",
    "Zip", "Phone", "EmailAddress", "AgentCode", "InvoiceFormatGUID", "PDFLink", "ImageName",
)  # fmt: skip
LETTERS = ("A", "R", "D")
NOT_READABLE, NOT_COMPLETE = "File is not readable", "File is not complete"
_AT = {name: place for place, name in enumerate(FIELDS)}
_TOTAL, _BALANCE = _AT["TotalAmountDue"], _AT["BalanceDue"]
_HEADER = b"HDR|"


class UnfitFile(Exception):
    """The file as a whole is refused; the text is what the answer says."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line between header and trailer; `line` counts from 1, the header too. `fault` is what is wrong."""

    line: int
    kind: str
    account_number: str
    invoice_number: str
    total: Decimal | None = None
    balance: Decimal | None = None
    minimum: Decimal | None = None
    invoice_date: date | None = None
    due_date: date | None = None
    autopay_collection_date: date | None = None
    allow_partial: bool = False
    fault: str = ""


def is_bif(content: bytes) -> bool:
    """Whether the file claims to be one."""
    return content.startswith(_HEADER)


def read(content: bytes, bid: str) -> list[Record]:
    """The records of a file of the biller `bid`. Raises UnfitFile."""
    try:
        text = io.StringIO(content.decode("utf-8"), newline="")
        lines = csv.reader(text, delimiter="|", quotechar='"', doublequote=True, strict=True)
        numbered = [(lines.line_num, line) for line in lines if line]
    except (UnicodeDecodeError, csv.Error):
        raise UnfitFile(NOT_READABLE) from None
    header, trailer = numbered[0][1], numbered[-1][1]
    if len(header) < 5:
        raise UnfitFile(NOT_READABLE)
    if header[2] != bid:
        raise UnfitFile("Invalid BID")
    rows = [line for _, line in numbered[1:-1]]
    if trailer[0] != "TRL" or not _complete(header[4], trailer, rows):
        raise UnfitFile(NOT_COMPLETE)
    return [_record(number, line) for number, line in numbered[1:-1]]


def _complete(file_id: str, trailer: list[str], rows: list[list[str]]) -> bool:
    """The trailer repeats the file's id and tells how many records there are, how many of each, and the sums."""
    kinds = [row[0] for row in rows]
    counted = [str(len(rows)), *(str(kinds.count(letter)) for letter in LETTERS)]
    if trailer[1:6] != [file_id, *counted] or len(trailer) < 8:
        return False
    try:
        return all(
            Decimal(trailer[place]) == sum(Decimal(row[column]) for row in rows if len(row) > column)
            for place, column in ((6, _TOTAL), (7, _BALANCE))
        )
    except InvalidOperation:
        return True  # an amount that is none is an error of its line


def _record(number: int, line: list[str]) -> Record:
    """A line as a record; what cannot be read is told in `fault`."""
    kind, account, invoice = [*line, "", ""][:3]
    bare = Record(number, kind, account, invoice)
    if len(line) != len(FIELDS):
        return _with_fault(bare, f"{len(FIELDS)} fields expected, {len(line)} found")
    if kind not in LETTERS:
        return _with_fault(bare, "Unknown record type")
    if not account:
        return _with_fault(bare, "Account number is missing")
    if not invoice:
        return _with_fault(bare, "Invoice number is missing")
    if kind == "A" and not line[_AT["InvoiceDueDate"]]:
        return _with_fault(bare, "Due date is missing")
    try:
        return Record(
            number,
            kind,
            account,
            invoice,
            Decimal(line[_TOTAL]),
            Decimal(line[_BALANCE]),
            _optional_money(line[_AT["MinimumAmountDue"]]),
            _optional_date(line[_AT["InvoiceDate"]]),
            _optional_date(line[_AT["InvoiceDueDate"]]),
            _optional_date(line[_AT["AutoPayCollectionDate"]]),
            line[_AT["AllowPartialPayments"]] == "Y",
        )
    except InvalidOperation:
        return _with_fault(bare, "Invalid amount")
    except ValueError:
        return _with_fault(bare, "Invalid date")


def _with_fault(bare: Record, fault: str) -> Record:
    return Record(bare.line, bare.kind, bare.account_number, bare.invoice_number, fault=fault)


def _optional_money(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _optional_date(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
