"""Personal data in a snapshot: masked unless wanted, and then not one byte of it is in the file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from checks.contracts import FEEDS
from checks.describe import pii_columns
from tasks.pull import staging_of
from tasks.settings import Settings, load_settings
from tasks.snapshot import publish_snapshot, readable_names
from tasks.staging.query import frame, scalar

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)


def publish(settings: Settings) -> Path:
    return publish_snapshot(settings, "acme", CLOSE).path


def every_pii_column_filled(settings: Settings, canary: str) -> None:
    """IC's default columns carry few of them; a biller may map more."""
    with staging_of(settings, "acme").open() as connection:
        for table, contract in FEEDS.items():
            for name in pii_columns(contract):
                connection.execute(
                    f"""UPDATE feed.{table}_versions SET "{name}" = '{canary}-{name}-' || rowid"""
                )
        connection.execute("CHECKPOINT")


@pytest.mark.parametrize("masked", [True, False])
def test_no_byte_of_a_masked_value(day: Any, acme_day: Any, tmp_path: Path, masked: bool) -> None:
    switch = tmp_path / "icflows.toml"
    day.copy("close", tmp_path)
    text = switch.read_text().replace("[storage]", f"[storage]\nmask_personal_data = {str(masked).lower()}")
    switch.write_text(text)
    settings = load_settings(switch)
    every_pii_column_filled(settings, "PII-CANARY")
    staged = staging_of(settings, "acme").path.read_bytes()
    assert b"PII-CANARY-remote_ip" in staged
    assert f"{acme_day.NAME} in quarantine".encode() in staged
    content = publish(settings).read_bytes()
    assert (b"PII-CANARY" not in content) == masked
    assert (acme_day.NAME.encode() not in content) == masked
    if masked:
        assert acme_day.MAIL.encode() not in content


def test_masked_keeps_null_apart_from_value_and_accounts_readable(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    with duckdb.connect(str(publish(settings)), read_only=True) as connection:
        assert scalar(connection, "SELECT list(DISTINCT customer_name) FROM feed.payments") == ["***"]
        assert (
            scalar(connection, "SELECT count(zip) FROM feed.payments") == 0
        )  # never sent, so nothing to mask
        assert scalar(connection, "SELECT count(DISTINCT email) FROM feed.autopay_versions") == 1
        accounts = frame(connection, "SELECT account_number FROM feed.payments")["account_number"]
        assert accounts.str.contains(r"^\d{8}$").all()


def test_quarantined_rows_stay_readable_but_for_personal_data(
    day: Any, acme_day: Any, tmp_path: Path
) -> None:
    settings = day.copy("close", tmp_path)
    with duckdb.connect(str(publish(settings)), read_only=True) as connection:
        row = frame(
            connection,
            """SELECT raw->>'CustomerName' AS name, raw->>'AccountNumber' AS account, raw->>'PaymentAmount' AS amount,
                      raw->'ConvenienceFee' AS fee, reasons, poll_id FROM quarantine.payments""",
        ).row(0, named=True)
    assert (row["name"], row["account"]) == ("***", acme_day.BAD_ACCOUNT)
    assert float(row["amount"]) > 0
    assert row["reasons"] == ["account_number has a form that is not allowed"]
    assert row["poll_id"].startswith("20261030T230000Z-payments-")


def test_a_renamed_personal_column_is_masked_under_both_names(
    day: Any, acme_day: Any, tmp_path: Path
) -> None:
    """After IC renames a column, rows set aside earlier still carry the old name."""
    more = '\n[billers.acme.feeds.payments.columns.customer_name]\nfrom = "PayerName"\n'
    settings = day.copy("close", tmp_path, more)
    assert not {"PayerName", "CustomerName"} & set(readable_names(settings, "acme")["payments"])
    with staging_of(settings, "acme").open() as connection:
        connection.execute(
            """INSERT INTO quarantine.payments SELECT 'other', poll_id, 2, reasons,
                   replace(raw, 'CustomerName', 'PayerName')::JSON, key_text, first_seen_at, last_seen_at, 1, NULL
               FROM quarantine.payments"""
        )
    path = publish(settings)
    assert acme_day.NAME.encode() not in path.read_bytes()
    with duckdb.connect(str(path), read_only=True) as connection:
        masked = "SELECT count(*) FROM quarantine.payments WHERE '***' IN (raw->>'PayerName', raw->>'CustomerName')"
        assert scalar(connection, masked) == 2


def test_no_key_in_the_file(day: Any, acme_day: Any, tmp_path: Path) -> None:
    content = publish(day.copy("close", tmp_path)).read_bytes()
    assert acme_day.KEY.encode() not in content
