"""Files from IMT (CSV or Parquet) → text or typed columns → typed frame of the contract. No guessing of types.

CSV is read as text, every column, so that leading zeros survive; Parquet keeps its types, and money that
comes as a float is refused, because it is no longer exact.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl
import polars.exceptions

from checks.contracts import IMT
from checks.describe import columns, polars_schema
from tasks.errors import BadAnswer, SchemaDrift
from tasks.invoicecloud.catalogue import ColumnMap, Read
from tasks.invoicecloud.report import Report
from tasks.reading import Reading, apply_readings, reading


def read_file(path: Path, kind: str, zone: str) -> Report:
    """Reads a postings or invoices file. Raises BadAnswer (unreadable), SchemaDrift (columns)."""
    raw = _raw(path)
    contract = {column.name: column for column in columns(IMT[kind])}
    missing = [name for name, column in contract.items() if name not in raw.columns and not column.nullable]
    if missing:
        raise SchemaDrift(
            f"{path.name}: columns are missing: {', '.join(missing)}; {_known(raw.columns, contract)}"
        )
    warnings = [f"unknown column {name}: not loaded" for name in raw.columns if name not in contract]
    schema = polars_schema(IMT[kind])
    readings = {
        name: _reading(raw, name, dtype, zone) for name, dtype in schema.items() if name in raw.columns
    }
    rows, unread = apply_readings(raw, schema, readings, {name: name for name in schema})
    return Report(rows, unread, _as_text(raw, list(schema)), raw.height, warnings)


def _known(found: list[str], contract: Collection[str]) -> str:
    """Which columns of the contract are there. Other names are not told: without a header line they are a row."""
    known = [name for name in found if name in contract]
    return f"found of the contract: {', '.join(known) or 'none; does the file begin with the names of its columns?'}"


def _raw(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path)
        if path.suffix.lower() == ".csv":
            return pl.read_csv(path, infer_schema=False, encoding="utf8", truncate_ragged_lines=False)
    except FileNotFoundError:
        raise BadAnswer(f"there is no file {path}", reason="no_file") from None
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
        raise BadAnswer(f"{path.name} cannot be read: {type(error).__name__}", reason="bad_file") from None
    raise BadAnswer(f"{path.name}: only .csv and .parquet are read", reason="bad_file")


def _reading(raw: pl.DataFrame, name: str, dtype: pl.DataType, zone: str) -> Reading:
    given = raw.schema[name]
    if given in (pl.String, pl.Null):
        text = ColumnMap.model_validate({"from": name, "read": _read_of(dtype)})
        return reading(text, dtype, zone)
    if isinstance(dtype, pl.Decimal):
        return _money(name, given)
    if isinstance(dtype, pl.Datetime) and isinstance(given, pl.Datetime) and given.time_zone is None:
        raise SchemaDrift(f"column {name} has times without a time zone; write UTC")
    value = pl.col(name).cast(dtype, strict=False)
    return Reading(value, pl.col(name).is_not_null() & value.is_null(), f"is no {dtype}")


def _money(name: str, given: pl.DataType) -> Reading:
    if given.is_float():
        raise SchemaDrift(
            f"column {name} is {given}: money as a float is not exact; write decimal(18,2) or text"
        )
    value = pl.col(name).cast(pl.Decimal(18, 2), strict=False)
    exact = value.cast(given, strict=False) == pl.col(name)
    bad = pl.col(name).is_not_null() & ~exact.fill_null(False)
    return Reading(value, bad, "is no amount with at most two decimals")


def _read_of(dtype: pl.DataType) -> Read:
    if isinstance(dtype, pl.Decimal):
        return "money"
    if isinstance(dtype, pl.Datetime):
        return "offset"
    kinds: dict[type[pl.DataType], Read] = {pl.Date: "date", pl.Int32: "int", pl.Boolean: "bool"}
    return kinds.get(type(dtype), "text")


def _as_text(raw: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    present = [name for name in names if name in raw.columns]
    return raw.select(pl.col(name).cast(pl.String) for name in present)
