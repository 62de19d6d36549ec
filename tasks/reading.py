"""Text columns of a report → typed columns of its contract, set-based; what cannot be read is said per row.

Every value arrives as text. Nothing is rounded, guessed or dropped: a value that does not have the form
its `read` asks for leaves null and a reason, and the row goes to quarantine with its raw text.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.invoicecloud.catalogue import ColumnMap

# [0-9], not \d: Arabic and full-width digits are digits to a regular expression, not to a ledger.
MONEY = r"^-?[0-9]{1,16}(\.[0-9]{1,2})?$"
_INT = r"^-?[0-9]{1,9}$"
_CLOCK = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
_TAIL = r"^(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?$"
_OFFSET_TAIL = r"(Z|[+-][0-9]{2}:[0-9]{2})$"
_UNSET = "0001-01-01"
_UTC_US = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Reading:
    """How one column is read: its typed value, and where the text could not be read."""

    value: pl.Expr
    bad: pl.Expr | None
    words: str


def reading(column: ColumnMap, dtype: pl.DataType, zone: str) -> Reading:
    """The expressions for one column over the raw text column named `column.source`."""
    raw = pl.col(column.source)
    match column.read:
        case "money":
            value = pl.when(raw.str.contains(MONEY)).then(raw).cast(pl.Decimal(18, 2), strict=False)
            return _strict(raw, value, "is no amount with at most two decimals")
        case "int":
            value = pl.when(raw.str.contains(_INT)).then(raw).cast(pl.Int32, strict=False)
            return _strict(raw, value, "is no whole number")
        case "bool" | "not_bool":
            truth = raw.replace_strict(
                {"true": True, "1": True, "false": False, "0": False}, default=None, return_dtype=pl.Boolean
            )
            return _strict(raw, ~truth if column.read == "not_bool" else truth, "is neither true nor false")
        case "gmt" | "offset" | "zone" | "date":
            return _time(raw, column.read, zone)
        case "code":
            value = raw.str.strip_chars().replace(column.codes) if column.codes else raw
            return Reading(value, None, "")
        case _:
            return Reading(raw.cast(dtype, strict=False), None, "")


def _strict(raw: pl.Expr, value: pl.Expr, words: str) -> Reading:
    return Reading(value, raw.is_not_null() & value.is_null(), words)


def _time(raw: pl.Expr, read: str, zone: str) -> Reading:
    """dateTime text. .NET's unset date (0001-01-01) is null. Fractions beyond microseconds are cut."""
    unset = raw.str.starts_with(_UNSET)
    text = pl.when(~unset).then(raw)
    tail = text.str.slice(19)
    clock = text.str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    fraction = (tail.str.extract(r"^(\.[0-9]{1,9})", 1).str.slice(1, 6).str.pad_end(6, "0")).cast(pl.Int64)
    clock = clock + pl.duration(microseconds=fraction.fill_null(0), time_unit="us")
    good = text.str.contains(_CLOCK) & tail.str.contains(_TAIL)  # the parser would make 23:59:60 the next day
    if read == "date":
        day = text.str.head(10).str.to_date("%Y-%m-%d", strict=False)
        value = pl.when(good | (text.str.len_bytes() == 10)).then(day)
        return Reading(value, raw.is_not_null() & ~unset & value.is_null(), "is no date")
    if read == "gmt":
        value = pl.when(good).then(clock.dt.replace_time_zone("UTC"))
        words = "is no date and time"
    elif read == "offset":
        offset = tail.str.extract(_OFFSET_TAIL, 1)
        value = pl.when(good & offset.is_not_null()).then(clock.dt.replace_time_zone("UTC") - _offset(offset))
        words = "is no date and time with an offset"
    else:
        local = clock.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
        value = pl.when(good).then(local.dt.convert_time_zone("UTC"))
        words = f"does not exist, or exists twice, in {zone}"
    return Reading(value.cast(_UTC_US), raw.is_not_null() & ~unset & value.is_null(), words)


def _offset(text: pl.Expr) -> pl.Expr:
    """'+05:30' → duration; 'Z' → 0."""
    sign = pl.when(text.str.starts_with("-")).then(-1).otherwise(1)
    hours = text.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes = text.str.slice(4, 2).cast(pl.Int64, strict=False).fill_null(0)
    return pl.duration(minutes=sign * (hours * 60 + minutes), time_unit="us")


def apply_readings(
    raw: pl.DataFrame,
    schema: dict[str, pl.DataType],
    readings: dict[str, Reading],
    source_names: dict[str, str],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Applies readings: (contract rows with row_no; unreadable rows the same, null where unreadable, and reasons)."""
    values = [
        readings[name].value.alias(name) if name in readings else pl.lit(None, dtype).alias(name)
        for name, dtype in schema.items()
    ]
    flags = {f"bad:{name}": r for name, r in readings.items() if r.bad is not None}
    marks = [r.bad.alias(name) for name, r in flags.items() if r.bad is not None]
    frame = raw.with_row_index("row_no", offset=1).select(pl.col("row_no").cast(pl.Int64), *values, *marks)
    any_bad = pl.any_horizontal(list(flags)) if flags else pl.lit(False)
    bad = frame.filter(any_bad)
    rows = (frame.filter(~any_bad) if bad.height else frame).select("row_no", *schema)
    reasons = [
        pl.when(pl.col(name)).then(pl.lit(f"{source_names[name.removeprefix('bad:')]} {r.words}"))
        for name, r in flags.items()
    ]
    listed = pl.concat_list(reasons).list.drop_nulls() if reasons else pl.lit([], pl.List(pl.String))
    return rows, bad.select("row_no", *schema, reasons=listed)
