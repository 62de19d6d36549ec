"""The stock DuckDB 1.4 client reads a snapshot while everything else runs."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.pull import staging_of
from tasks.snapshot import publish_snapshot
from tasks.staging.query import scalar

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
VIEWS = (
    "v_payment_chain",
    "v_open_breaks",
    "v_daily_cash",
    "v_feed_health",
    "v_enrolment_events",
    "v_invoice_status",
    "v_excluded",
)
CLIENT = """
import duckdb, json, sys
path, queries = sys.argv[1], json.loads(sys.argv[2])
connection = duckdb.connect(path, read_only=True)
answers = [connection.execute(query).fetchall() for query in queries]
connection.close()
attached = duckdb.connect()
attached.execute("ATTACH '" + path + "' AS ic (READ_ONLY)")
answers.append(attached.execute("SELECT count(*) FROM ic.v_payment_chain").fetchall())
print(json.dumps([duckdb.__version__, answers], default=str))
"""


@pytest.fixture(scope="session")
def old_python() -> str:
    """An interpreter with DuckDB 1.4, made by `make test`."""
    root = Path(__file__).parents[2]
    path = os.environ.get("ICFLOWS_DUCKDB14") or str(root / ".venv-duckdb14" / "bin" / "python")
    if not Path(path).exists():
        pytest.fail(f"there is no DuckDB 1.4 client at {path}; run `make test` or set ICFLOWS_DUCKDB14")
    return path


def ask(python: str, path: Path, *queries: str) -> list[Any]:
    done = subprocess.run(
        [python, "-c", CLIENT, str(path), json.dumps(queries)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    version, answers = json.loads(done.stdout)
    assert version.startswith("1.4.")
    return list(answers)


def test_all_views_and_tables_open_in_1_4(day: Any, tmp_path: Path, old_python: str) -> None:
    settings = day.copy("close", tmp_path)
    result = publish_snapshot(settings, "acme", CLOSE)
    names = [*VIEWS, *result.tables]
    quoted = ['"' + name.replace(".", '"."') + '"' for name in names]
    counts = ask(
        old_python, result.latest, *(f"SELECT count(*) FROM (SELECT * FROM {name})" for name in quoted)
    )
    found = {name: answer[0][0] for name, answer in zip(names, counts, strict=False)}
    assert {name: found[name] for name in result.tables} == result.tables
    assert counts[-1] == [[600]]  # attached under another name, the views still find their tables
    assert found["v_open_breaks"] == 42


def test_1_4_gives_the_same_answers(day: Any, tmp_path: Path, old_python: str) -> None:
    settings = day.copy("close", tmp_path)
    result = publish_snapshot(settings, "acme", CLOSE)
    chain, cash, health, comment, raw = ask(
        old_python, result.latest,
        "SELECT state, count(*), sum(payment_amount) FROM v_payment_chain GROUP BY 1 ORDER BY 1",
        "SELECT sum(reported_amount), sum(deposit_amount) FROM v_daily_cash",
        "SELECT feed, late FROM v_feed_health WHERE late IS NOT NULL ORDER BY 1",
        "SELECT comment FROM duckdb_columns() WHERE table_name = 'v_daily_cash' AND column_name = 'difference'",
        "SELECT raw->>'CustomerName', len(reasons) FROM quarantine.payments",
    )[:5]  # fmt: skip
    with staging_of(settings, "acme").open() as connection:
        total = "SELECT sum(payment_amount)::VARCHAR FROM feed.payments WHERE approved"
        assert cash[0][0] == scalar(connection, total)
    assert sum(row[1] for row in chain) == 600
    assert [row[1] for row in health] == [False] * 5
    assert comment[0][0].startswith("reported - settled on the same day")
    assert raw == [["***", 1]]


def test_reading_does_not_wait_for_the_writer(day: Any, tmp_path: Path, old_python: str) -> None:
    settings = day.copy("close", tmp_path)
    result = publish_snapshot(settings, "acme", CLOSE)
    with staging_of(settings, "acme").open() as writer:  # staging is held all the while
        writer.begin()
        writer.execute("DELETE FROM recon.judged; DELETE FROM recon.sides")
        assert ask(old_python, result.latest, "SELECT count(*) FROM recon.items")[0] == [[600]]
        writer.rollback()


def test_a_reader_does_not_hinder_the_next_snapshot(day: Any, tmp_path: Path, old_python: str) -> None:
    settings = day.copy("close", tmp_path)
    result = publish_snapshot(settings, "acme", CLOSE)
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print('open', flush=True); input(); print(c.execute('SELECT as_of::VARCHAR FROM snapshot_info').fetchall())"
    reader = subprocess.Popen(
        [old_python, "-c", hold, str(result.latest)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert reader.stdout
        assert reader.stdout.readline() == "open\n"
        publish_snapshot(settings, "acme", CLOSE + timedelta(hours=2))
        out, _ = reader.communicate("\n", timeout=30)
        assert "2026-10-30 23:00:00" in out  # still the one that it opened
    finally:
        reader.kill()
    new = ask(old_python, result.latest, "SELECT (as_of AT TIME ZONE 'UTC')::VARCHAR FROM snapshot_info")[0]
    assert new == [["2026-10-31 01:00:00"]]
