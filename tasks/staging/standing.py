"""Verdicts, breaks and balances of one payment, invoice or account, from a staging file or a snapshot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tasks.staging.query import Connection, frame
from tasks.staging.timeline import has

Row = dict[str, Any]
SUGGESTED = "SELECT * FROM recon.suggestions ORDER BY rank, amount DESC, payment_guid"


def verdicts(connection: Connection, guids: Sequence[str]) -> list[Row]:
    """recon.items of these payments (guids in lower case), each with guid and first_seen_at of its report row."""
    return frame(
        connection,
        """SELECT lower(i.payment_guid) AS guid, i.*, p.first_seen_at FROM recon.items i
           LEFT JOIN (SELECT payment_guid, min(first_seen_at) AS first_seen_at FROM feed.payments GROUP BY ALL) p
               ON p.payment_guid = i.payment_guid
           WHERE list_contains($1, lower(i.payment_guid)) ORDER BY i.payment_guid, i.payment_line_no""",
        [list(guids)],
    ).to_dicts()


def breaks(
    connection: Connection, guids: Sequence[str], invoices: Sequence[str], accounts: Sequence[str]
) -> list[Row]:
    """recon.breaks of these payments, invoices and accounts, open ones and gravest first; evidence read, its money

    exact; and `history`: at, who (run or person), what, note, from_amount, to_amount; oldest first.
    """
    found = frame(
        connection,
        """SELECT *, lower(payment_guid) AS guid FROM recon.breaks
           WHERE list_contains($1, lower(payment_guid)) OR list_contains($1, lower(subject))
              OR list_contains($2, invoice_number) OR list_contains($3, account_number)
           ORDER BY state = 'closed', CASE severity WHEN 'HIGH' THEN 0 WHEN 'MED' THEN 1 ELSE 2 END, code, subject""",
        [list(guids), list(invoices), list(accounts)],
    ).to_dicts()
    ids = [row["break_id"] for row in found]
    said = _history(connection, ids) if ids else []
    for row in found:
        row["evidence"] = json.loads(row["evidence"] or "{}", parse_float=Decimal)
        row["history"] = [line for line in said if line["break_id"] == row["break_id"]]
    return found


def _history(connection: Connection, ids: list[str]) -> list[Row]:
    program = """SELECT break_id, "at", run_id AS who, kind AS what, note, from_amount, to_amount, 0 AS rank
        FROM recon.break_events WHERE list_contains($1, break_id)"""
    people = """SELECT break_id, "at", "by" AS who, action AS what, note, NULL AS from_amount, amount AS to_amount, 1 AS rank
        FROM recon.work_events WHERE list_contains($1, break_id)"""
    both = [program, people] if has(connection, "recon.work_events") else [program]
    sql = f'SELECT * EXCLUDE (rank) FROM ({" UNION ALL ".join(both)}) ORDER BY break_id, "at", rank, what'
    return frame(connection, sql, [ids]).to_dicts()


def suggestions(connection: Connection, guids: Sequence[str]) -> list[Row]:
    """recon.suggestions of these payments, each with guid, strongest first; a person confirms them, nothing is matched."""
    if not has(connection, "recon.suggestions"):
        return []
    sql = """SELECT lower(payment_guid) AS guid, * FROM recon.suggestions WHERE list_contains($1, lower(payment_guid))
             ORDER BY payment_guid, rank, posting_id"""
    return frame(connection, sql, [list(guids)]).to_dicts()


def balances(connection: Connection, invoices: Sequence[str]) -> list[Row]:
    """imt.balances of these invoices."""
    sql = "SELECT * FROM imt.balances WHERE list_contains($1, invoice_number) ORDER BY invoice_date, invoice_number"
    return frame(connection, sql, [list(invoices)]).to_dicts()


def account_balances(connection: Connection, accounts: Sequence[str]) -> list[Row]:
    """imt.account_balances of these accounts."""
    sql = "SELECT * FROM imt.account_balances WHERE list_contains($1, account_number) ORDER BY account_number"
    return frame(connection, sql, [list(accounts)]).to_dicts()


def invoices_of(connection: Connection, accounts: Sequence[str]) -> list[str]:
    """The invoices that IMT tells of for these accounts."""
    sql = "SELECT invoice_number FROM imt.invoices WHERE list_contains($1, account_number) ORDER BY 1"
    return frame(connection, sql, [list(accounts)])["invoice_number"].to_list()


def told(connection: Connection, invoices: Sequence[str], accounts: Sequence[str], limit: int) -> list[Row]:
    """What InvoiceCloud was told of their balances, newest first (imt.rtdr_calls)."""
    return frame(
        connection,
        """SELECT called_at, subject, account_number, invoice_number, result, balance_answered, payable, known_as_of,
                  poll_id, row_no
           FROM imt.rtdr_calls WHERE list_contains($1, invoice_number) OR list_contains($2, account_number)
           ORDER BY called_at DESC, call_id LIMIT $3""",
        [list(invoices), list(accounts), limit],
    ).to_dicts()


def deposit_control(connection: Connection) -> bool:
    """Are bank lines loaded and deposits compared, so that a missing deposit can be told of?"""
    return all(
        has(connection, name) and frame(connection, f"SELECT 1 FROM {name} LIMIT 1").height
        for name in ("imt.bank_lines", "recon.deposits")
    )


def info(connection: Connection) -> Row:
    """snapshot_info of a snapshot: biller, as_of, time_zone, …"""
    return frame(connection, "SELECT * FROM snapshot_info").row(0, named=True)
