"""Small reads. A result must be fetched to its end: DuckDB 2.0 refuses other work before that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import polars as pl

Connection = duckdb.DuckDBPyConnection
DUCKDB = duckdb.__version__


def scalar(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """The first value of the first row, None if there is no row."""
    rows = connection.execute(sql, list(parameters)).fetchall()
    return rows[0][0] if rows else None


def from_us(microseconds: int) -> datetime:
    """Microseconds since 1970 → aware UTC (fetching a TIMESTAMPTZ as such would need pytz)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def frame(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
    """The result as a Polars frame; instants are Datetime("us", "UTC")."""
    table = connection.sql(sql, params=list(parameters)).to_arrow_table()
    result = pl.from_arrow(table)
    assert isinstance(result, pl.DataFrame)
    return result


def shaped(
    connection: duckdb.DuckDBPyConnection, sql: str, schema: Mapping[str, Any], parameters: Sequence[Any] = ()
) -> pl.DataFrame:
    """`frame` cut to the columns of a Polars schema, with its types."""
    return frame(connection, sql, parameters).select(pl.col(name).cast(kind) for name, kind in schema.items())
