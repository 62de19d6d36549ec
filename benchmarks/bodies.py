"""The bytes that are measured: a DataSet of payments as the sandbox sends it, fetched once and kept."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import requests

from sandbox import Sandbox
from sandbox.carrier import generate

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
DAYS = 30
_NAMESPACE = "https://www.invoicecloud.com/portal/webservices/CloudReporting/"
_OPERATION = "PaymentReportingDataSetFromGMT"


def body(folder: Path, payments: int) -> Path:
    """A file with the answer of one window that holds `payments` payments."""
    path = folder / f"payments-{payments}.xml"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    carrier = generate(
        7, max(1000, payments // 20), DAYS, CLOSE, folder / f"carrier-{payments}", payments=payments
    )
    with Sandbox(carrier.folder, now=CLOSE, sftp_port=None) as sandbox:
        request = (
            f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><{_OPERATION} xmlns="{_NAMESPACE}">'
            f"<BillerGUID>11111111-2222-3333-4444-555555555555</BillerGUID><WebServiceKey>sandbox-key</WebServiceKey>"
            f"<FromGMT>{carrier.start:%Y-%m-%dT%H:%M:%SZ}</FromGMT><ToGMT>{CLOSE:%Y-%m-%dT%H:%M:%SZ}</ToGMT>"
            f"</{_OPERATION}></s:Body></s:Envelope>"
        )
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{_NAMESPACE}{_OPERATION}"'}
        with requests.post(
            f"{sandbox.url}CloudReporting.asmx", request.encode(), headers=headers, stream=True, timeout=600
        ) as answer:
            answer.raise_for_status()
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                shutil.copyfileobj(answer.raw, file, 1 << 20)
            part.rename(path)
    return path
