"""The two files of a conversion: loaded like any file of IMT, and read again as exactly the rows that they hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import polars.exceptions

from checks.contracts import IMT
from checks.describe import columns
from checks.quarantine import split
from tasks.archive import Archive
from tasks.errors import SettingsError, Stop
from tasks.imt_files import read_file
from tasks.loading import KEYS, load_file
from tasks.pull import archive_of
from tasks.settings import Settings

_SHOWN = 20  # rows set aside that are named; all of them are in the quarantine tables


@dataclass(frozen=True)
class ListFile:
    """One of the two files. rows_aside: rows that broke the contract · aside: the first of them, in words."""

    kind: str
    name: str
    load_id: str
    sha256: str
    rows: int
    rows_aside: int
    aside: list[str]


@dataclass(frozen=True)
class Lists:
    """open_at_ic: OpenAtIc columns · spectrum: SpectrumInvoices columns · files: where they came from."""

    open_at_ic: pl.DataFrame
    spectrum: pl.DataFrame
    files: list[ListFile]

    @property
    def aside(self) -> int:
        """Rows set aside: with a single one the conversion is not complete."""
        return sum(file.rows_aside for file in self.files)


def read_lists(settings: Settings, biller: str, open_at_ic: Path, spectrum: Path, at: datetime) -> Lists:
    """Loads both files. Raises SettingsError or Stop that name biller, file and row; nothing is loaded of swapped files."""
    if settings.biller(biller).product != "spectrum":
        raise SettingsError(
            f'{biller}: product is "mips-apps", and a conversion sends Spectrum\'s files; set product = "spectrum" '
            f"(with invoice_format_guid and [sftp]) for [billers.{biller}] in {settings.file.name} first"
        )
    given = {path: _columns(biller, path) for path in (open_at_ic, spectrum)}
    _refuse_swapped(biller, open_at_ic, spectrum, given)
    parts = [
        _read(settings, biller, kind, path, at)
        for kind, path in (("open_at_ic", open_at_ic), ("spectrum_invoices", spectrum))
    ]
    return Lists(parts[0][1], parts[1][1], [file for file, _ in parts])


def _columns(biller: str, path: Path) -> list[str]:
    """The file's heading; nothing where it cannot be read (loading says why)."""
    if not path.is_file():
        raise SettingsError(f"{biller}: there is no file {path}")
    if not path.stat().st_size:
        raise Stop(f"{biller}: {path.name} is empty", reason="empty_list")
    try:
        if path.suffix.lower() == ".parquet":
            return list(pl.read_parquet_schema(path))
        return pl.read_csv(path, n_rows=0, infer_schema=False).columns
    except (polars.exceptions.PolarsError, OSError):
        return []


def _refuse_swapped(biller: str, open_at_ic: Path, spectrum: Path, given: dict[Path, list[str]]) -> None:
    """Spectrum's list has every column of InvoiceCloud's: taken for it, it would load without a word."""
    needed = {column.name for column in columns(IMT["spectrum_invoices"]) if not column.nullable}
    if not needed <= set(given[open_at_ic]):
        return
    words = "looks like Spectrum's list (it has status and invoice_date), not like InvoiceCloud's"
    if not needed <= set(given[spectrum]):
        words += f", and {spectrum.name} does not; are the two files swapped?"
    raise Stop(f"{biller}: {open_at_ic.name} {words}", reason="swapped_lists")


def _read(
    settings: Settings, biller: str, kind: str, path: Path, at: datetime
) -> tuple[ListFile, pl.DataFrame]:
    loaded = load_file(settings, biller, kind, path, at)
    if not loaded.rows_in:
        raise Stop(
            f"{biller}: {path.name} holds no invoices; a conversion needs both lists", reason="empty_list"
        )
    archive = archive_of(settings, biller)
    rows, aside = _rows(settings, archive, biller, kind, loaded.load_id, path.suffix.lower())
    note = archive.read_note(loaded.load_id)
    words = [
        f"{path.name}: row {row} is set aside: {'; '.join(why)}"
        for row, why in aside.head(_SHOWN).iter_rows()
    ]
    sha256 = note.sha256 or "" if note else ""
    file = ListFile(kind, path.name, loaded.load_id, sha256, rows.height, aside.height, words)
    return file, rows


def _rows(
    settings: Settings, archive: Archive, biller: str, kind: str, load_id: str, suffix: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows that keep the contract; row_no and reasons of the others) of the archived file, counted from 1."""
    report = read_file(archive.body_path(load_id, suffix), kind, settings.biller(biller).time_zone)
    parts = split(report.rows, IMT[kind], list(KEYS[kind]))
    aside = pl.concat([report.unread.select("row_no", "reasons"), parts.bad]).sort("row_no")
    return parts.good.drop("row_no"), aside


def described(file: ListFile) -> dict[str, Any]:
    """For results and reports: kind, name, rows, rows_aside, sha256."""
    return {
        "kind": file.kind, "name": file.name, "rows": file.rows, "rows_aside": file.rows_aside, "sha256": file.sha256,
    }  # fmt: skip
