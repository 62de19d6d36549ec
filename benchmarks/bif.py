"""A million invoice records: rendered as a Biller Invoice File, beside Polars' own write_csv of the same frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from io import BytesIO

import polars as pl

from tasks.invoicecloud.bif.layout import FACTS, FileFacts, Layout, load_layout
from tasks.invoicecloud.bif.parsing import parse
from tasks.invoicecloud.bif.rendering import render
from tasks.invoicecloud.bif.troubles import trouble

MOST = 2.0
FILE = FileFacts(
    "1234",
    "11111111-2222-3333-4444-555555555555",
    "bench",
    datetime(2026, 11, 10, 12, tzinfo=UTC),
    "America/Chicago",
)


def records(number: int) -> pl.DataFrame:
    """Ordinary invoices, every 50th reissued; texts of a usual length, some nulls, some quotes."""
    n = pl.int_range(number, dtype=pl.Int64)
    digits = n.cast(pl.String).str.zfill(8)
    cents = (n * 7919 % 500_000 + 1) * (n % 50 != 0).cast(pl.Int64)
    money = cents.cast(pl.Decimal(18, 2)) / 100
    own = {
        "record_type": pl.when(n % 50 == 0).then(pl.lit("R")).otherwise(pl.lit("A")),
        "invoice_number": pl.format("INV-{}", digits),
        "account_number": pl.format("00{}", digits),
        "policy_number": pl.format("POL-{}-AUTO", digits),
        "invoice_type_id": pl.lit("AUTO"),
        "invoice_date": pl.lit(date(2026, 10, 1)) + pl.duration(days=n % 28),
        "due_date": pl.lit(date(2026, 11, 1)) + pl.duration(days=n % 28),
        "total_amount_due": money,
        "balance_due": money,
        "minimum_amount_due": money / 10,
        "allow_partial": n % 3 == 0,
        "customer_name": pl.when(n % 20 == 0)
        .then(pl.lit('Ana "Ace" Díaz'))
        .otherwise(pl.lit("Robert O'Brien")),
        "address1": pl.format("{} Main Street", n % 9999),
        "city": pl.lit("Springfield"),
        "state": pl.lit("IL"),
        "zip": (n % 99_999).cast(pl.String).str.zfill(5),
        "phone": pl.lit("555 010 0199"),
        "email": pl.format("payer{}@example.com", n),
        "agent_code": pl.format("AG{}", n % 400),
        "invoice_format_guid": pl.lit("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"),
        "image_name": pl.format("1234_00{}_INV-{}.pdf", digits, digits),
    }
    whole = {name: own.get(name, pl.lit(None)).cast(kind) for name, kind in FACTS.items()}
    return pl.select(n.alias("n")).select(**whole)


def seconds(work: Callable[[], object], runs: int) -> float:
    """The best of some runs: what the work takes when nothing else gets in its way."""
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def fixed_width(layout: Layout) -> Layout:
    """The same record in fields of 40 characters: what a layout costs that write_csv cannot write."""
    fields = {name: {"from": column.source, "width": 40} for name, column in layout.record.items()}
    forms = layout.forms.model_dump() | {"money": "cents"}
    data = {
        "name": "fixed",
        "shape": "fixed",
        "line_end": "\n",
        "encoding": "latin-1",
        "line_numbers": "file",
    }
    return Layout.model_validate(
        {**data, "forms": forms, "record_types": layout.record_types, "record": fields}
    )


def section(number: int = 1_000_000, runs: int = 3) -> list[tuple[str, str, str, str, str]]:
    """Rows of the table: what, measured, ratio, target, met."""
    layout, rows = load_layout("assumed"), records(number)
    csv = seconds(lambda: rows.write_csv(BytesIO()), runs)
    ours = seconds(lambda: render(layout, FILE, rows), runs)
    data = render(layout, FILE, rows)
    wide, fixed = seconds(lambda: render(fixed_width(layout), FILE, rows), 1), len(layout.record) * 40
    check = seconds(lambda: trouble(layout, rows), 1)
    back = seconds(lambda: parse(layout, data), 1)
    size = f"{number:,} records, {len(data) / 1e6:.0f} MB"
    met = "yes" if ours / csv <= MOST else "no"
    return [
        (
            f"BIF of {size}",
            f"{ours:.2f} s",
            f"{ours / csv:.2f} × write_csv ({csv:.2f} s)",
            f"≤ {MOST:g} ×",
            met,
        ),
        (f"  fixed width, {fixed} characters", f"{wide:.2f} s", f"{wide / csv:.2f} × write_csv", "", "–"),
        ("  rows that cannot be written", f"{check:.2f} s", "", "", "–"),
        ("  the same file read back", f"{back:.2f} s", "", "", "–"),
    ]
