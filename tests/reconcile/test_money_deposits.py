"""The proof table of deposits row by row, and the words beside it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

D = Decimal
PARTS = ["bank_amount", "settled_amount", "returned_amount", "chargeback_amount", "refund_amount"]
PARTS += ["fee_amount", "other_amount", "expected_amount", "residual_amount"]


def oct_(day: int) -> date:
    return date(2026, 10, day)


def settled(w: Any, *days: int, amount: str = "100.00") -> None:
    for day in days:
        w.settled(day, amount, oct_(day))


def table(w: Any, *columns: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = w.run().deposits.select("deposit_id", *columns).rows()
    return rows


def test_every_part_of_a_deposit(world: Any, moment: Any) -> None:
    """100.00 − 12.00 − (30.00 − 5.00) − 7.00 + 1.50 − 3.00 = 54.50; the dispute won is another case's."""
    w = world(deposits={"fees": "added"})
    settled(w, 7)
    w.rows["settlements"][0]["fee_amount"] = "1.50"
    w.settled(8, "-3.00", oct_(7), transaction_type="ADJUSTMENT", fee_amount="9.00")
    w.returned(3, "12.00", moment(7))
    w.disputed(4, "30.00", oct_(7))
    w.disputed(5, "5.00", oct_(7), "REVERSED")
    w.disputed(6, "66.00", oct_(7), "RETRIEVAL")
    w.refunded(2, "7.00", oct_(7))
    w.bank("54.50", oct_(8))
    parts = ["54.50", "100.00", "12.00", "25.00", "7.00", "1.50", "-3.00", "54.50", "0.00"]
    assert table(w, "line_id", "value_date", "settled_from", "settled_to", "state", "detail") == [
        ("L1", "L1", oct_(8), oct_(7), oct_(7), "MATCHED", "")
    ]
    assert table(w, *PARTS) == [("L1", *map(D, parts))]


@pytest.mark.parametrize(
    ("kind", "part"),
    [("REJECT", "returned_amount"), ("CHARGEBACK", "chargeback_amount"), ("REFUND", "refund_amount")],
)
def test_what_batches_hold_is_taken_off_there_alone(world: Any, moment: Any, kind: str, part: str) -> None:
    w = world()
    settled(w, 7)
    w.settled(3, "-20.00", oct_(7), transaction_type=kind)
    w.returned(4, "1.00", moment(7))
    w.disputed(5, "2.00", oct_(7))
    w.refunded(6, "4.00", oct_(7))
    w.bank("100.00", oct_(8))
    beside = {"returned_amount": D("1.00"), "chargeback_amount": D("2.00"), "refund_amount": D("4.00")}
    expected = D("100.00") - sum((beside | {part: D("20.00")}).values())
    row = w.run().deposits.row(0, named=True)
    assert {name: row[name] for name in beside} == beside | {part: D("20.00")}
    assert (row["expected_amount"], row["residual_amount"]) == (expected, D("100.00") - expected)


@pytest.mark.parametrize("part", ["returns", "chargebacks", "refunds"])
def test_a_biller_may_say_what_batches_hold(world: Any, moment: Any, part: str) -> None:
    w = world(deposits={f"{part}_in_batches": True})
    settled(w, 7)
    w.returned(4, "1.00", moment(7))
    w.disputed(5, "2.00", oct_(7))
    w.refunded(6, "4.00", oct_(7))
    w.bank("100.00", oct_(8))
    off = {"returns": "1.00", "chargebacks": "2.00", "refunds": "4.00"}[part]
    assert w.run().deposits["expected_amount"].to_list() == [D("93.00") + D(off)]


def test_days_and_lines_that_stand_together_are_named(world: Any) -> None:
    w = world()
    settled(w, 5, 6)
    w.bank("150.00", oct_(7))
    w.bank("50.00", oct_(7))
    settled(w, 8, 14)
    w.bank("40.00", oct_(9), line_id="PART2")
    w.bank("60.00", oct_(9), line_id="PART1")
    w.bank("100.00", oct_(15))
    assert table(w, "state", "settled_from", "settled_to", "detail") == [
        ("L1", "MATCHED", oct_(5), oct_(6), "2 settled dates; bank lines L1, L2"),
        ("PART1", "MATCHED", oct_(8), oct_(8), "bank lines PART1, PART2"),
        ("L5", "MATCHED", oct_(14), oct_(14), ""),
    ]
    assert w.run().deposits["bank_amount"].to_list() == [D("200.00"), D("100.00"), D("100.00")]


