"""A layout says how a Biller Invoice File is written down: TOML, checked, with a biller's overrides on top.

No other code knows a column of the file. Types come from the record's contract and from FACT_TYPES.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, ValidationError, field_validator, model_validator

from checks.contracts import BifRecords
from checks.contracts.bif import RECORD_TYPES
from checks.describe import columns as contract_columns
from checks.describe import polars_schema
from tasks.errors import SettingsError
from tasks.invoicecloud.bif.forms import FormChanges, Forms
from tasks.invoicecloud.catalogue import Frozen, merged
from tasks.nearest import unknown_keys

HERE = Path(__file__).parent
RECORD_TYPE = "record_type"
FACTS: Mapping[str, pl.DataType] = polars_schema(BifRecords)
MONEY_FACTS = [column.name for column in contract_columns(BifRecords) if column.unit == "USD"]
# What may be said of a file. The last three are counted over its records; `of` says over which.
FACT_TYPES: Mapping[str, pl.DataType] = {
    "bid": pl.String(), "biller_guid": pl.String(), "file_id": pl.String(),
    "created_at": pl.Datetime("us", "UTC"), "created_on": pl.Date(),
    "records": pl.Int64(), "records_of": pl.Int64(), "sum": pl.Decimal(18, 2),
}  # fmt: skip
COUNTED = ("records", "records_of", "sum")
_NEEDS_OF: Mapping[str, list[str]] = {"records_of": RECORD_TYPES, "sum": MONEY_FACTS}


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file besides its rows. `created_at` is aware UTC; `zone` is the biller's, for print."""

    bid: str
    biller_guid: str
    file_id: str
    created_at: datetime
    zone: str


class Column(Frozen):
    """One field of a line: where its text comes from, and how it is written if not as the layout says."""

    source: str = Field("", alias="from")
    fact: str = ""
    of: str = ""
    literal: str | None = None
    required: bool = False
    max_length: int | None = Field(None, ge=1)
    width: int | None = Field(None, ge=1)
    align: Literal["left", "right"] = "left"
    pad: str = Field(" ", min_length=1, max_length=1)
    forms: FormChanges = FormChanges()

    @model_validator(mode="after")
    def _one_source(self) -> Column:
        if sum([bool(self.source), bool(self.fact), self.literal is not None]) != 1:
            raise ValueError("needs exactly one of from, fact, literal")
        if self.source:
            _known(self.source, FACTS, "a column of the invoice record")
        if self.fact:
            _known(self.fact, FACT_TYPES, "a fact of the file")
        if self.fact in _NEEDS_OF:
            _known(self.of, _NEEDS_OF[self.fact], f"something to take '{self.fact}' of")
        elif self.of:
            raise ValueError("'of' belongs to the facts records_of and sum")
        return self

    @property
    def dtype(self) -> pl.DataType:
        """Polars type of the value before it is written."""
        if self.literal is not None:
            return pl.String()
        return FACTS[self.source] if self.source else FACT_TYPES[self.fact]

    @property
    def fact_key(self) -> str:
        """'records', 'records_of:R', 'sum:<money column>', …; '' for other columns."""
        return f"{self.fact}:{self.of}" if self.of else self.fact


