"""The Data Pump's receiver over real sockets: form, JSON and SOAP, the same receipt for the same push."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def post(
    service: Any, fields: dict[str, Any], content_type: str = FORM, path: str = "/acme/datapump/payments"
) -> Any:
    body = json.dumps(fields) if content_type == JSON else urlencode(fields)
    return service.request("POST", path, body, Content_Type=content_type)


def test_a_push_gets_one_receipt_in_every_form(service: Any, payment: dict[str, str]) -> None:
    status, headers, text = post(service, payment)
    receipt = payment["PaymentGUID"] + "-1"
    assert (status, headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert text.endswith(f"<Result><Success>true</Success><Receipt>{receipt}</Receipt></Result>")
    assert json.loads(post(service, payment, JSON)[2]) == {"success": True, "receipt": receipt}
    assert (
        f"<Success>true</Success><Receipt>{receipt}</Receipt>"
        in service.soap("PostPayment", payment, "datapump")[2]
    )
    assert service.count("pushes") == 1


def test_other_content_is_taken_under_another_receipt(service: Any, payment: dict[str, str]) -> None:
    other = payment | {"PaymentGUID": "aaaaaaaa-0000-0000-0000-000000000002"}
    first, second = post(service, other, JSON), post(service, other | {"PaymentAmount": "21.00"}, JSON)
    assert json.loads(first[2])["receipt"].endswith("-1")
    assert json.loads(second[2])["receipt"].endswith("-2")
    assert second[0] == 200


def test_json_numbers_are_never_floats(service: Any, payment: dict[str, str]) -> None:
    guid = "aaaaaaaa-0000-0000-0000-000000000003"
    text = json.dumps(payment | {"PaymentGUID": guid, "PaymentAmount": 0}).replace(
        ": 0,", ": 12345678901234.10,"
    )
    status, _, answer = service.request("POST", "/acme/datapump/payments", text, Content_Type=JSON)
    assert status == 200, answer
    with service.store.reading() as connection:
        sql = f"SELECT payment_amount FROM pushes WHERE payment_guid = '{guid}'"
        assert connection.exec_driver_sql(sql).scalar_one() == 1234567890123410


@pytest.mark.parametrize("content_type", [FORM, JSON])
def test_what_cannot_be_read_is_kept_and_named(
    service: Any, payment: dict[str, str], content_type: str
) -> None:
    before = service.count("unread")
    wrong = payment | {"PaymentAmount": "1.005", "Approved": content_type}
    status, _, text = post(service, wrong, content_type)
    assert status == 422
    assert "PaymentAmount" in text
    assert "1.005" not in text
    assert "Canary" not in text
    assert service.count("unread") == before + 1


@pytest.mark.parametrize("soap", [True, False])
def test_spectrum_takes_no_enrolments(service: Any, soap: bool) -> None:
    fields = {"AccountNumber": "0042", "AutoPay": "true"}
    if soap:
        status, _, text = service.soap("PostAutoPay", fields, "datapump")
        assert status == 200
        assert "<Success>false</Success>" in text
    else:
        status, _, text = post(service, fields, path="/acme/datapump/autopay")
        assert status == 403
    assert "takes no pushes" in text
    assert service.count("refusals WHERE biller = 'acme' AND list = 'AUTOPAY'") == 1
    assert service.count("enrolment_pushes WHERE biller = 'acme'") == 0


@pytest.mark.parametrize(("kind", "flag"), [("autopay", "AutoPay"), ("paperless", "Paperless")])
def test_mips_takes_enrolments(service: Any, kind: str, flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "key", "canary-mips-key")
    fields = {"AccountNumber": "0042", flag: "true", "EmailAddress": "canary@example.invalid"}
    status, _, text = post(service, fields, JSON, f"/zeta/datapump/{kind}")
    assert status == 200, text
    assert service.count(f"enrolment_pushes WHERE biller = 'zeta' AND list = '{kind.upper()}'") == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[1]", JSON),
        (b'{"a": {"b": 1}}', JSON),
        (b'{"a": 1, "a": 2}', JSON),
        (b'{"a": NaN}', JSON),
        (b'{"a": "\\ud800"}', JSON),
        (b"[" * 60_000, JSON),
        (b"\xff\xfe{\x00}\x00", JSON),
        (b"{", JSON),
        (b"a=1&a=2", FORM),
        (b"a=%ff", FORM),
        (b"a=1&" * 15_000, FORM),
        (b"\xc3\xa4=1", FORM),
    ],
)
def test_broken_bodies_are_refused(service: Any, body: bytes, content_type: str) -> None:
    status, _, text = service.request("POST", "/acme/datapump/payments", body, Content_Type=content_type)
    assert status == 400
    assert len(text) < 300
