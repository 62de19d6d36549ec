"""Rows of the money tables for reconcile, by their row numbers, and those that name no payment."""

from __future__ import annotations

import duckdb
import polars as pl

from tasks.reconcile.model import SCHEMAS, Schema, empty
from tasks.staging.query import frame, shaped
from tasks.staging.scope import ODD

# Frame → table, and the column that holds its row numbers.
_MONEY = {
    "payments": ("feed.payments", "payment"), "postings": ("imt.postings", "posting"),
    "settlements": ("feed.settlements", "settlement"), "pushes": ("imt.pushes", "push"),
}  # fmt: skip
_NAMELESS = {"settlements": "payment_guid IS NULL", "postings": ODD}


def rows_by_number(
    connection: duckdb.DuckDBPyConnection, numbers: str, *, nameless: bool = False
) -> dict[str, pl.DataFrame]:
    """payments, postings, settlements, pushes whose row numbers stand in table `numbers` (columns payment, posting,
    settlement, push, as far as it has them); with `nameless` also settlements and postings without a guid, or with an
    odd one."""
    held = frame(connection, f"SELECT * FROM {numbers} LIMIT 0").columns
    found = {}
    for name, (table, column) in _MONEY.items():
        schema = SCHEMAS[name]
        if column not in held:
            found[name] = empty(schema)
            continue
        by_number = f"{table}_versions WHERE rowid IN (SELECT {column} FROM {numbers})"
        found[name] = select(connection, by_number, schema)
        if nameless and name in _NAMELESS:
            loose = select(connection, f"{table} WHERE {_NAMELESS[name]}", schema)
            found[name] = pl.concat([found[name], loose])
    return found


def select(connection: duckdb.DuckDBPyConnection, table: str, schema: Schema) -> pl.DataFrame:
    """The columns of `schema` of a table or subquery (with what follows FROM), with its types."""
    names = ", ".join(f'"{name}"' for name in schema)
    return shaped(connection, f"SELECT {names} FROM {table}", schema)
