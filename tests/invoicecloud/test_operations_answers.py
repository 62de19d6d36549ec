"""Answers of UploadInvoice and ViewInvoiceByInvoiceNumber, from captured and from damaged bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.archive import safe_text
from tasks.errors import BadAnswer, CredentialError, IcflowsError, RequestRefused, TruncatedAnswer
from tasks.invoicecloud.answers import _safe, read_upload, read_view

Captured = Callable[[str], bytes]
UPLOAD, VIEW = "UploadInvoice.soap{}.response", "ViewInvoiceByInvoiceNumber{}.soap11.response"
ERROR = b"<UploadError><LineNumber>%d</LineNumber><InvoiceNumber>%s</InvoiceNumber><Message>%s</Message></UploadError>"


def as_soap12(body: bytes) -> bytes:
    return body.replace(
        b"http://schemas.xmlsoap.org/soap/envelope/", b"http://www.w3.org/2003/05/soap-envelope"
    )


def changed(body: bytes, old: bytes, new: bytes) -> bytes:
    assert body.count(old) >= 1
    return body.replace(old, new)


@pytest.mark.parametrize(("version", "receipt"), [("11", "RCPT000001"), ("12", "RCPT000002")])
def test_captured_uploads(version: str, receipt: str, captured: Captured) -> None:
    answer = read_upload(captured(UPLOAD.format(version)), "A1")
    assert (answer.success, answer.receipt_id, answer.accepted, answer.rejected) == (True, receipt, 1, 0)
    assert (answer.message, answer.answer_id, answer.errors.height) == (None, "A1", 0)
    assert answer.errors.schema == {"line_no": pl.Int64, "invoice_number": pl.String, "message": pl.String}


@pytest.mark.parametrize("soap", [lambda body: body, as_soap12])
def test_captured_views(soap: Callable[[bytes], bytes], captured: Captured) -> None:
    view = read_view(soap(captured(VIEW.format(""))), "INV-0001", "not found")
    assert (view.found, view.account_number, view.invoice_date) == (True, "0012345", date(2026, 10, 20))
    assert (view.total_amount_due, view.balance_due) == (Decimal("120.50"), Decimal("0.00"))
    assert view.autopay_collection_date is None
    missing = read_view(soap(captured(VIEW.format(".notfound"))), "NOPE", "not found")
    assert (missing.found, missing.balance_due, missing.message) == (False, None, "Invoice not found")


def test_line_errors(captured: Captured) -> None:
    errors = b"".join([ERROR % (7, b"INV-7", b"too old"), ERROR % (9, b"", b"")])
    body = changed(captured(UPLOAD.format("11")), b"<Errors />", b"<Errors>" + errors + b"</Errors>")
    body = changed(body, b"<RecordsRejected>0", b"<RecordsRejected>2")
    assert read_upload(body, "A1").errors.rows() == [(7, "INV-7", "too old"), (9, None, None)]


def test_a_hundred_thousand_line_errors(captured: Captured) -> None:
    errors = b"".join(ERROR % (n, b"INV-%d" % n, b"refused") for n in range(2, 100_002))
    body = changed(captured(UPLOAD.format("11")), b"<Errors />", b"<Errors>" + errors + b"</Errors>")
    answer = read_upload(changed(body, b"<RecordsRejected>0", b"<RecordsRejected>100000"), "A1")
    assert answer.errors["line_no"].sum() == sum(range(2, 100_002))
    assert answer.errors["invoice_number"][-1] == "INV-100001"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<RecordsAccepted>1", b"<RecordsAccepted>-1"),
        (b"<RecordsAccepted>1", b"<RecordsAccepted>1.5"),
        (b"<RecordsAccepted>1", b"<RecordsAccepted>"),
        (b"<RecordsAccepted>1</RecordsAccepted>", b""),
        (b"<RecordsRejected>0</RecordsRejected>", b""),
        (b"<RecordsRejected>0", b"<RecordsRejected>-3"),
        (b"<Success>true", b"<Success>maybe"),
        (b"<Success>true", b"<Success>"),
        (b"<Success>true</Success>", b""),
        (b"<Success>true</Success>", b"<Success>true</Success><Success>false</Success>"),
        (b"<Success>true</Success>", b"<Success><b>true</b></Success>"),
        (b"<Success>true", b"<Success>false"),
        (b"<Errors />", b"<Errors>" + ERROR % (1, b"A", b"B") + b"</Errors>"),
        (b"<Errors />", b"<Errors><Other /></Errors>"),
        (b"<Errors />", b"<Errors /><Errors />"),
        (b"<RecordsRejected>0</RecordsRejected><Errors />", b"<RecordsRejected>1</RecordsRejected><Errors>"
         b"<UploadError><LineNumber>x</LineNumber></UploadError></Errors>"),
        (b"UploadInvoiceResponse", b"OtherResponse"),
        (b"/CloudInvoicing/", b"/CloudReporting/"),
        (b"</soap:Body>", b"<Extra /></soap:Body>"),
    ],
)  # fmt: skip
def test_a_doubtful_upload_is_no_answer(old: bytes, new: bytes, captured: Captured) -> None:
    with pytest.raises(BadAnswer):
        read_upload(changed(captured(UPLOAD.format("11")), old, new), "A1")


def test_a_key_refused_in_words(captured: Captured) -> None:
    body = captured(UPLOAD.format("11"))
    body = changed(
        body,
        b"<Success>true</Success>",
        b"<Success>false</Success><ErrorMessage>Invalid WebServiceKey</ErrorMessage>",
    )
    with pytest.raises(CredentialError):
        read_upload(changed(body, b"<RecordsAccepted>1", b"<RecordsAccepted>0"), "A1")


def test_a_fault_is_raised(captured: Captured) -> None:
    body = re.sub(
        rb"<UploadInvoiceResponse.*</UploadInvoiceResponse>",
        b"<soap:Fault><faultcode>soap:Server</faultcode><faultstring>Object reference</faultstring></soap:Fault>",
        captured(UPLOAD.format("11")),
    )
    with pytest.raises(RequestRefused):
        read_upload(body, "A1")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<InvoiceNumber>INV-0001", b"<InvoiceNumber>INV-0002"),
        (b"<InvoiceNumber>INV-0001", b"<InvoiceNumber>inv-0001"),
        (b"<InvoiceNumber>INV-0001</InvoiceNumber>", b""),
        (b"<BalanceDue>0.00", b"<BalanceDue>0,00"),
        (b"<BalanceDue>0.00", b"<BalanceDue>0.001"),
        (b"<BalanceDue>0.00", b"<BalanceDue>1e2"),
        (b"<BalanceDue>0.00</BalanceDue>", b""),
        (b"<TotalAmountDue>120.50", b"<TotalAmountDue>NaN"),
        (b"<InvoiceDate>2026-10-20", b"<InvoiceDate>2026-13-20"),
        (b"<InvoiceDate>2026-10-20T00:00:00", b"<InvoiceDate>10/20/2026"),
        (b"<AllowPartialPayments>true", b"<AllowPartialPayments>yes"),
    ],
)
def test_a_doubtful_view_is_no_answer(old: bytes, new: bytes, captured: Captured) -> None:
    with pytest.raises(BadAnswer):
        read_view(changed(captured(VIEW.format("")), old, new), "INV-0001", "not found")


def test_money_of_four_decimals_and_nil_are_read(captured: Captured) -> None:
    body = changed(captured(VIEW.format("")), b"120.50", b"120.5000")
    body = changed(body, b"<MinimumAmountDue>0</MinimumAmountDue>", b'<MinimumAmountDue xsi:nil="true" />')
    view = read_view(body, "INV-0001", "not found")
    assert (view.total_amount_due, view.minimum_amount_due) == (Decimal("120.50"), None)


def accepted(body: bytes, upload: bool) -> bool:
    try:
        read_upload(body, "A1") if upload else read_view(body, "INV-0001", "not found")
    except IcflowsError:
        return False
    return True


@pytest.mark.parametrize("name", [UPLOAD.format("11"), UPLOAD.format("12"), VIEW.format("")])
def test_no_truncation_is_an_answer(name: str, captured: Captured) -> None:
    body = captured(name).rstrip()
    upload = name.startswith("Upload")
    assert accepted(body, upload)
    assert [cut for cut in range(len(body)) if accepted(body[:cut], upload)] == []


@pytest.mark.parametrize("name", [UPLOAD.format("11"), VIEW.format("")])
def test_damage_is_refused_or_spelled_out(name: str, captured: Captured) -> None:
    """A flipped bit may give another number, never one that the bytes do not spell."""
    body = captured(name).rstrip()
    dice = random.Random(name)
    refused = 0
    for _ in range(400):
        place = dice.randrange(len(body))
        hurt = body[:place] + bytes([body[place] ^ 1 << dice.randrange(8)]) + body[place + 1 :]
        try:
            if name.startswith("Upload"):
                told = str(read_upload(hurt, "A1").accepted)
                spelled = [n.decode() for n in re.findall(rb"<RecordsAccepted>0*(\d+)<", hurt)]
            else:
                told = str(read_view(hurt, "INV-0001", "not found").balance_due)
                spelled = [n.decode() for n in re.findall(rb"<BalanceDue>([\d.-]+)<", hurt)] + ["None"]
            assert told in spelled
        except IcflowsError:
            refused += 1
    assert refused > 100


HOSTILE = [
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
    b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd">',
    b'<?xml version="1.0" encoding="utf-16"?>',
    b'<?xml version="1.0" encoding="latin-1"?>',
]


@pytest.mark.parametrize("prolog", HOSTILE)
def test_hostile_prologs_are_refused(prolog: bytes, captured: Captured) -> None:
    body = captured(UPLOAD.format("11"))
    body = prolog + body[body.index(b"?>") + 2 :]
    with pytest.raises(BadAnswer) as caught:
        read_upload(changed(body, b"RCPT000001", b"&x;" if b"ENTITY" in prolog else b"R"), "A1")
    assert caught.value.reason in ("dtd", "encoding")


def test_nothing_and_html_are_no_answer() -> None:
    with pytest.raises(TruncatedAnswer):
        read_upload(b"", "A1")
    with pytest.raises(CredentialError):
        read_upload(b"<html><body>Sign in</body></html>", "A1")
    with pytest.raises(BadAnswer):
        read_view(b"<a />", "INV-0001", "not found")


@given(st.text(st.characters(codec="utf-8", max_codepoint=0x2FF), max_size=80))
def test_messages_are_masked_as_everywhere(text: str) -> None:
    shown = pl.select(_safe(pl.lit(text, pl.String))).item()
    assert shown == safe_text(text)
