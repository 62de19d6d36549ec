"""A pushed AutoPay or paperless event → EnrolmentPush, or Unread with the reasons. Names and forms are assumed [A]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tasks.inbound.fields import PushKind, push_fields
from tasks.inbound.model import EnrolmentList, EnrolmentPush, PushForm, Unread
from tasks.inbound.pushes import as_came, read_fields
from tasks.settings import Settings


def read_enrolment(
    settings: Settings, biller: str, form: PushForm, list: EnrolmentList, fields: Mapping[str, str | None]
) -> EnrolmentPush | Unread:
    """Reads one event. `fields`: IC's names → text. Whether the biller takes any (MIPS/APPS) is the caller's."""
    kind = cast(PushKind, list.lower())
    table = push_fields(settings, biller, kind)
    values, reasons = read_fields(settings, biller, kind, table, fields)
    if reasons:
        return Unread(biller, kind, form, as_came(table, fields, values), reasons)
    del values["biller_guid"]
    return EnrolmentPush(biller, form, list, values["account_number"], values)
