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
from tasks.reconcile.model import ITEMS, TIME
from tasks.staging.query import scalar
from tasks.staging.rows import rows_by_number
from tasks.staging.scope import SIDES

_VERDICT = {
    name: ITEMS[name] for name in ("payment_day", "tender", "settled_date", "state", "state_reason", "due_by")
}
_AT_REST = ("MATCHED_PROVISIONAL", "MATCHED_FINAL", "IN_FLIGHT")
_PLAIN = "strlen({0}) = length({0}) AND right({0}, 1) <> ' '"  # its key is lower() of it, as in tasks.reconcile.keys
# Each side as numbers: texts would have to travel through the joins. `named`: account and invoice as written.
_NAMED = "hash(account_number, invoice_number) AS named, CASE WHEN agent_code IS NOT NULL THEN hash(agent_code) END AS agent"
_SIDE = {
    "payment": """SELECT {number} AS r, hash(lower(payment_guid)) AS h, {named}, payment_amount AS amount,
        payment_amount - {fee} AS net, tender, timezone($2, payment_date)::DATE AS payment_day,
        payment_source = 'AUTOPAY' AS drawn, CASE WHEN invoice_number IS NOT NULL THEN hash(lower(invoice_number)) END AS invoice,
        approved AND refund_of_guid IS NULL AND payment_amount > 0 AND payment_line_no IS NULL
            AND NOT list_contains($1::VARCHAR[], coalesce(status, ''))
            AND {account} AND (invoice_number IS NULL OR ({bill}))
            AND (processor_reference IS NULL OR ({reference} AND ascii(processor_reference) > 32)) AS plain""",
    "posting": """SELECT {number} AS r, hash(lower(payment_guid)) AS h, {named}, amount, effective_date,
        kind = 'PAYMENT' AND status = 'POSTED' AND origin = 'IC' AS plain""",
    "settlement": """SELECT {number} AS r, hash(lower(payment_guid)) AS h, settled_amount AS amount, settled_date,
        settled_batch_id, transaction_type = 'PAYMENT' AS plain""",
    "push": """SELECT {number} AS r, hash(lower(payment_guid)) AS h, {named}, payment_amount AS amount, received_at,
        approved AND variant = 1 AS plain""",
}  # fmt: skip
# A full join, so that rows of one side alone are known as well: nothing may fall between.
_JOINED = """
    CREATE TEMP TABLE joined AS
    SELECT coalesce(p.h, b.h, s.h, x.h) AS h, p.r AS payment, b.r AS posting, s.r AS settlement, x.r AS push,
           b.effective_date, s.settled_date, s.settled_batch_id, x.received_at, p.tender, p.payment_day, p.invoice, p.amount,
           p.drawn,
           coalesce(p.plain AND b.plain AND b.amount = p.net AND b.named = p.named AND coalesce(b.agent = p.agent, true)
               AND (s.r IS NULL OR (s.plain AND s.amount = p.amount))
               AND (x.r IS NULL OR (x.plain AND x.amount = p.amount AND x.named = p.named
                                    AND coalesce(x.agent = p.agent, true))), false) AS plain
    FROM side_payment p FULL JOIN side_posting b ON b.h = p.h
         FULL JOIN side_settlement s ON s.h = coalesce(p.h, b.h)
         {pushes} JOIN side_push x ON x.h = coalesce(p.h, b.h, s.h)"""
# Not straight, however plain: more than one row on a side (or two guids of one hash), and what other rows ask for.
_BARRED = """
    CREATE TEMP TABLE barred AS
    SELECT h FROM temp.joined GROUP BY h HAVING count(*) > 1
    UNION SELECT hash(guid_key) FROM temp.asked WHERE guid_key IS NOT NULL"""
# Two payments of one invoice in one amount (B04), or of one that AutoPay drew (B35), are judged with all others of it.
_TOGETHER = """
    INSERT INTO temp.barred SELECT DISTINCT h FROM temp.joined WHERE invoice IN (
        SELECT invoice FROM temp.joined WHERE invoice IS NOT NULL GROUP BY invoice, amount HAVING count(*) > 1
        UNION SELECT invoice FROM temp.joined WHERE $1 AND invoice IS NOT NULL
        GROUP BY invoice HAVING count(*) > 1 AND bool_or(drawn))"""
_STRAIGHT = "j.plain AND j.h NOT IN (SELECT h FROM temp.barred)"
_KINDS = f"""
    CREATE TEMP TABLE kinds AS
    SELECT payment_day, tender, settled_date, min(payment) AS payment, arg_min(posting, payment) AS posting,
           arg_min(settlement, payment) AS settlement
    FROM temp.joined j WHERE {_STRAIGHT} GROUP BY payment_day, tender, settled_date"""
_SAME_KIND = """k.payment_day = j.payment_day AND k.tender IS NOT DISTINCT FROM j.tender
    AND k.settled_date IS NOT DISTINCT FROM j.settled_date"""
_UNJUDGED = f"""
    INSERT INTO temp.barred SELECT j.h FROM temp.joined j JOIN (
        SELECT payment_day, tender, settled_date FROM temp.kinds
        EXCEPT SELECT payment_day, tender, settled_date FROM verdicts) k ON {_SAME_KIND} WHERE {_STRAIGHT}"""
