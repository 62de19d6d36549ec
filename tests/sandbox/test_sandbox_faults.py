"""Each kind of fault does on the wire what its name says; the call after it is answered well."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from sandbox.faults import BODY_KINDS, KINDS, ROW_KINDS

if TYPE_CHECKING:
    from tests.sandbox.conftest import Caller

DATASET, TYPED = "PaymentReportingDataSetFromGMT", "PaymentReportingSOAP"
BOTH = pytest.mark.parametrize("operation", [DATASET, TYPED])
# Bodies that a strict XML parser refuses or that must be refused by policy (a document type).
HOSTILE = sorted({"xxe", "billion_laughs", "quadratic_blowup", "dtd", "external_dtd"})
BROKEN = sorted({"control_ref", "raw_control", "bad_utf8", "nul", "trailing_junk", "truncate_between_tags"})


def rows(body: bytes) -> int:
    """Rows of a payment report, without parsing."""
    return len(re.findall(rb"<(?:PaymentRecord>|Payments diffgr)", body))


def raw_exchange(caller: Caller, operation: str, request: bytes, wait: float = 5) -> tuple[bytes, bool]:
    """Everything that comes over the socket, and whether the connection was reset."""
    head = "".join(f"{k}: {v}\r\n" for k, v in caller.headers(operation).items())
    message = f"POST /CloudReporting.asmx HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(request)}\r\n\r\n"
    received = b""
    with socket.create_connection((caller.sandbox.host, caller.sandbox.port), timeout=wait) as line:
        line.sendall(message.encode() + request)
        try:
            while part := line.recv(65_536):
                received += part
        except ConnectionResetError:
            return received, True
        except TimeoutError:
            return received, False
    return received, False


@pytest.fixture
def request_bytes(wire: Path) -> bytes:
    return (wire / f"{DATASET}.soap11.request.xml").read_bytes()


@BOTH
def test_the_call_after_a_fault_is_answered_well(operation: str, caller: Caller) -> None:
    good = caller.post(operation).body
    caller.sandbox.fault("http_503", operation=operation, times=2)
    assert [caller.post(operation).status for _ in range(3)] == [503, 503, 200]
    assert caller.post(operation).body == good
    assert [call["fault"] for call in caller.sandbox.calls()] == [None, "http_503", "http_503", None, None]


def test_a_fault_of_one_operation_leaves_the_others_alone(caller: Caller) -> None:
    caller.sandbox.fault("empty", operation=TYPED)
    assert rows(caller.post(DATASET).body) == 4
    assert rows(caller.post(TYPED).body) == 0


@BOTH
@pytest.mark.parametrize(("kind", "status"), [("fault_500", 500), ("fault_200", 200), ("fault_timeout", 500)])
def test_soap_faults(kind: str, status: int, operation: str, caller: Caller) -> None:
    caller.sandbox.fault(kind)
    reply = caller.post(operation, "1.2")
    assert reply.status == status
    assert b"<soap:Value>soap:Receiver</soap:Value>" in reply.body
    assert (b"Timeout expired" in reply.body) == (kind == "fault_timeout")
    caller.sandbox.fault("fault_timeout", text="deadlock")
    assert b"deadlocked on lock resources" in caller.post(operation).body


def test_success_false(caller: Caller) -> None:
    caller.sandbox.fault("success_false", times=2, message="Nightly <load>")
    typed = caller.post(TYPED)
    assert typed.status == 200
    assert b"<Success>false</Success><ErrorMessage>Nightly &lt;load&gt;</ErrorMessage>" in typed.body
    flat = caller.post(DATASET)
    assert (flat.status, b"<soap:Fault>" in flat.body) == (500, True)


@pytest.mark.parametrize(("kind", "status"), [("http_429", 429), ("http_503", 503)])
def test_try_later(kind: str, status: int, caller: Caller) -> None:
    caller.sandbox.fault(kind, retry_after=7)
    caller.sandbox.fault(kind, retry_after=None, html=True)
    first, second = caller.post(TYPED), caller.post(TYPED)
    assert (first.status, first.headers["retry-after"]) == (status, "7")
    assert second.status == status
    assert "retry-after" not in second.headers
    assert second.headers["content-type"].startswith("text/html")


def test_logins(caller: Caller) -> None:
    caller.sandbox.fault("http_401")
    caller.sandbox.fault("login_html")
    caller.sandbox.fault("redirect_login")
    refused, page, redirect = (caller.post(TYPED) for _ in range(3))
    assert (refused.status, "basic" in refused.headers["www-authenticate"].lower()) == (401, True)
    assert (page.status, b"password" in page.body) == (200, True)
    assert redirect.status == 302
    assert redirect.headers["location"].startswith(f"{caller.sandbox.url}login.aspx")


@BOTH
def test_wrong_answers(operation: str, caller: Caller) -> None:
    for kind in ("wrong_envelope", "other_operation", "no_result", "null_result", "html_with_entity"):
        caller.sandbox.fault(kind)
    envelope, other, bare, nil, page = (caller.post(operation) for _ in range(5))
    assert etree.fromstring(envelope.body).tag == "{urn:example:not-soap}Envelope"
    assert other.status == 200
    assert f"<{operation}Response".encode() not in other.body
    assert b"Result>" in other.body
    assert bare.body.count(b"Result") == 0
    assert f"<{operation}Response".encode() in bare.body
    assert f'<{operation}Result xsi:nil="true" />'.encode() in nil.body
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(page.body)


@BOTH
def test_same_bytes_whatever_the_window(operation: str, caller: Caller, wire: Path) -> None:
    first = caller.post(operation).body
    caller.sandbox.fault("same_bytes", operation=operation)
    empty_window = (wire / f"{operation}.empty.soap11.request.xml").read_bytes()
    assert caller.post(operation, body=empty_window).body == first
    assert rows(caller.post(operation, body=empty_window).body) == 0


@BOTH
def test_faults_in_rows(operation: str, caller: Caller) -> None:
    counts = {"empty": 0, "half_rows": 2, "duplicate_rows": 5, "conflicting_rows": 5}
    for kind, count in counts.items():
        caller.sandbox.fault(kind)
        body = caller.post(operation).body
        assert rows(body) == count, kind
        etree.fromstring(body)
        if kind == "duplicate_rows":
            assert body.count(b">120.50<") == 2
        if kind == "conflicting_rows":
            assert body.count(b">120.50<") == 1
            assert b">121.50<" in body
            assert body.count(b"abc001<") == 2


@BOTH
def test_faults_in_columns(operation: str, caller: Caller) -> None:
    for kind in ("added_column", "removed_column", "renamed_column", "retyped_column"):
        caller.sandbox.fault(kind)
    added, removed, renamed, retyped = (caller.post(operation).body for _ in range(4))
    assert added.count(b"<NewColumn>new</NewColumn>") == 4
    assert b"PaymentAmount" not in removed
    assert renamed.count(b"<PaymentAmountNew>") == 4
    assert b"<PaymentAmount>$120.50</PaymentAmount>" in retyped
    if operation == DATASET:
        assert b'name="NewColumn" type="xs:string"' in added
        assert b'name="PaymentAmount" type="xs:string"' in retyped


@BOTH
def test_error_table_and_bad_values(operation: str, caller: Caller) -> None:
    caller.sandbox.fault("error_table", message="0x1")
    caller.sandbox.fault("bad_money", value="1,234.567", row=1)
    caller.sandbox.fault("bad_value", column="AccountNumber", value="A<B", row=2)
    caller.sandbox.fault("bad_value", column="AccountNumber", value=None, row=0)
    caller.sandbox.fault("huge_text", size=20_000)
    table, money, value, missing, huge = (caller.post(operation).body for _ in range(5))
    assert b"<Message>0x1</Message>" in table
    assert rows(table) == 0
    assert b"<PaymentAmount>1,234.567</PaymentAmount>" in money
    assert b">88.00<" not in money
    assert b"<AccountNumber>A&lt;B</AccountNumber>" in value
    assert missing.count(b"<AccountNumber>") == 3
    assert b"<CustomerName>" + b"A" * 20_000 + b"<" in huge


@pytest.mark.parametrize("kind", HOSTILE)
@BOTH
def test_hostile_documents_declare_a_type(kind: str, operation: str, caller: Caller) -> None:
    caller.sandbox.fault(kind)
    body = caller.post(operation).body
    assert body.index(b"<!DOCTYPE soap:Envelope") < body.index(b"<soap:Envelope")
    uses = {"xxe": b">&x;", "billion_laughs": b">&l9;", "quadratic_blowup": b"&q;" * 2_000}
    assert uses.get(kind, b"") in body
    assert caller.sandbox.baited == 0


def test_the_bait_is_counted(caller: Caller) -> None:
    caller.sandbox.fault("xxe", target="http")
    body = caller.post(DATASET).body
    url = re.search(rb'SYSTEM "http://[^/]+(/[^"]+)"', body)
    assert url is not None
    caller.get(url.group(1).decode())
    assert caller.sandbox.baited == 1


@pytest.mark.parametrize("kind", BROKEN)
@BOTH
def test_broken_bodies_are_refused_by_a_strict_parser(kind: str, operation: str, caller: Caller) -> None:
    caller.sandbox.fault(kind)
    reply = caller.post(operation)
    assert int(reply.headers["content-length"]) == len(reply.body)
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(reply.body)
    if kind == "truncate_between_tags":
        assert rows(reply.body) == 2
        assert reply.body.endswith((b"</PaymentRecord>", b"</Payments>"))


@BOTH
def test_large_and_deep(operation: str, caller: Caller) -> None:
    caller.sandbox.fault("deep")
    caller.sandbox.fault("many_attributes", count=500)
    deep, wide = caller.post(operation).body, caller.post(operation).body
    assert deep.count(b"<d>") == deep.count(b"</d>") == 3_000
    names = etree.fromstring(wide).find(".//{*}CustomerName")
    assert names is not None
    assert len(names.attrib) == 500


@BOTH
def test_legal_encodings_say_the_same(operation: str, caller: Caller) -> None:
    good = etree.tostring(etree.fromstring(caller.post(operation).body), method="c14n")
    caller.sandbox.fault("bom")
    caller.sandbox.fault("utf16")
    bom, utf16 = caller.post(operation), caller.post(operation)
    assert bom.body.startswith(b"\xef\xbb\xbf<?xml")
    assert "charset=utf-16" in utf16.headers["content-type"]
    for body in (bom.body, utf16.body):
        assert etree.tostring(etree.fromstring(body), method="c14n") == good


@BOTH
def test_gzip(operation: str, caller: Caller) -> None:
    good = caller.post(operation).body
    for kind in ("gzip", "gzip_cut", "gzip_no_trailer"):
        caller.sandbox.fault(kind)
    caller.sandbox.fault("gzip_bomb", size_mb=20)
    whole, cut, bare, bomb = (caller.post(operation) for _ in range(4))
    assert {reply.headers["content-encoding"] for reply in (whole, cut, bare, bomb)} == {"gzip"}
    assert gzip.decompress(whole.body) == good
    for damaged in (cut.body, bare.body):
        with pytest.raises(EOFError):
            gzip.decompress(damaged)
    assert zlib.decompressobj(31).decompress(bare.body) == good
    assert len(bomb.body) < 100_000
    assert len(gzip.decompress(bomb.body)) == len(good) + 20_000_000


def test_connection_ends_without_an_answer(caller: Caller, request_bytes: bytes) -> None:
    for kind in ("close_no_reply", "reset"):
        caller.sandbox.fault(kind)
    caller.sandbox.fault("reset", after=100)
    caller.sandbox.fault("hang", seconds=0.3)
    assert raw_exchange(caller, DATASET, request_bytes) == (b"", False)
    assert raw_exchange(caller, DATASET, request_bytes) == (b"", True)
    sent, reset = raw_exchange(caller, DATASET, request_bytes)
    assert reset
    assert not sent.endswith(b"</soap:Envelope>")
    started = time.monotonic()
    assert raw_exchange(caller, DATASET, request_bytes) == (b"", False)
    assert time.monotonic() - started >= 0.3
    assert [call["status"] for call in caller.sandbox.calls()] == [None] * 4


def test_body_is_cut_on_the_way(caller: Caller, request_bytes: bytes) -> None:
    good = caller.post(DATASET).body
    for kind in ("short_content_length", "unfinished_chunk", "early_zero_chunk", "close_without_length"):
        caller.sandbox.fault(kind)
    for kind in ("short", "unfinished"):
        with pytest.raises(http.client.IncompleteRead):
            caller.post(DATASET)
        assert caller.sandbox.calls()[-1]["fault"].startswith(kind)
    early = caller.post(DATASET)
    assert (early.headers["transfer-encoding"], early.body) == ("chunked", good[: len(good) // 2])
    head, _, body = raw_exchange(caller, DATASET, request_bytes)[0].partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert b"chunked" not in head
    assert body == good[: len(good) // 2]


def test_slow_bodies(caller: Caller, wire: Path) -> None:
    small = (wire / f"{TYPED}.empty.soap11.request.xml").read_bytes()
    good = caller.post(TYPED, body=small).body
    caller.sandbox.fault("drip", interval=0.001)
    started = time.monotonic()
    assert caller.post(TYPED, body=small).body == good
    assert time.monotonic() - started >= len(good) * 0.001
    caller.sandbox.fault("stall_mid_body", seconds=0.4)
    started = time.monotonic()
    assert caller.post(TYPED, body=small).body == good
    assert time.monotonic() - started >= 0.4
    caller.sandbox.fault("stall_mid_body", seconds=0.1, finish=False)
    with pytest.raises(http.client.IncompleteRead):
        caller.post(TYPED, body=small)


def test_a_stop_ends_a_hang(caller: Caller, request_bytes: bytes) -> None:
    caller.sandbox.fault("hang", seconds=600)
    with socket.create_connection((caller.sandbox.host, caller.sandbox.port)) as line:
        head = "".join(f"{k}: {v}\r\n" for k, v in caller.headers(DATASET).items())
        length = f"Content-Length: {len(request_bytes)}\r\n\r\n"
        line.sendall(
            f"POST /CloudReporting.asmx HTTP/1.1\r\nHost: x\r\n{head}{length}".encode() + request_bytes
        )
        while not caller.sandbox.calls():
            time.sleep(0.01)
        started = time.monotonic()
        caller.sandbox.stop()
        assert time.monotonic() - started < 5


def test_server_clock_ahead(caller: Caller) -> None:
    caller.sandbox.fault("clock_ahead", seconds=3_600)
    assert caller.post(TYPED).headers["date"] == "Tue, 10 Nov 2026 01:00:00 GMT"
    assert caller.post(TYPED).headers["date"] == "Tue, 10 Nov 2026 00:00:00 GMT"


def test_row_faults_wait_for_a_report(caller: Caller) -> None:
    caller.sandbox.fault("empty")
    assert b"<ReceiptID>" in caller.post("UploadInvoice").body
    assert rows(caller.post(TYPED).body) == 0


def test_an_upload_whose_answer_is_lost_is_stored(caller: Caller) -> None:
    caller.sandbox.fault("close_no_reply", operation="UploadInvoice")
    with pytest.raises(http.client.RemoteDisconnected):
        caller.post("UploadInvoice")
    assert [path.name for path in caller.sandbox.uploads.iterdir()] == ["RCPT000001_example.bif"]


@pytest.mark.parametrize("kind", sorted(KINDS - {"hang", "stall_mid_body", "drip", "huge_text", "gzip_bomb"}))
@pytest.mark.parametrize("operation", ["BillerPaperlessCustomerReportDataSet", "ACHRejectReportingSOAP"])
def test_every_kind_fits_every_report(kind: str, operation: str, caller: Caller) -> None:
    """No kind makes the server itself stumble; the next call is answered."""
    good = caller.post(operation).body
    caller.sandbox.fault(kind, operation=operation)
    try:
        changed: bytes | None = caller.post(operation).body
    except (http.client.HTTPException, OSError):
        changed = None
    if kind in ROW_KINDS or kind in BODY_KINDS:
        assert changed
        assert changed != good
    assert caller.post(operation).body == good


def test_control_endpoint_refuses_what_it_does_not_know(caller: Caller) -> None:
    wrong = ('{"kind": "no_such"}', '{"kind": "empty", "operation": "Nope"}', "{", '{"times": 1}')
    answers = [caller.send("POST", "/_sandbox/faults", posted.encode()) for posted in wrong]
    assert [reply.status for reply in answers] == [400] * 4
    assert all(json.loads(reply.body)["error"] for reply in answers)
    assert caller.send("GET", "/_sandbox/nothing").status == 404


def test_a_fault_can_last_until_it_is_cleared(caller: Caller) -> None:
    caller.send("POST", "/_sandbox/faults", b'{"kind": "empty", "operation": "*", "times": -1}')
    assert [rows(caller.post(TYPED).body) for _ in range(3)] == [0, 0, 0]
    assert len(json.loads(caller.get("/_sandbox/faults").body)) == 1
    caller.send("DELETE", "/_sandbox/faults")
    assert rows(caller.post(TYPED).body) == 4
