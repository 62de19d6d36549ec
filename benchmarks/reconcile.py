"""Ten million payments reconciled, beside the same joins in DuckDB SQL and pandas merges; each in a fresh process.

Payments against as many postings and settlements, and a return for each hundredth; nearly all match, as on any day.
SQL and pandas do the joins by GUID and name a state for each payment, no more: no calendar, no weaker keys, no breaks.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

BIG, _PANDAS, _NEW, _CORES = 10_000_000, 3_000_000, 10_000, 2
_MOST_SQL, _LEAST_PANDAS, _MOST_AGAIN, _MOST_GIB = 2.0, 4.0, 0.1, 20.0
AS_OF = datetime(2026, 10, 30, 23, tzinfo=UTC)
_STATES = """
WITH booked AS (SELECT payment_guid, count(*) AS postings, sum(amount) AS posted FROM postings
                WHERE status = 'POSTED' GROUP BY payment_guid),
     settled AS (SELECT payment_guid, sum(settled_amount) AS settled, max(settled_date) AS settled_date
                 FROM settlements WHERE transaction_type = 'PAYMENT' GROUP BY payment_guid),
     back AS (SELECT original_payment_guid AS payment_guid, sum(reject_amount) AS returned, max(reject_date) AS at
              FROM ach_rejects GROUP BY original_payment_guid)
SELECT p.*, posted, settled, settled_date, returned, b.at AS reject_date,
       CASE WHEN NOT approved THEN 'EXPLAINED' WHEN posted IS NULL THEN 'MISSING' WHEN settled IS NULL THEN 'UNSETTLED'
            WHEN posted <> payment_amount - coalesce(returned, 0) THEN 'AMOUNT'
            WHEN returned IS NOT NULL THEN 'RETURNED' ELSE 'MATCHED' END AS state
FROM payments p LEFT JOIN booked USING (payment_guid) LEFT JOIN settled USING (payment_guid)
     LEFT JOIN back b USING (payment_guid)
