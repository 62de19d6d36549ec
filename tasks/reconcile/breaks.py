"""From the rows of one break class to breaks: stable id, name, plain sentence, evidence as JSON."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import polars as pl

from tasks.reconcile.model import BREAKS, MONEY, TIME, empty
from tasks.reconcile.rules import Rules, placeholders

NO_BREAKS = empty(BREAKS)
NONE_HELD = pl.DataFrame(schema={"amount": MONEY})


def build(
    code: str,
    rules: Rules,
    rows: pl.DataFrame,
    *,
    way: str = "",
    facts: Sequence[str] = (),
    evidence: Mapping[str, Sequence[str] | str],
) -> pl.DataFrame:
    """Breaks of class `code`, one per subject; amounts of rows with the same subject are added up.

    `rows` holds subject, payment_guid, account_number, invoice_number, amount, occurred_at, due_at, the
    columns named in `facts` (for the sentence) and those in `evidence` (name -> columns, or one column); and
    `severity`, where rows of one class differ in it.
    `way`: which of the class's further sentences tells it.
    """
    if rows.is_empty():
        return NO_BREAKS
    rule = rules.codes[code]
    rows = _one_per_subject(rows)
    told = rows.with_columns(
        code=pl.lit(code),
        name=pl.lit(rule.name),
        severity=pl.col("severity") if "severity" in rows.columns else pl.lit(rule.severity),
        break_id=pl.Series(values=[break_id(code, subject) for subject in rows["subject"]], dtype=pl.String),
        sentence=_sentence(rule.sentences[way] if way else rule.sentence, facts, rules.zone),
        evidence=pl.struct(
            [_part(columns).alias(name) for name, columns in evidence.items()]
        ).struct.json_encode(),
    )
    return told.select(pl.col(column).cast(kind) for column, kind in BREAKS.items())


def break_id(code: str, subject: str | None) -> str:
    """16 hex digits that depend on class and subject alone: the same break keeps its id for ever."""
    return hashlib.sha256(f"{code}|{subject}".encode()).hexdigest()[:16]


def masked(column: str) -> pl.Expr:
    """An account as text for people: its last four characters, none if it is no longer than that."""
    text = pl.col(column)
    return (
        pl.when(text.str.len_chars() > 4)
        .then(pl.format("…{}", text.str.tail(4)))
        .otherwise(pl.when(text.is_not_null()).then(pl.lit("****")))
    )


def _one_per_subject(rows: pl.DataFrame) -> pl.DataFrame:
    if not rows["subject"].is_duplicated().any():
        return rows
    total = pl.col("amount").sum().over("subject").cast(MONEY)
    ordered = rows.with_columns(amount=total).sort(
        "occurred_at", *(c for c in ("account_number",) if c in rows.columns)
    )
    return ordered.unique("subject", keep="first", maintain_order=True)


def _part(columns: Sequence[str] | str) -> pl.Expr:
    return pl.col(columns) if isinstance(columns, str) else pl.struct(columns)


def _sentence(template: str, facts: Sequence[str], zone: str) -> pl.Expr:
    known: dict[str, pl.Expr] = {
        "subject": pl.col("subject"),
        "amount": _usd("amount"),
        "account": masked("account_number"),
        "invoice": pl.col("invoice_number"),
        "date": local_time("occurred_at", zone),
        "due": local_time("due_at", zone),
    }
    known |= {name: _fact(name, zone) for name in facts}
    names = placeholders(template)
    missing = pl.lit(None, pl.String)
    parts = [known.get(name, missing).cast(pl.String).fill_null("-") for name in names]
    plain = re.sub(r"\{[^{}]*\}", "{}", template)
    return pl.format(plain, *parts) if parts else pl.lit(template)


def _fact(name: str, zone: str) -> pl.Expr:
    if name in ("net", "payment_amount", "batch_total"):
        return _usd(name)
    if name == "since":
        return local_time(name, zone)
    return masked(name) if name == "posted_account" else pl.col(name)


def _usd(column: str) -> pl.Expr:
    return pl.format("{} USD", pl.col(column).cast(MONEY).cast(pl.String))


def local_time(column: str, zone: str) -> pl.Expr:
    """A UTC timestamp as text for people: the biller's zone, to the minute."""
    return pl.col(column).cast(TIME).dt.convert_time_zone(zone).dt.strftime("%Y-%m-%d %H:%M")
