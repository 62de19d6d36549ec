"""The generated carrier: same seed, same bytes; clean apart from what its answer sheet says."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from sandbox.carrier import Carrier, generate
from sandbox.carrier.banking import BankingCalendar, holidays
from sandbox.carrier.plants import DEFAULT_PLANT

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
T1 = CLOSE - timedelta(days=3)
CALENDAR = BankingCalendar(date(2026, 8, 1), date(2026, 12, 31))
GRACE = {"CARD": 3, "WALLET": 3, "EFT": 4, "OBD": 5}


@pytest.fixture(scope="module", params=[7, 11])
def carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    folder = tmp_path_factory.mktemp(f"carrier{request.param}")
    return generate(
        request.param, 1_000, 30, CLOSE, folder, feed_faults={"B36": ["autopay"], "B37": ["paperless"]}
    )


def subjects(carrier: Carrier, *codes: str) -> list[str]:
    return carrier.truth().filter(pl.col("code").is_in(codes))["subject"].to_list()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def local(column: str) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone("America/Chicago").dt.date()


def whole(carrier: Carrier) -> pl.DataFrame:
    """Payments, the lines of one split over invoices together: the first line with the sum of all."""
    amount = pl.col("payment_amount").sum().cast(pl.Decimal(18, 2))
    rows = carrier.table("payments").sort("payment_date", "payment_guid", "payment_line_no")
    return rows.group_by("payment_guid", maintain_order=True).agg(
        pl.exclude("payment_amount").first(), amount
    )


def booked(carrier: Carrier) -> pl.DataFrame:
    """Payments with their posted sum: net of PAYMENT and REVERSAL, refused postings left out."""
    net = (
        carrier.table("imt_postings")
        .filter((pl.col("status") == "POSTED") & pl.col("payment_guid").is_not_null())
        .group_by("payment_guid")
        .agg(
            pl.col("amount").sum().alias("net"),
            pl.col("amount").filter(pl.col("kind") == "REVERSAL").sum().alias("reversed"),
        )
    )
    return whole(carrier).join(net, on="payment_guid", how="left")


def test_same_seed_same_bytes_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate(seed, 200, 25, CLOSE, tmp_path / name)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_planted_counts(carrier: Carrier) -> None:
    found = dict(carrier.truth()["code"].value_counts().iter_rows())
    planted = {
        code: count for code, count in DEFAULT_PLANT.items() if count and code != "B31"
    }  # needs bill images
    assert found == planted | {"B36": 1, "B37": 1}
    names = subjects(carrier, *planted)
    assert len(names) == len(set(names)) == sum(planted.values())
    assert carrier.payments == carrier.table("payments").height == 1_500


def test_other_counts_can_be_planted(tmp_path: Path) -> None:
    nothing = generate(5, 300, 30, CLOSE, tmp_path / "none", plant=dict.fromkeys(DEFAULT_PLANT, 0))
    assert nothing.truth().height == 0
    many = generate(5, 300, 30, CLOSE, tmp_path / "many", payments=2_000, plant={"B01": 20, "B16": 9})
    found = dict(many.truth()["code"].value_counts().iter_rows())
    assert (found["B01"], found["B16"], found["B03"]) == (20, 9, DEFAULT_PLANT["B03"])
    with pytest.raises(ValueError, match="B99"):
        generate(5, 300, 30, CLOSE, tmp_path / "x", plant={"B99": 1})


def test_a_tiny_span_plants_only_what_can_be_found(tmp_path: Path) -> None:
    small = generate(1, 2, 1, CLOSE, tmp_path, payments=5)
    assert small.truth().filter(~pl.col("code").is_in(["B02", "B42"])).height == 0
    assert small.table("payments").height == 5


def test_keys_are_unique_and_times_lie_in_the_span(carrier: Carrier) -> None:
    payments, postings = carrier.table("payments"), carrier.table("imt_postings")
    assert payments.select("payment_guid", "payment_line_no").is_unique().all()
    assert postings["posting_id"].n_unique() == postings.height
    assert carrier.table("imt_invoices")["event_id"].is_unique().all()
    assert payments["payment_date"].is_between(carrier.start, CLOSE, closed="left").all()
    assert (postings["posted_at"] <= CLOSE).all()
    for name in ("settlements", "ach_rejects"):
        assert (carrier.table(name)["visible_at"] <= CLOSE).all()
    billed = carrier.table("imt_invoices")["invoice_number"]
    assert payments["invoice_number"].is_in(billed.implode()).all()


def test_believable_people_and_channels(carrier: Carrier) -> None:
    payments = carrier.table("payments")
    assert payments["account_number"].str.starts_with("0").all()
    names = "".join(payments["customer_name"].unique().to_list())
    assert all(mark in names for mark in ("ü", "'", "&", "<", "  "))
    assert payments["payment_source"].n_unique() == 14
    assert set(payments["tender"].unique()) == {"CARD", "EFT", "WALLET", "OBD"}
    agents = payments.filter(pl.col("payment_source") == "AGENTCONNECT")
    assert agents["agent_code"].is_not_null().all()
    assert agents.height > 100
    assert payments.filter(~pl.col("approved")).height > 10
    assert payments["convenience_fee"].is_not_null().sum() > 100
    assert payments.filter(pl.col("biller_reference") == "").height > 10


def test_twins_are_legitimate(carrier: Carrier) -> None:
    same = ["account_number", "payment_amount"]
    paid = carrier.table("payments").filter("approved")
    gaps = paid.group_by(same).agg(pl.len(), pl.col("payment_date").max() - pl.col("payment_date").min())
    assert gaps.filter((pl.col("len") == 2) & (pl.col("payment_date") > timedelta(days=11))).height >= 2


def test_every_clean_payment_is_posted_once_with_its_amount(carrier: Carrier) -> None:
    planted = subjects(carrier, "B01", "B03", "B05", "B06", "B09")
    returned = carrier.table("ach_rejects")["original_payment_guid"].drop_nulls()
    frame = booked(carrier).filter(~pl.col("payment_guid").is_in(planted))
    due = frame.filter(pl.col("approved") & (pl.col("payment_date") <= CLOSE - timedelta(minutes=91)))
    kept = due.filter(~pl.col("payment_guid").is_in(returned.implode()))
    assert kept.height > 1_000
    assert (kept["net"] == kept["payment_amount"]).all()
    assert frame.filter(~pl.col("approved"))["net"].is_null().all()
    early = frame.filter(pl.col("payment_date") > CLOSE - timedelta(minutes=91))
    assert (early["net"].is_null() | (early["net"] == early["payment_amount"])).all()


def test_each_planted_posting_break_is_there(carrier: Carrier) -> None:
    frame = booked(carrier).join(carrier.truth(), left_on="payment_guid", right_on="subject", how="inner")
    rows = {code: frame.filter(pl.col("code") == code) for code in ("B01", "B03", "B05", "B06", "B08", "B09")}
    assert rows["B01"]["net"].is_null().all()
    assert (rows["B01"]["amount"] == rows["B01"]["payment_amount"]).all()
    for code in ("B03", "B05", "B06"):
        off = rows[code]["net"] - rows[code]["payment_amount"]
        assert (off == rows[code]["amount"]).all()
        assert (off != 0).all()
    assert (rows["B03"]["amount"] == rows["B03"]["payment_amount"]).all()
    assert (rows["B06"]["amount"].abs() == rows["B06"]["convenience_fee"]).all()
    fee = rows["B05"]["convenience_fee"].fill_null(Decimal(0))
    assert (rows["B05"]["amount"].abs() != fee).all()
    other = carrier.table("imt_postings").join(
        rows["B08"].select("payment_guid", "payment_amount", paid_by="account_number"), on="payment_guid"
    )
    assert (other["account_number"] != other["paid_by"]).all()
    assert (other["amount"] == other["payment_amount"]).all()
    declined = rows["B09"].filter(~pl.col("approved"))
    refused = rows["B09"].filter("approved")
    assert (declined["net"] == declined["payment_amount"]).all()
    assert declined.height == 2
    assert refused["net"].is_null().all()
    assert refused.height == 2
    postings = carrier.table("imt_postings").filter(pl.col("status") == "REFUSED")
    assert sorted(postings["payment_guid"]) == sorted(refused["payment_guid"])
    assert (frame["payment_date"] <= T1 - timedelta(days=2)).all()


def test_no_loose_posting_looks_like_an_unposted_payment(carrier: Carrier) -> None:
    """A B01 must not match by account, amount and day what belongs to nobody."""
    missing = booked(carrier).filter(pl.col("payment_guid").is_in(subjects(carrier, "B01")))
    known = carrier.table("payments")["payment_guid"].implode()
    loose = carrier.table("imt_postings").filter(~pl.col("payment_guid").fill_null("").is_in(known))
    both = missing.join(
        loose, left_on=["account_number", "payment_amount"], right_on=["account_number", "amount"]
    )
    assert both.height == 0


def test_unreported_postings(carrier: Carrier) -> None:
    known = carrier.table("payments")["payment_guid"].implode()
    postings = carrier.table("imt_postings").filter(
        (pl.col("origin") == "IC") & ~pl.col("payment_guid").is_in(known)
    )
    assert sorted(postings["posting_id"]) == sorted(subjects(carrier, "B02"))
    assert (postings["posted_at"] <= CLOSE - timedelta(days=5)).all()
    lockbox = carrier.table("imt_postings").filter(pl.col("origin") == "LOCKBOX")
    assert lockbox.height > 20
    assert lockbox["payment_guid"].is_null().all()


def test_settlement_happens_on_banking_days_in_time(carrier: Carrier) -> None:
    settled = carrier.table("settlements")
    assert settled["settled_date"].is_in(CALENDAR.days.implode()).all()
    assert date(2026, 10, 12) not in settled["settled_date"].to_list()  # Columbus Day
    first = settled.filter(pl.col("transaction_type") == "PAYMENT").select("payment_guid", "settled_date")
    paid = whole(carrier).filter("approved").with_columns(local("payment_date").alias("day"))
    frame = paid.join(first.drop_nulls().unique(), on="payment_guid", how="left")
    assert frame.height == paid.height
    done = frame.filter(pl.col("settled_date").is_not_null())
    took = CALENDAR.index(done["settled_date"]) - CALENDAR.index(done["day"])
    card = done["tender"].is_in(["CARD", "WALLET"])
    assert set(took.filter(card)) == {1, 2}
    assert set(took.filter(~card)) == {2, 3}
    waiting = frame.filter(
        pl.col("settled_date").is_null() & ~pl.col("payment_guid").is_in(subjects(carrier, "B10"))
    )
    age = CALENDAR.index(pl.Series([CLOSE.date()]))[0] - CALENDAR.index(waiting["day"])
    assert waiting.height > 5
    assert (age < waiting["tender"].replace_strict(GRACE)).all()
    planted = frame.filter(pl.col("payment_guid").is_in(subjects(carrier, "B10")))
    assert planted.height == 3
    assert planted["settled_date"].is_null().all()
    assert (CALENDAR.index(pl.Series([CLOSE.date()]))[0] - CALENDAR.index(planted["day"]) >= 8).all()


def test_batches_balance_but_for_the_planted(carrier: Carrier) -> None:
    sums = (
        carrier.table("settlements")
        .group_by("settled_batch_id")
        .agg(
            (pl.col("batch_total").first() - pl.col("settled_amount").sum()).alias("off"),
            (pl.col("batch_item_count").first() - pl.len()).alias("count_off"),
            pl.col("batch_total").n_unique().alias("totals"),
            pl.col("settled_date").n_unique().alias("dates"),
            pl.col("tender").n_unique().alias("tenders"),
        )
    )
    assert sums.select(pl.col("totals", "dates", "tenders").max()).row(0) == (1, 1, 1)
    wrong = sums.filter((pl.col("off") != 0) | (pl.col("count_off") != 0)).sort("settled_batch_id")
    truth = carrier.truth().filter(pl.col("code") == "B12")
    assert wrong["settled_batch_id"].to_list() == truth["subject"].to_list()
    assert wrong["off"].to_list() == truth["amount"].to_list()
    assert sorted((off != 0, count != 0) for off, count in wrong.select("off", "count_off").iter_rows()) == [
        (False, True),
        (True, False),
    ]


def test_strangers_and_cloudstore(carrier: Carrier) -> None:
    known = carrier.table("payments")["payment_guid"].implode()
    settled = carrier.table("settlements").filter(pl.col("transaction_type") == "PAYMENT")
    store = settled.filter(pl.col("processor_reference").str.starts_with("CS"))
    rest = settled.filter(
        ~pl.col("processor_reference").str.starts_with("CS")
        & ~pl.col("payment_guid").fill_null("").is_in(known)
    )
    names = rest.select(pl.coalesce("payment_guid", "processor_reference")).to_series()
    assert sorted(names) == sorted(subjects(carrier, "B11"))
    assert store["payment_guid"].is_null().all()
    assert store.height >= 20
    support = carrier.table("imt_postings").filter(pl.col("origin") == "CLOUDSTORE")
    alone = store.join(
        support,
        left_on=["processor_reference", "settled_amount"],
        right_on=["processor_reference", "amount"],
        how="anti",
    )
    assert sorted(alone["processor_reference"]) == sorted(subjects(carrier, "B42"))
    assert (alone["visible_at"] <= CLOSE - timedelta(days=5)).all()


def test_returns(carrier: Carrier) -> None:
    rejects = carrier.table("ach_rejects")
    paid = carrier.table("payments").with_columns(local("payment_date").alias("day"))
    own = rejects.join(paid, left_on="original_payment_guid", right_on="payment_guid", how="inner")
    first = own.sort("reject_date").unique("original_payment_guid", keep="first", maintain_order=True)
    took = CALENDAR.index(first["reject_date"].dt.date()) - CALENDAR.index(first["day"])
    assert set(took) <= {2, 3, 4}
    assert first.height >= 9
    assert (first["tender"] == "EFT").all()
    assert first["approved"].all()
    assert (own["reject_amount"] == own["payment_amount"]).all()
    assert len(set(rejects["return_code"])) >= 3
    net = booked(carrier).filter(pl.col("payment_guid").is_in(own["original_payment_guid"].implode()))
    unreversed = net.filter(pl.col("reversed") == 0)
    waiting = set(first.filter(pl.col("reject_date") > CLOSE - timedelta(days=1))["original_payment_guid"])
    assert set(unreversed["payment_guid"]) - waiting == set(subjects(carrier, "B16"))
    assert (net.filter(pl.col("reversed") != 0)["net"] == 0).all()
    planted = rejects.filter(pl.col("original_payment_guid").is_in(subjects(carrier, "B16")))
    assert (planted["reject_date"] <= CLOSE - timedelta(days=5)).all()


def test_orphans_and_doubles(carrier: Carrier) -> None:
    rejects = carrier.table("ach_rejects")
    known = carrier.table("payments")["payment_guid"].implode()
    orphans = rejects.filter(~pl.col("original_payment_guid").fill_null("").is_in(known))
    chain = pl.concat_str("account_number", "invoice_number", "return_code", separator="/")
    names = orphans.select(pl.coalesce("original_payment_guid", chain)).to_series()
    assert sorted(names) == sorted(subjects(carrier, "B18"))
    assert orphans["original_payment_guid"].is_null().sum() == 1
    twice = (
        rejects.filter(pl.col("original_payment_guid").is_not_null())
        .group_by("original_payment_guid", "reject_sequence")
        .agg(pl.len(), pl.col("reject_date").n_unique().alias("dates"), pl.col("reject_amount").last())
        .filter(pl.col("len") > 1)
        .with_columns(pl.format("{}#{}", "original_payment_guid", "reject_sequence").alias("subject"))
    )
    assert sorted(twice["subject"]) == sorted(subjects(carrier, "B20"))
    assert twice["dates"].to_list() == twice["len"].to_list() == [2, 2]


def test_each_reject_is_netted_in_its_days_batch(carrier: Carrier) -> None:
    netted = carrier.table("settlements").filter(pl.col("transaction_type") == "REJECT")
    out = carrier.table("ach_rejects").filter(
        pl.col("reject_date").dt.truncate("1d") + timedelta(hours=20) <= CLOSE
    )
    left = out.select(pl.col("reject_date").dt.date(), "reject_amount").sort(pl.all())
    right = netted.select("settled_date", -pl.col("settled_amount")).sort(pl.all())
    assert left.rows() == right.rows()
    assert (netted["tender"] == "EFT").all()


def test_enrolments_change_with_time(carrier: Carrier) -> None:
    for name in ("autopay", "paperless"):
        spans = carrier.table(name)
        assert spans["email"].str.ends_with("@example.com").all()
        ended = spans.filter(pl.col("valid_to").is_not_null())
        assert ended.height > 2
        assert (ended["valid_to"] > ended["valid_from"]).all()
        now = spans.filter((pl.col("valid_from") <= CLOSE) & (pl.col("valid_to").is_null()))
        assert now["account_number"].is_unique().all()
        assert now.height > 200


def test_imt_files(carrier: Carrier, tmp_path: Path) -> None:
    postings, invoices = carrier.imt_until(T1, tmp_path)
    head, line = postings.read_text(encoding="utf-8").splitlines()[:2]
    assert head.startswith("posting_id,system,payment_guid,processor_reference,account_number")
    assert ".000" not in line
    assert "Z," in line
    early = pl.read_csv(postings, infer_schema=False)
    assert 0 < early.height < carrier.table("imt_postings").height
    assert (early["posted_at"] <= "2026-10-27T23:00:00Z").all()
    assert early["amount"].str.contains(r"^-?\d+\.\d\d$").all()
    told = pl.read_csv(invoices, infer_schema=False)
    assert 0 < told.height < carrier.table("imt_invoices").height
    assert (told["occurred_at"] <= "2026-10-27T23:00:00Z").all()
    assert told["invoice_number"].is_in(carrier.table("ic_open")["invoice_number"].implode()).sum() > 2_000
    assert Carrier.open(carrier.folder) == carrier


def test_federal_reserve_calendar() -> None:
    assert date(2026, 7, 4) in holidays(2026)
    assert date(2026, 7, 3) not in holidays(2026)  # a Saturday: not moved
    assert date(2027, 7, 5) in holidays(2027)  # a Sunday: kept on Monday
    expected = {
        (1, 1),
        (1, 19),
        (2, 16),
        (5, 25),
        (6, 19),
        (7, 4),
        (9, 7),
        (10, 12),
        (11, 11),
        (11, 26),
        (12, 25),
    }
    assert {(day.month, day.day) for day in holidays(2026)} == expected
    days = pl.Series([date(2026, 10, 9), date(2026, 10, 10), date(2026, 10, 12)])
    assert CALENDAR.add(days, 1).to_list() == [date(2026, 10, 13)] * 3


def test_close_needs_a_zone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        generate(1, 10, 5, datetime(2026, 10, 30), tmp_path)
