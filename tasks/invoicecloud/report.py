"""A proven body → one typed frame of its contract, rows that could not be read, and warnings.

bytes → Arrow (xml2arrow, in Rust, GIL released) → Polars. The strict proof of `body` runs beside it
on the second core; no row leaves this module before the proof is through and the row counts agree.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import polars as pl
import xml2arrow
from xml2arrow.exceptions import Xml2ArrowError

from checks.contracts import FEEDS
from checks.describe import columns as contract_columns
from checks.describe import polars_schema
from tasks.errors import BadAnswer, ControlTotalError, SchemaDrift
from tasks.invoicecloud import body, envelope
from tasks.invoicecloud.catalogue import ColumnMap, FeedSpec, Form
from tasks.reading import apply_readings, reading

# What an inline schema may declare for a column that is read as money, a time, a flag, a number.
_TYPES = {
    "money": {"decimal", "double", "float", "int", "long", "short"},
    "int": {"int", "long", "short", "unsignedByte", "byte", "unsignedInt", "decimal"},
    "bool": {"boolean"},
    "not_bool": {"boolean"},
    "gmt": {"dateTime"},
    "offset": {"dateTime"},
    "zone": {"dateTime"},
    "date": {"dateTime", "date"},
}


@dataclass(frozen=True)
class Report:
    """One answer, read. `rows`: contract columns and row_no. `unread`: the same, null where unreadable, and

    reasons. `raw`: the text as sent. rows + unread = rows_in.
    """

    rows: pl.DataFrame
    unread: pl.DataFrame
    raw: pl.DataFrame
    rows_in: int
    warnings: list[str] = field(default_factory=list)


def read_report(path: Path, feed: FeedSpec, form: Form, zone: str) -> Report:
    """Reads the body at `path`. Raises BadAnswer, SchemaDrift, … ; nothing of a bad body is returned."""
    spec = feed.forms[form]
    row_element = spec.rows.split("/")[-1]
    with ThreadPoolExecutor(1) as beside:
        proof = beside.submit(body.prove, path, row_element)
        try:
            raw: pl.DataFrame | None = _columns(path, feed, form)
        except BadAnswer:
            raw = None  # the proof says better what is wrong, and may have cleaned the body
        proven = proof.result()
    try:
        if raw is None or proven.path != path:
            raw = _columns(proven.path, feed, form)
        head = envelope.read_head(proven.path, spec, feed.service)
    finally:
        if proven.path != path:
            proven.path.unlink()
    if raw.height != proven.rows:
        raise ControlTotalError(
            f"the bytes hold {proven.rows} rows, {raw.height} were parsed", reason="row_count"
        )
    warnings = _drift(head, feed, form, raw)
    if proven.replaced_references:
        warnings.append(f"{proven.replaced_references} illegal character references replaced by U+FFFD")
    rows, unread, more = _typed(raw, feed, zone)
    return Report(rows, unread, raw, raw.height, warnings + more)


def _columns(path: Path, feed: FeedSpec, form: Form) -> pl.DataFrame:
    sources = tuple(dict.fromkeys(column.source for column in feed.columns.values()))
    spec = feed.forms[form]
    try:
        batch = _parser(spec.operation, spec.rows, sources).parse(path)["rows"]
    except (Xml2ArrowError, TypeError, ValueError) as error:  # TypeError: how it says "no UTF-8"
        raise BadAnswer(
            f"the report cannot be read as columns ({type(error).__name__})", reason="malformed"
        ) from None
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame


@cache
def _parser(operation: str, rows: str, sources: tuple[str, ...]) -> xml2arrow.XmlToArrowParser:
    """xml2arrow reads its configuration from a file only; every column is text, its paths carry no prefixes."""
    *parents, row = [f"{operation}Response", f"{operation}Result", *rows.split("/")]
    table = "/Envelope/Body/" + "/".join(parents)
    fields = [
        f"      - {{name: '{name}', xml_path: '{table}/{row}/{envelope.xml_name(name)}', data_type: Utf8, nullable: true}}"
        for name in sources
    ]
    config = "\n".join(
        ["tables:", "  - name: rows", f"    xml_path: {table}", "    levels: []", "    fields:", *fields]
    )
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(config + "\n")
        file.flush()
        return xml2arrow.XmlToArrowParser(file.name)


def _drift(head: envelope.Head, feed: FeedSpec, form: Form, raw: pl.DataFrame) -> list[str]:
    """Refuses a removed, renamed or retyped column; warns of a new one (its bytes stay in the archive)."""
    mapped = {envelope.xml_name(column.source): column for column in feed.columns.values()}
    table = head.tables.get(feed.forms[form].rows.split("/")[-1])
    present = set(table) if table is not None else set(head.first_row_elements)
    required = {name: column for name, column in mapped.items() if column.required}
    if table is not None:
        gone = [name for name in required if name not in table]
        retyped = [
            f"{name} (now {table[name]})"
            for name, column in mapped.items()
            if table.get(name) and column.read in _TYPES and table[name] not in _TYPES[column.read]
        ]
    else:
        gone = _gone_from_list(required, present, feed, raw)
        retyped = []
    if gone or retyped:
        parts = [f"missing: {', '.join(gone)}"] * bool(gone) + [f"other type: {', '.join(retyped)}"] * bool(
            retyped
        )
        new = sorted(present - set(mapped))
        hint = f"; new and unknown: {', '.join(new)}" if new else ""
        raise SchemaDrift(f"columns have changed: {'; '.join(parts)}{hint}")
    return [f"new column {name}: not loaded, kept in the archive" for name in sorted(present - set(mapped))]


def _gone_from_list(
    required: dict[str, ColumnMap], present: set[str], feed: FeedSpec, raw: pl.DataFrame
) -> list[str]:
    """A typed list has no schema. .NET leaves out null texts, but numbers, flags and times are always there

    (xsi:nil when null); and a column that may not be null cannot be null in every row.
    """
    if not raw.height:
        return []
    never_null = {c.name for c in contract_columns(FEEDS[feed.name]) if not c.nullable}
    needed = {feed.columns[name].source for name in never_null if name in feed.columns}
    return [
        name
        for name, column in required.items()
        if (column.read not in ("text", "code") and name not in present)
        or (column.source in needed and raw[column.source].null_count() == raw.height)
    ]


def _typed(raw: pl.DataFrame, feed: FeedSpec, zone: str) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    schema = polars_schema(FEEDS[feed.name])
    readings = {name: reading(column, schema[name], zone) for name, column in feed.columns.items()}
    sources = {name: column.source for name, column in feed.columns.items()}
    rows, unread = apply_readings(raw, schema, readings, sources)
    return rows, unread, _unknown_codes(raw, feed)


def _unknown_codes(raw: pl.DataFrame, feed: FeedSpec) -> list[str]:
    warnings = []
    for name, column in feed.columns.items():
        if column.read == "code" and column.codes:
            values = raw[column.source].str.strip_chars()
            unknown = values.unique().drop_nulls().to_list()
            strange = sorted(set(unknown) - set(column.codes))
            if strange:
                count = values.is_in(strange).sum()
                shown = ", ".join(repr(code[:20]) for code in strange[:5])
                warnings.append(f"{name}: {count} rows with an unknown code, kept as sent: {shown}")
    return warnings
