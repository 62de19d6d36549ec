"""Rows of the store as columns of text, the way staging reads any file: a value that breaks its contract is set aside.

Money and times come from whole numbers, so their text is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from sqlalchemy import Boolean, String, Table

from checks.contracts import IMT
from checks.contracts.base import GUID
from checks.describe import polars_schema
from tasks.inbound.tables import calls

UNREAD = ("sha256", "kind", "form", "received_at", "fields")
_MONEY = ("payment_amount", "convenience_fee", "open_balance", "balance_answered")
_TIMES = ("received_at", "payment_date", "acknowledged_at", "occurred_at", "called_at", "known_as_of")
# The service's own columns: no pushed field of that name passes for one of them.
_OURS = (
    "push_id", "variant", "received_at", "form", "account_known", "open_balance", "above_balance", "list",
    "handover_sequence", "acknowledged_at",
)  # fmt: skip


def columns_of(table: Table, kind: str) -> list[str]:
    """The contract's columns that the table has, in the contract's order."""
    return [name for name in polars_schema(IMT[kind]) if name in table.c]


def as_text(table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Rows of `names` (columns of `table`) → the same as text: 12.30, 2026-11-10T12:00:00.000000Z, true, 7."""
    frame = pl.DataFrame(rows, schema={name: _type(table, name) for name in names}, orient="row")
    return frame.select(_text(name) for name in names)


def _type(table: Table, name: str) -> type[pl.DataType]:
    given = table.c[name].type
    if isinstance(given, Boolean):
        return pl.Boolean
    return pl.String if isinstance(given, String) else pl.Int64


def _text(name: str) -> pl.Expr:
    value = pl.col(name)
    if name in _MONEY:
        whole, cents = value.abs() // 100, (value.abs() % 100).cast(pl.String).str.zfill(2)
        sign = pl.when(value < 0).then(pl.lit("-")).otherwise(pl.lit(""))
        return pl.when(value.is_not_null()).then(pl.format("{}{}.{}", sign, whole, cents)).alias(name)
    return _time(value) if name in _TIMES else value.cast(pl.String)


def _time(microseconds: pl.Expr) -> pl.Expr:
    return microseconds.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")


def call_rows(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Calls, `number` among their columns. A lost store counts from 1 again: so the time is part of the id."""
    frame = as_text(calls, names, rows)
    call_id = pl.format("{}-{}", pl.col("called_at"), pl.col("number"))
    return frame.select(call_id.alias("call_id"), pl.exclude("number"))


def unread_rows(kind: str, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Rows of UNREAD → rows of a contract that they break for certain, so that they are set aside.

    A payment lacks its variant, an enrolment its received_at: they were never given any. With a GUID the key is
    that of the payment: the row is released when InvoiceCloud pushes it right.
    """
    schema = polars_schema(IMT[kind])
    types = {name: pl.Int64 if name == "received_at" else pl.String for name in UNREAD}
    frame = pl.DataFrame(rows, schema=types, orient="row").with_columns(_time(pl.col("received_at")))
    pushed = pl.Struct({name: pl.String for name in schema if name not in _OURS})
    fields = pl.col("fields").str.json_decode(pushed).struct.unnest()
    key = pl.format("unread-{}", pl.col("sha256").str.head(32))
    if kind != "pushes":
        return _filled(frame.select(fields, list=pl.col("kind").str.to_uppercase(), push_id=key), schema)
    guid = fields_guid = pl.col("payment_guid")
    payment = pl.format("{}-1", fields_guid.str.to_lowercase())
    named = frame.select("received_at", "form", fields, key=key)
    return _filled(
        named.with_columns(push_id=pl.when(guid.str.contains(GUID)).then(payment).otherwise("key")), schema
    )


def _filled(frame: pl.DataFrame, schema: pl.Schema | dict[str, pl.DataType]) -> pl.DataFrame:
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, pl.String).alias(name) for name in schema
    )
