"""Payments that stand straight: one row on each side under one guid, equal to the cent, and nothing else asks for them.

They are found by set-based SQL where the rows lie, and never read into memory. What they come to is not decided
here: one payment of each day, tender and settled date goes through reconcile(), and the others of its kind follow.
"""

from __future__ import annotations

from datetime import datetime

import duckdb
import polars as pl

from tasks.errors import ControlTotalError
from tasks.reconcile import Inputs, Rules, reconcile
from tasks.reconcile.model import TIME
from tasks.staging.query import scalar
from tasks.staging.rows import rows_by_number
from tasks.staging.scope import SIDES

_KIND = ("payment_day", "tender", "settled_date")
_AT_REST = ("MATCHED_PROVISIONAL", "MATCHED_FINAL", "IN_FLIGHT")
_PLAIN = "strlen({0}) = length({0}) AND right({0}, 1) <> ' '"  # its key is lower() of it, as in tasks.reconcile.keys
_SETTLED = """s.r IS NULL OR (s.payment_guid = p.payment_guid AND s.transaction_type = 'PAYMENT'
              AND s.settled_amount = p.payment_amount)"""
_PUSHED = """x.r IS NULL OR (x.account_number IS NOT DISTINCT FROM p.account_number
             AND x.invoice_number IS NOT DISTINCT FROM p.invoice_number AND x.approved AND x.variant = 1
             AND x.payment_amount = p.payment_amount
             AND coalesce(x.agent_code = p.agent_code, true))"""
_SIDE = "{letter} AS (SELECT {number} AS r, hash(lower(payment_guid)) AS h, * FROM {table} WHERE {where})"
_LETTERS = {"payment": "p", "posting": "b", "settlement": "s", "push": "x"}
# A full join, so that rows of one side alone are known as well: nothing may fall between. By hashes, which are quicker
# than texts; rows of two guids that share one are no straight payment.
_JOINED = """
    CREATE TEMP TABLE joined AS WITH {sides}
    SELECT coalesce(p.h, b.h, s.h, x.h) AS h, p.r AS payment, b.r AS posting, s.r AS settlement, x.r AS push,
           b.effective_date, s.settled_date, s.settled_batch_id, x.received_at, p.tender, p.payment_date,
           CASE WHEN p.invoice_number IS NOT NULL THEN hash(lower(p.invoice_number)) END AS invoice,
           p.payment_amount AS amount, p.payment_source AS source,
           coalesce(p.approved AND p.refund_of_guid IS NULL AND p.payment_amount > 0 AND p.payment_line_no IS NULL
               AND NOT list_contains($1::VARCHAR[], coalesce(p.status, ''))
               AND {account} AND (p.invoice_number IS NULL OR ({invoice}))
               AND (p.processor_reference IS NULL OR ({reference} AND ascii(p.processor_reference) > 32))
               AND b.payment_guid = p.payment_guid AND b.kind = 'PAYMENT' AND b.status = 'POSTED' AND b.origin = 'IC'
               AND b.amount = p.payment_amount - {fee} AND b.account_number = p.account_number
               AND b.invoice_number IS NOT DISTINCT FROM p.invoice_number AND coalesce(b.agent_code = p.agent_code, true)
               AND ({settled}) AND ({pushed}), false) AS plain
    FROM p FULL JOIN b ON b.h = p.h
           FULL JOIN s ON s.h = coalesce(p.h, b.h)
           FULL JOIN x ON x.h = coalesce(p.h, b.h, s.h)"""
# Two payments of one invoice in one amount (B04), or of one that AutoPay drew (B35), are judged with all others of it.
_TOGETHER = """
    CREATE TEMP TABLE together AS
    SELECT invoice FROM temp.joined WHERE invoice IS NOT NULL GROUP BY invoice, amount HAVING count(*) > 1
    UNION SELECT invoice FROM temp.joined WHERE $1 AND invoice IS NOT NULL
    GROUP BY invoice HAVING count(*) > 1 AND bool_or(source = 'AUTOPAY')"""
_ALONE = "AND (invoice IS NULL OR invoice NOT IN (SELECT invoice FROM temp.together))"
_STRAIGHT = """
    CREATE TEMP TABLE straight AS
    SELECT h, payment, posting, settlement, effective_date, settled_date, settled_batch_id, received_at, tender,
           timezone($1, payment_date)::DATE AS payment_day
    FROM temp.joined
    WHERE plain AND h NOT IN (SELECT h FROM temp.joined GROUP BY h HAVING count(*) > 1)
      AND h NOT IN (SELECT hash(guid_key) FROM temp.asked WHERE guid_key IS NOT NULL) {alone}"""
_KINDS = """
    CREATE TEMP TABLE kinds AS
    SELECT payment_day, tender, settled_date, min(payment) AS payment, arg_min(posting, payment) AS posting,
           arg_min(settlement, payment) AS settlement FROM temp.straight GROUP BY payment_day, tender, settled_date"""