def test_money_in_parts_on_three_days_and_not_on_four(world: Any) -> None:
    for parts, matched in (("50.00", "30.00", "20.00"), True), (("40.00", "30.00", "20.00", "10.00"), False):
        w = world()
        settled(w, 5)
        for n, part in enumerate(parts):
            w.bank(part, oct_(6 + n))
        assert (set(w.run().deposits["state"]) == {"MATCHED"}) is matched, parts


def test_without_a_line_of_ic_nothing_is_missing_yet(world: Any) -> None:
    w = world()
    settled(w, 7)
    w.bank("5.00", oct_(7), text="OTHER CUSTOMER")
    w.bank("5.00", oct_(20), text="OTHER CUSTOMER")
    words = "no bank line matches deposits.text_pattern"
    assert table(w, "line_id", "state", "detail") == [("2026-10-07", None, "HELD", words)]
    held = w.run().totals.filter((pl.col("kind") == "held") & (pl.col("name") == "B15"))
    assert held.select("rows", "amount").rows() == [(1, D("100.00"))]


def test_a_date_with_nothing_to_pay_out(world: Any, moment: Any) -> None:
    w = world()
    settled(w, 6, 7)
    w.returned(3, "100.00", moment(7))
    w.bank("100.00", oct_(7))
    w.bank("5.00", oct_(20), text="OTHER CUSTOMER")
    assert table(w, "line_id", "state", "expected_amount", "residual_amount", "bank_amount") == [
        ("L1", "L1", "MATCHED", D("100.00"), D("0.00"), D("100.00")),
        ("2026-10-07", None, "NOTHING", D("0.00"), D("0.00"), D("0.00")),
    ]
    assert [code for code, _, _ in w.found() if code in ("B14", "B15")] == []


def test_rows_stand_in_order_of_their_settled_dates(world: Any) -> None:
    w = world()
    settled(w, 6, 8)
    w.bank("100.00", oct_(13), line_id="A")
    w.bank("100.00", oct_(7), line_id="Z")
    w.bank("0.07", oct_(28), line_id="M")
    w.bank("0.08", oct_(27), line_id="B")
    assert table(w, "settled_to", "state") == [
        ("B", None, "UNEXPLAINED"),
        ("M", None, "UNEXPLAINED"),
        ("Z", oct_(6), "MATCHED"),
        ("A", oct_(8), "MATCHED"),
    ]


def test_a_tolerance_is_taken_to_the_cent(world: Any) -> None:
    for paid, state in (("99.95", "MATCHED"), ("100.05", "MATCHED"), ("99.94", "VARIANCE")):
        w = world(deposits={"tolerance": "0.05"})
        settled(w, 7)
        w.bank(paid, oct_(8))
        assert table(w, "state") == [("L1", state)]
    assert w.found()[-1] == ("B14", "L1", D("-0.06"))


@pytest.mark.parametrize(
    ("feed", "to", "state"),
    [
        ("settlements", (8, 23), "HELD"),
        ("ach_rejects", (8, 23), "HELD"),
        ("settlements", (9, 5), "VARIANCE"),  # the value date's end in Chicago
        ("ach_rejects", (9, 5), "VARIANCE"),
    ],
)
def test_a_variance_needs_both_feeds_to_the_end_of_the_value_date(
    world: Any, moment: Any, feed: str, to: tuple[int, int], state: str
) -> None:
    w = world()
    settled(w, 7)
    w.bank("50.00", oct_(8))
    for name in ("payments", "settlements", "ach_rejects"):
        w.poll(name, moment(1), moment(*to) if name == feed else w.as_of)
    assert table(w, "state") == [("L1", state)]


