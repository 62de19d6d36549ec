"""Contracts of feed.autopay and feed.paperless: who is enrolled, one row per account and invoice type."""

from __future__ import annotations

import polars as pl

from checks.contracts.base import Contract, Timestamp, field, reference


class Autopay(Contract):
    account_number: str = reference("account at IMT; key")
    invoice_type_id: str = field("IC's id of the invoice type; key", nullable=True)
    autopay: bool = field("true: IC draws by itself")
    enrolled_at: Timestamp = field("since when", nullable=True, unit="UTC")
    cancelled_at: Timestamp = field("until when", nullable=True, unit="UTC")
    draw_offset_days: pl.Int32 = field("days before the due date", nullable=True, ge=0, le=60, unit="days")
    payment_method: str = field("CARD or EFT", nullable=True)
    method_last4: str = field("last four of card or account", nullable=True, str_matches=r"^[0-9]{4}$")
    method_expiry: str = field("card expiry", nullable=True)
    next_collection_date: pl.Date = field("next draw", nullable=True)
    email: str = field("e-mail address", nullable=True, pii=True)
    customer_id: str = field("IC's id of the customer", nullable=True)


class Paperless(Contract):
    account_number: str = reference("account at IMT; key")
    invoice_type_id: str = field("IC's id of the invoice type; key", nullable=True)
    paperless: bool = field("true: no paper bill (IC sends the inverse, PaperInvoices)")
    email: str = field("e-mail address", nullable=True, pii=True)
    registered: bool = field("has a portal login", nullable=True)
    registration_date: pl.Date = field("registered on", nullable=True)
    email_bounced: bool = field("mail came back", nullable=True)
    customer_id: str = field("IC's id of the customer", nullable=True)
    changed_at: Timestamp = field("last change", nullable=True, unit="UTC")
