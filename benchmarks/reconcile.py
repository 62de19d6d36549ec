"""Ten million payments reconciled in a staging file, beside the same joins in DuckDB SQL and pandas merges.

Payments against as many postings and settlements, and a return for each hundredth; nearly all match, as on any day.
Each contestant has a process and a copy of the file of its own; making the rows is not timed. icflows reads staging and
writes verdicts, breaks, totals, history and figures (of a payment that stands straight its row number and its kind:
recon.items is a view); SQL and pandas write one table with the columns of recon.items that they can fill. Neither knows a
calendar, weaker keys or breaks. Of each figure the best of three rounds counts, for memory that the system has to find
first costs whoever comes first.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.reconcile_rows import AS_OF, add_polls, add_rows

BIG, _PANDAS, _NEW, _CORES, _ROUNDS = 10_000_000, 3_000_000, 10_000, 2, 3
_MOST_SQL, _LEAST_PANDAS, _MOST_AGAIN, _MOST_GIB = 2.0, 4.0, 0.1, 20.0
_SETTINGS = """
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:ACME_WEB_SERVICE_KEY"
base_url = "http://127.0.0.1:9"
time_zone = "America/Chicago"
"""
_JOINS = """
CREATE TABLE joined AS
WITH booked AS (SELECT payment_guid, count(*) AS postings, sum(amount) AS posted_amount, max(effective_date) AS posted_on
                FROM imt.postings WHERE status = 'POSTED' GROUP BY payment_guid),
     settled AS (SELECT payment_guid, sum(settled_amount) AS settled_amount, max(settled_date) AS settled_date,
                        any_value(settled_batch_id) AS settled_batch_id
                 FROM feed.settlements WHERE transaction_type = 'PAYMENT' GROUP BY payment_guid),
     back AS (SELECT original_payment_guid AS payment_guid, sum(reject_amount) AS returned_amount, max(reject_date) AS reject_date
              FROM feed.ach_rejects GROUP BY original_payment_guid)
SELECT p.payment_guid, p.payment_line_no, p.account_number, p.invoice_number, p.payment_amount, p.convenience_fee, p.approved,
       p.tender, p.payment_source, p.agent_code, p.payment_date, posted_amount, posted_on, settled_amount, s.settled_date,
       s.settled_batch_id, returned_amount, reject_date,
       CASE WHEN NOT approved THEN 'EXPLAINED' WHEN posted_amount IS NULL THEN 'MISSING' WHEN settled_amount IS NULL THEN 'UNSETTLED'
            WHEN posted_amount <> payment_amount - coalesce(returned_amount, 0) THEN 'AMOUNT'
            WHEN returned_amount IS NOT NULL THEN 'RETURNED' ELSE 'MATCHED' END AS state
FROM feed.payments p LEFT JOIN booked USING (payment_guid) LEFT JOIN settled s USING (payment_guid)
     LEFT JOIN back USING (payment_guid)
