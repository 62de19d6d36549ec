"""Reconcile's side of the staging file: the frames it compares, and schema recon, which it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from checks.contracts import FEEDS
from checks.control import OutOfBalance, Total, must_balance, total
from tasks.errors import ControlTotalError
from tasks.reconcile import HISTORY, POLLS, Inputs, Outcome, Rules
from tasks.reconcile.apart import Apart
from tasks.reconcile.draw_breaks import is_on
from tasks.reconcile.model import DEPOSITS, SCHEMAS, SUGGESTIONS, TIME, empty
from tasks.staging import straight, sums
from tasks.staging.query import frame, from_us, scalar
from tasks.staging.rows import select
from tasks.staging.schema import RECON_RUNS, VERDICTS
from tasks.staging.scope import find_asked, find_fresh, find_scope, split_returns

# What InvoiceCloud was told of an invoice last; and balances, where anything was told or looked at.
_CALLS = """SELECT * FROM imt.rtdr_calls WHERE subject = 'INVOICE' AND result = 'answered' QUALIFY row_number() OVER (
    PARTITION BY invoice_number ORDER BY called_at DESC, balance_answered DESC) = 1"""
_BALANCES = """SELECT * FROM imt.balances
    WHERE EXISTS (SELECT 1 FROM imt.rtdr_calls) OR EXISTS (SELECT 1 FROM outbox.looks)"""
# Money or status that a feed told otherwise before. A first version is none; nor is a row that only came back.
_RESTATED = """
    SELECT 'payments' AS feed, lower(payment_guid) AS key, payment_guid, account_number, invoice_number, version,
           version_seen_at AS seen_at, lag(payment_amount) OVER w AS amount_before, payment_amount AS amount_now,
           lag(concat_ws(' ', approved, status)) OVER w AS status_before, concat_ws(' ', approved, status) AS status_now
    FROM feed.payments_versions WHERE present AND payment_guid IN (
        SELECT payment_guid FROM feed.payments_versions WHERE version > 1)
    WINDOW w AS (PARTITION BY payment_guid, payment_line_no ORDER BY version)
    QUALIFY version > 1 AND (amount_before <> amount_now OR status_before <> status_now)
    UNION ALL
    SELECT 'settlements', concat_ws('/', settled_batch_id, coalesce(payment_guid, processor_reference)), payment_guid,
           account_number, invoice_number, version, version_seen_at, lag(settled_amount) OVER w, settled_amount,
           lag(settled_date::VARCHAR) OVER w, settled_date::VARCHAR
    FROM feed.settlements_versions WHERE present AND settled_batch_id IN (
        SELECT settled_batch_id FROM feed.settlements_versions WHERE version > 1)
    WINDOW w AS (PARTITION BY settled_batch_id, transaction_type, payment_guid, processor_reference, invoice_number
                 ORDER BY version)
    QUALIFY version > 1 AND (lag(settled_amount) OVER w <> settled_amount OR lag(settled_date) OVER w <> settled_date)
    UNION ALL
    SELECT 'ach_rejects', concat_ws('/', original_payment_guid, return_code, reject_date), original_payment_guid,
           account_number, invoice_number, version, version_seen_at, lag(reject_amount) OVER w, reject_amount,
           return_code, return_code
    FROM feed.ach_rejects_versions WHERE present
    WINDOW w AS (PARTITION BY original_payment_guid, account_number, invoice_number, reject_sequence, reject_date,
                 return_code ORDER BY version)
    QUALIFY version > 1 AND lag(reject_amount) OVER w <> reject_amount"""
# Accounts on a complete list, and those that it names no more, with the time since when.
_LISTED = """(SELECT *, CASE WHEN NOT present THEN version_seen_at END AS gone_at FROM {}_versions WHERE is_current)"""
# What AutoPay is to draw; read where IMT's flags were loaded, for only then draws are judged.
_BILLS = """SELECT * FROM imt.balances WHERE EXISTS (SELECT 1 FROM imt.enrolment_flags_versions)
    AND status = 'OPEN' AND coalesce(autopay_collection_date, due_date) IS NOT NULL"""
# What earlier runs made of payments whose rows came in a further version, and which of those were told.
_MATCHED = """
    WITH again AS (
        SELECT lower(payment_guid) AS key FROM feed.payments_versions WHERE version > 1
        UNION SELECT lower(payment_guid) FROM feed.settlements_versions WHERE version > 1
        UNION SELECT lower(original_payment_guid) FROM feed.ach_rejects_versions WHERE version > 1),
    straight AS MATERIALIZED (SELECT payment, payment_amount, kind FROM recon.sides
                              WHERE kind IS NOT NULL AND h IN (SELECT hash(key) FROM again)),
    named AS MATERIALIZED (SELECT rowid AS r, payment_guid FROM feed.payments_versions
                           WHERE rowid IN (SELECT payment FROM straight))
    SELECT NULL AS key, payment_guid, state, payment_amount, (SELECT max(as_of) FROM recon.runs) AS as_of FROM (
        SELECT payment_guid, state, payment_amount FROM recon.judged
        UNION ALL SELECT n.payment_guid, k.state, s.payment_amount
        FROM straight s JOIN named n ON n.r = s.payment JOIN recon.kinds k USING (kind))
    WHERE lower(payment_guid) IN (SELECT key FROM again)
    UNION ALL SELECT subject, payment_guid, NULL, NULL, occurred_at FROM recon.breaks WHERE code = 'B44'"""
# Answers refused for their layout and none good since; unknown codes of the last good answer.
_DRIFTS = """
    SELECT feed, requested_at AS at, 'layout' AS kind, message AS detail FROM poll.runs r
    WHERE reason = 'schema_drift' AND NOT EXISTS (
        SELECT 1 FROM poll.runs g WHERE g.feed = r.feed AND g.status = 'ok' AND g.requested_at >= r.requested_at)
    UNION ALL
    SELECT r.feed, r.requested_at, 'codes', c.detail FROM "check".results c JOIN poll.runs r ON r.poll_id = c.poll_id
    WHERE c.check_name = 'warning' AND contains(c.detail, 'unknown code') AND r.status = 'ok' AND r.requested_at = (
        SELECT max(g.requested_at) FROM poll.runs g WHERE g.feed = r.feed AND g.status = 'ok')"""
# Where each frame of Inputs lies (polls apart, and the money tables, of which a run reads what it looks at).
_TABLES = {
    "ach_rejects": "feed.ach_rejects", "invoices": "imt.invoices", "open_at_ic": "imt.open_at_ic",
    "records": "(SELECT r.*, f.state AS file_state FROM outbox.records r LEFT JOIN outbox.files f USING (file_id))",
    **{name: f"outbox.{name}" for name in ("files", "looks", "images", "guards", "held")},
    "calls": f"({_CALLS})", "balances": f"({_BALANCES})", "events": "imt.invoice_events",
    "bank_lines": "imt.bank_lines", "chargebacks": "imt.chargebacks", "refunds": "imt.refunds",
    "flags": _LISTED.format("imt.enrolment_flags"), "autopay": _LISTED.format("feed.autopay"),
    "paperless": _LISTED.format("feed.paperless"), "restated": f"({_RESTATED})", "bills": f"({_BILLS})",
    "matched": f"({_MATCHED})", "drifts": f"({_DRIFTS})",
    "periods": "(SELECT period, first_day, last_day, min(closed_at) AS closed_at FROM recon.periods GROUP BY ALL)",
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """What staging holds when a run begins: the inputs but the money tables, the breaks so far, the last run's line
    (or None), and what is in staging by its loads."""

    inputs: Inputs
    breaks: pl.DataFrame
    last_run: Mapping[str, Any] | None
    loads: pl.DataFrame


def read(connection: duckdb.DuckDBPyConnection) -> Held:
    """Reads what every run needs; payments, settlements, postings and pushes of `inputs` are empty as yet."""
    frames = {name: select(connection, table, SCHEMAS[name]) for name, table in _TABLES.items()}
    frames |= {name: empty(SCHEMAS[name]) for name in ("payments", "settlements", "postings", "pushes")}
    loads = frame(
        connection, "SELECT load_id, kind FROM poll.loads WHERE kind <> 'reconcile' ORDER BY load_id"
    )
    breaks = select(connection, "recon.breaks", HISTORY)
    return Held(Inputs(**frames, polls=_polls(connection)), breaks, last_run(connection), loads)


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
    items = "SELECT (SELECT count(*) FROM recon.judged) + (SELECT count(kind) FROM recon.sides)"
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
    last_run_id = None if whole or held.last_run is None else held.last_run["run_id"]
    if last_run_id is None:
        for table in VERDICTS:
            connection.execute(f"DELETE FROM recon.{table}")
    find_fresh(connection, last_run_id)
    find_asked(connection, held.inputs, as_of)
    if last_run_id is not None:
        find_scope(connection, as_of, mates=mates)
    kept = int(scalar(connection, "SELECT count(kind) FROM recon.sides"))
    draws, polls = is_on(held.inputs), held.inputs.polls
    rejects, resting = split_returns(connection, held.inputs.ach_rejects)
    sides = straight.set_apart(
        connection, polls, rules, as_of, whole=last_run_id is None, mates=mates, draws=draws
    )
    looked = (
        int(scalar(connection, "SELECT sum(rows) FROM temp.straight_sums") or 0)
        - kept
        + sides["payments"].height
    )
    inputs = replace(held.inputs, **(sides | {"ach_rejects": rejects}))
    return inputs, sums.apart(connection, resting, rules, as_of), looked


def last_run(connection: duckdb.DuckDBPyConnection) -> Mapping[str, Any] | None:
    """The newest line of recon.runs."""
    runs = select(connection, "recon.runs", RECON_RUNS)
    return runs.row(-1, named=True) if runs.height else None


def _polls(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """The feeds' polls, and IMT's postings files in the form of polls.

    A postings file tells of all postings up to the moment it was loaded. Where none was ever loaded, one
    failed poll stands for it: then nothing is proven to be missing from IMT's books.
    """
    polls = select(connection, "poll.runs", POLLS)
    # The portal's exports too tell of all up to the moment they were loaded; one never loaded proves nothing.
    exports = polls.filter(pl.col("feed").is_in(["chargebacks", "refunds"]))
    files = polls.filter((pl.col("feed") == "postings") & (pl.col("status") == "ok"))
    began = pl.datetime(1970, 1, 1, time_unit="us", time_zone="UTC")
    if files.is_empty():
        nothing = {"feed": "postings", "status": "failed", "reason": "never_loaded"}
        files = pl.DataFrame([nothing]).with_columns(window_to=began, covered_to=pl.lit(None, TIME))
        files = files.with_columns(requested_at=began, finished_at=began)
    else:
        files = files.with_columns(window_to="covered_to")
    files = files.with_columns(window_from=began)
    exports = exports.with_columns(window_from=began, window_to="covered_to")
    files, exports = (
        rows.select(pl.col(n).cast(kind) for n, kind in POLLS.items()) for rows in (files, exports)
    )
    return pl.concat([exports, polls.filter(pl.col("feed").is_in([*FEEDS, "enrolment_flags"])), files])


def write(
    connection: duckdb.DuckDBPyConnection,
    run: Mapping[str, Any],
    outcome: Outcome,
    breaks: pl.DataFrame,
    events: pl.DataFrame,
) -> None:
    """Writes one run inside the caller's transaction: items added to those at rest, totals, breaks, deposits and
    suggestions replaced, events appended. temp.asked and temp.straight_sums of set_apart are there.

    Raises ControlTotalError if what was written does not add up to the payments feed and to the events.
    """
    replaced = {"totals": outcome.totals, "breaks": breaks}
    replaced["deposits"] = outcome.deposits if outcome.deposits.columns else empty(DEPOSITS)
    replaced["suggestions"] = outcome.suggestions if outcome.suggestions.columns else empty(SUGGESTIONS)
    _insert_items(connection, outcome.items)
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
    connection.execute(
        "UPDATE recon.sides SET at_rest = true WHERE h IN (SELECT hash(guid_key) FROM temp.resting)"
    )


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    connection.register("written", rows)
    connection.execute(f"INSERT INTO recon.{table} BY NAME SELECT * FROM written")
    connection.unregister("written")


def _check(connection: duckdb.DuckDBPyConnection, run: Mapping[str, Any], breaks: pl.DataFrame) -> None:
    feed = "SELECT count(*), coalesce(sum(payment_amount), 0.00) FROM feed.payments"
    came_in = _total(connection, feed)
    try:
        items = """SELECT coalesce(sum(rows), 0)::BIGINT, coalesce(sum(amount), 0.00) FROM (
            SELECT rows, amount FROM temp.straight_sums UNION ALL SELECT 1, payment_amount FROM recon.judged)"""
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
