"""A pushed payment as InvoiceCloud sent it → Push, or Unread with the reasons. Money, times and keys are exact."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tasks.inbound.fields import NEEDED, TIMES, PushField, PushKind, push_fields
from tasks.inbound.model import Push, PushForm, Unread
from tasks.inbound.values import EPOCH, Unreadable, read_value
from tasks.settings import Settings

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_SECRET = re.compile(r"key|secret|passw|token", re.I)


def read_push(
    settings: Settings, biller: str, form: PushForm, fields: Mapping[str, str | None]
) -> Push | Unread:
    """Reads one payment post-back (domain fact 8). `fields`: IC's names → text; empty text counts as nothing.

    Other fields than those of the map are passed over. Raises SettingsError for a wrong push_fields.
    """
    table = push_fields(settings, biller, "payments")
    values, reasons = read_fields(settings, biller, "payments", table, fields)
    if reasons:
        return Unread(biller, "payments", form, as_came(table, fields, values), reasons)
    content = _content(values)
    read = {name: _coded(field, values[name]) for name, field in table.items() if name != "biller_guid"}
    return Push(biller, form, values["payment_guid"], content, read)


def read_fields(
    settings: Settings, biller: str, kind: PushKind, table: Mapping[str, PushField], fields: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(column → value with codes as sent; reasons: IC's field name and words, never the value)."""
    who = settings.biller(biller)
    values: dict[str, Any] = {}
    reasons: dict[str, None] = {}
    for name, field in table.items():
        text = fields.get(field.source)
        try:
            values[name] = None if text is None else read_value(text, field, who.zone)
        except Unreadable as error:
            reasons[f"{field.source} {error}"] = None
            continue
        if values[name] is None and name in NEEDED[kind]:
            reasons[f"{field.source} is missing"] = None
    if values.get("biller_guid") not in (None, who.biller_guid.lower()):
        reasons[f"{table['biller_guid'].source} is not this biller's"] = None
    return values, tuple(reasons)


def as_came(
    table: Mapping[str, PushField], fields: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, str]:
    """What could not be read, for a person: column → text; times and truths that were read, as contracts write them.

    Fields that nobody knows are kept under their own names, because IC's real names are not public: a misnamed one
    must not be lost. No keys are kept.
    """
    known = {field.source for field in table.values()}
    unknown = {
        name: _whole(text)
        for name, text in fields.items()
        if text and name not in known and _NAME.fullmatch(name) and not _SECRET.search(name)
    }
    texts = {name: fields.get(field.source) for name, field in table.items()}
    return unknown | {
        name: _plain(table[name], values.get(name), text) for name, text in texts.items() if text
    }


def _plain(field: PushField, value: Any, text: str) -> str:
    if value is None:
        return _whole(text)
    if field.read == "bool":
        return str(value).lower()
    if field.read in TIMES:
        return f"{EPOCH + timedelta(microseconds=value):%Y-%m-%dT%H:%M:%S.%fZ}"
    return _whole(text)


def _whole(text: str) -> str:
    """Half a character (JSON can bring one) is no text to a database."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _content(values: Mapping[str, Any]) -> str:
    """One digest whatever the form. Codes count as sent: a corrected map must not make old pushes new ones."""
    sent = {name: value for name, value in values.items() if value is not None}
    return hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()


def _coded(field: PushField, value: Any) -> Any:
    return field.codes.get(value, value) if field.codes and value is not None else value
