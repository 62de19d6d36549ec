"""Payments that stand straight: one row on each side under one guid, equal to the cent, and nothing else asks for them.

They are found by set-based SQL where the rows lie, and never read into memory. What they come to is not decided
here: one payment of each day, tender and settled date goes through reconcile(), and the others of its kind follow.
"""

from __future__ import annotations

from datetime import datetime

import duckdb
import polars as pl

from tasks.reconcile import Inputs, Rules, reconcile
from tasks.reconcile.model import ITEMS, TIME
from tasks.staging.local_days import local_day_sql
from tasks.staging.query import from_us, scalar
from tasks.staging.rows import rows_by_number
from tasks.staging.scope import SIDES, plain_sql, read_again, read_by_number

_VERDICT = {
    name: ITEMS[name] for name in ("payment_day", "tender", "settled_date", "state", "state_reason", "due_by")
}
_AT_REST = ("MATCHED_PROVISIONAL", "MATCHED_FINAL", "IN_FLIGHT")
_MATES = "CASE WHEN invoice_number IS NOT NULL THEN hash(lower(invoice_number)) END"
# Payments of one day and tender, and with the settled date of one kind.
_GROUP = "hash({day}, tender)"
_KIND = "hash({group}, {settled})"
# Each side as numbers: texts would have to travel through the joins. `named`: account and invoice as written.
_NAMED = "hash(account_number, invoice_number) AS named, CASE WHEN agent_code IS NOT NULL THEN hash(agent_code) END AS agent"
_SIDE = {
    "payment": """SELECT {number} AS r, hash(lower(payment_guid)) AS h, {named}, payment_amount AS amount,
        payment_amount - {fee} AS net, payment_date, {group} AS grouped, payment_source = 'AUTOPAY' AS drawn, {mates} AS invoice,
        approved AND refund_of_guid IS NULL AND payment_amount > 0 AND payment_line_no IS NULL
            AND NOT list_contains($1::VARCHAR[], coalesce(status, '')) AND account_number > '' AND {is_plain} AS plain""",
    "posting": """SELECT {number} AS r, hash(lower(payment_guid)) AS h, {named}, amount, effective_date,
        kind = 'PAYMENT' AND status = 'POSTED' AND origin = 'IC' AS plain""",
    "settlement": """SELECT {number} AS r, hash(lower(payment_guid)) AS h, settled_amount AS amount, settled_date,
        transaction_type = 'PAYMENT' AS plain""",
    "push": """SELECT {number} AS r, hash(lower(payment_guid)) AS h, {named}, payment_amount AS amount, received_at,
        approved AND variant = 1 AS plain""",
}  # fmt: skip
# A full join, so that rows of one side alone are known as well: nothing may fall between.
_JOINED = """
    CREATE TEMP TABLE joined AS
    SELECT coalesce(p.h, b.h, s.h, x.h) AS h, p.r AS payment, b.r AS posting, s.r AS settlement, x.r AS push,
           b.effective_date, x.received_at, p.payment_date, p.invoice, p.amount, p.drawn,
           {kind} AS kind_key,
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
# Kinds that no earlier run has judged, with one payment of each.
_NEW_KINDS = """
    CREATE TEMP TABLE new_kinds AS
    SELECT min(payment) AS payment, arg_min(posting, payment) AS posting, arg_min(settlement, payment) AS settlement
    FROM temp.joined WHERE plain AND h NOT IN (SELECT h FROM temp.barred) GROUP BY kind_key
    HAVING kind_key NOT IN (SELECT kind_key FROM temp.kinds)"""
_ADD_KINDS = f"""
    INSERT INTO temp.kinds BY NAME
    SELECT *, $1 AS fee_apart, {_KIND.format(group=_GROUP.format(day="payment_day"), settled="settled_date")} AS kind_key,
           (SELECT coalesce(max(kind), 0) FROM temp.kinds)
           + row_number() OVER (ORDER BY payment_day, tender, settled_date) AS kind, 0 AS rows, 0 AS amount FROM verdicts"""
# What the next run knows the payments by. Row numbers stay: nothing is ever deleted from a table of versions.
_PLACED = """
    SELECT h, payment, posting, settlement, push, kind, amount AS payment_amount, payment_date,
           effective_date AS posted_on, received_at AS pushed_at
    FROM (SELECT j.*, CASE WHEN j.plain AND j.h NOT IN (SELECT h FROM temp.barred) THEN k.kind END AS kind
          FROM temp.joined j LEFT JOIN temp.kinds k USING (kind_key))"""
# Payments that have come to a kind, and those that left one that is still there.
_CAME = "SELECT kind, count(*) AS rows, sum(payment_amount) AS amount FROM {placed} WHERE kind IS NOT NULL GROUP BY kind"
_LEFT = """SELECT kind, -count(*), -sum(payment_amount) FROM temp.known
    WHERE kind IN (SELECT kind FROM recon.kinds) GROUP BY kind"""
# A kind that no payment is left of is judged anew when one comes: sums and days must not tell of it.
_KINDS = """
    CREATE TEMP TABLE moved AS SELECT kind, sum(rows) AS rows, sum(amount) AS amount FROM ({moved}) GROUP BY kind;
    DELETE FROM recon.kinds;
    INSERT INTO recon.kinds BY NAME SELECT k.* REPLACE (
        k.rows + coalesce(m.rows, 0) AS rows, (k.amount + coalesce(m.amount, 0))::DECIMAL(18,2) AS amount)
    FROM temp.kinds k LEFT JOIN temp.moved m USING (kind) WHERE k.rows + coalesce(m.rows, 0) > 0;
    DROP TABLE temp.moved"""


def set_apart(
    connection: duckdb.DuckDBPyConnection, polls: pl.DataFrame, rules: Rules, as_of: datetime, *, whole: bool,
    mates: bool, draws: bool,
) -> tuple[dict[str, pl.DataFrame], int]:  # fmt: skip
    """Writes what recon.items shows of payments that stand straight (recon.sides, recon.kinds); returns the rows of all
    others in scope (payments, postings, settlements, pushes), and how many of the scope stand straight.

    `mates`: what was owed is known, so several payments of one invoice are judged together; `draws`: AutoPay's among
    them. temp.asked and, unless `whole`, temp.fresh and temp.known are there; recon.sides holds nothing of the scope.
    """
    connection.execute("SET preserve_insertion_order = false")  # of rows that are known by their numbers
    _join(connection, rules, whole, mates)
    connection.execute(_BARRED)
    if mates:
        connection.execute(_TOGETHER, [draws])
    connection.execute("CREATE TEMP TABLE kinds AS FROM recon.kinds")
    connection.execute(_NEW_KINDS)
    if scalar(connection, "SELECT count(*) FROM temp.new_kinds"):
        connection.register("verdicts", _verdicts(connection, polls, rules, as_of, whole))
        connection.execute(_ADD_KINDS, [_is_fee_apart(rules)])
        connection.unregister("verdicts")
    placed = "recon.sides"
    moved = _CAME.format(placed=placed)
    if not whole:  # few beside those that stay: a table of their own to count them in
        placed = "temp.placed"
        moved = f"{_CAME.format(placed=placed)} UNION ALL {_LEFT}"
        connection.execute(f"CREATE TEMP TABLE placed AS {_PLACED}")
    connection.execute(f"INSERT INTO recon.sides BY NAME {_PLACED if whole else 'FROM temp.placed'}")
    connection.execute("RESET preserve_insertion_order; DROP TABLE temp.joined")
    connection.execute(_KINDS.format(moved=moved))
    rest = _rest(connection, placed, whole)
    straight = scalar(connection, f"SELECT count(kind) FROM {placed}")
    for name in ("barred", "kinds", "new_kinds", "placed"):
        connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
    return rest, straight


def _rest(connection: duckdb.DuckDBPyConnection, placed: str, whole: bool) -> dict[str, pl.DataFrame]:
    """Rows of payments that do not stand straight; temp.rest has h and their numbers."""
    connection.execute(
        f"CREATE TEMP TABLE rest AS SELECT h, {', '.join(SIDES)} FROM {placed} WHERE kind IS NULL"
    )
    if whole:
        for side in SIDES:
            read_by_number(connection, side, f"SELECT {side} FROM temp.rest", f"seen_{side}")
    return rows_by_number(connection, "FROM temp.rest")


def keep_open(connection: duckdb.DuckDBPyConnection) -> None:
    """Keeps the rows of payments that are not at rest after this run, so that the next one need not look for them all over
    the tables of versions. temp.rest and temp.seen_<side> are there, and go."""
    connection.execute(
        "DELETE FROM temp.rest WHERE h IN (SELECT hash(lower(payment_guid)) FROM recon.judged WHERE at_rest)"
    )
    for side in SIDES:
        connection.execute(
            f"""DELETE FROM recon.open_{side};
                INSERT INTO recon.open_{side} BY NAME
                FROM temp.seen_{side} WHERE rowid_ IN (SELECT {side} FROM temp.rest);
                DROP TABLE temp.seen_{side}"""
        )
    connection.execute("DROP TABLE temp.rest")


def _join(connection: duckdb.DuckDBPyConnection, rules: Rules, whole: bool, mates: bool) -> None:
    """temp.joined. Each side is a table of its own first: read inside of the join it takes twice as long."""
    parts = {
        "named": _NAMED, "fee": _fee(rules), "group": _GROUP.format(day=_day(connection, rules.zone)),
        "mates": _MATES if mates else "NULL", "is_plain": plain_sql("invoice_number") if mates else "true",
    }  # fmt: skip
    void = [*rules.void_statuses, *rules.returned_statuses]
    for side, (_, table, nameless) in SIDES.items():
        source, number = f"{table}_versions WHERE is_current AND present AND NOT {nameless}", "rowid"
        if not whole:
            numbers = (
                f"SELECT {side} FROM temp.known UNION ALL SELECT r FROM temp.fresh WHERE side = '{side}'"
            )
            read_again(connection, side, numbers)
            source, number = f"temp.seen_{side} WHERE NOT {nameless}", "rowid_"
        columns = _SIDE[side].format(number=number, **parts)
        sql = f"CREATE TEMP TABLE side_{side} AS {columns} FROM {source}"
        connection.execute(sql, [void] if side == "payment" else [])
    # Where nothing was pushed an outer join on that side would only cost time.
    pushed = scalar(connection, "SELECT count(*) FROM temp.side_push")
    kind = _KIND.format(group="p.grouped", settled="s.settled_date")
    connection.execute(_JOINED.format(pushes="FULL" if pushed else "LEFT", kind=kind))
    for side in SIDES:  # memory that the system need not find anew
        connection.execute(f"DROP TABLE temp.side_{side}")


def _day(connection: duckdb.DuckDBPyConnection, zone: str) -> str:
    ends = "SELECT epoch_us(min(payment_date)), epoch_us(max(payment_date)) FROM feed.payments_versions"
    first, last = connection.execute(ends).fetchall()[0]
    return (
        "NULL::DATE" if first is None else local_day_sql("payment_date", zone, from_us(first), from_us(last))
    )


def _is_fee_apart(rules: Rules) -> bool:
    return rules.fee_model == "payer_paid_included"


def _fee(rules: Rules) -> str:
    """What of the paid amount is not posted, as in compare.prepared."""
    return "coalesce(convenience_fee, 0)" if _is_fee_apart(rules) else "0"


def _verdicts(
    connection: duckdb.DuckDBPyConnection, polls: pl.DataFrame, rules: Rules, as_of: datetime, whole: bool
) -> pl.DataFrame:
    """payment_day, tender, settled_date, state, state_reason, due_by: one payment of each new kind, judged by reconcile().

    A kind whose verdict can change without a row or its due time is left out: its payments are looked at one by one.
    """
    if whole:
        for side in ("payment", "posting", "settlement"):
            read_by_number(connection, side, f"SELECT {side} FROM temp.new_kinds", f"seen_{side}")
    sides = rows_by_number(connection, "FROM temp.new_kinds", loose=False)
    if whole:
        connection.execute(
            "DROP TABLE temp.seen_payment; DROP TABLE temp.seen_posting; DROP TABLE temp.seen_settlement"
        )
    nothing = {"ach_rejects": pl.DataFrame()}
    items = reconcile(Inputs(**(sides | nothing), polls=polls), rules, as_of).items
    rests = pl.col("state").is_in(_AT_REST) & pl.col("break_codes").is_null()
    waits = (pl.col("state") == "MATCHED_FINAL") | (pl.col("due_by") > pl.lit(as_of, TIME)).fill_null(False)
    return items.filter(rests & waits).select(list(_VERDICT))
