"""A biller whose service is killed or runs out of disk, and InvoiceCloud's side that pushes to it all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import pytest

from sandbox.line_out import Door, Line, read_xml, soap_call
from tasks.inbound import tables
from tasks.inbound.store import open_store
from tasks.settings import Settings, load_settings

GUID = "11111111-2222-3333-4444-555555555555"
KEY, KEY_NAME = "canary-service-key", "SERVICE_KEY"
Form = Literal["form", "soap", "json"]
FORMS: tuple[Form, ...] = ("form", "soap", "json")
Answer = tuple[int, str]


@dataclass
class Site:
    """One MIPS/APPS biller in a folder of its own; its service runs elsewhere."""

    folder: Path
    file: Path
    settings: Settings
    handover: Path
    forms: tuple[Form, ...] = FORMS

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table of the service's store."""
        of = tables.metadata.tables[table]
        with closing(open_store(self.settings)) as store, store.reading() as connection:
            return [
                row._asdict() for row in connection.execute(of.select().order_by(*of.primary_key.columns))
            ]

    def payment(self, guid: str, cents: int = 2_000, **more: str) -> dict[str, str]:
        """A payment's fields as IC posts them."""
        return {
            "BillerGUID": GUID, "PaymentGUID": guid, "PaymentDate": "2026-11-10T11:00:00Z", "Approved": "True",
            "PaymentAmount": f"{cents // 100}.{cents % 100:02d}", "InvoiceNumber": "INV-1", "CustomerName": "Canary Person",
        } | more  # fmt: skip

    def line(self, address: str) -> Line:
        """A connection to the service at `address`."""
        return Line(Door(address, KEY, timeout=20))

    @staticmethod
    def push(line: Line, form: Form, fields: dict[str, str], kind: str = "payments") -> Answer:
        """(status, receipt or ""). Raises TROUBLE (sandbox.line_out) when no answer came."""
        if form == "soap":
            name = {"payments": "PostPayment", "autopay": "PostAutoPay"}[kind]
            status, answer = line.ask(
                "POST", "/DataPump.asmx", *soap_call("urn:icflows:datapump", name, fields)
            )
        elif form == "json":
            headers = {"Content-Type": "application/json"}
            status, answer = line.ask("POST", f"/datapump/{kind}", json.dumps(fields).encode(), headers)
        else:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            status, answer = line.ask("POST", f"/datapump/{kind}", urlencode(fields).encode(), headers)
        if status != 200:
            return status, ""
        if form == "json":
            told = json.loads(answer)
            return status, told["receipt"] if told["success"] else ""
        found = read_xml(answer)
        return status, found["Receipt"] if found["Success"] == "true" else ""


@pytest.fixture
def site(tmp_path: Path, to_toml: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Site:
    """An empty site. Slow senders are not what is tested here: they have time on a busy machine."""
    monkeypatch.setenv(KEY_NAME, KEY)
    biller = {
        "product": "mips-apps", "biller_guid": GUID, "bid": "1", "web_service_key": f"env:{KEY_NAME}",
        "time_zone": "America/Chicago", "base_url": "https://ic.invalid/",
        "inbound": {"keys": [f"env:{KEY_NAME}"], "handover": "handover"},
    }  # fmt: skip
    file = tmp_path / "icflows.toml"
    service = {"head_seconds": 20.0, "body_seconds": 20.0}
    file.write_text(to_toml({"service": service, "billers": {"acme": biller}}), "utf-8")
    return Site(tmp_path, file, load_settings(file), tmp_path / "handover")