_ITEMS = f"""
    INSERT INTO recon.items BY NAME
    SELECT v.payment_guid, v.account_number, v.invoice_number, v.payment_amount, v.convenience_fee, v.approved, v.tender,
           v.payment_source, v.agent_code, v.payment_date, j.payment_day, j.received_at AS pushed_at,
           v.payment_amount - {{fee}} AS posted_amount, j.effective_date AS posted_on, 0.00 AS reversed_amount,
           CASE WHEN j.settled_date IS NULL THEN 0.00 ELSE v.payment_amount END AS settled_amount, j.settled_date,
           j.settled_batch_id, 0.00 AS returned_amount, 'key1' AS match_rule, k.state, k.state_reason, k.due_by,
           true AS at_rest
    FROM temp.joined j JOIN feed.payments_versions v ON v.rowid = j.payment JOIN verdicts k ON {_SAME_KIND}
    WHERE {_STRAIGHT}"""
# What the next run knows the payments by. Row numbers stay: nothing is ever deleted from a table of versions.
_SIDES = f"""
    INSERT INTO recon.sides SELECT h, payment, posting, settlement, push, {_STRAIGHT} FROM temp.joined j"""
_REST = f"CREATE TEMP TABLE rest AS SELECT payment, posting, settlement, push FROM temp.joined j WHERE NOT ({_STRAIGHT})"
_MADE = (
    "joined",
    "barred",
    "kinds",
    "rest",
    *(f"{word}_{side}" for side in SIDES for word in ("seen", "side")),
)


def set_apart(
    connection: duckdb.DuckDBPyConnection, polls: pl.DataFrame, rules: Rules, as_of: datetime, *, whole: bool,
    mates: bool, draws: bool,
) -> dict[str, pl.DataFrame]:  # fmt: skip
    """Writes recon.items of the payments that stand straight; returns the rows of all others in scope, with those that
    name no payment: payments, postings, settlements, pushes.

    `mates`: what was owed is known, so several payments of one invoice are judged together; `draws`: AutoPay's among
    them. temp.asked is there and, unless `whole`, temp.scope; recon.items and recon.sides hold nothing of the scope.
    """
    _join(connection, rules, whole)
    connection.execute(_BARRED)
    if mates:
        connection.execute(_TOGETHER, [draws])
    connection.register("verdicts", _verdicts(connection, polls, rules, as_of))
    connection.execute(_UNJUDGED)
    written = connection.execute(_ITEMS.format(fee=_fee(rules))).fetchall()[0][0]
    connection.unregister("verdicts")
    straight = scalar(connection, f"SELECT count(*) FROM temp.joined j WHERE {_STRAIGHT}")
    if straight != written:
        raise ControlTotalError(f"{straight} payments stand straight, {written} were written")
    connection.execute(_SIDES)
    connection.execute(_REST)
    rest = rows_by_number(connection, "temp.rest", nameless=True)
    for name in _MADE:
        connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
    return rest


def _join(connection: duckdb.DuckDBPyConnection, rules: Rules, whole: bool) -> None:
    """temp.joined. Each side is a table of its own first: read inside of the join it takes twice as long."""
    names = {"account": "account_number", "bill": "invoice_number", "reference": "processor_reference"}
    plain = {name: _PLAIN.format(column) for name, column in names.items()}
    void = [*rules.void_statuses, *rules.returned_statuses]
    for side, (table, named) in SIDES.items():
        source, number = f"{table}_versions", "rowid"
        if not whole:  # read by their numbers first: a condition besides would have them searched
            connection.execute(
                f"""CREATE TEMP TABLE seen_{side} AS SELECT rowid AS rowid_, * FROM {source}
                    WHERE rowid IN (SELECT r FROM temp.numbers WHERE side = '{side}')"""
            )
            source, number = f"temp.seen_{side}", "rowid_"
        columns = _SIDE[side].format(number=number, named=_NAMED, fee=_fee(rules), **plain)
        sql = f"CREATE TEMP TABLE side_{side} AS {columns} FROM {source} WHERE is_current AND present AND {named}"
        connection.execute(sql, [void, rules.zone] if side == "payment" else [])
    # Where nothing was pushed an outer join on that side would only cost time.
    pushed = scalar(connection, "SELECT count(*) FROM temp.side_push")
    connection.execute(_JOINED.format(pushes="FULL" if pushed else "LEFT"))


def _fee(rules: Rules) -> str:
    """What of the paid amount is not posted, as in compare.prepared."""
    included = rules.fee_model == "payer_paid_included"
    return "coalesce(convenience_fee, 0)" if included else "0"


def _verdicts(
    connection: duckdb.DuckDBPyConnection, polls: pl.DataFrame, rules: Rules, as_of: datetime
) -> pl.DataFrame:
    """payment_day, tender, settled_date, state, state_reason, due_by: one payment of each kind, judged by reconcile().

    A kind whose verdict can change without a row or its due time is left out: its payments are looked at one by one.
    """
    connection.execute(_KINDS)
    if not scalar(connection, "SELECT count(*) FROM temp.kinds"):
        return pl.DataFrame(schema=_VERDICT)
    sides = rows_by_number(connection, "temp.kinds")
    nothing = {"ach_rejects": pl.DataFrame()}
    items = reconcile(Inputs(**(sides | nothing), polls=polls), rules, as_of).items
    rests = pl.col("state").is_in(_AT_REST) & pl.col("break_codes").is_null()
    waits = (pl.col("state") == "MATCHED_FINAL") | (pl.col("due_by") > pl.lit(as_of, TIME)).fill_null(False)
    return items.filter(rests & waits).select(list(_VERDICT))
