"""The invoice side of a generated carrier: events, recalls, bill images, and the breaks planted there."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from checks.contracts import IMT
from sandbox.carrier import Carrier, generate
from sandbox.carrier.images import pdf
from sandbox.carrier.plants import DEFAULT_PLANT, SENT_ONLY

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
T1, LAST_SEND = CLOSE - timedelta(days=3), CLOSE - timedelta(hours=3)
ALL = 1_000_000


@pytest.fixture(scope="module", params=[7, 11])
def carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    folder = tmp_path_factory.mktemp(f"billed{request.param}")
    return generate(request.param, 1_000, 30, CLOSE, folder, images=ALL)


def events(carrier: Carrier, *kinds: str) -> pl.DataFrame:
    frame = carrier.table("imt_invoices")
    return frame.filter(pl.col("event").is_in(kinds)) if kinds else frame


def truth(carrier: Carrier, code: str) -> pl.DataFrame:
    return carrier.truth().filter(pl.col("code") == code)


def recalls(carrier: Carrier) -> pl.DataFrame:
    """One row per invoice that is superseded or cancelled: number, moment, still_in_imt."""
    dead = pl.coalesce("replaces_invoice_number", "invoice_number").alias("dead")
    return events(carrier, "REISSUED", "CANCELLED").select(dead, "event", "occurred_at", "still_in_imt")


def of(carrier: Carrier, number: str) -> list[str]:
    """The kinds of an invoice's own events in order of time."""
    return events(carrier).filter(pl.col("invoice_number") == number)["event"].to_list()


def odd(carrier: Carrier) -> pl.Series:
    """Invoices of which IMT has booked something else than InvoiceCloud: planted, returned, or on its way."""
    paid = (
        carrier.table("payments")
        .filter("approved")
        .group_by("invoice_number")
        .agg(pl.col("payment_amount").sum())
    )
    of = carrier.table("imt_postings").filter(pl.col("status") == "POSTED")
    both = paid.join(
        of.group_by("invoice_number").agg(pl.col("amount").sum()),
        on="invoice_number",
        how="full",
        coalesce=True,
    )
    return both.filter(pl.col("payment_amount").ne_missing(pl.col("amount")))["invoice_number"].drop_nulls()


def test_what_is_changed_is_changed_when_it_is_posted(carrier: Carrier) -> None:
    posted = carrier.table("imt_postings").filter(
        (pl.col("status") == "POSTED") & pl.col("invoice_number").is_not_null()
    )
    last = (
        posted.filter(pl.col("kind") == "PAYMENT").group_by("invoice_number").agg(pl.col("posted_at").max())
    )
    changed = events(carrier, "CHANGED").join(last, on="invoice_number", how="left")
    assert (changed["occurred_at"] == changed["posted_at"]).all()
    # Whatever the moment, total less all that is posted by then is event less what is posted after it.
    until = posted.join(changed.select("invoice_number", "occurred_at"), on="invoice_number")
    until = until.filter(pl.col("posted_at") <= pl.col("occurred_at"))
    sums = until.group_by("invoice_number").agg(pl.col("amount").sum())
    owed = changed.join(sums, on="invoice_number")
    assert owed.height == changed.height > 500
    left = owed["total_amount_due"] - owed["amount"]
    assert (left.clip(lower_bound=0) == owed["balance_due"]).all()


def test_the_tables_keep_their_contracts(carrier: Carrier) -> None:
    for table, contract in (
        ("imt_invoices", "invoice_events"),
        ("ic_open", "open_at_ic"),
        ("imt_postings", "postings"),
    ):
        frame = carrier.table(table)
        IMT[contract].validate(frame, lazy=True)  # type: ignore[arg-type]
        assert frame.height > 1_000


def test_every_bill_is_told_of_and_paid_ones_again(carrier: Carrier) -> None:
    billed, new = carrier.table("ic_invoices"), events(carrier, "NEW")
    assert sorted(new["invoice_number"]) == sorted(billed["invoice_number"])
    assert (new["occurred_at"].dt.time() == time(11)).all()
    assert (new["occurred_at"].dt.date() == new["invoice_date"]).all()
    assert (new["balance_due"] == new["total_amount_due"]).all()
    changed = events(carrier, "CHANGED")
    assert 500 < changed.height < 1_000
    assert changed["invoice_number"].is_unique().all()
    at_ic = changed.join(billed, on="invoice_number", suffix="_ic")
    right = at_ic.filter(~pl.col("invoice_number").is_in(odd(carrier).implode()))
    assert right.height > 500
    assert (right["balance_due"] == right["balance_due_ic"]).all()
    ids = events(carrier)["event_id"]
    assert ids.is_unique().all()
    assert ids.is_sorted()
    assert events(carrier)["occurred_at"].is_sorted()
    assert (events(carrier)["occurred_at"] <= CLOSE).all()


