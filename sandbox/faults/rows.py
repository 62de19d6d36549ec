"""Faults in the rows or the columns of a report that is otherwise well made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from sandbox.render import Patch, Report
from sandbox.wire_schema import Column

Args = dict[str, Any]


def _column(report: Report, args: Args, fallback: str | None) -> Column:
    """The column that args.column names (wire name), else the fallback, else the last one."""
    columns = {column.wire: column for column in report.operation.columns}
    return columns[args.get("column") or fallback or report.operation.columns[-1].wire]


def _with_columns(report: Report, columns: tuple[Column, ...]) -> Report:
    return replace(report, operation=replace(report.operation, columns=columns))


def empty(report: Report, _args: Args) -> Report:
    """A valid report without a row."""
    return report.with_frame(report.frame.head(0))


def half_rows(report: Report, _args: Args) -> Report:
    """A valid report that lacks every second row."""
    return report.with_frame(report.selected().gather_every(2, offset=1))


def duplicate_rows(report: Report, args: Args) -> Report:
    """The first args.rows rows [1] once more at the end, identical."""
    rows = report.selected()
    return report.with_frame(pl.concat([rows, rows.head(args.get("rows", 1))]))


def conflicting_rows(report: Report, args: Args) -> Report:
    """The first args.rows rows [1] once more with other money (a switched flag where there is none)."""
    rows = report.selected()
    column = _column(report, args, report.operation.amount or _first(report, "boolean"))
    other = pl.col(column.source) + pl.lit("1.00").cast(pl.Decimal(18, 2))
    if column.kind == "boolean":
        other = ~pl.col(column.source)
    changed = rows.head(args.get("rows", 1)).with_columns(other.cast(rows.schema[column.source]))
    return report.with_frame(pl.concat([rows, changed]))


def _first(report: Report, kind: str) -> str | None:
    return next((column.wire for column in report.operation.columns if column.kind == kind), None)


def added_column(report: Report, args: Args) -> Report:
    """One more column, args.column [NewColumn], with args.value [new]."""
    name = args.get("column", "NewColumn")
    framed = replace(
        report, frame=report.frame.with_columns(pl.lit(args.get("value", "new")).alias("__added"))
    )
    return _with_columns(framed, (*report.operation.columns, Column(name, "__added")))


def removed_column(report: Report, args: Args) -> Report:
    """One column less: args.column, else the money (or the last) column."""
    gone = _column(report, args, report.operation.amount)
    return _with_columns(report, tuple(c for c in report.operation.columns if c != gone))


def renamed_column(report: Report, args: Args) -> Report:
    """args.column (else the money or last column) under the name args.to [<name>New]."""
    old = _column(report, args, report.operation.amount)
    new = replace(old, wire=args.get("to", f"{old.wire}New"))
    return _with_columns(report, tuple(new if c == old else c for c in report.operation.columns))


def retyped_column(report: Report, args: Args) -> Report:
    """args.column (else the money or last column) as text of another kind: `$120.50`, `yes`, `#3`."""
    old = _column(report, args, report.operation.amount)
    sign = {"decimal": "$", "int": "#", "boolean": "is ", "dateTime": "on "}.get(old.kind, "~")
    text = pl.concat_str(pl.lit(args.get("prefix", sign)), pl.col(old.source).cast(pl.String))
    framed = replace(report, frame=report.frame.with_columns(text.alias("__retyped")))
    new = replace(old, source="__retyped", kind="string", nillable=False)
    return _with_columns(framed, tuple(new if c == old else c for c in report.operation.columns))


def error_table(report: Report, args: Args) -> Report:
    """A table `Errors` with args.message; the report's own rows only with args.rows = true."""
    shown = report if args.get("rows") else empty(report, args)
    return replace(shown, error_table=args.get("message", "Internal error 0x80131904"))


def bad_money(report: Report, args: Args) -> Report:
    """args.value ["12.345"] as the amount (or args.column) of row args.row [0]."""
    column = _column(report, args, report.operation.amount)
    return _patched(report, Patch(column.wire, args.get("row", 0), str(args.get("value", "12.345"))))


def bad_value(report: Report, args: Args) -> Report:
    """args.value into args.column of row args.row [0]; any text, None for a null."""
    column = _column(report, args, None)
    value = args.get("value", "?")
    return _patched(report, Patch(column.wire, args.get("row", 0), None if value is None else str(value)))


def huge_text(report: Report, args: Args) -> Report:
    """A text of args.size characters [11,000,000] in args.column (else the last text column)."""
    texts = [column.wire for column in report.operation.columns if column.kind == "string"]
    named = "CustomerName" if "CustomerName" in texts else texts[-1]
    column = _column(report, args, named)
    return _patched(report, Patch(column.wire, args.get("row", 0), "A" * args.get("size", 11_000_000)))


def _patched(report: Report, patch: Patch) -> Report:
    return replace(report, patches=(*report.patches, patch))


ROW_KINDS: dict[str, Callable[[Report, Args], Report]] = {
    "empty": empty,
    "half_rows": half_rows,
    "duplicate_rows": duplicate_rows,
    "conflicting_rows": conflicting_rows,
    "added_column": added_column,
    "removed_column": removed_column,
    "renamed_column": renamed_column,
    "retyped_column": retyped_column,
    "error_table": error_table,
    "bad_money": bad_money,
    "bad_value": bad_value,
    "huge_text": huge_text,
}
