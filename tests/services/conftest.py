"""A running service: real uvicorn in a thread, real sockets on loopback, a real store, a clock that stands still."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.app import build_app
from services.server import Server, _listen, server_of
from services.writer import Writer
from tasks.inbound import tables
from tasks.inbound.balances import Balances
from tasks.inbound.store import Store, open_store
from tasks.inbound.values import microseconds
from tasks.settings import Settings, load_settings

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
KEYS = {"KEY_A": "canary-spectrum-key", "KEY_A2": "canary-next-key", "KEY_Z": "canary-mips-key"}
GUID = "11111111-2222-3333-4444-555555555555"
PAYMENT = {
    "BillerGUID": GUID,
    "PaymentGUID": "aaaaaaaa-0000-0000-0000-000000000001",
    "PaymentDate": "2026-11-10T11:00:00Z",
    "PaymentAmount": "20.00",
    "Approved": "True",
    "InvoiceNumber": "INV-1",
    "CustomerName": "Canary Person",
    "CustomerAddress": "1 Canary Street",
    "ConvenienceFee": "1.25",
}


@dataclass
class Running:
    """The service at `port`; `get`, `post` and `raw` speak to it."""

    settings: Settings
    store: Store
    port: int
    server: Server
    key: str = KEYS["KEY_A"]

    def request(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """(status, headers in lower case, body); the key is sent unless X_Service_Key says otherwise."""
        sent = {"X-Service-Key": self.key} | {name.replace("_", "-"): text for name, text in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with closing(connection):
            connection.request(method, path, body, {name: text for name, text in sent.items() if text})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        return self.request("GET", path, **headers)

    def soap(
        self, operation: str, fields: dict[str, str], where: str = "rtdr"
    ) -> tuple[int, dict[str, str], str]:
        """A SOAP 1.1 call to acme."""
        inner = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items())
        name = {"rtdr": "RealTimeDataRefresh", "datapump": "DataPump"}[where]
        body = envelope(f'<{operation} xmlns="urn:icflows:{where}"><Req>{inner}</Req></{operation}>')
        return self.request("POST", f"/acme/{name}.asmx", body, Content_Type="text/xml; charset=utf-8")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def count(self, table: str) -> int:
        with self.store.reading() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def envelope(inner: str, version: str = "http://schemas.xmlsoap.org/soap/envelope/") -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{version}">'
        f"<soap:Body>{inner}</soap:Body></soap:Envelope>"
    ).encode()


def write_settings(folder: Path, to_toml: Callable[..., str], **sections: Any) -> Settings:
    """acme (Spectrum, two keys) and zeta (MIPS/APPS); `service` and `inbound` (of acme) by argument."""
    folder.mkdir(parents=True, exist_ok=True)
    biller = {
        "bid": "1", "web_service_key": "env:KEY_A", "time_zone": "America/Chicago", "base_url": "https://ic.invalid/",
    }  # fmt: skip
    acme = {"product": "spectrum", "biller_guid": GUID, "inbound": {"keys": ["env:KEY_A", "env:KEY_A2"]}}
    acme["inbound"] |= sections.get("inbound", {})  # type: ignore[operator]
    zeta = {"product": "mips-apps", "biller_guid": GUID, "inbound": {"keys": ["env:KEY_Z"]}}
    service = {"port": 0} | sections.get("service", {})
    mute = {"product": "mips-apps", "biller_guid": GUID}
    billers = {"acme": biller | acme, "zeta": biller | zeta, "mute": biller | mute}
    file = folder / "icflows.toml"
    file.write_text(to_toml({"service": service, "billers": billers}), "utf-8")
    return load_settings(file)


def fill(store: Store) -> None:
    """One open invoice of 50.00, one that was reissued, heard of a minute ago."""
    now = microseconds(AT)
    row = {
        "biller": "acme", "account_number": "0042", "invoice_type_id": "1", "invoice_date": "2026-11-01",
        "due_date": "2026-12-01", "total_amount_due": 5000, "minimum_amount_due": 1000, "allow_partial": True,
        "changed_at": now,
    }  # fmt: skip
    live = row | {"invoice_number": "INV-1", "status": "OPEN", "balance": 5000, "successor": None}
    old = row | {"invoice_number": "INV-0", "status": "SUPERSEDED", "balance": 0, "successor": "INV-1"}
    with store.writing() as connection:
        for biller in ("acme", "zeta"):
            connection.execute(tables.freshness.insert(), {"biller": biller, "known_as_of": now - 60_000_000})
        connection.execute(tables.balances.insert(), [live, old])


@contextmanager
def running(settings: Settings, writer: Callable[[Store], Writer] | None = None) -> Iterator[Running]:
    """Starts the service; stops it in good order."""
    listening, ready = _listen("127.0.0.1", 0), threading.Event()
    with closing(open_store(settings)) as store, closing(Balances(store)) as answers:
        fill(store)
        app = build_app(
            settings, store, clock=lambda: AT, answers=answers, writer=writer(store) if writer else None
        )
        server = server_of(app, settings.service, listening, None, ready.set)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield Running(settings, store, listening.getsockname()[1], server)
        finally:
            server.should_exit = True
            thread.join(15)
            listening.close()
    assert not thread.is_alive()


@pytest.fixture(scope="session", autouse=True)
def _keys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, key in KEYS.items():
            patch.setenv(name, key)
        yield


@pytest.fixture(scope="session")
def make_settings(to_toml: Callable[..., str]) -> Callable[..., Settings]:
    return lambda folder, **sections: write_settings(folder, to_toml, **sections)


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, make_settings: Callable[..., Settings]
) -> Iterator[Running]:
    """One for a module; wrong keys are not throttled in it, and slow senders have half a second."""
    folder = tmp_path_factory.mktemp("service")
    limits = {"wrong_keys": 100_000, "head_seconds": 0.5, "body_seconds": 0.5}
    with running(make_settings(folder, service=limits)) as started:
        yield started


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    return running


@pytest.fixture(scope="session")
def payment() -> dict[str, str]:
    return PAYMENT


@pytest.fixture(scope="session")
def enveloped() -> Callable[..., bytes]:
    return envelope
