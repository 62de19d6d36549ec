"""Everything a stranger may try: refused within a second of the caller's clock, while others are served."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from services import protocol

SOAP = "text/xml; charset=utf-8"
WHERE = "/acme/RealTimeDataRefresh.asmx"
CALL = '<GetInvoice xmlns="urn:icflows:rtdr"><Req><InvoiceNumber>INV-1</InvoiceNumber></Req></GetInvoice>'
S11 = "http://schemas.xmlsoap.org/soap/envelope/"
HEAD = f"POST {WHERE} HTTP/1.1\r\nHost: x\r\nX-Service-Key: canary-spectrum-key\r\nContent-Type: text/xml\r\n"


def attributes(count: int) -> str:
    return " ".join(f"a{n}='1'" for n in range(count))


def bodies(enveloped: Callable[..., bytes]) -> dict[str, tuple[bytes, set[int]]]:
    """name → (body, statuses that are right)."""
    good = enveloped(CALL)
    laughs = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10))
    return {
        "a document type": (b"<!DOCTYPE a>" + good.split(b"?>")[1], {400}),
        "billion laughs": (f"<!DOCTYPE a [<!ENTITY e0 'ha'>{laughs}]><a>&e9;</a>".encode(), {400}),
        "quadratic blow-up": (f"<!DOCTYPE a [<!ENTITY e '{'x' * 30_000}'>]><a>{'&e;' * 9_000}</a>".encode(), {400}),
        "an external entity": (b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a>&e;</a>", {400}),
        "a parameter entity": (b"<!DOCTYPE a [<!ENTITY % e SYSTEM 'http://127.0.0.1:9/x'> %e;]><a/>", {400}),
        "an unknown entity": (good.replace(b"INV-1", b"&nothing;"), {400}),
        "deep nesting": (enveloped("<a>" * 5_000 + "</a>" * 5_000), {400, 500}),
        "many attributes, below the cap": (enveloped(f"<a {attributes(6_000)}/>"), {400}),
        "a million attributes": (enveloped(f"<a {attributes(1_000_000)}/>"), {413}),
        "many elements": (enveloped("<a/>" * 10_000), {400, 500}),
        "ten megabytes": (enveloped("x" * 10_000_000), {413}),
        "UTF-16": (good.decode().replace("utf-8", "utf-16").encode("utf-16"), {415}),
        "UTF-16 in disguise": (good.replace(b'encoding="utf-8"', b'encoding="utf-16"'), {415}),
        "NUL": (good.replace(b"INV", b"IN\x00V"), {400, 415}),
        "half a character": (good.replace(b"INV", b"IN\xc3"), {400}),
        "broken XML": (good[:-9], {400}),
        "nothing": (b"", {400}),
        "a web page": (b"<html>&nbsp;</html>", {400}),
        "two bodies": (good.replace(b"</soap:Envelope>", b"<soap:Body/></soap:Envelope>"), {500}),
        "two operations": (enveloped(CALL * 2), {500}),
        "another namespace": (enveloped(CALL.replace("urn:icflows:rtdr", "urn:other")), {500}),
        "an unknown operation": (enveloped(CALL.replace("GetInvoice", "DropInvoice")), {500}),
        "a field twice": (
            enveloped(CALL.replace("<Req>", "<Req><InvoiceNumber>INV-2</InvoiceNumber>")), {500},
        ),
        "another envelope": (enveloped(CALL, "http://www.w3.org/2003/05/soap-envelope"), {500}),
        "mustUnderstand": (
            good.replace(b"<soap:Body>", b'<soap:Header><x xmlns="u" soap:mustUnderstand="1"/></soap:Header><soap:Body>'),
            {500},
        ),
        "an instruction": (good.replace(b"<soap:Body>", b"<?php x ?><soap:Body>"), {400}),
    }  # fmt: skip


NAMES = sorted(bodies(lambda inner, version=S11: b"?>"))


@pytest.fixture
def others(service: Any) -> Iterator[list[float]]:
    """A healthy caller beside; its waits in seconds. Each of its answers must be right."""
    waits, stop = [], threading.Event()

    def call() -> None:
        while not stop.is_set():
            began = time.perf_counter()
            status, _, text = service.soap("GetInvoice", {"InvoiceNumber": "INV-1"})
            waits.append(time.perf_counter() - began if status == 200 and "50.00" in text else 99.0)
            time.sleep(0.01)

    thread = threading.Thread(target=call)
    thread.start()
    yield waits
    stop.set()
    thread.join(10)
    assert waits
    assert max(waits) < 1.0


def exchange(
    service: Any, data: bytes, then: Callable[[socket.socket], None] | None = None
) -> tuple[int, bytes, float]:
    """Sends, reads to the end of the connection: (status, 0 if there was none; answer; seconds)."""
    began = time.perf_counter()
    with closing(service.connect()) as raw:
        sender = threading.Thread(target=_send, args=(raw, data, then))
        sender.start()
        answer = b""
        while True:
            try:
                part = raw.recv(65_536)
            except OSError:
                break
            answer += part
            if not part or (b"\r\n\r\n" in answer and b"100 Continue" not in answer):
                break
        took = time.perf_counter() - began
    sender.join(10)
    return int(answer[9:12] or 0), answer, took


def _send(raw: socket.socket, data: bytes, then: Callable[[socket.socket], None] | None) -> None:
    try:
        raw.sendall(data)
        if then:
            then(raw)
    except OSError:
        pass  # refused meanwhile


@pytest.mark.parametrize("name", NAMES)
def test_hostile_bodies(
    service: Any, others: list[float], enveloped: Callable[..., bytes], name: str
) -> None:
    body, right = bodies(enveloped)[name]
    data = HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    status, answer, took = exchange(service, data)
    assert status in right, answer[:400]
    assert took < 1.0
    assert b"root:" not in answer
    assert len(answer) < 1_000


def drip(raw: socket.socket) -> None:
    for _ in range(40):
        raw.sendall(b"x")
        time.sleep(0.1)


SLOW = {
    "says nothing": (b"", None, 408),
    "half a head": (HEAD.encode(), None, 408),
    "a head that drips": (HEAD.encode() + b"X-More: ", drip, 408),
    "no body": (f"{HEAD}Content-Length: 100\r\n\r\n".encode(), None, 408),
    "half a body": (f"{HEAD}Content-Length: 100\r\n\r\n<a".encode(), None, 408),
    "a body that drips": (f"{HEAD}Content-Length: 100\r\n\r\n".encode(), drip, 408),
    "a chunk that never ends": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nab".encode(), None, 408),
    "a body that is not waited for": (f"{HEAD}Content-Length: 100000000\r\n\r\n".encode(), None, 413),
    "asks first": (f"{HEAD}Expect: 100-continue\r\nContent-Length: 100000000\r\n\r\n".encode(), None, 413),
}


def test_slow_senders(service: Any, others: list[float]) -> None:
    """All at once, for they take their time."""
    with ThreadPoolExecutor(len(SLOW)) as pool:
        found = {name: pool.submit(exchange, service, data, then) for name, (data, then, _) in SLOW.items()}
    outcome = {name: future.result() for name, future in found.items()}
    assert {name: status for name, (status, _, _) in outcome.items()} == {
        n: right for n, (_, _, right) in SLOW.items()
    }
    assert max(took for _, _, took in outcome.values()) < 1.0


CHUNK = b"2000\r\n" + b"x" * 8192 + b"\r\n"
WRONG_HTTP = {
    "chunks above the cap": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + CHUNK * 20, {413}),
    "ten thousand chunks": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\n \r\n" * 10_000, {400}),
    "two lengths": (f"{HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello".encode(), {400}),
    "a length below zero": (f"{HEAD}Content-Length: -5\r\n\r\n".encode(), {400}),
    "an unknown coding": (f"{HEAD}Transfer-Encoding: chunked, gzip\r\n\r\n".encode(), {400}),
    "a huge head": (HEAD.encode() + b"X: " + b"y" * 300_000 + b"\r\n\r\n", {431, 400}),
    "a huge head, all of it": (HEAD.encode() + b"a:\r\n" * 60_000 + b"\r\n", {431, 400}),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "a line ending in a header": (f"{HEAD}X: a\x00b\r\n\r\n".encode(), {400}),
    "an upgrade": (f"{HEAD}Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n".encode(), {400}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_HTTP)
def test_wrong_http(service: Any, others: list[float], name: str) -> None:
    data, right = WRONG_HTTP[name]
    status, answer, took = exchange(service, data)
    assert status in right, answer
    assert took < 1.0


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("application/json", ""), ("", ""), ("text/html", ""), ("text/xml; charset=utf-16", ""), (SOAP, "gzip"),
        ("multipart/related; type=text/xml", ""),
    ],
)  # fmt: skip
def test_wrong_types_are_refused(
    service: Any, others: list[float], enveloped: Callable[..., bytes], content_type: str, encoding: str
) -> None:
    body = gzip.compress(enveloped(CALL)) if encoding else enveloped(CALL)
    began = time.perf_counter()
    status, _, text = service.request(
        "POST", WHERE, body, Content_Type=content_type, Content_Encoding=encoding
    )
    assert (status, "Fault" in text) == (415, True)
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "PATCH", "BREW"])
@pytest.mark.parametrize("path", [WHERE, "/acme/datapump/payments", "/acme/rtdr/invoices/INV-1", "/health"])
def test_other_methods(service: Any, method: str, path: str) -> None:
    status, headers, text = service.request(method, path)
    assert status == 405
    assert headers["allow"] in ("GET", "POST", "GET, POST")
    assert "INV-1" not in text


@pytest.mark.parametrize(
    "path", ["/", "/canary-path", "/acme", "/acme/", f"{WHERE}/", "/docs", "/k/x", "//", "/%2e%2e/etc"]
)
def test_other_paths(service: Any, path: str) -> None:
    status, _, text = service.get(path)
    assert status == 404
    assert text == '{"error": "there is nothing here"}'


def test_a_control_character_in_a_memo_is_read(service: Any, payment: dict[str, str]) -> None:
    """ASP.NET writes it as a reference that XML 1.0 forbids: the push must not be lost for it."""
    odd = payment | {"PaymentDescription": "a&#x1;b", "PaymentGUID": "aaaaaaaa-0000-0000-0000-00000000000c"}
    status, _, text = service.soap("PostPayment", odd | {"InvoiceNumber": ""}, "datapump")
    assert status == 200
    assert "<Success>true</Success>" in text


def test_pipelined_requests_are_all_answered(service: Any) -> None:
    one = b"GET /acme/rtdr/invoices/INV-1 HTTP/1.1\r\nHost: x\r\nX-Service-Key: canary-spectrum-key\r\n\r\n"
    with closing(service.connect()) as raw:
        raw.sendall(one * 5 + one[:20])
        raw.settimeout(3)
        answer = b""
        while part := raw.recv(65_536):
            answer += part
    assert answer.count(b"HTTP/1.1 200") == 5
    assert answer.count(b"HTTP/1.1 408") == 1


def test_a_caller_that_never_reads_is_dropped(
    service: Any, others: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_FLUSH_SECONDS", 0.3)
    one = b"GET /acme/DataPump.asmx?wsdl HTTP/1.1\r\nHost: x\r\nX-Service-Key: canary-spectrum-key\r\n\r\n"
    with closing(service.connect()) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.settimeout(5)
        with pytest.raises(OSError, match=r"reset|pipe"):
            raw.sendall(one * 100_000)
