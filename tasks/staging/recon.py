"""Schema recon of the staging file: what a reconcile run sets apart and writes, and what is told of the last one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from checks.control import OutOfBalance, Total, must_balance, total
from tasks.errors import ControlTotalError
from tasks.reconcile import Inputs, Outcome, Rules
from tasks.reconcile.apart import Apart
from tasks.reconcile.draw_breaks import is_on
from tasks.reconcile.model import DEPOSITS, SUGGESTIONS, empty
from tasks.staging import straight, sums
from tasks.staging.inputs import Held
from tasks.staging.query import frame, from_us, scalar
from tasks.staging.schema import RECON_RUNS, VERDICTS
from tasks.staging.scope import find_asked, find_fresh, find_scope, split_returns


def last_whole(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """As of when a run last looked at everything; None if none did."""
    at = scalar(connection, "SELECT epoch_us(max(as_of)) FROM recon.runs WHERE is_whole")
    return None if at is None else from_us(at)


def may_follow(connection: duckdb.DuckDBPyConnection, last: Mapping[str, Any] | None, basis: str) -> bool:
    """May a run take over the verdicts of the last one? Only where they stand as it wrote them, and were made by the
    same rules and the same program (`basis`)."""
    if last is None or last["basis"] != basis:
        return False
    known = "SELECT count(*) FROM poll.loads WHERE load_id = $1 AND kind = 'reconcile'"
    items = "SELECT (SELECT count(*) FROM recon.judged) + (SELECT coalesce(sum(rows), 0) FROM recon.kinds)"
    return (
        bool(scalar(connection, known, [last["run_id"]]))
        and scalar(connection, items) == last["payments_rows"]
    )


def set_apart(
    connection: duckdb.DuckDBPyConnection, held: Held, rules: Rules, as_of: datetime, *, whole: bool
) -> tuple[Inputs, Apart, int]:
    """Inside the run's transaction: recon.items of payments that stand straight, the inputs of all others in scope, the
    sums of those left out; and how many payments the run looked at."""
    mates = held.inputs.events.height > 0
    whole = whole or held.last_run is None
    if whole:
        for table in VERDICTS:
            connection.execute(f"DELETE FROM recon.{table}")
    find_fresh(connection, whole=whole)
    find_asked(connection, held.inputs, as_of)
    if not whole:
        find_scope(connection, as_of, mates=mates)
    draws, polls = is_on(held.inputs), held.inputs.polls
    rejects, resting = split_returns(connection, held.inputs.ach_rejects)
    sides, upright = straight.set_apart(
        connection, polls, rules, as_of, whole=whole, mates=mates, draws=draws
    )
    inputs = replace(held.inputs, **(sides | {"ach_rejects": rejects}))
    return inputs, sums.apart(connection, resting, rules, as_of), upright + inputs.payments.height


def write(
    connection: duckdb.DuckDBPyConnection,
    run: Mapping[str, Any],
    outcome: Outcome,
    breaks: pl.DataFrame,
    events: pl.DataFrame,
) -> None:
    """Writes one run inside the caller's transaction: items added to those at rest, totals, breaks, deposits and
    suggestions replaced, events appended. What set_apart made in temp is there.

    Raises ControlTotalError if what was written does not add up to the payments feed and to the events.
    """
    replaced = {"totals": outcome.totals, "breaks": breaks}
    replaced["deposits"] = outcome.deposits if outcome.deposits.columns else empty(DEPOSITS)
    replaced["suggestions"] = outcome.suggestions if outcome.suggestions.columns else empty(SUGGESTIONS)
    _insert_items(connection, outcome.items)
    straight.keep_open(connection)
    for table, rows in replaced.items():
        connection.execute(f"DELETE FROM recon.{table}")
        _insert(connection, table, rows)
    _insert(connection, "break_events", events)
    _insert(connection, "runs", pl.DataFrame([dict(run)], schema=dict(RECON_RUNS)))
    _check(connection, run, breaks)


def _insert_items(connection: duckdb.DuckDBPyConnection, items: pl.DataFrame) -> None:
    """Items of the run; payments that came back and were reversed are at rest from now on: what hangs on their guid is
    all told, and nothing else asks for them."""
    connection.register("written", items)
    connection.execute(
        """CREATE TEMP TABLE resting AS SELECT lower(payment_guid) AS guid_key FROM written
           WHERE state = 'EXPLAINED' AND approved AND returned_amount > 0 AND break_codes IS NULL AND due_by IS NULL
             AND match_rule = 'key1' AND payment_line_no IS NULL AND payment_guid IS NOT NULL
             AND lower(payment_guid) NOT IN (SELECT guid_key FROM temp.asked WHERE NOT by_return AND guid_key IS NOT NULL)"""
    )
    connection.execute(
        """INSERT INTO recon.judged BY NAME SELECT * REPLACE (
               coalesce(lower(payment_guid) IN (SELECT guid_key FROM temp.resting), false) AS at_rest) FROM written"""
    )
    connection.unregister("written")


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    connection.register("written", rows)
    connection.execute(f"INSERT INTO recon.{table} BY NAME SELECT * FROM written")
    connection.unregister("written")


def _check(connection: duckdb.DuckDBPyConnection, run: Mapping[str, Any], breaks: pl.DataFrame) -> None:
    came_in = Total(run["payments_rows"], run["payments_amount"])
    try:
        items = """SELECT coalesce(sum(rows), 0)::BIGINT, coalesce(sum(amount), 0.00) FROM (
            SELECT rows, amount FROM recon.kinds UNION ALL SELECT 1, payment_amount FROM recon.judged)"""
        states = "SELECT sum(rows)::BIGINT, sum(amount) FROM recon.totals WHERE kind = 'state'"
        must_balance("payments to items", came_in, items=_total(connection, items))
        must_balance("payments to states", came_in, states=_total(connection, states))
        told = "SELECT count(*), 0.00 FROM recon.break_events WHERE run_id = $1"
        events = run["opened"] + run["reopened"] + run["changed"] + run["closed"]
        must_balance("events", Total(events), written=_total(connection, told, [run["run_id"]]))
        still_open = breaks.filter(pl.col("state") == "open")
        open_now = "SELECT count(*), coalesce(sum(amount), 0.00) FROM recon.breaks WHERE state = 'open'"
        must_balance("open breaks", total(still_open, "amount"), written=_total(connection, open_now))
    except OutOfBalance as error:
        raise ControlTotalError(str(error)) from None


def _total(connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | None = None) -> Total:
    rows, amount = connection.execute(sql, parameters or []).fetchall()[0]
    return Total(int(rows), amount)


def states(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """recon.totals of the last run in its own order: kind, name, rows, amount."""
    return frame(connection, "SELECT kind, name, rows, amount FROM recon.totals")


def open_classes(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Open breaks per class: code, name, severity, count, amount (sum of absolute amounts)."""
    return frame(
        connection,
        """SELECT code, name, severity, count(*) AS count, sum(abs(amount))::DECIMAL(18,2) AS amount
           FROM recon.breaks WHERE state = 'open' GROUP BY ALL ORDER BY code, severity""",
    )


def new_high(connection: duckdb.DuckDBPyConnection, run_id: str) -> pl.DataFrame:
    """HIGH breaks that this run opened or re-opened, greatest first: break_id, code, subject, amount, sentence."""
    return frame(
        connection,
        """SELECT break_id, code, subject, amount, sentence FROM recon.breaks
           WHERE severity = 'HIGH' AND state = 'open' AND break_id IN (
               SELECT e.break_id FROM recon.break_events e WHERE e.run_id = $1 AND e.kind IN ('opened', 'reopened'))
           ORDER BY abs(amount) DESC, break_id""",
        [run_id],
    )
