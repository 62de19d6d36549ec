"""Which payments a reconcile run looks at: all, or those that changed since the last run, fell due, or are asked for.

A payment is known by its guid key: lower(payment_guid). A payment that was at rest after the last run keeps its
verdict until one of its own rows changes, a row without a guid or an invoice asks for it, or its time comes.
"""

from __future__ import annotations

from datetime import datetime

import duckdb
import polars as pl

from checks import ach_codes
from tasks.reconcile import Inputs
from tasks.reconcile.dead_invoices import DEAD
from tasks.reconcile.draw_breaks import is_on, opted_out
from tasks.reconcile.keys import id_key, reference_key
from tasks.reconcile.model import ZERO
from tasks.staging.query import frame, scalar

_WHOLE_GUID = 36
_LONGEST_OFFSET = 31  # days that AutoPay may draw before a bill is due
# IMT's files may hold anything as a guid; one of another length is compared with care, in Polars.
ODD = f"(payment_guid IS NULL OR length(payment_guid) <> {_WHOLE_GUID})"
# Sides of a payment: their tables, and which of their rows name a guid.
SIDES = {
    "payment": ("feed.payments", "true"), "posting": ("imt.postings", f"NOT {ODD}"),
    "settlement": ("feed.settlements", "payment_guid IS NOT NULL"), "push": ("imt.pushes", "true"),
}  # fmt: skip
# Rows that ask by something else than a guid, and rows that ask by guid: what makes a payment other than straight.
_REFERENCES = f"""
    SELECT DISTINCT processor_reference AS key FROM imt.postings WHERE {ODD}
    UNION SELECT processor_reference FROM feed.settlements WHERE payment_guid IS NULL
    UNION SELECT processor_reference FROM imt.chargebacks UNION SELECT processor_reference FROM imt.refunds"""
_GUIDS = f"""
    SELECT payment_guid AS key FROM imt.chargebacks UNION SELECT payment_guid FROM imt.refunds
    UNION SELECT refund_of_guid FROM feed.payments WHERE refund_of_guid IS NOT NULL
    UNION SELECT payment_guid FROM imt.postings WHERE {ODD} OR kind NOT IN ('PAYMENT', 'REVERSAL')
    UNION SELECT unnest([b.payment_guid, r.payment_guid]) FROM imt.postings b
          JOIN (SELECT reverses_posting_id, payment_guid FROM imt.postings WHERE reverses_posting_id IS NOT NULL) r
               ON r.reverses_posting_id = b.posting_id
          WHERE lower(b.payment_guid) IS DISTINCT FROM lower(r.payment_guid)"""
# A return or a reversal under the payment's own guid asks as well, but for no more than what hangs on that guid.
_RETURNED = "SELECT original_payment_guid AS key FROM feed.ach_rejects"
_THEMSELVES = "SELECT key, false FROM asked_keys"
_PAYMENTS = (
    "SELECT lower(payment_guid), false FROM feed.payments WHERE lower({}) IN (SELECT key FROM asked_keys)"
)
_NAMELESS_RETURNS = "SELECT account_number AS key FROM feed.ach_rejects WHERE original_payment_guid IS NULL"


def find_asked(connection: duckdb.DuckDBPyConnection, data: Inputs, as_of: datetime) -> None:
    """Makes temp.asked (guid_key, by_return): payments that other rows ask for. `data`: all frames but payments, settlements,
    postings and pushes, which stay in the file."""
    named = {
        "processor_reference": _keys(connection, _REFERENCES, id_key("key")),
        "account_number": _keys(connection, _NAMELESS_RETURNS, reference_key("key")),
        "invoice_number": _invoices(data, as_of),
    }
    connection.execute("CREATE TEMP TABLE asked (guid_key VARCHAR, by_return BOOLEAN)")
    told = ach_codes.lookup(data.ach_rejects).filter(pl.col("code_group") == "INTERBANK")
    between_banks = told.select(key=id_key("original_payment_guid"))["key"].drop_nulls()
    _ask(connection, _keys(connection, _GUIDS, id_key("key")), _THEMSELVES)
    _ask(connection, between_banks, _THEMSELVES)
    _ask(connection, _keys(connection, _RETURNED, id_key("key")), "SELECT key, true FROM asked_keys")
    for column, keys in named.items():
        _ask(connection, keys, _PAYMENTS.format(column))
    _ask(connection, opted_out(data), _PAYMENTS.format("account_number") + " AND payment_source = 'AUTOPAY'")


def _keys(connection: duckdb.DuckDBPyConnection, sql: str, key: pl.Expr) -> pl.Series:
    return frame(connection, sql).select(key=key)["key"].drop_nulls().unique()


def _invoices(data: Inputs, as_of: datetime) -> pl.Series:
    """Keys of dead invoices (B30, B08), and of bills whose draw may have come (B34)."""
    dead = data.invoices.filter(pl.col("status").is_in(DEAD)).select(key=reference_key("invoice_number"))
    bills = data.bills.filter(pl.col("balance") > ZERO) if is_on(data) else data.bills.clear()
    day = pl.coalesce("autopay_collection_date", pl.col("due_date") - pl.duration(days=_LONGEST_OFFSET))
    due = bills.filter(day <= pl.lit(as_of.date())).select(key=reference_key("invoice_number"))
    return pl.concat([dead, due])["key"].drop_nulls().unique()


