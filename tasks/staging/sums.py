"""Sums over whole tables that reconcile needs of payments it does not look at one by one (tasks.reconcile.apart)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import duckdb
import polars as pl

from tasks.reconcile import Rules
from tasks.reconcile.apart import BACK, CLOCK, DAYS, FOLDED, SUMS, WAITING, Apart
from tasks.reconcile.keys import id_key
from tasks.staging.query import frame, shaped

# Payments at rest: straight ones by their kinds (recon.kinds), those that came back and were reversed one by one.
_STATES = """SELECT state AS name, sum(rows)::BIGINT AS rows, sum(amount) AS amount FROM (
    SELECT state, rows, amount FROM recon.kinds
    UNION ALL SELECT state, 1, payment_amount FROM recon.judged WHERE at_rest) GROUP BY ALL"""
_DAYS = """SELECT payment_day, tender, settled, sum(rows)::BIGINT AS rows FROM (
    SELECT payment_day, tender, settled_date IS NOT NULL AS settled, rows FROM recon.kinds
    UNION ALL SELECT payment_day, tender, true, 1 FROM recon.judged WHERE at_rest) GROUP BY ALL"""
_WAITING = """SELECT payment_date, payment_day, tender, payment_amount FROM recon.sides JOIN recon.kinds USING (kind)
    WHERE kind IN (SELECT kind FROM recon.kinds WHERE settled_date IS NULL)"""
_RESTING = """
    SELECT payment_date, payment_day, posted_on, payment_amount, pushed_at FROM recon.sides JOIN recon.kinds USING (kind)
    WHERE payment_date >= $1::TIMESTAMPTZ
    UNION ALL SELECT payment_date, payment_day, posted_on, payment_amount, pushed_at FROM recon.judged
    WHERE at_rest AND payment_date >= $1::TIMESTAMPTZ"""
# No zone is off by less than a quarter of an hour: payments of one quarter move over midnight together.
_CLOCK = f"""SELECT min(payment_date) AS payment_date, payment_day, posted_on, count(*) AS rows FROM ({_RESTING})
    WHERE payment_date > $1::TIMESTAMPTZ GROUP BY payment_day, posted_on, epoch_us(payment_date) // 900_000_000"""
_PUSHED = f"""
    WITH due AS (SELECT payment_amount, pushed_at FROM ({_RESTING})
                 WHERE payment_date + to_microseconds($2::BIGINT) < $3::TIMESTAMPTZ)
    SELECT 'reported' AS name, count(*) AS rows, coalesce(sum(payment_amount), 0) AS amount FROM due
    UNION ALL SELECT 'pushed', count(*), coalesce(sum(payment_amount), 0) FROM due WHERE pushed_at IS NOT NULL
    UNION ALL SELECT 'lost', count(*), coalesce(sum(payment_amount), 0) FROM due WHERE pushed_at IS NULL"""
_RETURNED = "SELECT lower(payment_guid) AS guid_key, payment_day, tender FROM recon.judged WHERE at_rest"
# Grouped by one hash: five columns, two of them texts, take DuckDB half as long again.
_KEY = ("settled_batch_id", "settled_date", "transaction_type", "batch_total", "batch_item_count")
_NAMED = f"""
    SELECT {", ".join(f"any_value({name}) AS {name}" for name in _KEY)}, false AS excluded,
           count(*) AS rows, sum(settled_amount) AS settled_amount, coalesce(sum(fee_amount), 0) AS fee_amount,
           max(first_seen_at) AS first_seen_at, max(last_seen_at) AS last_seen_at
    FROM feed.settlements WHERE payment_guid IS NOT NULL GROUP BY hash({", ".join(_KEY)})"""
# Rows and money of what a run compares, and the items by all that the match rates ask for.
_COMPARED = {
    "payments": "SELECT count(*), coalesce(sum(payment_amount), 0) FROM feed.payments",
    "settlements": "SELECT count(*), coalesce(sum(settled_amount), 0) FROM feed.settlements",
    "ach_rejects": "SELECT count(*), coalesce(sum(reject_amount), 0) FROM feed.ach_rejects",
    "postings": "SELECT count(*), coalesce(sum(amount), 0) FROM imt.postings",
}
_MATCHING = """
    SELECT state, match_rule, break_codes, sum(rows)::BIGINT AS rows, sum(amount)::DECIMAL(18,2) AS payment_amount FROM (
        SELECT state, 'key1' AS match_rule, NULL AS break_codes, rows, amount FROM recon.kinds
        UNION ALL SELECT state, match_rule, break_codes, 1, payment_amount FROM recon.judged
        WHERE approved AND payment_amount > 0) GROUP BY ALL"""


def apart(
    connection: duckdb.DuckDBPyConnection, returned: pl.DataFrame, rules: Rules, as_of: datetime
) -> Apart:
    """Of the payments in recon.items that are at rest, and of all settled rows with a guid; `returned`: their returns."""
    since = as_of - timedelta(hours=rules.codes["B39"].within_hours)
    pushed = pl.DataFrame(schema=dict(SUMS))
    if rules.pump_since is not None:
        wait = round(rules.push_wait_hours * 3600 * 1_000_000)
        pushed = shaped(connection, _PUSHED, SUMS, [rules.pump_since, wait, as_of])
    return Apart(
        states=shaped(connection, _STATES, SUMS),
        days=shaped(connection, _DAYS, DAYS),
        waiting=shaped(connection, _WAITING, WAITING),
        clock=shaped(connection, _CLOCK, CLOCK, [since]),
        pushed=pushed,
        named=shaped(connection, _NAMED, FOLDED),
        returned=returned,
        back=_back(connection, returned),
    )


def _back(connection: duckdb.DuckDBPyConnection, returned: pl.DataFrame) -> pl.DataFrame:
    rows = shaped(connection, _RETURNED, {name: kind for name, kind in BACK.items() if name != "return_code"})
    codes = returned.select("return_code", guid_key=id_key("original_payment_guid"))
    return rows.join(codes, on="guid_key").select(list(BACK))


def compared(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """<table>_rows and <table>_amount (USD) of the four tables, as recon.runs has them."""
    found: dict[str, Any] = {}
    for table, sql in _COMPARED.items():
        found[f"{table}_rows"], found[f"{table}_amount"] = connection.execute(sql).fetchall()[0]
    return found


def matching(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """state, match_rule, break_codes, rows, payment_amount: recon.items of approved money in, summed."""
    return frame(connection, _MATCHING)
