"""Breaks of the invoice side: B25 unbilled, B28 not recalled, B29 stopped by a guard (B26, B31: next doors)."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.breaks import NO_BREAKS, build, local_time
from tasks.reconcile.dead_invoices import DEAD
from tasks.reconcile.image_breaks import document_gaps
from tasks.reconcile.keys import reference_key
from tasks.reconcile.model import INVOICES, MONEY, TIME, ZERO, Inputs
from tasks.reconcile.refusals import refused_files, refused_records
from tasks.reconcile.rules import Rules, overdue
from tasks.reconcile.sent import RECALLS, Sent, last_looks, listed, sent
from tasks.reconcile.waiting import HELD_BACK, with_reason

_NOBODY = {"payment_guid": pl.lit(None, pl.String), "due_at": pl.lit(None, TIME)}


def invoice_side(data: Inputs, rules: Rules, as_of: datetime) -> list[pl.DataFrame]:
    """Breaks of all classes whose subject is an invoice, a record or an image. `data` is trimmed."""
    what = sent(data.records)
    return [
        _unbilled(data, what, rules, as_of),
        refused_records(data, what, rules),
        refused_files(data.files, rules),
        _unrecalled(data, what, rules, as_of),
        _stopped(data.guards, rules),
        document_gaps(data.images, data.invoices, rules, as_of),
    ]


def _unbilled(data: Inputs, what: Sent, rules: Rules, as_of: datetime) -> pl.DataFrame:
    """B25: live and owed in IMT, and the last record that IC accepted of it, if any, took it back.

    Where no file was ever composed or held, bills go out some other way, and nobody is told of each one here.
    """
    if data.files.is_empty() and data.held.is_empty() and data.guards.is_empty():
        return NO_BREAKS
    owed = (pl.col("status") == "OPEN") & (pl.col("balance_due") > ZERO)
    rows = data.invoices.with_columns(due_at=rules.due_at("B25", "told_at"))
    rows = rows.filter(owed & overdue("due_at", "told_at", as_of))
    if rows.is_empty():
        return NO_BREAKS
    rows = _without(rows, what.accepted.filter(pl.col("record_type") == "A"))
    whole = (pl.col("state") == "refused") & (pl.col("file_state") == "refused")
    rows = _without(rows, what.last.filter((pl.col("state") == "rejected") | whole))  # told as B26
    taken_back = what.accepted.select("invoice_number", taken_back="record_type")
    rows = with_reason(rows, data, what).join(taken_back, on="invoice_number", how="left")
    again = pl.format("recalled by {} and not billed again", "taken_back")
    rows = rows.with_columns(
        subject="invoice_number",
        payment_guid=pl.lit(None, pl.String),
        amount="balance_due",
        occurred_at="changed_at",
        detail=pl.coalesce(HELD_BACK, again, pl.lit("no file holds it")),
        invoice=pl.struct(list(INVOICES)),
    )
    evidence = {"invoice": "invoice", "record": "record", "held": "held_row"}
    return build("B25", rules, rows, facts=("detail", "held", "file"), evidence=evidence)


def _unrecalled(data: Inputs, what: Sent, rules: Rules, as_of: datetime) -> pl.DataFrame:
    """B28: dead in IMT, and IC has it as a bill: no recall was accepted in time, or one was and IC still asks."""
    rows = data.invoices.filter(pl.col("status").is_in(DEAD))
    if rows.is_empty():
        return NO_BREAKS
    rows = rows.with_columns(due_at=rules.due_at("B28", "told_at"), key=reference_key("invoice_number"))
    billed = what.billed.select("invoice_number", billed="balance_due", billed_at=_settled())
    accepted = what.accepted.select(
        "invoice_number", sent_type="record_type", sent_at=_settled(), sent_file="file_id"
    )
    for part in (billed, accepted, last_looks(data.looks)):
        rows = rows.join(part, on="invoice_number", how="left")
    rows = rows.join(listed(data.open_at_ic), on="key", how="left")
    recalled = pl.col("sent_type").is_in(RECALLS).fill_null(False)
    after_recall = (pl.col("looked_at") >= pl.col("sent_at")).fill_null(False)
    still_asks = recalled & after_recall & (pl.col("look_balance") > ZERO)
    known = pl.col("billed").is_not_null() | pl.col("listed").is_not_null()
    rows = rows.with_columns(still_asks=still_asks.fill_null(False)).filter(
        pl.col("still_asks") | (known & ~recalled & overdue("due_at", "told_at", as_of))
    )
    fresh = pl.col("looked_at") >= pl.coalesce("billed_at", "looked_at")
    rows = with_reason(rows, data, what).with_columns(
        subject="invoice_number",
        payment_guid=pl.lit(None, pl.String),
        amount=pl.coalesce(pl.when(fresh).then("look_balance"), "billed", "listed").cast(MONEY),
        occurred_at="changed_at",
        imt_status=pl.when(pl.col("status") == "CANCELLED")
        .then(pl.lit("cancelled"))
        .otherwise(pl.format("replaced by {}", pl.col("successor").fill_null("another"))),
        detail=_why_payable(rules.zone),
        due_at=pl.when(~pl.col("still_asks")).then("due_at"),
        invoice=pl.struct(list(INVOICES)),
    )
    facts = ("imt_status", "detail", "successor", "held", "file")
    evidence = {"invoice": "invoice", "record": "record", "look": "look"}
    return build("B28", rules, rows, facts=facts, evidence=evidence)


def _why_payable(zone: str) -> pl.Expr:
    seen = pl.format(
        "{} of file {} was accepted, but the look of {} still found it",
        "sent_type", "sent_file", local_time("looked_at", zone),
    )  # fmt: skip
    missing = pl.format("no recall was accepted by {}", local_time("due_at", zone))
    why = pl.concat_str(missing, HELD_BACK, separator="; ", ignore_nulls=True)
    return pl.when("still_asks").then(seen).otherwise(why)


def _stopped(guards: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """B29: what the guards of the last run found, one break per record that must not go."""
    if guards.is_empty():
        return NO_BREAKS
    subject = pl.format(
        "{}/{}", pl.col("record_type").fill_null("*"), pl.col("invoice_number").fill_null("*")
    )
    rows = (
        guards.with_columns(subject=subject)
        .sort("guard", "found_at", "event_id", nulls_last=True)
        .group_by("subject", maintain_order=True)
        .agg(
            pl.col("account_number", "invoice_number").drop_nulls().first(),
            amount=pl.col("amount").abs().max().fill_null(ZERO),
            occurred_at=pl.col("found_at").max(),
            message=pl.col("sentence").drop_nulls().unique(maintain_order=True).str.join(" "),
            guards=pl.struct(
                "guard", "record_type", "invoice_number", "account_number", "amount", "event_id"
            ),
            record_type=pl.col("record_type").first(),
        )
        .with_columns(**_NOBODY)
    )
    return build("B29", rules, rows, facts=("message", "record_type"), evidence={"guards": "guards"})


def _without(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    return rows.join(others.select("invoice_number"), on="invoice_number", how="anti")


def _settled() -> pl.Expr:
    return pl.coalesce("settled_at", "composed_at")
