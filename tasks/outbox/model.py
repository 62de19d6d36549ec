"""Frames of the outbox, with their schemas: files, records, events already applied, images, looks at IC.

A file:    composed → sending → accepted | refused | unknown;  unknown → accepted | composed | undecided
A record:  in_file → accepted | rejected (its line) | refused (its file) | resent (waits again) | withheld (dropped)
tasks/outbox/states.py has the moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from checks.contracts import BifRecords
from checks.describe import polars_schema

MONEY = pl.Decimal(18, 2)
TIME = pl.Datetime("us", "UTC")
Schema = Mapping[str, Any]

FACTS: Schema = dict(polars_schema(BifRecords))

FILES: Schema = {
    "file_id": pl.String, "kind": pl.String, "state": pl.String, "file_name": pl.String, "layout": pl.String,
    "attempt": pl.Int32, "records": pl.Int64, "amount": MONEY, "bytes": pl.Int64, "sha256": pl.String,
    "composed_at": TIME, "sent_at": TIME, "answered_at": TIME, "settle_after": TIME, "looks": pl.Int32,
    "settled_at": TIME, "receipt_id": pl.String, "records_accepted": pl.Int64, "records_rejected": pl.Int64,
    "reason": pl.String, "message": pl.String,
}  # fmt: skip
# One row per line of a file. group_id: records of one event go together or not at all.
RECORDS: Schema = {
    "record_id": pl.String, "file_id": pl.String, "line_no": pl.Int64, "group_id": pl.String,
    "event_id": pl.String, "event_version": pl.Int32, "occurred_at": TIME, **FACTS, "state": pl.String,
    "reason": pl.String, "composed_at": TIME, "settled_at": TIME,
}  # fmt: skip
# Events that need nothing more. outcome: in_file, covered (a later event of the run says it), older (than what
# was sent), not_needed (recalled before it was ever sent), withheld (by a person).
APPLIED: Schema = {
    "event_id": pl.String, "version": pl.Int32, "invoice_number": pl.String, "outcome": pl.String,
    "file_id": pl.String, "at": TIME,
}  # fmt: skip
MOVES: Schema = {
    "file_id": pl.String, "at": TIME, "from_state": pl.String, "to_state": pl.String, "by": pl.String,
    "reason": pl.String, "note": pl.String,
}  # fmt: skip
# A look: ViewInvoiceByInvoiceNumber. found is null where the answer was neither yes nor no.
LOOKS: Schema = {
    "look_id": pl.String, "file_id": pl.String, "record_id": pl.String, "invoice_number": pl.String,
    "at": TIME, "found": pl.Boolean, "account_number": pl.String, "total_amount_due": MONEY,
    "balance_due": MONEY, "due_date": pl.Date, "verdict": pl.String, "message": pl.String,
}  # fmt: skip
# state: sent, missing, empty, not_pdf, bad_name, unreadable, failed, orphan.
IMAGES: Schema = {
    "image_id": pl.String, "state": pl.String, "image_name": pl.String, "account_number": pl.String,
    "invoice_number": pl.String, "source": pl.String, "bytes": pl.Int64, "sha256": pl.String,
    "reason": pl.String, "first_seen_at": TIME, "last_seen_at": TIME, "sent_at": TIME,
}  # fmt: skip
# The last run's view of what it did not send: guards that stopped it, groups that wait.
GUARDS: Schema = {
    "found_at": TIME, "guard": pl.String, "record_type": pl.String, "invoice_number": pl.String,
    "account_number": pl.String, "amount": MONEY, "event_id": pl.String, "sentence": pl.String,
}  # fmt: skip
HELD: Schema = {
    "event_id": pl.String, "invoice_number": pl.String, "account_number": pl.String, "reason": pl.String,
    "held_at": TIME,
}  # fmt: skip

TABLES: dict[str, Schema] = {
    "files": FILES, "records": RECORDS, "applied": APPLIED, "moves": MOVES, "looks": LOOKS,
    "images": IMAGES, "guards": GUARDS, "held": HELD,
}  # fmt: skip


def empty(schema: Schema) -> pl.DataFrame:
    """No rows, all columns."""
    return pl.DataFrame(schema=dict(schema))


def shaped(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """`frame` with exactly the columns of `schema`; missing ones are null."""
    missing = {name: pl.lit(None, kind) for name, kind in schema.items() if name not in frame.columns}
    return frame.with_columns(**missing).select(pl.col(name).cast(kind) for name, kind in schema.items())
