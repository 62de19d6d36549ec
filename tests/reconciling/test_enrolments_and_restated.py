"""Real staging: IMT's flags beside InvoiceCloud's lists, bills that AutoPay is to draw, rows that were restated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from checks.contracts import FEEDS
from checks.describe import columns
from tasks.loading import load_file
from tasks.pull import staging_of
from tasks.reconciling import run_reconcile
from tasks.settings import Settings
from tasks.staging.inputs import read_held
from tasks.staging.merge import Target, merge
from tasks.staging.polls import record_load
from tasks.staging.query import frame

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
STEP = timedelta(minutes=20)  # payments are late after four hours, and then nothing closes
_RESTATED_KEY = ("payment_guid", "payment_line_no")


def ask(settings: Settings, sql: str) -> pl.DataFrame:
    with staging_of(settings, "acme").open() as connection:
        return frame(connection, sql)


def found(settings: Settings, code: str) -> list[tuple[Any, ...]]:
    sql = f"SELECT subject, amount, state FROM recon.breaks WHERE code = '{code}' ORDER BY subject"
    return ask(settings, sql).rows()


def restate(settings: Settings, guid: str, more: str, at: datetime) -> None:
    """Another answer of the payments feed: one row with `more` USD added."""
    names = [column.name for column in columns(FEEDS["payments"])]
    row = ask(settings, f"SELECT * FROM feed.payments WHERE payment_guid = '{guid}'").select(names)
    amount = (pl.col("payment_amount") + pl.lit(Decimal(more))).cast(pl.Decimal(18, 2))
    row = row.with_columns(amount).with_row_index("row_no", 1).with_columns(pl.col("row_no").cast(pl.Int64))
    target, poll_id = Target("feed", "payments", FEEDS["payments"], _RESTATED_KEY), f"poll-{at:%H%M}"
    with staging_of(settings, "acme").transaction(poll_id) as connection:
        assert merge(connection, target, row, poll_id=poll_id, form="soap", seen_at=at).amended == 1
        record_load(connection, poll_id, "poll", at)


def test_a_row_restated_after_its_match_stays_told(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    matched = "SELECT payment_guid FROM recon.items WHERE state LIKE 'MATCHED%' ORDER BY 1"
    guid = ask(settings, matched)["payment_guid"][0]
    restate(settings, guid, "1.00", CLOSE + STEP)
    first = run_reconcile(settings, "acme", CLOSE + 2 * STEP)
    assert found(settings, "B44") == [(guid, Decimal("1.00"), "open")]
    assert "B44" in [row["code"] for row in first.new_high]
    again = run_reconcile(settings, "acme", CLOSE + 2 * STEP)
    assert again.run_id == first.run_id
    later = run_reconcile(settings, "acme", CLOSE + 3 * STEP)
    assert found(settings, "B44") == [(guid, Decimal("1.00"), "open")]
    assert "B44" not in [row["code"] for row in later.new_high]
    restate(settings, guid, "-1.00", CLOSE + 4 * STEP)
    run_reconcile(settings, "acme", CLOSE + 5 * STEP)
    assert found(settings, "B44") == [(guid, Decimal("1.00"), "closed")]


def test_flags_of_imt_switch_enrolments_on(day: Any, tmp_path: Path) -> None:
    """A list of flags that says what IC says, but for one account of each kind."""
    settings = day.copy("close", tmp_path)
    assert [found(settings, code) for code in ("B32", "B33", "B34", "B35")] == [[], [], [], []]
    ic = "SELECT account_number, bool_or({0}) AS enrolled FROM feed.{1} GROUP BY 1 HAVING bool_or({0}) ORDER BY 1"
    lists = {
        name: ask(settings, ic.format(column, name))
        for name, column in (("autopay", "autopay"), ("paperless", "paperless"))
    }
    flags = [rows.slice(1).with_columns(pl.lit(name.upper()).alias("list")) for name, rows in lists.items()]
    file = tmp_path / "flags.csv"
    pl.concat(flags).with_columns(pl.lit("2026-10-01T00:00:00Z").alias("changed_at")).write_csv(file)
    loaded = load_file(settings, "acme", "enrolment-flags", file, CLOSE + STEP)
    assert loaded.rows_quarantined == 0
    run_reconcile(settings, "acme", CLOSE + 2 * STEP)
    first = {name: rows["account_number"][0] for name, rows in lists.items()}
    assert found(settings, "B32") == [(first["autopay"], Decimal("0.00"), "open")]
    assert (first["paperless"], Decimal("0.00"), "open") in found(settings, "B33")
    drawn = ask(settings, "SELECT * FROM recon.breaks WHERE code = 'B34'")
    owed = ask(settings, "SELECT invoice_number AS subject, balance AS amount FROM imt.balances")
    assert drawn.height > 0
    assert drawn.join(owed, on=["subject", "amount"], how="anti").is_empty()


def test_an_account_that_a_complete_list_names_no_more_is_known_with_its_time(
    day: Any, tmp_path: Path
) -> None:
    settings = day.copy("close", tmp_path)
    rows = pl.DataFrame({"account_number": ["1", "2"], "list": ["AUTOPAY"] * 2, "enrolled": ["true"] * 2})
    for n in (2, 1):
        file = tmp_path / f"flags-{n}.csv"
        rows.head(n).write_csv(file)
        load_file(settings, "acme", "enrolment-flags", file, CLOSE + (3 - n) * STEP)
    with staging_of(settings, "acme").open() as connection:
        held = read_held(connection).inputs
    gone = held.flags.select("account_number", "gone_at").sort("account_number").rows()
    assert gone == [("1", None), ("2", CLOSE + 2 * STEP)]
    assert "enrolment_flags" in held.polls["feed"].unique().to_list()


def test_a_layout_refused_stands_until_a_good_answer(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)

    def answered(n: int, status: str, reason: str | None) -> None:
        at = CLOSE + n * STEP
        with staging_of(settings, "acme").transaction(f"drift-{n}") as connection:
            connection.execute(
                """INSERT INTO poll.runs BY NAME SELECT * REPLACE ($1 AS poll_id, $2::TIMESTAMPTZ AS requested_at,
                   $2::TIMESTAMPTZ AS finished_at, $3 AS status, $4 AS reason, 'column TotalAmount is missing' AS message)
                   FROM poll.runs WHERE feed = 'settlements' ORDER BY requested_at DESC LIMIT 1""",
                [f"drift-{n}", at, status, reason],
            )
            record_load(connection, f"drift-{n}", "settlements", at)

    answered(1, "failed", "schema_drift")
    run_reconcile(settings, "acme", CLOSE + 2 * STEP)
    assert found(settings, "B38") == [("settlements", Decimal("0.00"), "open")]
    answered(3, "ok", None)
    run_reconcile(settings, "acme", CLOSE + 4 * STEP)
    assert found(settings, "B38") == [("settlements", Decimal("0.00"), "closed")]
