"""UploadInvoice carried out: the file is stored, read, and brought into InvoiceCloud's invoices."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from sandbox import bif
from sandbox.clock import SandboxClock, iso
from sandbox.invoice_book import QUIRKS, InvoiceBook, Row
from sandbox.store import CarrierData
from sandbox.uploads import UploadBox

KEPT = 1_000_000


@dataclass(frozen=True)
class Twist:
    """What a fault does to an import (sandbox/README.md): lines refused, lines lost, the import put off."""

    lines: frozenset[int] = frozenset()
    invoices: frozenset[str] = frozenset()
    message: str = "Record refused"
    short: int = 0
    short_taken: bool = False
    later: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """One record of an uploaded file and what became of it; `at` in ISO 8601."""

    receipt_id: str
    file_name: str
    line_no: int
    record_type: str
    invoice_number: str
    account_number: str
    total_amount_due: Decimal | None
    balance_due: Decimal | None
    accepted: bool
    message: str
    at: str


@dataclass(frozen=True)
class Outcome:
    """The answer to an upload. `refusal` is set when the whole file was refused."""

    receipt_id: str = ""
    accepted: int = 0
    errors: list[Imported] = field(default_factory=list)
    refusal: str = ""


class InvoiceImport:
    """Takes uploads and shows invoices. Thread-safe. `view_delay`: so long a change cannot be seen."""

    def __init__(
        self, clock: SandboxClock, box: UploadBox, bid: str, view_delay: timedelta, empty: bool
    ) -> None:
        self.box, self.bid, self.view_delay = box, bid, view_delay
        self._clock, self._empty = clock, empty
        self._lock = threading.RLock()
        self._book: InvoiceBook | None = None
        self._log: deque[Imported] = deque(maxlen=KEPT)
        self._later: list[tuple[datetime, str, bytes]] = []

    def take(self, data: CarrierData, name: str, content: bytes, twist: Twist | None = None) -> Outcome:
        """Carry an upload out, or put it off; a file of no known format only has its lines counted."""
        twist = twist or Twist()
        with self._lock:
            self._settle(data)
            now = self._clock.now()
            if twist.later is not None:
                self._later.append((now + twist.later, name, content))
                return Outcome()
            return self._carry_out(data, name, content, now, twist)

    def invoice(self, data: CarrierData, number: str) -> Row | None:
        """The invoice as a caller may see it now, or None."""
        with self._lock:
            self._settle(data)
            return self._book_of(data).shown(number, self._clock.now() - self.view_delay)

    def imported(self, data: CarrierData) -> list[dict[str, object]]:
        """All records that came in uploads, oldest first."""
        with self._lock:
            self._settle(data)
            return [asdict(entry) for entry in self._log]

    def quirk(self, data: CarrierData, number: str, quirk: str, message: str) -> None:
        """Let InvoiceCloud be odd about an invoice from now on. ValueError for an unknown quirk."""
        if quirk not in QUIRKS:
            raise ValueError(f"unknown quirk {quirk!r}; known: {', '.join(QUIRKS)}")
        with self._lock:
            self._book_of(data).quirks[number] = (quirk, message)

    def _book_of(self, data: CarrierData) -> InvoiceBook:
        """Another carrier begins with its own invoices and nothing imported."""
        if self._book is None or self._book.data is not data:
            self._book = InvoiceBook(data, self._empty)
            self._log.clear()
            self._later.clear()
        return self._book

    def _settle(self, data: CarrierData) -> None:
        """Carry out what was put off and is due."""
        self._book_of(data)
        now = self._clock.now()
        due = sorted((entry for entry in self._later if entry[0] <= now), key=lambda entry: entry[0])
        self._later = [entry for entry in self._later if entry[0] > now]
        for at, name, content in due:
            self._carry_out(data, name, content, at, Twist())

    def _carry_out(self, data: CarrierData, name: str, content: bytes, at: datetime, twist: Twist) -> Outcome:
        receipt_id = self.box.store(name, content)
        if not bif.is_bif(content):
            return Outcome(receipt_id, sum(1 for line in content.splitlines() if line.strip()))
        try:
            records = bif.read(content, self.bid)
        except bif.UnfitFile as unfit:
            return Outcome(refusal=str(unfit))
        book, moment = self._book_of(data), iso(at)
        kept = len(records) if twist.short_taken else len(records) - twist.short
        entries = []
        for place, record in enumerate(records):
            lost = place >= kept
            struck = record.line in twist.lines or record.invoice_number in twist.invoices
            reason = "lost" if lost else twist.message if struck else book.apply(record, at)
            entries.append(
                Imported(
                    receipt_id,
                    name,
                    record.line,
                    record.kind,
                    record.invoice_number,
                    record.account_number,
                    record.total,
                    record.balance,
                    not reason,
                    reason,
                    moment,
                )
            )
        self._log.extend(entries)
        errors = [entry for entry in entries[: max(kept, 0)] if not entry.accepted]
        return Outcome(receipt_id, max(len(records) - len(errors) - twist.short, 0), errors)