"""
Row = tuple[str, str, str, str, str]


def frames(number: int) -> dict[str, pl.DataFrame]:
    """`number` payments over sixty days with postings, settlements and returns, every 10,000th not posted."""
    from tasks.reconcile.model import MONEY, SCHEMAS, TIME

    n = pl.int_range(number, dtype=pl.Int64)
    digits = n.cast(pl.String).str.zfill(12)
    at = pl.lit(AS_OF - timedelta(days=75), TIME) + pl.duration(seconds=n * 5_000_000 // max(number, 1))
    own = {
        "payment_guid": pl.concat_str(pl.lit("00000000-0000-4000-8000-"), digits),
        "processor_reference": pl.concat_str(pl.lit("PR"), digits),
        "account_number": pl.concat_str(pl.lit("00"), (n % 400_000).cast(pl.String).str.zfill(8)),
        "invoice_number": pl.concat_str(pl.lit("INV-"), digits),
        "amount": ((n * 7919 % 50_000 + 100).cast(MONEY) / 100).cast(MONEY),
        "tender": pl.when(n % 2 == 0).then(pl.lit("EFT")).otherwise(pl.lit("CARD")),
        "at": at, "n": n,
    }  # fmt: skip
    base = pl.select(value.alias(name) for name, value in own.items())
    day = pl.col("at").dt.date() + pl.duration(days=3)
    payments = base.with_columns(
        payment_date="at", payment_amount="amount", approved=pl.lit(True), first_seen_at=pl.col("at")
    )
    posted = base.filter(pl.col("n") % 10_000 != 7).with_columns(
        posting_id=pl.concat_str(pl.lit("P"), pl.col("n").cast(pl.String)), kind=pl.lit("PAYMENT"),
        origin=pl.lit("IC"), status=pl.lit("POSTED"), posted_at=pl.col("at") + timedelta(minutes=20),
        effective_date=pl.col("at").dt.date(),
    )  # fmt: skip
    settled = base.with_columns(
        settled_batch_id=pl.concat_str(pl.lit("B"), day.cast(pl.String)), settled_date=day,
        settled_amount="amount", transaction_type=pl.lit("PAYMENT"), first_seen_at="at", last_seen_at="at",
    )  # fmt: skip
    batch = "settled_batch_id"
    settled = settled.with_columns(
        batch_total=pl.col("amount").sum().over(batch).cast(MONEY),
        batch_item_count=pl.len().over(batch).cast(pl.Int32),
    )
    back = base.filter((pl.col("n") % 100 == 4) & (pl.col("tender") == "EFT")).with_columns(
        reject_date=pl.col("at") + timedelta(days=4), original_payment_guid="payment_guid",
        original_payment_date="at", reject_amount="amount", return_code=pl.lit("R01"),
        reject_sequence=pl.lit(1, pl.Int32),
    )  # fmt: skip
    undone = back.with_columns(
        posting_id=pl.concat_str(pl.lit("R"), pl.col("n").cast(pl.String)), kind=pl.lit("REVERSAL"), reason=pl.lit("NSF"),
        origin=pl.lit("IC"), status=pl.lit("POSTED"), posted_at=pl.col("reject_date") + timedelta(hours=3),
        effective_date=pl.col("reject_date").dt.date(), amount=-pl.col("amount"),
    )  # fmt: skip
    parts = {"payments": payments, "settlements": settled, "ach_rejects": back}
    shaped = {name: _shaped(rows, SCHEMAS[name]) for name, rows in parts.items()}
    shaped["postings"] = pl.concat([_shaped(rows, SCHEMAS["postings"]) for rows in (posted, undone)])
    polls = [
        {"feed": feed, "window_from": AS_OF - timedelta(days=90), "window_to": AS_OF, "covered_to": AS_OF,
         "requested_at": AS_OF, "finished_at": AS_OF, "status": "ok"}
        for feed in ("payments", "settlements", "ach_rejects", "postings", "autopay", "paperless")
    ]  # fmt: skip
    return shaped | {"polls": _shaped(pl.DataFrame(polls), SCHEMAS["polls"])}


def _shaped(rows: pl.DataFrame, schema: Any) -> pl.DataFrame:
    absent = [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in rows.columns]
    return rows.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in schema.items())


def ours(tables: dict[str, pl.DataFrame]) -> dict[str, int]:
    """tasks.reconcile on the whole: all verdicts, breaks and totals."""
    from tasks.reconcile import Inputs, load_rules, reconcile

    outcome = reconcile(Inputs(**tables), load_rules({"zone": "America/Chicago"}), AS_OF)
    return {"items": outcome.items.height, "breaks": outcome.breaks.height}


def sql(tables: dict[str, pl.DataFrame]) -> dict[str, int]:
    """The joins in DuckDB on the same frames, kept as a table in memory."""
    import duckdb

    with duckdb.connect(config={"threads": _CORES}) as connection:
        for name, rows in tables.items():
            connection.register(name, rows)
        connection.execute(f"CREATE TABLE items AS {_STATES}")
        found = connection.execute(
            "SELECT count(*), count(*) FILTER (state = 'MISSING') FROM items"
        ).fetchall()
    return {"items": found[0][0], "breaks": found[0][1]}


def pandas_merges(tables: dict[str, pl.DataFrame]) -> dict[str, int]:
    """The joins as pandas merges; amounts as whole cents, for pandas sums decimals one by one."""
    cents = {
        name: rows.with_columns((pl.col(pl.Decimal) * 100).cast(pl.Int64)).to_pandas()
        for name, rows in tables.items()
        if name != "polls"
    }
    postings, settled, back = cents["postings"], cents["settlements"], cents["ach_rejects"]
    booked = postings[postings["status"] == "POSTED"].groupby("payment_guid", as_index=False)["amount"].sum()
    paid = settled.groupby("payment_guid", as_index=False).agg(
        {"settled_amount": "sum", "settled_date": "max"}
    )
    returned = back.groupby("original_payment_guid", as_index=False)["reject_amount"].sum()
    items = (
        cents["payments"]
        .merge(booked, on="payment_guid", how="left")
        .merge(paid, on="payment_guid", how="left")
    )
    items = items.merge(returned, left_on="payment_guid", right_on="original_payment_guid", how="left")
    return {"items": len(items), "breaks": int(items["amount"].isna().sum())}


WAYS: dict[str, Callable[[dict[str, pl.DataFrame]], dict[str, int]]] = {
    "icflows": ours, "sql": sql, "pandas": pandas_merges
}  # fmt: skip


def contest(way: str, number: int, runs: int) -> dict[str, float]:
    """Best time of some runs in a process of its own: seconds, peak_gib, items, breaks. Making the rows is not timed."""
    call = [sys.executable, "-m", "benchmarks.reconcile", way, str(number), "--runs", str(runs)]
    env = os.environ | {"POLARS_MAX_THREADS": str(_CORES)}
    done = subprocess.run(call, env=env, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def section(number: int = BIG, runs: int = 1) -> list[Row]:
    """Rows of the table: what, measured, ratio, target, met."""
    mine, plain = contest("icflows", number, runs), contest("sql", number, runs)
    again = contest("icflows", number + _NEW, runs)
    ratio, more, peak = (
        mine["seconds"] / plain["seconds"],
        again["seconds"] / mine["seconds"],
        max(mine["peak_gib"], again["peak_gib"]),
    )
    rows: list[Row] = [
        (f"{number:,} payments reconciled, {mine['breaks']:.0f} breaks", f"{mine['seconds']:.1f} s",
         f"{ratio:.2f} × the joins in DuckDB SQL ({plain['seconds']:.1f} s)", f"≤ {_MOST_SQL:g} ×", _met(ratio <= _MOST_SQL)),
        ("  peak memory, the rows among it", f"{peak:.1f} GiB", "", f"< {_MOST_GIB:g} GiB", _met(peak < _MOST_GIB)),
        (f"  the next run, after {_NEW:,} new rows", f"{again['seconds']:.1f} s", f"{more:.2f} × the full run",
         f"≤ {_MOST_AGAIN:g} ×", _met(more <= _MOST_AGAIN)),
    ]  # fmt: skip
    return [*rows, _beside_pandas(min(number, _PANDAS), runs)]


def _beside_pandas(number: int, runs: int) -> Row:
    if importlib.util.find_spec("pandas") is None:
        return (
            f"  pandas merges of {number:,}",
            "–",
            "pandas is not installed: left out",
            f"≥ {_LEAST_PANDAS:g} ×",
            "–",
        )
    mine, theirs = contest("icflows", number, runs), contest("pandas", number, runs)
    ratio = theirs["seconds"] / mine["seconds"]
    return (f"  {number:,} payments: pandas merges {theirs['seconds']:.1f} s", f"{mine['seconds']:.1f} s",
            f"icflows {ratio:.1f} × faster", f"≥ {_LEAST_PANDAS:g} ×", _met(ratio >= _LEAST_PANDAS))  # fmt: skip


def _met(is_met: bool) -> str:
    return "yes" if is_met else "no"


def main() -> int:
    """One contestant: prints its figures as JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.reconcile")
    parser.add_argument("way", choices=sorted(WAYS))
    parser.add_argument("number", type=int)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    tables, best, found = frames(options.number), float("inf"), {}
    for _ in range(options.runs):
        started = time.perf_counter()
        found = WAYS[options.way](tables)
        best = min(best, time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": best, "peak_gib": peak, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
