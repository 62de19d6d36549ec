"""Who is let in: every place a key may stand, one answer for every wrong one, throttling, addresses, proxies."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WHERE = "/acme/rtdr/invoices/INV-1"
KEY = "canary-spectrum-key"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Service_Key": KEY},
        {"X_Service_Key": "canary-next-key"},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": basic("ic", KEY)},
        {"Authorization": basic(KEY, "")},
    ],
)
def test_places_of_the_key(service: Any, headers: dict[str, str]) -> None:
    assert service.get(WHERE, **{"X_Service_Key": "", **headers})[0] == 200


def test_the_key_in_the_path(service: Any) -> None:
    assert service.get(f"/k/{KEY}{WHERE}", X_Service_Key="")[0] == 200
    _, _, wsdl = service.get(f"/k/{KEY}/acme/DataPump.asmx?wsdl", X_Service_Key="")
    assert f'location="http://127.0.0.1:{service.port}/k/{KEY}/acme/DataPump.asmx"' in wsdl
    _, _, wsdl = service.get("/acme/DataPump.asmx?WSDL")
    assert KEY not in wsdl
    assert f'location="http://127.0.0.1:{service.port}/acme/DataPump.asmx"' in wsdl


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (WHERE, {"X_Service_Key": "wrong"}),
        (WHERE, {"X_Service_Key": ""}),
        (WHERE, {"X_Service_Key": KEY[:-1]}),
        (WHERE, {"X_Service_Key": "canary-mips-key"}),
        (WHERE, {"X_Service_Key": "", "Authorization": "Basic ***"}),
        (WHERE, {"X_Service_Key": "", "Authorization": "Digest x"}),
        (WHERE, {"X_Service_Key": "ä" * 500}),
        ("/nobody/rtdr/invoices/INV-1", {}),
        ("/mute/rtdr/invoices/INV-1", {}),  # a biller without [inbound]
        ("/k/wrong/acme/rtdr/invoices/INV-1", {"X_Service_Key": ""}),
        ("/openapi.json", {"X_Service_Key": "wrong"}),
    ],
)
def test_one_answer_for_every_wrong_key(service: Any, path: str, headers: dict[str, str]) -> None:
    status, answered, text = service.get(path, **headers)
    assert (status, text) == (401, '{"error": "no such biller, or a wrong key"}')
    assert answered["www-authenticate"] == 'Basic realm="icflows"'


def test_too_many_wrong_keys(tmp_path: Path, start: Any, make_settings: Callable[..., Any]) -> None:
    settings = make_settings(tmp_path, service={"wrong_keys": 3, "wrong_keys_seconds": 2.0})
    with start(settings) as service:
        assert [service.get(WHERE, X_Service_Key="wrong")[0] for _ in range(5)] == [401, 401, 401, 429, 429]
        # Whoever guesses learns nothing more, and no other address of its makes it a new one.
        status, headers, _ = service.get(WHERE, X_Forwarded_For="10.9.9.9")
        assert (status, headers["retry-after"] in ("1", "2")) == (429, True)
        body = service.request("POST", "/acme/datapump/payments", b"x" * 50_000, Content_Type="text/html")
        assert body[0] == 429
        assert service.get("/health")[0] == 200


@pytest.mark.parametrize(
    ("service_section", "forwarded", "right"),
    [
        ({}, "10.1.2.3", 403),  # nobody is trusted: a header is only words
        ({"trusted_proxies": ["127.0.0.1"]}, "10.1.2.3", 200),
        (
            {"trusted_proxies": ["127.0.0.1"]},
            "10.1.2.3, 192.0.2.1",
            403,
        ),  # the first one is what a caller wrote
        ({"trusted_proxies": ["127.0.0.1", "192.0.2.0/24"]}, "6.6.6.6, 10.1.2.3, 192.0.2.1", 200),
        ({"trusted_proxies": ["127.0.0.1"]}, "", 403),
        ({"trusted_proxies": ["127.0.0.1"]}, "nonsense", 403),
        ({"trusted_proxies": ["127.0.0.1"]}, "::ffff:10.1.2.3", 200),
    ],
)
def test_addresses(
    tmp_path: Path,
    start: Any,
    make_settings: Callable[..., Any],
    service_section: Any,
    forwarded: str,
    right: int,
) -> None:
    settings = make_settings(tmp_path, service=service_section, inbound={"addresses": ["10.0.0.0/8"]})
    with start(settings) as service:
        assert service.get(WHERE, X_Forwarded_For=forwarded)[0] == right
        assert service.get(WHERE, X_Service_Key="wrong", X_Forwarded_For=forwarded)[0] == 401


def test_memory_for_wrong_keys_is_bounded() -> None:
    from services.auth import _REMEMBERED, Throttle

    throttle = Throttle(1, 60, lambda: 0.0)
    for number in range(_REMEMBERED + 500):
        throttle.wrong(f"a{number}")
    assert len(throttle._wrong) == _REMEMBERED


def test_no_key_and_no_person_in_logs_and_errors(
    service: Any, payment: dict[str, str], mutter: pytest.LogCaptureFixture
) -> None:
    bad = payment | {"PaymentAmount": "canary-amount", "PaymentGUID": "canary-guid"}
    answers = [
        service.get(WHERE, X_Service_Key="canary-wrong-key"),
        service.get("/k/canary-path-key/acme/rtdr/invoices/canary-number", X_Service_Key=""),
        service.get("/canary-path"),
        service.get("/acme/rtdr/invoices/canary-number"),
        service.request("POST", "/acme/datapump/payments", b"canary=%ff", Content_Type="canary/type"),
        service.request(
            "POST", "/acme/datapump/payments", b"canary=%ff", Content_Type="application/x-www-form-urlencoded"
        ),
        service.request("CANARY", "/acme/datapump/payments"),
        service.soap("PostPayment", bad, "datapump"),
        service.soap("CanaryCall", {"Canary": "canary"}, "datapump"),
        service.soap("PostPayment", payment, "datapump"),
    ]
    said = mutter.text + "".join(text for _, _, text in answers)
    assert {status for status, _, _ in answers} == {200, 400, 401, 404, 405, 415, 500}
    assert "canary" not in said.lower()
    assert mutter.text.count("wrong_key") <= 1
