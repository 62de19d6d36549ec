"""The invoice side of a reconcile run on real staging: events loaded, the outbox read, breaks kept and closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.loading import load_file
from tasks.outbox.model import TABLES, shaped
from tasks.pull import staging_of
from tasks.reconcile.model import SCHEMAS
from tasks.reconciling import run_reconcile
from tasks.settings import Settings, load_settings
from tasks.staging.inputs import read_held
from tasks.staging.outbox import insert
from tasks.staging.polls import record_load

NOW = datetime(2026, 10, 30, 23, tzinfo=UTC)
TOLD = NOW - timedelta(hours=4)
SETTINGS = """
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:ACME_WEB_SERVICE_KEY"
base_url = "https://127.0.0.1/portal/webservices/"
time_zone = "America/Chicago"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "icflows.toml").write_text(SETTINGS)
    return load_settings(tmp_path / "icflows.toml")


def event(n: int, number: str, what: str = "NEW", **more: Any) -> dict[str, Any]:
    row = {"event_id": f"E{n}", "event": what, "invoice_number": number, "account_number": "0012345678"}
    row |= {"occurred_at": f"2026-10-{n:02d}T15:00:00Z", "invoice_date": "2026-10-01"}
    return row | {"total_amount_due": "100.00", "balance_due": "80.00", "customer_name": "Canaryname"} | more


def load(settings: Settings, folder: Path, *events: dict[str, Any]) -> None:
    file = folder / "events.csv"
    pl.DataFrame(list(events), infer_schema_length=None).write_csv(file)
    load_file(settings, "acme", "invoice_events", file, TOLD)


def put(settings: Settings, table: str, *rows: dict[str, Any]) -> None:
    frame = pl.DataFrame(list(rows), schema_overrides={k: TABLES[table][k] for k in rows[0]})
    with staging_of(settings, "acme").transaction(f"put-{table}") as connection:
        insert(connection, table, shaped(frame, TABLES[table]))
        record_load(connection, f"put-{table}", "test", NOW)


def record(n: int, number: str, kind: str = "A", **more: Any) -> dict[str, Any]:
    money = Decimal("80.00") if kind == "A" else Decimal("0.00")
    at = datetime(2026, 10, n, 16, tzinfo=UTC)
    row = {
        "record_id": f"R{n}",
        "file_id": f"F{n}",
        "line_no": 2,
        "record_type": kind,
        "invoice_number": number,
    }
    row |= {
        "account_number": "0012345678",
        "total_amount_due": money,
        "balance_due": money,
        "state": "accepted",
    }
    return row | {"reason": None, "occurred_at": at, "composed_at": at, "settled_at": at} | more


def open_breaks(settings: Settings) -> list[tuple[str, str, Decimal]]:
    with staging_of(settings, "acme").open() as connection:
        breaks = read_held(connection).breaks
    found = breaks.filter(pl.col("state") == "open").sort("code", "subject")
    return found.select("code", "subject", "amount").rows()


def test_every_frame_is_read_and_every_class_found(settings: Settings, tmp_path: Path) -> None:
    load(
        settings, tmp_path, event(1, "INV-1"), event(2, "INV-2"), event(3, "INV-3"),
        event(9, "INV-4", "REISSUED", replaces_invoice_number="INV-1", still_in_imt=True),
    )  # fmt: skip
    put(settings, "files", {"file_id": "F1", "state": "accepted"}, {"file_id": "F3", "state": "accepted"})
    put(settings, "records", record(1, "INV-1"), record(3, "INV-3", state="rejected", reason="Bad date."))
    put(settings, "looks", {"look_id": "L1", "invoice_number": "INV-1", "at": NOW, "found": True,
                            "balance_due": Decimal("75.50")})  # fmt: skip
    put(settings, "images", {"image_id": "I1", "state": "missing", "invoice_number": "INV-2",
                             "first_seen_at": TOLD, "last_seen_at": NOW})  # fmt: skip
    put(settings, "guards", {"guard": "live_invoice", "record_type": "D", "invoice_number": "INV-2",
                             "found_at": NOW, "amount": Decimal("0.00"), "sentence": "D for INV-2."})  # fmt: skip
    put(
        settings,
        "held",
        {"event_id": "E2", "invoice_number": "INV-2", "reason": "image_missing", "held_at": NOW},
    )
    result = run_reconcile(settings, "acme", NOW)
    assert open_breaks(settings) == [
        ("B25", "INV-2", Decimal("80.00")),
        ("B25", "INV-4", Decimal("80.00")),
        ("B26", "INV-3", Decimal("80.00")),
        ("B28", "INV-1", Decimal("75.50")),
        ("B29", "D/INV-2", Decimal("0.00")),
        ("B31", "INV-2", Decimal("0.00")),
    ]
    assert result.opened == 6
    assert {row["code"] for row in result.new_high} == {"B26", "B28", "B29"}
    with staging_of(settings, "acme").open() as connection:
        held = read_held(connection)
    assert all(list(getattr(held.inputs, name).columns) == list(SCHEMAS[name]) for name in SCHEMAS)
    assert held.inputs.records["file_state"].to_list() == ["accepted", "accepted"]
    said = held.breaks.filter(pl.col("subject") == "INV-2", pl.col("code") == "B25")["sentence"].item()
    assert "…5678" in said
    assert said.endswith("held back (image missing).")
    assert not held.breaks.select(
        pl.concat_str("sentence", "evidence").str.contains("Canaryname").any()
    ).item()


def test_the_same_again_is_no_other_run_and_a_record_is(settings: Settings, tmp_path: Path) -> None:
    load(settings, tmp_path, event(1, "INV-1"))
    put(settings, "files", {"file_id": "F0", "state": "accepted"})
    first = run_reconcile(settings, "acme", NOW)
    assert run_reconcile(settings, "acme", NOW) == first
    assert open_breaks(settings) == [("B25", "INV-1", Decimal("80.00"))]
    put(settings, "records", record(2, "INV-1"))
    second = run_reconcile(settings, "acme", NOW)
    assert second.run_id != first.run_id
    assert (second.closed, open_breaks(settings)) == (1, [])


def test_an_unanswered_upload_is_told_with_its_file(settings: Settings, tmp_path: Path) -> None:
    load(settings, tmp_path, event(1, "INV-1"))
    put(settings, "files", {"file_id": "F1", "state": "unknown"})
    put(settings, "records", record(1, "INV-1", state="in_file"))
    run_reconcile(settings, "acme", NOW)
    with staging_of(settings, "acme").open() as connection:
        sentence = read_held(connection).breaks["sentence"].item()
    assert sentence.endswith("its A is in file F1, which is unknown.")
