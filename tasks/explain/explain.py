"""`icflows explain`: one payment as a time line from all feeds; an account or an invoice as its payments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from checks.contracts.base import GUID
from tasks.errors import Stop
from tasks.explain import words
from tasks.explain.due import due_next
from tasks.pull import staging_of
from tasks.reconcile.banking_days import local_day
from tasks.reconcile.rules import Rules, load_rules
from tasks.reconciling import rules_of
from tasks.settings import Settings
from tasks.staging import standing, timeline
from tasks.staging.query import Connection

Kind = Literal["payment", "invoice", "account"]
Row = dict[str, Any]
_MOST_TOLD, _LONGEST = 20, 80


def command(key: str, biller: str) -> str:
    """The command that explains `key`, for pages and messages that point to it."""
    return f"icflows explain {key} --biller {biller}"


def explain(
    settings: Settings, biller: str, key: str, as_of: datetime, *, kind: Kind | None = None, most: int = 0
) -> Row:
    """Explains `key` (a payment's GUID, an invoice, an account) from staging. Raises Stop: unknown, or not one thing.

    `kind`: which of them it is, where a number is both · `most`: of an account or invoice, the chains of so many
    payments, newest first (one payment is always told whole). Returns plain data without personal columns.
    """
    rules = rules_of(settings, biller)
    with staging_of(settings, biller).open() as connection:
        return _explain(connection, rules, biller, key, as_of, kind, most)


def explain_snapshot(
    path: Path, key: str, *, settings: Settings | None = None, kind: Kind | None = None, most: int = 0
) -> Row:
    """The same from a snapshot file, as of its moment; rules of the biller where `settings` know it, else the defaults."""
    with timeline.opened(path) as connection:
        info = standing.info(connection)
        known = settings is not None and info["biller"] in settings.billers
        rules = (
            rules_of(settings, info["biller"])
            if settings and known
            else load_rules({"zone": info["time_zone"]})
        )
        return _explain(connection, rules, info["biller"], key, info["as_of"], kind, most)


def _explain(
    connection: Connection, rules: Rules, biller: str, key: str, as_of: datetime, kind: Kind | None, most: int
) -> Row:
    key = key.strip()
    kind, names = _resolved(connection, biller, key, kind)
    about: Row = {"kind": kind, "key": key, "biller": biller, "as_of": as_of, "time_zone": rules.zone}
    if kind == "payment":
        chains = _chains(connection, rules, [key.lower()], as_of)
        invoices = sorted({row["invoice_number"] for row in chains[0]["lines"] if row["invoice_number"]})
        return about | {"invoices": standing.balances(connection, invoices), "chains": chains}
    payments = timeline.payments_of(connection, kind, names)
    guids = payments["payment_guid"].str.to_lowercase().unique(maintain_order=True).to_list()
    invoices = names if kind == "invoice" else standing.invoices_of(connection, names)
    accounts = names if kind == "account" else []
    wanted = guids if len(guids) == 1 else guids[:most]
    rest = standing.breaks(connection, [], invoices if kind == "invoice" else [], accounts)
    return about | {
        "accounts": standing.account_balances(connection, accounts),
        "invoices": standing.balances(connection, invoices),
        "told": standing.told(connection, names if kind == "invoice" else [], accounts, _MOST_TOLD),
        "payments": payments.to_dicts(),
        "breaks": [row for row in rest if row["guid"] not in wanted],
        "chains": _chains(connection, rules, wanted, as_of),
    }


def _resolved(connection: Connection, biller: str, key: str, kind: Kind | None) -> tuple[Kind, list[str]]:
    """What `key` is, and how the tables write it."""
    if kind in (None, "payment") and re.match(GUID, key) and timeline.knows_guid(connection, key.lower()):
        return "payment", [key]
    if len(key) <= _LONGEST and key.isprintable() and kind != "payment":
        kinds: tuple[Kind, ...] = (kind,) if kind else ("invoice", "account")
        found = {one: names for one in kinds if (names := timeline.spellings(connection, one, key))}
        if len(found) > 1:
            raise Stop(f"{biller}: '{key}' is an invoice and an account; say --kind invoice or --kind account", reason="not_one_thing")  # fmt: skip
        for one, names in found.items():
            return one, names
    shown = key[:_LONGEST] if key.isprintable() else "(unprintable)"
    nearest = ", ".join(timeline.near(connection, key[:_LONGEST])) if key else ""
    raise Stop(
        f"{biller}: no feed and no file names a {kind or 'payment, invoice or account'} '{shown}'"
        + (f"; nearest: {nearest}" if nearest else ""),
        reason="unknown_key",
    )


def _chains(connection: Connection, rules: Rules, guids: Sequence[str], as_of: datetime) -> list[Row]:
    """One chain per payment, in the order of `guids`."""
    if not guids:
        return []
    steps, verdicts = timeline.steps(connection, guids), standing.verdicts(connection, guids)
    beside = {guid: _beside([step for step in steps if step["guid"] == guid], rules.zone) for guid in guids}
    subjects = {subject for pairs in beside.values() for _, subject in pairs}
    breaks = standing.breaks(connection, [*guids, *sorted(subjects)], [], [])
    suggested = standing.suggestions(connection, guids)
    deposits = standing.deposit_control(connection)
    chains = []
    for guid in guids:
        own = _in_order([step for step in steps if step["guid"] == guid], rules.zone)
        judged = [row for row in verdicts if row["guid"] == guid]
        chains.append(
            {
                "payment_guid": guid,
                "state": _one([row["state"] for row in judged]),
                "state_reason": _one([row["state_reason"] for row in judged]),
                "lines": [_line(row) for row in judged]
                or [_line(step) for step in own if step["step"] == "paid"],
                "steps": [_told(step) for step in own],
                "next": due_next(judged, own, rules, as_of, deposits=deposits),
                "suggestions": [row for row in suggested if row["guid"] == guid],
                "breaks": [row for row in breaks if guid in (row["guid"], str(row["subject"]).lower())],
                "breaks_beside": [
                    row for row in breaks if (row["code"], str(row["subject"]).lower()) in beside[guid]
                ],
            }
        )
    return chains


def _beside(steps: Sequence[Row], zone: str) -> set[tuple[str, str]]:
    """(class, subject in lower case) of breaks of the payment's day, batch, settled date and bank line."""
    pairs = set()
    for step in steps:
        if step["step"] == "paid":
            pairs.add(("B13", local_day(step["at"], zone).isoformat()))
        elif step["step"] == "settled":
            pairs |= {("B12", step["settled_batch_id"].lower()), ("B15", step["day"].isoformat())}
        elif step["step"] == "deposited":
            pairs.add(("B14", step["line_id"].lower()))
    return pairs


def _one(values: Sequence[str | None]) -> str | None:
    """What all lines of a split payment have in common, else each, parted by a semicolon."""
    return "; ".join(dict.fromkeys(value for value in values if value)) or None


def _line(row: Row) -> Row:
    names = (
        "payment_line_no",
        "account_number",
        "invoice_number",
        "payment_amount",
        "tender",
        "state",
        "match_rule",
    )
    return {name: row.get(name) for name in names} | {
        "payment_amount": row.get("payment_amount", row.get("amount"))
    }


def _in_order(steps: list[Row], zone: str) -> list[Row]:
    """By moment; a day without an hour comes after the day's hours."""

    def moment(step: Row) -> tuple[datetime, int]:
        at = step.get("at") or datetime.combine(step["day"], time(23, 59, 59), ZoneInfo(zone)).astimezone(UTC)
        return at, words.ORDER.index(step["step"])

    return sorted((step for step in steps if step.get("at") or step.get("day")), key=moment)


def _told(step: Row) -> Row:
    """A step with its words, its facts, and where it is kept."""
    main = ("guid", "step", "at", "day", "amount", "source", "poll_id", "row_no", "file", "version")
    return {
        "step": step["step"], "label": words.LABELS[step["step"]], "at": step.get("at"), "day": step.get("day"),
        "amount": step.get("amount"), "words": words.line(step),
        "facts": {name: value for name, value in step.items() if name not in main and value is not None},
        "source": {name: step.get(name) for name in ("source", "poll_id", "file", "row_no", "version")},
    }  # fmt: skip
