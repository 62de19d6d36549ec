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
from tasks.reconcile.model import SCHEMAS, ZERO
from tasks.staging.query import frame, scalar

_WHOLE_GUID = 36
_LONGEST_OFFSET = 31  # days that AutoPay may draw before a bill is due
# IMT's files may hold anything as a guid; one of another length is compared with care, in Polars.
_ODD = f"(payment_guid IS NULL OR length(payment_guid) <> {_WHOLE_GUID})"
# Sides of a payment: the frame of Inputs, its table, and which of its rows name no payment.
SIDES = {
    "payment": ("payments", "feed.payments", "false"), "posting": ("postings", "imt.postings", _ODD),
    "settlement": ("settlements", "feed.settlements", "payment_guid IS NULL"), "push": ("pushes", "imt.pushes", "false"),
}  # fmt: skip
LOOSE_SIDES = ("posting", "settlement")
# Of recon.sides: those that came back and were reversed are at rest too. (A column of its own would have to be updated, and
# for one update DuckDB writes all that a transaction added a second time.)
_NOT_AT_REST = "kind IS NULL AND h NOT IN (SELECT hash(lower(payment_guid)) FROM recon.judged WHERE at_rest)"
# Rows that ask by something else than a guid, and rows that ask by guid: what makes a payment other than straight.
_REFERENCES = """
    SELECT processor_reference AS key FROM temp.loose_posting UNION SELECT processor_reference FROM temp.loose_settlement
    UNION SELECT processor_reference FROM imt.chargebacks UNION SELECT processor_reference FROM imt.refunds"""
_GUIDS = """
    SELECT payment_guid AS key FROM imt.chargebacks UNION SELECT payment_guid FROM imt.refunds
    UNION SELECT refund_of_guid FROM feed.payments WHERE refund_of_guid IS NOT NULL
    UNION SELECT payment_guid FROM temp.loose_posting
    UNION SELECT payment_guid FROM imt.postings WHERE kind NOT IN ('PAYMENT', 'REVERSAL')
    UNION SELECT unnest([b.payment_guid, r.payment_guid]) FROM imt.postings b
          JOIN (SELECT reverses_posting_id, payment_guid FROM imt.postings WHERE reverses_posting_id IS NOT NULL) r
               ON r.reverses_posting_id = b.posting_id
          WHERE lower(b.payment_guid) IS DISTINCT FROM lower(r.payment_guid)"""
_THEMSELVES = "SELECT key, false FROM asked_keys"
# A text whose key may be another than lower() of it (as in tasks.reconcile.keys) is asked for with any.
_PAYMENTS = """SELECT lower(payment_guid), false FROM feed.payments
    WHERE (lower({column}) IN (SELECT key FROM asked_keys) OR NOT {plain})"""
_NAMELESS_RETURNS = "SELECT account_number AS key FROM feed.ach_rejects WHERE original_payment_guid IS NULL"


def find_asked(connection: duckdb.DuckDBPyConnection, data: Inputs, as_of: datetime) -> None:
    """Makes temp.asked (guid_key, by_return): payments that other rows ask for. `data`: all frames but payments, settlements,
    postings and pushes, which stay in the file. temp.loose_posting and temp.loose_settlement are there."""
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
    # A return under the payment's own guid asks as well, but for no more than what hangs on that guid.
    returned = data.ach_rejects.select(key=id_key("original_payment_guid"))["key"].drop_nulls().unique()
    _ask(connection, returned, "SELECT key, true FROM asked_keys")
    for column, keys in named.items():
        _ask(connection, keys, _PAYMENTS.format(column=column, plain=plain_sql(column)))
    by_account = _PAYMENTS.format(column="account_number", plain=plain_sql("account_number"))
    _ask(connection, opted_out(data), f"{by_account} AND payment_source = 'AUTOPAY'")


def plain_sql(column: str) -> str:
    """Is lower() of the text its key, as in tasks.reconcile.keys? True where there is none."""
    return f"""({column} IS NULL
        OR (strlen({column}) = length({column}) AND NOT suffix({column}, ' ') AND ascii({column}) > 32))"""


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


