"""The signed report: what it says, what it never shows, and that it stands alone."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from checks.contracts import IMT
from checks.describe import polars_schema
from tasks.errors import StorageTrouble
from tasks.outbox.compose import Presentment
from tasks.outbox.conversion import Plan
from tasks.outbox.conversion_check import ROWS, Verified
from tasks.outbox.conversion_lists import ListFile, Lists
from tasks.outbox.conversion_report import NOT_VERIFIED_SHOWN, render, table, write_report
from tasks.outbox.convert import compose_conversion, totals

AT = datetime(2026, 11, 10, 12, 40, tzinfo=UTC)
ZONE = "America/Chicago"
SPOKEN = "Zebra Quagmire"
MONEY = pl.Decimal(18, 2)
TYPES: dict[str, Any] = {
    **dict.fromkeys(ROWS, pl.String), **dict.fromkeys(("before", "total_amount_due", "balance_due"), MONEY),
    **dict.fromkeys(("seen_total", "seen_balance"), MONEY), "due_date": pl.Date, "seen_due": pl.Date,
    "line_no": pl.Int64, "looked_at": pl.Datetime("us", "UTC"), "found": pl.Boolean,
}  # fmt: skip


def row(number: str, verdict: str = "verified", **change: Any) -> dict[str, Any]:
    """One record of the conversion, looked at."""
    return {
        "kind": "changed", "record_type": "A", "invoice_number": number, "account_number": "000123456789",
        "group_id": number, "before": Decimal("120.50"), "total_amount_due": Decimal("120.50"),
        "balance_due": Decimal("20.00"), "due_date": date(2026, 12, 10), "file_id": "20261110T120000Z-bif-1", "line_no": 2,
        "verdict": verdict, "why": None if verdict == "verified" else "InvoiceCloud does not have it", "looked_at": AT,
        "found": True, "seen_account": "000123456789", "seen_total": Decimal("120.50"),
        "seen_balance": Decimal("20.00"), "seen_due": date(2026, 12, 10),
    } | change  # fmt: skip


def verified(*rows: dict[str, Any], name: str = "spectrum.csv", by: str = "Ann Lee") -> Verified:
    """A verification of these rows."""
    facts = {
        "account_number": "000123456789",
        "total_amount_due": Decimal("120.50"),
        "due_date": date(2026, 12, 10),
    }
    at_ic = [facts | {"invoice_number": r["invoice_number"], "balance_due": Decimal("120.50")} for r in rows]
    listed = [
        line | {"balance_due": Decimal("20.00"), "status": "OPEN", "invoice_date": date(2026, 11, 1), "customer_name": SPOKEN}
        for line in at_ic
    ]  # fmt: skip
    frames = (pl.DataFrame(at_ic, schema=polars_schema(IMT["open_at_ic"])), _listed(listed))
    made = compose_conversion(*frames, Presentment("1234", "guid", None), AT)
    none = pl.DataFrame(schema={"invoice_number": pl.String})
    files = [ListFile("open_at_ic", "open.csv", "1", "a" * 64, len(rows), 0, []),
             ListFile("spectrum_invoices", name, "2", "b" * 64, len(rows), 0, [])]  # fmt: skip
    nothing: Any = None
    plan = Plan(
        "acme", AT, Lists(*frames, files), made, nothing, none, none, none, none, nothing, none, totals(made, none, none)
    )  # fmt: skip
    sent = {
        "file_id": "20261110T120000Z-bif-1", "state": "accepted", "receipt_id": "RCPT000001", "records": len(rows),
        "records_rejected": 0, "amount": Decimal("20.00"), "answered_at": AT, "settled_at": AT, "sha256": "c" * 64,
    }  # fmt: skip
    return Verified("acme", AT, by, plan, pl.DataFrame(list(rows), schema=TYPES), [sent])


def _listed(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = polars_schema(IMT["spectrum_invoices"])
    return pl.DataFrame([{name: line.get(name) for name in schema} for line in rows], schema=schema)


def page(found: Verified) -> str:
    return render(found, ZONE, "conversion-x.csv", table(found))


class Text(HTMLParser):
    """The words that a reader sees."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def text(html: str) -> str:
    parser = Text()
    parser.feed(html.split("</style>")[1])
    return re.sub(r"\s+", " ", " ".join(parser.words))


