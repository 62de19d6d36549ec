"""The file that the project writes is the one that the sandbox reads, each by its own code."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from checks.contracts import BifRecords
from checks.describe import polars_schema
from sandbox import Sandbox, bif
from sandbox.carrier import generate
from sandbox.imports import Outcome
from tasks.invoicecloud.bif import FileFacts, load_layout, render

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
FACTS = FileFacts("1234", "11111111-2222-3333-4444-555555555555", "F-1", CLOSE, "America/Chicago")


def records(told: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Events as records of one type; a recall asks for nothing."""
    schema = dict(polars_schema(BifRecords))
    if kind != "A":
        zero = pl.lit(0).cast(pl.Decimal(18, 2))
        told = told.with_columns(total_amount_due=zero, balance_due=zero, minimum_amount_due=zero)
    missing = {name: pl.lit(None, dtype) for name, dtype in schema.items() if name not in told.columns}
    frame = told.with_columns(
        record_type=pl.lit(kind), **{k: v for k, v in missing.items() if k != "record_type"}
    )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def test_a_carriers_bills_are_all_taken(tmp_path: Path) -> None:
    carrier = generate(7, 200, 30, CLOSE, tmp_path, plant={"B26": 0, "B28": 0}, images=1_000)
    new = carrier.table("imt_invoices").filter(pl.col("event") == "NEW")
    rows = pl.concat([records(new, "A"), records(new.head(5), "R"), records(new.tail(3), "D")])
    content = render(load_layout("assumed"), FACTS, rows)
    with Sandbox(carrier.folder, now=CLOSE, sftp_port=None, empty=True) as sandbox:
        outcome = sandbox.exchange.cloud.imports.take(sandbox.exchange.cloud.data, "f.bif", content)
        imported = pl.DataFrame(sandbox.imported())
    assert outcome == Outcome("RCPT000001", new.height + 8)
    assert imported["record_type"].to_list() == rows["record_type"].to_list()
    for name in ("invoice_number", "account_number", "total_amount_due", "balance_due"):
        assert imported[name].to_list() == rows[name].to_list()
    read = bif.read(content, "1234")
    for name in ("invoice_date", "due_date", "autopay_collection_date"):
        assert [getattr(record, name) for record in read] == rows[name].to_list()
    assert {record.allow_partial for record in read} == {True}
    assert [record.minimum for record in read[-8:]] == [Decimal("0.00")] * 8
