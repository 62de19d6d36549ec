"""Monthly invoices: one per account and month, and what is still owed on them at the close."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from sandbox.carrier.span import Span, money

LEAD_DAYS = 30  # so that an invoice is always dated before its month: nobody pays a bill that is not there


def number(acct: pl.Expr, month: pl.Expr) -> pl.Expr:
    """The invoice number of an account's month (`month` counts from the span's first)."""
    return pl.concat_str(
        pl.lit("INV-"),
        (acct + 1).cast(pl.String).str.zfill(7),
        pl.lit("-"),
        (month + 1).cast(pl.String).str.zfill(2),
    )


def month_of(span: Span, day: str) -> pl.Expr:
    """Months from the span's first month to the month of a date column; never negative."""
    base = span.start.year * 12 + span.start.month
    months = pl.col(day).dt.year().cast(pl.Int64) * 12 + pl.col(day).dt.month().cast(pl.Int64) - base
    return months.clip(lower_bound=0)


def build(span: Span, accounts: pl.DataFrame, book: pl.DataFrame) -> pl.DataFrame:
    """All invoices dated up to the close: account, dates, total, and the balance at the close as IC has it.

    `agent_code` where anybody paid the account through its agent.
    """
    months = (span.close.year - span.start.year) * 12 + span.close.month - span.start.month + 2
    first = span.start.date().replace(day=1)
    due = pl.lit(first).dt.offset_by(pl.format("{}mo", "month")) + pl.duration(days=pl.col("invoice_day") - 1)
    paid = (
        book.filter("approved")
        .group_by("invoice_number")
        .agg(pl.col("cents").sum().alias("paid"), pl.col("payment_date").max().alias("paid_at"))
    )
    agents = book.filter(pl.col("agent_code").is_not_null()).select("acct", "agent_code").unique("acct")
    accounts = accounts.join(agents, on="acct", how="left", maintain_order="left")
    frame = accounts.join(pl.DataFrame({"month": range(months)}), how="cross").with_columns(
        number(pl.col("acct"), pl.col("month")).alias("invoice_number"), due.alias("due_date")
    )
    frame = frame.with_columns((pl.col("due_date") - timedelta(days=LEAD_DAYS)).alias("invoice_date"))
    frame = frame.filter(pl.col("invoice_date") <= span.close.date()).join(
        paid, on="invoice_number", how="left"
    )
    balance = (pl.col("premium_cents") - pl.col("paid").fill_null(0)).clip(lower_bound=0)
    return frame.with_columns(balance.alias("balance_cents")).sort("invoice_number")


def shown(invoices: pl.DataFrame) -> pl.DataFrame:
    """The invoices as IC shows them (ViewInvoiceByInvoiceNumber)."""
    return invoices.select(
        "account_number",
        "invoice_number",
        "invoice_date",
        "due_date",
        pl.when("autopay").then(pl.col("due_date") - timedelta(days=2)).alias("autopay_collection_date"),
        money("premium_cents").alias("total_amount_due"),
        money("balance_cents").alias("balance_due"),
        money(pl.col("balance_cents").clip(upper_bound=2_500)).alias("minimum_amount_due"),
        pl.lit(True).alias("allow_partial"),
    )


def open_at_ic(invoices: pl.DataFrame) -> pl.DataFrame:
    """The invoices open at IC, as the portal's export lists them."""
    return shown(invoices.filter(pl.col("balance_cents") > 0)).select(
        "invoice_number", "account_number", "total_amount_due", "balance_due", "due_date"
    )