def test_all_verified_is_signed_off() -> None:
    words = text(page(verified(row("N-1"), row("N-2"))))
    assert "All 2 records verified" in words
    assert "Signed off by Ann Lee, 2026-11-10 06:40 CST" in words
    assert "Not verified" not in words
    assert "changed A Spectrum holds another total, balance or due date 2 $241.00 $40.00 −$201.00" in words
    assert "all 2 $241.00 $40.00 −$201.00" in words
    for fact in (
        "RCPT000001",
        "open.csv",
        "spectrum.csv",
        "a" * 64,
        "b" * 64,
        "c" * 64,
        "20261110T120000Z-bif-1",
    ):
        assert fact in words


def test_one_that_is_not_verified_and_nobody_signs() -> None:
    words = text(page(verified(row("N-1"), row("N-2", "no"), row("N-3", "not_sent", why=None))))
    assert "2 of 3 records not verified; not signed off" in words
    assert "Signed off by" not in words
    assert "looked at by Ann Lee" in words
    assert "N-2 A …6789 $20.00 2026-12-10 no InvoiceCloud does not have it" in words
    assert "N-3 A …6789 $20.00 2026-12-10 not sent" in words
    assert " N-1 " not in words, "only what is not verified is listed"


def test_nothing_personal_and_no_whole_account() -> None:
    found = verified(row("N-1"), row("N-2", "unclear"))
    for shown in (page(found), table(found).decode()):
        assert SPOKEN not in shown
        assert "000123456789" not in shown
        assert "…6789" in shown


def test_hostile_names_stay_text() -> None:
    wrong = row("N-1", "no", why='<img src="x">')
    html = page(verified(wrong, name="<script>alert(1)</script>.csv", by="Ann <b>Lee</b>"))
    assert not re.search(r"<(script|img|b)\b", html)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.csv" in html
    assert "Ann &lt;b&gt;Lee&lt;/b&gt;" in html


def test_the_page_asks_nobody_for_anything() -> None:
    html = page(verified(row("N-1"), row("N-2", "no")))
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script|<link", html)
    assert "default-src 'none'" in html


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "  -"])
def test_no_cell_starts_a_formula(start: str) -> None:
    found = verified(row(f"{start}1+1", "no", why=f"{start}cmd", seen_account=f"{start}2"))
    lines = list(csv.DictReader(io.StringIO(table(found).decode())))
    assert [line["invoice_number"] for line in lines] == [f"'{start}1+1"]
    assert lines[0]["why"] == f"'{start}cmd"
    assert not any(re.match(r"\s*[=+@-]", cell) for cell in lines[0].values())


def test_the_csv_has_every_record_and_the_page_its_hash() -> None:
    rows = [row(f"N-{n}", "unclear") for n in range(NOT_VERIFIED_SHOWN + 3)]
    found = verified(*rows)
    data = table(found)
    lines = list(csv.DictReader(io.StringIO(data.decode())))
    assert list(lines[0]) == list(ROWS)
    assert [line["invoice_number"] for line in lines] == [r["invoice_number"] for r in rows]
    assert (lines[0]["looked_at"], lines[0]["balance_due"], lines[0]["found"]) == (
        "2026-11-10T12:40:00Z",
        "20.00",
        "true",
    )
    words = text(page(found))
    assert hashlib.sha256(data).hexdigest() in words
    assert "And 3 more: conversion-x.csv has all of them." in words


def test_both_files_lie_in_the_reports_folder(office: Any) -> None:
    files = write_report(office.settings, verified(row("N-1")))
    folder: Path = office.settings.folder("reports") / "acme"
    assert sorted(path.name for path in folder.iterdir()) == [
        "conversion-20261110T124000Z.csv", "conversion-20261110T124000Z.html",
    ]  # fmt: skip
    assert hashlib.sha256(files.csv.read_bytes()).hexdigest() in files.page.read_text("utf-8")


def test_a_disk_that_refuses_is_told(office: Any) -> None:
    folder = office.settings.folder("reports")
    folder.parent.mkdir(parents=True)
    folder.write_text("no folder")
    with pytest.raises(StorageTrouble, match="the reports folder cannot be written"):
        write_report(office.settings, verified(row("N-1")))


def test_nothing_to_verify_is_said_plainly() -> None:
    found = verified()
    assert found.missing == 0
    assert "Nothing had to be sent" in text(page(found))
