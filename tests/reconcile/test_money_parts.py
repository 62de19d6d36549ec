"""What is held back, several classes of one payment, and the small rules of keys, covers and return rates."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.reconcile import load_rules
from tasks.reconcile.deposit_cover import Credit, Day, cover
from tasks.reconcile.keys import one_to_many, pair_once, reference_key, without

D = Decimal


def held(w: Any) -> dict[str, tuple[int, Decimal]]:
    rows = w.run().totals.filter((pl.col("kind") == "held") & (pl.col("rows") > 0))
    return {name: (count, amount) for name, count, amount in rows.select("name", "rows", "amount").rows()}


def complete_to(w: Any, start: Any, **ends: Any) -> None:
    """Every feed and list complete from `start` to now, but those named."""
    for feed in ("payments", "settlements", "ach_rejects", "chargebacks", "refunds", "postings"):
        w.poll(feed, start, ends.get(feed, w.as_of))


@pytest.mark.parametrize(
    ("late", "found", "waits"),
    [
        ({}, ["B23", "B24", "B24", "B41"], {}),
        ({"refunds": 14}, ["B23", "B24", "B41"], {"B24": (1, D("7.00"))}),
        ({"postings": 14}, ["B24", "B41"], {"B23": (1, D("100.00")), "B24": (1, D("30.00"))}),
    ],
)
def test_what_is_not_proven_is_held_back_to_the_cent(
    world: Any, moment: Any, late: dict[str, int], found: list[str], waits: dict[str, Any]
) -> None:
    w = world()
    for n in (1, 2, 3):
        w.chain(n)
    w.disputed(1)
    w.refunded(2, "30.00")
    w.posting(3, "-7.00", moment(14), kind="REFUND")
    w.posting(9, "9.00", moment(5), kind="SUSPENSE")
    complete_to(w, moment(1, month=8), **{feed: moment(day) for feed, day in late.items()})
    assert [code for code, _, _ in w.found() if code in ("B23", "B24", "B41")] == found
    assert {code: rows for code, rows in held(w).items() if code in ("B23", "B24", "B41")} == waits


def test_all_classes_of_one_payment_in_order(world: Any, moment: Any, guid_of: Any) -> None:
    """130.00 came back for 100.00, late, after its window, in a closed period; disputed and refunded besides."""
    w = world()
    w.chain(tender="EFT")
    w.returned(1, "130.00", moment(20))
    w.disputed(on=date(2026, 10, 21))
    w.refunded(1, "40.00")
    w.add(
        "periods", period="P", first_day=date(2026, 10, 1), last_day=date(2026, 10, 9), closed_at=moment(10)
    )
    assert w.item()["break_codes"] == "B16,B19,B21,B22,B23,B24"
    assert [(code, amount) for code, _, amount in w.found()] == [
        ("B16", D("130.00")),
        ("B19", D("30.00")),
        ("B21", D("130.00")),
        ("B22", D("130.00")),
        ("B23", D("100.00")),
        ("B24", D("40.00")),
    ]


def test_the_order_of_disputes_is_that_of_their_days(world: Any, moment: Any) -> None:
    """One posting: the older case has it, whatever the cases are called."""
    w = world()
    w.chain()
    w.disputed(1, "30.00", date(2026, 10, 15), chargeback_id="A", case_no="A")
    w.disputed(1, "30.00", date(2026, 10, 14), chargeback_id="B", case_no="B")
    w.disputed(1, "20.00", date(2026, 10, 15), "SECOND", chargeback_id="C", case_no="C")
    w.posting(1, "-30.00", moment(15), kind="REVERSAL", reason="CHARGEBACK")
    assert [row for row in w.found() if row[0] == "B23"] == [
        ("B23", "A", D("30.00")),
        ("B23", "C", D("20.00")),
    ]
    told = w.run().breaks.filter(pl.col("subject").is_in(["A", "C"]))["sentence"]
    assert ["a second dispute took" in words for words in told] == [False, True]
    assert ["a dispute took" in words for words in told] == [True, False]


def test_the_order_of_refunds_is_that_of_their_days(world: Any, moment: Any) -> None:
    """70.00 and 40.00 of 100.00: the later one is 10.00 above; of IMT's, the later one is alone."""
    w = world()
    w.chain()
    w.refunded(1, "40.00", date(2026, 10, 15), refund_id="A")
    w.refunded(1, "70.00", date(2026, 10, 14), refund_id="B")
    w.posting(1, "-70.00", moment(14), kind="REFUND")
    w.posting(1, "-40.00", moment(15), kind="REFUND")
    assert w.found() == [("B24", "A", D("10.00"))]
    w = world()
    w.chain()
    w.refunded(1, "70.00")
    w.posting(1, "-40.00", moment(15), kind="REFUND", posting_id="A")
    w.posting(1, "-70.00", moment(14), kind="REFUND", posting_id="B")
    assert w.found() == [("B24", "A", D("40.00"))]


