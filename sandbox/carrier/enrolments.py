"""AutoPay and paperless: states with the time they hold, so a report is the state as of a moment."""

from __future__ import annotations

import polars as pl

from sandbox.carrier.draws import Draws
from sandbox.carrier.span import STAMP, Span

_NEVER = pl.lit(None, STAMP)


def _moments(draws: Draws, span: Span, name: str, rows: int, back_days: int) -> pl.Series:
    """Whole seconds in the `back_days` before the start."""
    ago = draws.between(name, rows, 3_600, back_days * 86_400)
    start = pl.Series([span.start.replace(microsecond=0)], dtype=STAMP)
    return (
        pl.select(pl.lit(start[0], STAMP) - (ago * 1_000_000).cast(pl.Duration("us"))).to_series().alias(name)
    )


def _during(draws: Draws, span: Span, name: str, rows: int) -> pl.Series:
    """Whole seconds within the span."""
    length = max(int((span.close - span.start).total_seconds()), 1)
    after = (draws.below(name, rows, length) * 1_000_000).cast(pl.Duration("us"))
    return pl.select(pl.lit(span.start.replace(microsecond=0), STAMP) + after).to_series().alias(name)


def autopay(draws: Draws, span: Span, accounts: pl.DataFrame) -> pl.DataFrame:
    """Enrolled accounts; one in fifty cancels meanwhile (half of those vanish), a few join."""
    rows = accounts.height
    frame = accounts.with_columns(
        _moments(draws, span, "enrolled_at", rows, 700),
        _during(draws, span, "change", rows),
        draws.chance("ap_cancels", rows, 20).alias("cancels"),
        draws.chance("ap_vanishes", rows, 500).alias("vanishes"),
        draws.chance("ap_joins", rows, 10).alias("joins"),
        draws.pick("ap_method", rows, {"EFT": 65, "CARD": 35}).alias("payment_method"),
        draws.between("ap_offset", rows, 0, 3).cast(pl.Int32).alias("draw_offset_days"),
    )
    ends = pl.col("autopay") & pl.col("cancels")
    held = frame.filter("autopay").with_columns(
        pl.col("enrolled_at").alias("valid_from"), pl.when(ends).then("change").alias("valid_to")
    )
    joined = frame.filter(~pl.col("autopay") & pl.col("joins")).with_columns(
        pl.lit(True).alias("autopay"),
        pl.col("change").alias("enrolled_at"),
        pl.col("change").alias("valid_from"),
        _NEVER.alias("valid_to"),
    )
    left = frame.filter(ends & ~pl.col("vanishes")).with_columns(
        pl.lit(False).alias("autopay"),
        _NEVER.alias("enrolled_at"),
        pl.lit(None, pl.Int32).alias("draw_offset_days"),
        pl.col("change").alias("valid_from"),
        _NEVER.alias("valid_to"),
    )
    return (
        pl.concat([held, joined, left])
        .sort("account_number", "valid_from")
        .select(
            "account_number",
            "invoice_type_id",
            "autopay",
            "enrolled_at",
            "payment_method",
            "draw_offset_days",
            "email",
            "customer_id",
            "valid_from",
            "valid_to",
        )
    )


def paperless(draws: Draws, span: Span, accounts: pl.DataFrame) -> pl.DataFrame:
    """Registered accounts and whether they still get paper; one in fifty changes its mind."""
    rows = accounts.height
    frame = accounts.with_columns(
        _moments(draws, span, "registration_date", rows, 900),
        _during(draws, span, "change", rows),
        draws.chance("pl_changes", rows, 20).alias("changes"),
        draws.chance("pl_bounces", rows, 15).alias("email_bounced"),
        (~pl.col("paperless")).alias("paper_invoices"),
    ).filter("registered")
    before = frame.with_columns(
        pl.col("registration_date").alias("valid_from"),
        pl.when("changes").then("change").alias("valid_to"),
    )
    after = frame.filter("changes").with_columns(
        (~pl.col("paper_invoices")).alias("paper_invoices"),
        pl.col("change").alias("valid_from"),
        _NEVER.alias("valid_to"),
    )
    return (
        pl.concat([before, after])
        .sort("account_number", "valid_from")
        .select(
            "account_number",
            "invoice_type_id",
            "paper_invoices",
            "email",
            "registered",
            "registration_date",
            "email_bounced",
            "customer_id",
            "valid_from",
            "valid_to",
        )
    )


def customers(
    span: Span, accounts: pl.DataFrame, autopay_: pl.DataFrame, paperless_: pl.DataFrame
) -> pl.DataFrame:
    """The customer records as of the close."""
    now = pl.col("valid_to").is_null() | (pl.col("valid_to") > span.close)
    drawn = autopay_.filter(now).select("account_number", "autopay")
    paper = paperless_.filter(now).select("account_number", "paper_invoices", "registration_date")
    joined = (
        accounts.drop("autopay")
        .join(drawn, on="account_number", how="left")
        .join(paper, on="account_number", how="left")
        .sort("account_number")
    )
    return joined.select(
        "customer_id",
        "account_number",
        "customer_name",
        "email",
        pl.col("autopay").fill_null(False),
        pl.col("paper_invoices").fill_null(True),
        "registered",
        "registration_date",
        pl.when("registered").then("email").alias("login_name"),
    )
