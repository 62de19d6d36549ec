"""What is served is what lies in the tables: parsed by lxml, compared value by value, both forms."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from lxml import etree

from sandbox import Sandbox
from sandbox.carrier import Carrier, generate
from sandbox.serving import BILLER_GUID, WEB_SERVICE_KEY
from sandbox.wire_schema import FLAT, NAMESPACE, REPORTING, REPORTS, Column

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
SPACE = NAMESPACE.format(service=REPORTING)
UNSET = {"dateTime": "0001-01-01T00:00:00", "int": "0", "decimal": "0", "boolean": "false"}


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    return generate(7, 300, 30, CLOSE, tmp_path_factory.mktemp("served"), payments=2_000)


@pytest.fixture(scope="module")
def sandbox(carrier: Carrier) -> Iterator[Sandbox]:
    with Sandbox(carrier.folder, now=CLOSE, sftp_port=None) as running:
        yield running


def ask(sandbox: Sandbox, operation: str, start: str, end: str) -> bytes:
    names = REPORTS[operation].window or ()
    window = "".join(f"<{name}>{value}</{name}>" for name, value in zip(names, (start, end), strict=False))
    inner = f"<BillerGUID>{BILLER_GUID}</BillerGUID><WebServiceKey>{WEB_SERVICE_KEY}</WebServiceKey>{window}"
    inner = inner if operation in FLAT else f"<Req>{inner}</Req>"
    body = (
        '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>'
        f'<{operation} xmlns="{SPACE}">{inner}</{operation}></Body></Envelope>'
    )
    headers = {"Content-Type": "text/xml", "SOAPAction": SPACE + operation}
    return requests.post(f"{sandbox.url}{REPORTING}.asmx", body, headers=headers, timeout=20).content


def shown(column: Column, value: Any, form: str) -> str | None:
    """A table's value as it should stand on the wire (None: left out; "nil": xsi:nil)."""
    if value is None:
        if form == "dataset":
            return None
        return "nil" if column.nillable else UNSET.get(column.kind)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        text = value.strftime("%Y-%m-%dT%H:%M:%S")
        text += f".{value.microsecond:06d}".rstrip("0") if value.microsecond else ""
        return text + ("+00:00" if form == "dataset" else "")
    if isinstance(value, date):
        return f"{value}T00:00:00" + ("+00:00" if form == "dataset" else "")
    return f"{value:.2f}" if isinstance(value, Decimal) else str(value)


def parsed(element: etree._Element) -> dict[str, str]:
    nil = "{http://www.w3.org/2001/XMLSchema-instance}nil"
    return {
        etree.QName(child).localname: "nil" if child.get(nil) else (child.text or "") for child in element
    }


@pytest.mark.parametrize("operation", sorted(REPORTS))
def test_rows_are_those_of_the_table(operation: str, carrier: Carrier, sandbox: Sandbox) -> None:
    spec = REPORTS[operation]
    body = ask(sandbox, operation, "2026-09-01T00:00:00Z", "2026-12-01T00:00:00Z")
    root = etree.fromstring(body, etree.XMLParser(resolve_entities=False))
    tag = f"{{{SPACE}}}{spec.row}" if spec.form == "typed" else spec.row
    rows = [parsed(element) for element in root.iter(tag)]
    table = carrier.table(spec.table)
    if "valid_to" in table.columns:
        table = table.filter(table["valid_to"].is_null() | (table["valid_to"] > CLOSE))
    assert len(rows) == table.height > 0
    for row, source in zip(rows, table.iter_rows(named=True), strict=True):
        wanted = {c.wire: shown(c, source[c.source], spec.form) for c in spec.columns}
        assert row == {name: text for name, text in wanted.items() if text is not None}


@pytest.mark.parametrize("operation", ["PaymentReportingSOAP", "PaymentReportingDataSetFromGMT"])
def test_windows_that_touch_tile_the_feed(operation: str, carrier: Carrier, sandbox: Sandbox) -> None:
    days = [f"2026-10-{day:02d}T12:00:00Z" for day in range(1, 31)]
    edges = ["2026-09-30T00:00:00Z", *days, "2026-10-31T00:00:00Z"]
    counts = [
        ask(sandbox, operation, start, end).count(b"<PaymentGUID>")
        for start, end in itertools.pairwise(edges)
    ]
    assert sum(counts) == carrier.payments
    assert min(counts) > 0


def test_the_views_know_the_carrier(carrier: Carrier, sandbox: Sandbox, tmp_path: Path) -> None:
    data = sandbox.exchange.cloud.data
    invoice = carrier.table("payments")["invoice_number"][0]
    found = data.invoice(invoice)
    assert found is not None
    assert found["invoice_number"] == invoice
    account = carrier.table("payments")["account_number"][0]
    customer = data.customer(account)
    assert customer is not None
    assert customer["customer_name"] == carrier.table("payments")["customer_name"][0]
    with pytest.raises(FileNotFoundError, match="--generate"):
        Sandbox(tmp_path)
