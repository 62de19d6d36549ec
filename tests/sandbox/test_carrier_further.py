"""The bank's statement, disputes, refunds and flags of a carrier: they add up with its feeds, apart from what is planted."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from sandbox.carrier import Carrier, generate
from sandbox.carrier.clocks import shift
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


def test_what_comes_back_late_is_late_in_one_way_only(carrier: Carrier, tmp_path: Path) -> None:
    """Back after its day was signed off, or when it was final; never after its code's window (that is B22)."""
    long = generate(3, 200, 90, CLOSE, tmp_path, plant=ALL_PLANT)
    for made, wanted in ((carrier, [False]), (long, [False, True])):
        back = made.table("ach_rejects").join(
            planted(made, "B21").select(original_payment_guid="subject"), on="original_payment_guid"
        )
        settled = made.table("settlements").filter(pl.col("transaction_type") == "PAYMENT")
        both = back.join(settled, left_on="original_payment_guid", right_on="payment_guid")
        days = (both["reject_date"].dt.date() - both["settled_date"]).dt.total_days()
        assert sorted(days > 60) == wanted
        assert days.max() < 70
        assert set(back["return_code"]) == {"R10"}
        signed = back.filter(pl.col("reject_date") > CLOSE - timedelta(days=3))
        assert len(made.to_sign_off()) == signed.height == 1
        assert signed["original_payment_date"].dt.date()[0] - made.to_sign_off()[0] <= timedelta(days=1)


def test_every_kind_of_twin_is_there(carrier: Carrier) -> None:
    """What must not be taken for one another is in the data: counted, so that none goes missing unseen."""
    payments, postings = carrier.table("payments"), carrier.table("imt_postings")
    people = payments.group_by("account_number").agg(pl.col("customer_name").first())
    approved = payments.filter(pl.col("approved") & pl.col("payment_line_no").is_null())
    equal = approved.group_by("account_number", "payment_amount").len().filter(pl.col("len") > 1)
    split = payments.filter(pl.col("payment_line_no").is_not_null())["payment_guid"].unique()
    wrong = planted(carrier, "B07")["subject"]
    zeros = people.group_by(pl.col("account_number").str.strip_chars_start("0")).len()
    loose = postings.filter(pl.col("payment_guid").is_null() & (pl.col("origin") == "IC")).sort("amount")
    nameless = loose.join(planted(carrier, "B40"), on="account_number", how="anti")
    cent = pl.lit(Decimal("0.01")).cast(pl.Decimal(18, 2))
    apart = nameless.select(pl.col("amount").diff().over("account_number") == cent).to_series()
    dashes = set("".join(postings["invoice_number"].drop_nulls()))
    assert equal.height >= 4
    assert people["customer_name"].is_duplicated().sum() >= 10
    assert (len(wrong), len(split)) == (2, 4)
    assert zeros.filter(pl.col("len") > 1).height >= 3
    assert apart.sum() == 2
    assert {"\u2010", "\u2011", "\u2013", "\u2212", "-"} <= dashes


def test_a_clock_is_shifted_with_all_it_needs(tmp_path: Path) -> None:
    made = generate(3, 300, 40, CLOSE, tmp_path, feed_faults={"B39": ["payments"]})
    before, booked = made.table("payments"), made.table("imt_postings")
    assert shift(made, timedelta(hours=-5), 6) == 6
    after, now = made.table("payments"), made.table("imt_postings")
    both = before.join(after, on=["payment_guid", "payment_line_no"], nulls_equal=True, suffix="_told")
    assert (both["payment_date_told"] - both["payment_date"]).unique().to_list() == [timedelta(hours=-5)]
    changed = now.join(booked, on=["posting_id", "posted_at", "payment_guid"], nulls_equal=True, how="anti")
    assert changed["payment_guid"].null_count() == changed.height == 6
    assert now["amount"].sum() == booked["amount"].sum()
    assert planted(made, "B39")["subject"].to_list() == ["payments"]
    with pytest.raises(ValueError, match="backwards only"):
        shift(made, timedelta(hours=5), 1)


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
