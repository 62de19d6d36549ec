"""Small reads of the outbox for commands: files, what waits, and what a conversion and the last files prove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tasks.outbox.model import FILES
from tasks.pull import staging_of
from tasks.settings import Settings
from tasks.staging import outbox as sql
from tasks.staging.query import Connection, frame, scalar

WAITS_FOR_A_PERSON = ("undecided", "refused")


@dataclass(frozen=True)
class Overview:
    """files: lines of outbox.files, newest first · held: reason, groups, records · guards: rows of outbox.guards ·
    events: events not applied yet · open: files by state that are not settled."""

    files: list[dict[str, Any]]
    held: list[dict[str, Any]]
    guards: list[dict[str, Any]]
    events: int
    open: dict[str, int]


def overview(settings: Settings, biller: str, state: str | None = None, limit: int | None = None) -> Overview:
    """What the outbox holds. `state` keeps files in that state, `limit` the newest of them."""
    with staging_of(settings, biller).open() as connection:
        files = frame(
            connection,
            f"""SELECT {", ".join(FILES)} FROM outbox.files WHERE $1 IS NULL OR state = $1
                ORDER BY composed_at DESC, file_id DESC LIMIT $2""",
            [state, limit if limit is not None else 2**62],
        )
        held = frame(
            connection,
            """SELECT reason, count(DISTINCT event_id) AS events, count(*) AS records, min(held_at) AS held_at
               FROM outbox.held GROUP BY reason ORDER BY records DESC, reason""",
        )
        guards = frame(connection, "SELECT * FROM outbox.guards ORDER BY guard, invoice_number")
        return Overview(
            files.to_dicts(), held.to_dicts(), guards.to_dicts(), _waiting(connection), _open(connection)
        )


def _waiting(connection: Connection) -> int:
    return int(
        scalar(
            connection,
            """SELECT count(*) FROM imt.invoice_events e ANTI JOIN outbox.applied a
               ON a.event_id = e.event_id AND a.version = e.version""",
        )
    )


def _open(connection: Connection) -> dict[str, int]:
    rows = frame(
        connection,
        """SELECT state, count(*) AS files FROM outbox.files WHERE state NOT IN ('accepted', 'dropped')
           GROUP BY state ORDER BY state""",
    )
    return dict(rows.iter_rows())


def open_files(settings: Settings, biller: str) -> dict[str, int]:
    """Files that are not settled, by state."""
    with staging_of(settings, biller).open() as connection:
        return _open(connection)


def missing_lines(settings: Settings, biller: str, file: dict[str, Any]) -> int:
    """How many records of the file are not at IC as far as is known: what a requeue would send again."""
    with staging_of(settings, biller).open() as connection:
        return len(sql.missing(connection, file))


def waiting_event(settings: Settings, biller: str, event_id: str) -> list[dict[str, Any]]:
    """The event as it waits: event, invoice_number, replaces_invoice_number, occurred_at; empty if it does not."""
    with staging_of(settings, biller).open() as connection:
        return frame(
            connection,
            """SELECT e.event_id, e.event, e.invoice_number, e.replaces_invoice_number, e.occurred_at
               FROM imt.invoice_events e ANTI JOIN outbox.applied a
               ON a.event_id = e.event_id AND a.version = e.version WHERE e.event_id = $1""",
            [event_id],
        ).to_dicts()


def last_ok_polls(settings: Settings, biller: str, feeds: Sequence[str]) -> dict[str, Any]:
    """Feed → when it last was asked with a good answer, aware UTC; feeds never asked are left out."""
    with staging_of(settings, biller).open() as connection:
        rows = frame(
            connection,
            """SELECT feed, max(requested_at) AS at FROM poll.runs
               WHERE status = 'ok' AND list_contains($1, feed) GROUP BY feed""",
            [list(feeds)],
        )
    return dict(rows.iter_rows())


@dataclass(frozen=True)
class SentForms:
    """How the records of Spectrum's files name the bill. file_id: the last accepted file that bills something."""

    file_id: str | None
    guids: list[str | None]
    links: int