def test_recalls_come_both_ways_on_both_sides_of_the_first_send(carrier: Carrier) -> None:
    planted = [*truth(carrier, "B28")["invoice_number"], *truth(carrier, "B30")["invoice_number"]]
    strays = truth(carrier, "B29")["invoice_number"].to_list()
    rest = recalls(carrier).filter(~pl.col("dead").is_in(planted + strays))
    opened = carrier.table("ic_open").height
    assert rest.filter(pl.col("event") == "REISSUED").height == opened // 100
    assert rest.filter(pl.col("event") == "CANCELLED").height == opened // 400
    assert rest["occurred_at"].is_between(CLOSE - timedelta(days=5), LAST_SEND, closed="none").all()
    for kind in ("REISSUED", "CANCELLED"):
        for before in (True, False):
            some = rest.filter((pl.col("event") == kind) & ((pl.col("occurred_at") <= T1) == before))
            assert set(some["still_in_imt"]) == {True, False}
    assert recalls(carrier)["dead"].is_unique().all()


def test_successors_are_ordinary_invoices(carrier: Carrier) -> None:
    reissued = events(carrier, "REISSUED")
    old = events(carrier, "NEW").select(
        pl.col("invoice_number").alias("old"), "account_number", "policy_number"
    )
    pairs = reissued.join(old, left_on="replaces_invoice_number", right_on="old", suffix="_old")
    assert pairs.height == reissued.height
    assert (pairs["account_number"] == pairs["account_number_old"]).all()
    assert (pairs["balance_due"] > 0).all()
    assert (pairs["due_date"] > pairs["invoice_date"]).all()
    assert reissued["invoice_number"].str.contains(r"^[A-Za-z0-9-]{1,64}$").all()
    assert (
        not reissued["invoice_number"].is_in(carrier.table("ic_invoices")["invoice_number"].implode()).any()
    )


def test_nobody_pays_a_dead_invoice_but_the_planted(carrier: Carrier) -> None:
    late = (
        carrier.table("payments")
        .join(recalls(carrier), left_on="invoice_number", right_on="dead")
        .filter(pl.col("payment_date") >= pl.col("occurred_at"))
    )
    planted = truth(carrier, "B30")
    assert sorted(late["payment_guid"]) == sorted(planted["subject"])
    assert set(late["still_in_imt"]) == {True, False}
    assert late["approved"].all()
    assert sorted(late["payment_amount"]) == sorted(planted["amount"])
    age = late["payment_date"] - late["occurred_at"]
    assert age.is_between(timedelta(days=1), timedelta(days=1, seconds=1)).all()
    booked = carrier.table("imt_postings").filter(pl.col("payment_guid").is_in(planted["subject"].implode()))
    assert sorted(booked["invoice_number"]) == sorted(planted["invoice_number"])
    assert all(of(carrier, number) == ["NEW"] for number in planted["invoice_number"])


def test_what_invoicecloud_does_wrong(carrier: Carrier) -> None:
    quirks = carrier.table("ic_quirks")
    refused, kept = (quirks.filter(pl.col("quirk") == name) for name in ("reject", "keep_open"))
    assert refused["invoice_number"].to_list() == truth(carrier, "B26")["subject"].to_list()
    assert kept["invoice_number"].to_list() == truth(carrier, "B28")["subject"].to_list()
    assert refused["message"].is_not_null().all()
    told = events(carrier, "NEW").filter(pl.col("invoice_number").is_in(quirks["invoice_number"].implode()))
    assert (told["occurred_at"] <= T1).all()
    assert all(of(carrier, number) == ["NEW"] for number in quirks["invoice_number"])
    amounts = dict(told.select("invoice_number", "total_amount_due").iter_rows())
    for code in ("B26", "B28"):
        assert all(
            amounts[number] == amount
            for number, amount in truth(carrier, code).select("subject", "amount").iter_rows()
        )
    dead = recalls(carrier).filter(pl.col("dead").is_in(kept["invoice_number"].implode()))
    assert set(dead["still_in_imt"]) == {True, False}
    assert ((dead["occurred_at"] > T1) & (dead["occurred_at"] <= LAST_SEND)).all()
    alive = recalls(carrier).filter(pl.col("dead").is_in(refused["invoice_number"].implode()))
    assert alive.height == 0


def test_a_recall_of_what_was_never_billed(carrier: Carrier) -> None:
    (row,) = truth(carrier, "B29").iter_rows(named=True)
    (stray,) = events(carrier).filter(pl.col("invoice_number") == row["invoice_number"]).iter_rows(named=True)
    assert row["subject"] == f"D/{stray['invoice_number']}"
    assert (row["amount"], stray["balance_due"], stray["total_amount_due"]) == (Decimal("0.00"),) * 3
    assert (stray["event"], stray["still_in_imt"]) == ("CANCELLED", False)
    assert stray["occurred_at"] == CLOSE - timedelta(minutes=30)
    assert row["invoice_number"] not in carrier.table("ic_invoices")["invoice_number"].to_list()
    late = recalls(carrier).filter(pl.col("occurred_at") > LAST_SEND)
    assert late["dead"].to_list() == [stray["invoice_number"]]