"""
_FRAMES = {
    "payments": """SELECT payment_guid, payment_line_no, account_number, invoice_number, (payment_amount * 100)::BIGINT AS paid,
        (convenience_fee * 100)::BIGINT AS fee, approved, tender, payment_source, agent_code, payment_date
        FROM feed.payments""",
    "postings": """SELECT payment_guid, (amount * 100)::BIGINT AS posted_amount, effective_date AS posted_on FROM imt.postings
        WHERE status = 'POSTED'""",
    "settled": """SELECT payment_guid, (settled_amount * 100)::BIGINT AS settled_amount, settled_date, settled_batch_id
        FROM feed.settlements WHERE transaction_type = 'PAYMENT'""",
    "back": """SELECT original_payment_guid AS payment_guid, (reject_amount * 100)::BIGINT AS returned_amount, reject_date
        FROM feed.ach_rejects""",
}
_SUMS = {
    "postings": {"posted_amount": "sum", "posted_on": "max"},
    "settled": {"settled_amount": "sum", "settled_date": "max", "settled_batch_id": "max"},
    "back": {"returned_amount": "sum", "reject_date": "max"},
}
Row = tuple[str, str, str, str, str]


def _settings(folder: Path) -> Any:
    from tasks.settings import load_settings

    (folder / "icflows.toml").write_text(_SETTINGS)
    return load_settings(folder / "icflows.toml")


def make(folder: Path, number: int) -> Path:
    """A staging file of `number` payments below `folder`; its path."""
    from tasks.pull import staging_of

    staging = staging_of(_settings(folder), "acme")
    with staging.open() as connection:
        connection.begin()
        add_polls(connection)
        add_rows(connection, 0, number, number)
        connection.commit()
        connection.execute("CHECKPOINT")
    return staging.path


def ours(folder: Path) -> dict[str, float]:
    """A run of everything, then one after `_NEW` new payments with their postings, settlements and returns."""
    from tasks.pull import staging_of
    from tasks.reconciling import run_reconcile

    settings = _settings(folder)
    started = time.perf_counter()
    first = run_reconcile(settings, "acme", AS_OF)
    whole = time.perf_counter() - started
    with staging_of(settings, "acme").open() as connection:
        add_rows(connection, first.payments, first.payments + _NEW, first.payments)
        connection.execute("CHECKPOINT")
    started = time.perf_counter()
    second = run_reconcile(settings, "acme", AS_OF + timedelta(minutes=10))
    again = time.perf_counter() - started
    assert second.payments == first.payments + _NEW
    return {"seconds": whole, "again": again, "breaks": first.opened, "new": second.opened}


def sql(folder: Path) -> dict[str, float]:
    """The joins in DuckDB, kept as a table of the same file."""
    path = next(folder.glob("**/acme.duckdb"))
    with duckdb.connect(str(path), config={"threads": _CORES}) as connection:
        started = time.perf_counter()
        connection.execute(_JOINS)
        connection.execute("CHECKPOINT")
        took = time.perf_counter() - started
        missing = connection.execute("SELECT count(*) FROM joined WHERE state = 'MISSING'").fetchall()[0][0]
    return {"seconds": took, "breaks": missing}


def pandas_merges(folder: Path) -> dict[str, float]:
    """The joins as pandas merges, from the file into a table of the same file; amounts as whole cents, for pandas sums
    decimals one by one. Of it `merging`: without reading and writing."""
    path = next(folder.glob("**/acme.duckdb"))
    with duckdb.connect(str(path), config={"threads": _CORES}) as connection:
        started = time.perf_counter()
        held = {name: connection.execute(text).df() for name, text in _FRAMES.items()}
        merging = time.perf_counter()
        items = held["payments"]
        for name, sums in _SUMS.items():
            grouped = held[name].groupby("payment_guid", as_index=False).agg(sums)
            items = items.merge(grouped, on="payment_guid", how="left")
        items["state"] = _state(items)
        merged = time.perf_counter()
        connection.register("items", items)
        connection.execute("CREATE TABLE joined AS SELECT * FROM items")
        connection.execute("CHECKPOINT")
        took = time.perf_counter() - started
    return {"seconds": took, "merging": merged - merging, "breaks": int(items["posted_amount"].isna().sum())}


def _state(items: Any) -> Any:
    """The state column of _JOINED."""
    import numpy

    owed = items["paid"] - items["returned_amount"].fillna(0)
    found: Any = numpy.select(
        [~items["approved"], items["posted_amount"].isna(), items["settled_amount"].isna(),
         items["posted_amount"] != owed, items["returned_amount"].notna()],
        ["EXPLAINED", "MISSING", "UNSETTLED", "AMOUNT", "RETURNED"], "MATCHED",
    )  # fmt: skip
    return found.astype(object)


WAYS = {"icflows": ours, "sql": sql, "pandas": pandas_merges}


def contest(made: Path, *ways: str) -> list[dict[str, float]]:
    """Each of `ways` in a fresh process on a copy of the folder `made`, in turn, so many rounds; of each figure the best:
    seconds, peak_gib, breaks, and for icflows again and new."""
    rounds = [[_alone(way, made) for way in ways] for _ in range(_ROUNDS)]
    return [{name: min(run[name] for run in runs) for name in runs[0]} for runs in zip(*rounds, strict=True)]


def _alone(way: str, made: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="reconcile") as folder:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        call = [sys.executable, "-m", "benchmarks.reconcile", way, folder]
        env = os.environ | {"POLARS_MAX_THREADS": str(_CORES)}
        done = subprocess.run(call, env=env, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def section(number: int = BIG) -> list[Row]:
    """Rows of the table: what, measured, ratio, target, met."""
    with tempfile.TemporaryDirectory(prefix="reconcile") as folder:
        made = Path(folder)
        make(made, number)
        plain, mine = contest(made, "sql", "icflows")
    ratio, more = mine["seconds"] / plain["seconds"], mine["again"] / mine["seconds"]
    rows: list[Row] = [
        (f"{number:,} payments reconciled, {mine['breaks']:.0f} breaks", f"{mine['seconds']:.1f} s",
         f"{ratio:.2f} × the joins in DuckDB SQL ({plain['seconds']:.1f} s)", f"≤ {_MOST_SQL:g} ×", _met(ratio <= _MOST_SQL)),
        ("  peak memory", f"{mine['peak_gib']:.1f} GiB", "", f"< {_MOST_GIB:g} GiB", _met(mine["peak_gib"] < _MOST_GIB)),
        (f"  the next run, after {_NEW:,} new payments", f"{mine['again']:.1f} s", f"{more:.2f} × the full run",
         f"≤ {_MOST_AGAIN:g} ×", _met(more <= _MOST_AGAIN)),
    ]  # fmt: skip
    return [*rows, _beside_pandas(min(number, _PANDAS))]


def _beside_pandas(number: int) -> Row:
    target = f"≥ {_LEAST_PANDAS:g} ×"
    if importlib.util.find_spec("pandas") is None:
        return (f"  pandas merges of {number:,}", "–", "pandas is not installed: left out", target, "–")
    with tempfile.TemporaryDirectory(prefix="reconcile") as folder:
        made = Path(folder)
        make(made, number)
        theirs, mine = contest(made, "pandas", "icflows")
    ratio = theirs["seconds"] / mine["seconds"]
    what = f"  {number:,} payments: pandas {theirs['seconds']:.1f} s (merges {theirs['merging']:.1f} s)"
    return (
        what,
        f"{mine['seconds']:.1f} s",
        f"icflows {ratio:.1f} × faster",
        target,
        _met(ratio >= _LEAST_PANDAS),
    )


def _met(is_met: bool) -> str:
    return "yes" if is_met else "no"


def main() -> int:
    """One contestant: prints its figures as JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.reconcile")
    parser.add_argument("way", choices=sorted(WAYS))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    found = WAYS[options.way](options.folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"peak_gib": peak, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
