"""Rows to XML, a column at a time: Polars builds the text, no Python loop over rows.

A report is rendered in slices of 20,000 rows, so a million payments (some 470 MB)
pass through in bounded memory. Forms as captured: DataSets leave nulls out and print
times with an offset; the typed form prints naive times and says nil where it may.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from sandbox.wire_schema import NAMESPACE, REPORTING, Column, Operation

SLICE_ROWS = 20_000
XS = "http://www.w3.org/2001/XMLSchema"
MSDATA = "urn:schemas-microsoft-com:xml-msdata"
DIFFGR = "urn:schemas-microsoft-com:xml-diffgram-v1"
_GUID_TYPE = (
    'msdata:DataType="System.Guid, mscorlib, Version=4.0.0.0, Culture=neutral, '
    'PublicKeyToken=b77a5c561934e089" type="xs:string"'
)
# What .NET prints for an unset value that is not nullable.
_UNSET = {"int": "0", "decimal": "0", "boolean": "false", "dateTime": "0001-01-01T00:00:00"}


@dataclass(frozen=True)
class Patch:
    """Write `value` (text, escaped like any other; None = null) into column `column` of row `row`."""

    column: str
    row: int
    value: str | None


@dataclass(frozen=True)
class Report:
    """One answer before it is text: the rows of `frame` where `mask` holds, in frame order."""

    operation: Operation
    frame: pl.DataFrame
    mask: pl.Series
    patches: tuple[Patch, ...] = ()
    error_table: str | None = None

    @property
    def rows(self) -> int:
        """Number of rows that will be printed."""
        return int(self.mask.sum() or 0)

    def selected(self) -> pl.DataFrame:
        """The selected rows as a frame of their own (for small reports and faults)."""
        return self.frame.filter(self.mask)

    def with_frame(self, frame: pl.DataFrame) -> Report:
        """The same report over all rows of another frame."""
        return replace(self, frame=frame, mask=pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True))


def body_parts(report: Report, offset: str = "+00:00") -> Iterator[bytes | memoryview]:
    """The content of soap:Body in parts. `offset` is the zone that DataSet times are printed with."""
    op = report.operation
    head = f'<{op.name}Response xmlns="{NAMESPACE.format(service=REPORTING)}"><{op.name}Result>'
    tail = f"</{op.name}Result></{op.name}Response>"
    opening, closing, nothing = _dataset_frame(report) if op.form == "dataset" else _typed_frame(report)
    if report.rows == 0 and report.error_table is None:
        yield (head + nothing + tail).encode()
        return
    yield (head + opening).encode()
    yield from row_parts(report, offset)
    yield (_error_rows(report) + closing + tail).encode()


def row_parts(report: Report, offset: str) -> Iterator[memoryview]:
    """The rows as UTF-8, one part per slice of the frame."""
    done = 0
    for start in range(0, report.frame.height, SLICE_ROWS):
        part = report.frame.slice(start, SLICE_ROWS).filter(report.mask.slice(start, SLICE_ROWS))
        if part.height:
            yield _utf8(_rows(part, report, done, offset))
            done += part.height


def _typed_frame(report: Report) -> tuple[str, str, str]:
    parent = report.operation.parent
    head = "<Success>true</Success>"
    return f"{head}<{parent}>", f"</{parent}>", f"{head}<{parent} />"


def _dataset_frame(report: Report) -> tuple[str, str, str]:
    schema = _schema(report)
    gram = f'<diffgr:diffgram xmlns:msdata="{MSDATA}" xmlns:diffgr="{DIFFGR}"'
    parent = report.operation.parent
    return (
        f'{schema}{gram}><{parent} xmlns="">',
        f"</{parent}></diffgr:diffgram>",
        f"{schema}{gram} />",
    )


def _schema(report: Report) -> str:
    """The inline schema of a DataSet (one table; a second one only for the error-table fault)."""
    op = report.operation
    kinds = {c.wire: _GUID_TYPE if c.kind == "guid" else f'type="xs:{c.kind}"' for c in op.columns}
    fields = "".join(f'<xs:element name="{wire}" {kind} minOccurs="0" />' for wire, kind in kinds.items())
    tables = _table(op.row, fields)
    if report.error_table is not None:
        tables += _table("Errors", '<xs:element name="Message" type="xs:string" minOccurs="0" />')
    return (
        f'<xs:schema id="{op.parent}" xmlns="" xmlns:xs="{XS}" xmlns:msdata="{MSDATA}">'
        f'<xs:element name="{op.parent}" msdata:IsDataSet="true" msdata:UseCurrentLocale="true">'
        f'<xs:complexType><xs:choice minOccurs="0" maxOccurs="unbounded">{tables}'
        "</xs:choice></xs:complexType></xs:element></xs:schema>"
    )


def _table(name: str, fields: str) -> str:
    return (
        f'<xs:element name="{name}"><xs:complexType><xs:sequence>{fields}'
        "</xs:sequence></xs:complexType></xs:element>"
    )


def _error_rows(report: Report) -> str:
    """The row of an error table; in the typed form an element that its list does not know."""
    if report.error_table is None:
        return ""
    marks = ' diffgr:id="Errors1" msdata:rowOrder="0"' if report.operation.form == "dataset" else ""
    return f"<Errors{marks}><Message>{escape_text(report.error_table)}</Message></Errors>"


def _rows(part: pl.DataFrame, report: Report, done: int, offset: str) -> pl.Series:
    """One string per row of `part`; `done` rows were printed before it."""
    op = report.operation
    texts = part.select(_text(c, part.schema[c.source], op, offset) for c in op.columns)
    for patch in report.patches:
        if done <= patch.row < done + part.height:
            here = pl.int_range(pl.len()) == patch.row - done
            value = pl.when(here).then(pl.lit(patch.value, pl.String)).otherwise(pl.col(patch.column))
            texts = texts.with_columns(value.alias(patch.column))
    return texts.select(
        pl.concat_str(_start(op, done), *(_element(c, op) for c in op.columns), pl.lit(f"</{op.row}>"))
    ).to_series()


def _start(op: Operation, done: int) -> pl.Expr:
    if op.form == "typed":
        return pl.lit(f"<{op.row}>")
    order = pl.int_range(done, pl.len() + done)
    number = (order + 1).cast(pl.String)
    return pl.concat_str(
        pl.lit(f'<{op.row} diffgr:id="{op.row}'),
        number,
        pl.lit('" msdata:rowOrder="'),
        order.cast(pl.String),
        pl.lit('">'),
    )


def _text(column: Column, dtype: pl.DataType, op: Operation, offset: str) -> pl.Expr:
    """A column's values as plain text, nulls kept; the output is named by the wire."""
    value = pl.col(column.source)
    if column.kind == "dateTime" and dtype != pl.String:
        value = _time_text(value, dtype, offset if op.form == "dataset" else "")
    return value.cast(pl.String).alias(column.wire)


