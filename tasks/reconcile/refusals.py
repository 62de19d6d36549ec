"""B26: what InvoiceCloud refused, record by record or a whole file, and nothing has made good since."""

from __future__ import annotations

import polars as pl

from tasks.reconcile.breaks import NO_BREAKS, build, masked
from tasks.reconcile.dead_invoices import DEAD
from tasks.reconcile.keys import reference_key
from tasks.reconcile.model import INVOICES, TIME, ZERO, Inputs
from tasks.reconcile.rules import Rules
from tasks.reconcile.sent import Sent, listed

_RECORD = ["file_id", "line_no", "record_type", "account_number", "total_amount_due", "balance_due", "state"]
_RECORD += ["reason", "composed_at", "settled_at", "file_state"]
_NOBODY = {"payment_guid": pl.lit(None, pl.String), "due_at": pl.lit(None, TIME)}


def refused_records(data: Inputs, what: Sent, rules: Rules) -> pl.DataFrame:
    """B26 of records: one per invoice, the last one refused, unless IC took a later one. An invoice that IC
    never had and that died since has nothing to make good."""
    refused = what.records.filter(pl.col("state") == "rejected")
    if refused.is_empty():
        return NO_BREAKS
    made_good = what.accepted.select("invoice_number", good="nth")
    known = what.billed.select("invoice_number", known=pl.lit(True))
    own = data.invoices.select("invoice_number", "status", "changed_at", invoice=pl.struct(list(INVOICES)))
    rows = (
        refused.group_by("invoice_number", maintain_order=True)
        .agg(pl.all().last(), count=pl.len(), records=pl.struct(_RECORD))
        .join(made_good, on="invoice_number", how="left")
        .filter((pl.col("good") < pl.col("nth")).fill_null(True))
        .join(own, on="invoice_number", how="left")
        .join(known, on="invoice_number", how="left")
        .with_columns(key=reference_key("invoice_number"))
        .join(listed(data.open_at_ic), on="key", how="left")
    )
    ordinary = pl.col("record_type") == "A"
    unknown = pl.col("known").is_null() & pl.col("listed").is_null()
    died = pl.col("status").is_in(DEAD) & (pl.col("changed_at") >= pl.col("occurred_at"))
    place = pl.format("line {} of file {}", "line_no", "file_id")
    words = pl.format("the {} record of invoice {}, account {} ({})",
        "record_type", "invoice_number", masked("account_number").fill_null("-"), place)  # fmt: skip
    rows = rows.filter(~(ordinary & unknown & died).fill_null(False)).with_columns(
        **_NOBODY,
        subject="invoice_number",
        amount=pl.when(ordinary).then("total_amount_due").otherwise(ZERO),
        occurred_at=pl.coalesce("settled_at", "composed_at"),
        what=words,
        file="file_id",
        line="line_no",
        message=_words("reason"),
        action=pl.lit("Correct it in IMT: its next event sends it again"),
    )
    facts = ("what", "message", "action", "file", "line", "record_type", "count")
    return build("B26", rules, rows, facts=facts, evidence={"invoice": "invoice", "records": "records"})


def refused_files(files: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """B26 of files that IC refused as a whole, until they are sent again, dropped or found to be there."""
    refused = files.filter(pl.col("state") == "refused")
    if refused.is_empty():
        return NO_BREAKS
    row = ["file_id", "kind", "state", "file_name", "records", "amount", "sent_at", "answered_at", "message"]
    rows = refused.with_columns(
        **_NOBODY,
        account_number=pl.lit(None, pl.String),
        invoice_number=pl.lit(None, pl.String),
        subject="file_id",
        amount=pl.col("amount").fill_null(ZERO),
        occurred_at=pl.coalesce("answered_at", "sent_at", "composed_at"),
        what=pl.format("file {} with {} records", "file_id", pl.col("records").fill_null(0)),
        file="file_id",
        message=_words(pl.coalesce("message", "reason")),
        action=pl.lit("Decide in icflows outbox whether it is sent again"),
        row=pl.struct(row),
    )
    return build("B26", rules, rows, facts=("what", "message", "action", "file"), evidence={"file": "row"})


def _words(text: str | pl.Expr) -> pl.Expr:
    """IC's words as the middle of a sentence."""
    words = pl.col(text) if isinstance(text, str) else text
    return words.str.strip_chars(" .").replace("", None).fill_null("no reason given")
