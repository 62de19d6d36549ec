"""What every contract shares: field makers, text rules, the parts read by other modules.

A contract is a pandera model over a typed Polars frame. It is the one source of a table: its
DuckDB columns, its quarantine reasons, its page in the data dictionary, and which columns are
personal data (masked in snapshots).
"""

from __future__ import annotations

from typing import Annotated, Any

import pandera.polars as pa
import polars as pl

Money = Annotated[pl.Decimal, 18, 2]
Timestamp = Annotated[pl.Datetime, "us", "UTC"]

# Accounts and invoices name files and URLs later on: no separators, no control characters, no path
# tricks. Unicode letters and dashes are allowed; IMT and IC do use them.
_NEVER = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffd/\\<>\""
REFERENCE = rf"^[^{_NEVER}\s'.=+@][^{_NEVER}]{{0,63}}$"
GUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
MAX_TEXT_BYTES = 65_536


def field(
    description: str, *, nullable: bool = False, pii: bool = False, unit: str = "", **rules: Any
) -> Any:
    """A contract field. `description` feeds the data dictionary; `pii` columns are masked in snapshots."""
    return pa.Field(nullable=nullable, description=description, metadata={"pii": pii, "unit": unit}, **rules)


def reference(description: str, *, nullable: bool = False) -> Any:
    """An account or invoice number: text, leading zeros kept, safe to put in a file name."""
    return field(description, nullable=nullable, str_matches=REFERENCE)


class Contract(pa.DataFrameModel):
    """Base of all contracts: no unknown columns, exact types, every failure reported."""

    class Config:
        strict = True
        coerce = False
        ordered = False

    @pa.dataframe_check
    @classmethod
    def text_within_limit(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A memo of megabytes is an attack or an error."""
        return data.lazyframe.select(
            ~pl.any_horizontal(pl.col(pl.String).str.len_bytes() > MAX_TEXT_BYTES).fill_null(False)
        )
