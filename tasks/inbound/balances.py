"""What an invoice or an account owes now: IMT's figures in the store, less what was pushed and is not posted yet.

Each answer is one statement, and so one state of the store, whatever a refresh or a push commits meanwhile. On SQLite
the statement goes to the driver itself, on one connection per thread: it is asked in the service's event loop.

An event that counts a payment already, loaded before the posting of it, takes the payment off a second time until
that posting is loaded. The other way round the payer would be asked twice.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.exc import DBAPIError

from checks.contracts.base import REFERENCE
from tasks.inbound.model import AccountAnswer, Answer, InvoiceAnswer
from tasks.inbound.store import Store
from tasks.inbound.values import microseconds, moment

_REFERENCE = re.compile(REFERENCE)
_LIVE = ("OPEN", "PAID")
_MOST_REISSUES = 1_000  # a chain of successors that is longer is a circle or a mistake
_MINUTE = 60_000_000
# The condition stands in the words of the index (tables.pushes), or SQLite passes over it.
_PUSHED = """SELECT sum(p.payment_amount) FROM pushes p WHERE p.biller = f.biller
    AND posted_at IS NULL AND approved AND p.variant = 1 AND p.received_at > {since}"""
_FACTS = f"""b.invoice_number, b.account_number, b.status, b.balance, b.total_amount_due, b.minimum_amount_due,
    b.invoice_date, b.due_date, b.autopay_collection_date, b.allow_partial,
    ({_PUSHED} AND p.invoice_number = b.invoice_number)"""
# The last invoice of the chain, if it is none that was recalled itself.
_SUCCESSOR = f"""CASE WHEN b.status = 'SUPERSEDED' THEN (
    WITH RECURSIVE chain(number, step) AS (
        SELECT s.successor, 1 FROM balances s WHERE s.biller = {{biller}} AND s.invoice_number = {{number}}
        UNION SELECT s.successor, chain.step + 1 FROM chain JOIN balances s
            ON s.biller = {{biller}} AND s.invoice_number = chain.number
            WHERE s.status = 'SUPERSEDED' AND chain.step < {_MOST_REISSUES})
    SELECT s.invoice_number FROM chain JOIN balances s ON s.biller = {{biller}} AND s.invoice_number = chain.number
    WHERE s.status IN ('OPEN', 'PAID') ORDER BY chain.step LIMIT 1) END"""
_INVOICE = f"""SELECT f.known_as_of, {_FACTS}, {_SUCCESSOR}
FROM freshness f LEFT JOIN balances b ON b.biller = f.biller AND b.invoice_number = {{number}}
WHERE f.biller = {{biller}}"""
# A push that names an invoice of IMT counts with that invoice, whatever account it names.
_ACCOUNT = f"""SELECT f.known_as_of, {_FACTS}, a.account_amount,
    ({_PUSHED} AND p.account_number = {{number}} AND NOT EXISTS (
        SELECT 1 FROM balances o WHERE o.biller = p.biller AND o.invoice_number = p.invoice_number))
FROM freshness f LEFT JOIN balances b {{by_account}} ON b.biller = f.biller AND b.account_number = {{number}}
    LEFT JOIN accounts a ON a.biller = f.biller AND a.account_number = {{number}}
