"""The outbox made again from the archive, where the staging file cannot be read any more."""

from __future__ import annotations

from tasks.outbox.history import History
from tasks.outbox.model import APPLIED, shaped
from tasks.staging import outbox as sql
from tasks.staging import outbox_moves
from tasks.staging.query import scalar
from tasks.staging.store import Staging


def rebuild(staging: Staging, history: History) -> int:
    """Fills an empty outbox with every file that was ever begun to be sent; returns how many files.

    An outbox that has files already is left alone. Events that were passed over (covered, older, not needed)
    are passed over again by the next run; images are sent again, which changes nothing.
    """
    with staging.open() as connection:
        if scalar(connection, "SELECT count(*) FROM outbox.files"):
            return 0
        connection.begin()
        for file, records, moves in history.sent_files():
            applied = records.select(
                "event_id", "invoice_number", "file_id", version="event_version", at="composed_at"
            )
            applied = shaped(applied.drop_nulls("event_id").unique(["event_id", "version"]), APPLIED)
            sql.keep(connection, file, records, applied)
            for move in moves:
                outbox_moves.move(connection, move.as_dict())
        withheld = history.withheld()
        sql.insert(connection, "applied", withheld)
        connection.execute("UPDATE outbox.applied SET outcome = 'in_file' WHERE outcome IS NULL")
        connection.commit()
        return int(scalar(connection, "SELECT count(*) FROM outbox.files"))
