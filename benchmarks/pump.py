"""`python -m benchmarks pump`: pushes acknowledged a second, beside sqlite3 with one INSERT per transaction.

Both have a row on the disk (WAL, synchronous = FULL) before they go on. sqlite3 does nothing but that; the service
is called by HTTP, reads and checks 18 fields and looks up the invoice.
"""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from benchmarks.rtdr import fill
from benchmarks.service import GUID, KEY, Load, listening, lua, settings_file, wrk
from tasks.inbound.store import open_store
from tasks.inbound.tables import pushes
from tasks.settings import load_settings

LEAST = {1: 0.15, 16: 0.4}  # callers at once → share of rows a second, on a disk that syncs in 0.2 ms
_SECONDS, _INVOICES = 5, 10_000
_FIELDS = {
    "BillerGUID": GUID, "PaymentDate": "2026-11-10T12:00:00Z", "Approved": "True", "CustomerName": "Ana Diaz",
    "CustomerAddress": "12 Main Street", "CustomerCity": "Springfield", "CustomerState": "IL", "CustomerZip": "62701",
    "PaymentAmount": "10.50", "PaymentDescription": "Premium", "PaymentTypeID": "1", "CardType": "Visa",
    "PaymentMessage": "Approved", "BillerReference": "REF-1", "ConvenienceFee": "1.00", "RemoteIP": "192.0.2.7",
}  # fmt: skip
_SCRIPT = """math.randomseed(os.time())
local head = { ["Content-Type"] = "application/x-www-form-urlencoded", ["X-Service-Key"] = "%s" }
local count, own = 0, math.random(0, 0xffffff)
request = function()
  count = count + 1
  local guid = string.format("%%08x-0000-4000-8000-%%012x", own, count)
  local body = "%s&PaymentGUID=" .. guid .. "&InvoiceNumber=" .. string.format("INV-%%08d", math.random(0, %d))
  return wrk.format("POST", nil, head, body)
end
"""
Row = tuple[str, str, str, str, str]


def section(runs: int = 3) -> list[Row]:
    """Rows of the table: what, measured, ratio, target, met. Alternates the two; medians of the pairs."""
    if not shutil.which("wrk"):
        sys.stdout.write("wrk is not installed (Debian: wrk); the Data Pump is left out\n")
        return []
    pairs: dict[int, list[tuple[Load, float]]] = {callers: [] for callers in LEAST}
    with tempfile.TemporaryDirectory(prefix="icflows-pump-", dir=_disk()) as name:
        folder = Path(name)
        file = settings_file(folder)
        with closing(open_store(load_settings(file))) as store:
            fill(store, _INVOICES)
        body = "&".join(
            f"{field}={value.replace(' ', '+').replace(':', '%3A')}" for field, value in _FIELDS.items()
        )
        script = lua(folder / "push.lua", _SCRIPT % (KEY, body, _INVOICES - 1))
        with listening("services", "--config", str(file), "--port", "0") as url:
            for number in range(runs):
                for callers in LEAST:
                    theirs = one_by_one(file, _SECONDS)
                    before = _stored(file)
                    ours = wrk(script, f"{url}/bench/datapump/payments", _SECONDS, callers)
                    if _stored(file) - before < ours.answers:
                        raise RuntimeError("a push was acknowledged and is not there")
                    pairs[callers].append((ours, theirs))
                    sys.stdout.write(
                        f"  run {number + 1}, {callers} at once: sqlite3 {theirs:,.0f}/s, icflows {ours.rate:,.0f}/s\n"
                    )
    return [_row(callers, measured) for callers, measured in pairs.items()]


def _row(callers: int, measured: list[tuple[Load, float]]) -> Row:
    share = statistics.median(ours.rate / theirs for ours, theirs in measured)
    rate = statistics.median(ours.rate for ours, _ in measured)
    p99 = statistics.median(ours.p99_ms for ours, _ in measured)
    what = f"pushes acknowledged, {callers} caller{'s' if callers > 1 else ''}"
    met = "yes" if share >= LEAST[callers] else "no"
    return (
        what,
        f"{rate:,.0f}/s, p99 {p99:.1f} ms",
        f"{share:.2f} × sqlite3",
        f"≥ {LEAST[callers]:g} ×",
        met,
    )


def one_by_one(file: Path, seconds: float) -> float:
    """Rows a second of sqlite3 alone: the same table with its indexes, the same values, one transaction each."""
    folder = file.parent / f"plain-{uuid4().hex}"
    with closing(open_store(load_settings(settings_file(folder)))):
        pass
    values = {
        "biller": "bench", "variant": 1, "content_sha256": "0" * 64, "received_at": 1_794_312_000_000_000,
        "last_seen_at": 1_794_312_000_000_000, "times_seen": 1, "form": "form", "payment_date": 1_794_312_000_000_000,
        "account_number": "0000000007", "invoice_number": "INV-00000007", "payment_amount": 1050, "convenience_fee": 100,
        "approved": 1, "payment_type_id": "1", "tender": "CARD", "card_type": "Visa", "payment_message": "Approved",
        "payment_description": "Premium", "biller_reference": "REF-1", "customer_name": "Ana Diaz",
        "address": "12 Main Street", "city": "Springfield", "state_code": "IL", "zip": "62701", "remote_ip": "192.0.2.7",
        "account_known": 1, "open_balance": 1050, "above_balance": 0,
    }  # fmt: skip
    names = ["push_id", "payment_guid", *values]
    statement = f"INSERT INTO {pushes.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    rows, started = 0, time.perf_counter()
    with closing(
        sqlite3.connect(folder / "var" / "service" / "service.db", isolation_level=None)
    ) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        while time.perf_counter() - started < seconds:
            guid = str(uuid4())
            connection.execute(statement, [f"{guid}-1", guid, *values.values()])
            rows += 1
    rate = rows / (time.perf_counter() - started)
    shutil.rmtree(folder)
    return rate


def _stored(file: Path) -> int:
    with closing(sqlite3.connect(file.parent / "var" / "service" / "service.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM pushes").fetchone()[0])


def _disk() -> Path:
    """Beside the other benchmarks' data: a disk, and no file system in memory."""
    folder = Path("var") / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()
