"""What a snapshot holds: the tables of staging, views that tie out to them, words for every column."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from checks.contracts import FEEDS, IMT, BifRecords
from checks.describe import columns, pii_columns
from tasks.pull import staging_of
from tasks.settings import Settings
from tasks.snapshot import SnapshotResult, publish_snapshot
from tasks.staging.query import frame, scalar

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
MADE = datetime(2026, 11, 1, 8, tzinfo=UTC)
LINEAGE = ["source_form", "poll_id", "row_no", "first_seen_at", "last_seen_at", "version"]
VIEWS = (
    "v_payment_chain",
    "v_open_breaks",
    "v_daily_cash",
    "v_feed_health",
    "v_enrolment_events",
    "v_invoice_status",
    "v_push_chain",
    "v_agent_payments",
    "v_agents",
    "v_balance_calls",
    "v_excluded",
    "v_break_work",
    "v_break_ageing",
    "v_kpis",
    "v_late_items",
)


@pytest.fixture(scope="module")
def published(day: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, SnapshotResult]:
    settings = day.copy("close", tmp_path_factory.mktemp("published"))
    return settings, publish_snapshot(settings, "acme", CLOSE, clock=lambda: MADE)


@pytest.fixture
def snapshot(published: tuple[Settings, SnapshotResult]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(published[1].latest), read_only=True) as connection:
        yield connection


def test_result_and_names(published: tuple[Settings, SnapshotResult]) -> None:
    settings, result = published
    folder = settings.folder("snapshots") / "acme"
    assert result.path == folder / "20261030T230000Z.duckdb"
    assert result.latest == folder / "latest.duckdb"
    assert result.bytes == result.path.stat().st_size
    assert sorted(p.name for p in folder.iterdir()) == [".lock", "20261030T230000Z.duckdb", "latest.duckdb"]
    assert result.tables["feed.payments"] == 600
    assert result.tables["quarantine.payments"] == 1
    assert {f"feed.{name}_versions" for name in FEEDS} < set(result.tables)


@pytest.mark.parametrize(("schema", "table"), [*(("feed", n) for n in FEEDS), *(("imt", n) for n in IMT)])
def test_tables_have_the_contracts_columns(snapshot: Any, schema: str, table: str) -> None:
    contract = {**FEEDS, **IMT}[table]
    current = snapshot.execute(f"DESCRIBE {schema}.{table}").fetchall()
    names = [row[0] for row in current]
    assert names == [c.name for c in columns(contract)] + LINEAGE
    types = {row[0]: row[1].replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ") for row in current}
    assert {c.name: types[c.name] for c in columns(contract)} == {
        c.name: c.sql_type for c in columns(contract)
    }
    versions = [row[0] for row in snapshot.execute(f"DESCRIBE {schema}.{table}_versions").fetchall()]
    assert set(names) < set(versions)


def test_rows_are_those_of_staging(published: tuple[Settings, SnapshotResult], snapshot: Any) -> None:
    contracts = FEEDS | IMT | {"records": BifRecords}
    with staging_of(published[0], "acme").open() as connection:
        for name in published[1].tables:
            schema, table = name.split(".")
            contract = contracts.get(table.removesuffix("_versions"))
            private = ["raw"] if schema == "quarantine" else pii_columns(contract) if contract else []
            what = f"* EXCLUDE ({', '.join(private)})" if private else "*"
            sql = f'SELECT {what} FROM "{schema}"."{table}" ORDER BY ALL'
            assert frame(snapshot, sql).rows() == frame(connection, sql).rows(), name


def test_info_says_whose_and_as_of_when(snapshot: Any) -> None:
    info = frame(snapshot, "FROM snapshot_info").row(0, named=True)
    assert (info["biller"], info["as_of"], info["made_at"], info["masked"]) == ("acme", CLOSE, MADE, True)
    assert (info["storage_version"], info["last_run_as_of"], info["time_zone"]) == (
        "v1.4.0",
        CLOSE,
        "America/Chicago",
    )


def test_everything_has_words(snapshot: Any) -> None:
    silent = snapshot.execute(
        """SELECT schema_name || '.' || table_name || '.' || column_name FROM duckdb_columns()
           WHERE NOT internal AND coalesce(comment, '') = ''
           UNION ALL SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE coalesce(comment, '') = ''
           UNION ALL SELECT schema_name || '.' || view_name FROM duckdb_views()
                     WHERE NOT internal AND coalesce(comment, '') = ''"""
    ).fetchall()
    assert silent == []
    assert scalar(
        snapshot, "SELECT comment FROM duckdb_columns() WHERE column_name = 'zip' AND table_name = 'payments'"
    ) == ("payer's postal code [personal data]")


def test_no_view_reads_a_clock(snapshot: Any) -> None:
    texts = snapshot.execute("SELECT lower(sql) FROM duckdb_views() WHERE NOT internal").fetchall()
    assert (
        len(texts) == len(VIEWS) + len(FEEDS) + len(IMT) + 3
    )  # and imt.invoices, imt.balances, imt.account_balances
    clocks = ("now(", "current_date", "current_time", "today(", "localtime", "transaction_timestamp")
    assert not [text for (text,) in texts if any(word in text for word in clocks)]


def test_chain_has_each_payment_once_with_its_state(snapshot: Any) -> None:
    chain = frame(snapshot, "FROM v_payment_chain")
    assert chain.height == 600
    assert chain.select("payment_guid", "payment_line_no").is_unique().all()
    assert chain.filter(pl.col("payment_line_no").is_null())["payment_guid"].is_unique().all()
    by_state = frame(
        snapshot,
        "SELECT state AS name, count(*) AS rows, sum(payment_amount) AS amount FROM v_payment_chain GROUP BY 1",
    )
    totals = frame(snapshot, "SELECT name, rows, amount FROM recon.totals WHERE kind = 'state' AND rows > 0")
    assert sorted(by_state.rows()) == sorted(totals.rows())
    late = frame(
        snapshot, "SELECT paid_on, paid_at FROM v_payment_chain WHERE hour(paid_at AT TIME ZONE 'UTC') < 5"
    )
    assert late.height > 0
    assert (late["paid_on"] == late["paid_at"].dt.date().dt.offset_by("-1d")).all()  # the day in Chicago


def test_open_breaks_are_those_of_the_run(snapshot: Any) -> None:
    view = frame(snapshot, "FROM v_open_breaks")
    kept = frame(snapshot, "SELECT break_id, age FROM recon.breaks WHERE state = 'open'")
    assert sorted(view.select("break_id", "open_banking_days").rows()) == sorted(kept.rows())
    assert view["severity"].rle().struct.field("value").to_list() == ["HIGH", "MED"]
    high = view.filter(pl.col("severity") == "HIGH")["amount"].abs().to_list()
    assert high == sorted(high, reverse=True)
    row = view.filter(pl.col("opened_on") == date(2026, 10, 27)).row(0, named=True)
    assert (row["open_days"], row["open_banking_days"]) == (3, 3)
    assert row["age_days"] == (date(2026, 10, 30) - row["occurred_on"]).days


def test_daily_cash_ties_out(snapshot: Any) -> None:
    cash = frame(snapshot, "FROM v_daily_cash")
    assert cash.select("day", "tender").is_unique().all()
    sums = cash.select(pl.col(pl.Decimal).sum()).row(0, named=True)
    assert sums["deposit_amount"] == scalar(snapshot, "SELECT sum(settled_amount) FROM feed.settlements")
    parts = ("settled_amount", "reject_amount", "cloudstore_amount", "other_amount")
    assert sum(sums[name] for name in parts) == sums["deposit_amount"]
    accepted = "SELECT sum(payment_amount) FROM feed.payments WHERE approved"
    assert sums["reported_amount"] == scalar(snapshot, accepted)
    assert sums["difference"] == sums["reported_amount"] - sums["settled_amount"]
    assert sums["cloudstore_amount"] == scalar(
        snapshot, "SELECT amount FROM recon.totals WHERE name = 'CLOUDSTORE'"
    )
    assert sums["reject_amount"] < 0
    assert sums["unsettled_amount"] > 0


def test_excluded_is_what_the_verdicts_excluded(snapshot: Any) -> None:
    seen = frame(
        snapshot, "SELECT count(*)::BIGINT AS rows, sum(settled_amount) AS amount FROM v_excluded"
    ).row(0)
    told = frame(
        snapshot, "SELECT rows, amount FROM recon.totals WHERE kind = 'excluded' AND name = 'CLOUDSTORE'"
    ).row(0)
    assert seen == told
    without = set(
        frame(snapshot, "SELECT processor_reference FROM v_excluded WHERE NOT has_record")[
            "processor_reference"
        ]
    )
    planted = set(frame(snapshot, "SELECT subject FROM recon.breaks WHERE code = 'B42'")["subject"])
    assert planted
    assert planted <= without


def test_feed_health(snapshot: Any) -> None:
    health = {row["feed"]: row for row in frame(snapshot, "FROM v_feed_health").to_dicts()}
    assert list(health) == [*FEEDS, "invoice_events", "postings"]
    payments = health["payments"]
    assert (payments["late"], payments["current_rows"], payments["quarantined"]) == (False, 600, 1)
    assert payments["watermark"] == CLOSE - timedelta(minutes=5)
    assert payments["last_ok_at"] - CLOSE < timedelta(seconds=10)
    assert health["postings"]["late"] is None
    assert health["postings"]["last_ok_at"] is not None


def test_later_a_feed_is_late_and_the_rest_is_not_compared(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    with staging_of(settings, "acme").open() as connection:
        connection.execute(
            """DELETE FROM recon.judged WHERE tender = 'CARD';
               DELETE FROM recon.kinds WHERE tender = 'CARD'"""
        )
        connection.execute(
            """UPDATE poll.runs SET status = 'failed', reason = 'http_503' WHERE feed = 'paperless'"""
        )
    result = publish_snapshot(settings, "acme", CLOSE + timedelta(hours=9))
    with duckdb.connect(str(result.path), read_only=True) as connection:
        health = {row["feed"]: row for row in frame(connection, "FROM v_feed_health").to_dicts()}
        assert {feed: row["late"] for feed, row in health.items() if row["late"] is not None} == {
            "payments": True, "settlements": True, "ach_rejects": True, "autopay": False, "paperless": True,
        }  # fmt: skip
        assert (health["paperless"]["failed_polls"], health["paperless"]["last_trouble"]) == (2, "http_503")
        cards = scalar(connection, "SELECT count(*) FROM feed.payments WHERE tender = 'CARD'")
        assert cards > 100
        assert (
            scalar(connection, "SELECT count(*) FROM v_payment_chain WHERE state = 'NOT_COMPARED'") == cards
        )
        assert scalar(connection, "SELECT count(*) FROM v_payment_chain") == 600


def test_a_biller_without_anything(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    staging_of(settings, "acme").path.unlink()
    staging_of(settings, "acme").journal.unlink()
    result = publish_snapshot(settings, "acme", CLOSE)
    assert set(result.tables.values()) == {0}
    with duckdb.connect(str(result.latest), read_only=True) as connection:
        assert [scalar(connection, f"SELECT count(*) FROM {view}") for view in VIEWS] == [
            0,
            0,
            0,
            7,
            *[0] * 11,
        ]
        assert scalar(connection, "SELECT last_run_id FROM snapshot_info") is None
        assert frame(connection, "SELECT late FROM v_feed_health WHERE interval_seconds IS NOT NULL")[
            "late"
        ].all()


def test_money_in_the_snapshot_is_exact(snapshot: Any) -> None:
    found = scalar(snapshot, "SELECT max(payment_amount) FROM v_payment_chain")
    assert isinstance(found, Decimal)
    assert found == round(found, 2)


def test_retention(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)  # keep_snapshots = 3, keep_days = 10
    moments = [CLOSE + timedelta(days=n) for n in (0, 4, 5, 6, 30)]
    removed = [[p.name for p in publish_snapshot(settings, "acme", at).removed] for at in moments]
    folder = settings.folder("snapshots") / "acme"
    assert removed[:3] == [[], [], []]
    assert removed[3] == ["20261030T230000Z.duckdb"]
    assert len(removed[4]) == 3
    assert sorted(p.name for p in folder.glob("*.duckdb")) == ["20261129T230000Z.duckdb", "latest.duckdb"]
