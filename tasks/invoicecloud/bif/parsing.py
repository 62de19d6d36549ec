"""The bytes of a Biller Invoice File → rows. Strict: what is read must be written back as the very same text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import polars as pl

from tasks.errors import BadAnswer, ControlTotalError
from tasks.invoicecloud.bif.fields import cell, value
from tasks.invoicecloud.bif.layout import FACTS, Column, Layout, line_numbers
from tasks.invoicecloud.bif.rendering import counts

Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Parsed:
    """A file, read. `header`, `trailer`: field name → value. `facts`: the same by fact (file_id, records,

    records_of:R, sum:COLUMN, …). `rows`: the columns of FACTS that the layout has, and line_no.
    """

    header: dict[str, Any]
    rows: pl.DataFrame
    trailer: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)


def parse(layout: Layout, data: bytes, zone: str = "UTC") -> Parsed:
    """Reads a whole file. Instants without an offset are taken to be of `zone`.

    Empty text comes back as null where the layout cannot tell them apart (`Layout.tells_empty_from_null`).
    Raises BadAnswer naming line and field (never a value), ControlTotalError where counts or sums differ.
    """
    lines = _lines(layout, data)
    head, tail = int(bool(layout.header)), int(bool(layout.trailer))
    if len(lines) < head + tail:
        raise _bad("the file ends before its header and trailer", len(lines))
    body = lines.slice(head, len(lines) - head - tail)
    header = _section(layout, layout.header, lines.head(head), 1, zone)
    trailer = _section(layout, layout.trailer, lines.tail(tail), len(lines), zone)
    records = _section(layout, layout.record, body, head + 1, zone)
    facts = _agreed(layout, header, trailer, records)
    rows = _rows(layout, records)
    _refuse_difference(facts, counts(layout, rows))
    return Parsed(_single(header), rows, _single(trailer), facts)


def as_parsed(layout: Layout, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` as they come back from a file of this layout: its columns, empty text null where it cannot tell."""
    kept = {column.source: column for column in layout.record.values() if column.source}
    blurred = [
        name for name, column in kept.items()
        if isinstance(column.dtype, pl.String) and not layout.tells_empty_from_null(column)
    ]  # fmt: skip
    return rows.select(name for name in FACTS if name in kept).with_columns(pl.col(blurred).replace("", None))


def _bad(words: str, line: int) -> BadAnswer:
    return BadAnswer(f"line {line}: {words}", reason="bif_malformed")


def _lines(layout: Layout, data: bytes) -> pl.Series:
    try:
        text = data.decode(layout.encoding)
    except UnicodeDecodeError as error:
        raise _bad(f"bytes that are no {layout.encoding}", data.count(b"\n", 0, error.start) + 1) from None
    if text and not text.endswith(layout.line_end):
        raise _bad("the file ends in the middle of a line", data.count(b"\n") + 1)
    lines = pl.Series(text.split(layout.line_end)[:-1], dtype=pl.String)
    stray = lines.str.contains(r"[\r\n\x{feff}]").arg_true()
    if len(stray):
        raise _bad("a line end or byte-order mark inside", stray[0] + 1)
    return lines


def _section(layout: Layout, columns: Columns, lines: pl.Series, first: int, zone: str) -> pl.DataFrame:
    """Typed values of the fields, one row per line; `first` is the file's number of the first line."""
    if not columns or not len(lines):
        return pl.DataFrame(schema={name: column.dtype for name, column in columns.items()})
    cells = (
        _fixed(columns, lines, first)
        if layout.shape == "fixed"
        else _delimited(layout, columns, lines, first)
    )
    values = cells.select(
        value(layout, column, pl.col(name), zone).alias(name) for name, column in columns.items()
    )
    _refuse_unfaithful(layout, columns, cells, values, first, zone)
    return values


def _refuse_unfaithful(
    layout: Layout, columns: Columns, cells: pl.DataFrame, values: pl.DataFrame, first: int, zone: str
) -> None:
    """Written anew, every field must give the same text: no letter, date or amount is read by guess."""
    for name, column in columns.items():
        typed = values.select(pl.col(name).alias(column.source or column.fact_key or name))
        again = typed.with_columns(cell(layout, column, zone).alias(" "))[" "]
        same = _as_read(layout, column, again).eq_missing(_as_read(layout, column, cells[name]))
        if isinstance(column.dtype, pl.Datetime):  # its offset tells the zone, which need not be ours
            same = values[name].is_not_null() | cells[name].is_null()
        wrong = (~same).arg_true()
        if len(wrong):
            raise _bad(f"{name} cannot be read", first + wrong[0])
        missing = values[name].is_null().arg_true()
        if column.required and len(missing):
            raise _bad(f"{name} is missing", first + missing[0])


