"""SQL of a move: the file's new state, and what it means for its records. Runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from tasks.outbox.model import FILES, TABLES
from tasks.staging.query import scalar


def move(connection: duckdb.DuckDBPyConnection, moved: Mapping[str, Any]) -> bool:
    """Applies one move (tasks/outbox/states.Move as a dict); False if the file is not in `from_state` any more."""
    columns = {name: value for name, value in moved["file"].items() if name in FILES}
    sets = ", ".join(["state = $2", *(f'"{name}" = ${n}' for n, name in enumerate(columns, 4))])
    count = scalar(
        connection,
        f"UPDATE outbox.files SET {sets} WHERE file_id = $1 AND state = $3",
        [moved["file_id"], moved["to_state"], moved["from_state"], *columns.values()],
    )
    if not count:
        return False
    names = list(TABLES["moves"])
    connection.execute(
        f"""INSERT INTO outbox.moves ({", ".join(f'"{name}"' for name in names)})
            VALUES ({", ".join(f"${n}" for n in range(1, len(names) + 1))})""",
        [moved[name] for name in names],
    )
    _records(connection, moved)
    return True


def _records(connection: duckdb.DuckDBPyConnection, moved: Mapping[str, Any]) -> None:
    """What the move means for the file's records: rejected lines first, then those sent again, then the rest."""
    file_id, at = moved["file_id"], moved["at"]
    if moved["rejected"]:
        lines = pl.DataFrame(
            moved["rejected"], schema={"line_no": pl.Int64, "message": pl.String}, orient="row"
        )
        connection.register("lines", lines)
        connection.execute(
            """UPDATE outbox.records AS r SET state = 'rejected', reason = l.message, settled_at = $2::TIMESTAMPTZ
               FROM lines l WHERE r.file_id = $1 AND r.line_no = l.line_no AND r.state = 'in_file'""",
            [file_id, at],
        )
        connection.unregister("lines")
    if moved["requeued"]:
        _requeue(connection, file_id, moved["requeued"], at)
    rest = {"accepted": "accepted", "refused": "refused", "dropped": "withheld", "composed": "in_file"}
    if moved["to_state"] in rest:
        connection.execute(
            """UPDATE outbox.records SET state = $2, settled_at = CASE WHEN $2 <> 'in_file' THEN $3::TIMESTAMPTZ END
               WHERE file_id = $1 AND state IN ('in_file', 'refused')""",
            [file_id, rest[moved["to_state"]], at],
        )


def _requeue(connection: duckdb.DuckDBPyConnection, file_id: str, lines: Sequence[int], at: datetime) -> None:
    """These records did not reach IC: their events wait again for the next file."""
    connection.execute(
        """DELETE FROM outbox.applied a USING outbox.records r
           WHERE r.file_id = $1 AND list_contains($2, r.line_no) AND a.event_id = r.event_id
             AND a.version = r.event_version""",
        [file_id, list(lines)],
    )
    connection.execute(
        """UPDATE outbox.records SET state = 'resent', settled_at = $3::TIMESTAMPTZ
           WHERE file_id = $1 AND list_contains($2, line_no)""",
        [file_id, list(lines), at],
    )