def _ask(connection: duckdb.DuckDBPyConnection, keys: pl.Series, found: str) -> None:
    """Adds to temp.asked what `found` selects of asked_keys (key)."""
    if keys.is_empty():
        return
    connection.register("asked_keys", keys.to_frame("key"))
    connection.execute(f"INSERT INTO temp.asked {found}")
    connection.unregister("asked_keys")


def find_scope(
    connection: duckdb.DuckDBPyConnection, last_run_id: str, as_of: datetime, *, mates: bool
) -> None:
    """Makes temp.scope (h), and temp.numbers (side, r): row numbers of all that may belong to it, of a run after
    `last_run_id`. temp.asked is there; recon.sides says what the last run knew.

    `mates`: payments of one invoice are judged together (B04, B35), so the others of it come too.
    """
    _find_fresh(connection, last_run_id)
    connection.execute(
        """CREATE TEMP TABLE scope AS SELECT DISTINCT h FROM (
               SELECT h FROM temp.fresh UNION SELECT hash(guid_key) FROM temp.asked WHERE NOT by_return
               UNION SELECT h FROM recon.sides WHERE NOT at_rest
               UNION SELECT hash(lower(payment_guid)) FROM recon.items WHERE at_rest AND due_by <= $1::TIMESTAMPTZ)""",
        [as_of],
    )
    if mates:
        connection.execute(
            """INSERT INTO temp.scope SELECT DISTINCT hash(lower(payment_guid)) FROM feed.payments
               WHERE lower(invoice_number) IN (SELECT lower(invoice_number) FROM feed.payments
                                               WHERE hash(lower(payment_guid)) IN (SELECT h FROM temp.scope))
                 AND hash(lower(payment_guid)) NOT IN (SELECT h FROM temp.scope)"""
        )
    known = " UNION ".join(
        f"SELECT '{side}' AS side, {side} AS r FROM known WHERE {side} IS NOT NULL" for side in SIDES
    )
    connection.execute(
        f"""CREATE TEMP TABLE numbers AS
            WITH known AS (SELECT * FROM recon.sides WHERE h IN (SELECT h FROM temp.scope))
            {known} UNION SELECT side, r FROM temp.fresh WHERE r IS NOT NULL"""
    )
    connection.execute("DROP TABLE temp.fresh")


def _find_fresh(connection: duckdb.DuckDBPyConnection, last_run_id: str) -> None:
    """temp.fresh (side, r, h): rows that were loaded since, and payments from which a posting was taken away."""
    connection.execute(
        """CREATE TEMP TABLE came AS SELECT load_id FROM poll.loads
           WHERE rowid > (SELECT rowid FROM poll.loads WHERE load_id = $1)""",
        [last_run_id],
    )
    connection.execute("CREATE TEMP TABLE fresh (side VARCHAR, r BIGINT, h UBIGINT)")
    for side, (table, named) in SIDES.items():
        # First the numbers, then the rows: a row read by its number costs a hundredth of one that is searched.
        connection.execute(
            f"""CREATE TEMP TABLE fresh_rows AS SELECT rowid AS r FROM {table}_versions
                WHERE poll_id IN (SELECT load_id FROM temp.came)"""
        )
        if side == "posting":
            _add_moved(connection)
        connection.execute(
            f"""INSERT INTO temp.fresh SELECT '{side}', rowid, hash(lower(payment_guid)) FROM {table}_versions
                WHERE rowid IN (SELECT r FROM temp.fresh_rows) AND {named}"""
        )
        connection.execute("DROP TABLE temp.fresh_rows")
    connection.execute(
        """INSERT INTO temp.fresh SELECT 'return', NULL, hash(lower(original_payment_guid)) FROM feed.ach_rejects_versions
           WHERE poll_id IN (SELECT load_id FROM temp.came) AND original_payment_guid IS NOT NULL"""
    )
    connection.execute("DROP TABLE temp.came")


def _add_moved(connection: duckdb.DuckDBPyConnection) -> None:
    """A posting may come again under another guid: its earlier versions name the payment that it was taken from."""
    again = """SELECT posting_id FROM imt.postings_versions
               WHERE rowid IN (SELECT r FROM temp.fresh_rows) AND version > 1"""
    if scalar(connection, f"SELECT count(*) FROM ({again})"):
        connection.execute(
            f"""INSERT INTO temp.fresh_rows SELECT rowid FROM imt.postings_versions
                WHERE posting_id IN ({again}) AND rowid NOT IN (SELECT r FROM temp.fresh_rows)"""
        )


def split_returns(
    connection: duckdb.DuckDBPyConnection, rejects: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns to be looked at, and those of payments that are at rest since an earlier run. temp.asked is there, and
    recon.sides holds nothing of the scope."""
    found = """SELECT DISTINCT guid_key FROM temp.asked
               WHERE by_return AND hash(guid_key) IN (SELECT h FROM recon.sides WHERE at_rest)"""
    resting = frame(connection, found)
    keyed = rejects.with_columns(guid_key=id_key("original_payment_guid"))
    parts = (keyed.join(resting, on="guid_key", how=how, maintain_order="left") for how in ("anti", "semi"))
    looked_at, others = (part.drop("guid_key") for part in parts)
    return looked_at, others
