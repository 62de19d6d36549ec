"""The feed catalogue as data: feeds.toml and columns/*.toml, with a biller's overrides on top."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from checks.contracts import FEEDS
from checks.describe import polars_schema
from tasks.errors import SettingsError
from tasks.nearest import unknown_keys

HERE = Path(__file__).parent
Form = Literal["dataset", "soap"]
Read = Literal["text", "money", "int", "bool", "not_bool", "gmt", "offset", "zone", "date", "code"]
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def duration(text: object) -> object:
    """'3d', '2h', '5m', '30s' → timedelta. Raises ValueError that shows the form."""
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"(\d+)([dhms])", text)
    if not match:
        raise ValueError("a duration is written like 3d, 2h, 5m or 30s")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


Duration = Annotated[timedelta, BeforeValidator(duration)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ColumnMap(Frozen):
    """How one contract column is read from IC's element `source`."""

    source: str = Field(alias="from", pattern=r"^[A-Za-z_][A-Za-z0-9_ .-]*$")
    read: Read
    codes: dict[str, str] = {}
    required: bool = False


class FormSpec(Frozen):
    """One wire form of a feed: operation, parameter nesting and names, path to the rows."""

    operation: str
    nesting: str = ""
    window_from: str = Field("", alias="from")
    window_to: str = Field("", alias="to")
    rows: str
    biller_guid: str = "BillerGUID"
    web_service_key: str = "WebServiceKey"


class FeedSpec(Frozen):
    """Everything that a pull of one feed needs to know."""

    name: str
    kind: Literal["window", "snapshot"]
    columns: dict[str, ColumnMap]
    service: str
    key: list[str]
    watermark_column: str = ""
    amount_column: str = ""
    clock: Literal["utc", "date"] = "utc"
    overlap: Duration = timedelta(0)
    lag: Duration = timedelta(0)
    max_window: Duration = timedelta(days=1)
    initial: Duration = timedelta(days=30)
    interval: Duration
    empty: Literal["allowed", "suspect"] = "allowed"
    shrink_limit: float = Field(0.0, ge=0, le=1)
    floor: float = Field(0.0, ge=0, le=1)
    form: Form
    forms: dict[Form, FormSpec]

    @model_validator(mode="after")
    def _consistent(self) -> FeedSpec:
        contract = polars_schema(FEEDS[self.name])
        for column in [*self.columns, *self.key, *filter(None, [self.watermark_column, self.amount_column])]:
            if column not in contract:
                raise ValueError(f"'{column}' is no column of the contract of {self.name}")
        if self.form not in self.forms:
            raise ValueError(f"form '{self.form}' is not among the feed's forms {sorted(self.forms)}")
        if self.kind == "window" and not self.watermark_column:
            raise ValueError("a window feed needs a watermark_column")
        if self.kind == "window" and self.max_window <= timedelta(0):
            raise ValueError("max_window must be longer than nothing")
        return self

    def other_form(self, form: Form) -> Form | None:
        """The fallback: the form that is not `form`, if the feed has two."""
        return next((name for name in self.forms if name != form), None)


@cache
def _packaged() -> dict[str, dict[str, Any]]:
    feeds = tomllib.loads((HERE / "feeds.toml").read_text("utf-8"))
    for feed in feeds.values():
        file = HERE / "columns" / f"{feed['columns']}.toml"
        feed["columns"] = tomllib.loads(file.read_text("utf-8"))
    return feeds


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, tables merged key by key; `false` for a column takes it out of the map."""
    result = dict(base)
    for key, value in over.items():
        if value is False:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def feed_spec(name: str, override: Mapping[str, Any] | None = None, *, where: str = "catalogue") -> FeedSpec:
    """The catalogue's entry for feed `name` (table name) with a biller's override.

    Raises SettingsError naming the field, the nearest known key and the place (`where`).
    """
    packaged = _packaged()
    if name not in packaged:
        raise SettingsError(f"{where}: there is no feed '{name}'; known: {', '.join(packaged)}")
    try:
        return FeedSpec.model_validate({"name": name, **merged(packaged[name], override or {})})
    except ValidationError as error:
        raise SettingsError(unknown_keys(error, FeedSpec, where)) from None


def feed_names() -> list[str]:
    """Table names of all feeds, in the catalogue's order."""
    return list(_packaged())
