"""Files from IMT (CSV or Parquet) → text or typed columns → typed frame of the contract. No guessing of types.

CSV is read as text, every column, so that leading zeros survive; Parquet keeps its types, and money that
comes as a float is refused, because it is no longer exact. A bank's statement may be BAI2 besides (tasks.bank);
lines of a bank without an id get one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl
import polars.exceptions

from checks.contracts import IMT
from checks.describe import columns, polars_schema
from tasks.bank.csv_map import CsvMap, mapped
from tasks.bank.identity import line_ids
from tasks.bank.statement import SUFFIXES as STATEMENTS
from tasks.bank.statement import read_statement
from tasks.errors import BadAnswer, SchemaDrift
from tasks.invoicecloud.catalogue import ColumnMap, Read
from tasks.invoicecloud.report import Report
from tasks.reading import Reading, apply_readings, reading

_BANK = "bank_lines"
_TABLES = frozenset({".csv", ".parquet"})


def suffixes(kind: str) -> frozenset[str]:
    """The endings that a file of this table may have, in lower case with the dot."""
    return _TABLES | STATEMENTS if kind == _BANK else _TABLES


def read_file(path: Path, kind: str, zone: str, bank_csv: CsvMap | None = None) -> Report:
    """Reads a file of table `kind`; its ending tells the form, `bank_csv` how a bank writes its tables.

    Raises BadAnswer (unreadable; a statement that does not add up), SchemaDrift (columns).
    """
    if kind == _BANK and path.suffix.lower() in STATEMENTS:
        return _statement(path, zone)
    raw = _raw(path, kind)
    if kind == _BANK:
        raw = _with_ids(mapped(raw, bank_csv or CsvMap()))
    return _typed(path, raw, kind, zone)


def _statement(path: Path, zone: str) -> Report:
    """BAI2: proven first, then read as its lines were a CSV; those that have a reason are set aside."""
    try:
        found = read_statement(path)
    except BadAnswer as error:
        error.args = (f"{path.name} {error}",)
        raise
    report = _typed(path, found.lines, _BANK, zone)
    named = pl.DataFrame({"reason": found.reasons}).with_row_index("row_no", offset=1)
    named = named.with_columns(pl.col("row_no").cast(pl.Int64)).drop_nulls()
    held = report.rows.join(named, on="row_no").with_columns(reasons=pl.concat_list("reason")).drop("reason")
    rows = report.rows.join(named, on="row_no", how="anti", maintain_order="left")
    unread = pl.concat([report.unread, held.select(report.unread.columns)])
    return Report(rows, unread, report.raw, report.rows_in, found.warnings)


def _with_ids(raw: pl.DataFrame) -> pl.DataFrame:
    """Banks' exports seldom number their lines: the ids are made where there are none."""
    if not {"value_date", "amount"} <= set(raw.columns):
        return raw.with_columns(line_id=pl.lit(None, pl.String))  # the contract says what is missing
    made = line_ids(raw)
    if "line_id" in raw.columns:
        own = pl.col("line_id").cast(pl.String).str.strip_chars().replace("", None)
        return raw.with_columns(line_id=pl.coalesce(own, made))
    return raw.with_columns(made)


def _typed(path: Path, raw: pl.DataFrame, kind: str, zone: str) -> Report:
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


def _raw(path: Path, kind: str) -> pl.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path)
        if path.suffix.lower() == ".csv":
            return pl.read_csv(path, infer_schema=False, encoding="utf8", truncate_ragged_lines=False)
    except FileNotFoundError:
        raise BadAnswer(f"there is no file {path}", reason="no_file") from None
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
        raise BadAnswer(f"{path.name} cannot be read: {type(error).__name__}", reason="bad_file") from None
    known = sorted(suffixes(kind))
    raise BadAnswer(f"{path.name}: only {', '.join(known[:-1])} and {known[-1]} are read", reason="bad_file")


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
