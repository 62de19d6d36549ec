"""Reads what there is on one payment, invoice or account, from a staging file or a snapshot; writes nothing.

The links of a payment's chain are the blocks of timeline.sql.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from tasks.errors import SettingsError
from tasks.staging.query import Connection, frame, scalar

Row = dict[str, Any]
_DASHES = r"[\x{2010}-\x{2015}\x{2212}\x{FE58}\x{FE63}\x{FF0D}]"  # as in tasks.reconcile.keys
_BLOCK = re.compile(r"^-- step (\w+): ([\w., ]+)$", re.MULTILINE)
# Who names the payments that are asked for: invoices, accounts, the processor's reference.
_REPORTED = "SELECT lower(p.payment_guid) AS guid, p.* FROM feed.payments p SEMI JOIN asked a ON lower(p.payment_guid) = a.guid"
_NAMED = """
    SELECT DISTINCT guid, invoice_number, account_number, payment_amount AS amount, payment_date,
           lower(trim(processor_reference)) AS reference FROM reported
    UNION SELECT lower(u.payment_guid), u.invoice_number, u.account_number, u.payment_amount, u.payment_date, NULL
    FROM imt.pushes u SEMI JOIN asked a ON lower(u.payment_guid) = a.guid"""
# Postings by the payment's id, its processor reference, the verdict's own key3, or what they reverse.
_POSTINGS = """
    WITH own AS (
        SELECT l.posting_id, a.guid, NULL AS found_by FROM imt.postings l JOIN asked a ON lower(trim(l.payment_guid)) = a.guid
        UNION SELECT l.posting_id, n.guid, 'processor reference' FROM imt.postings l JOIN named n
            ON coalesce(trim(l.payment_guid), '') = '' AND n.reference <> '' AND lower(trim(l.processor_reference)) = n.reference
        UNION SELECT l.posting_id, n.guid, 'account, invoice and amount' FROM imt.postings l JOIN named n
            ON coalesce(trim(l.payment_guid), '') = '' AND n.amount = l.amount AND l.origin = 'IC'
            AND {same_account} AND {same_invoice}
            AND abs(date_diff('hour', l.posted_at, n.payment_date)) <= 72
        SEMI JOIN (SELECT lower(payment_guid) AS guid FROM recon.items WHERE match_rule = 'key3') k ON k.guid = n.guid)
    SELECT posting_id, guid, min(found_by) AS found_by FROM (
        SELECT * FROM own
        UNION SELECT l.posting_id, o.guid, o.found_by FROM imt.postings l JOIN own o ON l.reverses_posting_id = o.posting_id)
    GROUP BY ALL"""
_KEYS = {
    "account": ("feed.payments", "imt.invoice_events", "imt.postings", "imt.pushes", "feed.ach_rejects", "outbox.records",
                "imt.open_at_ic", "feed.autopay", "feed.paperless", "imt.enrolment_flags", "imt.rtdr_calls"),
    "invoice": ("feed.payments", "imt.invoice_events", "imt.postings", "imt.pushes", "feed.ach_rejects", "outbox.records",
                "imt.open_at_ic", "imt.rtdr_calls"),
}  # fmt: skip
_GUIDS = (("feed.payments_versions", "payment_guid"), ("imt.pushes", "payment_guid"), ("imt.postings", "payment_guid"),
          ("feed.settlements", "payment_guid"), ("feed.ach_rejects", "original_payment_guid"),
          ("imt.chargebacks", "payment_guid"), ("imt.refunds", "payment_guid"))  # fmt: skip


@contextmanager
def opened(path: Path) -> Iterator[Connection]:
    """A snapshot file, read only. Raises SettingsError if it is none."""
    if not path.is_file():
        raise SettingsError(f"there is no snapshot {path}")
    config: dict[str, Any] = {"python_enable_replacements": "false", "autoload_known_extensions": "false"}
    connection = duckdb.connect(":memory:", config=config)
    try:
        quoted = str(path).replace("'", "''")
        connection.execute(f"SET TimeZone = 'UTC'; ATTACH '{quoted}' AS snapshot (READ_ONLY); USE snapshot")
        if not has(connection, "main.snapshot_info"):
            raise SettingsError(f"{path.name} is no snapshot of icflows")
        yield connection
    except duckdb.CatalogException:
        raise SettingsError(
            f"{path.name} was made by an older icflows, which kept less than is asked for"
        ) from None
    except duckdb.IOException as error:
        raise SettingsError(f"{path.name} cannot be opened as a snapshot ({type(error).__name__})") from None
    finally:
        connection.close()


def has(connection: Connection, name: str) -> bool:
    """Is there a table or view schema.name in the current database?"""
    schema, table = name.split(".")
    sql = """SELECT count(*) FROM information_schema.tables
             WHERE table_catalog = current_database() AND table_schema = $1 AND table_name = $2"""
    return bool(scalar(connection, sql, [schema, table]))


def key_sql(column: str) -> str:
    """An account or invoice as reconcile compares it: trimmed, lower case, one kind of dash."""
    return f"regexp_replace(lower(trim({column})), '{_DASHES}', '-', 'g')"


def spellings(connection: Connection, kind: str, text: str) -> list[str]:
    """How the tables write this account or invoice; empty if none names it. `kind`: account or invoice."""
    column = f"{kind}_number"
    tables = [name for name in _KEYS[kind] if has(connection, name)]
    parts = [f"SELECT {column} AS k FROM {name} WHERE {key_sql(column)} = {key_sql('$1')}" for name in tables]
    return frame(connection, f"SELECT DISTINCT k FROM ({' UNION ALL '.join(parts)}) ORDER BY k", [text])["k"].to_list()  # fmt: skip


def knows_guid(connection: Connection, guid: str) -> bool:
    """Does any feed, any file or the quarantine name this payment?"""
    parts = [
        f"SELECT 1 FROM {name} WHERE lower(trim({column})) = $1" for name, column in _GUIDS if has(connection, name)
    ]  # fmt: skip
    parts.append("SELECT 1 FROM quarantine.payments WHERE contains(lower(raw::VARCHAR), $1)")
    return bool(scalar(connection, f"SELECT count(*) FROM ({' UNION ALL '.join(parts)})", [guid]))


def near(connection: Connection, text: str, limit: int = 3) -> list[str]:
    """The ids, invoices and accounts written most like `text`, nearest first."""
    return frame(
        connection,
        """SELECT k FROM (
               SELECT lower(payment_guid) AS k FROM feed.payments UNION SELECT invoice_number FROM feed.payments
               UNION SELECT account_number FROM feed.payments UNION SELECT invoice_number FROM imt.invoice_events
               UNION SELECT account_number FROM imt.invoice_events) WHERE k IS NOT NULL
           ORDER BY starts_with(k, lower($1)) DESC, damerau_levenshtein(lower(k), lower($1)), k LIMIT $2""",
        [text, limit],
    )["k"].to_list()


def payments_of(connection: Connection, kind: str, numbers: Sequence[str]) -> pl.DataFrame:
    """Payments of an account or invoice, those too that were only pushed; newest first: payment_guid, payment_date, payment_amount, tender, approved,
    status, state, state_reason, due_by, break_codes; one row per line of a split one."""
    column = f"{kind}_number"
    return frame(
        connection,
        f"""SELECT p.payment_guid, p.payment_date, p.payment_amount, p.tender, p.approved, p.status, p.account_number,
                   p.invoice_number, coalesce(i.state, 'NOT_COMPARED') AS state, i.state_reason, i.due_by, i.break_codes
            FROM feed.payments p LEFT JOIN recon.items i ON i.payment_guid = p.payment_guid
                AND i.payment_line_no IS NOT DISTINCT FROM p.payment_line_no
                AND i.invoice_number IS NOT DISTINCT FROM p.invoice_number
            WHERE list_contains($1, p.{column})
            UNION ALL BY NAME
            SELECT payment_guid, payment_date, payment_amount, tender, approved, account_number, invoice_number,
                   'NOT_REPORTED' AS state FROM imt.pushes u
            WHERE list_contains($1, {column})
              AND NOT EXISTS (SELECT 1 FROM feed.payments p WHERE lower(p.payment_guid) = lower(u.payment_guid))
            ORDER BY payment_date DESC, payment_guid, invoice_number""",
        [list(numbers)],
    )


def steps(connection: Connection, guids: Sequence[str]) -> list[Row]:
    """All links of these payments (guids in lower case), in no order: the columns of timeline.sql, and `file`, the
    operation or file that poll_id stands for."""
    connection.register("asked", pl.DataFrame({"guid": list(guids)}, schema={"guid": pl.String}))
    same = {f"same_{kind}": f"{key_sql(f'l.{kind}_number')} IS NOT DISTINCT FROM {key_sql(f'n.{kind}_number')}" for kind in _KEYS}  # fmt: skip
    helpers = {"reported": _REPORTED, "named": _NAMED, "found_postings": _POSTINGS.format(**same)}
    for name, sql in helpers.items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")
    found = [
        row
        for tables, sql in _blocks()
        if all(has(connection, table) for table in tables)
        for row in frame(connection, sql).to_dicts()
    ]
    files = _files(connection, [row["poll_id"] for row in found if row.get("poll_id")])
    for row in found:
        row.setdefault("file", files.get(row.get("poll_id", ""), None))
    for name in helpers:
        connection.execute(f"DROP TABLE {name}")
    connection.unregister("asked")
    return found


@cache
def _blocks() -> list[tuple[list[str], str]]:
    text = Path(__file__).with_name("timeline.sql").read_text("utf-8")
    parts = _BLOCK.split(text)[1:]
    return [
        ([name.strip() for name in tables.split(",")], sql)
        for tables, sql in zip(parts[1::3], parts[2::3], strict=True)
    ]


def _files(connection: Connection, poll_ids: Sequence[str]) -> dict[str, str]:
    sql = "SELECT poll_id, operation FROM poll.runs WHERE list_contains($1, poll_id)"
    return dict(frame(connection, sql, [list(dict.fromkeys(poll_ids))]).iter_rows()) if poll_ids else {}