def test_images_and_their_gaps(carrier: Carrier) -> None:
    files = {path.name for path in carrier.images.iterdir()}
    bills = events(carrier, "NEW", "CHANGED", "REISSUED")
    right = pl.format("1234_{}_{}.pdf", "account_number", "invoice_number")
    named = set(bills["pdf_path"])
    gaps = truth(carrier, "B31")
    held = gaps.filter(pl.col("subject") == pl.col("invoice_number"))
    assert (gaps["amount"] == 0).all()
    (orphan,) = files - named
    (missing,) = named - files
    (bad,) = bills.filter(pl.col("pdf_path") != right)["invoice_number"]
    assert set(gaps["subject"]) == {orphan, missing.split("_")[2].removesuffix(".pdf"), bad}
    assert not any(orphan.split("_")[2] == f"{number}.pdf" for number in bills["invoice_number"])
    unbilled = truth(carrier, "B25")
    assert sorted(unbilled["subject"]) == sorted(held["subject"])
    owed = events(carrier, "NEW").join(unbilled, on="invoice_number")
    assert (owed["balance_due"] == owed["amount"]).all()
    assert (owed["occurred_at"] <= T1).all()
    assert all(of(carrier, number) == ["NEW"] for number in held["subject"])
    assert events(carrier, "CANCELLED")["pdf_path"].is_null().all()
    for name in sorted(files)[::100]:
        content = (carrier.images / name).read_bytes()
        assert len(content) < 600
        assert name.removesuffix(".pdf").split("_")[2].encode() in content


def test_a_pdf_whose_table_of_objects_is_right() -> None:
    content = pdf("INV-0000001-02-R1")
    assert content.startswith(b"%PDF-1.4\n")
    assert content.endswith(b"%%EOF\n")
    start = re.search(rb"startxref\n(\d+)\n", content)
    assert start is not None
    assert content[int(start[1]) :].startswith(b"xref\n0 5\n")
    places = re.findall(rb"(\d{10}) 00000 n \n", content)
    for number, place in enumerate(places, start=1):
        assert content[int(place) :].startswith(b"%d 0 obj" % number)
    stream = re.search(rb"/Length (\d+)>>stream\n(.*?)\nendstream", content, re.DOTALL)
    assert stream is not None
    assert int(stream[1]) == len(stream[2])


def test_few_images_or_none(tmp_path: Path) -> None:
    few = generate(3, 200, 30, CLOSE, tmp_path / "few", images=20, bid="77")
    assert len(list(few.images.iterdir())) == 22  # one missing, one misnamed and one orphan besides
    newest = events(few, "NEW", "CHANGED", "REISSUED").tail(20)
    assert newest["pdf_path"].str.starts_with("77_").all()
    none = generate(3, 200, 30, CLOSE, tmp_path / "none")
    assert not none.images.exists()
    assert events(none)["pdf_path"].is_null().all()
    assert none.truth().filter(pl.col("code").is_in(["B25", "B31"])).height == 0
    left = [few.truth().filter(~pl.col("code").is_in(["B25", "B31"])), none.truth()]
    assert (
        left[0]
        .filter(~pl.col("code").is_in(SENT_ONLY))
        .equals(left[1].filter(~pl.col("code").is_in(SENT_ONLY)))
    )


def test_same_seed_same_images(tmp_path: Path) -> None:
    both = [generate(4, 100, 20, CLOSE, tmp_path / name, images=ALL).images for name in "ab"]
    first, again = (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in both
    )
    assert first == again
    assert len(first) > 100


def test_images_appear_with_their_invoices(carrier: Carrier, tmp_path: Path) -> None:
    known = {path.name for path in carrier.images_until(T1, tmp_path).iterdir()}
    told = events(carrier).filter(pl.col("occurred_at") <= T1)
    later = set(events(carrier)["pdf_path"].drop_nulls()) - set(told["pdf_path"].drop_nulls())
    assert len(later) > 20
    assert not known & later
    assert known | later == {path.name for path in carrier.images.iterdir()}
    assert {path.name for path in carrier.images_until(CLOSE, tmp_path).iterdir()} == known | later


def test_a_business_day_without_sending_can_be_asked_for(tmp_path: Path) -> None:
    quiet = generate(5, 300, 30, CLOSE, tmp_path, plant=dict.fromkeys(SENT_ONLY, 0), images=5)
    assert set(quiet.truth()["code"]) == {code for code, count in DEFAULT_PLANT.items() if count} - set(
        SENT_ONLY
    )
    assert quiet.table("ic_quirks").height == 0
    assert {path.name for path in quiet.images.iterdir()} == set(events(quiet)["pdf_path"].drop_nulls())