@pytest.mark.parametrize(("begins", "state"), [((1, 5), "UNEXPLAINED"), ((1, 6), "HELD")])
def test_an_unexplained_credit_needs_the_settlements_of_its_lag(
    world: Any, moment: Any, begins: tuple[int, int], state: str
) -> None:
    """Five banking days before the 8th is the 1st."""
    w = world()
    w.bank("50.00", oct_(8))
    for name in ("payments", "settlements", "ach_rejects"):
        w.poll(name, moment(*begins), w.as_of)
    assert table(w, "state") == [("L1", state)]


def test_a_credit_is_not_set_against_older_money_than_the_one_before(world: Any) -> None:
    """The 5th is skipped by the credit of the 7th, so the last credit, too small, is the 7th's."""
    w = world()
    settled(w, 5, amount="90.00")
    settled(w, 6, amount="100.00")
    settled(w, 7, amount="300.00")
    w.bank("1.00", oct_(5), text="OTHER")
    w.bank("100.00", oct_(7))
    w.bank("91.00", oct_(8))
    w.bank("1.00", oct_(20), text="OTHER")
    assert table(w, "state", "settled_to", "residual_amount") == [
        ("2026-10-05", "MISSING", oct_(5), D("-90.00")),
        ("L2", "MATCHED", oct_(6), D("0.00")),
        ("L3", "VARIANCE", oct_(7), D("-209.00")),
    ]


@pytest.mark.parametrize(("day", "state"), [(14, "VARIANCE"), (15, "UNEXPLAINED")])
def test_the_lag_ends_after_five_banking_days(world: Any, day: int, state: str) -> None:
    """Settled on the 6th: 7, 8, 9, 13 and 14 are banking days."""
    w = world()
    settled(w, 6)
    w.bank("1.00", oct_(6), text="OTHER")
    w.bank("55.00", oct_(day))
    assert [row for row in table(w, "state") if row[0] == "L2"] == [("L2", state)]


def test_seven_dates_at_most_in_one_credit(world: Any) -> None:
    for days, state in ((7, "MATCHED"), (8, "VARIANCE")):
        w = world()
        settled(w, *range(5, 5 + days), amount="10.00")
        w.bank(f"{days}0.00", oct_(14))
        assert [row[1] for row in table(w, "state") if row[0] == "L1"] == [state], days


@pytest.mark.parametrize(
    ("paid", "settled_day", "count", "found"),
    [
        (7, None, 3, [("2026-10-07", D("30.00"))]),
        (7, None, 2, []),
        (7, 9, 3, []),
        (10, None, 3, [("2026-10-13", D("30.00"))]),  # a Saturday before the holiday
    ],
)
def test_b13_of_a_banking_day(
    world: Any, moment: Any, paid: int, settled_day: int | None, count: int, found: list[Any]
) -> None:
    w = world(as_of=moment(17, 23))
    for n in range(1, count + 1):
        w.payment(n, "10.00", moment(paid))
        w.posting(n, "10.00", moment(paid, 18))
    if settled_day:
        w.settled(1, "10.00", oct_(settled_day))
    w.payment(8, "99.00", moment(paid), approved=False)
    w.payment(9, "-7.00", moment(paid))
    assert [row[1:] for row in w.found() if row[0] == "B13"] == found


@pytest.mark.parametrize(
    ("day", "tender", "found"), [(9, "CARD", 0), (13, "CARD", 1), (13, "EFT", 0), (14, "EFT", 1)]
)
def test_b13_waits_its_tenders_days(world: Any, moment: Any, day: int, tender: str, found: int) -> None:
    """Of the 7th: a card's two banking days are the 8th and 9th, a debit's three reach to the 13th."""
    w = world(as_of=moment(day, 20))
    for n in (1, 2, 3):
        w.payment(n, "10.00", moment(7), tender=tender)
        w.posting(n, "10.00", moment(7, 18))
    assert len([code for code, _, _ in w.found() if code == "B13"]) == found
    if not found:
        return
    w.rows["polls"].clear()
    w.poll("settlements", moment(1, month=8), moment(9, 12))
    w.poll("payments", moment(1, month=8), w.as_of)
    assert [code for code, _, _ in w.found() if code == "B13"] == []
    held = w.run().totals.filter((pl.col("kind") == "held") & (pl.col("name") == "B13"))
    assert held.select("rows", "amount").rows() == [(1, D("30.00"))]
