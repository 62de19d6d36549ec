"""A foreign SOAP client that knows nothing but our WSDLs: zeep, in both SOAP versions, for every operation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import requests
import zeep


@pytest.fixture(params=["", "12"])
def client(request: pytest.FixtureRequest, service: Any) -> Iterator[Any]:
    """client(service name, biller, key) → its operations."""
    sessions = []

    def make(name: str, biller: str = "acme", key: str = "canary-spectrum-key") -> Any:
        session = requests.Session()
        sessions.append(session)
        session.headers["X-Service-Key"] = key
        url = f"http://127.0.0.1:{service.port}/{biller}/{name}.asmx?wsdl"
        whole = zeep.Client(url, transport=zeep.Transport(session=session))
        return whole.bind(name, f"{name}Soap{request.param}")

    yield make
    for session in sessions:
        session.close()


def test_refresh(client: Any) -> None:
    answer = client("RealTimeDataRefresh").GetInvoice({"InvoiceNumber": "INV-1"})
    assert (answer.Success, answer.Payable, answer.Stale) == (True, True, False)
    assert answer.TotalAmountDue == Decimal("50.00")
    assert answer.InvoiceDueDate == date(2026, 12, 1)
    answer = client("RealTimeDataRefresh").GetAccount({"AccountNumber": "0042"})
    assert [invoice.InvoiceNumber for invoice in answer.Invoices.Invoice] == ["INV-1"]
    assert answer.KnownAsOf.isoformat() == "2026-11-10T11:59:00+00:00"
    answer = client("RealTimeDataRefresh").GetInvoice({"InvoiceNumber": "NOPE"})
    assert (answer.Success, answer.ErrorMessage, answer.BalanceDue) == (False, "Invoice not found", None)


def test_data_pump(client: Any, payment: dict[str, str]) -> None:
    pump = client("DataPump")
    answer = pump.PostPayment(payment)
    assert (answer.Success, answer.Receipt) == (True, payment["PaymentGUID"] + "-1")
    answer = pump.PostPayment(payment | {"Approved": "perhaps"})
    assert (answer.Success, answer.Receipt) == (False, None)
    assert "Approved" in answer.ErrorMessage
    answer = pump.PostPaperless({"AccountNumber": "0042", "Paperless": "true"})
    assert not answer.Success
    pump = client("DataPump", "zeta", "canary-mips-key")
    assert pump.PostAutoPay({"AccountNumber": "0042", "AutoPay": "true"}).Success
    assert pump.PostPaperless({"AccountNumber": "0042", "Paperless": "false"}).Success


def test_faults_are_faults(client: Any, service: Any) -> None:
    refresh = client("RealTimeDataRefresh")
    refresh._client.transport.session.headers["X-Service-Key"] = "wrong"
    with pytest.raises(zeep.exceptions.Fault, match="wrong key"):
        refresh.GetInvoice({"InvoiceNumber": "INV-1"})