def _time_text(value: pl.Expr, dtype: pl.DataType, offset: str) -> pl.Expr:
    """`2026-11-01T08:15:30.123` as .NET prints it: no fraction when zero, no trailing zeros."""
    if isinstance(dtype, pl.Datetime):
        value = value.dt.replace_time_zone(None)
    stamp = value.cast(pl.Datetime("us"))
    whole = stamp.dt.strftime("%Y-%m-%dT%H:%M:%S" + offset)
    exact = stamp.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f").str.strip_chars_end("0") + offset
    return pl.when(stamp.dt.microsecond() == 0).then(whole).otherwise(exact)


def _element(column: Column, op: Operation) -> pl.Expr:
    """A column as elements: left out, nil or unset where null; `<X />` where empty."""
    name, value = column.wire, pl.col(column.wire)
    missing = ""
    if op.form == "typed" and column.nillable:
        missing = f'<{name} xsi:nil="true" />'
    elif op.form == "typed" and column.kind in _UNSET:
        missing = f"<{name}>{_UNSET[column.kind]}</{name}>"
    full = pl.concat_str(pl.lit(f"<{name}>"), _escaped(value), pl.lit(f"</{name}>")).fill_null(missing)
    return pl.when(value == "").then(pl.lit(f"<{name} />")).otherwise(full)


def _escaped(value: pl.Expr) -> pl.Expr:
    return value.str.replace_many(["&", "<", ">", "\r"], ["&amp;", "&lt;", "&gt;", "&#xD;"])


def escape_text(text: str) -> str:
    """`text` as an XML writer puts it between tags (quotes stay as they are)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")


def _utf8(rows: pl.Series) -> memoryview:
    """The rows' text, end to end, straight from the Arrow buffer: no Python string is made."""
    array = rows.rechunk().to_arrow()
    return memoryview(array.buffers()[2])[: int(rows.str.len_bytes().sum() or 0)]