def sent_forms(settings: Settings, biller: str) -> SentForms:
    """Format GUIDs in the last accepted file with A records; links in all hourly and conversion files."""
    with staging_of(settings, biller).open() as connection:
        last = scalar(
            connection,
            """SELECT f.file_id FROM outbox.files f SEMI JOIN outbox.records r
               ON r.file_id = f.file_id AND r.record_type = 'A' AND r.state = 'accepted'
               WHERE f.state = 'accepted' AND f.kind <> 'individual' ORDER BY f.composed_at DESC, f.file_id DESC LIMIT 1""",
        )
        guids = frame(
            connection,
            """SELECT DISTINCT invoice_format_guid AS guid FROM outbox.records
               WHERE file_id = $1 AND record_type = 'A' ORDER BY 1""",
            [last],
        )
        links = scalar(
            connection,
            """SELECT count(*) FROM outbox.records r SEMI JOIN outbox.files f
               ON f.file_id = r.file_id AND f.kind <> 'individual' WHERE r.pdf_link IS NOT NULL""",
        )
        return SentForms(last, guids["guid"].to_list(), int(links))


@dataclass(frozen=True)
class Conversion:
    """Conversion files (not dropped; newest first) and what the last look at IC showed of each invoice they name.

    Of an invoice the last record counts that IC took or refused, of whatever file. open: those files that are not
    settled, by id · other_account: records that IC shows, or lists as open, under another account.
    """

    files: list[str]
    open: dict[str, str]
    records: int
    seen: int
    contradicted: int
    rejected: int
    other_account: int
    open_at_ic: int


def conversion(settings: Settings, biller: str) -> Conversion:
    """What is known of the biller's move from MIPS/APPS to Spectrum."""
    with staging_of(settings, biller).open() as connection:
        files = frame(
            connection,
            """SELECT file_id, state FROM outbox.files WHERE kind = 'convert' AND state <> 'dropped'
               ORDER BY composed_at DESC, file_id DESC""",
        )
        counts = frame(connection, _VERIFIED).row(0, named=True)
        held = scalar(connection, "SELECT count(*) FROM imt.open_at_ic")
    unsettled = files.filter(pl.col("state") != "accepted")
    return Conversion(files["file_id"].to_list(), dict(unsettled.iter_rows()), **counts, open_at_ic=int(held))


_VERIFIED = """WITH named AS (
        SELECT DISTINCT r.invoice_number FROM outbox.records r JOIN outbox.files f ON f.file_id = r.file_id
        WHERE f.kind = 'convert' AND f.state <> 'dropped'),
    last AS (
        SELECT r.record_id, r.invoice_number, r.account_number, r.state
        FROM outbox.records r SEMI JOIN named n ON n.invoice_number = r.invoice_number
        WHERE r.state IN ('accepted', 'rejected')
        QUALIFY row_number() OVER (PARTITION BY r.invoice_number
                                   ORDER BY r.composed_at DESC, r.file_id DESC, r.line_no DESC) = 1),
    looked AS (
        SELECT l.record_id, arg_max(l.verdict, l.at) AS verdict, arg_max(l.account_number, l.at) AS account_seen
        FROM outbox.looks l GROUP BY l.record_id)
    SELECT count(*) AS records,
           count(*) FILTER (r.state = 'accepted' AND l.verdict IN ('yes', 'same')) AS seen,
           count(*) FILTER (r.state = 'accepted' AND l.verdict = 'no') AS contradicted,
           count(*) FILTER (r.state = 'rejected') AS rejected,
           count(*) FILTER (o.account_number <> r.account_number OR l.account_seen <> r.account_number)
               AS other_account
    FROM last r LEFT JOIN looked l ON l.record_id = r.record_id
    LEFT JOIN imt.open_at_ic o ON o.invoice_number = r.invoice_number"""
