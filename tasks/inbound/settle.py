"""What pushes of one batch are to the store: new rows, or known ones. Enrolments, and what could not be read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from tasks.inbound.model import EnrolmentPush, Taken, Unread
from tasks.inbound.tables import enrolment_pushes as enrolments
from tasks.inbound.tables import unread

_CONTENT = ("enrolled", "occurred_at", "payment_method", "email")


@dataclass
class Settled:
    """rows: to be inserted · again: key → how often more it was seen · taken: one for each item."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    again: Counter[str] = field(default_factory=Counter)
    taken: list[Taken] = field(default_factory=list)


def settle_enrolments(
    connection: Connection, biller: str, items: Sequence[EnrolmentPush], at: int
) -> Settled:
    """An event is known if it is what the list, account and type said last; with its time, whenever that was.

    push_id: what it is about, hashed, and a running number: on, off and on again are three events.
    """
    settled = Settled()
    known = _known_enrolments(connection, biller, {item.account_number for item in items})
    for item in items:
        about = _about(item.list, item.account_number, item.values["invoice_type_id"])
        events = known.setdefault(about, [])
        content = tuple(item.values[name] for name in _CONTENT)
        timed = item.values["occurred_at"] is not None
        same = [number for number, event in enumerate(events, 1) if event == content]
        number = same[-1] if same and (timed or same[-1] == len(events)) else 0
        push_id = f"{about}-{number or len(events) + 1}"
        if number:
            settled.again[push_id] += 1
        else:
            events.append(content)
            seen = {"received_at": at, "last_seen_at": at, "times_seen": 1}
            settled.rows.append(
                {"biller": biller, "push_id": push_id, "list": item.list, **item.values, **seen}
            )
        settled.taken.append(Taken("known" if number else "new", push_id))
    return settled


def _about(list: str, account: str, invoice_type: str | None) -> str:
    return hashlib.sha256(json.dumps([list, account, invoice_type]).encode()).hexdigest()[:32]


def _known_enrolments(
    connection: Connection, biller: str, accounts: set[str]
) -> dict[str, list[tuple[Any, ...]]]:
    """What each event is about → contents, in the order of their numbers."""
    rows = connection.execute(
        select(enrolments.c.push_id, *(enrolments.c[name] for name in _CONTENT)).where(
            enrolments.c.biller == biller, enrolments.c.account_number.in_(sorted(accounts))
        )
    ).all()
    parts = [(*push_id.rpartition("-")[::2], tuple(content)) for push_id, *content in rows]
    found: dict[str, list[tuple[Any, ...]]] = {}
    for about, _, content in sorted(parts, key=lambda part: int(part[1])):
        found.setdefault(about, []).append(content)
    return found


def settle_unread(connection: Connection, biller: str, items: Sequence[Unread], at: int) -> Settled:
    """Each content once, whatever the form and however often it comes."""
    settled = Settled()
    keys = [_digest(item) for item in items]
    known = set(
        connection.scalars(
            select(unread.c.sha256).where(unread.c.biller == biller, unread.c.sha256.in_(sorted(set(keys))))
        )
    )
    for item, key in zip(items, keys, strict=True):
        if key in known:
            settled.again[key] += 1
        else:
            known.add(key)
            settled.rows.append(
                {
                    "biller": biller, "sha256": key, "kind": item.kind, "form": item.form,
                    "received_at": at, "last_seen_at": at, "times_seen": 1,
                    "fields": json.dumps(dict(item.fields)), "reasons": json.dumps(item.reasons),
                }
            )  # fmt: skip
        settled.taken.append(Taken("unread", key[:32], item.reasons))
    return settled


def _digest(item: Unread) -> str:
    return hashlib.sha256(json.dumps([item.kind, dict(item.fields)], sort_keys=True).encode()).hexdigest()
