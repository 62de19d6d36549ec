"""What a person may do with the outbox: decide an open file, send again, withhold an event. Always by name."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from tasks.errors import Stop
from tasks.outbox.model import APPLIED, shaped
from tasks.outbox.publish import outbox_of
from tasks.settings import Settings
from tasks.staging import outbox as sql
from tasks.staging.query import frame

DECISIONS = ("accept", "resend", "requeue", "drop")


def decide(
    settings: Settings, biller: str, file_id: str, decision: str, by: str, note: str, at: datetime
) -> dict[str, Any]:
    """A person's word on a file that is undecided or refused; returns its line afterwards.

    accept: IC has it all · resend: the same bytes go out again · requeue: the records that the last looks did
    not find (all of a refused file) wait for the next file, the rest counts as accepted · drop: it never goes.
    Raises Stop where the file's state does not allow it.
    """
    outbox = outbox_of(settings, biller)
    _named(by)
    with outbox.alone(settings.storage.lock_timeout_seconds):
        outbox.catch_up()
        file = outbox.file(file_id)
        if file["state"] not in ("undecided", "refused") and (file["state"], decision) != (
            "composed",
            "drop",
        ):
            raise Stop(
                f"{file['file_id']} is {file['state']}: only an undecided or refused file waits for a person's word",
                reason="not_open",
            )
        if decision == "drop":
            return outbox.move(file, "dropped", at, by, "dropped", note, settled_at=at)
        if decision == "requeue":
            with outbox.staging.open() as connection:
                lines = sql.missing(connection, file)
            to_state = "dropped" if len(lines) == file["records"] else "accepted"
            return outbox.move(file, to_state, at, by, "requeued", note, requeued=lines, settled_at=at)
        if decision == "accept":
            return outbox.move(file, "accepted", at, by, "accepted_by_person", note, settled_at=at)
        if decision == "resend":
            return outbox.move(file, "composed", at, by, "resend", note)
    raise Stop(f"there is no decision '{decision}'; known: {', '.join(DECISIONS)}", reason="no_such_decision")


def withhold(settings: Settings, biller: str, event_id: str, by: str, note: str, at: datetime) -> int:
    """An event that must not be sent (a guard stopped on it): it counts as dealt with. Returns records kept back.

    Raises Stop if no such event waits.
    """
    outbox = outbox_of(settings, biller)
    _named(by)
    with outbox.alone(settings.storage.lock_timeout_seconds):
        with outbox.staging.open() as connection:
            waiting = sql.pending(connection).events.filter(pl.col("event_id") == event_id)
        if waiting.is_empty():
            raise Stop(f"{biller}: no event '{event_id}' waits in the outbox", reason="no_such_event")
        rows = shaped(
            waiting.select("event_id", "version", "invoice_number").with_columns(
                outcome=pl.lit("withheld"), at=pl.lit(at)
            ),
            APPLIED,
        )
        outbox.withhold(rows, by, note, at)
    return rows.height


def _named(by: str) -> None:
    if not by.strip() or len(by) > 100 or not by.isprintable():
        raise Stop("a decision bears a name: --by 'First Last'", reason="no_name")


def show(settings: Settings, biller: str, file_id: str) -> dict[str, Any]:
    """One file with its moves, its records by state, refusals and looks."""
    outbox = outbox_of(settings, biller)
    file = outbox.file(file_id)
    with outbox.staging.open() as connection:
        return {
            "file": file,
            "moves": frame(connection, "SELECT * FROM outbox.moves WHERE file_id = $1 ORDER BY \"at\"", [file["file_id"]]).to_dicts(),
            "records": frame(
                connection,
                """SELECT record_type, state, count(*) AS records, sum(balance_due)::DECIMAL(18,2) AS amount
                   FROM outbox.records WHERE file_id = $1 GROUP BY ALL ORDER BY ALL""",
                [file["file_id"]],
            ).to_dicts(),
            "rejected": frame(
                connection,
                """SELECT line_no, invoice_number, reason FROM outbox.records
                   WHERE file_id = $1 AND state = 'rejected' ORDER BY line_no""",
                [file["file_id"]],
            ).to_dicts(),
            "looks": frame(
                connection,
                """SELECT "at", verdict, count(*) AS looks FROM outbox.looks WHERE file_id = $1 GROUP BY ALL ORDER BY ALL""",
                [file["file_id"]],
            ).to_dicts(),
        }  # fmt: skip
