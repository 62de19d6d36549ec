"""A push as InvoiceCloud sent it: one content whatever the form, reasons that name fields and no values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tasks.errors import SettingsError
from tasks.inbound.enrolments import read_enrolment
from tasks.inbound.fields import push_fields
from tasks.inbound.model import EnrolmentPush, Push, Unread
from tasks.inbound.pushes import read_push
from tasks.inbound.values import microseconds

CHICAGO = ZoneInfo("America/Chicago")


def utc(*parts: int) -> int:
    return microseconds(datetime(*parts, tzinfo=UTC))  # type: ignore[misc, arg-type]


def test_one_payment_through_three_forms_has_one_content(desk: Any) -> None:
    form = desk.push(form="form")
    soap = desk.push(
        form="soap", Approved="true", PaymentDate="2026-11-10T03:04:05-06:00", PaymentAmount="12.3",
        PaymentGUID="aaaaaaaa-0000-0000-0000-000000000001", AccountNumber="",
    )  # fmt: skip
    json = desk.push(
        form="json", Approved="1", PaymentDate="2026-11-10T09:04:05.000Z", ConvenienceFee="2.950"[:4]
    )
    assert form.content_sha256 == soap.content_sha256 == json.content_sha256
    assert form.values == soap.values == json.values
    assert (form.form, soap.form, json.form) == ("form", "soap", "json")


@pytest.mark.parametrize(
    "change",
    [
        {"PaymentAmount": "12.31"}, {"Approved": "False"}, {"InvoiceNumber": "1"}, {"InvoiceNumber": ""},
        {"PaymentDate": "11/10/2026 3:04:06 AM"}, {"ConvenienceFee": ""}, {"CustomerName": "Canary Jane Do"},
        {"PaymentTypeID": "2"}, {"AgentCode": "A1"}, {"BillerReference": "r"},
    ],
)  # fmt: skip
def test_any_other_value_is_other_content(desk: Any, change: dict[str, str]) -> None:
    assert desk.push().content_sha256 != desk.push(**change).content_sha256


def test_what_ic_sent_lands_in_the_columns(desk: Any) -> None:
    push = desk.push(
        7, InvoiceNumber="0007", AccountNumber="00012", PaymentTypeID="2", PaymentSource="VT", AgentCode="A-9",
        PaymentMessage="ok", PaymentDescription="d", BillerReference="ref", Unknown="x",
    )  # fmt: skip
    read = dict(push.values)
    assert push.payment_guid == read["payment_guid"] == "aaaaaaaa-0000-0000-0000-000000000007"
    assert (read["invoice_number"], read["account_number"]) == ("0007", "00012")
    assert (read["payment_amount"], read["convenience_fee"]) == (1230, 295)
    assert (read["payment_type_id"], read["tender"]) == ("2", "EFT")
    assert (read["payment_source"], read["agent_code"]) == ("VIRTUAL_TERMINAL", "A-9")
    assert read["payment_date"] == utc(2026, 11, 10, 9, 4, 5)
    assert read["approved"] is True
    assert read["customer_name"] == "Canary Jane Doe"
    assert "biller_guid" not in read
    from tasks.inbound.tables import pushes

    assert set(read) <= set(pushes.c.keys())


def test_an_unknown_code_is_kept_and_a_corrected_map_makes_no_new_content(make_desk: Any) -> None:
    plain = make_desk()
    mapped = make_desk(push_fields={"tender": {"codes": {"77": "CRYPTO"}}})
    one, two = plain.push(PaymentTypeID="77"), mapped.push(PaymentTypeID="77")
    assert one.values["tender"] == "77"
    assert two.values["tender"] == "CRYPTO"
    assert one.content_sha256 == two.content_sha256


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"BillerGUID": "99999999-2222-3333-4444-555555555555"}, "BillerGUID is not this biller's"),
        ({"BillerGUID": ""}, "BillerGUID is missing"),
        ({"PaymentGUID": ""}, "PaymentGUID is missing"),
        ({"PaymentGUID": "00000000-0000-0000-0000-000000000000"}, "PaymentGUID is missing"),
        ({"PaymentGUID": "7"}, "PaymentGUID has a form that is not allowed"),
        ({"PaymentAmount": "12.345"}, "PaymentAmount is no amount with at most two decimals"),
        ({"PaymentAmount": "-1"}, "PaymentAmount is below the least that is allowed"),
        ({"PaymentAmount": ""}, "PaymentAmount is missing"),
        ({"Approved": ""}, "Approved is missing"),
        ({"Approved": "maybe"}, "Approved is neither true nor false"),
        ({"PaymentDate": "soon"}, "PaymentDate is no date and time"),
        ({"PaymentDate": "11/1/2026 1:30:00 AM"}, "PaymentDate does not exist, or exists twice, in the biller's time zone"),
        ({"InvoiceNumber": "=1"}, "InvoiceNumber has a form that is not allowed"),
        ({"CustomerName": "Canary\x00"}, "CustomerName has characters that are not allowed"),
        ({"CustomerName": "Canary" * 50}, "CustomerName is too long"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_unread_with_the_field_and_no_value(
    desk: Any, change: dict[str, str], reason: str
) -> None:
    read = desk.unread(**change)
    assert read.reasons == (reason,)
    assert read.fields["customer_name"].startswith("Canary")


def test_all_reasons_are_told_and_everything_is_kept_but_keys(desk: Any) -> None:
    read = desk.unread(
        PaymentAmount="x", Approved="x", PaymentTotal="12.30", WebServiceKey="canary-key", ApiToken="canary-key",
        Half="a\ud800b", **{"bad name": "x", "n" * 65: "x"},
    )  # fmt: skip
    assert len(read.reasons) == 2
    assert read.fields["PaymentTotal"] == "12.30"
    assert read.fields["Half"] == "a?b"
    assert read.fields["payment_amount"] == "x"
    assert read.fields["payment_date"] == "2026-11-10T09:04:05.000000Z"
    assert "canary-key" not in str(read)
    assert "bad name" not in read.fields


def test_names_and_readings_can_be_overridden(make_desk: Any) -> None:
    desk = make_desk(
        push_fields={"payment_amount": {"from": "Amt"}, "payment_date": {"read": "gmt"}, "zip": {"max": 3}}
    )
    read = read_push(desk.settings, "acme", "json", desk.fields() | {"Amt": "1.05", "CustomerZip": "123"})
    assert isinstance(read, Push)
    assert read.values["payment_amount"] == 105
    assert read.values["payment_date"] == utc(2026, 11, 10, 3, 4, 5)
    missing = read_push(desk.settings, "acme", "json", desk.fields())
    assert isinstance(missing, Unread)
    assert set(missing.reasons) == {"Amt is missing", "CustomerZip is too long"}
    assert missing.fields["PaymentAmount"] == "12.30"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"payment_amout": {"from": "X"}}, "payment_amount"),
        ({"payment_amount": {"form": "X"}}, "from"),
        ({"payment_amount": {"read": "text"}}, "payment_amount.read must be one of money"),
        ({"zip": {"read": "money"}}, "zip.read must be one of code, text"),
        ({"zip": {"from": "no good!"}}, "push_fields"),
    ],
)
def test_a_wrong_override_names_the_setting(make_desk: Any, override: Any, words: str) -> None:
    desk = make_desk(push_fields=override)
    with pytest.raises(SettingsError) as caught:
        push_fields(desk.settings, "acme", "payments")
    assert words in str(caught.value)
    assert "billers.acme.inbound.push_fields" in str(caught.value)


def test_every_field_of_the_public_contract_is_in_the_map(desk: Any) -> None:
    names = {field.source for field in push_fields(desk.settings, "acme", "payments").values()}
    public = {
        "BillerGUID", "PaymentDate", "InvoiceNumber", "Approved", "CustomerName", "CustomerAddress", "CustomerCity",
        "CustomerState", "CustomerZip", "PaymentGUID", "PaymentAmount", "PaymentDescription", "PaymentTypeID",
        "CardType", "PaymentMessage", "BillerReference", "ConvenienceFee", "RemoteIP",
    }  # fmt: skip
    assert names == public | {"AccountNumber", "PaymentSource", "AgentCode"}


def test_enrolments_are_read(desk: Any) -> None:
    fields = {
        "AccountNumber": "0007", "Paperless": "0", "InvoiceTypeID": "3", "PaymentMethod": "EFT",
        "OccurredAt": "2026-11-10T03:04:05Z", "EmailAddress": "a@b.c", "BillerGUID": desk.fields()["BillerGUID"],
    }  # fmt: skip
    read = read_enrolment(desk.settings, "acme", "form", "PAPERLESS", fields)
    assert isinstance(read, EnrolmentPush)
    assert (read.list, read.account_number, read.values["enrolled"]) == ("PAPERLESS", "0007", False)
    assert read.values["occurred_at"] == utc(2026, 11, 10, 3, 4, 5)
    bad = read_enrolment(desk.settings, "acme", "form", "AUTOPAY", fields | {"BillerGUID": "x"})
    assert isinstance(bad, Unread)
    assert bad.kind == "autopay"
    assert set(bad.reasons) == {"BillerGUID has a form that is not allowed", "AutoPay is missing"}
