"""The bank's statement, disputes, refunds and flags of a carrier: they add up with its feeds, apart from what is planted."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from sandbox.carrier import Carrier, generate
from sandbox.carrier.plants import ALL_PLANT, DEFAULT_PLANT, FURTHER

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    return generate(3, 600, 40, CLOSE, tmp_path_factory.mktemp("further"), plant=ALL_PLANT)


def planted(carrier: Carrier, code: str) -> pl.DataFrame:
    return carrier.truth().filter(pl.col("code") == code)


def test_every_further_class_is_planted_and_none_by_itself(carrier: Carrier, tmp_path: Path) -> None:
    found = set(carrier.truth()["code"])
    assert set(FURTHER) - {"B43"} <= found  # that one follows from what came back
    plain = generate(3, 300, 30, CLOSE, tmp_path / "plain")
    assert set(plain.truth()["code"]) & set(FURTHER) == set()
    assert "hidden_at" not in plain.table("payments").columns
    assert set(plain.bank_until(CLOSE, tmp_path)) == {"deposits", "deposits-bai2", "enrolment-flags"}
    assert {code for code, count in DEFAULT_PLANT.items() if not count} == set(FURTHER) | {"B27"}


def test_the_bank_pays_what_was_settled_but_for_what_is_planted(carrier: Carrier) -> None:
    lines = carrier.table("bank_lines").filter(pl.col("text").str.contains("INVOICE CLOUD"))
    last = lines["value_date"].max()
    settled = carrier.table("settlements").filter(pl.col("settled_date") < last)["settled_amount"].sum()
    sign = pl.when(pl.col("stage") == "REVERSED").then(-1).otherwise(1)
    back = carrier.table("chargebacks").filter(pl.col("chargeback_date") < last)
    disputed = back.select((pl.col("amount") * sign).sum()).item()
    refunded = carrier.table("refunds").filter(pl.col("refund_date") < last)["amount"].sum()
    off, missing = (planted(carrier, code)["amount"].sum() for code in ("B14", "B15"))
    assert lines["amount"].sum() == settled - disputed - refunded + off - missing
    assert (lines["amount"] > Decimal(0)).all()
    days = lines["value_date"]
    assert days.is_unique().all()
    assert (days.dt.weekday() <= 5).all()


def test_bai2_and_csv_say_the_same(carrier: Carrier, tmp_path: Path) -> None:
    paths = carrier.bank_until(CLOSE - timedelta(days=5), tmp_path)
    rows = pl.read_csv(paths["deposits"], schema_overrides={"amount": pl.Decimal(18, 2)})
    records = [line.split(",") for line in paths["deposits-bai2"].read_text("ascii").splitlines()]
    details = [record for record in records if record[0] == "16"]
    assert len(details) == rows.height > 20
    cents = (rows["amount"].abs() * 100).cast(pl.Int64).sum()
    assert sum(int(record[2]) for record in details) == cents == int(records[-1][1])
    assert records[-1][3] == f"{len(records)}/"
    assert max(rows["value_date"]) < "2026-10-26"


def test_the_same_seed_gives_the_same_bytes(carrier: Carrier, tmp_path: Path) -> None:
    again = generate(3, 600, 40, CLOSE, tmp_path, plant=ALL_PLANT)
    for path in sorted(carrier.folder.iterdir()):
        first, second = (hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, again.folder / path.name))
        assert first == second, path.name


def test_flags_agree_with_the_lists_but_where_planted(carrier: Carrier) -> None:
    flags = carrier.table("enrolment_flags")
    on = flags.filter((pl.col("list") == "AUTOPAY") & pl.col("enrolled"))["account_number"]
    now = pl.col("valid_to").is_null() | (pl.col("valid_to") > CLOSE)
    listed = carrier.table("autopay").filter(pl.col("autopay") & now)["account_number"]
    assert set(on) ^ set(listed) == set(planted(carrier, "B32")["subject"])
    assert flags.height == 2 * 600


def test_a_restated_payment_is_told_in_one_version_at_a_time(carrier: Carrier) -> None:
    both = carrier.table("payments").filter(
        pl.col("payment_guid").is_duplicated() & pl.col("payment_line_no").is_null()
    )
    assert both.height == 2
    first, second = both.sort("visible_at").select("payment_amount", "visible_at", "hidden_at").rows()
    assert first[2] == second[1] == CLOSE - timedelta(hours=30)
    assert planted(carrier, "B44")["amount"].to_list() == [second[0] - first[0]]
