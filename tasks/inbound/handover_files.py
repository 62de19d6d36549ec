"""What goes to IMT: postings of pushed payments, and enrolments, as the bytes of a file. No names, no addresses."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

FileFormat = Literal["csv", "parquet"]
_MONEY = pl.Decimal(18, 2)
_TIME = pl.Datetime("us", "UTC")
_FORMULA = (
    r"^([=+\-@\t\r])"  # what a spreadsheet would compute; numbers of accounts and invoices are never touched
)
_CODES = ("tender", "payment_source", "agent_code", "invoice_type_id", "payment_method")


def postings(rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Rows of (push_id, payment_guid, account, invoice, amount, fee, tender, source, agent, date, received, above,
    account_known), money in cents, times in microseconds → the columns of a postings file. No account: suspense."""
    names = (
        "receipt", "payment_guid", "account_number", "invoice_number", "amount", "convenience_fee", "tender",
        "payment_source", "agent_code", "payment_date", "received_at", "above_balance", "account_known",
    )  # fmt: skip
    whole, flag = (
        ("amount", "convenience_fee", "payment_date", "received_at"),
        ("above_balance", "account_known"),
    )
    types = {n: pl.Int64 if n in whole else pl.Boolean if n in flag else pl.String for n in names}
    frame = pl.DataFrame(rows, schema=types, orient="row")
    return frame.select(
        pl.when("account_known").then(pl.lit("PAYMENT")).otherwise(pl.lit("SUSPENSE")).alias("kind"),
        "payment_guid", "account_number", "invoice_number", _money("amount"), _money("convenience_fee"),
        "tender", "payment_source", "agent_code", pl.col("payment_date", "received_at").cast(_TIME),
        "above_balance", "receipt",
    )  # fmt: skip


def enrolments(rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Rows of (push_id, list, account, invoice type, enrolled, occurred, method, received) → an enrolments file."""
    types: dict[str, Any] = {
        "receipt": pl.String, "list": pl.String, "account_number": pl.String, "invoice_type_id": pl.String,
        "enrolled": pl.Boolean, "occurred_at": pl.Int64, "payment_method": pl.String, "received_at": pl.Int64,
    }  # fmt: skip
    frame = pl.DataFrame(rows, schema=types, orient="row")
    return frame.select(
        "list", "account_number", "invoice_type_id", "enrolled", "payment_method",
        pl.col("occurred_at", "received_at").cast(_TIME), "receipt",
    )  # fmt: skip


def _money(name: str) -> pl.Expr:
    """Cents → Decimal, exactly: the digits are the same, only the point moves."""
    cents = pl.col(name)
    text = pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String).str.zfill(2))
    return pl.when(cents.is_not_null()).then(text).cast(_MONEY).alias(name)


def as_bytes(frame: pl.DataFrame, form: FileFormat) -> bytes:
    """The file. CSV: UTF-8 with a header, times in ISO 8601 with Z; a code that would be a formula gets an apostrophe."""
    out = io.BytesIO()
    if form == "parquet":
        frame.write_parquet(out)
    else:
        codes = [pl.col(name).str.replace(_FORMULA, "'$1") for name in _CODES if name in frame.columns]
        frame.with_columns(codes).write_csv(out, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    return out.getvalue()
