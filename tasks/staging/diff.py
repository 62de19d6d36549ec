"""Two snapshots side by side: breaks that differ, and the versions of feed rows that only the later one has."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import polars as pl

from checks.contracts import FEEDS, IMT, Contract
from checks.describe import columns
from tasks.staging.query import frame

BEFORE = "before"  # the database name of the earlier snapshot; the later one is the current database
_ITEMS = (
    "posting_id",
    "settled_batch_id",
    "chargeback_id",
    "refund_id",
    "line_id",
    "invoice_event_id",
    "event_id",
)
_GUIDS = ("payment_guid", "original_payment_guid")
_AMOUNTS = (
    "payment_amount", "settled_amount", "reject_amount", "amount", "balance_due", "balance_answered",
)  # fmt: skip
_BREAKS = f"""
    SELECT coalesce(n.break_id, o.break_id) AS break_id,
           CASE WHEN n.break_id IS NULL THEN 'gone'
                WHEN o.break_id IS NULL AND n.state = 'closed' THEN 'came and went'
                WHEN o.break_id IS NULL THEN 'opened'
                WHEN o.state = 'closed' AND n.state = 'open' THEN 'reopened'
                WHEN o.state = 'open' AND n.state = 'closed' THEN 'closed'
                WHEN n.state = 'open' AND (n.amount <> o.amount OR n.severity <> o.severity) THEN 'changed' END AS change,
           coalesce(n.code, o.code) AS code, coalesce(n.name, o.name) AS name, coalesce(n.severity, o.severity) AS severity,
           o.amount AS amount_before, n.amount AS amount_now, coalesce(n.sentence, o.sentence) AS sentence,
           coalesce(n.subject, o.subject) AS subject, coalesce(n.payment_guid, o.payment_guid) AS payment_guid,
           coalesce(n.invoice_number, o.invoice_number) AS invoice_number,
           coalesce(n.account_number, o.account_number) AS account_number
    FROM recon.breaks n FULL JOIN {BEFORE}.recon.breaks o ON o.break_id = n.break_id"""
# Rows that touch a break, by what they have in common with it; only the closest kind of each break counts.
_CAUSES = """
    WITH touching AS (
        SELECT b.break_id, 1 AS rank, 'subject' AS link, r.* FROM broken b JOIN arrived r ON r.item = b.subject
        UNION ALL
        SELECT b.break_id, 2, 'payment', r.* FROM broken b JOIN arrived r ON r.guid = lower(b.payment_guid)
        UNION ALL
        SELECT b.break_id, 3, 'invoice', r.* FROM broken b JOIN arrived r ON r.invoice_number = b.invoice_number
        UNION ALL
        SELECT b.break_id, 4, 'account', r.* FROM broken b JOIN arrived r ON r.account_number = b.account_number)
    SELECT DISTINCT break_id, link, "table", item, change, amount, version, seen_at, poll_id, row_no FROM touching
    QUALIFY rank <= greatest(min(rank) OVER (PARTITION BY break_id), 2)
    ORDER BY break_id, seen_at, "table", poll_id, row_no"""


def info(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, object]:
    """Whose a snapshot is and as of when: biller, as_of, last_run_id, last_run_as_of."""
    sql = f"SELECT biller, as_of, last_run_id, last_run_as_of FROM {database}.snapshot_info"
    return frame(connection, sql).row(0, named=True)


def compared(connection: duckdb.DuckDBPyConnection) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Breaks that differ, and the rows that touch them (break_id, link, table, item, change, amount, ...)."""
    breaks = frame(connection, f"SELECT * FROM ({_BREAKS}) WHERE change IS NOT NULL ORDER BY code, break_id")
    connection.register("broken", breaks)
    connection.register("arrived", _arrived(connection))
    causes = frame(connection, _CAUSES)
    connection.unregister("broken")
    connection.unregister("arrived")
    return breaks, causes


def _arrived(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Versions of all tables that the earlier snapshot does not have."""
    held = frame(
        connection,
        """SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() WHERE database_name = $1""",
        [BEFORE],
    )["name"]
    return frame(connection, " UNION ALL ".join(_selects(set(held))))


def _selects(held: set[str]) -> Iterator[str]:
    contracts = {**{f"feed.{n}": c for n, c in FEEDS.items()}, **{f"imt.{n}": c for n, c in IMT.items()}}
    for name, contract in contracts.items():
        if f"{name}_versions" in held:  # not in a snapshot of an earlier release
            yield _select(name, contract)


def _select(name: str, contract: type[Contract]) -> str:
    known = {column.name for column in columns(contract)}

    def first(names: tuple[str, ...], kind: str = "VARCHAR") -> str:
        return next((f"n.{column}" for column in names if column in known), f"NULL::{kind}")

    guid, account, invoice = first(_GUIDS), first(("account_number",)), first(("invoice_number",))
    return f"""
        SELECT '{name}' AS "table", {first(_ITEMS)} AS item, lower({guid}) AS guid, {account} AS account_number,
               {invoice} AS invoice_number, {first(_AMOUNTS, "DECIMAL(18,2)")}::DECIMAL(18,2) AS amount, n.version,
               CASE WHEN NOT n.present THEN 'gone' WHEN n.version = 1 THEN 'new' ELSE 'changed' END AS change,
               n.version_seen_at AS seen_at, n.poll_id, n.row_no
        FROM {name}_versions n ANTI JOIN {BEFORE}.{name}_versions o
          ON o.poll_id = n.poll_id AND o.row_no = n.row_no AND o.version = n.version AND o.present = n.present"""