def _as_read(layout: Layout, column: Column, text: pl.Series) -> pl.Series:
    """Nothing and its word for null are one; so are nothing and empty text where the layout has no quotes."""
    null = layout.forms_of(column).null
    if layout.shape == "delimited" and not layout.tells_empty_from_null(column):
        return text.fill_null("")
    return text.fill_null(null) if null else text


def _fixed(columns: Columns, lines: pl.Series, first: int) -> pl.DataFrame:
    width = sum(column.width or 0 for column in columns.values())
    odd = (lines.str.len_chars() != width).arg_true()
    if len(odd):
        raise _bad(f"{lines.str.len_chars()[odd[0]]} characters, not {width}", first + odd[0])
    cells, start = [], 0
    for name, column in columns.items():
        cells.append(lines.str.slice(start, column.width).alias(name))
        start += column.width or 0
    return pl.DataFrame(cells)


def _bare(layout: Layout, lines: pl.Series) -> pl.Series:
    """The lines with NUL for each quoted field; one with a stray quote becomes empty: too few fields."""
    if not layout.quote:
        return lines
    mark, quote = re.escape(layout.delimiter), re.escape(layout.quote)
    bare = lines.str.replace_all(f"(^|{mark}){quote}(?:[^{quote}]|{quote}{quote})*{quote}", "${1}\x00")
    stray = bare.str.contains(f"{quote}|\x00[^{mark}]")
    return pl.select(pl.when(stray).then(pl.lit("")).otherwise(bare)).to_series()


def _delimited(layout: Layout, columns: Columns, lines: pl.Series, first: int) -> pl.DataFrame:
    odd = (
        _bare(layout, lines).str.count_matches(layout.delimiter, literal=True) != len(columns) - 1
    ).arg_true()
    if len(odd):
        raise _bad(f"not the {len(columns)} fields that the layout has", first + odd[0])
    cells = pl.read_csv(
        BytesIO(lines.str.join("\n").item().encode()), has_header=False, new_columns=list(columns),
        separator=layout.delimiter, quote_char=layout.quote or None, infer_schema=False,
        empty_string_is_null=layout.forms.null == "",
    )  # fmt: skip
    if cells.height != lines.len():
        raise _bad(f"{lines.len()} lines, but {cells.height} records were read", first)
    return cells


def _agreed(
    layout: Layout, header: pl.DataFrame, trailer: pl.DataFrame, records: pl.DataFrame
) -> dict[str, Any]:
    """The facts by key. Where header, trailer and records tell the same fact, they must agree."""
    facts: dict[str, Any] = {}
    parts = ((layout.header, header), (layout.trailer, trailer), (layout.record, records))
    for columns, values in parts:
        for name, column in columns.items():
            told = values[name].unique().to_list() if column.fact else []
            if len({*told, *([facts[column.fact_key]] if column.fact_key in facts else [])}) > 1:
                raise BadAnswer(f"{name}: the file tells two different ones", reason="bif_malformed")
            facts.update((column.fact_key, one) for one in told)
    return facts


def _rows(layout: Layout, records: pl.DataFrame) -> pl.DataFrame:
    """The record's columns in the order of FACTS. One that the layout writes twice must be the same twice."""
    first: dict[str, str] = {}
    for name, column in layout.record.items():
        again = first.setdefault(column.source, name)
        if column.source and not records[again].equals(records[name], null_equal=True):
            raise BadAnswer(f"{again} and {name} should be the same and are not", reason="bif_malformed")
    rows = records.select(pl.col(first[column]).alias(column) for column in FACTS if column in first)
    return rows.with_columns(line_numbers(layout, rows.height))


def _refuse_difference(told: Mapping[str, Any], counted: Mapping[str, Any]) -> None:
    wrong = [
        f"{key}: {told[key]} told, {value} counted" for key, value in counted.items() if told[key] != value
    ]
    if wrong:
        raise ControlTotalError(
            f"the file's control totals differ: {'; '.join(wrong)}", reason="control_total"
        )


def _single(section: pl.DataFrame) -> dict[str, Any]:
    return section.row(0, named=True) if section.height else {}
