"""What is due next of a payment, and when: by the verdict of the last run, and by the grace of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from tasks.reconcile import BankingCalendar
from tasks.reconcile.banking_days import day_start, local_day
from tasks.reconcile.model import TIME
from tasks.reconcile.rules import Rules

Row = dict[str, Any]
_SETTLED_STATES = ("EXPLAINED", "AMBIGUOUS")  # nothing more comes of itself


def due_next(
    verdicts: Sequence[Row], steps: Sequence[Row], rules: Rules, as_of: datetime, *, deposits: bool
) -> list[Row]:
    """Per thing that is still to come: what, due_by (aware UTC, or null), overdue. Earliest first.

    `verdicts`: recon.items of one payment with first_seen_at · `steps`: its chain · `deposits`: is the bank's
    statement loaded? A broken link is told by its break, not here.
    """
    reported = [step for step in steps if step["step"] == "paid"]
    if not verdicts:
        what = "the next reconcile run compares it" if reported else "its line in the payment report"
        return [{"what": what, "due_by": None, "overdue": False}]
    first, found = verdicts[0], {step["step"] for step in steps}
    lines: list[Row] = []
    for row in verdicts:
        if row["state"] == "IN_FLIGHT":
            lines.append({"what": row["state_reason"], "due_by": row["due_by"]})
        elif row["state"] == "SUGGESTED":
            lines.append(
                {"what": "a person decides on the suggestion; a break (B01) then", "due_by": row["due_by"]}
            )
    open_ended = first["state"] not in _SETTLED_STATES and first["approved"] and "returned" not in found
    if open_ended and first["settled_date"] is None and not _told(lines, "settled"):
        lines.append({"what": "settlement", "due_by": _settlement(first, rules)})
    if open_ended and deposits and first["settled_date"] and "deposited" not in found:
        lines.append({"what": "bank credit of the batch", "due_by": _deposit(first["settled_date"], rules)})
    for row in verdicts:
        if row["state"] == "MATCHED_PROVISIONAL":
            lines.append({"what": "return window closes; final then", "due_by": row["due_by"]})
            break
    for line in lines:
        line["overdue"] = bool(line["due_by"] and line["due_by"] < as_of)
    last = max((row["due_by"] or as_of for row in lines), default=as_of)
    return sorted(lines, key=lambda line: line["due_by"] or last)


def _told(lines: Sequence[Row], word: str) -> bool:
    return any(word in (line["what"] or "") for line in lines)


def _settlement(row: Row, rules: Rules) -> datetime | None:
    grace = rules.tender_grace("B10")
    days = grace.get(row["tender"] or "", grace["default"])
    return (
        _end_of(local_day(row["payment_date"], rules.zone), days, rules.zone) if row["payment_date"] else None
    )


def _deposit(settled: date, rules: Rules) -> datetime:
    code = rules.codes.get("B15")
    return _end_of(settled, code.grace_banking_days if code else 2, rules.zone)


def _end_of(day: date, banking_days: int, zone: str) -> datetime:
    """The end of the `banking_days`-th banking day after `day`, as reconcile counts it."""
    after = BankingCalendar().add(pl.lit(day), banking_days + 1)
    found: datetime = pl.select(day_start(after, zone).cast(TIME)).item()
    return found
