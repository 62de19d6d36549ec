"""Reads contracts: columns with type, nullability, personal-data mark and words.

Everything that needs to know a table asks here: DuckDB's DDL, the data dictionary, the masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import polars as pl

from checks.contracts import Contract

_SQL_TYPES: dict[type[pl.DataType], str] = {
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.UInt64: "UBIGINT",
    pl.Date: "DATE",
    pl.Datetime: "TIMESTAMPTZ",
}


@dataclass(frozen=True)
class Column:
    """One column of a contract; `unit` is USD, UTC, days or empty."""

    name: str
    dtype: pl.DataType
    nullable: bool
    pii: bool
    unit: str
    description: str

    @property
    def sql_type(self) -> str:
        """DuckDB type: money is DECIMAL(18,2), an instant TIMESTAMPTZ."""
        if isinstance(self.dtype, pl.Decimal):
            return f"DECIMAL({self.dtype.precision},{self.dtype.scale})"
        return _SQL_TYPES[type(self.dtype)]


@cache
def columns(contract: type[Contract]) -> tuple[Column, ...]:
    """The contract's columns in order."""
    found = []
    for name, spec in contract.to_schema().columns.items():
        marks = spec.metadata or {}
        dtype = spec.dtype.type
        found.append(
            Column(
                name=name,
                dtype=dtype() if isinstance(dtype, type) else dtype,
                nullable=bool(spec.nullable),
                pii=bool(marks.get("pii")),
                unit=str(marks.get("unit") or ""),
                description=spec.description or "",
            )
        )
    return tuple(found)


def polars_schema(contract: type[Contract]) -> dict[str, pl.DataType]:
    """Name → Polars type, in order."""
    return {column.name: column.dtype for column in columns(contract)}


def money_columns(contract: type[Contract]) -> list[str]:
    """Names of the money columns."""
    return [column.name for column in columns(contract) if column.unit == "USD"]


def pii_columns(contract: type[Contract]) -> list[str]:
    """Names of the columns that are personal data."""
    return [column.name for column in columns(contract) if column.pii]
