"""The small carrier behind the captured answers in tests/data/wire, as a folder of tables."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

MONEY = pl.Decimal(18, 2)
STAMP = pl.Datetime("us", "UTC")
# The captured windows: [2026-11-01, 2026-11-10). At this moment all rows exist.
CAPTURED_NOW = datetime(2026, 11, 10, tzinfo=UTC)
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def write_captured(folder: Path) -> Path:
    """Write the tables into `folder` (made if missing) and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in _tables().items():
        frame.write_parquet(folder / f"{name}.parquet")
    return folder


def _tables() -> dict[str, pl.DataFrame]:
    return {
        "payments": _payments(),
        "settlements": _settlements(),
        "ach_rejects": _rejects(),
        "autopay": _autopay(),
        "paperless": _paperless(),
        "customers": _customers(),
        "ic_invoices": _invoices(),
    }


def _guid(number: int) -> str:
    return f"00000000-0000-0000-0000-000000abc{number:03d}"


def _at(day: int, hour: int, minute: int = 0, second: int = 0, millisecond: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, second, millisecond * 1000, tzinfo=UTC)


def _frame(schema: dict[str, Any], rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row")


def _payments() -> pl.DataFrame:
    schema = {
        "payment_guid": pl.String,
        "payment_date": STAMP,
        "account_number": pl.String,
        "invoice_number": pl.String,
        "invoice_type_id": pl.Int32,
        "payment_amount": MONEY,
        "convenience_fee": MONEY,
        "approved": pl.Boolean,
        "payment_type_id": pl.Int32,
        "card_type": pl.String,
        "payment_source": pl.String,
        "payment_message": pl.String,
        "biller_reference": pl.String,
        "customer_name": pl.String,
        "processor_reference": pl.String,
        "agent_code": pl.String,
    }
    yes, fee = "Approved", Decimal("2.95")
    # fmt: off
    rows: list[tuple[object, ...]] = [
        (_guid(1), _at(1, 5, 59, 59), "0012345", "INV-0001", 3, Decimal("120.50"), fee, True, 1, "VISA",
         "PORTAL", yes, "", "Ana Díaz", "CH0001", None),
        (_guid(2), _at(1, 6), "0012346", "INV-0002", 3, Decimal("88.00"), None, True, 2, None,
         "AUTOPAY", yes, None, "O'Brien & Sons <LLC>", "CH0002", None),
        (_guid(3), _at(1, 7, 30), "0012347", "INV-0003", 3, Decimal("45.10"), fee, False, 1, "MC",
         "PORTAL", "Do not honor", None, "Zoë  Ålund", None, None),
        (_guid(4), _at(1, 8, 15, 30, 123), "0012348", "INV-0004", 4, Decimal("999.99"), None, True, 2, None,
         "AGENTCONNECT", yes, "POL-77", "Lee, J.", "CH0004", "AG-0042"),
    ]
    # fmt: on
    return _frame(schema, rows).with_columns(visible_at=pl.col("payment_date"))


def _settlements() -> pl.DataFrame:
    schema = {
        "settled_batch_id": pl.String,
        "settled_date": pl.Date,
        "tender": pl.String,
        "payment_guid": pl.String,
        "processor_reference": pl.String,
        "account_number": pl.String,
        "invoice_number": pl.String,
        "settled_amount": MONEY,
        "fee_amount": MONEY,
        "transaction_type": pl.String,
        "batch_total": MONEY,
        "batch_item_count": pl.Int32,
    }
    both = Decimal("1087.99")
    # fmt: off
    rows: list[tuple[object, ...]] = [
        ("B20261103-CC", date(2026, 11, 3), "CARD", _guid(1), "CH0001", "0012345", "INV-0001",
         Decimal("120.50"), Decimal("2.95"), "PAYMENT", Decimal("120.50"), 1),
        ("B20261104-EFT", date(2026, 11, 4), "EFT", _guid(2), "CH0002", "0012346", "INV-0002",
         Decimal("88.00"), None, "PAYMENT", both, 2),
        ("B20261104-EFT", date(2026, 11, 4), "EFT", _guid(4), "CH0004", "0012348", "INV-0004",
         Decimal("999.99"), None, "PAYMENT", both, 2),
    ]
    # fmt: on
    visible = pl.col("settled_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(
        hours=20
    )
    return _frame(schema, rows).with_columns(visible_at=visible)


def _rejects() -> pl.DataFrame:
    schema = {
        "reject_date": STAMP,
        "original_payment_guid": pl.String,
        "original_payment_date": STAMP,
        "account_number": pl.String,
        "invoice_number": pl.String,
        "reject_amount": MONEY,
        "return_code": pl.String,
        "return_reason": pl.String,
        "reject_sequence": pl.Int32,
    }
    row = (
        _at(5, 9),
        _guid(2),
        _at(1, 6),
        "0012346",
        "INV-0002",
        Decimal("88.00"),
        "R01",
        "Insufficient Funds",
        1,
    )
    return _frame(schema, [row]).with_columns(visible_at=pl.col("reject_date"))


def _spans(schema: dict[str, Any], rows: list[tuple[object, ...]]) -> pl.DataFrame:
    """Rows that hold since long ago and for good."""
    return _frame(schema, rows).with_columns(
        valid_from=pl.lit(_LONG_AGO, STAMP), valid_to=pl.lit(None, STAMP)
    )


def _autopay() -> pl.DataFrame:
    schema = {
        "account_number": pl.String,
        "invoice_type_id": pl.Int32,
        "autopay": pl.Boolean,
        "enrolled_at": STAMP,
        "payment_method": pl.String,
        "draw_offset_days": pl.Int32,
        "email": pl.String,
        "customer_id": pl.String,
    }
    enrolled = datetime(2026, 1, 15, 14, tzinfo=UTC)
    return _spans(
        schema,
        [
            ("0012346", 3, True, enrolled, "EFT", 2, "obrien@example.com", "C-2"),
            ("0012349", 3, False, None, "CARD", None, "x@example.com", "C-5"),
        ],
    )


def _paperless() -> pl.DataFrame:
    schema = {
        "account_number": pl.String,
        "invoice_type_id": pl.Int32,
        "paper_invoices": pl.Boolean,
        "email": pl.String,
        "registered": pl.Boolean,
        "registration_date": STAMP,
        "email_bounced": pl.Boolean,
        "customer_id": pl.String,
    }
    registered = datetime(2025, 6, 1, 12, tzinfo=UTC)
    return _spans(
        schema,
        [
            ("0012345", 3, False, "ana@example.com", True, registered, False, "C-1"),
            ("0012347", 3, True, "zoe@example.com", True, None, True, "C-3"),
        ],
    )


def _customers() -> pl.DataFrame:
    schema = {
        "customer_id": pl.String,
        "account_number": pl.String,
        "customer_name": pl.String,
        "email": pl.String,
        "autopay": pl.Boolean,
        "paper_invoices": pl.Boolean,
        "registered": pl.Boolean,
        "registration_date": STAMP,
        "login_name": pl.String,
    }
    row = ("C-2", "0012346", "O'Brien & Sons <LLC>", "obrien@example.com", True, True, True, None, None)
    return _frame(schema, [row])


def _invoices() -> pl.DataFrame:
    schema = {
        "account_number": pl.String,
        "invoice_number": pl.String,
        "invoice_date": pl.Date,
        "due_date": pl.Date,
        "autopay_collection_date": pl.Date,
        "total_amount_due": MONEY,
        "balance_due": MONEY,
        "minimum_amount_due": MONEY,
        "allow_partial": pl.Boolean,
    }
    due = date(2026, 11, 10)
    row = (
        "0012345",
        "INV-0001",
        date(2026, 10, 20),
        due,
        None,
        Decimal("120.50"),
        Decimal("0.00"),
        None,
        True,
    )
    return _frame(schema, [row])