class Layout(Frozen):
    """A whole layout. Tables keep the order of the file: it is the order of the fields."""

    name: str
    shape: Literal["delimited", "fixed"]
    delimiter: str = ""
    quote: str = ""
    line_end: Literal["\n", "\r\n"]
    encoding: Literal["utf-8", "latin-1", "cp1252", "ascii"]
    line_numbers: Literal["file", "records"]
    forms: Forms
    record_types: dict[str, str]
    header: dict[str, Column] = Field(default_factory=dict)
    record: dict[str, Column] = Field(min_length=1)
    trailer: dict[str, Column] = Field(default_factory=dict)

    @field_validator("record_types")
    @classmethod
    def _letters(cls, letters: dict[str, str]) -> dict[str, str]:
        if sorted(letters) != sorted(RECORD_TYPES) or len({*letters.values()} - {""}) != len(RECORD_TYPES):
            raise ValueError(f"needs one letter each for {', '.join(RECORD_TYPES)}, all different")
        return letters

    @model_validator(mode="after")
    def _consistent(self) -> Layout:
        self._shape_is_whole()
        counted = [name for name, column in self.record.items() if column.fact in COUNTED]
        elsewhere = [n for n, c in [*self.header.items(), *self.trailer.items()] if c.source]
        if counted or elsewhere:
            raise ValueError(
                f"{', '.join(counted + elsewhere)}: counts belong to header and trailer, `from` to record"
            )
        if RECORD_TYPE not in {column.source for column in self.record.values()}:
            raise ValueError(f"record: no field comes from {RECORD_TYPE}; R and D would look like any other")
        for column in self.all_columns():
            self.forms_of(column).check(self.encoding)
        self._marks_are_free()
        return self

    def _shape_is_whole(self) -> None:
        for name, column in (*self.header.items(), *self.record.items(), *self.trailer.items()):
            if (column.width is not None) != (self.shape == "fixed"):
                raise ValueError(f"{name}: a field has a width if, and only if, the shape is fixed")
            if (
                column.width
                and max(len(self.forms_of(column).null), len(column.literal or "")) > column.width
            ):
                raise ValueError(f"{name}: its literal or its word for null is longer than the field")
            if self.shape == "delimited" and (column.align, column.pad) != ("left", " "):
                raise ValueError(f"{name}: align and pad belong to the shape fixed")
            if self.shape == "delimited" and column.forms.null == "" != self.forms.null:
                raise ValueError(f"{name}: null cannot be empty here: it would read as empty text")
        if self.shape == "fixed" and (self.delimiter or self.quote):
            raise ValueError("delimiter and quote belong to the shape delimited")
        if self.shape == "delimited" and not (len(self.delimiter) == 1 and self.delimiter.isascii()):
            raise ValueError("delimiter must be one ASCII character")
        if len(self.quote) > 1 or not self.quote.isascii() or (self.quote and self.quote == self.delimiter):
            raise ValueError("quote must be one ASCII character other than the delimiter, or empty")

    def _marks_are_free(self) -> None:
        """Dates, amounts and words must not hold what parts the fields."""
        marks = f"{self.delimiter}{self.quote}\r\n"
        words = [word for column in self.all_columns() for word in self.forms_of(column).words()]
        words += [*self.record_types.values(), *(c.literal or "" for c in self.all_columns())]
        if any(mark in word for word in words for mark in marks):
            raise ValueError(
                "a date form, word, letter or literal holds the delimiter, the quote or a line end"
            )
        if any(mark.isalnum() or mark in "-.()" for mark in self.delimiter + self.quote):
            raise ValueError("delimiter or quote would stand in an amount")

    def __repr__(self) -> str:
        return f"Layout({self.name!r})"

    def all_columns(self) -> Iterable[Column]:
        """Fields of header, record and trailer."""
        return [*self.header.values(), *self.record.values(), *self.trailer.values()]

    def forms_of(self, column: Column) -> Forms:
        """The layout's forms with the field's own ones on top."""
        return self.forms.changed(column.forms)

    def tells_empty_from_null(self, column: Column) -> bool:
        """Does an empty text come back as empty, not as null? (Delimited: with quotes or a word for null.)"""
        null = self.forms_of(column).null
        if self.shape == "delimited":
            return bool(self.quote) or null != ""
        return null != "" or column.pad != " "


def _known(name: str, names: Iterable[str], what: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
        raise ValueError(f"'{name}' is not {what}; {hint}")


def load_layout(name: str, overrides: Mapping[str, Any] | None = None, folder: Path | None = None) -> Layout:
    """The packaged layout `name`, or the TOML file of that name below `folder`, with `overrides` merged in.

    Overrides are merged table by table; a field set to false is taken out, a new one comes last.
    Raises SettingsError naming the field, the cause and the nearest known key.
    """
    path = HERE / f"{name}.toml"
    if not name.isidentifier() or not path.is_file():
        path = (folder or Path()) / name
    if not path.is_file():
        packaged = ", ".join(sorted(file.stem for file in HERE.glob("*.toml")))
        raise SettingsError(f"there is no BIF layout '{name}': no file {path}; packaged: {packaged}")
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not readable as TOML: {error}") from None
    try:
        return Layout.model_validate({"name": path.stem, **merged(data, overrides or {})})
    except ValidationError as error:
        raise SettingsError(unknown_keys(error, Layout, f"BIF layout {name}")) from None


def line_numbers(layout: Layout, rows: int) -> pl.Series:
    """LineNumber that IC will use for each record, in order: i64, "line_no"."""
    first = 2 if layout.header and layout.line_numbers == "file" else 1
    return pl.int_range(first, first + rows, dtype=pl.Int64, eager=True).alias("line_no")
