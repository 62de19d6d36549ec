"""What was sent of each invoice, from the records of the outbox: the last word of all, and what IC accepted."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.reconcile.keys import reference_key
from tasks.reconcile.model import ZERO

_ORDER = ("composed_at", "line_no", "file_id", "record_type")
RECALLS = ("R", "D")


@dataclass(frozen=True)
class Sent:
    """records: all, in order of sending (`nth`) · last: the last record per invoice · accepted: the last that
    IC accepted · billed: the last accepted one of type A. All with the columns of RECORDS."""

    records: pl.DataFrame
    last: pl.DataFrame
    accepted: pl.DataFrame
    billed: pl.DataFrame


def sent(records: pl.DataFrame) -> Sent:
    """Order of sending: composed, then line, as the outbox counts it (tasks/staging/outbox.py)."""
    ordered = records.sort(_ORDER, nulls_last=False).with_row_index("nth")
    if ordered.is_empty():
        return Sent(ordered, ordered, ordered, ordered)
    accepted = ordered.filter(pl.col("state") == "accepted")
    return Sent(
        ordered, _last(ordered), _last(accepted), _last(accepted.filter(pl.col("record_type") == "A"))
    )


def _last(ordered: pl.DataFrame) -> pl.DataFrame:
    return ordered.unique("invoice_number", keep="last", maintain_order=True)


def last_looks(looks: pl.DataFrame) -> pl.DataFrame:
    """Per invoice the last look with a clear answer: invoice_number, looked_at, look_found, look_balance, look.
    An invoice that IC does not find has a balance of 0.00 there."""
    clear = looks.filter(pl.col("found").is_not_null()).sort("at", "look_id")
    return _last(clear).select(
        "invoice_number",
        looked_at="at",
        look_found="found",
        look_balance=pl.when("found").then(pl.col("balance_due").fill_null(ZERO)).otherwise(ZERO),
        look=pl.struct("at", "found", "balance_due", "verdict", "message"),
    )


def listed(open_at_ic: pl.DataFrame) -> pl.DataFrame:
    """The list of invoices open at IC: key (numbers are IC's, so they may be written otherwise), listed."""
    return (
        open_at_ic.select(key=reference_key("invoice_number"), listed="balance_due")
        .drop_nulls("key")
        .group_by("key")
        .agg(pl.col("listed").max())
    )
