"""The operations that are no reports: UploadInvoice, ViewInvoiceByInvoiceNumber, ViewCustomerRecord."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import date, datetime

from sandbox.imports import Outcome
from sandbox.render import escape_text
from sandbox.soap import SoapRefusal
from sandbox.wire_schema import NAMESPACE, SERVICES

_UNSET_DATE = "0001-01-01T00:00:00"


def result(operation: str, content: str) -> str:
    """`content` inside `<OpResponse><OpResult>`."""
    space = NAMESPACE.format(service=SERVICES[operation])
    return f'<{operation}Response xmlns="{space}"><{operation}Result>{content}</{operation}Result></{operation}Response>'


def file_data(parameters: Mapping[str, str]) -> bytes:
    """The uploaded bytes; SoapRefusal when they are no Base-64."""
    try:
        return base64.b64decode("".join(parameters.get("FileData", "").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SoapRefusal(
            "Client",
            "System.Web.Services.Protocols.SoapException: Server was unable to read request. ---> "
            "System.FormatException: Invalid character in a Base-64 string.",
        ) from error


def upload(outcome: Outcome) -> str:
    """The receipt of an upload, with the lines that were refused."""
    if outcome.refusal:
        return upload_refused(outcome.refusal)
    lines = "".join(
        f"<UploadError><LineNumber>{error.line_no}</LineNumber>"
        f"{_text('InvoiceNumber', error.invoice_number)}{_text('Message', error.message)}</UploadError>"
        for error in outcome.errors
    )
    return result(
        "UploadInvoice",
        f"<Success>true</Success><ReceiptID>{outcome.receipt_id}</ReceiptID>"
        f"<RecordsAccepted>{outcome.accepted}</RecordsAccepted>"
        f"<RecordsRejected>{len(outcome.errors)}</RecordsRejected>"
        + (f"<Errors>{lines}</Errors>" if lines else "<Errors />"),
    )


def upload_refused(message: str) -> str:
    """An upload that was not taken."""
    return result(
        "UploadInvoice",
        f"<Success>false</Success><ErrorMessage>{escape_text(message)}</ErrorMessage>"
        "<RecordsAccepted>0</RecordsAccepted><RecordsRejected>0</RecordsRejected>",
    )


def invoice(found: Mapping[str, object] | None, message: str) -> str:
    """An invoice, or Success=false with `message` and .NET's unset values."""
    row = found or {}
    head = "<Success>true</Success>"
    if found is None:
        head = f"<Success>false</Success><ErrorMessage>{escape_text(message)}</ErrorMessage>"
    return result(
        "ViewInvoiceByInvoiceNumber",
        head
        + _text("AccountNumber", row.get("account_number"))
        + _text("InvoiceNumber", row.get("invoice_number"))
        + _moment("InvoiceDate", row.get("invoice_date"))
        + _moment("InvoiceDueDate", row.get("due_date"))
        + _moment("AutoPayCollectionDate", row.get("autopay_collection_date"))
        + _money("TotalAmountDue", row.get("total_amount_due"))
        + _money("BalanceDue", row.get("balance_due"))
        + _money("MinimumAmountDue", row.get("minimum_amount_due"))
        + _flag("AllowPartialPayments", row.get("allow_partial")),
    )


def customer(found: Mapping[str, object] | None) -> str:
    """A customer record; an unknown account is an empty response element, not a fault."""
    if found is None:
        space = NAMESPACE.format(service=SERVICES["ViewCustomerRecord"])
        return f'<ViewCustomerRecordResponse xmlns="{space}" />'
    return result(
        "ViewCustomerRecord",
        _text("CustomerID", found.get("customer_id"))
        + _text("AccountNumber", found.get("account_number"))
        + _text("CustomerName", found.get("customer_name"))
        + _text("EmailAddress", found.get("email"))
        + _flag("AutoPay", found.get("autopay"))
        + _flag("PaperInvoices", found.get("paper_invoices"))
        + _flag("Registered", found.get("registered"))
        + _moment("RegistrationDate", found.get("registration_date"))
        + _text("LoginName", found.get("login_name")),
    )


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    return f"<{name}>{escape_text(str(value))}</{name}>" if value != "" else f"<{name} />"


def _moment(name: str, value: object) -> str:
    shown = _UNSET_DATE
    if isinstance(value, datetime):
        shown = value.replace(tzinfo=None).isoformat(timespec="seconds")
    elif isinstance(value, date):
        shown = f"{value.isoformat()}T00:00:00"
    return f"<{name}>{shown}</{name}>"


def _money(name: str, value: object) -> str:
    return f"<{name}>{0 if value is None else value}</{name}>"


def _flag(name: str, value: object) -> str:
    return f"<{name}>{'true' if value else 'false'}</{name}>"
