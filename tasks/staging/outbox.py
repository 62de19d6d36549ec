"""SQL of the outbox: what waits, what IC has, files and their moves. Runs inside the caller's connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl

from tasks.outbox.compose import Pending
from tasks.outbox.model import FACTS, GUARDS, HELD, TABLES, shaped
from tasks.staging.query import frame, scalar


def pending(connection: duckdb.DuckDBPyConnection) -> Pending:
    """Events not yet applied, and all that composing needs to know of the invoices they name."""
    events = frame(
        connection,
        """SELECT e.* EXCLUDE (source_form, poll_id, row_no, first_seen_at, last_seen_at)
           FROM imt.invoice_events e ANTI JOIN outbox.applied a
           ON a.event_id = e.event_id AND a.version = e.version""",
    )
    numbers = pl.concat([events["invoice_number"], events["replaces_invoice_number"]]).drop_nulls().unique()
    with asked(connection, numbers):
        return Pending(events, _own(connection), known(connection), _done(connection))


def state(connection: duckdb.DuckDBPyConnection, numbers: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(state at IMT, what is known of them at IC) of the invoices in `numbers`."""
    with asked(connection, numbers):
        held = frame(
            connection,
            """SELECT invoice_number, status, still_in_imt FROM imt.invoices
               SEMI JOIN asked USING (invoice_number)""",
        )
        return held, known(connection)


@contextmanager
def asked(connection: duckdb.DuckDBPyConnection, numbers: pl.Series) -> Iterator[None]:
    """The invoice numbers in question as view `asked`, for as long as they are asked about."""
    connection.register("asked", pl.DataFrame({"invoice_number": numbers.cast(pl.String)}))
    try:
        yield
    finally:
        connection.unregister("asked")


