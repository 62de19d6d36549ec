"""The sandbox answers every captured request with the captured bytes.

Normalised, and nothing else: the stack trace inside a fault string (it names the addresses of
the server's compiled code, which a client cannot rely on), and the host in a WSDL (the caller's).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.wire_schema import SERVICES

if TYPE_CHECKING:
    from tests.sandbox.conftest import Caller

WIRE = Path(__file__).parent.parent / "data" / "wire"
REQUESTS = sorted(WIRE.glob("*.request.xml"))
# From the first frame of the trace to the end of the inner exception.
TRACE = re.compile(rb"\n  at .*?(\n   --- End of inner exception stack trace ---)", re.DOTALL)


def test_all_captured_requests_are_here() -> None:
    assert len(REQUESTS) == 24
    assert {path.name.split(".")[0] for path in REQUESTS} == set(SERVICES)


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.name.removesuffix(".request.xml"))
def test_answer_is_the_captured_one(path: Path, caller: Caller) -> None:
    operation = path.name.split(".")[0]
    version = "1.2" if ".soap12." in path.name else "1.1"
    if path.name == "UploadInvoice.soap12.request.xml":  # captured second: its receipt is number 2
        caller.post(operation, "1.1")
    reply = caller.post(operation, version, path.read_bytes())
    wanted = path.with_name(path.name.replace("request", "response")).read_bytes()
    faulted = b"<soap:Fault>" in wanted
    assert TRACE.sub(rb"\1", reply.body) == TRACE.sub(rb"\1", wanted)
    assert reply.body == wanted or faulted
    assert reply.status == (500 if faulted else 200)
    kind = "application/soap+xml" if version == "1.2" else "text/xml"
    assert reply.headers["content-type"] == f"{kind}; charset=utf-8"
    assert reply.headers["cache-control"] == "private, max-age=0"
    assert reply.headers["x-aspnet-version"]
    assert reply.headers["date"] == "Tue, 10 Nov 2026 00:00:00 GMT"


@pytest.mark.parametrize("service", ["CloudReporting", "CloudInvoicing", "CloudManagement"])
@pytest.mark.parametrize("query", ["wsdl", "WSDL"])
def test_wsdl_is_the_captured_one_with_the_callers_host(service: str, query: str, caller: Caller) -> None:
    reply = caller.get(f"/{service.lower()}.asmx?{query}")
    captured = (WIRE / f"{service}.wsdl").read_bytes()
    base = caller.sandbox.url.rstrip("/").encode()
    assert reply.body == captured.replace(b"http://127.0.0.1:8090", base)
    assert base in reply.body


def test_dataset_times_can_carry_another_offset(caller: Caller) -> None:
    caller.sandbox.exchange.cloud.dataset_offset = "-06:00"
    reply = caller.post("PaymentReportingDataSetFromGMT")
    wanted = (WIRE / "PaymentReportingDataSetFromGMT.soap11.response.xml").read_bytes()
    assert reply.body == wanted.replace(b"+00:00<", b"-06:00<")
    typed = caller.post("PaymentReportingSOAP")
    assert typed.body == (WIRE / "PaymentReportingSOAP.soap11.response.xml").read_bytes()
