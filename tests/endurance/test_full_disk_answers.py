"""The service's disk is full: pushes get an error and are not there, balances are answered, and later all goes on.

Full in three ways: a tiny disk (tmpfs) that something else fills, a limit on the size of each file of the process, and
SQLite's own limit on pages. Where no disk can be mounted, the first way is the second one.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tasks.inbound import tables
from tasks.inbound.store import open_store
from tasks.inbound.values import microseconds

ROOT = Path(__file__).parents[2]
MOST_PUSHES = 400  # by then a store without room has refused one in each form
FILLER = "filler"


@dataclass
class Running:
    """A service in a process of its own; `fill()` leaves its disk no room, `free()` gives it back."""

    site: Any
    address: str
    fill: Callable[[], None]
    free: Callable[[], None]


@contextmanager
def process(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Starts a service; its address. It must end well."""
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        assert running.stdout
        try:
            yield running, running.stdout.readline().split()[-1]
        finally:
            running.terminate()
            ended = running.wait(30)
    assert ended == 0


@contextmanager
def on_a_small_disk(site: Any) -> Iterator[bool]:
    """Mounts the store's folder as a disk of four megabytes; False where that is not possible."""
    folder = site.settings.folder("service")
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_disk(folder: Path) -> None:
    """Takes all room that is left, to the last byte."""
    with (folder / FILLER).open("ab", buffering=0) as file:
        for size in (65_536, 512, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def limit_files(pid: int, folder: Path | None) -> None:
    """No file of the process may grow beyond what the largest of `folder` is now; None: no limit."""
    size = max(file.stat().st_size for file in folder.iterdir()) if folder else resource.RLIM_INFINITY
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def limit_pages(database: Path, file: Path) -> None:
    """The database may not grow any more."""
    with closing(sqlite3.connect(database)) as connection:
        file.write_text(str(connection.execute("PRAGMA page_count").fetchone()[0]))


@pytest.fixture(params=["disk", "limit", "pages"])
def running(request: pytest.FixtureRequest, site: Any) -> Iterator[Running]:
    """The service over a store with one open invoice of 50.00."""
    folder, pages = site.settings.folder("service"), site.folder / "pages"
    alone = ["-m", "services", "--config", str(site.file), "--port", "0"]
    if request.param == "disk":
        with on_a_small_disk(site) as mounted:
            if mounted:
                owe(site)
                with process(*alone) as (_, address):
                    yield Running(site, address, lambda: fill_disk(folder), (folder / FILLER).unlink)
                return
    owe(site)
    if request.param == "pages":
        with process(str(Path(__file__).with_name("paged.py")), str(site.file), str(pages)) as (_, address):
            yield Running(site, address, lambda: limit_pages(folder / "service.db", pages), pages.unlink)
        return
    with process(*alone) as (one, address):
        yield Running(site, address, lambda: limit_files(one.pid, folder), lambda: limit_files(one.pid, None))


def owe(site: Any) -> None:
    """What IMT says: heard a moment ago."""
    row = {
        "biller": "acme",
        "invoice_number": "INV-7",
        "account_number": "0042",
        "status": "OPEN",
        "balance": 5000,
    }
    with closing(open_store(site.settings)) as store, store.writing() as connection:
        connection.execute(tables.balances.insert(), row)
        known = {"biller": "acme", "known_as_of": microseconds(datetime.now(UTC))}
        connection.execute(tables.freshness.insert(), known)


class Pumped:
    """Pushes one after the other on one line; `taken`: GUID → receipt, `refused`: GUID → form."""

    def __init__(self, running: Running) -> None:
        self._site = running.site
        self.line = self._site.line(running.address)
        self.taken: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    def push(self, guid: str, form: str) -> int:
        """The status. What is refused is refused in words: 503, in SOAP with the server to blame."""
        fields = self._site.payment(guid, PaymentDescription="x" * 900)
        status, receipt = self._site.push(self.line, form, fields)
        if receipt:
            self.taken[guid] = receipt
            self.refused.pop(guid, None)
        else:
            self.refused[guid] = form
        return int(status)

    def balance(self) -> str:
        """What INV-7 owes, by the service."""
        status, answer = self.line.ask("GET", "/rtdr/invoices/INV-7")
        assert status == 200, answer
        return str(json.loads(answer)["balance_due"])

    def fault(self, guid: str) -> bytes:
        """The whole answer to a SOAP push that is refused."""
        body = (
            '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
            '<PostPayment xmlns="urn:icflows:datapump"><Req>'
            + "".join(f"<{name}>{text}</{name}>" for name, text in self._site.payment(guid).items())
            + "</Req></PostPayment></soap:Body></soap:Envelope>"
        )
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        status, answer = self.line.ask("POST", "/DataPump.asmx", body.encode(), headers)
        if status == 200:
            self.taken[guid] = f"{guid}-1"
        return bytes(answer)


def test_a_full_disk_gets_an_error_and_never_an_acknowledgement(running: Running) -> None:
    pumped = Pumped(running)
    with closing(pumped.line):
        before = [guid_of(4, number) for number in range(3)]
        for guid, form in zip(before, running.site.forms, strict=True):
            assert pumped.push(guid, form) == 200
        running.fill()
        push_until_refused(pumped, running.site.forms)
        assert pumped.balance() == "50.00"
        with urlopen(f"{running.address}/health", timeout=20) as health:
            assert json.load(health) == {"status": "ok"}  # balances are answered
        running.free()
        again = dict(pumped.refused)
        for guid, form in again.items():
            push_until_taken(pumped, guid, form)
        assert pumped.push(guid_of(2, 0), "json") == 200
        assert pumped.balance() == "50.00"
    check(running.site, pumped, set(again))


def push_until_refused(pumped: Pumped, forms: tuple[str, ...]) -> None:
    """Until each form was refused: 503, and in SOAP a fault of the server; balances are answered between."""
    for number in range(MOST_PUSHES):
        form = forms[number % 3]
        status = pumped.push(guid_of(1, number), form)
        assert status in (200, 503)
        if status == 503:
            assert pumped.balance() == "50.00"
        if set(pumped.refused.values()) == set(forms):
            break
    assert set(pumped.refused.values()) == set(forms)
    for number in range(MOST_PUSHES):
        fault = pumped.fault(guid_of(3, number))
        if b"<Receipt>" not in fault:
            break
    assert b"<faultcode>soap:Server</faultcode>" in fault
    assert b"send it again" in fault
    assert b"Canary" not in fault


def push_until_taken(pumped: Pumped, guid: str, form: str) -> None:
    """There is space again: the service needs no more than a moment to see it."""
    deadline = time.monotonic() + 20
    while (status := pumped.push(guid, form)) != 200:
        assert status == 503
        assert time.monotonic() < deadline
        time.sleep(0.1)


def check(site: Any, pumped: Pumped, again: set[str]) -> None:
    """What was acknowledged is there, once; nothing else is. The store is whole."""
    rows = site.rows("pushes")
    assert {row["payment_guid"]: row["push_id"] for row in rows} == pumped.taken
    assert len(rows) == len(pumped.taken)
    assert {row["variant"] for row in rows} == {1}
    assert again <= set(pumped.taken)
    # had a refused push been stored, its repeat would count as the second time
    assert {row["times_seen"] for row in rows} == {1}
    with closing(sqlite3.connect(site.settings.folder("service") / "service.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def guid_of(group: int, number: int) -> str:
    """A payment's GUID; the last digits differ most, so that rows come at both ends of an index."""
    return f"{number * 2654435761 % 2**32:08x}-0000-0000-{group:04d}-{number:012d}"
