"""The carrier's data as the sandbox serves it: Parquet tables, cut to a window and to the clock."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from sandbox.render import Report
from sandbox.wire_schema import TABLES, Operation

NEEDED = (*TABLES, "customers", "ic_invoices")


class CarrierData:
    """A carrier folder, each table read once. Columns of each table: sandbox/README.md."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in NEEDED if not (folder / f"{name}.parquet").is_file()]
        if missing:
            raise FileNotFoundError(
                f"no carrier in {folder}: {', '.join(missing)}.parquet missing; make one with "
                "python -m sandbox --generate"
            )
        self.folder = folder
        self._lock = threading.Lock()
        self._tables: dict[str, pl.DataFrame] = {}
        self._invoices: tuple[pl.DataFrame, dict[str, int]] | None = None

    def table(self, name: str) -> pl.DataFrame:
        """A whole table, clock and window not applied; read when first asked for."""
        with self._lock:
            if name not in self._tables:
                self._tables[name] = pl.read_parquet(self.folder / f"{name}.parquet")
            return self._tables[name]

    def report(self, operation: Operation, window: tuple[datetime, datetime] | None, now: datetime) -> Report:
        """The rows of a half-open window [from, to) that exist at `now`; snapshots as of `now`."""
        frame = self.table(operation.table)
        operation = _as_far_as_known(operation, frame)
        if operation.window is None or window is None:
            mask = frame.select(
                (pl.col("valid_from") <= now) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > now))
            ).to_series()
            return Report(operation, frame, mask)
        assert operation.key_time is not None
        start, end = self._bounds(frame, operation.key_time, window)
        key = pl.col(operation.key_time)
        return Report(
            operation,
            frame,
            frame.select((key >= start) & (key < end) & _told(frame, now)).to_series(),
        )

    @staticmethod
    def _bounds(
        frame: pl.DataFrame, key: str, window: tuple[datetime, datetime]
    ) -> tuple[datetime | date, datetime | date]:
        """A report by date takes the UTC date part of both bounds."""
        if frame.schema[key] == pl.Date:
            return window[0].astimezone(UTC).date(), window[1].astimezone(UTC).date()
        return window

    def customer(self, account_number: str) -> dict[str, object] | None:
        """One customer record, or None."""
        return self._first("customers", "account_number", account_number)

    def invoice(self, invoice_number: str) -> dict[str, object] | None:
        """One invoice as IC had it at the start, or None; by an index, as a hundred thousand may be asked for."""
        frame = self.table("ic_invoices")
        with self._lock:
            if self._invoices is None or self._invoices[0] is not frame:
                numbers = frame["invoice_number"].to_list()
                self._invoices = (frame, dict(zip(numbers, range(len(numbers)), strict=True)))
            place = self._invoices[1].get(invoice_number)
        return None if place is None else frame.row(place, named=True)

    def quirks(self) -> dict[str, tuple[str, str]]:
        """Invoice number → (quirk, message) of the invoices that IC is odd about; a carrier may have none."""
        if not (self.folder / "ic_quirks.parquet").is_file():
            return {}
        rows = self.table("ic_quirks").select("invoice_number", "quirk", "message").iter_rows()
        return {number: (quirk, message or "") for number, quirk, message in rows}

    def _first(self, table: str, column: str, value: str) -> dict[str, object] | None:
        found = self.table(table).filter(pl.col(column) == value)
        return found.row(0, named=True) if found.height else None


def _told(frame: pl.DataFrame, now: datetime) -> pl.Expr:
    """Rows that are there at `now`; a restated one gives way to its next version (`hidden_at`)."""
    seen = pl.col("visible_at") <= now
    if "hidden_at" not in frame.columns:
        return seen
    return seen & (pl.col("hidden_at").is_null() | (pl.col("hidden_at") > now))


def _as_far_as_known(operation: Operation, frame: pl.DataFrame) -> Operation:
    """Without the optional columns that this carrier's table lacks."""
    known = tuple(c for c in operation.columns if not c.optional or c.source in frame.columns)
    return operation if len(known) == len(operation.columns) else replace(operation, columns=known)