WHERE f.biller = {{biller}}"""
# SQLite, which has no statistics here, takes a biller for ten rows and would read all of them.
_NUMBERED = {
    "biller": "?1", "number": "?2", "since": "?3", "by_account": "INDEXED BY balances_of_account",
}  # fmt: skip
_PYFORMAT = {"biller": "%(biller)s", "number": "%(number)s", "since": "%(since)s", "by_account": ""}


class Balances:
    """Answers out of a store; threads may share it. Close it before the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        marks = _NUMBERED if store.is_sqlite else _PYFORMAT
        self._invoice, self._account = _INVOICE.format(**marks), _ACCOUNT.format(**marks)
        self._mine = threading.local()
        self._all: list[sqlite3.Connection] = []

    def invoice(
        self, biller: str, number: str, at: datetime, *, pushed_minutes: float, stale_minutes: float
    ) -> Answer:
        """The answer for an invoice, an InvoiceAnswer in it. A push counts for `pushed_minutes` at most.

        Raises StorageTrouble, StagingDamaged.
        """
        rows = self._rows(self._invoice, biller, number, at, pushed_minutes)
        known, late = _known(rows, at, stale_minutes)
        if late:
            return Answer("stale", known)
        if rows[0][1] is None:
            return Answer("unknown", known)
        return Answer("answered", known, _invoice(rows[0][1:12], rows[0][12]))

    def account(
        self, biller: str, number: str, at: datetime, *, pushed_minutes: float, stale_minutes: float
    ) -> Answer:
        """The answer for an account, an AccountAnswer in it: credits on one invoice count for the others."""
        rows = self._rows(self._account, biller, number, at, pushed_minutes)
        known, late = _known(rows, at, stale_minutes)
        if late:
            return Answer("stale", known)
        if rows[0][1] is None and rows[0][12] is None:
            return Answer("unknown", known)
        return Answer("answered", known, _account(number, rows))

    def close(self) -> None:
        """Closes the connections of all threads."""
        while self._all:
            self._all.pop().close()
        self._mine = threading.local()

    def _rows(self, statement: str, biller: str, number: str, at: datetime, minutes: float) -> Sequence[Any]:
        if not _REFERENCE.fullmatch(number):
            number = ""  # no invoice and no account has that number, and no database takes any text
        since = microseconds(at) - round(minutes * _MINUTE)
        if not self._store.is_sqlite:
            with self._store.reading() as connection:
                values = {"biller": biller, "number": number, "since": since}
                return connection.exec_driver_sql(statement, values).all()
        try:
            return self._connection().execute(statement, (biller, number, since)).fetchall()
        except UnicodeEncodeError:  # half a character
            return self._connection().execute(statement, (biller, "", since)).fetchall()
        except sqlite3.Error as error:
            self._mine.connection = None
            with self._store.translated():
                raise DBAPIError(None, None, error) from None
        raise AssertionError("translated() raises")

    def _connection(self) -> sqlite3.Connection:
        """This thread's own, in autocommit: a statement read to its end holds no state of the store."""
        connection: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if connection is None:
            with self._store.translated():
                pooled = self._store.engine.raw_connection()
            connection = pooled.driver_connection
            assert isinstance(connection, sqlite3.Connection)
            pooled.detach()  # the pool's few are for those who give them back
            self._all.append(connection)
            self._mine.connection = connection
        return connection


def _known(rows: Sequence[Any], at: datetime, stale_minutes: float) -> tuple[datetime | None, bool]:
    """When IMT was last heard, and whether that is too long ago. No row: there was no refresh yet."""
    known = moment(rows[0][0]) if rows else None
    return known, known is None or at - known > timedelta(minutes=stale_minutes)


def _invoice(facts: Sequence[Any], successor: str | None) -> InvoiceAnswer:
    number, account, status, cents, total, minimum, issued, due, draw, partial, pushed = facts
    pushed = int(pushed or 0)
    live = status in _LIVE
    left = max(0, cents - pushed) if live else 0
    return InvoiceAnswer(
        invoice_number=number, account_number=account, balance_due=_money(left),
        total_amount_due=None if total is None else _money(total),
        minimum_amount_due=None if minimum is None else _money(min(minimum, left)),
        invoice_date=_day(issued), due_date=_day(due), autopay_collection_date=_day(draw),
        allow_partial=None if partial is None else bool(partial),
        payable=left > 0, reason="" if left else "paid" if live else status.lower(),
        successor=successor, pushed_amount=_money(pushed),
    )  # fmt: skip


def _account(number: str, rows: Sequence[Any]) -> AccountAnswer:
    """Its open invoices are IMT's; one that was pushed in full is among them, with 0.00."""
    owed, beside, pushed = 0, int(rows[0][12] or 0), int(rows[0][13] or 0)
    invoices = []
    for row in rows:
        if row[1] is None:
            continue
        owed += row[4]
        pushed += int(row[11] or 0)
        if row[3] == "OPEN":
            invoices.append(_invoice(row[1:12], None))
    invoices.sort(key=lambda invoice: (invoice.due_date or date.max, invoice.invoice_number))
    left = max(0, owed + beside - pushed)
    return AccountAnswer(number, _money(left), left > 0, tuple(invoices), _money(pushed))


def _money(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
