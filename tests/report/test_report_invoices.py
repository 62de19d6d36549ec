"""The invoice side of the page: shown where something was sent, and its numbers are those of the view."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from tasks.pull import staging_of
from tasks.report import write_report
from tasks.staging import outbox as sql
from tasks.staging.polls import record_load
from tasks.staging.query import frame, scalar

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)


def _page(settings: Any) -> str:
    return write_report(settings, "acme", CLOSE).path.read_text("utf-8")


def test_where_every_invoice_stands(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    assert "Where every invoice stands" not in _page(settings)
    with staging_of(settings, "acme").transaction("sent") as connection:
        owed = frame(
            connection,
            "SELECT invoice_number, balance_due FROM imt.invoices WHERE status = 'OPEN' ORDER BY 1 LIMIT 3",
        )
        file = {
            "file_id": "F<1>", "kind": "hourly", "state": "accepted", "records": 3, "amount": Decimal("1234.50"),
            "composed_at": CLOSE, "sent_at": CLOSE, "records_rejected": 1, "receipt_id": "RCPT7",
        }  # fmt: skip
        records = owed.with_columns(
            file_id=pl.lit("F<1>"), line_no=pl.int_range(pl.len()), record_type=pl.lit("A"), composed_at=pl.lit(CLOSE),
            state=pl.Series(["accepted", "accepted", "rejected"]), settled_at=pl.lit(CLOSE),
        )  # fmt: skip
        sql.keep(connection, pl.DataFrame([file]), records, pl.DataFrame())
        record_load(connection, "sent", "outbox", CLOSE)
        every = scalar(connection, "SELECT count(*) FROM imt.invoices")
    page = _page(settings)
    section = page[page.index("Where every invoice stands") :]
    section = section[: section.index("</section>")]
    told = sum(owed["balance_due"][:2], Decimal("0.00"))
    assert f"${told:,.2f}" in section
    assert ">2<" in section
    assert ">1<" in section
    assert f">{every - 3:,}<" in section
    assert "F&lt;1&gt;" in section
    assert "RCPT7" in section
    assert "$1,234.50" in section
