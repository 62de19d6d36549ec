"""A reconcile run on real staging with what InvoiceCloud pushed and asked, and the page that tells of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from checks.contracts import FEEDS, IMT
from checks.describe import columns
from checks.quarantine import split
from tasks.loading import load_file
from tasks.pull import staging_of
from tasks.reconciling import ReconcileResult, push_loss, run_reconcile
from tasks.report import write_report
from tasks.settings import Settings
from tasks.staging.merge import Target, merge
from tasks.staging.polls import record_load
from tasks.staging.query import frame
from tasks.staging.store import Staging

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
LATER = CLOSE + timedelta(hours=1)
SINCE = CLOSE - timedelta(days=10)
INBOUND = f"""
[billers.acme.inbound]
keys = ["env:ACME_PUSH_KEY"]
pump_since = {SINCE:%Y-%m-%dT%H:%M:%SZ}
"""


def ask(settings: Settings, sql: str) -> pl.DataFrame:
    with staging_of(settings, "acme").open() as connection:
        return frame(connection, sql)


def load(settings: Settings, kind: str, rows: pl.DataFrame) -> None:
    """As the collector does: Parquet of text, with all columns of the contract."""
    texts = rows.select(pl.col(name).cast(pl.String) for name in rows.columns)
    names = [column.name for column in columns(IMT[kind])]
    absent = [pl.lit(None, pl.String).alias(name) for name in names if name not in texts.columns]
    file = settings.folder("staging").parent / f"{kind}.parquet"
    texts.with_columns(absent).select(names).write_parquet(file)
    result = load_file(settings, "acme", kind, file, LATER)
    assert (result.status, result.rows_quarantined) == ("ok", 0), result.reasons


def stamp(column: str) -> pl.Expr:
    return pl.col(column).dt.strftime("%Y-%m-%dT%H:%M:%SZ")


def push(settings: Settings) -> pl.DataFrame:
    """Pushes of the last ten days' payments: all but two, one of them with another amount, and one of nobody."""
    payments = ask(
        settings,
        f"""SELECT payment_guid, payment_date, account_number, invoice_number, payment_amount, approved
            FROM feed.payments JOIN recon.items i USING (payment_guid, account_number, invoice_number,
                payment_amount, approved, payment_date)
            WHERE payment_date >= '{SINCE:%Y-%m-%d %H:%M:%S}+00' AND approved AND break_codes IS NULL AND i.payment_line_no IS NULL
              AND state LIKE 'MATCHED%' ORDER BY payment_guid""",
    )
    sent = payments.slice(2).with_row_index("n")
    other = pl.col("payment_amount") + pl.when(pl.col("n") == 0).then(Decimal("5.00")).otherwise(
        Decimal("0.00")
    )
    pushes = sent.select(
        "payment_guid", "account_number", "invoice_number", "approved",
        push_id=pl.format("{}-1", "payment_guid"), variant=pl.lit(1), form=pl.lit("form"),
        received_at=stamp("payment_date"), payment_date=stamp("payment_date"), payment_amount=other,
        account_known=pl.col("n") != 1, above_balance=pl.col("n") == 2,
        handover_sequence=pl.when(pl.col("n") > 2).then(1),
        acknowledged_at=pl.when(pl.col("n") > 3).then(stamp("payment_date")),
    )  # fmt: skip
    ghost = "00000000-0000-4000-8000-00000000dead"
    unknown = pushes.tail(1).with_columns(
        payment_guid=pl.lit(ghost),
        push_id=pl.lit(f"{ghost}-1"),
        received_at=pl.lit(f"{CLOSE - timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}"),
    )
    again = pushes.tail(1).with_columns(
        push_id=pl.lit("again"), variant=pl.lit(2), approved=pl.lit(value=False)
    )
    both = pl.concat([pushes, unknown, again])
    load(settings, "pushes", both)
    return both


def names(result: ReconcileResult) -> dict[str, int]:
    return {row["code"]: row["count"] for row in result.breaks_open}


def test_pushes_and_what_was_lost(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path, INBOUND)
    before = run_reconcile(settings, "acme", CLOSE)
    assert [row["name"] for row in before.pushed] == ["reported", "pushed", "lost"]
    assert before.push_loss == 1
    pushes = push(settings)
    result = run_reconcile(settings, "acme", LATER)
    counts = {row["name"]: row["rows"] for row in result.pushed}
    # The last payment is in the report and pushed, the one of nobody is not counted here.
    assert counts["pushed"] == pushes.height - 2
    assert counts["lost"] == counts["reported"] - counts["pushed"] >= 2
    assert result.push_loss == Decimal(counts["lost"]) / counts["reported"]
    old, new = names(before), names(result)
    assert new["B05"] == old["B05"] + 1
    assert new["B02"] == old["B02"] + 1
    first = pushes["payment_guid"][0]
    breaks = ask(settings, f"SELECT code, amount, evidence FROM recon.breaks WHERE subject = '{first}'")
    assert breaks.select("code", "amount").rows() == [("B05", Decimal("5.00"))]
    assert '"push":[{' in breaks["evidence"][0]
    items = ask(settings, "SELECT count(*) AS n FROM recon.items WHERE pushed_at IS NOT NULL")
    assert items["n"].item() == counts["pushed"]
    assert run_reconcile(settings, "acme", LATER).run_id == result.run_id


