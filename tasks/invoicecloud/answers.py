"""What IC says to an upload and to a look, read from proven bytes. Nothing doubtful passes for an answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl
from lxml import etree

from tasks.archive import safe_text
from tasks.errors import BadAnswer, CredentialError, ServerTrouble
from tasks.invoicecloud.body import tree
from tasks.invoicecloud.envelope import CREDENTIALS, PASSING, child, local, result_of

UPLOAD, LOOK, SERVICE = "UploadInvoice", "ViewInvoiceByInvoiceNumber", "CloudInvoicing"
ERRORS = {"line_no": pl.Int64, "invoice_number": pl.String, "message": pl.String}
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_AMOUNT = re.compile(r"-?\d{1,16}(\.\d{1,2}0*)?")
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})?)?")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class UploadAnswer:
    """What IC said to one file. `errors`: line_no (i64, as IC counts), invoice_number, message (safe to show).

    `answer_id` names the body in the archive. Whether the counts cover the file is the caller's to compare.
    """

    success: bool
    receipt_id: str | None
    accepted: int
    rejected: int
    errors: pl.DataFrame
    message: str | None
    answer_id: str


@dataclass(frozen=True)
class InvoiceView:
    """What IC shows of one invoice. `found`: yes, a definite no, or None: neither. Amounts in USD."""

    found: bool | None
    invoice_number: str
    account_number: str | None = None
    invoice_date: date | None = None
    due_date: date | None = None
    autopay_collection_date: date | None = None
    total_amount_due: Decimal | None = None
    balance_due: Decimal | None = None
    minimum_amount_due: Decimal | None = None
    allow_partial: bool | None = None
    message: str | None = None


def read_upload(data: bytes, answer_id: str) -> UploadAnswer:
    """The answer to UploadInvoice. Raises CredentialError (refused unread); anything else leaves the fate open."""
    result = _result(data, UPLOAD)
    success, words = _success(result)
    accepted = _count(result, "RecordsAccepted", needed=success)
    rejected = _count(result, "RecordsRejected", needed=success)
    errors = _errors(result)
    if not success:
        if CREDENTIALS.search(words):
            raise CredentialError(f"IC refused BillerGUID or WebServiceKey: {words}")
        if PASSING.search(words):
            raise ServerTrouble(f"IC answered Success=false: {words}", reason="success_false")
    if (accepted and not success) or (errors.height and not rejected):
        raise BadAnswer("the answer contradicts itself: flag, counts and errors", reason="contradiction")
    return UploadAnswer(
        success, _text(result, "ReceiptID") or None, accepted, rejected, errors, words or None, answer_id
    )


def read_view(data: bytes, asked: str, not_found: str) -> InvoiceView:
    """The answer to ViewInvoiceByInvoiceNumber for `asked`; `not_found`: a pattern of IC's words for a definite no.

    Words that match it but also speak of the key are no definite no: "BillerGUID not found" says nothing of the
    invoice. Raises CredentialError, ServerTrouble, BadAnswer (also for another invoice than asked).
    """
    result = _result(data, LOOK)
    success, words = _success(result)
    number = _text(result, "InvoiceNumber")
    if number != asked and (success or number):
        raise BadAnswer("the answer is about another invoice than asked", reason="other_invoice")
    if not success:
        return InvoiceView(_no(words, not_found), asked, message=words or None)
    total, balance = _money(result, "TotalAmountDue"), _money(result, "BalanceDue")
    if total is None or balance is None:
        raise BadAnswer("the answer has no amount", reason="no_amount")
    return InvoiceView(
        True, asked, _text(result, "AccountNumber") or None, _day(result, "InvoiceDate"),
        _day(result, "InvoiceDueDate"), _day(result, "AutoPayCollectionDate"), total, balance,
        _money(result, "MinimumAmountDue"), _flag(result, "AllowPartialPayments"), words or None,
    )  # fmt: skip


def _no(words: str, not_found: str) -> bool | None:
    about_key, definite = CREDENTIALS.search(words), re.search(not_found, words, re.IGNORECASE)
    if about_key and not definite:
        raise CredentialError(f"IC refused BillerGUID or WebServiceKey: {words}")
    return False if definite and not about_key else None


def _result(data: bytes, operation: str) -> etree._Element:
    root = tree(data)
    body = child(root, "Body")
    if body is not None and len(body) > 1:
        raise BadAnswer("the envelope holds more than one answer", reason="no_result")
    return result_of(root, operation, SERVICE)


def _success(result: etree._Element) -> tuple[bool, str]:
    success = _flag(result, "Success")
    if success is None:
        raise BadAnswer("the answer says neither success nor failure", reason="no_result")
    return success, safe_text(_text(result, "ErrorMessage") or "", 200)


def _only(parent: etree._Element, name: str) -> etree._Element | None:
    found = [part for part in parent if local(part.tag) == name]
    if len(found) > 1:
        raise BadAnswer(f"the answer tells {name} twice", reason="contradiction")
    return found[0] if found and found[0].get(_NIL) not in ("true", "1") else None


def _text(parent: etree._Element, name: str) -> str | None:
    found = _only(parent, name)
    if found is None:
        return None
    if len(found):
        raise BadAnswer(f"{name} is no plain value", reason="bad_value")
    return found.text or ""


def _read(parent: etree._Element, name: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
    text = _text(parent, name)
    match = None if text is None else pattern.fullmatch(text)
    if text is not None and match is None:
        raise BadAnswer(f"{name} cannot be read", reason="bad_value")
    return match


def _flag(parent: etree._Element, name: str) -> bool | None:
    match = _read(parent, name, re.compile("|".join(_FLAGS)))
    return _FLAGS[match[0]] if match else None


def _count(parent: etree._Element, name: str, *, needed: bool) -> int:
    match = _read(parent, name, re.compile("[0-9]{1,10}"))
    if match is None and needed:
        raise BadAnswer(f"the answer has no {name}", reason="bad_value")
    return int(match[0]) if match else 0


def _money(parent: etree._Element, name: str) -> Decimal | None:
    match = _read(parent, name, _AMOUNT)
    return Decimal(match[0]).quantize(Decimal("0.01")) if match else None


def _day(parent: etree._Element, name: str) -> date | None:
    """.NET's unset date is 0001-01-01."""
    match = _read(parent, name, _MOMENT)
    if match is None or match[1].startswith("0001"):
        return None
    try:
        return date.fromisoformat(match[1])
    except ValueError:
        raise BadAnswer(f"{name} cannot be read", reason="bad_value") from None


