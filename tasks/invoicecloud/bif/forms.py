"""How a value becomes text and text a value: dates, times, amounts, yes and no, null. Expressions only."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Literal

import polars as pl

from tasks.invoicecloud.catalogue import Frozen

Sign = Literal["minus", "trailing", "parentheses"]
_AMOUNT = {"plain": r"\d{1,16}\.\d\d", "cents": r"\d{1,18}"}
_SIGNED = {"minus": r"^-?{}$", "trailing": r"^{}-?$", "parentheses": r"^({0}|\({0}\))$"}


class FormChanges(Frozen):
    """A field's own forms; null: as the layout has it."""

    date: str | None = None
    time: str | None = None
    money: Literal["plain", "cents"] | None = None
    sign: Sign | None = None
    yes: str | None = None
    no: str | None = None
    null: str | None = None


class Forms(Frozen):
    """`date`, `time`: chrono's strftime. `money`: 12.30 or 1230. `null`: what stands for nothing."""

    date: str
    time: str
    money: Literal["plain", "cents"]
    sign: Sign = "minus"
    yes: str
    no: str
    null: str = ""

    def changed(self, changes: FormChanges) -> Forms:
        """These forms with `changes` on top."""
        return self.model_copy(update=changes.model_dump(exclude_none=True))

    def words(self) -> list[str]:
        """Every text of the layout that may stand in a field."""
        return [self.date, self.time, self.yes, self.no, self.null]

    def check(self, encoding: str) -> None:
        """Raises ValueError for a form that cannot be read back or written in `encoding`."""
        if self.yes == self.no or self.null in (self.yes, self.no):
            raise ValueError("yes, no and null must be three different words")
        try:
            "".join(self.words()).encode(encoding)
        except UnicodeEncodeError:
            raise ValueError(f"a form holds a character that {encoding} does not have") from None
        _reads_back(self.date, date(2026, 11, 9), pl.Date(), self)
        _reads_back(self.time, datetime(2026, 11, 9, 13, 5, tzinfo=UTC), pl.Datetime("us", "UTC"), self)


def _reads_back(form: str, sample: object, dtype: pl.DataType, forms: Forms) -> None:
    frame = pl.DataFrame({"value": [sample]}, schema={"value": dtype})
    try:
        text = frame.select(to_text(pl.col("value"), dtype, forms, "UTC"))
        back = text.select(to_value(pl.col("value"), dtype, forms, "UTC"))
    except (pl.exceptions.PolarsError, ValueError):
        raise ValueError(f"'{form}' is no date form") from None
    if not back.equals(frame):
        raise ValueError(f"a date written as '{form}' cannot be read back")


def to_text(value: pl.Expr, dtype: pl.DataType, forms: Forms, zone: str) -> pl.Expr:
    """Typed value → text; null stays null. Instants are printed in `zone`."""
    if isinstance(dtype, pl.Date):
        return value.dt.strftime(forms.date)
    if isinstance(dtype, pl.Datetime):
        return value.dt.convert_time_zone(zone).dt.strftime(forms.time)
    if isinstance(dtype, pl.Boolean):
        return pl.when(value).then(pl.lit(forms.yes)).when(~value).then(pl.lit(forms.no))
    if isinstance(dtype, pl.Decimal):
        return _amount_text(value, forms)
    return value.cast(pl.String)


def _amount_text(value: pl.Expr, forms: Forms) -> pl.Expr:
    # A decimal(18, 2) is held as whole cents.
    cents = value.to_physical().cast(pl.Int64)
    if forms.sign == "minus":
        return (cents if forms.money == "cents" else value).cast(pl.String)
    size = (cents.abs() if forms.money == "cents" else value.abs()).cast(pl.String)
    signed = pl.format("{}-", size) if forms.sign == "trailing" else pl.format("({})", size)
    return pl.when(value < 0).then(signed).otherwise(size)


def to_value(text: pl.Expr, dtype: pl.DataType, forms: Forms, zone: str) -> pl.Expr:
    """Text → typed value; null where it cannot be read (and where the text is null)."""
    if isinstance(dtype, pl.Date):
        return text.str.to_date(forms.date, strict=False)
    if isinstance(dtype, pl.Datetime):
        return _instant(text, forms, zone)
    if isinstance(dtype, pl.Boolean):
        return pl.when(text == forms.yes).then(True).when(text == forms.no).then(False)
    if isinstance(dtype, pl.Decimal):
        return _amount(text, forms)
    return text.cast(dtype, strict=False)


def _instant(text: pl.Expr, forms: Forms, zone: str) -> pl.Expr:
    read = text.str.to_datetime(forms.time, time_unit="us", strict=False, ambiguous="earliest")
    if "%z" in forms.time or "%:z" in forms.time:
        return read
    placed = read.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return placed.dt.convert_time_zone("UTC")


def _amount(text: pl.Expr, forms: Forms) -> pl.Expr:
    good = text.str.contains(_SIGNED[forms.sign].replace("{0}", "{}").replace("{}", _AMOUNT[forms.money]))
    minus = text.str.contains(r"^\(|-") if forms.sign != "minus" else text.str.starts_with("-")
    digits = text.str.replace_all(r"[^0-9]", "").str.zfill(3).str.replace(r"(\d\d)$", ".$1")
    size = digits.cast(pl.Decimal(18, 2), strict=False)
    return pl.when(good).then(pl.when(minus).then(-size).otherwise(size))