def test_the_page_tells_of_the_data_pump(day: Any, tmp_path: Path) -> None:
    silent = day.copy("close", tmp_path / "silent")
    assert "Data Pump" not in write_report(silent, "acme", CLOSE).path.read_text("utf-8")
    settings = day.copy("close", tmp_path / "pumped", INBOUND)
    pushes = push(settings)
    result = run_reconcile(settings, "acme", LATER)
    page = write_report(settings, "acme", LATER).path.read_text("utf-8")
    section = page[page.index('id="h-pump"') :]
    section = re.sub(r"<[^>]+>", " ", section[: section.index("</section>")])
    text = re.sub(r"\s+", " ", section)
    counts = {row["name"]: row for row in result.pushed}
    for name, row in counts.items():
        assert f"{name} payments " in text
        assert f" {row['rows']} ${row['amount']:,.2f}" in text
    loss = result.push_loss
    assert loss is not None
    assert f"Loss rate {(loss * 100).quantize(Decimal('0.01'), 'ROUND_UP')} %" in text
    amounts = pushes["payment_amount"]
    assert f"suspense neither account nor invoice is known to IMT 1 ${amounts[1]:,.2f}" in text
    assert f"more than the invoice owed when the push came 1 ${amounts[2]:,.2f}" in text
    assert "other content under the same GUID 1 –" in text
    assert "1 hand-over file not acknowledged by IMT." in text
    assert f"in no hand-over file that IMT acknowledged 4 ${sum(amounts[:4]):,.2f}" in text


def test_what_was_asked_and_answered(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    open_ = ask(
        settings,
        """SELECT b.invoice_number, b.balance FROM imt.balances b WHERE b.status = 'OPEN' AND b.balance > 20
             AND NOT EXISTS (SELECT 1 FROM feed.payments p WHERE p.invoice_number = b.invoice_number)
           ORDER BY 1 LIMIT 3""",
    ).rows()
    assert len(open_) == 3
    at = CLOSE - timedelta(hours=3)
    asked = [(number, balance, at) for number, balance in open_]
    asked += [(open_[0][0], open_[0][1] + 7, at), (open_[1][0], open_[1][1] + 9, at - timedelta(hours=1))]
    asked += [(open_[2][0], open_[2][1] + 9, at + timedelta(minutes=30))]
    calls = pl.DataFrame(asked, ["invoice_number", "balance_answered", "called_at"], orient="row").with_columns(
        stamp("called_at"), call_id=pl.format("call {}", pl.int_range(pl.len())), subject=pl.lit("INVOICE"),
        form=pl.lit("soap11"), result=pl.lit("answered"), payable=pl.lit("true"), latency_us=pl.lit(900),
    )  # fmt: skip
    load(settings, "rtdr_calls", calls)
    run_reconcile(settings, "acme", LATER)
    found = ask(settings, "SELECT subject, amount FROM recon.breaks WHERE code = 'B27' ORDER BY subject")
    assert found.rows() == [(open_[0][0], Decimal("7.00")), (open_[2][0], Decimal("9.00"))]


def test_payment_lines_are_rows_of_their_own(tmp_path: Path) -> None:
    """Key guid + line: another line is another row, the same line again an amendment, two of one line nobody's."""
    names_ = [column.name for column in columns(FEEDS["payments"])]
    guid = "00000000-0000-4000-8000-000000000001"

    def rows(*lines: tuple[int | None, str]) -> pl.DataFrame:
        facts = {
            "payment_guid": guid,
            "account_number": "0012345678",
            "approved": True,
            "payment_date": CLOSE,
        }
        made = [
            {
                **facts,
                "payment_line_no": line,
                "invoice_number": f"INV-{line}",
                "payment_amount": Decimal(amount),
            }
            for line, amount in lines
        ]
        schema = {column.name: column.dtype for column in columns(FEEDS["payments"])}
        full = pl.DataFrame(made).with_columns(
            pl.lit(None).alias(name) for name in names_ if name not in made[0]
        )
        typed = full.select(pl.col(name).cast(schema[name]) for name in names_)
        return typed.with_row_index("row_no", 1).with_columns(pl.col("row_no").cast(pl.Int64))

    key = ("payment_guid", "payment_line_no")
    parts = split(rows((1, "60.00"), (2, "40.00"), (2, "41.00")), FEEDS["payments"], list(key))
    assert (parts.good["payment_line_no"].to_list(), parts.bad.height) == ([1], 2)
    target = Target("feed", "payments", FEEDS["payments"], key)
    staging = Staging(tmp_path, "acme")
    counts = []
    for n, given in enumerate(
        (rows((1, "60.00"), (2, "40.00"), (None, "9.00")), rows((2, "45.00"), (None, "9.00")))
    ):
        with staging.transaction(f"poll-{n}") as connection:
            told = merge(connection, target, given, poll_id=f"poll-{n}", form="soap", seen_at=CLOSE)
            record_load(connection, f"poll-{n}", "payments", CLOSE)
        counts.append((told.new, told.unchanged, told.amended))
    assert counts == [(3, 0, 0), (0, 1, 1)]


def test_no_push_expected_has_no_rate() -> None:
    assert push_loss([]) is None
    assert push_loss([{"name": "reported", "rows": 0}, {"name": "lost", "rows": 0}]) is None
