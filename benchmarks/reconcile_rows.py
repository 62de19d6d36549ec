"""Made-up rows for the reconcile benchmark, written straight into a staging file: payments, postings, settlements, returns.

Payments over sixty days, one posting and one settled row each; every hundredth comes back and is reversed, every 10,000th
is not posted. Each batch of rows is one load, as a poll or a file of IMT would be.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb

AS_OF = datetime(2026, 10, 30, 23, tzinfo=UTC)
_SPAN = 5_000_000_000_000  # microseconds: fifty-eight days
_BASE = """
    CREATE OR REPLACE TEMP VIEW base AS
    SELECT n, '00000000-0000-4000-8000-' || lpad(n::VARCHAR, 12, '0') AS guid, 'PR' || lpad(n::VARCHAR, 12, '0') AS ref,
           '00' || lpad((n % 400_000)::VARCHAR, 8, '0') AS account, 'INV-' || lpad(n::VARCHAR, 12, '0') AS invoice,
           ((n * 7919 % 50_000 + 100) / 100)::DECIMAL(18, 2) AS money, CASE WHEN n % 2 = 0 THEN 'EFT' ELSE 'CARD' END AS tender,
           TIMESTAMPTZ '2026-08-16 23:00:00Z' + to_microseconds(((n % {span}) * ({us} // {span}))::BIGINT) AS paid
    FROM range({first}, {last}) r (n)"""
_WHO = {
    "payment_guid": "guid", "processor_reference": "ref", "account_number": "account", "invoice_number": "invoice",
}  # fmt: skip
_POSTED = {**_WHO, "system": "'Spectrum'", "origin": "'IC'", "status": "'POSTED'"}
_PARTS = {
    "payments": ("feed.payments", "true", {
        **_WHO, "payment_amount": "money", "tender": "tender", "payment_date": "paid", "approved": "true",
        "payment_source": "'WEB'",
    }),
    "settlements": ("feed.settlements", "true", {
        **_WHO, "settled_batch_id": "'B' || (paid::DATE + 3)", "settled_date": "paid::DATE + 3", "tender": "tender",
        "settled_amount": "money", "transaction_type": "'PAYMENT'",
        "batch_total": "sum(money) OVER (PARTITION BY paid::DATE)", "batch_item_count": "count(*) OVER (PARTITION BY paid::DATE)",
    }),
    "postings": ("imt.postings", "n % 10_000 <> 7", {
        **_POSTED, "posting_id": "'P' || n", "amount": "money", "kind": "'PAYMENT'", "posted_at": "paid + INTERVAL 20 MINUTE",
        "effective_date": "paid::DATE",
    }),
    "ach_rejects": ("feed.ach_rejects", "n % 100 = 4", {
        "original_payment_guid": "guid", "original_payment_date": "paid", "account_number": "account",
        "invoice_number": "invoice", "reject_amount": "money", "reject_date": "paid + INTERVAL 4 DAY", "return_code": "'R01'",
        "reject_sequence": "1",
    }),
    "reversals": ("imt.postings", "n % 100 = 4", {
        **_POSTED, "posting_id": "'R' || n", "amount": "-money", "kind": "'REVERSAL'", "reason": "'NSF'",
        "posted_at": "paid + INTERVAL 99 HOUR", "effective_date": "paid::DATE + 4",
    }),
}  # fmt: skip
_LINEAGE = {
    "source_form": "'dataset'", "row_no": "n", "first_seen_at": "paid", "version_seen_at": "paid", "last_seen_at": "paid",
    "version": "1", "present": "true", "is_current": "true",
}  # fmt: skip
_POLL = {
    "form": "'dataset'", "operation": "'made'", "status": "'ok'", "window_from": "TIMESTAMPTZ '2026-08-01 00:00:00Z'",
    **dict.fromkeys(("window_to", "covered_to", "requested_at", "finished_at"), "$2::TIMESTAMPTZ"),
    **{f"rows_{part}": "0" for part in ("in", "new", "unchanged", "amended", "duplicate", "quarantined", "gone")},
    "bytes": "0", "duration_ms": "0",
}  # fmt: skip


def add_rows(connection: duckdb.DuckDBPyConnection, first: int, last: int, span: int) -> None:
    """Payments number `first` to `last` (not included) of `span` that fill the sixty days, with all that belongs to them;
    one load for each part, within the caller's transaction."""
    connection.execute(_BASE.format(first=first, last=last, span=span, us=_SPAN))
    for part, (table, where, columns) in _PARTS.items():
        load_id = f"{part}-{first}"
        values = {**columns, **_LINEAGE, "poll_id": f"'{load_id}'"}
        connection.execute(
            f"""INSERT INTO {table}_versions ({", ".join(values)}) SELECT {", ".join(values.values())}
                FROM base WHERE {where}"""
        )
        connection.execute("INSERT INTO poll.loads VALUES ($1, 'poll', $2::TIMESTAMPTZ)", [load_id, AS_OF])


def add_polls(connection: duckdb.DuckDBPyConnection) -> None:
    """Every feed complete to a day after AS_OF, so that no verdict is held back."""
    for feed in ("payments", "settlements", "ach_rejects", "postings", "autopay", "paperless"):
        names, values = ", ".join(_POLL), ", ".join(_POLL.values())
        connection.execute(
            f"INSERT INTO poll.runs (poll_id, feed, {names}) VALUES ($1, $1, {values})",
            [feed, AS_OF + timedelta(days=1)],
        )
