"""Why an invoice's record has not reached InvoiceCloud: held by a setting, in a file without an answer, stopped."""

from __future__ import annotations

import polars as pl

from tasks.reconcile.model import HELD, Inputs
from tasks.reconcile.sent import Sent

_RECORD = ["file_id", "line_no", "record_type", "state", "reason", "composed_at", "settled_at", "file_state"]
# Null where nothing is known to hold it back.
HELD_BACK = pl.col("held_back")


def with_reason(rows: pl.DataFrame, data: Inputs, what: Sent) -> pl.DataFrame:
    """Adds to rows (invoice_number) held_back (text), held (reason), held_row, and record, file of the last
    record that was composed."""
    held = (
        data.held.sort("held_at", "event_id", nulls_last=False)
        .group_by("invoice_number", maintain_order=True)
        .agg(held=pl.col("reason").last(), held_row=pl.struct(list(HELD)).last())
    )
    record = what.last.select(
        "invoice_number",
        file="file_id",
        record_type="record_type",
        record_state="state",
        record_reason="reason",
        file_state="file_state",
        record=pl.struct(_RECORD),
    )
    rows = rows.join(held, on="invoice_number", how="left").join(record, on="invoice_number", how="left")
    return rows.with_columns(held_back=_held_back(stopped=data.guards.height > 0))


def _held_back(*, stopped: bool) -> pl.Expr:
    in_file = pl.format(
        "its {} is in file {}, which is {}",
        "record_type",
        "file",
        pl.col("file_state").fill_null("on its way"),
    )
    refused = pl.format(
        "its {} was refused ({})", "record_type", _plain("record_reason").fill_null("no reason given")
    )
    return (
        pl.when(pl.col("held").is_not_null()).then(pl.format("held back ({})", _plain("held")))
        .when(pl.col("record_state") == "in_file").then(in_file)
        .when(pl.lit(stopped)).then(pl.lit("the last run was stopped before anything was sent (B29)"))
        .when(pl.col("record_state") == "withheld").then(pl.lit("a person withheld it"))
        .when(pl.col("record_state").is_in(["rejected", "refused"])).then(refused)
    )  # fmt: skip


def _plain(column: str) -> pl.Expr:
    """A reason as words: image_missing → image missing."""
    return pl.col(column).str.replace_all("_", " ", literal=True).str.strip_chars(" .")
