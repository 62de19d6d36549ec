"""Which field of a push is which column, and how it is read: columns/pushes.toml with a biller's overrides on top."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, create_model

import tasks.invoicecloud
from tasks.errors import SettingsError
from tasks.invoicecloud.catalogue import Frozen, merged
from tasks.nearest import unknown_keys
from tasks.settings import Settings

PushKind = Literal["payments", "autopay", "paperless"]
PushRead = Literal["guid", "reference", "text", "code", "money", "bool", "gmt", "offset", "local"]
_FILE = Path(tasks.invoicecloud.__file__).parent / "columns" / "pushes.toml"
# Without these there is no push. The GUID of the biller is asked for where money is told of.
NEEDED: dict[PushKind, frozenset[str]] = {
    "payments": frozenset({"biller_guid", "payment_guid", "payment_date", "payment_amount", "approved"}),
    "autopay": frozenset({"account_number", "enrolled"}),
    "paperless": frozenset({"account_number", "enrolled"}),
}
TIMES: frozenset[PushRead] = frozenset({"gmt", "offset", "local"})
# These decide what a push means: nobody may read them in another way than it was meant.
_FIXED: dict[str, frozenset[PushRead]] = {
    "biller_guid": frozenset({"guid"}),
    "payment_guid": frozenset({"guid"}),
    "payment_amount": frozenset({"money"}),
    "convenience_fee": frozenset({"money"}),
    "approved": frozenset({"bool"}),
    "enrolled": frozenset({"bool"}),
    "payment_date": TIMES,
    "occurred_at": TIMES,
    "account_number": frozenset({"reference"}),
    "invoice_number": frozenset({"reference"}),
}
_TEXT: frozenset[PushRead] = frozenset({"text", "code"})


class PushField(Frozen):
    """How one column is read from InvoiceCloud's field `source`; longer text than `max` characters is refused."""

    source: str = Field(alias="from", pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")
    read: PushRead
    codes: dict[str, str] = Field(default_factory=dict)
    max: int = Field(256, ge=1, le=8192)


@cache
def _packaged() -> dict[str, dict[str, Any]]:
    return tomllib.loads(_FILE.read_text("utf-8"))


def push_fields(settings: Settings, biller: str, kind: PushKind) -> dict[str, PushField]:
    """Column → field for one kind of push. Raises SettingsError naming the setting and the nearest known key."""
    inbound = settings.biller(biller).inbound
    override = inbound.push_fields if inbound and kind == "payments" else {}
    where = f"{settings.file.name} [billers.{biller}.inbound.push_fields]"
    return _fields(kind, json.dumps(override, sort_keys=True, default=str), where)


@lru_cache(maxsize=256)
def _fields(kind: PushKind, override: str, where: str) -> dict[str, PushField]:
    """The map is read once for each override, not once for each push."""
    packaged = _packaged()[kind]
    model = create_model("PushFields", __base__=Frozen, **dict.fromkeys(packaged, (PushField, ...)))  # type: ignore[call-overload]
    try:
        table = model.model_validate(merged(packaged, json.loads(override)))
    except ValidationError as error:
        raise SettingsError(unknown_keys(error, model, where)) from None
    fields: dict[str, PushField] = {name: getattr(table, name) for name in packaged}
    _refuse_other_readings(fields, where)
    return fields


def _refuse_other_readings(fields: Mapping[str, PushField], where: str) -> None:
    for name, field in fields.items():
        allowed = _FIXED.get(name, _TEXT)
        if field.read not in allowed:
            raise SettingsError(f"{where}: {name}.read must be one of {', '.join(sorted(allowed))}")
