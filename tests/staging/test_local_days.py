"""A day of the biller's calendar by offsets of spans is the day that DuckDB's own timezone() tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.staging.local_days import local_day_sql
from tasks.staging.query import scalar

ZONES = ("America/Chicago", "America/New_York", "America/Phoenix", "Pacific/Honolulu", "UTC", "Australia/Lord_Howe",
         "America/Puerto_Rico", "Asia/Kolkata")  # fmt: skip
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
MOST = 3 * 365 * 86_400 * 1_000_000  # microseconds of three years


@pytest.fixture(scope="module")
def memory() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def differing(connection: duckdb.DuckDBPyConnection, zone: str, first: datetime, last: datetime) -> int:
    day = local_day_sql("payment_date", zone, first, last)
    return int(
        scalar(
            connection,
            f"SELECT count(*) FROM moments WHERE {day} IS DISTINCT FROM timezone($1, payment_date)::DATE",
            [zone],
        )
    )


@pytest.mark.parametrize("zone", ZONES)
def test_every_moment_about_a_change_and_every_hour(memory: duckdb.DuckDBPyConnection, zone: str) -> None:
    memory.execute(
        """CREATE OR REPLACE TABLE moments AS
           SELECT TIMESTAMPTZ '2024-01-01 00:00:00Z' + to_seconds(n * 1_799) AS payment_date FROM range(52_560) r (n)
           UNION ALL SELECT change + to_microseconds(n) FROM range(-3, 3) r (n), (
               VALUES (TIMESTAMPTZ '2024-03-10 08:00:00Z'), (TIMESTAMPTZ '2026-11-01 07:00:00Z'),
                      (TIMESTAMPTZ '2026-11-01 05:00:00Z'), (TIMESTAMPTZ '2026-10-03 15:30:00Z')) c (change)"""
    )
    assert differing(memory, zone, BEGIN, BEGIN + timedelta(days=3 * 365)) == 0


@settings(max_examples=60, deadline=None)
@given(zone=st.sampled_from(ZONES), span=st.lists(st.integers(0, MOST), min_size=1, max_size=40))
def test_any_moments(memory: duckdb.DuckDBPyConnection, zone: str, span: list[int]) -> None:
    moments = [BEGIN + timedelta(microseconds=after) for after in span]
    memory.execute(
        "CREATE OR REPLACE TABLE moments AS SELECT unnest($1::TIMESTAMPTZ[]) AS payment_date", [moments]
    )
    assert differing(memory, zone, min(moments), max(moments)) == 0


def test_a_date_far_off_is_asked_of_the_zone_itself(memory: duckdb.DuckDBPyConnection) -> None:
    memory.execute(
        "CREATE OR REPLACE TABLE moments AS SELECT unnest([TIMESTAMPTZ '1901-02-03 04:00Z', TIMESTAMPTZ '2026-11-01 05:30Z'])"
        " AS payment_date"
    )
    assert (
        differing(
            memory, "America/Chicago", datetime(1901, 2, 3, 4, tzinfo=UTC), BEGIN + timedelta(days=1100)
        )
        == 0
    )
