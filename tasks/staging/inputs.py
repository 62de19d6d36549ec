"""What staging holds when a reconcile run begins: the frames that it compares, the breaks so far, the last run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from checks.contracts import FEEDS
from tasks.reconcile import HISTORY, POLLS, Inputs
from tasks.reconcile.model import SCHEMAS, TIME, empty
from tasks.staging.query import frame, scalar
from tasks.staging.rows import select
from tasks.staging.schema import RECON_RUNS

# What InvoiceCloud was told of an invoice last.
_CALLS = """SELECT * FROM imt.rtdr_calls WHERE subject = 'INVOICE' AND result = 'answered' QUALIFY row_number() OVER (
    PARTITION BY invoice_number ORDER BY called_at DESC, balance_answered DESC) = 1"""
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
# What AutoPay is to draw.
_BILLS = """SELECT * FROM imt.balances WHERE status = 'OPEN' AND coalesce(autopay_collection_date, due_date) IS NOT NULL"""
# Frames that are read where one of these tables has rows, for only then they are judged by: what is owed is no small query.
_ONLY_WITH = {
    "balances": ("imt.rtdr_calls_versions", "outbox.looks"),
    "bills": ("imt.enrolment_flags_versions",),
}
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
    "calls": f"({_CALLS})", "balances": "imt.balances", "events": "imt.invoice_events",
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


def read_held(connection: duckdb.DuckDBPyConnection) -> Held:
    """Reads what every run needs; payments, settlements, postings and pushes of `inputs` are empty as yet."""
    held = {table: _has_rows(connection, table) for tables in _ONLY_WITH.values() for table in tables}
    absent = [name for name, tables in _ONLY_WITH.items() if not any(held[table] for table in tables)]
    absent += ["payments", "settlements", "postings", "pushes"]
    frames = {name: empty(SCHEMAS[name]) for name in absent}
    frames |= {
        name: select(connection, table, SCHEMAS[name])
        for name, table in _TABLES.items()
        if name not in absent
    }
    loads = frame(
        connection, "SELECT load_id, kind FROM poll.loads WHERE kind <> 'reconcile' ORDER BY load_id"
    )
    breaks = select(connection, "recon.breaks", HISTORY)
    return Held(Inputs(**frames, polls=_polls(connection)), breaks, last_run(connection), loads)


def _has_rows(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(scalar(connection, f"SELECT EXISTS (FROM {table})"))


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