def known(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Per asked invoice: is it at IC by what was sent, under which account, how new is what was sent and told.

    An invoice is at IC if its last accepted record is no D, or if it is on the list of open invoices and no D
    was accepted since.
    """
    return frame(
        connection,
        """WITH sent AS (
               SELECT invoice_number,
                      arg_max(record_type, (composed_at, file_id, line_no)) FILTER (state = 'accepted') AS last_type,
                      arg_max(account_number, (composed_at, file_id, line_no))
                          FILTER (state = 'accepted' AND record_type = 'A') AS account_sent,
                      max(occurred_at) FILTER (state IN ('accepted', 'in_file')) AS last_occurred_at,
                      bool_or(state = 'in_file') AS in_flight
               FROM outbox.records SEMI JOIN asked USING (invoice_number) GROUP BY ALL),
           heard AS (
               SELECT e.invoice_number AS own, e.replaces_invoice_number AS recalled, e.occurred_at
               FROM imt.invoice_events e
               WHERE (e.invoice_number IN (SELECT invoice_number FROM asked)
                      OR e.replaces_invoice_number IN (SELECT invoice_number FROM asked))
                 AND NOT EXISTS (SELECT 1 FROM outbox.applied w WHERE w.event_id = e.event_id
                                 AND w.version = e.version AND w.outcome = 'withheld')),
           told AS (
               SELECT invoice_number, max(occurred_at) AS last_told_at,
                      max(occurred_at) FILTER (recall) AS last_recalled_at
               FROM (SELECT own AS invoice_number, occurred_at, false AS recall FROM heard
                     UNION ALL SELECT recalled, occurred_at, true FROM heard WHERE recalled IS NOT NULL)
               GROUP BY ALL)
           SELECT a.invoice_number,
                  coalesce(s.last_type <> 'D', o.invoice_number IS NOT NULL) AS known_at_ic,
                  coalesce(s.account_sent, o.account_number) AS account_sent,
                  s.last_occurred_at::TIMESTAMPTZ AS last_occurred_at,
                  t.last_told_at, t.last_recalled_at, coalesce(s.in_flight, false) AS in_flight
           FROM asked a LEFT JOIN sent s USING (invoice_number) LEFT JOIN told t USING (invoice_number)
           LEFT JOIN imt.open_at_ic o ON o.invoice_number = a.invoice_number""",
    )


def _own(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    names = ", ".join(
        f'"{name}"'
        for name in FACTS
        if name not in ("record_type", "invoice_format_guid", "pdf_link", "image_name")
    )
    return frame(
        connection,
        f"""SELECT {names}, bool_or(event <> 'CANCELLED') OVER (PARTITION BY invoice_number) AS ever_billed
            FROM imt.invoice_events SEMI JOIN asked USING (invoice_number)
            QUALIFY row_number() OVER (PARTITION BY invoice_number ORDER BY occurred_at DESC, event_id DESC) = 1""",
    )


def _done(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    return frame(
        connection,
        """SELECT DISTINCT event_id, event_version, invoice_number, record_type
           FROM outbox.records SEMI JOIN asked USING (invoice_number)
           WHERE state = 'accepted' AND event_id IS NOT NULL""",
    )


def live_at_ic(connection: duckdb.DuckDBPyConnection) -> int:
    """Invoices that IC holds open by what was sent to it (the base of the delete guard)."""
    return int(
        scalar(
            connection,
            """SELECT count(*) FROM (
                   SELECT invoice_number, arg_max(record_type, (composed_at, file_id, line_no)) AS last_type,
                          arg_max(balance_due, (composed_at, file_id, line_no)) AS balance
                   FROM outbox.records WHERE state = 'accepted' GROUP BY ALL
                   UNION ALL SELECT invoice_number, 'A', balance_due FROM imt.open_at_ic
                   WHERE invoice_number NOT IN (SELECT invoice_number FROM outbox.records WHERE state = 'accepted'))
               WHERE last_type = 'A' AND balance > 0""",
        )
    )


def keep(
    connection: duckdb.DuckDBPyConnection, files: pl.DataFrame, records: pl.DataFrame, applied: pl.DataFrame
) -> None:
    """Files, their records and the events that are done with, in the caller's transaction."""
    for table, rows in (("files", files), ("records", records), ("applied", applied)):
        insert(connection, table, rows)


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    """Appends rows to outbox.<table>."""
    if rows.height:
        connection.register("written", shaped(rows, TABLES[table]))
        connection.execute(f"INSERT INTO outbox.{table} BY NAME SELECT * FROM written")
        connection.unregister("written")


def files(connection: duckdb.DuckDBPyConnection, *states: str) -> list[dict[str, Any]]:
    """Files in these states (all without any), oldest first, with the number of their moves."""
    wanted = "list_contains($1, f.state)" if states else "$1 IS NOT NULL"
    return _files(connection, wanted, list(states))


def files_ending(connection: duckdb.DuckDBPyConnection, end: str) -> list[dict[str, Any]]:
    """Files whose id is, or ends with, `end`."""
    return _files(connection, "ends_with(f.file_id, $1)", end)


def _files(connection: duckdb.DuckDBPyConnection, wanted: str, value: Any) -> list[dict[str, Any]]:
    return frame(
        connection,
        f"""SELECT f.*, (SELECT count(*) FROM outbox.moves m WHERE m.file_id = f.file_id) AS moves
            FROM outbox.files f WHERE {wanted} ORDER BY f.composed_at, f.file_id""",
        [value],
    ).to_dicts()


def records(connection: duckdb.DuckDBPyConnection, file_id: str) -> pl.DataFrame:
    """The file's records in order of line."""
    return frame(connection, "SELECT * FROM outbox.records WHERE file_id = $1 ORDER BY line_no", [file_id])


def before(connection: duckdb.DuckDBPyConnection, file_id: str) -> pl.DataFrame:
    """Per invoice of the file: what IC had of it before (invoice_number and what a look can see).

    The last record accepted; without one, IC's own list of open invoices.
    """
    return frame(
        connection,
        """WITH sent_now AS (SELECT DISTINCT invoice_number FROM outbox.records WHERE file_id = $1),
           sent AS (
               SELECT invoice_number, arg_max(record_type, (composed_at, file_id, line_no)) AS record_type,
                      arg_max(total_amount_due, (composed_at, file_id, line_no)) AS total_amount_due,
                      arg_max(balance_due, (composed_at, file_id, line_no)) AS balance_due,
                      arg_max(due_date, (composed_at, file_id, line_no)) AS due_date
               FROM outbox.records SEMI JOIN sent_now USING (invoice_number)
               WHERE state = 'accepted' GROUP BY ALL)
           SELECT * FROM sent
           UNION ALL BY NAME
           SELECT o.invoice_number, 'A' AS record_type, o.total_amount_due, o.balance_due, o.due_date
           FROM imt.open_at_ic o SEMI JOIN sent_now USING (invoice_number) ANTI JOIN sent USING (invoice_number)""",
        [file_id],
    )


def replace_last(connection: duckdb.DuckDBPyConnection, guards: pl.DataFrame, held: pl.DataFrame) -> None:
    """What the last run did not send, and why."""
    for table, rows, schema in (("guards", guards, GUARDS), ("held", held, HELD)):
        connection.execute(f"DELETE FROM outbox.{table}")
        insert(connection, table, shaped(rows, schema))


def looks_due(connection: duckdb.DuckDBPyConnection, before_at: datetime) -> pl.DataFrame:
    """Accepted recalls that no look after `before_at` minus nothing has shown to be obeyed: record rows.

    A recall accepted before `before_at` is looked at until a look says yes.
    """
    return frame(
        connection,
        """SELECT r.* FROM outbox.records r
           WHERE r.state = 'accepted' AND r.record_type <> 'A' AND r.settled_at <= $1::TIMESTAMPTZ
             AND NOT EXISTS (SELECT 1 FROM outbox.looks l WHERE l.record_id = r.record_id AND l.verdict = 'yes'
                             AND l."at" >= r.settled_at)
             AND NOT EXISTS (SELECT 1 FROM outbox.records n WHERE n.invoice_number = r.invoice_number
                             AND n.state = 'accepted' AND (n.composed_at, n.file_id, n.line_no) > (r.composed_at, r.file_id, r.line_no))
           ORDER BY r.record_id""",
        [before_at],
    )


def accepted(connection: duckdb.DuckDBPyConnection, file_ids: Sequence[str]) -> tuple[int, Decimal]:
    """(records, sum of balance_due) that IC accepted of these files."""
    rows: tuple[int, Decimal] = connection.execute(
        """SELECT count(*), coalesce(sum(balance_due), 0)::DECIMAL(18,2) FROM outbox.records
           WHERE state = 'accepted' AND list_contains($1, file_id)""",
        [list(file_ids)],
    ).fetchall()[0]
    return rows


def missing(connection: duckdb.DuckDBPyConnection, file: Mapping[str, Any]) -> list[int]:
    """Lines that are not at IC as far as is known: of a refused file all, else those whose last look said no."""
    if file["state"] == "refused":
        return records(connection, file["file_id"])["line_no"].to_list()
    return _last_no(connection, file["file_id"])


def _last_no(connection: duckdb.DuckDBPyConnection, file_id: str) -> list[int]:
    """Lines of a file whose last look said no."""
    return frame(
        connection,
        """SELECT r.line_no FROM outbox.records r JOIN outbox.looks l ON l.record_id = r.record_id
           WHERE r.file_id = $1 AND r.state = 'in_file'
           GROUP BY ALL HAVING arg_max(l.verdict, l."at") = 'no' ORDER BY 1""",
        [file_id],
    )["line_no"].to_list()
