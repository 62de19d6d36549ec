"""What a carrier holds for the service that InvoiceCloud calls: pushes, doubles, splits, adjustments, questions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from checks.contracts.inbound import Adjustments
from sandbox.carrier import Carrier, generate
from sandbox.carrier.plants import DEFAULT_PLANT, SERVED_ONLY

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
T1, ASKED = CLOSE - timedelta(days=3), CLOSE - timedelta(hours=3)
OLD = CLOSE - timedelta(days=5)


@pytest.fixture(scope="module", params=[7, 11, 12])
def carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    folder = tmp_path_factory.mktemp(f"served{request.param}")
    return generate(request.param, 1_000, 30, CLOSE, folder, plant={"B27": 4})


def truth(carrier: Carrier, code: str) -> pl.DataFrame:
    return carrier.truth().filter(pl.col("code") == code)


def by_guid(frame: pl.DataFrame, guids: pl.Series) -> pl.DataFrame:
    return frame.filter(pl.col("payment_guid").is_in(guids.implode()))


def near_pairs(carrier: Carrier, within: timedelta) -> pl.DataFrame:
    """Approved payments of one amount on one invoice, the second within that time of the first."""
    paid = carrier.table("payments").filter("approved")
    both = paid.join(paid, on=["account_number", "invoice_number", "payment_amount"], suffix="_2")
    gap = pl.col("payment_date_2") - pl.col("payment_date")
    later = (gap > timedelta(0)) | (
        (gap == timedelta(0)) & (pl.col("payment_guid") < pl.col("payment_guid_2"))
    )
    return both.filter(later & (gap <= within) & (pl.col("payment_guid") != pl.col("payment_guid_2")))


def test_paid_twice_by_portal_and_agent(carrier: Carrier) -> None:
    pairs = near_pairs(carrier, timedelta(hours=24))
    owed = carrier.table("ic_invoices").select("invoice_number", "total_amount_due")
    pairs = pairs.join(owed, on="invoice_number").with_columns(
        over=2 * pl.col("payment_amount") > pl.col("total_amount_due")
    )
    assert sorted(pairs.filter("over")["payment_guid_2"]) == sorted(truth(carrier, "B04")["subject"])
    assert pairs.filter(~pl.col("over")).height == 2  # two halves of one bill
    gap = pairs["payment_date_2"] - pairs["payment_date"]
    assert gap.is_between(timedelta(minutes=2), timedelta(minutes=12)).all()
    for first, second in pairs.select("payment_source", "payment_source_2").iter_rows():
        assert {first, second} == {"PORTAL", "AGENTCONNECT"}
    amounts = pairs.filter("over").sort("payment_guid_2")["payment_amount"].to_list()
    assert amounts == truth(carrier, "B04").sort("subject")["amount"].to_list()
    alone = carrier.table("payments").join(pairs, on="invoice_number", how="semi")
    assert alone.height == 2 * pairs.height
    assert (pairs["payment_date_2"] <= OLD).all()


def test_payments_split_over_two_invoices(carrier: Carrier) -> None:
    lines = carrier.table("payments").filter(pl.col("payment_line_no").is_not_null())
    wrong = truth(carrier, "B07")
    assert lines.height == 4 * wrong.height == 8
    assert lines["payment_line_no"].to_list() == [1, 2] * 4
    same = lines.group_by("payment_guid").agg(
        pl.exclude("payment_line_no", "invoice_number", "payment_amount", "convenience_fee").n_unique()
    )
    assert same.drop("payment_guid").max_horizontal().max() == 1
    assert lines["invoice_number"].is_unique().all()
    billed = lines.join(carrier.table("ic_invoices"), on="invoice_number")
    assert billed.height == 8
    assert (billed["payment_date"].dt.date() > billed["invoice_date"]).all()
    posted = carrier.table("imt_postings").join(
        lines.select("payment_guid", "invoice_number", "payment_amount"),
        on=["payment_guid", "invoice_number"],
    )
    assert posted.height == 8
    off = posted.with_columns((pl.col("amount") - pl.col("payment_amount")).abs().alias("off"))
    moved = off.group_by("payment_guid").agg(
        pl.col("off").sum() / 2, pl.col("amount", "payment_amount").sum()
    )
    assert (moved["amount"] == moved["payment_amount"]).all()
    found = moved.filter(pl.col("off") > 0).sort("payment_guid")
    assert found["payment_guid"].to_list() == wrong["subject"].to_list()
    assert [Decimal(str(x)) for x in found["off"]] == wrong["amount"].to_list()
    settled = by_guid(carrier.table("settlements"), lines["payment_guid"])
    assert settled.group_by("payment_guid").agg(pl.col("settled_date").n_unique())["settled_date"].max() == 1


def test_one_push_per_payment_soon_after_it(carrier: Carrier) -> None:
    pushes, paid = carrier.table("pushes"), carrier.table("payments")
    first = pushes.filter(pl.col("variant") == 1)
    assert first["payment_guid"].is_unique().all()
    assert pushes["sent_at"].is_sorted()
    delay = first["sent_at"] - first["payment_date"]
    assert (delay >= timedelta(seconds=1)).all()
    assert (delay <= timedelta(minutes=40)).all()
    assert 0.04 < (delay > timedelta(minutes=1)).mean() < 0.10  # type: ignore[operator]
    told = paid.filter(pl.col("payment_date") <= CLOSE - timedelta(minutes=41))["payment_guid"]
    assert set(told) <= set(first["payment_guid"]) <= set(paid["payment_guid"])
    sums = paid.group_by("payment_guid").agg(pl.col("payment_amount").sum(), pl.len())
    both = first.join(sums, on="payment_guid", suffix="_paid")
    assert (both["payment_amount"] == both["payment_amount_paid"]).all()
    assert (both["invoice_number"].is_null() == (both["len"] == 2)).all()
    assert set(pushes["times"]) == {1, 2, 3}
    assert first.filter(~pl.col("approved")).height > 10
    plain = first.join(paid, on="payment_guid", suffix="_paid").filter(pl.col("invoice_number").is_not_null())
    for name in (
        "account_number",
        "invoice_number",
        "approved",
        "agent_code",
        "payment_source",
        "customer_name",
    ):
        assert plain[name].eq_missing(plain[f"{name}_paid"]).all()


def test_some_come_again_with_other_content(carrier: Carrier) -> None:
    pushes = carrier.table("pushes")
    second = pushes.filter(pl.col("variant") == 2)
    both = second.join(pushes.filter(pl.col("variant") == 1), on="payment_guid", suffix="_1")
    assert both.height == 2
    assert not both["lost_1"].any()
    more = (both["payment_amount"] - both["payment_amount_1"]).to_list()
    assert sorted(more) == [Decimal("0.00"), Decimal("1.00")]
    assert (both["payment_message"] != both["payment_message_1"]).sum() == 1
    assert (both["sent_at"] > both["sent_at_1"]).all()
    assert not set(second["payment_guid"]) & set(carrier.truth()["subject"])


def test_lost_pushes_are_posted_or_missing(carrier: Carrier) -> None:
    lost = carrier.lost_pushes()
    missing = lost.filter(~pl.col("posted"))
    unposted = truth(carrier, "B01")
    assert set(missing["payment_guid"]) < set(unposted["subject"])
    assert missing.height == 2
    never = unposted.filter(pl.col("note").str.contains("never pushed"))
    assert sorted(never["subject"]) == sorted(missing["payment_guid"])
    rest = lost.filter("posted")
    assert rest.height == 4
    assert not set(rest["payment_guid"]) & set(carrier.truth()["subject"])
    assert (lost["payment_date"] <= CLOSE - timedelta(hours=2)).all()
    later = carrier.lost_pushes(since=T1)
    assert later.height == (lost["payment_date"] >= T1).sum() < lost.height


def test_agents_from_the_payment_to_the_books(carrier: Carrier) -> None:
    paid = carrier.table("payments").filter(pl.col("agent_code").is_not_null())
    assert set(paid["payment_source"]) == {"AGENTCONNECT"}
    assert paid.group_by("account_number").agg(pl.col("agent_code").n_unique())["agent_code"].max() == 1
    agents = paid.select("payment_guid", "agent_code").unique()
    for table in ("imt_postings", "settlements"):
        rows = carrier.table(table).filter(
            pl.col("payment_guid").is_in(carrier.table("payments")["payment_guid"].implode())
        )
        if table == "settlements":
            assert rows.filter(pl.col("agent_code").is_not_null()).height > 50
        both = rows.join(agents, on="payment_guid", how="left", suffix="_paid")
        assert both["agent_code"].eq_missing(both["agent_code_paid"]).all()
    billed = carrier.table("imt_invoices").select("account_number", "agent_code").unique()
    assert billed["account_number"].is_unique().all()
    known = paid.select("account_number", "agent_code").unique()
    assert billed.drop_nulls().sort(pl.all()).equals(known.sort(pl.all()))


def test_adjustments_keep_their_contract_and_fall_on_quiet_invoices(carrier: Carrier) -> None:
    frame = carrier.table("imt_adjustments")
    Adjustments.validate(frame.drop("visible_at"), lazy=True)  # type: ignore[arg-type]
    assert frame["adjustment_id"].is_unique().all()
    assert set(frame["kind"]) == {"ENDORSEMENT", "CREDIT", "FEE", "CANCELLATION"}
    assert frame["invoice_number"].null_count() == 3
    named = frame.drop_nulls("invoice_number")
    assert named["invoice_number"].is_unique().all()
    touched = carrier.table("payments")["invoice_number"].implode()
    assert not named["invoice_number"].is_in(touched).any()
    told = carrier.table("imt_invoices").join(named, on="invoice_number", suffix="_adjusted")
    assert told["event"].to_list() == ["NEW"] * named.height
    assert (told["occurred_at"] < told["occurred_at_adjusted"]).all()
    owed = told["balance_due"] + told["amount"]
    assert (owed < 0).sum() == (told["kind"] == "CANCELLATION").sum() > 0
    wait = frame["visible_at"] - frame["occurred_at"]
    assert ((wait <= timedelta(minutes=10)) | (wait >= timedelta(hours=20))).all()


def test_what_imt_exports_late_is_asked_for_in_between(carrier: Carrier, tmp_path: Path) -> None:
    planted = truth(carrier, "B27")
    late = carrier.table("imt_adjustments").join(
        planted, left_on="invoice_number", right_on="subject", suffix="_told"
    )
    assert late.height == planted.height == 4
    assert (late["amount"] == -late["amount_told"]).all()
    assert set(late["amount"] > 0) == {True, False}
    asked = carrier.table("asks").join(late, left_on="number", right_on="invoice_number")
    assert set(asked["about"]) == {"late"}
    assert ((asked["occurred_at"] < asked["asked_at"]) & (asked["asked_at"] < asked["visible_at"])).all()
    before, after = (
        pl.read_csv(carrier.adjustments_until(at, tmp_path), infer_schema=False) for at in (ASKED, CLOSE)
    )
    gone = after.join(before, on="adjustment_id", how="anti")
    assert sorted(gone["invoice_number"]) == sorted(planted["subject"])
    assert "visible_at" not in after.columns
    whole = pl.read_csv(carrier.folder / "imt_adjustments.csv", infer_schema=False)
    assert whole.columns == after.columns
    others = carrier.table("asks").filter(pl.col("about") == "adjusted")
    known = before.drop_nulls("invoice_number")["invoice_number"]
    assert sorted(others["number"]) == sorted(known)


def test_questions_of_all_sorts(carrier: Carrier) -> None:
    asks = carrier.table("asks")
    assert set(asks["about"]) == {"late", "adjusted", "open", "recalled", "account", "unknown"}
    assert asks["asked_at"].is_between(ASKED, ASKED + timedelta(minutes=10)).all()
    assert asks["number"].is_unique().all()
    reissued = carrier.table("imt_invoices").filter(pl.col("event").is_in(["REISSUED", "CANCELLED"]))
    dead = reissued.select(pl.coalesce("replaces_invoice_number", "invoice_number")).to_series()
    assert asks.filter(pl.col("about") == "recalled")["number"].is_in(dead.implode()).all()


def test_a_day_without_a_service_has_nothing_that_only_a_service_finds(tmp_path: Path) -> None:
    assert all(DEFAULT_PLANT[code] == 0 for code in SERVED_ONLY)
    plain = generate(5, 300, 30, CLOSE, tmp_path)
    assert not plain.truth()["code"].is_in(SERVED_ONLY).any()
    told = plain.table("imt_adjustments")
    assert (told["visible_at"] <= told["occurred_at"] + timedelta(minutes=10)).all()
