"""A bank's CSV as the contract imt.bank_lines wants it: its headings, its form of dates and amounts, as data.

Settings: [billers.NAME.rules.deposits.csv], see tasks/reconcile/rules.toml.
"""

from __future__ import annotations

import polars as pl
from pydantic import BaseModel, ConfigDict, field_validator

from checks.contracts.bank import BankLines
from checks.describe import polars_schema

# Amounts with a thousands comma, a dollar sign, or brackets for a debit; any other form is left to be refused.
_GROUPED = r"^-?\(?\$?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]{1,2})?\)?$"
_PLAIN = r"^-?\(?\$?[0-9]+(\.[0-9]{1,2})?\)?$"


class CsvMap(BaseModel):
    """columns: our name → the bank's heading · credit, debit: two headings of amounts without a sign, instead of
    `amount` · date_format: such as %m/%d/%Y; empty: 2026-11-05."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, str] = {}
    credit: str = ""
    debit: str = ""
    date_format: str = ""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        names = polars_schema(BankLines)
        for name in columns:
            if name not in names:
                raise ValueError(f"'{name}' is no column of bank lines; known: {', '.join(names)}")
        return columns

    @property
    def is_plain(self) -> bool:
        """True where nothing is set: the file is written as the contract says."""
        return self == CsvMap()


def mapped(raw: pl.DataFrame, how: CsvMap) -> pl.DataFrame:
    """Text columns of the bank → those of the contract; headings that are not there are left for the contract to name.

    A cell that does not have the expected form keeps its text, so that its row is set aside with it.
    """
    if how.is_plain:
        return raw
    found = {given: name for name, given in how.columns.items() if given in raw.columns and given != name}
    frame = raw.drop([name for name in found.values() if name in raw.columns]).rename(found)
    if how.credit in frame.columns or how.debit in frame.columns:
        frame = frame.with_columns(amount=_one_amount(frame, how))
    elif "amount" in frame.columns and frame.schema["amount"] == pl.String:
        frame = frame.with_columns(amount=_plain_amount(pl.col("amount")))
    if how.date_format and "value_date" in frame.columns and frame.schema["value_date"] == pl.String:
        day = pl.col("value_date").str.strip_chars().str.to_date(how.date_format, strict=False)
        frame = frame.with_columns(value_date=pl.coalesce(day.cast(pl.String), "value_date"))
    return frame.drop(
        [name for name in (how.credit, how.debit) if name in frame.columns and name != "amount"]
    )


def _one_amount(frame: pl.DataFrame, how: CsvMap) -> pl.Expr:
    """Credit as it is, debit below zero. A row with both has no amount that can be told: both texts, to be refused."""
    credit, debit = (
        _blank(pl.col(name).cast(pl.String)) if name in frame.columns else pl.lit(None, pl.String)
        for name in (how.credit, how.debit)
    )
    out = _plain_amount(debit)
    below = pl.when(out.str.starts_with("-")).then(out).otherwise(pl.lit("-") + out)
    both = credit.is_not_null() & debit.is_not_null()
    return (
        pl.when(both)
        .then(pl.format("{} and {}", credit, debit))
        .otherwise(pl.coalesce(_plain_amount(credit), below))
    )


def _blank(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars().replace("", None)


def _plain_amount(text: pl.Expr) -> pl.Expr:
    """'$1,234.50' → '1234.50', '(5.00)' → '-5.00'; anything else stays as it is."""
    text = _blank(text)
    bare = text.str.replace_all(r"[$,()]", "")
    negative = text.str.starts_with("(") & text.str.ends_with(")")
    signed = pl.when(negative).then(pl.lit("-") + bare).otherwise(bare)
    lone = text.str.starts_with("(") != text.str.ends_with(")")
    known = (text.str.contains(_GROUPED) | text.str.contains(_PLAIN)) & ~lone
    return pl.when(known).then(signed).otherwise(text)
