"""Answers captured from a real ASP.NET server, read to the exact values."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from lxml import etree
from polars.testing import assert_frame_equal

from checks.contracts import FEEDS
from checks.describe import polars_schema
from sandbox import Sandbox
from tasks.errors import CredentialError, IcflowsError

GUIDS = [f"00000000-0000-0000-0000-000000abc00{n}" for n in (1, 2, 3, 4)]
FORMS = [
    ("payments", "PaymentReportingSOAP", "PaymentReportingDataSetFromGMT"),
    ("settlements", "BillerSettledBatchDetailSOAP", "BillerSettledBatchDetailDataSet"),
    ("ach_rejects", "ACHRejectReportingSOAP", "ACHRejectReportingDataSetFromGMT"),
]
VERSIONS = {
    "PaymentReportingSOAP": ("soap11", "soap12"),
    "PaymentReportingDataSetFromGMT": ("soap11", "soap12"),
}
PAYMENT_ANSWERS = [
    (form, version)
    for form in ("PaymentReportingSOAP", "PaymentReportingDataSetFromGMT")
    for version in ("soap11", "soap12")
]


def _form(operation: str) -> str:
    return "dataset" if "DataSet" in operation else "soap"


@pytest.mark.parametrize(("operation", "version"), PAYMENT_ANSWERS)
def test_payments(operation: str, version: str, read: Any, captured: Any) -> None:
    report = read(captured(f"{operation}.{version}.response"), "payments", _form(operation))
    rows = report.rows
    assert (report.rows_in, report.unread.height, report.warnings) == (4, 0, [])
    assert dict(zip(rows.columns[1:], rows.dtypes[1:], strict=True)) == polars_schema(FEEDS["payments"])
    assert rows["row_no"].to_list() == [1, 2, 3, 4]
    assert rows["payment_guid"].to_list() == GUIDS
    assert rows["payment_date"].to_list() == [
        datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC),
        datetime(2026, 11, 1, 6, tzinfo=UTC),
        datetime(2026, 11, 1, 7, 30, tzinfo=UTC),
        datetime(2026, 11, 1, 8, 15, 30, 123_000, tzinfo=UTC),
    ]
    assert rows["account_number"].to_list() == ["0012345", "0012346", "0012347", "0012348"]
    assert rows["customer_name"].to_list() == ["Ana Díaz", "O'Brien & Sons <LLC>", "Zoë  Ålund", "Lee, J."]
    assert rows["payment_amount"].to_list() == [Decimal(t) for t in ("120.50", "88.00", "45.10", "999.99")]
    assert rows["convenience_fee"].to_list() == [Decimal("2.95"), None, Decimal("2.95"), None]
    assert rows["approved"].to_list() == [True, True, False, True]
    assert rows["payment_type_id"].to_list() == ["1", "2", "1", "2"]
    assert rows["tender"].to_list() == ["CARD", "EFT", "CARD", "EFT"]
    assert rows["card_type"].to_list() == ["VISA", None, "MC", None]
    assert rows["payment_source"].to_list() == ["PORTAL_OTP", "AUTOPAY", "PORTAL_OTP", "AGENTCONNECT"]
    assert rows["biller_reference"].to_list() == [None, None, None, "POL-77"]
    assert rows["processor_reference"].to_list() == ["CH0001", "CH0002", None, "CH0004"]
    assert rows["agent_code"].to_list() == [None, None, None, "AG-0042"]
    assert rows["remote_ip"].null_count() == 4


@pytest.mark.parametrize(("feed", "typed", "dataset"), FORMS)
def test_both_forms_give_equal_frames(feed: str, typed: str, dataset: str, read: Any, captured: Any) -> None:
    one = read(captured(f"{typed}.soap11.response"), feed, "soap")
    other = read(captured(f"{dataset}.soap11.response"), feed, "dataset")
    assert one.rows.height > 0
    assert_frame_equal(one.rows, other.rows)


@pytest.mark.parametrize("operation", ["PaymentReportingSOAP", "PaymentReportingDataSetFromGMT"])
def test_both_soap_versions_give_equal_frames(operation: str, read: Any, captured: Any) -> None:
    one, other = (
        read(captured(f"{operation}.{v}.response"), "payments", _form(operation))
        for v in ("soap11", "soap12")
    )
    assert_frame_equal(one.rows, other.rows)


@pytest.mark.parametrize(("operation", "version"), PAYMENT_ANSWERS)
def test_an_empty_report_has_no_rows_and_no_warning(
    operation: str, version: str, read: Any, captured: Any
) -> None:
    report = read(captured(f"{operation}.empty.{version}.response"), "payments", _form(operation))
    assert (report.rows_in, report.rows.height, report.warnings) == (0, 0, [])


@pytest.mark.parametrize(("operation", "version"), PAYMENT_ANSWERS)
def test_a_refused_key_is_no_empty_report(operation: str, version: str, read: Any, captured: Any) -> None:
    with pytest.raises(CredentialError, match="BillerGUID or WebServiceKey"):
        read(captured(f"{operation}.refused.{version}.response"), "payments", _form(operation))


@pytest.mark.parametrize("operation", ["BillerSettledBatchDetailSOAP", "BillerSettledBatchDetailDataSet"])
def test_settlements(operation: str, read: Any, captured: Any) -> None:
    rows = read(captured(f"{operation}.soap11.response"), "settlements", _form(operation)).rows
    assert rows["settled_batch_id"].to_list() == ["B20261103-CC", "B20261104-EFT", "B20261104-EFT"]
    assert rows["settled_date"].to_list() == [date(2026, 11, 3), date(2026, 11, 4), date(2026, 11, 4)]
    assert rows["payment_guid"].to_list() == [GUIDS[0], GUIDS[1], GUIDS[3]]
    assert rows["settled_amount"].to_list() == [Decimal("120.50"), Decimal("88.00"), Decimal("999.99")]
    assert rows["fee_amount"].to_list() == [Decimal("2.95"), None, None]
    assert rows["batch_total"].to_list() == [Decimal("120.50"), Decimal("1087.99"), Decimal("1087.99")]
    assert rows["batch_item_count"].to_list() == [1, 2, 2]
    assert rows["transaction_type"].to_list() == ["PAYMENT"] * 3


@pytest.mark.parametrize("operation", ["ACHRejectReportingSOAP", "ACHRejectReportingDataSetFromGMT"])
def test_rejects(operation: str, read: Any, captured: Any) -> None:
    (row,) = read(captured(f"{operation}.soap11.response"), "ach_rejects", _form(operation)).rows.to_dicts()
    assert row["reject_date"] == datetime(2026, 11, 5, 9, tzinfo=UTC)
    assert row["original_payment_guid"] == GUIDS[1]
    assert row["original_payment_date"] == datetime(2026, 11, 1, 6, tzinfo=UTC)
    assert (row["reject_amount"], row["return_code"]) == (Decimal("88.00"), "R01")
    assert (row["return_reason"], row["reject_sequence"]) == ("Insufficient Funds", 1)


def test_autopay_with_nil_values(read: Any, captured: Any) -> None:
    rows = read(captured("BillerAutoPayCustomerReportSOAP.soap11.response"), "autopay", "soap").rows
    assert rows["account_number"].to_list() == ["0012346", "0012349"]
    assert rows["autopay"].to_list() == [True, False]
    assert rows["enrolled_at"].to_list() == [datetime(2026, 1, 15, 14, tzinfo=UTC), None]
    assert rows["draw_offset_days"].to_list() == [2, None]
    assert rows["payment_method"].to_list() == ["EFT", "CARD"]


def test_paperless_is_the_inverse_of_paper_invoices(read: Any, captured: Any) -> None:
    rows = read(captured("BillerPaperlessCustomerReportDataSet.soap11.response"), "paperless", "dataset").rows
    assert rows["paperless"].to_list() == [True, False]
    assert rows["registration_date"].to_list() == [date(2025, 6, 1), None]
    assert rows["email_bounced"].to_list() == [False, True]


REQUESTS = [
    ("payments", "soap", "PaymentReportingSOAP", ("1.1", "1.2")),
    ("payments", "dataset", "PaymentReportingDataSetFromGMT", ("1.1", "1.2")),
    ("settlements", "soap", "BillerSettledBatchDetailSOAP", ("1.1",)),
    ("settlements", "dataset", "BillerSettledBatchDetailDataSet", ("1.1",)),
    ("ach_rejects", "soap", "ACHRejectReportingSOAP", ("1.1",)),
    ("ach_rejects", "dataset", "ACHRejectReportingDataSetFromGMT", ("1.1",)),
    ("autopay", "soap", "BillerAutoPayCustomerReportSOAP", ("1.1",)),
    ("paperless", "dataset", "BillerPaperlessCustomerReportDataSet", ("1.1",)),
]


@pytest.mark.parametrize(
    ("feed", "form", "operation", "version"), [(f, w, o, v) for f, w, o, vs in REQUESTS for v in vs]
)
def test_the_request_is_the_captured_one(
    feed: str,
    form: str,
    operation: str,
    version: str,
    office: Any,
    ic: Sandbox,
    captured: Any,
    monkeypatch: Any,
) -> None:
    monkeypatch.setenv("ACME_WEB_SERVICE_KEY", "sandbox-key")
    sent: list[tuple[str, str | None, bytes]] = []
    regular = ic.exchange.answer

    def listening(service: str, kind: str, action: str | None, body: bytes, base: str) -> Any:
        sent.append((kind, action, body))
        return regular(service, kind, action, body, base)

    monkeypatch.setattr(ic.exchange, "answer", listening)
    monkeypatch.setattr(ic.exchange.cloud, "web_service_key", "sandbox-key")
    office.configure(transport={"soap": version}, feeds={feed: {"form": form}})
    assert office.pull(feed).status == "ok"
    ((kind, action, body),) = sent
    wanted = captured(f"{operation}.soap{version.replace('.', '')}.request")
    assert _canonical(body) == _canonical(wanted)
    name = f"https://www.invoicecloud.com/portal/webservices/CloudReporting/{operation}"
    if version == "1.1":
        assert (kind, action) == ("text/xml; charset=utf-8", f'"{name}"')
    else:
        assert kind.startswith("application/soap+xml")
        assert f'action="{name}"' in kind


def _canonical(body: bytes) -> bytes:
    return etree.tostring(etree.fromstring(body), method="c14n")


def _one_time(body: bytes, text: str) -> bytes:
    return body.replace(b"2026-11-01T05:59:59", text.encode(), 1)


TIMES: list[tuple[str, str, datetime | None]] = [
    ("gmt", "2026-11-01T05:59:59", datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC)),
    ("gmt", "2026-11-01T05:59:59-06:00", datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC)),
    ("gmt", "2026-11-01T05:59:59Z", datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC)),
    ("gmt", "2026-11-01T23:59:59.9999999", datetime(2026, 11, 1, 23, 59, 59, 999_999, tzinfo=UTC)),
    ("gmt", "2026-11-01T00:00:00.1234567+00:00", datetime(2026, 11, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
    ("gmt", "2026-11-01T00:00:00.5", datetime(2026, 11, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
    ("gmt", "2026-11-01", None),
    ("gmt", "2026-11-01T05:59", None),
    ("gmt", "2026-11-01 05:59:59", None),
    ("gmt", "2026-11-01T05:59:59.", None),
    ("gmt", "2026-11-01T05:59:59 UTC", None),
    ("offset", "2026-11-01T05:59:59-06:00", datetime(2026, 11, 1, 11, 59, 59, tzinfo=UTC)),
    ("offset", "2026-11-01T05:59:59+05:30", datetime(2026, 11, 1, 0, 29, 59, tzinfo=UTC)),
    ("offset", "2026-11-01T05:59:59.9999999-00:30", datetime(2026, 11, 1, 6, 29, 59, 999_999, tzinfo=UTC)),
    ("offset", "2026-11-01T05:59:59Z", datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC)),
    ("offset", "2026-11-01T05:59:59", None),
    ("zone", "2026-11-02T05:59:59", datetime(2026, 11, 2, 11, 59, 59, tzinfo=UTC)),
    ("zone", "2026-07-02T05:59:59", datetime(2026, 7, 2, 10, 59, 59, tzinfo=UTC)),
    ("zone", "2026-11-01T01:30:00", None),
    ("zone", "2026-03-08T02:30:00", None),
    ("zone", "2026-03-08T03:00:00", datetime(2026, 3, 8, 8, tzinfo=UTC)),
    ("zone", "2026-11-01T02:00:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
]


@pytest.mark.parametrize(("how", "text", "instant"), TIMES)
def test_timestamps(how: str, text: str, instant: datetime | None, read: Any, captured: Any) -> None:
    body = _one_time(captured("PaymentReportingSOAP.soap11.response"), text)
    report = read(body, override={"columns": {"payment_date": {"read": how}}})
    first = report.rows.filter(pl.col("row_no") == 1)["payment_date"].to_list()
    assert first == ([] if instant is None else [instant])
    if instant is None:
        assert report.unread["row_no"].to_list()[0] == 1
        assert report.unread["reasons"].to_list()[0][0].startswith("PaymentDateGMT ")


@pytest.mark.parametrize("zone", ["America/Chicago", "Pacific/Auckland", "Pacific/Pago_Pago"])
@pytest.mark.parametrize(
    "printed", ["2026-11-03T00:00:00", "2026-11-03T23:59:59", "2026-11-03T00:00:00-06:00", "2026-11-03"]
)
def test_a_calendar_date_is_not_shifted_by_any_zone(
    zone: str, printed: str, read: Any, captured: Any
) -> None:
    body = captured("BillerSettledBatchDetailSOAP.soap11.response").replace(
        b"2026-11-03T00:00:00", printed.encode(), 1
    )
    report = read(body, "settlements", "soap", zone)
    assert report.rows["settled_date"].to_list()[0] == date(2026, 11, 3)


@pytest.mark.parametrize("offset", ["+00:00", "-06:00", "+05:30"])
def test_a_gmt_reading_printed_with_the_servers_own_offset(offset: str, office: Any, ic: Sandbox) -> None:
    ic.exchange.cloud.dataset_offset = offset
    office.configure(feeds={"payments": {"form": "dataset"}})
    office.pull()
    assert office.current()[0]["payment_date"] == datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC)


def test_unset_empty_missing_and_nil_are_null(read: Any, captured: Any) -> None:
    body = captured("BillerAutoPayCustomerReportSOAP.soap11.response")
    body = body.replace(b"2026-01-15T14:00:00", b"0001-01-01T00:00:00").replace(
        b"<PaymentMethod>EFT</PaymentMethod>", b""
    )
    body = body.replace(b"<CustomerID>C-2</CustomerID>", b"<CustomerID></CustomerID>")
    (first, _) = read(body, "autopay", "soap").rows.to_dicts()
    assert (first["enrolled_at"], first["payment_method"], first["customer_id"]) == (None, None, None)
    assert first["draw_offset_days"] == 2


def test_a_column_with_a_blank_in_its_name(read: Any, captured: Any) -> None:
    body = captured("PaymentReportingDataSetFromGMT.soap11.response")
    body = body.replace(b"PaymentAmount", b"Payment_x0020_Amount").replace(
        b"AccountNumber", b"Account_x0020_Number"
    )
    columns = {"payment_amount": {"from": "Payment Amount"}, "account_number": {"from": "Account Number"}}
    report = read(body, "payments", "dataset", override={"columns": columns})
    assert report.rows["payment_amount"].to_list()[0] == Decimal("120.50")
    assert report.rows["account_number"].to_list()[0] == "0012345"
    assert report.warnings == []


SAME_AMOUNT: list[tuple[str, str]] = [
    ("cdata", "<![CDATA[120.50]]>"), ("comment", "1<!-- x -->20.50"), ("instruction", "1<?x y?>20.50"), ("reference", "&#49;20.50")
]  # fmt: skip


@pytest.mark.parametrize(("kind", "written"), SAME_AMOUNT)
def test_an_amount_written_another_way_is_the_same_amount(
    kind: str, written: str, read: Any, captured: Any
) -> None:
    body = captured("PaymentReportingSOAP.soap11.response").replace(b">120.50<", f">{written}<".encode())
    assert read(body).rows["payment_amount"].to_list()[0] == Decimal("120.50")


DOUBTFUL: dict[str, Callable[[bytes], bytes]] = {
    "amount twice": lambda b: b.replace(
        b"</PaymentAmount>", b"</PaymentAmount><PaymentAmount>1.00</PaymentAmount>", 1
    ),
    "row in a comment": lambda b: b.replace(
        b"<PaymentRecord>", b"<!-- <PaymentRecord> --><PaymentRecord>", 1
    ),
    "row in a wrapper": lambda b: b.replace(b"<PaymentRecord>", b"<W><PaymentRecord>", 1).replace(
        b"</PaymentRecord>", b"</PaymentRecord></W>", 1
    ),
    "fault behind the report": lambda b: b.replace(
        b"</soap:Body>",
        b"<soap:Fault><faultcode>c</faultcode><faultstring>s</faultstring></soap:Fault></soap:Body>",
    ),
    "second result that failed": lambda b: b.replace(
        b"</PaymentReportingSOAPResponse>",
        b"<PaymentReportingSOAPResult><Success>false</Success></PaymentReportingSOAPResult></PaymentReportingSOAPResponse>",
    ),
    "document type behind a comment": lambda b: b.replace(
        b"?>", b'?><!-- <a> --><!DOCTYPE s [<!ENTITY q "120.50">]>', 1
    ).replace(b">120.50<", b">&q;<"),
    "envelope of no SOAP version": lambda b: b.replace(
        b"http://schemas.xmlsoap.org/soap/envelope/", b"urn:x"
    ),
    "result of another service": lambda b: b.replace(
        b"webservices/CloudReporting/", b"webservices/CloudOther/"
    ),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_a_doubtful_body_is_refused(kind: str, read: Any, captured: Any) -> None:
    body = captured("PaymentReportingSOAP.soap11.response")
    changed = DOUBTFUL[kind](body)
    assert changed != body
    with pytest.raises(IcflowsError):
        read(changed)


def test_many_attributes_whose_values_look_like_tag_ends_cost_no_time(read: Any, captured: Any) -> None:
    attributes = b"".join(b' a%d="/>"' % n for n in range(100_000))
    body = captured("PaymentReportingSOAP.soap11.response").replace(
        b"<CustomerName>", b"<CustomerName" + attributes + b">", 1
    )
    started = time.monotonic()
    try:
        assert read(body).rows.height == 4
    except IcflowsError:
        assert True
    assert time.monotonic() - started < 2


ONLY_NULLS = [
    ("settlements", "BillerSettledBatchDetailSOAP", rb"<PaymentGUID>[^<]*</PaymentGUID>"),
    ("ach_rejects", "ACHRejectReportingSOAP", rb"<OriginalPaymentGUID>[^<]*</OriginalPaymentGUID>"),
    ("payments", "PaymentReportingSOAP", rb"<InvoiceNumber>[^<]*</InvoiceNumber>"),
]


@pytest.mark.parametrize(("feed", "operation", "missing"), ONLY_NULLS)
def test_a_typed_list_whose_rows_all_lack_an_optional_value_is_no_drift(
    feed: str, operation: str, missing: bytes, read: Any, captured: Any
) -> None:
    """A typed list leaves null strings out: a day of CloudStore items only has no PaymentGUID at all."""
    body = re.sub(missing, b"", captured(f"{operation}.soap11.response"))
    report = read(body, feed, "soap")
    assert report.rows.height == report.rows_in > 0
