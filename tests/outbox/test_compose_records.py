"""From events to records: the rule of R and D, who wins, who goes with whom."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.contracts import IMT
from checks.describe import polars_schema
from tasks.outbox.compose import Composition, Pending, Presentment, compose

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
EVENT = {**polars_schema(IMT["invoice_events"]), "version": pl.Int32}
KNOWN = {
    "invoice_number": pl.String, "known_at_ic": pl.Boolean, "account_sent": pl.String,
    "last_occurred_at": pl.Datetime("us", "UTC"), "last_told_at": pl.Datetime("us", "UTC"),
    "last_recalled_at": pl.Datetime("us", "UTC"), "in_flight": pl.Boolean,
}  # fmt: skip
DONE = {
    "event_id": pl.String,
    "event_version": pl.Int32,
    "invoice_number": pl.String,
    "record_type": pl.String,
}
SPECTRUM = Presentment("1234", "99999999-8888-7777-6666-555555555555", None)


def event(number: str, what: str = "NEW", hour: int = 0, name: str = "", **change: Any) -> dict[str, Any]:
    return {
        "event_id": name or f"E-{number}-{what}-{hour}", "event": what, "occurred_at": START + timedelta(hours=hour),
        "invoice_number": number, "account_number": "0012345", "invoice_date": date(2026, 11, 1),
        "due_date": date(2026, 12, 1), "total_amount_due": Decimal("120.50"), "balance_due": Decimal("120.50"),
        "minimum_amount_due": Decimal("25.00"), "version": 1,
    } | change  # fmt: skip


def made(
    *events: dict[str, Any], at_ic: tuple[str, ...] = (), earlier: Any = (), done: Any = (), **known: Any
) -> Composition:
    frame = pl.DataFrame([{n: e.get(n) for n in EVENT} for e in events], schema=EVENT)
    told = pl.DataFrame([{n: e.get(n) for n in EVENT} for e in [*earlier, *events]], schema=EVENT)
    own = told.sort("occurred_at", "event_id", descending=True).unique(
        "invoice_number", keep="first", maintain_order=True
    )
    billed = pl.DataFrame(
        {
            "invoice_number": list(
                {e["invoice_number"] for e in [*earlier, *events] if e["event"] != "CANCELLED"}
            )
        },
        schema={"invoice_number": pl.String},
    )
    own = own.join(
        billed.with_columns(ever_billed=pl.lit(True)), on="invoice_number", how="left"
    ).with_columns(pl.col("ever_billed").fill_null(False))
    rows = [
        {"invoice_number": n, "known_at_ic": True, "account_sent": "0012345", "in_flight": False} | known
        for n in at_ic
    ]
    return compose(
        Pending(
            frame, own, pl.DataFrame(rows, schema=KNOWN), pl.DataFrame(list(done), schema=DONE, orient="row")
        ),
        SPECTRUM,
    )


def lines(found: Composition) -> list[tuple[str, str, str]]:
    return sorted(found.records.select("record_type", "invoice_number", "group_id").rows())


def test_a_new_invoice_is_an_ordinary_record_with_all_its_facts() -> None:
    found = made(event("I-1", customer_name="Ann", pdf_path="x.pdf")).records.row(0, named=True)
    assert (found["record_type"], found["invoice_number"], found["account_number"]) == ("A", "I-1", "0012345")
    assert (found["balance_due"], found["minimum_amount_due"]) == (Decimal("120.50"), Decimal("25.00"))
    assert (found["customer_name"], found["pdf_path"]) == ("Ann", "x.pdf")
    assert found["invoice_format_guid"] == SPECTRUM.format_guid
    assert found["pdf_link"] is None


@pytest.mark.parametrize(("still", "letter"), [(True, "R"), (False, "D")])
def test_a_reissue_recalls_the_old_invoice(still: bool, letter: str) -> None:
    reissue = event("I-2", "REISSUED", 1, replaces_invoice_number="I-1", still_in_imt=still)
    found = made(reissue, at_ic=("I-1",), earlier=[event("I-1")])
    assert lines(found) == [("A", "I-2", reissue["event_id"]), (letter, "I-1", reissue["event_id"])]
    recall = found.records.filter(pl.col("invoice_number") == "I-1").row(0, named=True)
    assert (recall["total_amount_due"], recall["balance_due"]) == (Decimal("0.00"), Decimal("0.00"))
    assert (recall["account_number"], recall["due_date"]) == ("0012345", date(2026, 12, 1))
    assert recall["invoice_format_guid"] is None


@pytest.mark.parametrize(("still", "letter"), [(True, "R"), (False, "D")])
def test_a_cancelled_invoice_is_recalled(still: bool, letter: str) -> None:
    found = made(event("I-1", "CANCELLED", 1, still_in_imt=still), at_ic=("I-1",), earlier=[event("I-1")])
    assert [line[:2] for line in lines(found)] == [(letter, "I-1")]
    assert found.records["balance_due"].to_list() == [Decimal("0.00")]


def test_the_last_event_of_an_invoice_wins_and_the_others_are_covered() -> None:
    found = made(
        event("I-1"), event("I-1", "CHANGED", 2, balance_due=Decimal("20.50")), event("I-1", "CHANGED", 1)
    )
    assert found.records["balance_due"].to_list() == [Decimal("20.50")]
    assert sorted(found.applied.select("event_id", "outcome").rows()) == [
        ("E-I-1-CHANGED-1", "covered"), ("E-I-1-NEW-0", "covered"),
    ]  # fmt: skip


def test_what_is_older_than_what_was_sent_is_not_sent() -> None:
    found = made(event("I-1", "CHANGED", 1), at_ic=("I-1",), last_occurred_at=START + timedelta(hours=2))
    assert (found.records.height, found.applied["outcome"].to_list()) == (0, ["older"])


@pytest.mark.parametrize(
    "heard", [{"last_told_at": START + timedelta(hours=2)}, {"last_recalled_at": START + timedelta(hours=1)}]
)
def test_what_waited_while_a_later_event_was_dealt_with_is_not_sent(heard: dict[str, datetime]) -> None:
    """A recall that needed no sending leaves no record; the bill that it recalled must still not go out."""
    found = made(event("I-1", "CHANGED", 1), at_ic=("I-1",), **{"known_at_ic": False} | heard)
    assert (found.records.height, found.applied["outcome"].to_list()) == (0, ["older"])


def test_an_invoice_recalled_before_it_was_ever_sent_is_no_business_of_ic() -> None:
    found = made(event("I-1"), event("I-2", "REISSUED", 1, replaces_invoice_number="I-1", still_in_imt=False))
    assert [line[:2] for line in lines(found)] == [("A", "I-2")]
    assert found.applied.select("event_id", "outcome").rows() == [("E-I-1-NEW-0", "covered")]
    gone = made(event("I-1"), event("I-1", "CANCELLED", 1, still_in_imt=False))
    assert gone.records.height == 0
    assert sorted(gone.applied["outcome"]) == ["covered", "not_needed"]


def test_a_recall_of_a_number_that_imt_never_billed_is_composed_so_that_the_guard_stops_it() -> None:
    found = made(event("I-9", "CANCELLED", still_in_imt=False))
    assert [line[:2] for line in lines(found)] == [("D", "I-9")]


def test_at_one_instant_the_recall_wins() -> None:
    found = made(
        event("I-1", "CHANGED", 1, name="Z"),
        event("I-2", "REISSUED", 1, name="A", replaces_invoice_number="I-1", still_in_imt=True),
        at_ic=("I-1",), earlier=[event("I-1")],
    )  # fmt: skip
    assert [line[:2] for line in lines(found)] == [("A", "I-2"), ("R", "I-1")]


def test_a_later_event_of_the_old_invoice_brings_it_back() -> None:
    found = made(
        event("I-2", "REISSUED", 1, replaces_invoice_number="I-1", still_in_imt=False), event("I-1", "CHANGED", 2),
        at_ic=("I-1",),
    )  # fmt: skip
    assert [line[:2] for line in lines(found)] == [("A", "I-1"), ("A", "I-2")]


def test_reissues_of_reissues_go_in_one_group() -> None:
    first = event("I-2", "REISSUED", 1, replaces_invoice_number="I-1", still_in_imt=True)
    second = event("I-3", "REISSUED", 2, replaces_invoice_number="I-2", still_in_imt=False)
    found = made(first, second, at_ic=("I-1", "I-2"))
    assert [line[:2] for line in lines(found)] == [("A", "I-3"), ("D", "I-2"), ("R", "I-1")]
    assert found.records["group_id"].unique().to_list() == [second["event_id"]]


def test_a_change_of_the_successor_takes_the_recall_into_its_group() -> None:
    reissue = event("I-2", "REISSUED", 1, replaces_invoice_number="I-1", still_in_imt=True)
    change = event("I-2", "CHANGED", 2)
    found = made(reissue, change, at_ic=("I-1",))
    assert lines(found) == [("A", "I-2", change["event_id"]), ("R", "I-1", change["event_id"])]
    assert set(found.records["event_id"]) == {reissue["event_id"], change["event_id"]}
    assert found.applied.height == 0


def test_a_credit_goes_out_as_nothing_due() -> None:
    found = made(event("I-1", balance_due=Decimal("-12.34"))).records.row(0, named=True)
    assert (found["balance_due"], found["minimum_amount_due"]) == (Decimal("0.00"), Decimal("0.00"))
    assert found["total_amount_due"] == Decimal("120.50")


def test_what_ic_has_already_of_an_event_is_not_sent_again() -> None:
    reissue = event("I-2", "REISSUED", 1, replaces_invoice_number="I-1", still_in_imt=True)
    found = made(reissue, at_ic=("I-1",), done=[(reissue["event_id"], 1, "I-2", "A")])
    assert [line[:2] for line in lines(found)] == [("R", "I-1")]


def test_mips_shows_the_bill_through_a_link() -> None:
    link = Presentment("12", None, "https://pdf.example/{bid}/{account_number}/{invoice_number}.pdf")
    frame = pl.DataFrame([{n: event("I-1").get(n) for n in EVENT}], schema=EVENT)
    pending = Pending(
        frame, frame.with_columns(ever_billed=True), pl.DataFrame(schema=KNOWN), pl.DataFrame(schema=DONE)
    )
    found = compose(pending, link).records.row(0, named=True)
    assert found["pdf_link"] == "https://pdf.example/12/0012345/I-1.pdf"
    assert found["invoice_format_guid"] is None


def test_nothing_pending_makes_nothing() -> None:
    found = made()
    assert (found.records.height, found.applied.height) == (0, 0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_order_does_not_matter_and_each_invoice_has_one_record_at_most(data: st.DataObject) -> None:
    numbers = [f"I-{n}" for n in range(6)]
    events = []
    for n in range(data.draw(st.integers(1, 12))):
        what = data.draw(st.sampled_from(["NEW", "CHANGED", "REISSUED", "CANCELLED"]))
        number = data.draw(st.sampled_from(numbers))
        change: dict[str, Any] = {}
        if what == "REISSUED":
            change["replaces_invoice_number"] = data.draw(
                st.sampled_from([m for m in numbers if m != number])
            )
        if what in ("REISSUED", "CANCELLED"):
            change["still_in_imt"] = data.draw(st.booleans())
        events.append(event(number, what, data.draw(st.integers(0, 3)), name=f"E{n:02d}", **change))
    at_ic = tuple(data.draw(st.sets(st.sampled_from(numbers))))
    one = made(*events, at_ic=at_ic)
    random.Random(len(events)).shuffle(events)
    two = made(*events, at_ic=at_ic)
    order = ["invoice_number"]
    assert one.records.sort(order).equals(two.records.sort(order))
    assert one.applied.sort("event_id").equals(two.applied.sort("event_id"))
    assert not one.records["invoice_number"].is_duplicated().any()
    sent, over = set(one.records["event_id"]), set(one.applied["event_id"])
    assert sent | over == {e["event_id"] for e in events}
    assert not sent & over
    recalls = one.records.filter(pl.col("record_type") != "A")
    assert (recalls["balance_due"] == 0).all()
    assert (recalls["total_amount_due"] == 0).all()