_ITEMS = """
    INSERT INTO recon.items BY NAME
    SELECT v.payment_guid, v.account_number, v.invoice_number, v.payment_amount, v.convenience_fee, v.approved, v.tender,
           v.payment_source, v.agent_code, v.payment_date, s.payment_day, s.received_at AS pushed_at,
           v.payment_amount - {fee} AS posted_amount, s.effective_date AS posted_on, 0.00 AS reversed_amount,
           CASE WHEN s.settled_date IS NULL THEN 0.00 ELSE v.payment_amount END AS settled_amount, s.settled_date,
           s.settled_batch_id, 0.00 AS returned_amount, 'key1' AS match_rule, k.state, k.state_reason, k.due_by,
           true AS straight
    FROM temp.straight s JOIN feed.payments_versions v ON v.rowid = s.payment
         JOIN verdicts k ON k.payment_day = s.payment_day AND k.tender IS NOT DISTINCT FROM s.tender
              AND k.settled_date IS NOT DISTINCT FROM s.settled_date"""
_UNJUDGED = """
    DELETE FROM temp.straight s WHERE NOT EXISTS (
        SELECT 1 FROM verdicts k WHERE k.payment_day = s.payment_day AND k.tender IS NOT DISTINCT FROM s.tender
            AND k.settled_date IS NOT DISTINCT FROM s.settled_date)"""
# What the next run knows the payments by. Row numbers stay: nothing is ever deleted from a table of versions.
_SIDES = """
    INSERT INTO recon.sides
    SELECT h, payment, posting, settlement, push, h IN (SELECT h FROM temp.straight) FROM temp.joined"""
_MADE = ("joined", "straight", "kinds", "together", *(f"seen_{side}" for side in SIDES))


def set_apart(
    connection: duckdb.DuckDBPyConnection, polls: pl.DataFrame, rules: Rules, as_of: datetime, *, whole: bool,
    mates: bool, draws: bool,
) -> dict[str, pl.DataFrame]:  # fmt: skip
    """Writes recon.items of the payments that stand straight; returns the rows of all others in scope, with those that
    name no payment: payments, postings, settlements, pushes.

    `mates`: what was owed is known, so several payments of one invoice are judged together; `draws`: AutoPay's among
    them. temp.asked is there and, unless `whole`, temp.scope; recon.items and recon.sides hold nothing of
    the scope.
    """
    _join(connection, rules, whole)
    if mates:
        connection.execute(_TOGETHER, [draws])
    connection.execute(_STRAIGHT.format(alone=_ALONE if mates else ""), [rules.zone])
    connection.register("verdicts", _verdicts(connection, polls, rules, as_of))
    written = connection.execute(_ITEMS.format(fee=_fee(rules, "v"))).fetchall()[0][0]
    connection.execute(_UNJUDGED)
    connection.unregister("verdicts")
    kept = scalar(connection, "SELECT count(*) FROM temp.straight")
    if kept != written:
        raise ControlTotalError(f"{kept} payments stand straight, {written} were written")
    connection.execute(_SIDES)
    connection.execute("DELETE FROM temp.joined WHERE h IN (SELECT h FROM temp.straight)")
    rest = rows_by_number(connection, "temp.joined", nameless=True)
    for name in _MADE:
        connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
    return rest


def _join(connection: duckdb.DuckDBPyConnection, rules: Rules, whole: bool) -> None:
    sides = []
    for side, (table, named) in SIDES.items():
        source, where = f"{table}_versions", f"is_current AND present AND {named}"
        if not whole:  # read by their numbers first: the join would have them searched
            connection.execute(
                f"""CREATE TEMP TABLE seen_{side} AS SELECT rowid AS rowid_, * FROM {source}
                    WHERE rowid IN (SELECT r FROM temp.numbers WHERE side = '{side}')"""
            )
            source = f"temp.seen_{side}"
        number = "rowid" if whole else "rowid_"
        sides.append(_SIDE.format(letter=_LETTERS[side], number=number, table=source, where=where))
    names = {"account": "account_number", "invoice": "invoice_number", "reference": "processor_reference"}
    sql = _JOINED.format(
        sides=", ".join(sides),
        fee=_fee(rules, "p"),
        settled=_SETTLED,
        pushed=_PUSHED,
        **{name: _PLAIN.format(f"p.{column}") for name, column in names.items()},
    )
    connection.execute(sql, [[*rules.void_statuses, *rules.returned_statuses]])


def _fee(rules: Rules, table: str) -> str:
    """What of the paid amount is not posted, as in compare.prepared."""
    included = rules.fee_model == "payer_paid_included"
    return f"coalesce({table}.convenience_fee, 0)" if included else "0"


def _verdicts(
    connection: duckdb.DuckDBPyConnection, polls: pl.DataFrame, rules: Rules, as_of: datetime
) -> pl.DataFrame:
    """payment_day, tender, settled_date, state, state_reason, due_by: one payment of each kind, judged by reconcile().

    A kind whose verdict can change without a row or its due time is left out: its payments are looked at one by one.
    """
    connection.execute(_KINDS)
    sides = rows_by_number(connection, "temp.kinds")
    nothing = {"ach_rejects": pl.DataFrame()}
    items = reconcile(Inputs(**(sides | nothing), polls=polls), rules, as_of).items
    rests = pl.col("state").is_in(_AT_REST) & pl.col("break_codes").is_null()
    waits = (pl.col("state") == "MATCHED_FINAL") | (pl.col("due_by") > pl.lit(as_of, TIME)).fill_null(False)
    return items.filter(rests & waits).select(*_KIND, "state", "state_reason", "due_by")
