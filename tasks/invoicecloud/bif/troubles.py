"""Rows that a layout cannot write faithfully, and why. Over columns, never row by row."""

from __future__ import annotations

from functools import cache

import polars as pl

from tasks.invoicecloud.bif.fields import cell, value, value_of
from tasks.invoicecloud.bif.layout import Column, Layout

# What ends a line for some reader somewhere, and a byte-order mark: Polars' reader swallows one.
_CONTROL = r"[\x00-\x1f\x7f-\x9f\x{2028}\x{2029}\x{feff}]"
SCHEMA = {"row": pl.Int64, "invoice_number": pl.String, "reason": pl.String}


def trouble(layout: Layout, rows: pl.DataFrame) -> pl.DataFrame:
    """What would not come back as it is: row (i64, from 0), invoice_number, reason (field and cause, no value).

    One line per row and field; none for rows that may be sent. `rows` in the columns of FACTS.
    """
    return trouble_of(layout, layout.record, rows, "UTC")


def trouble_of(layout: Layout, columns: dict[str, Column], rows: pl.DataFrame, zone: str) -> pl.DataFrame:
    """The same for the columns of a header or a trailer; `rows` holds facts by key then."""
    number = "invoice_number" if "invoice_number" in rows.columns else None
    own = {n: column for n, column in columns.items() if (column.source or column.fact_key) in rows.columns}
    found = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        (pl.col(number) if number else pl.lit(None, pl.String)).alias("invoice_number"),
        *(_cause(layout, column, zone).alias(f"field {name}") for name, column in own.items()),
    )
    faults = [
        found.filter(pl.col(f"field {name}").is_not_null()).select(
            "row", "invoice_number", reason=pl.format("{}: {}", pl.lit(name), pl.col(f"field {name}"))
        )
        for name in own
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *faults]).sort("row", maintain_order=True)


def _cause(layout: Layout, column: Column, zone: str) -> pl.Expr:
    """The first thing wrong with a field, as words; null if nothing is."""
    typed, text = value_of(column), cell(layout, column, zone)
    words = isinstance(column.dtype, pl.String)
    causes: list[tuple[pl.Expr, str]] = []
    if column.required:
        causes.append((typed.is_null(), "is missing"))
    if column.width:
        causes.append((text.str.len_chars() > column.width, f"is longer than {column.width} characters"))
    if column.max_length and (words or not column.width):
        size = (typed if words else text).str.len_chars()
        causes.append((size > column.max_length, f"is longer than {column.max_length} characters"))
    if words:
        causes.append((typed.str.contains(_CONTROL), "holds a line end or control character"))
        if layout.encoding != "utf-8":
            outside = typed.str.contains(_outside(layout.encoding))
            causes.append((outside, f"holds a character that {layout.encoding} does not have"))
        if layout.shape == "delimited" and not layout.quote:
            causes.append((typed.str.contains(layout.delimiter, literal=True), "holds the delimiter"))
    back = value(layout, column, text, zone)
    empty = (typed == "") if words else pl.lit(False)
    if isinstance(column.dtype, pl.Datetime):  # printed to the second
        typed = back
    same = back.eq_missing(typed) | (empty & back.is_null())
    causes.append((~same, "would not read back as it is"))
    expression: pl.Expr = pl.lit(None, pl.String)
    for wrong, sentence in reversed(causes):
        expression = pl.when(wrong.fill_null(False)).then(pl.lit(sentence)).otherwise(expression)
    return expression


@cache
def _outside(encoding: str) -> str:
    """A pattern for characters that a one-byte encoding cannot write."""
    known = {byte.decode(encoding) for byte in (bytes([n]) for n in range(256)) if _decodes(byte, encoding)}
    return "[^" + "".join(f"\\x{{{ord(character):x}}}" for character in sorted(known)) + "]"


def _decodes(byte: bytes, encoding: str) -> bool:
    try:
        byte.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
