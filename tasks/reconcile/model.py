"""Frames that go in and come out of reconcile, with their schemas. Every schema has an empty frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import polars as pl

from tasks.outbox import model as outbox

MONEY = pl.Decimal(18, 2)
TIME = pl.Datetime("us", "UTC")
ZERO = pl.lit("0.00").cast(MONEY)
Schema = Mapping[str, Any]

# Columns that the verdicts read; any further ones are allowed and ignored.
PAYMENTS: Schema = {
    "payment_guid": pl.String, "payment_line_no": pl.Int32, "payment_date": TIME,
    "account_number": pl.String, "invoice_number": pl.String,
    "payment_amount": MONEY, "convenience_fee": MONEY, "approved": pl.Boolean, "tender": pl.String,
    "payment_source": pl.String, "processor_reference": pl.String, "status": pl.String,
    "refund_of_guid": pl.String, "agent_code": pl.String, "first_seen_at": TIME,
}  # fmt: skip
SETTLEMENTS: Schema = {
    "settled_batch_id": pl.String, "settled_date": pl.Date, "tender": pl.String, "payment_guid": pl.String,
    "processor_reference": pl.String, "account_number": pl.String, "invoice_number": pl.String,
    "settled_amount": MONEY, "fee_amount": MONEY, "transaction_type": pl.String, "batch_total": MONEY,
    "batch_item_count": pl.Int32, "invoice_type": pl.String, "merchant_account": pl.String,
    "first_seen_at": TIME, "last_seen_at": TIME,
}  # fmt: skip
ACH_REJECTS: Schema = {
    "reject_date": TIME, "original_payment_guid": pl.String, "original_payment_date": TIME,
    "account_number": pl.String, "invoice_number": pl.String, "reject_amount": MONEY,
    "return_code": pl.String, "reject_sequence": pl.Int32,
}  # fmt: skip
POSTINGS: Schema = {
    "posting_id": pl.String, "payment_guid": pl.String, "processor_reference": pl.String,
    "account_number": pl.String, "invoice_number": pl.String, "amount": MONEY, "kind": pl.String,
    "reason": pl.String, "origin": pl.String, "status": pl.String, "posted_at": TIME,
    "effective_date": pl.Date, "reverses_posting_id": pl.String, "agent_code": pl.String,
}  # fmt: skip
POLLS: Schema = {
    "feed": pl.String, "window_from": TIME, "window_to": TIME, "covered_to": TIME, "requested_at": TIME,
    "finished_at": TIME, "status": pl.String, "reason": pl.String,
}  # fmt: skip


def _of(table: str, names: str) -> dict[str, Any]:
    """Columns of an outbox table, `names` parted by blanks. Names, addresses and e-mails stay behind."""
    return {name: outbox.TABLES[table][name] for name in names.split()}


# The invoice side: what IMT says of each invoice, what was sent of it, what InvoiceCloud shows.
INVOICES: Schema = {
    "invoice_number": pl.String, "account_number": pl.String, "status": pl.String, "still_in_imt": pl.Boolean,
    "successor": pl.String, "changed_at": TIME, "told_at": TIME, "total_amount_due": MONEY, "balance_due": MONEY,
}  # fmt: skip
RECORDS: Schema = {
    **_of("records", "file_id line_no record_type invoice_number account_number total_amount_due balance_due"),
    **_of("records", "state reason occurred_at composed_at settled_at"), "file_state": pl.String,
}  # fmt: skip
FILES: Schema = _of(
    "files", "file_id kind state file_name records amount composed_at sent_at answered_at reason message"
)
LOOKS: Schema = _of("looks", "look_id file_id invoice_number at found balance_due verdict message")
IMAGES: Schema = _of(
    "images",
    "image_id state image_name account_number invoice_number source reason first_seen_at last_seen_at sent_at",
)
GUARDS: Schema = outbox.GUARDS
HELD: Schema = outbox.HELD
# What InvoiceCloud pushed by itself, what it asked and was answered, and what IMT says each invoice owes now.
PUSHES: Schema = {
    "push_id": pl.String, "payment_guid": pl.String, "variant": pl.Int32, "received_at": TIME,
    "payment_date": TIME, "account_number": pl.String, "invoice_number": pl.String, "payment_amount": MONEY,
    "approved": pl.Boolean, "payment_source": pl.String, "agent_code": pl.String,
}  # fmt: skip
CALLS: Schema = {
    "called_at": TIME, "subject": pl.String, "invoice_number": pl.String, "result": pl.String,
    "balance_answered": MONEY,
}  # fmt: skip
BALANCES: Schema = {
    "invoice_number": pl.String, "account_number": pl.String, "status": pl.String, "balance": MONEY,
    "changed_at": TIME,
}  # fmt: skip
INVOICE_EVENTS: Schema = {"invoice_number": pl.String, "occurred_at": TIME, "balance_due": MONEY}
# Further money and flags (the bank's statement, the portal's exports, IMT's flags, IC's lists).
BANK_LINES: Schema = {
    "line_id": pl.String, "bank_account_last4": pl.String, "value_date": pl.Date, "amount": MONEY,
    "type_code": pl.String, "bank_reference": pl.String, "trace": pl.String, "text": pl.String,
}  # fmt: skip
CHARGEBACKS: Schema = {
    "chargeback_id": pl.String, "case_no": pl.String, "stage": pl.String, "chargeback_date": pl.Date,
    "payment_guid": pl.String, "processor_reference": pl.String, "account_number": pl.String,
    "invoice_number": pl.String, "amount": MONEY, "first_seen_at": TIME,
}  # fmt: skip
REFUNDS: Schema = {
    "refund_id": pl.String, "refund_date": pl.Date, "payment_guid": pl.String, "processor_reference": pl.String,
    "account_number": pl.String, "invoice_number": pl.String, "amount": MONEY, "tender": pl.String,
    "first_seen_at": TIME,
}  # fmt: skip
# gone_at: since when a complete list names the account no more; null while it does.
FLAGS: Schema = {
    "account_number": pl.String, "list": pl.String, "enrolled": pl.Boolean, "changed_at": TIME,
    "prints": pl.Boolean, "legal_notice": pl.Boolean, "first_seen_at": TIME, "gone_at": TIME,
}  # fmt: skip
AUTOPAY: Schema = {
    "account_number": pl.String, "invoice_type_id": pl.String, "autopay": pl.Boolean, "enrolled_at": TIME,
    "cancelled_at": TIME, "draw_offset_days": pl.Int32, "next_collection_date": pl.Date, "first_seen_at": TIME,
    "gone_at": TIME,
}  # fmt: skip
PAPERLESS: Schema = {
    "account_number": pl.String, "invoice_type_id": pl.String, "paperless": pl.Boolean,
    "email_bounced": pl.Boolean, "changed_at": TIME, "first_seen_at": TIME, "gone_at": TIME,
}  # fmt: skip
# Invoices with money owed and a day on which AutoPay is to draw it.
BILLS: Schema = {
    "invoice_number": pl.String, "account_number": pl.String, "invoice_type_id": pl.String, "due_date": pl.Date,
    "autopay_collection_date": pl.Date, "balance": MONEY,
}  # fmt: skip
# Rows of a feed that came again with other money or another status: the version before and the one now.
RESTATED: Schema = {
    "feed": pl.String, "key": pl.String, "payment_guid": pl.String, "account_number": pl.String,
    "invoice_number": pl.String, "version": pl.Int32, "seen_at": TIME, "amount_before": MONEY, "amount_now": MONEY,
    "status_before": pl.String, "status_now": pl.String,
}  # fmt: skip
# Answers of a feed with another layout (`kind` layout) or unknown codes (codes), not made good since.
DRIFTS: Schema = {"feed": pl.String, "at": TIME, "kind": pl.String, "detail": pl.String}
# What earlier runs knew of payments with restated rows: their state and amount in the last run, with its `as_of`;
# and the rows told as restated already (`key`, no state), `as_of` the time of the first version told.
MATCHED: Schema = {
    "key": pl.String, "payment_guid": pl.String, "state": pl.String, "payment_amount": MONEY, "as_of": TIME,
}  # fmt: skip
# Periods that finance closed: first and last day (the biller's calendar), and when.
PERIODS: Schema = {"period": pl.String, "first_day": pl.Date, "last_day": pl.Date, "closed_at": TIME}
# The deposit control: one row per deposit (a bank credit and the settled dates it covers), its named parts, residual.
DEPOSITS: Schema = {
    "deposit_id": pl.String, "line_id": pl.String, "value_date": pl.Date, "settled_from": pl.Date, "settled_to": pl.Date,
    "bank_amount": MONEY, "settled_amount": MONEY, "returned_amount": MONEY, "chargeback_amount": MONEY,
    "refund_amount": MONEY, "fee_amount": MONEY, "other_amount": MONEY, "expected_amount": MONEY,
    "residual_amount": MONEY, "state": pl.String, "detail": pl.String,
}  # fmt: skip
OPEN_AT_IC: Schema = {"invoice_number": pl.String, "account_number": pl.String, "balance_due": MONEY}

ITEMS: Schema = {
    "payment_guid": pl.String, "payment_line_no": pl.Int32,
    "account_number": pl.String, "invoice_number": pl.String,
    "payment_amount": MONEY, "convenience_fee": MONEY, "approved": pl.Boolean, "tender": pl.String,
    "payment_source": pl.String, "agent_code": pl.String, "payment_date": TIME, "payment_day": pl.Date, "pushed_at": TIME,
    "posted_amount": MONEY, "posted_on": pl.Date,
    "reversed_amount": MONEY, "settled_amount": MONEY, "settled_date": pl.Date,
    "settled_batch_id": pl.String, "returned_amount": MONEY,
    "reject_date": TIME, "match_rule": pl.String, "state": pl.String, "state_reason": pl.String,
    "due_by": TIME, "break_codes": pl.String, "at_rest": pl.Boolean,
}  # fmt: skip
BREAKS: Schema = {
    "break_id": pl.String, "code": pl.String, "name": pl.String, "severity": pl.String, "subject": pl.String,
    "payment_guid": pl.String, "account_number": pl.String, "invoice_number": pl.String, "amount": MONEY,
    "occurred_at": TIME, "due_at": TIME, "sentence": pl.String, "evidence": pl.String,
}  # fmt: skip
TOTALS: Schema = {"kind": pl.String, "name": pl.String, "rows": pl.Int64, "amount": MONEY}
HISTORY: Schema = {
    **BREAKS, "state": pl.String, "opened_at": TIME, "closed_at": TIME, "last_seen_at": TIME,
    "reopened_count": pl.Int32, "age": pl.Int32,
}  # fmt: skip
EVENTS: Schema = {
    "break_id": pl.String, "at": TIME, "run_id": pl.String, "kind": pl.String, "from_amount": MONEY,
    "to_amount": MONEY, "note": pl.String,
}  # fmt: skip
# Payments in state SUGGESTED with the posting that may be theirs; nothing is matched by it. rule: the weak key, rank 1 the
# strongest; amount: what IMT should have booked; take_up_by: from then on both are breaks.
SUGGESTIONS: Schema = {
    "payment_guid": pl.String, "payment_date": TIME, "account_number": pl.String, "invoice_number": pl.String,
    "posting_id": pl.String, "posting_kind": pl.String, "posted_at": TIME, "posted_account": pl.String,
    "posted_invoice": pl.String, "rule": pl.String, "rank": pl.Int32, "amount": MONEY, "take_up_by": TIME,
    "reason": pl.String,
}  # fmt: skip
STATES = (
    "IN_FLIGHT", "MATCHED_PROVISIONAL", "MATCHED_FINAL", "EXPLAINED", "SUGGESTED", "AMBIGUOUS", "BROKEN",
)  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """The frames that are compared; columns as in the contracts, further columns are ignored.

    Five of money, then the invoice side: invoices of IMT, the outbox, and the list of invoices open at IC. Then
    what InvoiceCloud called: pushes, and questions of balances; events and balances are IMT's.
    """

    payments: pl.DataFrame
    settlements: pl.DataFrame
    ach_rejects: pl.DataFrame
    postings: pl.DataFrame
    polls: pl.DataFrame
    invoices: pl.DataFrame = field(default_factory=pl.DataFrame)
    records: pl.DataFrame = field(default_factory=pl.DataFrame)
    files: pl.DataFrame = field(default_factory=pl.DataFrame)
    looks: pl.DataFrame = field(default_factory=pl.DataFrame)
    images: pl.DataFrame = field(default_factory=pl.DataFrame)
    guards: pl.DataFrame = field(default_factory=pl.DataFrame)
    held: pl.DataFrame = field(default_factory=pl.DataFrame)
    open_at_ic: pl.DataFrame = field(default_factory=pl.DataFrame)
    pushes: pl.DataFrame = field(default_factory=pl.DataFrame)
    calls: pl.DataFrame = field(default_factory=pl.DataFrame)
    balances: pl.DataFrame = field(default_factory=pl.DataFrame)
    events: pl.DataFrame = field(default_factory=pl.DataFrame)
    bank_lines: pl.DataFrame = field(default_factory=pl.DataFrame)
    chargebacks: pl.DataFrame = field(default_factory=pl.DataFrame)
    refunds: pl.DataFrame = field(default_factory=pl.DataFrame)
    flags: pl.DataFrame = field(default_factory=pl.DataFrame)
    autopay: pl.DataFrame = field(default_factory=pl.DataFrame)
    paperless: pl.DataFrame = field(default_factory=pl.DataFrame)
    restated: pl.DataFrame = field(default_factory=pl.DataFrame)
    bills: pl.DataFrame = field(default_factory=pl.DataFrame)
    matched: pl.DataFrame = field(default_factory=pl.DataFrame)
    drifts: pl.DataFrame = field(default_factory=pl.DataFrame)
    periods: pl.DataFrame = field(default_factory=pl.DataFrame)

    def trimmed(self) -> Inputs:
        """The same with just the columns that count. ValueError names a missing column or a wrong type."""
        return Inputs(
            **{f.name: conform(getattr(self, f.name), SCHEMAS[f.name], f.name) for f in fields(self)}
        )


@dataclass(frozen=True)
class Outcome:
    """items: one row per row of the payments feed · breaks: one row per break · totals: sums of states, proof included."""

    items: pl.DataFrame
    breaks: pl.DataFrame
    totals: pl.DataFrame
    deposits: pl.DataFrame = field(default_factory=pl.DataFrame)
    suggestions: pl.DataFrame = field(default_factory=pl.DataFrame)


SCHEMAS: Mapping[str, Schema] = {
    "payments": PAYMENTS,
    "settlements": SETTLEMENTS,
    "ach_rejects": ACH_REJECTS,
    "postings": POSTINGS,
    "polls": POLLS,
    "invoices": INVOICES,
    "records": RECORDS,
    "files": FILES,
    "looks": LOOKS,
    "images": IMAGES,
    "guards": GUARDS,
    "held": HELD,
    "open_at_ic": OPEN_AT_IC,
    "pushes": PUSHES,
    "calls": CALLS,
    "balances": BALANCES,
    "events": INVOICE_EVENTS,
    "bank_lines": BANK_LINES,
    "chargebacks": CHARGEBACKS,
    "refunds": REFUNDS,
    "flags": FLAGS,
    "autopay": AUTOPAY,
    "paperless": PAPERLESS,
    "restated": RESTATED,
    "bills": BILLS,
    "matched": MATCHED,
    "drifts": DRIFTS,
    "periods": PERIODS,
}


def empty(schema: Schema) -> pl.DataFrame:
    """No rows, all columns."""
    return _empty(tuple(schema.items())).clone()


@cache
def _empty(columns: tuple[tuple[str, Any], ...]) -> pl.DataFrame:
    return pl.DataFrame(schema=dict(columns))


def conform(frame: pl.DataFrame, schema: Schema, name: str) -> pl.DataFrame:
    """`frame` cut to `schema`. A frame without any column stands for an empty one."""
    if not frame.columns:
        return empty(schema)
    if list(frame.schema.items()) == list(schema.items()):
        return frame
    missing = [column for column in schema if column not in frame.columns]
    if missing:
        raise ValueError(f"{name}: column {', '.join(missing)} is missing")
    floats = [column for column, kind in schema.items() if kind == MONEY and frame.schema[column].is_float()]
    if floats:
        raise ValueError(f"{name}: {', '.join(floats)} holds money as a float")
    return frame.select(pl.col(column).cast(kind) for column, kind in schema.items())