def test_a_refund_that_a_batch_tells_of_is_of_its_own_payment(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    for n in (1, 2):
        w.chain(n)
        w.posting(n, "-30.00", moment(14), kind="REFUND", posting_id=f"R{n}")
    w.refunded(9, "1.00")
    w.posting(9, "-1.00", moment(14), kind="REFUND")
    w.settled(1, "-30.00", date(2026, 10, 14), transaction_type="REFUND", settled_batch_id="R")
    assert w.found() == [("B24", "R2", D("30.00"))]
    w.payment(8, "-30.00", moment(14), refund_of_guid=f" {guid_of(2)}".upper())
    assert w.found() == []


def test_b43_in_full(world: Any) -> None:
    w = world(codes={"B43": {"at_least": 2}})
    for n in range(1, 11):
        w.payment(n, tender="EFT")
    w.returned(1)
    w.returned(2, return_code="R10")
    row = w.run().breaks.filter(pl.col("code") == "B43").row(0, named=True)
    assert row["occurred_at"] == w.as_of.replace(month=9, day=1, hour=5)  # the first of the sixty days
    assert (row["subject"], row["amount"], row["due_at"]) == ("ALL", D("0.00"), None)
    assert json.loads(row["evidence"]) == {
        "rate": {"limit": "ALL", "count": 2, "detail": "20.0 % of 10 debits", "what": "15.00 %"}
    }


def test_pairs_are_each_others_only_candidate() -> None:
    left = pl.DataFrame({"item": [1, 1, 2, 3, 4, 5], "key": ["a", "b", "c", "d", "d", None]})
    right = pl.DataFrame({"row": [7, 7, 8, 9, 6, 6, 5], "key": ["a", "a", "c", "c", "d", "e", None]})
    found = pair_once(left, right, ["key"])
    assert sorted(found.pairs.rows()) == [(1, 7)]
    assert sorted(found.left_ambiguous) == [2, 3, 4]
    assert sorted(found.right_ambiguous) == [6, 8, 9]


def test_one_row_for_many_and_those_that_share_a_key() -> None:
    one = pl.DataFrame({"guid": ["x", "y", "y", None, "z", "z"], "item": [1, 2, 3, 4, 5, 6]})
    for times in (1, 7):  # few ask, and more
        many = pl.DataFrame({"row": range(3 * times), "guid": ["x", "y", None] * times})
        joined, shared = one_to_many(many, one, "guid", "item")
        assert joined.select("row", "item").sort("row").rows() == [(3 * n, 1) for n in range(times)]
        assert sorted(shared) == [2, 3]
    joined, shared = one_to_many(pl.DataFrame({"row": [0], "guid": ["x"]}), one, "guid", "item")
    assert (joined["item"].to_list(), shared.to_list()) == ([1], [])


def test_rows_without_the_used_ones() -> None:
    rows = pl.DataFrame({"id": [1, 2, 3, 4], "v": list("abcd")})
    used = pl.Series([2]), pl.Series([], dtype=pl.Int64), pl.Series([4, 2])
    assert without(rows, "id", *used)["v"].to_list() == ["a", "c"]
    assert without(rows, "id")["v"].to_list() == list("abcd")


def test_a_reference_is_read_as_people_write_it() -> None:
    frame = pl.DataFrame({"x": [" Inv\u20131\t", "INV\u22121", "0012", "12", "  ", "", None]})
    assert frame.select(reference_key("x"))["x"].to_list() == [
        "inv-1",
        "inv-1",
        "0012",
        "12",
        None,
        None,
        None,
    ]


def credit(name: str, day: int, amount: str, place: int) -> Credit:
    return Credit(name, date(2026, 10, day), D(amount), place)


def days(*given: tuple[int, str]) -> list[Day]:
    """A day of October is its own place here: no weekends."""
    return [Day(date(2026, 10, day), D(amount), day) for day, amount in given]


@pytest.mark.parametrize(
    ("credits", "settled", "found"),
    [
        # the credits of one value date before those of several: the greatest names the cover
        ([("A", 8, "40.00"), ("B", 8, "60.00")], [(7, "100.00")], [(("B", "A"), (7,))]),
        (
            [("A", 7, "10.00"), ("B", 8, "20.00"), ("C", 9, "70.00")],
            [(6, "100.00")],
            [(("C", "B", "A"), (6,))],
        ),
        # three of four value dates, the last three as well as the first
        (
            [("A", 6, "5.00"), ("B", 7, "10.00"), ("C", 8, "20.00"), ("D", 9, "70.00")],
            [(5, "5.00"), (6, "100.00")],
            [(("A",), (5,)), (("D", "C", "B"), (6,))],
        ),
        # equal sums: the usual lag decides, then the older date
        ([("A", 8, "50.00")], [(6, "50.00"), (7, "50.00")], [(("A",), (7,))]),
        ([("A", 9, "50.00")], [(6, "50.00"), (7, "50.00")], [(("A",), (7,))]),
        # fewer dates before the usual lag
        ([("A", 9, "50.00")], [(5, "50.00"), (7, "20.00"), (8, "30.00")], [(("A",), (5,))]),
        # the nearest sum; of two as near, fewer dates
        ([("A", 9, "55.00")], [(7, "50.00"), (8, "70.00")], [(("A",), (7,))]),
        ([("A", 9, "60.00")], [(7, "50.00"), (8, "20.00")], [(("A",), (7,))]),
        # not after the credit, not longer ago than the lag
        ([("A", 7, "50.00")], [(8, "50.00")], [(("A",), ())]),
        ([("A", 12, "50.00")], [(7, "50.00")], [(("A",), (7,))]),
        ([("A", 13, "50.00")], [(7, "50.00")], [(("A",), ())]),
        # what the neighbours paid is the bound on either side
        (
            [("A", 7, "10.00"), ("B", 8, "33.00"), ("C", 9, "30.00")],
            [(5, "32.00"), (6, "10.00"), (7, "20.00"), (8, "30.00"), (9, "33.50")],
            [(("A",), (6,)), (("C",), (8,)), (("B",), (7,))],
        ),
    ],
)
def test_which_dates_a_credit_covers(
    credits: list[tuple[str, int, str]], settled: list[tuple[int, str]], found: list[Any]
) -> None:
    limits = load_rules({}).deposits
    covers = cover([credit(name, day, amount, day) for name, day, amount in credits], days(*settled), limits)
    assert [(c.line_ids, tuple(day.day for day in c.days)) for c in covers] == found
    by_name = {name: day for name, day, _ in credits}
    assert all(c.value_date.day == max(by_name[name] for name in c.line_ids) for c in covers)


def test_b24_above_shows_the_refund_as_it_is(world: Any, moment: Any) -> None:
    """The break weighs what is above the payment; its evidence is the refund, whole."""
    w = world()
    w.payment()
    w.posting()
    w.refunded(1, "100.01", moment(7).date())
    found = w.run().breaks.filter(code="B24")
    assert found["amount"].to_list() == [D("0.01")]
    assert json.loads(found["evidence"][0])["refund"]["amount"] == "100.01"
