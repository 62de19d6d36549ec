"""What is owed, out of staging and in the form of the service's own store: all of it, or what some loads touched.

A load touches what its rows name, what earlier versions of these rows named, and what hangs on them: the invoice
that a reissue replaces, the posting that takes back another one, the postings of the same payment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tasks.staging.query import Connection, frame, from_us, scalar

LOAD_KINDS = ("invoice_events", "adjustments", "postings")
_TOUCHED = """CREATE OR REPLACE TEMP TABLE touched AS
WITH fresh AS (SELECT unnest($1::VARCHAR[]) AS poll_id),
events AS (
    SELECT * FROM imt.invoice_events_versions WHERE event_id IN (
        SELECT event_id FROM imt.invoice_events_versions WHERE poll_id IN (FROM fresh))),
adjustments AS (
    SELECT * FROM imt.adjustments_versions WHERE adjustment_id IN (
        SELECT adjustment_id FROM imt.adjustments_versions WHERE poll_id IN (FROM fresh))),
postings AS (
    SELECT * FROM imt.postings_versions WHERE posting_id IN (
        SELECT posting_id FROM imt.postings_versions WHERE poll_id IN (FROM fresh))),
hanging AS (
    SELECT * FROM imt.postings WHERE reverses_posting_id IN (SELECT posting_id FROM postings)
        OR lower(payment_guid) IN (SELECT lower(payment_guid) FROM postings)),
named AS (
    SELECT account_number, invoice_number FROM events
    UNION SELECT account_number, replaces_invoice_number FROM events
    UNION SELECT account_number, invoice_number FROM adjustments
    UNION SELECT account_number, invoice_number FROM postings
    UNION SELECT account_number, invoice_number FROM hanging)
SELECT account_number, invoice_number FROM named
UNION SELECT account_number, invoice_number FROM imt.invoices
    WHERE invoice_number IN (SELECT invoice_number FROM named)"""
_CENTS = "(100 * {0})::BIGINT AS {0}"
_INVOICES = f"""SELECT invoice_number, account_number, status, successor, invoice_type_id,
    invoice_date::VARCHAR AS invoice_date, due_date::VARCHAR AS due_date,
    autopay_collection_date::VARCHAR AS autopay_collection_date, {_CENTS.format("total_amount_due")},
    {_CENTS.format("minimum_amount_due")}, allow_partial, {_CENTS.format("balance")}, epoch_us(changed_at) AS changed_at
FROM imt.balances"""
_ACCOUNTS = f"SELECT account_number, {_CENTS.format('account_amount')} FROM imt.account_balances"
# A return of a payment is no posting of it; what is in suspense is: from then on IMT's own figures count.
_POSTED = """SELECT p.push_id, coalesce(i.account_number, p.account_number, '') AS account_number
FROM open_pushes p LEFT JOIN (
    SELECT invoice_number, account_number FROM imt.invoices
    WHERE invoice_number IN (SELECT invoice_number FROM open_pushes)) i ON i.invoice_number = p.invoice_number
WHERE p.payment_guid IN (
    SELECT lower(payment_guid) FROM imt.postings WHERE status = 'POSTED' AND kind NOT IN ('REVERSAL', 'REFUND'))"""


@dataclass(frozen=True)
class Owed:
    """Frames with the columns of the store's tables: money in cents, times in microseconds, days as ISO text.

    invoices: balances · accounts: account_number, account_amount · posted: push_id, account_number of the open
    pushes whose posting is there · touched: account_number, invoice_number that may have changed or gone; None: any.
    """

    invoices: pl.DataFrame
    accounts: pl.DataFrame
    posted: pl.DataFrame
    touched: pl.DataFrame | None
    loads: Sequence[str]
    known_as_of: datetime | None


def read_owed(
    connection: Connection, applied: Collection[str], pushes: pl.DataFrame, *, everything: bool = False
) -> Owed:
    """What changed since the loads `applied`; all of it with `everything`, or if staging lacks one of those.

    `pushes`: push_id, payment_guid (lower case), account_number, invoice_number of pushes not posted yet.
    """
    loads = _loads(connection)
    gone = set(applied) - set(loads["poll_id"])
    fresh = [load_id for load_id in loads["poll_id"] if load_id not in applied]
    full = everything or bool(gone)
    if not full:
        connection.execute(_TOUCHED, [fresh])
    return Owed(
        invoices=frame(connection, _invoices(full=full, any_load=bool(fresh))),
        accounts=frame(connection, _accounts(full=full, any_load=bool(fresh))),
        posted=_posted(connection, pushes),
        touched=None if full else frame(connection, "SELECT * FROM temp.touched"),
        loads=loads["poll_id"].to_list(),
        known_as_of=_known_as_of(connection),
    )


def _loads(connection: Connection) -> pl.DataFrame:
    kinds = ", ".join(f"'{kind}'" for kind in LOAD_KINDS)
    return frame(
        connection,
        f"SELECT poll_id FROM poll.runs WHERE feed IN ({kinds}) AND status = 'ok' ORDER BY poll_id",
    )


def _known_as_of(connection: Connection) -> datetime | None:
    kinds = ", ".join(f"'{kind}'" for kind in LOAD_KINDS)
    heard = f"SELECT epoch_us(max(requested_at)) FROM poll.runs WHERE feed IN ({kinds}) AND status = 'ok'"
    moment = scalar(connection, heard)
    return None if moment is None else from_us(moment)


def _invoices(*, full: bool, any_load: bool) -> str:
    """Ordered by account, so that an account's rows can be written together."""
    some = "" if full else " WHERE invoice_number IN (SELECT invoice_number FROM temp.touched)"
    return (
        f"{_INVOICES}{some if full or any_load else ' WHERE false'} ORDER BY account_number, invoice_number"
    )


def _accounts(*, full: bool, any_load: bool) -> str:
    """Accounts with an amount beside their invoices, or without any invoice."""
    some = "" if full else " AND account_number IN (SELECT account_number FROM temp.touched)"
    beside = "(account_amount <> 0 OR account_number NOT IN (SELECT account_number FROM imt.invoices))"
    return f"{_ACCOUNTS} WHERE {beside}{some if full or any_load else ' AND false'}"


def _posted(connection: Connection, pushes: pl.DataFrame) -> pl.DataFrame:
    if pushes.is_empty():
        return pushes.select("push_id", "account_number")
    connection.register("open_pushes", pushes)
    try:
        return frame(connection, _POSTED)
    finally:
        connection.unregister("open_pushes")