def find_fresh(connection: duckdb.DuckDBPyConnection, *, whole: bool) -> None:
    """Makes temp.fresh (side, r, h): rows that were added since the last run, and payments from which a posting was taken
    away; none where a run is `whole`. Rows that name no payment join recon.loose, and lie in temp.loose_posting and
    temp.loose_settlement then (columns of SCHEMAS, current ones)."""
    connection.execute("CREATE TEMP TABLE fresh (side VARCHAR, r BIGINT, h UBIGINT)")
    if whole:
        for side in LOOSE_SIDES:
            _, table, nameless = SIDES[side]
            connection.execute(
                f"""INSERT INTO recon.loose SELECT '{side}', rowid FROM {table}_versions
                    WHERE is_current AND present AND {nameless}"""
            )
    else:
        _add_fresh(connection)
    tables = {**{side: table for side, (_, table, _) in SIDES.items()}, "return": "feed.ach_rejects"}
    last = (
        f"SELECT '{side}', coalesce(max(rowid), -1) FROM {table}_versions" for side, table in tables.items()
    )
    connection.execute(f"DELETE FROM recon.seen; INSERT INTO recon.seen {' UNION ALL '.join(last)}")
    for side in LOOSE_SIDES:
        read_by_number(connection, side, f"SELECT r FROM recon.loose WHERE side = '{side}'", f"loose_{side}")


def read_by_number(connection: duckdb.DuckDBPyConnection, side: str, numbers: str, name: str) -> None:
    """Makes temp.<name>: the rows of a side with these numbers that are current, columns of SCHEMAS, number as rowid_.

    By their numbers first: a condition besides would have all rows searched.
    """
    frame_name, table, _ = SIDES[side]
    columns = ", ".join(f'"{column}"' for column in SCHEMAS[frame_name])
    connection.execute(
        f"""CREATE TEMP TABLE {name} AS
            WITH held AS MATERIALIZED (SELECT rowid AS rowid_, is_current AND present AS holds, {columns}
                                       FROM {table}_versions WHERE rowid IN ({numbers}))
            SELECT * EXCLUDE (holds) FROM held WHERE holds"""
    )


def read_again(connection: duckdb.DuckDBPyConnection, side: str, numbers: str) -> None:
    """Makes temp.seen_<side> as read_by_number does. Rows that an earlier run kept in recon.open_<side> are taken from there:
    of a version nothing changes any more but whether it is current, and when it was last seen."""
    frame_name, table, _ = SIDES[side]
    fresh = f"SELECT r FROM temp.fresh WHERE side = '{side}' AND r IS NOT NULL"
    kept = f"SELECT rowid_ FROM recon.open_{side} WHERE rowid_ NOT IN ({fresh})"
    read_by_number(connection, side, f"({numbers}) EXCEPT {kept}", f"seen_{side}")
    seen = ", last_seen_at" if "last_seen_at" in SCHEMAS[frame_name] else ""
    replaced = "REPLACE (m.last_seen_at AS last_seen_at)" if seen else ""
    connection.execute(
        f"""INSERT INTO temp.seen_{side} BY NAME
            WITH marks AS MATERIALIZED (SELECT rowid AS rowid_, is_current AND present AS holds{seen}
                                        FROM {table}_versions WHERE rowid IN (({kept}) INTERSECT ({numbers})))
            SELECT o.* {replaced} FROM recon.open_{side} o JOIN marks m USING (rowid_) WHERE m.holds"""
    )


