"""How the sandbox's server behaves beside its answers: routing, refusals, clock, log, streaming."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from sandbox import Sandbox, serve
from sandbox.captured import CAPTURED_NOW, write_captured
from sandbox.render import SLICE_ROWS
from sandbox.serving import WEB_SERVICE_KEY

if TYPE_CHECKING:
    from tests.sandbox.conftest import Caller

DATASET, TYPED = "PaymentReportingDataSetFromGMT", "PaymentReportingSOAP"
SPACE = "https://www.invoicecloud.com/portal/webservices/CloudReporting/"
ROOT = Path(__file__).parent.parent.parent


def test_unknown_operations_get_aspnets_fault(caller: Caller) -> None:
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{SPACE}Nope"'}
    reply = caller.send("POST", "/CloudReporting.asmx", b"<x/>", **headers)
    assert reply.status == 500
    assert b"<faultcode>soap:Client</faultcode>" in reply.body
    assert f"did not recognize the value of HTTP Header SOAPAction: {SPACE}Nope.".encode() in reply.body
    soap12 = {"Content-Type": 'application/soap+xml; action="urn:else"'}
    reply = caller.send("POST", "/CloudReporting.asmx", b"<x/>", **soap12)
    assert b"<soap:Value>soap:Sender</soap:Value>" in reply.body
    bare = caller.send("POST", "/CloudReporting.asmx", b"<x/>", **{"Content-Type": "text/xml"})
    assert b"without a valid action parameter" in bare.body


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-10],
        lambda body: b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>" + body.partition(b"?>")[2],
        lambda body: body.replace(b"soap/envelope/", b"other/"),
        lambda body: body.replace(b"2026-11-01T00:00:00Z", b"yesterday"),
        lambda body: body.replace(b"2026-11-01T00:00:00Z", b"2026-13-01T00:00:00Z"),
    ],
)
def test_unreadable_requests_get_a_client_fault(damage: object, caller: Caller, wire: Path) -> None:
    request = (wire / f"{TYPED}.soap11.request.xml").read_bytes()
    reply = caller.post(TYPED, body=damage(request))  # type: ignore[operator]
    assert reply.status == 500
    assert b"soap:Client" in reply.body
    assert b"Server was unable to read request" in reply.body


@pytest.mark.parametrize(
    ("start", "end", "rows"),
    [
        (b"2026-11-01T05:59:59Z", b"2026-11-01T06:00:00Z", 1),
        (b"2026-11-01T06:00:00Z", b"2026-11-01T06:00:00Z", 0),
        (b"2026-11-01T00:00:00-06:00", b"2026-11-01T00:00:00.0000001-06:00", 0),
        (b"2026-11-01T00:00:00-06:00", b"2026-11-01T00:00:00.000001-06:00", 1),
        (b"2026-11-01T08:15:30.123", b"2026-11-01T08:15:30.1240000Z", 1),
    ],
)
def test_windows_are_half_open(start: bytes, end: bytes, rows: int, caller: Caller, wire: Path) -> None:
    request = (wire / f"{DATASET}.soap11.request.xml").read_bytes()
    request = request.replace(b"2026-11-01T00:00:00Z", start).replace(b"2026-11-10T00:00:00Z", end)
    assert caller.post(DATASET, body=request).body.count(b"<PaymentGUID>") == rows


def test_settlements_go_by_date(caller: Caller, wire: Path) -> None:
    operation = "BillerSettledBatchDetailSOAP"
    request = (wire / f"{operation}.soap11.request.xml").read_bytes()
    request = request.replace(b"2026-11-01T00:00:00Z", b"2026-11-03T22:00:00Z").replace(
        b"2026-11-10", b"2026-11-04"
    )
    body = caller.post(operation, body=request).body
    assert body.count(b"<SettledRecord>") == 1
    assert b"B20261103-CC" in body


def test_a_window_turned_round_is_refused_and_one_left_out_is_empty(caller: Caller, wire: Path) -> None:
    request = (wire / f"{TYPED}.soap11.request.xml").read_bytes()
    turned = request.replace(b"2026-11-01T", b"2026-12-01T")
    assert b"<Success>false</Success>" in caller.post(TYPED, body=turned).body
    unset = re.sub(rb"<ns0:FromGMT>.*</ns0:ToGMT>", b"", request)
    assert b"<Success>true</Success><Payments />" in caller.post(TYPED, body=unset).body


def test_nothing_is_served_before_its_time(caller: Caller) -> None:
    sandbox = caller.sandbox
    sandbox.clock(datetime(2026, 11, 1, 6, 30, tzinfo=UTC))
    assert caller.post(TYPED).body.count(b"<PaymentRecord>") == 2
    for hour, rows in ((19, 0), (20, 1)):
        sandbox.clock(datetime(2026, 11, 3, hour, tzinfo=UTC))
        assert caller.post("BillerSettledBatchDetailSOAP").body.count(b"<SettledRecord>") == rows
    assert caller.post("ACHRejectReportingSOAP").body.count(b"<RejectRecord>") == 0
    caller.send("POST", "/_sandbox/clock", b'{"now": "2026-11-09T18:00:00-06:00"}')
    assert json.loads(caller.get("/_sandbox/health").body)["now"] == "2026-11-10T00:00:00Z"
    assert caller.post("ACHRejectReportingSOAP").body.count(b"<RejectRecord>") == 1
    with pytest.raises(ValueError, match="time zone"):
        sandbox.clock(datetime(2026, 11, 1))


def test_snapshots_are_the_state_at_the_clock(tmp_path: Path, wire: Path) -> None:
    folder = write_captured(tmp_path)
    change = datetime(2026, 11, 5, tzinfo=UTC)
    spans = pl.read_parquet(folder / "autopay.parquet").with_columns(
        valid_to=pl.when(pl.col("customer_id") == "C-2").then(pl.lit(change))
    )
    spans.write_parquet(folder / "autopay.parquet")
    request = (wire / "BillerAutoPayCustomerReportSOAP.soap11.request.xml").read_bytes()
    with serve(folder, sftp_port=None, now=change) as sandbox:
        headers = {"Content-Type": "text/xml", "SOAPAction": f"{SPACE}BillerAutoPayCustomerReportSOAP"}
        counts = []
        for moment in (datetime(2026, 11, 4, tzinfo=UTC), change):
            sandbox.clock(moment)
            with closing(http.client.HTTPConnection(sandbox.host, sandbox.port)) as line:
                line.request("POST", "/cloudreporting.ASMX", request, headers)
                counts.append(line.getresponse().read().count(b"<AutoPayRecord>"))
    assert counts == [2, 1]


def test_the_log_tells_the_window_and_no_key(caller: Caller) -> None:
    caller.post(DATASET, "1.2")
    caller.post("UploadInvoice")
    shown = caller.get("/_sandbox/calls").body
    first, second = json.loads(shown)
    assert first == {
        "operation": DATASET,
        "soap": "1.2",
        "window": ["2026-11-01T00:00:00Z", "2026-11-10T00:00:00Z"],
        "status": 200,
        "fault": None,
        "at": "2026-11-10T00:00:00Z",
    }
    assert (second["operation"], second["window"]) == ("UploadInvoice", None)
    assert WEB_SERVICE_KEY.encode() not in shown
    caller.send("DELETE", "/_sandbox/calls")
    assert caller.sandbox.calls() == []


def test_alerts_are_kept(caller: Caller) -> None:
    caller.send("POST", "/_sandbox/hook", b'{"title": "late feed"}')
    assert caller.sandbox.hooks() == [{"title": "late feed"}]
    assert json.loads(caller.get("/_sandbox/hook").body) == [{"title": "late feed"}]


def test_odd_requests(caller: Caller) -> None:
    assert caller.get("/nothing").status == 404
    assert b"Service Description" in caller.get("/CloudReporting.asmx").body
    odd = caller.send("GET", "/CloudReporting.asmx?wsdl", Host="x<y")
    assert (
        f'location="http://{caller.sandbox.host}:{caller.sandbox.port}/CloudReporting.asmx"'.encode()
        in odd.body
    )
    named = caller.send("GET", "/CloudReporting.asmx?wsdl", Host="ic.example.com")
    assert b'location="http://ic.example.com/CloudReporting.asmx"' in named.body
    huge = caller.send("POST", "/CloudReporting.asmx", None, **{"Content-Length": "999999999999"})
    assert huge.status == 413
    bad = (b"ZXhhbXBsZQo=", b"!!")
    request = (
        Path(__file__).parent.parent / "data" / "wire" / "UploadInvoice.soap11.request.xml"
    ).read_bytes()
    assert (
        b"Invalid character in a Base-64 string"
        in caller.post("UploadInvoice", body=request.replace(*bad)).body
    )


def test_one_connection_serves_many_calls(caller: Caller, wire: Path) -> None:
    request = (wire / f"{TYPED}.soap11.request.xml").read_bytes()
    with closing(http.client.HTTPConnection(caller.sandbox.host, caller.sandbox.port)) as line:
        seen = set()
        for _ in range(3):
            line.request("POST", "/CloudReporting.asmx", request, caller.headers(TYPED))
            seen.add(line.getresponse().read())
            port = line.sock.getsockname()[1] if line.sock else 0
            seen.add(str(port).encode())
    assert len(seen) == 2


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_long_reports_are_streamed(version: str, tmp_path: Path, wire: Path) -> None:
    folder = write_captured(tmp_path)
    one = pl.read_parquet(folder / "payments.parquet")
    rows = SLICE_ROWS + 4_000
    pl.concat([one] * (rows // 4)).write_parquet(folder / "payments.parquet")
    request = (wire / f"{DATASET}.soap11.request.xml").read_bytes()
    with Sandbox(folder, now=CAPTURED_NOW, sftp_port=None) as sandbox:
        line = http.client.HTTPConnection(sandbox.host, sandbox.port)
        line._http_vsn_str = version  # type: ignore[attr-defined]
        with closing(line):
            headers = {"Content-Type": "text/xml", "SOAPAction": f"{SPACE}{DATASET}"}
            line.request("POST", "/CloudReporting.asmx", request, headers)
            answer = line.getresponse()
            body = answer.read()
    assert (answer.getheader("Transfer-Encoding") == "chunked") == (version == "HTTP/1.1")
    assert (answer.getheader("Content-Length") is None) == (version == "HTTP/1.1")
    orders = [int(number) for number in re.findall(rb'rowOrder="(\d+)"', body)]
    assert orders == list(range(rows))
    assert body.endswith(b"</soap:Body></soap:Envelope>")


def test_the_command_serves_and_stops(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox", "--data", str(tmp_path), "--port", "0", "--sftp-port", "0"]
    options = ["--generate", "--accounts", "50", "--days", "20", "--dataset-offset=-06:00"]
    options += ["--images", "10", "--bid", "77", "--empty", "--view-delay", "60"]
    environment = os.environ | {"SANDBOX_WEB_SERVICE_KEY": "other-key", "PYTHONWARNINGS": "error"}
    with subprocess.Popen(
        command + options, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(7)]
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(20) == 0
    assert [line.split()[1] for line in lines] == ["SOAP"] * 3 + ["SFTP", "hostkey", "control", "clock"]
    assert lines[-1].endswith("2026-10-30T23:00:00Z")
    assert lines[4].split()[2:4] == (tmp_path / "sftp_host_key.pub").read_text().split()[:2]
    assert rest.strip() == "sandbox: stopped"
    assert "other-key" not in "".join(lines)
    assert all(path.name.startswith("77_") for path in (tmp_path / "images").iterdir())


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "--data", str(tmp_path)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert "payments" in done.stderr
    assert "--generate" in done.stderr


def test_a_taken_port_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = write_captured(tmp_path / "carrier")
    with Sandbox(folder) as first:
        for port, sftp_port in ((first.port, 0), (0, first.sftp_port)):
            with pytest.raises(OSError, match=r"(?i)address"), serve(folder, port=port, sftp_port=sftp_port):
                pass
