"""Rows → the bytes of a Biller Invoice File. write_csv does the work; expressions only where a layout differs."""

from __future__ import annotations

from datetime import UTC
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from tasks.errors import SettingsError
from tasks.invoicecloud.bif.fields import cell, value_of
from tasks.invoicecloud.bif.layout import COUNTED, FACT_TYPES, RECORD_TYPE, Column, FileFacts, Layout
from tasks.invoicecloud.bif.troubles import trouble_of

_SLICE = 20_000


def render(layout: Layout, facts: FileFacts, rows: pl.DataFrame) -> bytes:
    """The file: header, one record per row in the order given, trailer.

    `rows` in the columns of FACTS and without trouble (tasks/invoicecloud/bif/troubles.py): a row that would break
    its line is refused here too, but only by counting. Raises SettingsError where the file does not fit its layout.
    """
    known = {**facts_of(facts), **counts(layout, rows)}
    about = pl.DataFrame(
        {key: [value] for key, value in known.items()},
        schema={key: FACT_TYPES[key.split(":")[0]] for key in known},
    )
    constant = [pl.lit(about[key].first(), about.schema[key]).alias(key) for key in facts_of(facts)]
    for columns in (layout.header, layout.record, layout.trailer):
        _refuse_misfit(layout, columns, about, facts.zone)
    out, lines = BytesIO(), 0
    for columns, frame in ((layout.header, about), (layout.record, rows), (layout.trailer, about)):
        if columns:
            full = frame if frame is about else frame.with_columns(constant)
            _write(out, layout, columns, full, facts.zone)
            lines += full.height
    data = out.getvalue()
    if data.count(b"\n") != lines or data.count(b"\r") != (lines if "\r" in layout.line_end else 0):
        raise SettingsError(f"BIF layout {layout.name}: a text holds a line end")
    return data


def facts_of(facts: FileFacts) -> dict[str, Any]:
    """The facts that do not depend on the rows, by key."""
    at = facts.created_at.astimezone(UTC)
    return {
        "bid": facts.bid, "biller_guid": facts.biller_guid, "file_id": facts.file_id,
        "created_at": at, "created_on": at.astimezone(ZoneInfo(facts.zone)).date(),
    }  # fmt: skip


def counts(layout: Layout, rows: pl.DataFrame) -> dict[str, Any]:
    """Counts and sums over the rows that header and trailer carry, by key: records, records_of:R, sum:COLUMN."""
    wanted = {c.fact_key: c for c in layout.all_columns() if c.fact in COUNTED}
    if not wanted:
        return {}
    return rows.select(_count(column).alias(key) for key, column in wanted.items()).row(0, named=True)


def _count(column: Column) -> pl.Expr:
    if column.fact == "records":
        return pl.len().cast(pl.Int64)
    if column.fact == "records_of":
        return (pl.col(RECORD_TYPE) == column.of).sum().cast(pl.Int64)
    return pl.col(column.of).sum()


def _refuse_misfit(layout: Layout, columns: dict[str, Column], about: pl.DataFrame, zone: str) -> None:
    for sentence in trouble_of(layout, columns, about, zone)["reason"]:
        raise SettingsError(f"BIF layout {layout.name}: a fact of the file, {sentence}")


def _write(out: BytesIO, layout: Layout, columns: dict[str, Column], frame: pl.DataFrame, zone: str) -> None:
    """Whole where write_csv can write it straight; else in slices, which stay in the processor's cache."""
    write = _write_fixed if layout.shape == "fixed" else _write_delimited
    if layout.shape == "delimited" and layout.encoding == "utf-8":
        write(out, layout, columns, frame, zone)
        return
    for part in frame.iter_slices(_SLICE):
        text = BytesIO()
        write(text, layout, columns, part, zone)
        out.write(_encoded(text.getvalue(), layout))


def _write_fixed(
    out: BytesIO, layout: Layout, columns: dict[str, Column], frame: pl.DataFrame, zone: str
) -> None:
    width = sum(column.width or 0 for column in columns.values())
    lines = frame.select(line=pl.concat_str([cell(layout, column, zone) for column in columns.values()]))
    if (lines["line"].str.len_chars() != width).any():
        raise SettingsError(f"BIF layout {layout.name}: a text is longer than its field")
    lines.write_csv(out, include_header=False, quote_style="never", line_terminator=layout.line_end)


def _write_delimited(
    out: BytesIO, layout: Layout, columns: dict[str, Column], frame: pl.DataFrame, zone: str
) -> None:
    fields = [_native(layout, column, zone).alias(name) for name, column in columns.items()]
    frame.select(fields).write_csv(
        out, include_header=False, separator=layout.delimiter, line_terminator=layout.line_end,
        null_value=layout.forms.null, date_format=layout.forms.date,
        quote_char=layout.quote or '"', quote_style="necessary" if layout.quote else "never",
    )  # fmt: skip


def _native(layout: Layout, column: Column, zone: str) -> pl.Expr:
    """The value itself where write_csv writes it as the layout wants it; else its text."""
    forms = layout.forms_of(column)
    plain = isinstance(column.dtype, pl.Decimal) and (forms.money, forms.sign) == ("plain", "minus")
    same_date = isinstance(column.dtype, pl.Date) and forms.date == layout.forms.date
    if (plain or same_date) and forms.null == layout.forms.null:
        return value_of(column)
    return cell(layout, column, zone)


def _encoded(data: bytes, layout: Layout) -> bytes:
    if layout.encoding == "utf-8":
        return data
    try:
        return data.decode("utf-8").encode(layout.encoding)
    except UnicodeEncodeError:
        raise SettingsError(
            f"BIF layout {layout.name}: a text holds a character that {layout.encoding} does not have"
        ) from None
