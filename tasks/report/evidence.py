"""The evidence of a break: the rows of both sides as cards, side by side, with what differs marked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from tasks.report import words

_TITLES = {
    "payment": "InvoiceCloud: payment", "postings": "IMT: posting", "posting": "IMT: posting",
    "candidate": "IMT: posting that may be it", "settlement": "InvoiceCloud: settled item", "return": "InvoiceCloud: ACH return", "returns": "InvoiceCloud: ACH return",
    "batch": "InvoiceCloud: batch as stated", "detail": "InvoiceCloud: batch as itemised", "feed": "Feed", "poll": "Poll",
    "invoice": "IMT: invoice", "record": "Sent to InvoiceCloud", "records": "Sent to InvoiceCloud",
    "held": "Held back", "look": "InvoiceCloud: as it shows it", "file": "File sent to InvoiceCloud",
    "guards": "Guard", "images": "Bill image", "push": "Data Pump: push", "first": "InvoiceCloud: payment before it",
    "balance": "IMT: balance", "told": "InvoiceCloud: as it was told",
}  # fmt: skip
# What the other side would show, where the break is that it has nothing.
_ABSENT = {
    "B01": ("IMT: posting", "none"), "B02": ("InvoiceCloud: payment", "in no payment report"),
    "B10": ("InvoiceCloud: settled item", "in no settled batch"), "B11": ("InvoiceCloud: payment", "in no payment report"),
    "B16": ("IMT: reversal", "none"), "B18": ("InvoiceCloud: payment", "none with this id"),
    "B25": ("InvoiceCloud: invoice", "in no accepted file"), "B42": ("IMT: record of its own", "none"),
}  # fmt: skip
_MONEY = ("amount", "_fee", "_total", "found", "_due", "balance", "shown")
_COMPARED = {
    "account_number": "account_number",
    "invoice_number": "invoice_number",
    "amount": "payment_amount",
}
_MOST_CARDS = 5


@dataclass(frozen=True)
class Card:
    """One row of one side: (field, text, differs from the first card)."""

    title: str
    fields: list[tuple[str, str, bool]]
    note: str = ""


def cards(code: str, evidence: str | None, zone: str) -> list[Card]:
    """Cards of one break; the first is the side that the others are compared with."""
    sides: dict[str, Any] = json.loads(evidence or "{}", parse_float=Decimal)
    rows = [
        (name, row)
        for name, given in sides.items()
        for row in (given if isinstance(given, list) else [given])
        if row
    ]
    first = rows[0][1] if rows else {}
    made = [_card(_TITLES.get(name, words.name(name)), row, first, zone) for name, row in rows[:_MOST_CARDS]]
    if len(rows) > _MOST_CARDS:
        made.append(Card("More rows", [], f"and {len(rows) - _MOST_CARDS} more"))
    title, note = _ABSENT.get(code, ("", ""))
    return [*made, Card(title, [], note)] if note else made


def _card(title: str, row: dict[str, Any], first: dict[str, Any], zone: str) -> Card:
    fields = [
        (words.name(name).replace("guid", "GUID"), _text(name, value, zone), _differs(name, row, first))
        for name, value in row.items()
        if value is not None and value != ""
    ]
    return Card(title, fields)


def _differs(name: str, row: dict[str, Any], first: dict[str, Any]) -> bool:
    other = first.get(_COMPARED.get(name, ""))
    return row is not first and other is not None and row[name] is not None and str(other) != str(row[name])


def _text(name: str, value: Any, zone: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith(_MONEY):
        return words.money(Decimal(str(value)))
    if name.endswith(("_at", "_date")) and isinstance(value, str) and "T" in value:
        return words.instant(datetime.fromisoformat(value), zone)
    return str(value)