def _errors(result: etree._Element) -> pl.DataFrame:
    """As many as lines were refused, so column by column."""
    found = _only(result, "Errors")
    if found is None or not len(found):
        return pl.DataFrame(schema=ERRORS)
    if {local(part.tag) for part in found} != {"UploadError"}:
        raise BadAnswer("the list of errors holds something else", reason="bad_value")
    lines = pl.Series([part.findtext("{*}LineNumber") for part in found], dtype=pl.String)
    if not lines.str.contains(r"^[0-9]{1,10}$").fill_null(False).all():
        raise BadAnswer("an error names no line", reason="bad_value")
    frame = pl.DataFrame({
        "line_no": lines.cast(pl.Int64),
        "invoice_number": pl.Series([part.findtext("{*}InvoiceNumber") for part in found], dtype=pl.String),
        "message": pl.Series([part.findtext("{*}Message") for part in found], dtype=pl.String),
    })  # fmt: skip
    return frame.with_columns(_safe(pl.col("message"))).select(
        pl.col(name).replace("", None).cast(kind) if kind == pl.String else pl.col(name)
        for name, kind in ERRORS.items()
    )


def _safe(text: pl.Expr) -> pl.Expr:
    """tasks.archive.safe_text over a column."""
    one_line = text.str.replace_all(r"[^\x20-\x7e\x{a0}-\x{ffff}]+", " ").str.strip_chars()
    masked = one_line.str.replace_all(r"[\w\p{N}.+-]+@[\w\p{N}.-]+", "***@***")
    return masked.str.replace_all(r"\d{3,}(\d{4})", "***$1").str.slice(0, 300)
