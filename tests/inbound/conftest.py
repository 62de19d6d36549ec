"""A desk that takes pushes: settings, a store (SQLite, or a real PostgreSQL), pushes to put on it, and IMT behind it."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from tasks.inbound import tables
from tasks.inbound.enrolments import read_enrolment
from tasks.inbound.model import EnrolmentPush, Push, Taken, Unread
from tasks.inbound.pushes import read_push
from tasks.inbound.store import Store, open_store
from tasks.inbound.stored import take
from tasks.pull import staging_of
from tasks.settings import load_settings
from tasks.staging.query import frame

GUID = "11111111-2222-3333-4444-555555555555"
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
DATABASE = "ICFLOWS_TEST_DATABASE"
PERSONAL = {
    "CustomerName": "Canary Jane Doe", "CustomerAddress": "77 Canary Lane", "CustomerCity": "Canaryville",
    "CustomerState": "CX", "CustomerZip": "99881", "RemoteIP": "203.0.113.77",
}  # fmt: skip


class Desk:
    """One biller's inbound side in a folder of its own."""

    now = NOW
    personal = PERSONAL

    def __init__(self, folder: Path, to_toml: Callable[..., str], database: str = "", **inbound: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        biller = {
            "product": "mips-apps", "biller_guid": GUID, "bid": "1234", "web_service_key": "env:ACME_WEB_SERVICE_KEY",
            "base_url": "http://127.0.0.1:1/", "time_zone": "America/Chicago",
            "inbound": {"keys": ["env:ACME_WEB_SERVICE_KEY"], "handover": "handover"} | inbound,
        }  # fmt: skip
        data: dict[str, Any] = {"billers": {"acme": biller, "other": biller | {"product": "spectrum"}}}
        if database:
            data["service"] = {"database": f"env:{database}"}
        (folder / "icflows.toml").write_text(to_toml(data), "utf-8")
        self.settings = load_settings(folder / "icflows.toml")
        self.handover = folder / "handover"
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The open store."""
        self._store = self._store or open_store(self.settings)
        return self._store

    def close(self) -> None:
        """Closes the store, if it was opened."""
        if self._store:
            self._store.close()
            self._store = None

    def fields(self, number: int = 1, **changes: Any) -> dict[str, str]:
        """The fields of payment `number` as IC posts them."""
        return {
            "BillerGUID": GUID, "PaymentGUID": f"AAAAAAAA-0000-0000-0000-{number:012d}",
            "PaymentDate": "11/10/2026 3:04:05 AM", "InvoiceNumber": f"00{number}", "PaymentAmount": "12.30",
            "ConvenienceFee": "2.95", "Approved": "True", "PaymentTypeID": "1", "CardType": "VISA", **PERSONAL,
        } | changes  # fmt: skip

    def push(self, number: int = 1, form: Any = "form", biller: str = "acme", **changes: Any) -> Push:
        """Payment `number` as it was read."""
        read = read_push(self.settings, biller, form, self.fields(number, **changes))
        assert isinstance(read, Push)
        return read

    def unread(self, number: int = 1, **changes: Any) -> Unread:
        """A payment that cannot be read."""
        read = read_push(self.settings, "acme", "form", self.fields(number, **changes))
        assert isinstance(read, Unread)
        return read

    def event(self, list: Any = "AUTOPAY", **changes: Any) -> EnrolmentPush:
        """An enrolment of account 0007."""
        name = "AutoPay" if list == "AUTOPAY" else "Paperless"
        fields = {"AccountNumber": "0007", name: "true", "EmailAddress": "canary@example.com"} | changes
        read = read_enrolment(self.settings, "acme", "json", list, fields)
        assert isinstance(read, EnrolmentPush)
        return read

    def take(self, *items: Any, at: datetime = NOW) -> list[Taken]:
        """Stores them in one transaction."""
        return take(self.store, items, at)

    def owes(self, invoice: str, account: str, cents: int, **more: Any) -> None:
        """What IMT says of an invoice."""
        row = {"biller": "acme", "invoice_number": invoice, "account_number": account, "status": "OPEN"}
        with self.store.writing() as connection:
            connection.execute(insert(tables.balances), row | {"balance": cents} | more)

    def rows(self, table: str = "pushes", *columns: str) -> list[Any]:
        """Rows of the store as dicts, or of the given columns as tuples, in the order of their keys."""
        of = tables.metadata.tables[table]
        names = [of.c[name] for name in columns] or [of]
        with self.store.reading() as connection:
            found = connection.execute(select(*names).order_by(*of.primary_key.columns))
            return [tuple(row) if columns else row._asdict() for row in found]

    def staged(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query on staging."""
        with staging_of(self.settings, "acme").open() as connection:
            return frame(connection, sql).to_dicts()

    def control(self, name: str) -> dict[str, Any]:
        """The control file of a file for IMT."""
        return dict(json.loads((self.handover / f"{name}.control.json").read_text("utf-8")))

    def acknowledge(self, name: str, **changes: Any) -> None:
        """IMT answers to a file."""
        control = self.control(name)
        answer = {key: control[key] for key in ("sequence", "rows", "amount", "sha256")} | {"status": "taken"}
        (self.handover / "acks").mkdir(exist_ok=True)
        (self.handover / "acks" / f"{name}.ack.json").write_text(json.dumps(answer | changes), "utf-8")


@pytest.fixture
def desk(tmp_path: Path, to_toml: Callable[..., str]) -> Iterator[Desk]:
    """An empty desk on SQLite."""
    one = Desk(tmp_path / "desk", to_toml)
    yield one
    one.close()


@pytest.fixture
def make_desk(tmp_path: Path, to_toml: Callable[..., str]) -> Iterator[Callable[..., Desk]]:
    """make_desk(handover_format="parquet", …): desks with other settings."""
    made: list[Desk] = []

    def make(**inbound: Any) -> Desk:
        made.append(Desk(tmp_path / f"desk{len(made)}", to_toml, **inbound))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_desk(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    to_toml: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Desk]:
    """An empty desk on each of the two databases."""
    database = ""
    if request.param == "postgresql":
        monkeypatch.setenv(DATABASE, request.getfixturevalue("postgresql"))
        database = DATABASE
    one = Desk(tmp_path / "desk", to_toml, database)
    yield one
    if database:
        tables.metadata.drop_all(one.store.engine)
    one.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server of its own, on a socket in a folder of its own; fsync is on, as it comes."""
    folder = Path(tempfile.mkdtemp(prefix="icflows-pg-"))
    program = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres")
    name = "postgres" if user else getpass.getuser()

    def run(*command: str) -> None:
        subprocess.run([*user, *command], check=True, capture_output=True, cwd=folder, timeout=60)

    data, options = f"{folder}/data", f"-k {folder} -c listen_addresses="
    try:
        run(
            f"{program}/initdb",
            "-D",
            data,
            "-U",
            name,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )
        run(f"{program}/pg_ctl", "-D", data, "-l", f"{folder}/log", "-o", options, "-w", "start")
        try:
            yield f"postgresql://{name}@/postgres?host={folder}"
        finally:
            run(f"{program}/pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
