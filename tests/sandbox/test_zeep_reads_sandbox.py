"""A strict zeep client reads every operation in both SOAP versions from the served WSDLs."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import zeep

from sandbox import Sandbox
from sandbox.serving import BILLER_GUID, WEB_SERVICE_KEY
from sandbox.wire_schema import FLAT, REPORTS, SERVICES

WINDOW = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 10, tzinfo=UTC))
OTHER: dict[str, dict[str, Any]] = {
    "UploadInvoice": {"FileName": "a.bif", "FileData": b"one\ntwo\n\n"},
    "ViewInvoiceByInvoiceNumber": {"InvoiceNumber": "INV-0001"},
    "ViewCustomerRecord": {"AccountNumber": "0012346"},
}


def _ask(sandbox: Sandbox, operation: str, port: str) -> Any:
    service = SERVICES[operation]
    settings = zeep.Settings(strict=True)
    client = zeep.Client(f"{sandbox.url}{service}.asmx?wsdl", settings=settings)  # type: ignore[no-untyped-call]
    proxy = client.bind(service, f"{service}{port}")
    content: dict[str, Any] = {"BillerGUID": BILLER_GUID, "WebServiceKey": WEB_SERVICE_KEY}
    if operation in REPORTS:
        names = REPORTS[operation].window or ()
        content |= dict(zip(names, WINDOW, strict=False))
    content |= OTHER.get(operation, {})
    return getattr(proxy, operation)(**(content if operation in FLAT else {"Req": content}))


@pytest.mark.parametrize("port", ["Soap", "Soap12"])
@pytest.mark.parametrize("operation", sorted(SERVICES))
def test_operation(operation: str, port: str, captured: Sandbox) -> None:
    answer = _ask(captured, operation, port)
    assert [call["soap"] for call in captured.calls()] == ["1.2" if port == "Soap12" else "1.1"]
    if operation == "PaymentReportingSOAP":
        assert [row.PaymentAmount for row in answer.Payments.PaymentRecord] == [
            Decimal("120.50"),
            Decimal("88.00"),
            Decimal("45.10"),
            Decimal("999.99"),
        ]
        assert answer.Payments.PaymentRecord[1].ConvenienceFee is None
        assert answer.Payments.PaymentRecord[2].CustomerName == "Zoë  Ålund"
    elif operation in REPORTS and REPORTS[operation].form == "typed":
        assert answer.Success is True
        assert len(answer[REPORTS[operation].parent][REPORTS[operation].row]) >= 1
    elif operation in REPORTS:
        # zeep reads the rows by the inline schema: the schema fits them.
        rows = [row[REPORTS[operation].row] for row in answer._value_1[0]["_value_2"]["_value_1"]]
        assert len(rows) == captured.exchange.cloud.data.table(REPORTS[operation].table).height
        assert all(row.AccountNumber.startswith("00123") for row in rows)
    elif operation == "UploadInvoice":
        assert (answer.Success, answer.RecordsAccepted, answer.ReceiptID) == (True, 2, "RCPT000001")
        assert (captured.uploads / "RCPT000001_a.bif").read_bytes() == b"one\ntwo\n\n"
    elif operation == "ViewInvoiceByInvoiceNumber":
        assert (answer.TotalAmountDue, answer.BalanceDue) == (Decimal("120.50"), Decimal("0.00"))
    else:
        assert (answer.CustomerID, answer.AutoPay) == ("C-2", True)


def test_a_wrong_key_is_a_fault_for_datasets_only(captured: Sandbox) -> None:
    client = zeep.Client(f"{captured.url}CloudReporting.asmx?wsdl")  # type: ignore[no-untyped-call]
    with pytest.raises(zeep.exceptions.Fault, match="Invalid BillerGUID or WebServiceKey"):
        client.service.BillerPaperlessCustomerReportDataSet(BillerGUID=BILLER_GUID, WebServiceKey="no")
    refused = client.service.BillerAutoPayCustomerReportSOAP(Req={"BillerGUID": "no", "WebServiceKey": "no"})
    assert (refused.Success, refused.Customers) == (False, None)
