"""`python -m benchmarks rtdr`: answers a second over 1,000,000 accounts, beside bare Starlette with a constant body."""

from __future__ import annotations

import re
import shutil
import statistics
import sys
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import polars as pl

from benchmarks.service import KEY, listening, lua, settings_file, wrk
from tasks.inbound import figures
from tasks.inbound.store import Store, open_store
from tasks.settings import load_settings

LEAST_SHARE, MOST_P99 = 0.5, 5.0
_CONNECTIONS, _SECONDS, _AT_ONCE = 16, 8, 50_000
_PATH = "/bench/RealTimeDataRefresh.asmx"
_HEAD = {
    "Content-Type": "text/xml; charset=utf-8",
    "SOAPAction": '"urn:icflows:rtdr/GetInvoice"',
    "X-Service-Key": KEY,
}
_ASK = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><GetInvoice xmlns="urn:icflows:rtdr">'
    "<Req><InvoiceNumber>INV-{}</InvoiceNumber></Req></GetInvoice></s:Body></s:Envelope>"
)
Row = tuple[str, str, str, str, str]


def section(folder: Path, runs: int = 3, accounts: int = 1_000_000) -> list[Row]:
    """Rows of the table: what, measured, ratio, target, met. Alternates the two; medians of the pairs."""
    if not shutil.which("wrk"):
        sys.stdout.write("wrk is not installed (Debian: wrk); real-time data refresh is left out\n")
        return []
    file = settings_file(folder / f"rtdr-{accounts}")
    with closing(open_store(load_settings(file))) as store:
        fill(store, accounts)
    script = lua(file.with_name("ask.lua"), _script(accounts))
    pairs = []
    with listening("services", "--config", str(file), "--port", "0") as ours:
        constant = file.with_name("answer.xml")
        constant.write_bytes(_answer(ours, 7))
        with listening("benchmarks.bare", str(constant)) as bare:
            for url in (ours, bare):
                wrk(script, url + _PATH, 2, _CONNECTIONS)
            for number in range(runs):
                one, other = (wrk(script, url + _PATH, _SECONDS, _CONNECTIONS) for url in (ours, bare))
                pairs.append((one, other))
                sys.stdout.write(
                    f"  run {number + 1}: bare Starlette {other.rate:,.0f}/s, p99 {other.p99_ms:.1f} ms; "
                    f"icflows {one.rate:,.0f}/s, p99 {one.p99_ms:.1f} ms\n"
                )
    share = statistics.median(one.rate / other.rate for one, other in pairs)
    slower = statistics.median(one.p99_ms / other.p99_ms for one, other in pairs)
    rate, p99 = (statistics.median(getattr(one, name) for one, _ in pairs) for name in ("rate", "p99_ms"))
    return [
        (f"RTDR, {accounts:,} accounts, {_CONNECTIONS} callers", f"{rate:,.0f} answers/s", f"{share:.2f} × bare Starlette",
         f"≥ {LEAST_SHARE:g} ×", "yes" if share >= LEAST_SHARE else "no"),
        ("  99 of 100 answers within", f"{p99:.1f} ms", f"{slower:.1f} × bare Starlette", f"< {MOST_P99:g} ×",
         "yes" if slower < MOST_P99 else "no"),
    ]  # fmt: skip


def fill(store: Store, accounts: int) -> None:
    """An open invoice for each account; what is there already stays."""
    now = datetime.now(UTC)
    with store.reading() as connection:
        there = connection.exec_driver_sql("SELECT count(*) FROM balances").scalar()
    if there != accounts:
        sys.stdout.write(f"  filling the store with {accounts:,} accounts …\n")
        for start in range(0, accounts, _AT_ONCE):
            rows = _invoices(start, min(_AT_ONCE, accounts - start))
            none = rows.clear()
            with store.writing() as connection:
                figures.write(connection, "bench", figures.Part(rows, none, none, none, none), now)
    with store.writing() as connection:
        figures.finish(connection, "bench", [], [], now, now)


def _invoices(start: int, number: int) -> pl.DataFrame:
    n = pl.int_range(start, start + number, dtype=pl.Int64)
    digits = n.cast(pl.String).str.zfill(8)
    cents = n * 7919 % 500_000 + 1
    return pl.select(
        invoice_number=pl.format("INV-{}", digits), account_number=pl.format("00{}", digits), status=pl.lit("OPEN"),
        successor=pl.lit(None, pl.String), invoice_type_id=pl.lit("AUTO"), invoice_date=pl.lit("2026-11-01"),
        due_date=pl.lit("2026-12-01"), autopay_collection_date=pl.lit("2026-11-29"), total_amount_due=cents,
        minimum_amount_due=cents // 10, allow_partial=n % 3 == 0, balance=cents, changed_at=pl.lit(0),
    )  # fmt: skip


def _script(accounts: int) -> str:
    head = ", ".join(f'["{name}"] = [[{value}]]' for name, value in _HEAD.items())
    before, after = _ASK.split("{}")
    return f"""math.randomseed(7)
local head = {{ {head} }}
request = function()
  local number = string.format("%08d", math.random(0, {accounts - 1}))
  return wrk.format("POST", nil, head, [[{before}]] .. number .. [[{after}]])
end
"""


def _answer(url: str, number: int) -> bytes:
    """The service's answer for one invoice, checked: the figures that the store was filled with."""
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("POST", _PATH, _ASK.format(f"{number:08d}").encode(), _HEAD)
        answer = connection.getresponse()
        body = answer.read()
    found = re.search(rb"<BalanceDue>([0-9.]+)</BalanceDue>", body)
    if answer.status != 200 or not found or found[1] != f"{(number * 7919 % 500_000 + 1) / 100:.2f}".encode():
        raise RuntimeError(f"the service answers {answer.status}, and not what the store holds")
    return body