def find_scope(connection: duckdb.DuckDBPyConnection, as_of: datetime, *, mates: bool) -> None:
    """Makes temp.scope (h), and temp.known: what recon.sides had of it. All that the last run made of the scope goes, and
    kinds whose time came. temp.fresh and temp.asked are there.

    `mates`: payments of one invoice are judged together (B04, B35), so the others of it come too.
    """
    connection.execute(
        f"""CREATE TEMP TABLE scope AS
           SELECT h FROM temp.fresh UNION SELECT hash(guid_key) FROM temp.asked WHERE NOT by_return
           UNION SELECT h FROM recon.sides WHERE {_NOT_AT_REST}
           UNION SELECT h FROM recon.sides WHERE kind IN (SELECT kind FROM recon.kinds WHERE due_by <= $1::TIMESTAMPTZ)""",
        [as_of],
    )
    if mates:
        connection.execute(
            """INSERT INTO temp.scope SELECT DISTINCT hash(lower(payment_guid)) FROM feed.payments
               WHERE lower(invoice_number) IN (SELECT lower(invoice_number) FROM feed.payments
                                               WHERE hash(lower(payment_guid)) IN (SELECT h FROM temp.scope))
                 AND hash(lower(payment_guid)) NOT IN (SELECT h FROM temp.scope)"""
        )
    connection.execute(
        f"""CREATE TEMP TABLE known AS
            SELECT rowid AS rowid_, {", ".join(SIDES)}, kind, payment_amount FROM recon.sides WHERE h IN (SELECT h FROM temp.scope);
            DELETE FROM recon.sides WHERE rowid IN (SELECT rowid_ FROM temp.known);
            DELETE FROM recon.judged WHERE NOT at_rest OR hash(lower(payment_guid)) IN (SELECT h FROM temp.scope)"""
    )
    connection.execute("DELETE FROM recon.kinds WHERE due_by <= $1::TIMESTAMPTZ", [as_of])


def _add_fresh(connection: duckdb.DuckDBPyConnection) -> None:
    for side, (_, table, nameless) in SIDES.items():
        # First the numbers, then the rows: a row read by its number costs a hundredth of one that is searched.
        connection.execute(
            f"CREATE TEMP TABLE fresh_numbers AS SELECT rowid AS r FROM {table}_versions WHERE rowid > $1",
            [_last_seen(connection, side)],
        )
        if side == "posting":
            _add_moved(connection)
        connection.execute(
            f"""CREATE TEMP TABLE fresh_rows AS SELECT rowid AS r, payment_guid FROM {table}_versions
                WHERE rowid IN (SELECT r FROM temp.fresh_numbers);
                INSERT INTO temp.fresh SELECT '{side}', r, hash(lower(payment_guid)) FROM temp.fresh_rows WHERE NOT {nameless};
                INSERT INTO recon.loose SELECT '{side}', r FROM temp.fresh_rows WHERE {nameless};
                DROP TABLE temp.fresh_rows; DROP TABLE temp.fresh_numbers"""
        )
    connection.execute(
        """INSERT INTO temp.fresh SELECT 'return', NULL, hash(lower(original_payment_guid)) FROM feed.ach_rejects_versions
           WHERE rowid > $1 AND original_payment_guid IS NOT NULL""",
        [_last_seen(connection, "return")],
    )


def _last_seen(connection: duckdb.DuckDBPyConnection, side: str) -> int:
    return int(scalar(connection, "SELECT r FROM recon.seen WHERE side = $1", [side]))


def _add_moved(connection: duckdb.DuckDBPyConnection) -> None:
    """A posting may come again under another guid: its earlier versions name the payment that it was taken from."""
    again = """SELECT posting_id FROM imt.postings_versions
               WHERE rowid IN (SELECT r FROM temp.fresh_numbers) AND version > 1"""
    if scalar(connection, f"SELECT count(*) FROM ({again})"):
        connection.execute(
            f"""INSERT INTO temp.fresh_numbers SELECT rowid FROM imt.postings_versions
                WHERE posting_id IN ({again}) AND rowid NOT IN (SELECT r FROM temp.fresh_numbers)"""
        )


def split_returns(
    connection: duckdb.DuckDBPyConnection, rejects: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns to be looked at, and those of payments that are at rest since an earlier run. Nothing of the scope stands in
    recon.judged."""
    resting = frame(
        connection, "SELECT DISTINCT lower(payment_guid) AS guid_key FROM recon.judged WHERE at_rest"
    )
    rests = rejects.select(id_key("original_payment_guid").is_in(resting["guid_key"].implode())).to_series()
    rests = rests.fill_null(False)
    return rejects.filter(~rests), rejects.filter(rests)
