"""Closing a period: a frozen snapshot that stays, and one line that says who closed it on which verdicts.

A closed period is never opened and never edited: what comes later counts in the open period and is shown by
the view v_late_items. The file's SHA-256 is kept, so that a change of it is seen.
"""

from __future__ import annotations

import calendar
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from checks.control import total
from tasks.errors import SettingsError, Stop
from tasks.pull import staging_of
from tasks.reconcile.banking_days import local_day
from tasks.settings import Settings
from tasks.snapshot import machine_clock, snapshots_of, write_snapshot
from tasks.staging import closing, work
from tasks.staging.inputs import last_run
from tasks.staging.polls import record_load
from tasks.staging.query import Connection
from tasks.work.catching_up import catch_up
from tasks.work.kept import kept_of
from tasks.work.people import named, noted

Row = dict[str, Any]
_MONTH, _DAY = re.compile(r"\d{4}-\d{2}"), re.compile(r"\d{4}-\d{2}-\d{2}")
_SHOWN = 5


@dataclass(frozen=True)
class Period:
    """A month or a day of the biller's calendar; both days belong to it."""

    name: str
    first: date
    last: date


def period(text: str) -> Period:
    """'2026-10' or '2026-10-30'. Raises SettingsError for anything else."""
    try:
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text)
            return Period(text, day, day)
        if _MONTH.fullmatch(text):
            first = date.fromisoformat(f"{text}-01")
            return Period(text, first, first.replace(day=calendar.monthrange(first.year, first.month)[1]))
    except ValueError:
        pass
    told = text[:40] if text.isprintable() else "(unprintable)"
    raise SettingsError(f"a period is a month like 2026-10 or a day like 2026-10-30; not '{told}'")


def close_period(
    settings: Settings, biller: str, text: str, by: str, at: datetime, *, force: bool = False, note: str = "",
    clock: Callable[[], datetime] = machine_clock,
) -> Row:  # fmt: skip
    """Freezes the period's snapshot and keeps the line (PERIODS), which is returned.

    Raises Stop: not over yet, closed already, not compared by a run after its end, or HIGH breaks of its items
    that nobody signed off (`force`, with a note, closes it all the same).
    """
    if at.tzinfo is None:
        raise SettingsError("closing needs a time with a zone, for example 2026-11-01T06:00:00Z")
    wanted, by, at = period(text), named(by), at.astimezone(UTC)
    note, zone = noted(note, needed=force), settings.biller(biller).time_zone
    _is_over(biller, wanted, local_day(at, zone))
    staging, kept = staging_of(settings, biller), kept_of(settings, biller)
    # The folder's lock before the one of staging, as publish_snapshot takes them.
    with snapshots_of(settings, biller).freezing(f"close-{wanted.name}") as draft, staging.exclusively():
        catch_up(staging, kept)
        with staging.open() as connection:
            line = _judged(connection, biller, wanted, zone, force)
            write_snapshot(settings, biller, at, connection, draft.path, clock)
        line |= {"closed_at": at, "closed_by": by, "note": note or None, "snapshot": draft.final.name}
        line |= {"sha256": digest(draft.path), "bytes": draft.path.stat().st_size}
        draft.keep()
        load_id = f"{at:%Y%m%dT%H%M%SZ}-close-{wanted.name}"
        with staging.transaction(load_id) as connection:
            work.add_period(connection, line)
            record_load(connection, load_id, "close", at)
            kept.note_periods([line])  # in the archive before it counts, and after the file that it names
    return line


def _is_over(biller: str, wanted: Period, today: date) -> None:
    if wanted.last >= today:
        raise Stop(
            f"{biller}: {wanted.name} lasts until {wanted.last}; it can be closed from "
            f"{wanted.last + timedelta(days=1)} on",
            reason="period_not_over",
        )


def _judged(connection: Connection, biller: str, wanted: Period, zone: str, force: bool) -> Row:
    """The line so far: period, run and figures. Raises Stop if it may not be closed."""
    for row in work.periods(connection):
        if row["first_day"] <= wanted.first and wanted.last <= row["last_day"]:
            inside = (
                f"{wanted.name} lies in {row['period']}, which"
                if row["period"] != wanted.name
                else wanted.name
            )
            raise Stop(
                f"{biller}: {inside} was closed by {row['closed_by']} at {row['closed_at']:%Y-%m-%dT%H:%M:%SZ}",
                reason="period_closed",
            )
    run, days = last_run(connection), (zone, wanted.first, wanted.last)
    _is_compared(biller, wanted, run, zone, closing.not_compared(connection, *days))
    assert run
    high = closing.high_unsigned(connection, *days)
    if high.height and not force:
        ids = ", ".join(f"{row['break_id']} ({row['code']})" for row in high.head(_SHOWN).to_dicts())
        more = f" and {high.height - _SHOWN} more" if high.height > _SHOWN else ""
        worth = total(high.with_columns(pl.col("amount").abs()), "amount").amount
        raise Stop(
            f"{biller}: {high.height} HIGH breaks of {wanted.name}, {worth:,.2f} USD, are not "
            f"signed off: {ids}{more}; sign them off, or close it all the same with --force --note TEXT",
            reason="high_unsigned",
        )
    found = closing.states(connection, *days)
    payments = total(found, "amount").amount
    told = {row["state"]: {"rows": row["rows"], "amount": str(row["amount"])} for row in found.to_dicts()}
    return {
        "period": wanted.name, "first_day": wanted.first, "last_day": wanted.last, "as_of": run["as_of"],
        "run_id": run["run_id"], "payments_rows": int(found["rows"].sum()), "payments_amount": payments,
        "states": json.dumps(told), "high_unsigned": high.height,
    }  # fmt: skip


def _is_compared(biller: str, wanted: Period, run: Mapping[str, Any] | None, zone: str, rest: int) -> None:
    if run is None or local_day(run["as_of"], zone) <= wanted.last:
        last = f"the last run is as of {run['as_of']:%Y-%m-%dT%H:%M:%SZ}" if run else "no run is kept"
        words = f"{last}, not after the end of {wanted.name}"
    elif rest:
        words = f"{rest} payments of {wanted.name} came or changed since the last run"
    else:
        return
    raise Stop(f"{biller}: {words}; first: icflows reconcile --biller {biller}", reason="not_compared")


def closed_periods(settings: Settings, biller: str) -> list[Row]:
    """The closed periods, earliest first (PERIODS), each with `state` of its file: ok, missing or changed."""
    with staging_of(settings, biller).open() as connection:
        found = work.periods(connection)
    folder = snapshots_of(settings, biller).folder
    return [{**row, "state": _looked(folder / row["snapshot"], row["sha256"])} for row in found]


def _looked(path: Path, sha256: str) -> str:
    if not path.is_file():
        return "missing"
    return "ok" if digest(path) == sha256 else "changed"


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
