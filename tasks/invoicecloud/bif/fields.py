"""One field of a line, there and back: its text in the file, width and null included. Expressions only."""

from __future__ import annotations

import polars as pl

from tasks.invoicecloud.bif.forms import to_text, to_value
from tasks.invoicecloud.bif.layout import RECORD_TYPE, Column, Layout


def value_of(column: Column) -> pl.Expr:
    """The value in a frame whose columns are the record's, or the facts' keys."""
    if column.literal is not None:
        return pl.lit(column.literal, pl.String)
    return pl.col(column.source or column.fact_key)


def cell(layout: Layout, column: Column, zone: str) -> pl.Expr:
    """The text of a field. Delimited: null where nothing stands, not yet quoted. Fixed: filled to its width."""
    text = _text(layout, column, value_of(column), zone)
    null = layout.forms_of(column).null
    if layout.shape == "fixed":
        assert column.width is not None
        return _filled(text, column, column.width).fill_null(null.ljust(column.width))
    return text if null == layout.forms.null else text.fill_null(null)


def value(layout: Layout, column: Column, text: pl.Expr, zone: str) -> pl.Expr:
    """The value that a field's text stands for; null also where it cannot be read.

    `text` as `cell` gives it (quotes taken off).
    """
    forms = layout.forms_of(column)
    null = forms.null
    if layout.shape == "fixed":
        assert column.width is not None
        null = null.ljust(column.width)
    # Delimited: where nothing stands, the text is null already; "" are two quotes.
    filled = pl.when(text != null).then(_stripped(text, layout, column)) if null else text
    if column.source == RECORD_TYPE:
        letters = {letter: ours for ours, letter in layout.record_types.items()}
        return filled.replace_strict(letters, default=None, return_dtype=pl.String)
    return to_value(filled, column.dtype, forms, zone)


def _text(layout: Layout, column: Column, typed: pl.Expr, zone: str) -> pl.Expr:
    if column.source == RECORD_TYPE:
        return typed.replace_strict(layout.record_types, default=None, return_dtype=pl.String)
    return to_text(typed, column.dtype, layout.forms_of(column), zone)


def _filled(text: pl.Expr, column: Column, width: int) -> pl.Expr:
    if column.align == "left":
        return text.str.pad_end(width, column.pad)
    # zfill keeps a minus in front of the zeros.
    return text.str.zfill(width) if column.pad == "0" else text.str.pad_start(width, column.pad)


def _stripped(text: pl.Expr, layout: Layout, column: Column) -> pl.Expr:
    if layout.shape == "delimited":
        return text
    if column.align == "left":
        return text.str.strip_chars_end(column.pad)
    if column.pad == "0" and isinstance(column.dtype, pl.Decimal | pl.Int64):
        return text
    return text.str.strip_chars_start(column.pad)
