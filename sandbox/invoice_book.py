"""InvoiceCloud's invoices: those of the carrier at first, then what uploads made of them. Kept in memory only."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sandbox.bif import Record
from sandbox.store import CarrierData

Row = dict[str, object]
ZERO = Decimal("0.00")
QUIRKS = REJECT, KEEP_OPEN = "reject", "keep_open"


class InvoiceBook:
    """Copy-on-write over `ic_invoices`. The caller holds the lock.

    `quirks`: invoice number → (quirk, message); `reject` refuses the invoice's lines, `keep_open` takes
    a recall and leaves the invoice as it is. With `empty`, none of the carrier's invoices is there.
    """

    def __init__(self, data: CarrierData, empty: bool) -> None:
        self.data = data
        self._empty = empty
        self._changes: dict[str, list[tuple[datetime, Row | None]]] = {}
        self.quirks = data.quirks()

    def now(self, number: str) -> Row | None:
        """The invoice as it is, whoever can see it."""
        changes = self._changes.get(number)
        return changes[-1][1] if changes else self._first(number)

    def shown(self, number: str, until: datetime) -> Row | None:
        """The invoice as the changes up to `until` left it; None when it is not there."""
        for at, row in reversed(self._changes.get(number, [])):
            if at <= until:
                return row
        return self._first(number)

    def _first(self, number: str) -> Row | None:
        return None if self._empty else self.data.invoice(number)

    def apply(self, record: Record, at: datetime) -> str:
        """Carry a record out; the reason when it is refused, else an empty text."""
        if record.fault:
            return record.fault
        number = record.invoice_number
        quirk, message = self.quirks.get(number, ("", ""))
        if quirk == REJECT:
            return message or "Record refused"
        if record.kind == "A":
            self._put(number, at, _row(record))
            return ""
        old = self.now(number)
        if old is None:
            return "Invoice does not exist"
        if quirk != KEEP_OPEN:
            zero = {"total_amount_due": ZERO, "balance_due": ZERO, "minimum_amount_due": ZERO}
            self._put(number, at, old | zero if record.kind == "R" else None)
        return ""

    def _put(self, number: str, at: datetime, row: Row | None) -> None:
        self._changes.setdefault(number, []).append((at, row))


def _row(record: Record) -> Row:
    return {
        "account_number": record.account_number,
        "invoice_number": record.invoice_number,
        "invoice_date": record.invoice_date,
        "due_date": record.due_date,
        "autopay_collection_date": record.autopay_collection_date,
        "total_amount_due": record.total,
        "balance_due": record.balance,
        "minimum_amount_due": record.minimum,
        "allow_partial": record.allow_partial,
    }
