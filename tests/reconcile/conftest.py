"""A hand-made world of a few rows: one account, October 2026, Chicago time, every feed complete."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.reconcile import BankingCalendar, Inputs, Outcome, load_rules, reconcile
from tasks.reconcile.model import SCHEMAS

ZONE = "America/Chicago"
FEEDS = ("payments", "settlements", "ach_rejects", "autopay", "paperless", "enrolment_flags")


def guid(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012d}"


def utc(day: int, hour: int = 15, minute: int = 0, *, month: int = 10) -> datetime:
    """A moment of October 2026 (UTC); 15:00 is 10:00 in Chicago."""
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


class World:
    """Collects rows and runs reconcile on them. Money is given as text."""

    zone = ZONE
    calendar = BankingCalendar()

    def __init__(self, as_of: datetime | None = None, **rules: Any) -> None:
        self.as_of = as_of or utc(30, 23)
        self.rules = load_rules({"zone": ZONE, **rules})
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
        self.polled = True
        self.sends = True
        self._last: tuple[str, Outcome] | None = None

    def payment(self, n: int = 1, amount: str = "100.00", at: datetime | None = None, **more: Any) -> str:
        at = at or utc(5)
        row = {"payment_guid": guid(n), "payment_date": at, "account_number": "0012345678", "approved": True}
        row |= {
            "invoice_number": f"INV-{n}",
            "payment_amount": amount,
            "convenience_fee": "2.50",
            "tender": "CARD",
        }
        row |= {"processor_reference": f"PR{n}", "first_seen_at": at + timedelta(hours=2)}
        self.rows["payments"].append(row | more)
        return guid(n)

    def posting(self, n: int = 1, amount: str = "100.00", at: datetime | None = None, **more: Any) -> str:
        at = at or utc(5, 18)
        id_: str = more.pop("posting_id", f"P{len(self.rows['postings']) + 1}")
        row = {"posting_id": id_, "payment_guid": guid(n), "account_number": "0012345678", "amount": amount}
        row |= {"invoice_number": f"INV-{n}", "kind": "PAYMENT", "origin": "IC", "status": "POSTED"}
        times = {"posted_at": at, "effective_date": at.date()}
        self.rows["postings"].append({**row, **times, **more})
        return id_

    def settled(self, n: int = 1, amount: str = "100.00", on: date | None = None, **more: Any) -> None:
        """One row in a batch of its own day; totals of the batch are filled in when run."""
        on = on or date(2026, 10, 7)
        seen = datetime(on.year, on.month, on.day, 23, tzinfo=UTC)
        row = {"settled_batch_id": f"B{on}", "settled_date": on, "tender": "CARD", "payment_guid": guid(n)}
        row |= {"processor_reference": f"PR{n}", "settled_amount": amount, "transaction_type": "PAYMENT"}
        row |= {"account_number": "0012345678", "invoice_number": f"INV-{n}", "first_seen_at": seen}
        self.rows["settlements"].append(row | {"last_seen_at": seen} | more)

    def returned(self, n: int = 1, amount: str = "100.00", at: datetime | None = None, **more: Any) -> None:
        row = {"original_payment_guid": guid(n), "reject_date": at or utc(9), "reject_amount": amount}
        row |= {"original_payment_date": utc(5), "account_number": "0012345678", "invoice_number": f"INV-{n}"}
        self.rows["ach_rejects"].append(row | {"return_code": "R01", "reject_sequence": 1} | more)

    def poll(
        self, feed: str, start: datetime | None, end: datetime | None, status: str = "ok", **more: Any
    ) -> None:
        at = more.pop("at", end or self.as_of)
        row = {"feed": feed, "window_from": start, "window_to": end, "requested_at": at, "finished_at": at}
        self.rows["polls"].append(row | {"status": status} | more)

    def invoice(
        self, number: str = "INV-1", status: str = "OPEN", at: datetime | None = None, **more: Any
    ) -> str:
        """An invoice as IMT has it since `at`, told ten minutes later."""
        at = at or utc(5)
        row = {"invoice_number": number, "account_number": "0012345678", "status": status, "changed_at": at}
        row |= {"told_at": at + timedelta(minutes=10), "still_in_imt": True, "balance_due": "80.00"}
        self.rows["invoices"].append(row | {"total_amount_due": "100.00"} | more)
        return number

    def record(
        self, number: str = "INV-1", kind: str = "A", at: datetime | None = None, **more: Any
    ) -> dict[str, Any]:
        """A record of a file of its own, composed at `at`, accepted five minutes later."""
        at, n = at or utc(5, 16), len(self.rows["records"]) + 1
        money = ("100.00", "80.00") if kind == "A" else ("0.00", "0.00")
        row = {"file_id": f"F{n}", "line_no": 2, "record_type": kind, "invoice_number": number}
        row |= {"account_number": "0012345678", "total_amount_due": money[0], "balance_due": money[1]}
        row |= {"state": "accepted", "file_state": "accepted", "occurred_at": at, "composed_at": at}
        row |= {"settled_at": at + timedelta(minutes=5)}
        self.rows["records"].append(row | more)
        return row | more

    def look(self, number: str = "INV-1", at: datetime | None = None, **more: Any) -> None:
        row = {"look_id": f"L{len(self.rows['looks']) + 1}", "invoice_number": number, "at": at or utc(6)}
        self.rows["looks"].append(row | {"found": True, "balance_due": "80.00"} | more)

    def split(self, *amounts: str, n: int = 1, **more: Any) -> str:
        """One payment over invoices INV-11, INV-12, …: a row for each amount, in order of its line."""
        for line, amount in enumerate(amounts, 1):
            self.payment(n, amount, **{"payment_line_no": line, "invoice_number": f"INV-1{line}"} | more)
        return guid(n)

    def push(self, n: int = 1, amount: str = "100.00", at: datetime | None = None, **more: Any) -> None:
        """A push that says the same as payment(n), a minute after it."""
        at = at or utc(5)
        row = {"push_id": f"{guid(n)}-{more.get('variant', 1)}", "payment_guid": guid(n), "variant": 1}
        row |= {"received_at": at + timedelta(minutes=1), "payment_date": at, "approved": True}
        row |= {"account_number": "0012345678", "invoice_number": f"INV-{n}", "payment_amount": amount}
        self.rows["pushes"].append(row | more)

    def event(self, number: str = "INV-1", balance: str = "100.00", at: datetime | None = None) -> None:
        row = {"invoice_number": number, "occurred_at": at or utc(1), "balance_due": balance}
        self.rows["events"].append(row)

    def owes(
        self, number: str = "INV-1", balance: str = "80.00", at: datetime | None = None, **more: Any
    ) -> None:
        """What IMT says an invoice owes, and since when."""
        row = {"invoice_number": number, "account_number": "0012345678", "status": "OPEN", "balance": balance}
        self.rows["balances"].append(row | {"changed_at": at or utc(5)} | more)

    def answered(
        self, number: str = "INV-1", balance: str = "80.00", at: datetime | None = None, **more: Any
    ) -> None:
        """What InvoiceCloud asked of an invoice and was answered."""
        row = {
            "called_at": at or utc(6),
            "subject": "INVOICE",
            "invoice_number": number,
            "result": "answered",
        }
        self.rows["calls"].append(row | {"balance_answered": balance} | more)

    def bank(self, amount: str = "100.00", on: date | None = None, **more: Any) -> str:
        """A line of the bank's statement that is InvoiceCloud's by its words."""
        id_: str = more.pop("line_id", f"L{len(self.rows['bank_lines']) + 1}")
        row = {"line_id": id_, "bank_account_last4": "4321", "value_date": on or date(2026, 10, 8)}
        row |= {"amount": amount, "type_code": "165", "text": "INVOICE CLOUD SETTLEMENT"}
        self.rows["bank_lines"].append(row | more)
        return id_

    def disputed(
        self, n: int = 1, amount: str = "100.00", on: date | None = None, stage: str = "FIRST", **more: Any
    ) -> str:
        """One stage of a card dispute."""
        id_ = f"CASE{n}-{stage}"
        row = {"chargeback_id": id_, "case_no": f"CASE{n}", "stage": stage, "payment_guid": guid(n)}
        row |= {"chargeback_date": on or date(2026, 10, 14), "amount": amount, "account_number": "0012345678"}
        self.rows["chargebacks"].append(row | more)
        return id_

    def refunded(self, n: int = 1, amount: str = "100.00", on: date | None = None, **more: Any) -> str:
        """A refund as the portal lists it."""
        id_: str = more.pop("refund_id", f"RF{len(self.rows['refunds']) + 1}")
        row = {"refund_id": id_, "refund_date": on or date(2026, 10, 14), "payment_guid": guid(n)}
        row |= {"amount": amount, "account_number": "0012345678"}
        self.rows["refunds"].append(row | more)
        return id_

    def add(self, table: str, **row: Any) -> None:
        """A row of files, images, guards, held or open_at_ic."""
        self.rows[table].append(row)

    def chain(self, n: int = 1, amount: str = "100.00", **more: Any) -> str:
        """A payment that is posted and settled as it should be."""
        self.payment(n, amount, **more)
        self.posting(n, amount)
        self.settled(n, amount)
        return guid(n)

    def inputs(self) -> Inputs:
        if self.polled and not self.rows["polls"]:
            for feed in FEEDS:
                windowed = feed in FEEDS[:3]
                self.poll(feed, utc(1, 5, month=8) if windowed else None, self.as_of if windowed else None)
            for file in ("chargebacks", "refunds"):
                if self.rows[file]:
                    self.poll(file, utc(1, 5, month=8), self.as_of)
        frames = {name: _frame(self.rows[name], schema) for name, schema in SCHEMAS.items()}
        frames["settlements"] = _with_batch_totals(frames["settlements"])
        if self.sends and frames["files"].is_empty():
            first = {"file_id": "F0", "state": "accepted", "composed_at": utc(1)}
            frames["files"] = _frame([first], SCHEMAS["files"])
        return Inputs(**frames)

    def run(self) -> Outcome:
        """What reconcile makes of the rows; asked again of the same rows, the same answer."""
        inputs, rows = self.inputs(), repr((self.rows, self.as_of, self.rules))
        if self._last is None or self._last[0] != rows:
            self._last = rows, reconcile(inputs, self.rules, self.as_of, self.calendar)
        return self._last[1]

    def found(self) -> list[tuple[str, str, Decimal]]:
        """code, subject and amount of every break."""
        return self.run().breaks.select("code", "subject", "amount").rows()

    def told(self, code: str) -> str:
        """The sentence of the only break of a class."""
        sentence: str = self.run().breaks.filter(pl.col("code") == code)["sentence"].item()
        return sentence

    def item(self, n: int = 1) -> dict[str, Any]:
        return self.run().items.row(by_predicate=pl.col("payment_guid") == guid(n), named=True)


def _frame(rows: list[dict[str, Any]], schema: Any) -> pl.DataFrame:
    columns = {
        name: pl.Series(name, [_value(row.get(name), kind) for row in rows], kind)
        for name, kind in schema.items()
    }
    return pl.DataFrame(columns)


def _value(value: Any, kind: Any) -> Any:
    return Decimal(value) if isinstance(value, str) and kind == pl.Decimal(18, 2) else value


def _with_batch_totals(frame: pl.DataFrame) -> pl.DataFrame:
    total = pl.col("settled_amount").sum().over("settled_batch_id").cast(pl.Decimal(18, 2))
    count = pl.len().over("settled_batch_id").cast(pl.Int32)
    return frame.with_columns(
        pl.col("batch_total").fill_null(total), pl.col("batch_item_count").fill_null(count)
    )


@pytest.fixture(scope="session")
def world() -> type[World]:
    return World


@pytest.fixture(scope="session")
def moment() -> Any:
    """utc(day, hour, minute) of October 2026."""
    return utc


@pytest.fixture(scope="session")
def guid_of() -> Any:
    return guid
