"""The Data Pump and the balance asker of the sandbox, against a small receiver that can be told to go wrong."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote

import polars as pl
import pytest
from lxml import etree

from sandbox.carrier import Carrier, generate
from sandbox.line_out import Door
from sandbox.pump import ASSUMED, POSTED, Form, Pump
from sandbox.refresher import Refresher
from sandbox.serving import BILLER_GUID

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
KEY = "stand-in-key"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


class Receiver:
    """Keeps every push it read; answers as the insurer's service does. `statuses`: answers to give first."""

    def __init__(self) -> None:
        self.got: list[dict[str, str]] = []
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.statuses: list[int] = []
        self.balances = {"INV-1": "12.50"}
        self.receipts: dict[str, str] = {}
        self.lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                receiver.answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def do_GET(self) -> None:
                receiver.answer(self, b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a caller that hung up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with self.lock:
            self.calls.append(
                (handler.command, handler.path, {k.lower(): v for k, v in handler.headers.items()})
            )
            status = self.statuses.pop(0) if self.statuses else 200
            content = self.told(handler, body) if status == 200 else (status, "text/plain", b"no")
        handler.send_response(content[0])
        handler.send_header("Content-Type", content[1])
        handler.send_header("Content-Length", str(len(content[2])))
        handler.end_headers()
        handler.wfile.write(content[2])

    def told(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str, bytes]:
        kind = handler.headers.get("Content-Type", "")
        if "/rtdr/" in handler.path or "RealTime" in handler.path:
            return self.balance(handler, body)
        if kind == "application/json":
            return 200, kind, json.dumps({"success": True, "receipt": self.keep(json.loads(body))}).encode()
        if kind.startswith("application/x-www-form-urlencoded"):
            fields = {name: texts[0] for name, texts in parse_qs(body.decode(), True).items()}
            text = f"<Result><Success>true</Success><Receipt>{self.keep(fields)}</Receipt></Result>"
            return 200, "text/xml", text.encode()
        return 200, "text/xml", enveloped(f"<Receipt>{self.keep(parsed(body))}</Receipt>")

    def keep(self, fields: dict[str, str]) -> str:
        self.got.append(fields)
        content = json.dumps({k: v for k, v in fields.items() if v}, sort_keys=True)
        return self.receipts.setdefault(content, f"R{len(self.receipts)}")

    def balance(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str, bytes]:
        asked = parsed(body) if body else {}
        number = unquote(handler.path).rsplit("/", 1)[1] if not body else next(iter(asked.values()))
        owed = self.balances.get(number)
        if not body:
            content = {"balance_due": owed, "payable": True, "successor_invoice_number": None}
            return (
                (404, "text/plain", b"")
                if owed is None
                else (200, "application/json", json.dumps(content).encode())
            )
        if owed is None:
            return 200, "text/xml", enveloped("<Stale>false</Stale>", "false")
        return 200, "text/xml", enveloped(f"<BalanceDue>{owed}</BalanceDue><Payable>true</Payable>")


def parsed(body: bytes) -> dict[str, str]:
    request = next(etree.fromstring(body).iter("{*}Req"))
    return {etree.QName(child).localname: child.text or "" for child in request}


def enveloped(inner: str, success: str = "true") -> bytes:
    return f'<s:Envelope xmlns:s="{SOAP}"><s:Body><R><Success>{success}</Success>{inner}</R></s:Body></s:Envelope>'.encode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    return generate(7, 120, 20, CLOSE, tmp_path_factory.mktemp("pumped"))


def door(receiver: Receiver, **more: object) -> Door:
    return Door(receiver.url, KEY, **more)  # type: ignore[arg-type]


def due(carrier: Carrier) -> pl.DataFrame:
    return carrier.table("pushes").filter(~pl.col("lost"))


@pytest.mark.parametrize("form", ["form", "soap", "json"])
def test_every_push_but_the_lost_ones_arrives_as_often_as_it_is_sent(
    form: Form, carrier: Carrier, receiver: Receiver
) -> None:
    pump = Pump(door(receiver), carrier)
    result = pump.push(CLOSE + timedelta(hours=1), form, threads=6)
    sent = due(carrier)
    assert result.sent == len(receiver.got) == sent["times"].sum()
    assert (result.refused, result.unlike, result.waiting) == ({}, [], 0)
    names = set(sent.select(pl.format("{}-{}", "payment_guid", "variant")).to_series())
    assert set(result.receipts) == names
    assert len(set(result.receipts.values())) == len(names)
    assert not {fields["PaymentGUID"] for fields in receiver.got} & set(carrier.lost_pushes()["payment_guid"])
    assert pump.push(CLOSE + timedelta(hours=1), form).sent == 0
    payments = carrier.table("payments").filter(pl.col("payment_line_no").is_null())
    wanted = {row["payment_guid"]: row for row in payments.iter_rows(named=True)}
    first = {fields["PaymentGUID"]: fields for fields in reversed(receiver.got)}
    for guid, fields in first.items():
        assert fields["BillerGUID"] == BILLER_GUID
        if guid in wanted:
            row = wanted[guid]
            assert Decimal(fields["PaymentAmount"]) == row["payment_amount"]
            assert (fields["Approved"], fields["CustomerName"]) == (
                str(row["approved"]),
                row["customer_name"],
            )
            assert datetime.fromisoformat(fields["PaymentDate"]) == row["payment_date"]
            assert fields["AccountNumber"] == row["account_number"]
    assert all(set(fields) <= {"BillerGUID", *POSTED, *ASSUMED} for fields in receiver.got)


def test_what_is_due_later_is_sent_later(carrier: Carrier, receiver: Receiver) -> None:
    half = CLOSE - timedelta(days=10)
    pump = Pump(door(receiver, way="bearer"), carrier, since=CLOSE - timedelta(days=15), assumed=False)
    first = pump.push(half)
    early = due(carrier).filter(
        (pl.col("payment_date") >= CLOSE - timedelta(days=15)) & (pl.col("sent_at") <= half)
    )
    assert set(first.receipts) == set(early.select(pl.format("{}-{}", "payment_guid", "variant")).to_series())
    assert 0 < first.sent < pump.push(CLOSE).sent + first.sent
    assert not any(set(ASSUMED) & set(fields) for fields in receiver.got)
    assert receiver.calls[0][2]["authorization"] == f"Bearer {KEY}"


def test_trouble_is_overcome_and_what_is_not_waits(carrier: Carrier, receiver: Receiver) -> None:
    pump = Pump(door(receiver, way="path"), carrier, hasty=200, tries=2, pause=0.001)
    receiver.statuses = [503, 200, 429, 500, 500, 500] * 6
    moment = CLOSE - timedelta(days=12)
    result = pump.push(moment)
    assert result.waiting > 0
    again = pump.push(moment)
    assert (again.waiting, again.unlike) == (0, [])
    assert again.sent == result.waiting
    names = Counter(name for told in (result, again) for name in told.receipts)
    sent = due(carrier).filter(pl.col("sent_at") <= moment)
    assert set(names) == set(sent.select(pl.format("{}-{}", "payment_guid", "variant")).to_series())
    assert receiver.calls[0][1].startswith(f"/k/{KEY}/acme/datapump/payments")


def test_a_refusal_is_not_tried_again(carrier: Carrier, receiver: Receiver) -> None:
    receiver.statuses = [422, 401]
    result = Pump(door(receiver, way="basic"), carrier).push(CLOSE)
    assert sorted(result.refused.values()) == [401, 422]
    assert result.sent == due(carrier)["times"].sum() - 2
    assert receiver.calls[0][2]["authorization"].startswith("Basic ")


def test_enrolments_are_sent_one_by_one(carrier: Carrier, receiver: Receiver) -> None:
    receiver.statuses = [403]
    pump = Pump(door(receiver), carrier)
    assert pump.enrol("autopay", "0012345", True, CLOSE) == 403
    assert pump.enrol("paperless", "0012345", False, CLOSE) == 200
    assert receiver.got[0]["Paperless"] == "False"
    assert [path for _, path, _ in receiver.calls] == ["/acme/datapump/autopay", "/acme/datapump/paperless"]


def test_two_lines_send_some_hundred_a_second(tmp_path: Path, receiver: Receiver) -> None:
    many = generate(3, 300, 20, CLOSE, tmp_path, payments=600)
    started = time.perf_counter()
    sent = Pump(door(receiver), many).push(CLOSE).sent
    assert sent / (time.perf_counter() - started) > 100  # 700 on a quiet machine; the stand-in has its share


@pytest.mark.parametrize("form", ["soap11", "soap12", "json"])
def test_balances_are_asked_for_and_read(form: str, receiver: Receiver) -> None:
    with Refresher(door(receiver)) as asker:
        told = asker.invoice("INV-1", form)  # type: ignore[arg-type]
        assert (told.result, told.balance, told.payable, told.successor) == (
            "answered",
            Decimal("12.50"),
            True,
            "",
        )
        assert asker.invoice("INV-2", form).result == "unknown"  # type: ignore[arg-type]
        receiver.balances["0001"] = "0.00"
        assert asker.ask("ACCOUNT", "0001", form).balance == Decimal("0.00")  # type: ignore[arg-type]
        receiver.statuses = [401]
        assert asker.invoice("INV-1", form).result == "refused"  # type: ignore[arg-type]
    assert {call[2]["x-service-key"] for call in receiver.calls} == {KEY}


def test_a_stale_answer_is_told_from_an_unknown_number(receiver: Receiver) -> None:
    receiver.statuses = [503]
    with Refresher(door(receiver)) as asker:
        assert asker.invoice("INV-1", "json").result == "stale"
