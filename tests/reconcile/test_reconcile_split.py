"""A payment over several invoices is one payment everywhere; B07 if IMT spread it otherwise."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

Lines = list[tuple[str, str]]
RIGHT: Lines = [("INV-11", "60.00"), ("INV-12", "40.00")]


def post(w: Any, moment: Any, lines: Lines, **more: Any) -> None:
    for number, amount in lines:
        w.posting(1, amount, moment(5, 18), invoice_number=number, **more)


@pytest.fixture
def made(world: Any, moment: Any) -> Any:
    """60.00 on INV-11 and 40.00 on INV-12, posted as given, settled line by line."""

    def build(posted: Lines, **more: Any) -> Any:
        w = world()
        w.split("60.00", "40.00")
        post(w, moment, posted, **more)
        for number, amount in RIGHT:
            w.settled(1, amount, invoice_number=number)
        return w

    return build


def items(w: Any) -> list[tuple[Any, ...]]:
    columns = (
        "payment_line_no",
        "invoice_number",
        "payment_amount",
        "posted_amount",
        "settled_amount",
        "state",
    )
    rows: list[tuple[Any, ...]] = w.run().items.select(columns).rows()
    return rows


def test_posted_and_settled_line_by_line(made: Any) -> None:
    w = made(RIGHT)
    assert w.found() == []
    paid = [Decimal("60.00"), Decimal("40.00")]
    assert items(w) == [
        (n, f"INV-1{n}", amount, amount, amount, "MATCHED_PROVISIONAL") for n, amount in enumerate(paid, 1)
    ]


def test_settled_in_one_item(world: Any, moment: Any) -> None:
    w = world()
    w.split("60.00", "40.00")
    post(w, moment, RIGHT)
    w.settled(1, "100.00", invoice_number=None)
    assert w.found() == []
    assert [row[4] for row in items(w)] == [Decimal("60.00"), Decimal("40.00")]


@pytest.mark.parametrize(
    ("posted", "amount", "detail"),
    [
        ([("INV-11", "100.00")], "40.00", "INV-11 has 100.00 of 60.00 USD; INV-12 has 0.00 of 40.00 USD"),
        ([("INV-11", "50.00"), ("INV-12", "50.00")], "10.00", "INV-11 has 50.00 of 60.00 USD; INV-12 has 50.00 of 40.00 USD"),
        ([("INV-11", "40.00"), ("INV-12", "60.00")], "20.00", "INV-11 has 40.00 of 60.00 USD; INV-12 has 60.00 of 40.00 USD"),
        ([("INV-11", "59.99"), ("INV-12", "40.01")], "0.01", "INV-11 has 59.99 of 60.00 USD; INV-12 has 40.01 of 40.00 USD"),
    ],
)  # fmt: skip
def test_posted_otherwise(made: Any, guid_of: Any, posted: Lines, amount: str, detail: str) -> None:
    w = made(posted)
    assert w.found() == [("B07", guid_of(1), Decimal(amount))]
    assert w.told("B07") == (
        f"Payment {guid_of(1)} of 100.00 USD (account …5678) is split over 2 invoices and posted otherwise, "
        f"{amount} USD of it on the wrong one: {detail}."
    )
    assert {(row[-1]) for row in items(w)} == {"BROKEN"}
    row = w.run().breaks.row(0, named=True)
    assert (row["severity"], row["name"]) == ("MED", "misapplied cash")


@pytest.mark.parametrize(
    ("posted", "code", "amount"),
    [
        ([("INV-11", "60.00"), ("INV-99", "40.00")], "B08", "100.00"),
        ([("INV-11", "60.00"), ("INV-12", "39.99")], "B05", "-0.01"),
        ([("INV-11", "60.00")], "B05", "-40.00"),
        ([("INV-11", "60.00"), ("INV-12", "40.00"), ("INV-12", "40.00")], "B03", "40.00"),
        ([("INV-11", "100.00"), ("INV-11", "100.00")], "B03", "100.00"),
        ([], "B01", "100.00"),
    ],
)
def test_other_classes_see_one_payment(
    made: Any, guid_of: Any, posted: Lines, code: str, amount: str
) -> None:
    assert made(posted).found() == [(code, guid_of(1), Decimal(amount))]


def test_wrong_reference_names_all_invoices(made: Any) -> None:
    w = made([("INV-11", "60.00"), ("INV-99", "40.00")])
    assert "invoice INV-11, INV-12, and is posted to account" in w.told("B08")


def test_declined_and_posted(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    w.split("60.00", "40.00", approved=False)
    post(w, moment, RIGHT)
    assert w.found() == [("B09", guid_of(1), Decimal("100.00"))]


def test_not_settled(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    w.split("60.00", "40.00")
    post(w, moment, RIGHT)
    assert w.found() == [("B10", guid_of(1), Decimal("100.00"))]


def test_corrected_by_reversal_or_transfer(made: Any, moment: Any) -> None:
    w = made([])
    w.posting(1, "100.00", moment(5, 18), invoice_number="INV-11", posting_id="WRONG")
    assert len(w.found()) == 1
    w.posting(1, "-40.00", moment(6), invoice_number="INV-11", kind="TRANSFER")
    w.posting(1, "40.00", moment(6), invoice_number="INV-12", kind="TRANSFER")
    assert w.found() == []
    w.rows["postings"] = w.rows["postings"][:1]
    w.posting(1, "-100.00", moment(6), kind="REVERSAL", invoice_number=None, reverses_posting_id="WRONG")
    post(w, moment, RIGHT)
    assert w.found() == []


def test_came_back_as_one(made: Any, moment: Any, guid_of: Any) -> None:
    w = made(RIGHT)
    w.returned(1, "100.00", moment(20), return_code="R10", invoice_number=None)
    assert w.found() == [("B16", guid_of(1), Decimal("100.00"))]
    for number, amount in RIGHT:
        w.posting(1, f"-{amount}", moment(20, 18), kind="REVERSAL", invoice_number=number)
    assert w.found() == []
    assert {row[-1] for row in items(w)} == {"EXPLAINED"}


def test_came_back_without_a_guid_under_one_of_its_invoices(made: Any, moment: Any) -> None:
    w = made(RIGHT)
    w.returned(
        1, "100.00", moment(20), return_code="R10", invoice_number="INV-12", original_payment_guid=None
    )
    assert [code for code, _, _ in w.found()] == ["B16"]


def test_came_back_line_by_line_is_no_duplicate_return(made: Any, moment: Any) -> None:
    w = made(RIGHT)
    for number, amount in RIGHT:
        w.returned(1, amount, moment(20), return_code="R10", invoice_number=number)
        w.posting(1, f"-{amount}", moment(20, 18), kind="REVERSAL", invoice_number=number)
    assert w.found() == []
    assert w.run().items["returned_amount"].to_list() == [Decimal("60.00"), Decimal("40.00")]


@pytest.mark.parametrize("lines", [("60.00", "40.00"), ("50.00", "50.00")])
def test_imt_kept_the_reference_alone(world: Any, moment: Any, guid_of: Any, lines: tuple[str, str]) -> None:
    w = world()
    w.split(*lines)
    named = [(f"INV-1{n}", amount) for n, amount in enumerate(lines, 1)]
    post(w, moment, named, payment_guid=None, processor_reference="PR1")
    for number, amount in named:
        w.settled(1, amount, invoice_number=number, payment_guid=None)
    assert w.found() == []
    w.rows["postings"][0]["amount"], w.rows["postings"][1]["amount"] = "30.00", "70.00"
    assert [code for code, _, _ in w.found()] == ["B07"]


def test_imt_kept_nothing_but_the_invoices(made: Any) -> None:
    assert made(RIGHT, payment_guid=None).found() == []


@pytest.mark.parametrize("numbers", [(None, None), (None, 1), (1, 1)])
def test_rows_that_are_no_lines_stay_ambiguous(world: Any, numbers: tuple[int | None, int | None]) -> None:
    w = world()
    for line, amount in zip(numbers, ("60.00", "40.00"), strict=True):
        w.payment(1, amount, payment_line_no=line)
    w.posting(1, "100.00")
    assert w.run().items["state"].to_list() == ["AMBIGUOUS", "AMBIGUOUS"]
    assert [code for code, _, _ in w.found()] == ["B40"]


def test_a_single_line_is_a_payment_like_any_other(world: Any) -> None:
    w = world()
    w.chain(payment_line_no=1)
    assert w.found() == []
    assert w.item()["payment_line_no"] == 1


def test_one_of_its_invoices_was_replaced(made: Any, moment: Any, guid_of: Any) -> None:
    """Only what was paid on the dead one is misdirected; on its successor it is where it should be."""
    w = made(RIGHT)
    w.invoice("INV-12", "SUPERSEDED", moment(4), successor="INV-20")
    w.invoice("INV-11", "PAID")
    w.invoice("INV-20", "PAID")
    assert w.found() == [("B30", guid_of(1), Decimal("40.00"))]
    w.rows["postings"] = []
    post(w, moment, [("INV-11", "60.00"), ("INV-20", "40.00")])
    assert w.found() == []
    w.rows["postings"] = []
    post(w, moment, [("INV-11", "70.00"), ("INV-20", "30.00")])
    assert w.found() == [("B07", guid_of(1), Decimal("10.00"))]


def test_lines_of_two_accounts(world: Any, moment: Any) -> None:
    w = world()
    w.payment(1, "60.00", payment_line_no=1, invoice_number="INV-11")
    w.payment(1, "40.00", payment_line_no=2, invoice_number="INV-12", account_number="0087654321")
    w.posting(1, "60.00", moment(5, 18), invoice_number="INV-11")
    w.posting(1, "40.00", moment(5, 18), invoice_number="INV-12", account_number="0087654321")
    w.settled(1, "100.00", invoice_number=None)
    assert w.found() == []
    w.rows["postings"][1]["account_number"] = "0099999999"
    assert [code for code, _, _ in w.found()] == ["B08"]


def test_the_fee_is_on_the_first_line(world: Any, moment: Any) -> None:
    w = world(fee_model="payer_paid_included")
    w.split("62.50", "40.00", convenience_fee=None)
    w.rows["payments"][0]["convenience_fee"] = "2.50"
    post(w, moment, RIGHT)
    w.settled(1, "102.50", invoice_number=None)
    assert w.found() == []


def test_the_states_sum_to_the_feed(made: Any) -> None:
    w = made([("INV-11", "100.00")])
    w.chain(2)
    totals = w.run().totals
    state = totals.filter((pl.col("kind") == "state") & (pl.col("rows") > 0)).select("name", "rows", "amount")
    assert state.rows() == [("MATCHED_PROVISIONAL", 1, Decimal("100.00")), ("BROKEN", 2, Decimal("100.00"))]


def test_not_due_yet_is_in_flight(world: Any, moment: Any) -> None:
    w = world(as_of=moment(5, 20))
    w.split("60.00", "40.00")
    w.rows["payments"][1]["first_seen_at"] = moment(5, 17) + timedelta(hours=1)
    assert [row[-1] for row in items(w)] == ["IN_FLIGHT", "IN_FLIGHT"]
