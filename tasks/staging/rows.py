"""Rows of the money tables for reconcile, by their row numbers, and those that name no payment."""

from __future__ import annotations

import duckdb
import polars as pl

from tasks.reconcile.model import SCHEMAS, Schema, empty
from tasks.staging.query import frame, shaped
from tasks.staging.scope import LOOSE_SIDES, SIDES


def rows_by_number(
    connection: duckdb.DuckDBPyConnection, numbers: str, *, loose: bool = True
) -> dict[str, pl.DataFrame]:
    """payments, postings, settlements, pushes out of temp.seen_<side> with the row numbers that query `numbers` tells
    (columns payment, posting, settlement, push, as far as it has them), and with `loose` those that name no payment."""
    held = frame(connection, f"SELECT * FROM ({numbers}) LIMIT 0").columns
    found = {}
    for side, (name, _, _) in SIDES.items():
        schema = SCHEMAS[name]
        found[name] = empty(schema)
        if side in held:
            source = f"temp.seen_{side} WHERE rowid_ IN (SELECT {side} FROM ({numbers}))"
            found[name] = select(connection, source, schema)
        if loose and side in LOOSE_SIDES:
            found[name] = pl.concat([found[name], select(connection, f"temp.loose_{side}", schema)])
    return found


def select(connection: duckdb.DuckDBPyConnection, table: str, schema: Schema) -> pl.DataFrame:
    """The columns of `schema` of a table or subquery (with what follows FROM), with its types."""
    names = ", ".join(f'"{name}"' for name in schema)
    return shaped(connection, f"SELECT {names} FROM {table}", schema)
