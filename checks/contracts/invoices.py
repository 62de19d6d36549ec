"""Invoices as IMT tells of them: events (`icflows load invoices`) and the two lists of a conversion.

An event carries the invoice as it stands after it. The state of an invoice is its last event, unless a later
one replaced it (tasks/staging/invoice_state.sql).
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from checks.contracts.base import Contract, Money, Timestamp, field, reference

EVENTS = ["NEW", "CHANGED", "REISSUED", "CANCELLED"]
# Free text goes to InvoiceCloud and into spreadsheets: no control characters, no cell that starts a formula.
_TEXTS = ["policy_number", "customer_name", "address1", "address2", "city", "state_code", "zip", "agent_code"]
_CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"


class InvoiceFacts(Contract):
    """What is printed on a bill. Names as in InvoiceCloud's customer and invoice records."""

    invoice_number: str = reference("invoice")
    account_number: str = reference("account, leading zeros kept")
    policy_number: str = field("policy", nullable=True)
    invoice_type_id: str = field("IC's id of the invoice type", nullable=True)
    invoice_date: pl.Date = field("issued on")
    due_date: pl.Date = field("due on", nullable=True)
    total_amount_due: Money = field("billed", unit="USD", ge=0)
    balance_due: Money = field("still owed; a credit is negative here and goes out as 0.00", unit="USD")
    minimum_amount_due: Money = field("least that may be paid", nullable=True, unit="USD", ge=0)
    autopay_collection_date: pl.Date = field("day of the draw", nullable=True)
    allow_partial: pl.Boolean = field("part of it may be paid", nullable=True)
    customer_name: str = field("payer", nullable=True, pii=True)
    address1: str = field("street", nullable=True, pii=True)
    address2: str = field("street, second line", nullable=True, pii=True)
    city: str = field("city", nullable=True, pii=True)
    state_code: str = field("state of the address", nullable=True, pii=True)
    zip: str = field("ZIP code", nullable=True, pii=True)
    phone: str = field("telephone", nullable=True, pii=True, str_matches=r"^[0-9+() .x-]{3,32}$")
    email: str = field(
        "e-mail", nullable=True, pii=True, str_matches=r"^[^\s@\"'<>=+-][^\s@\"'<>]*@[^\s@\"'<>]+$"
    )
    agent_code: str = field("agent", nullable=True)

    @pa.dataframe_check
    @classmethod
    def text_has_no_control_characters(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A line break inside a name would be a record of its own."""
        found = pl.any_horizontal(pl.col(name).str.contains(_CONTROL) for name in _TEXTS)
        return data.lazyframe.select(~found.fill_null(False))

    @pa.dataframe_check
    @classmethod
    def text_starts_no_formula(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """= + - @ at the start of a cell makes a spreadsheet calculate."""
        found = pl.any_horizontal(pl.col(name).str.contains(r"^\s*[=+\-@]") for name in _TEXTS)
        return data.lazyframe.select(~found.fill_null(False))


class InvoiceEvents(InvoiceFacts):
    """One event of one invoice."""

    event_id: str = field("IMT's id of the event; key", str_length={"min_value": 1, "max_value": 64})
    event: str = field("NEW, CHANGED, REISSUED or CANCELLED", isin=EVENTS)
    occurred_at: Timestamp = field("when it happened at IMT", unit="UTC")
    replaces_invoice_number: str = reference("REISSUED: the invoice that this one replaces", nullable=True)
    still_in_imt: pl.Boolean = field(
        "REISSUED: does the replaced invoice still exist in IMT? CANCELLED: does this one?", nullable=True
    )
    pdf_path: str = field("bill image, below the biller's images folder", nullable=True)

    @pa.dataframe_check
    @classmethod
    def reissued_names_the_invoice_it_replaces(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """REISSUED with another invoice's number; every other event without one."""
        replaced = pl.col("replaces_invoice_number")
        other = (replaced != pl.col("invoice_number")).fill_null(False)
        return data.lazyframe.select(
            pl.when(pl.col("event") == "REISSUED").then(other).otherwise(replaced.is_null())
        )

    @pa.dataframe_check
    @classmethod
    def recall_says_if_the_invoice_still_exists(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Without it nobody can tell R (0.00) from D."""
        recall = pl.col("event").is_in(["REISSUED", "CANCELLED"])
        return data.lazyframe.select(~recall | pl.col("still_in_imt").is_not_null())


class SpectrumInvoices(InvoiceFacts):
    """An invoice that Spectrum holds, for a conversion. Those it does not list no longer exist."""

    status: str = field(
        "OPEN, PAID, SUPERSEDED or CANCELLED", isin=["OPEN", "PAID", "SUPERSEDED", "CANCELLED"]
    )
    replaces_invoice_number: str = reference("invoice at IC that this one replaces", nullable=True)
    pdf_path: str = field("bill image, below the biller's images folder", nullable=True)


class OpenAtIc(Contract):
    """An invoice that is open at InvoiceCloud (the portal's export), before a conversion."""

    invoice_number: str = reference("invoice; key")
    account_number: str = reference("account, leading zeros kept")
    total_amount_due: Money = field("billed", nullable=True, unit="USD", ge=0)
    balance_due: Money = field("still owed at IC", unit="USD", ge=0)
    due_date: pl.Date = field("due on", nullable=True)
