"""Real-time data refresh over real sockets: SOAP and JSON say the same; each question is in the log of calls."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.house import House
from services.reply import Visit
from services.rtdr import ask
from services.telling import Telling
from tasks.inbound import tables
from tasks.inbound.model import Answer


def logged(service: Any, at_least: int) -> list[dict[str, Any]]:
    for _ in range(100):
        with service.store.reading() as connection:
            found = connection.execute(tables.calls.select().order_by(tables.calls.c.number))
            rows = [dict(row) for row in found.mappings()]
        if len(rows) >= at_least:
            return rows
        time.sleep(0.05)
    raise AssertionError(f"{len(rows)} calls in the log, not {at_least}")


def test_invoice_and_account_in_both_forms(service: Any, payment: dict[str, str]) -> None:
    status, headers, text = service.get("/acme/rtdr/invoices/INV-1")
    assert status == 200, text
    assert headers["cache-control"] == "no-store"
    assert json.loads(text) == {
        "invoice_number": "INV-1", "account_number": "0042", "invoice_date": "2026-11-01", "due_date": "2026-12-01",
        "autopay_collection_date": None, "total_amount_due": "50.00", "balance_due": "50.00",
        "minimum_amount_due": "10.00", "allow_partial_payments": True, "payable": True, "not_payable_reason": None,
        "successor_invoice_number": None, "known_as_of": "2026-11-10T11:59:00Z",
    }  # fmt: skip
    status, _, text = service.soap("GetInvoice", {"BillerGUID": "", "InvoiceNumber": "INV-1"})
    assert status == 200
    assert "<Success>true</Success><InvoiceNumber>INV-1</InvoiceNumber>" in text
    assert "<BalanceDue>50.00</BalanceDue>" in text
    assert "<KnownAsOf>2026-11-10T11:59:00Z</KnownAsOf><Stale>false</Stale>" in text
    assert json.loads(service.get("/acme/rtdr/accounts/0042")[2])["invoices"][0]["invoice_number"] == "INV-1"
    assert (
        "<Invoices><Invoice><InvoiceNumber>INV-1" in service.soap("GetAccount", {"AccountNumber": "0042"})[2]
    )
    rows = logged(service, 4)
    assert [row["form"] for row in rows] == ["json", "soap11", "json", "soap11"]
    assert {(row["result"], row["balance_answered"], row["payable"]) for row in rows} == {
        ("answered", 5000, True)
    }
    assert [row["invoice_number"] for row in rows] == ["INV-1", "INV-1", None, None]
    assert all(0 < row["latency_us"] < 5_000_000 for row in rows)


def test_a_push_lowers_the_balance_at_once(service: Any, payment: dict[str, str]) -> None:
    status, _, text = service.soap("PostPayment", payment, "datapump")
    assert status == 200, text
    assert json.loads(service.get("/acme/rtdr/invoices/INV-1")[2])["balance_due"] == "30.00"


def test_a_reissued_invoice_names_its_successor(service: Any) -> None:
    answer = json.loads(service.get("/acme/rtdr/invoices/INV-0")[2])
    assert (answer["payable"], answer["balance_due"]) == (False, "0.00")
    assert (answer["not_payable_reason"], answer["successor_invoice_number"]) == ("superseded", "INV-1")


def test_unknown_is_said_and_logged(service: Any) -> None:
    assert service.get("/acme/rtdr/invoices/NOPE-7")[0] == 404
    assert service.get("/acme/rtdr/invoices/%00%0a")[0] == 404
    text = service.soap("GetAccount", {"AccountNumber": "a&lt;b"})[2]
    assert "<Success>false</Success><ErrorMessage>Account not found</ErrorMessage>" in text
    rows = [row for row in logged(service, 9) if row["result"] == "unknown"]
    assert [(row["invoice_number"], row["account_number"]) for row in rows] == [
        ("NOPE-7", None), (None, None), (None, None),
    ]  # fmt: skip


def test_another_billers_guid_and_a_missing_number_are_refused(service: Any) -> None:
    other = {"BillerGUID": "99999999-2222-3333-4444-555555555555", "InvoiceNumber": "INV-1"}
    assert "BillerGUID is not" in service.soap("GetInvoice", other)[2]
    assert "InvoiceNumber is missing" in service.soap("GetInvoice", {"AccountNumber": "0042"})[2]


def test_stale_figures_are_not_answered(service: Any) -> None:
    with service.store.writing() as connection:
        connection.execute(
            tables.freshness.update().values(known_as_of=tables.freshness.c.known_as_of - 11_000_000_000)
        )
    status, headers, text = service.get("/acme/rtdr/invoices/INV-1")
    soap = service.soap("GetInvoice", {"InvoiceNumber": "INV-1"})[2]
    with service.store.writing() as connection:
        connection.execute(
            tables.freshness.update().values(known_as_of=tables.freshness.c.known_as_of + 11_000_000_000)
        )
    assert (status, headers["retry-after"]) == (503, "60")
    assert "50.00" not in text + soap
    assert "<Success>false</Success>" in soap
    assert "<Stale>true</Stale>" in soap


def test_health_says_only_that(service: Any) -> None:
    status, _, text = service.get("/health", X_Service_Key="")
    assert (status, json.loads(text)) == (200, {"status": "ok"})


@pytest.mark.parametrize("inline", [True, False])
def test_a_slow_store_is_asked_in_a_thread(
    make_settings: Callable[..., Any], tmp_path: Path, inline: bool
) -> None:
    asked: list[str] = []
    called: list[Any] = []

    class Answers:
        def invoice(self, biller: str, number: str, at: datetime, **limits: float) -> Answer:
            asked.append(threading.current_thread().name)
            return Answer("unknown", at)

    settings = make_settings(tmp_path)
    writer: Any = SimpleNamespace(called=called.append)
    gate: Any = None
    answers: Any = Answers()
    at = datetime(2026, 11, 10, 12, tzinfo=UTC)
    house = House(settings, lambda: at, answers, writer, gate, Telling(), inline)
    receive: Any = None
    visit = Visit({}, receive, {}, time.perf_counter(), biller="acme")
    answer = asyncio.run(ask(house, visit, "INVOICE", "X", "json"))
    assert answer.known_as_of == at
    assert (asked[0] == "MainThread") is inline
    assert called[0].invoice_number == "X"


def test_the_wsdl_names_the_public_address(
    make_settings: Callable[..., Any], start: Any, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, service={"public_url": "https://pump.example.invalid/ic/"})
    with start(settings) as service:
        _, _, text = service.get("/acme/RealTimeDataRefresh.asmx?wsdl", Host="evil.invalid")
        assert text.count('location="https://pump.example.invalid/ic/acme/RealTimeDataRefresh.asmx"') == 2
        assert "evil" not in text


@pytest.mark.parametrize("host", ['x"><a/>', "a b", "x/y", ""])
def test_a_strange_host_is_not_echoed(service: Any, host: str) -> None:
    _, _, text = service.get("/acme/RealTimeDataRefresh.asmx?wsdl", Host=host)
    assert text.count(f'location="http://127.0.0.1:{service.port}/acme/RealTimeDataRefresh.asmx"') == 2
