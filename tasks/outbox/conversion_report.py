"""The signed report of a conversion: one HTML page for people, one CSV with every record. No personal data.

<reports>/<biller>/conversion-<UTC>.html   self-contained, printable, nothing fetched, no script
<reports>/<biller>/conversion-<UTC>.csv    every record and its verdict; the page names its SHA-256
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.archive import translated_os_errors, write_durably
from tasks.outbox.contradictions import short
from tasks.outbox.conversion_check import Verified
from tasks.outbox.conversion_lists import described
from tasks.report import words
from tasks.settings import Settings

NOT_VERIFIED_SHOWN = 500  # on the page; the CSV has all of them
_KINDS = {
    "unchanged": ("nothing", "open at InvoiceCloud as Spectrum holds it"),
    "changed": ("A", "Spectrum holds another total, balance or due date"),
    "new": ("A", "open in Spectrum, not at InvoiceCloud"),
    "reissued": ("R", "replaced or cancelled, still exists in Spectrum: 0.00"),
    "deleted": ("D", "no longer exists in Spectrum"),
}  # fmt: skip
_VERDICTS = {
    "verified": "InvoiceCloud shows it as it was sent",
    "no": "InvoiceCloud shows that it does not have it, or has it as it was before",
    "unclear": "InvoiceCloud shows neither what was sent nor what was there before",
    "rejected": "InvoiceCloud refused the line",
    "not_sent": "it was not sent",
}
_NAMES = {
    "verified": "verified", "no": "no", "unclear": "unclear", "rejected": "refused", "not_sent": "not sent",
}  # fmt: skip
_LISTS = {"open_at_ic": "open at InvoiceCloud", "spectrum_invoices": "held by Spectrum"}


@dataclass(frozen=True)
class ReportFiles:
    """Where page and CSV lie."""

    page: Path
    csv: Path


def write_report(settings: Settings, found: Verified) -> ReportFiles:
    """Writes both, each whole or not at all; the CSV first, so that a page never names one that is not there.

    Raises StorageTrouble.
    """
    folder = settings.folder("reports") / found.biller
    stem = f"conversion-{found.at:%Y%m%dT%H%M%SZ}"
    csv = table(found)
    page = render(found, settings.biller(found.biller).time_zone, f"{stem}.csv", csv)
    files = ReportFiles(folder / f"{stem}.html", folder / f"{stem}.csv")
    with translated_os_errors("reports folder"):
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(files.csv, csv)
        write_durably(files.page, page.encode())
    return files


def table(found: Verified) -> bytes:
    """Every record with its verdict, as CSV in UTF-8. Accounts are cut; no cell starts a formula."""
    rows = found.rows.with_columns(
        account_number=short("account_number"),
        seen_account=pl.when(pl.col("seen_account").is_not_null()).then(short("seen_account")),
        looked_at=pl.col("looked_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    text = [name for name, kind in rows.schema.items() if kind == pl.String]
    out = io.BytesIO()
    rows.with_columns(_harmless(name) for name in text).write_csv(out, line_terminator="\r\n")
    return out.getvalue()


def _harmless(name: str) -> pl.Expr:
    """A spreadsheet calculates what begins with = + - @ (or a tab before them): an apostrophe stops it."""
    starts = pl.col(name).str.contains(r"^[\s]*[=+\-@\t\r]")
    return (
        pl.when(starts.fill_null(False)).then(pl.lit("'") + pl.col(name)).otherwise(pl.col(name)).alias(name)
    )


@cache
def _environment() -> Environment:
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([here, here.parent / "report"]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"money": words.money, "count": words.count, "day": words.day, "utc": words.utc}
    return environment


def render(found: Verified, zone: str, csv_name: str, csv: bytes) -> str:
    """The page."""
    lines = [
        {**line, "sent_as": _KINDS[line["kind"]][0], "words": _KINDS[line["kind"]][1]}
        for line in found.plan.lines[:-1]
    ]
    wrong = found.rows.filter(pl.col("verdict") != "verified").with_columns(
        account_number=short("account_number")
    )
    page: str = _environment().get_template("conversion.html").render(
        found=found, zone=zone, lines=lines, whole=found.plan.lines[-1], plural=words.plural,
        lists=[{**described(file), "words": _LISTS[file.kind]} for file in found.plan.lists.files],
        files=found.files, counts=[_count(name, number) for name, number in found.counts.items()],
        wrong=wrong.head(NOT_VERIFIED_SHOWN).to_dicts(), unsaid=max(wrong.height - NOT_VERIFIED_SHOWN, 0),
        verdicts=_NAMES,
        signed_at=words.instant(found.at, zone), csv_name=csv_name, csv_sha256=hashlib.sha256(csv).hexdigest(),
        instant=lambda value: words.instant(value, zone),
    )  # fmt: skip
    return page


def _count(verdict: str, number: int) -> dict[str, Any]:
    return {"verdict": _NAMES[verdict], "words": _VERDICTS[verdict], "records": number}
