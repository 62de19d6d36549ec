"""Bank credits against settled dates: B14, B15 and the proof table."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

D = Decimal
SEVENTH = date(2026, 10, 7)  # Wednesday; Monday the 12th is a holiday


def oct_(day: int) -> date:
    return date(2026, 10, day)


def told(w: Any) -> list[tuple[str, str, Decimal]]:
    return [row for row in w.found() if row[0] in ("B13", "B14", "B15")]


def states(w: Any) -> dict[str, str]:
    return dict(w.run().deposits.select("deposit_id", "state").rows())


def settled_on(w: Any, *days: int, amount: str = "100.00") -> None:
    """One item of `amount` settled on each of the days, paid and posted as it should be."""
    for day in days:
        at = datetime(2026, 10, day, 15, tzinfo=w.as_of.tzinfo) - timedelta(days=1)
        w.payment(day, amount, at)
        w.posting(day, amount, at + timedelta(hours=1))
        w.settled(day, amount, oct_(day))


@pytest.mark.parametrize(
    ("days", "credits"),
    [
        ([7], [("100.00", 8)]),  # the next day
        ([7], [("100.00", 7)]),  # the same day
        ([8, 9, 10], [("300.00", 13)]),  # one credit after the long weekend for three settled dates
        ([9, 10, 11, 13], [("300.00", 13), ("100.00", 14)]),
        ([7], [("60.00", 8), ("40.00", 8)]),  # two credits of one day
        ([7], [("60.00", 8), ("40.00", 9)]),  # two credits of two days: card first, the rest later
        ([7, 8], [("100.00", 9), ("100.00", 9)]),  # two credits of one day, each for a date of its own
        ([5, 6, 7], [("100.00", 6), ("200.00", 8)]),
    ],
)
def test_paid_to_the_cent(world: Any, days: list[int], credits: list[tuple[str, int]]) -> None:
    w = world()
    settled_on(w, *days)
    w.bank("1.00", oct_(1), text="OTHER CUSTOMER")
    for amount, day in credits:
        w.bank(amount, oct_(day))
    assert w.found() == []
    proof = w.run().deposits
    assert set(proof["state"]) == {"MATCHED"}
    assert set(proof["residual_amount"]) == {D("0.00")}
    assert proof["settled_amount"].sum() == D("100.00") * len(days)
    assert proof["bank_amount"].sum() == sum(D(amount) for amount, _ in credits)


@pytest.mark.parametrize(("paid", "off"), [("99.99", "-0.01"), ("100.01", "0.01"), ("87.50", "-12.50")])
def test_b14_names_the_residual_to_the_cent(world: Any, paid: str, off: str) -> None:
    w = world()
    settled_on(w, 6, 7, 8)
    w.bank("100.00", oct_(7))
    line = w.bank(paid, oct_(8))
    w.bank("100.00", oct_(9))
    assert w.found() == [("B14", line, D(off))]
    assert states(w) == {"L1": "MATCHED", "L2": "VARIANCE", "L3": "MATCHED"}
    assert w.told("B14") == (
        f"Bank credit L2 of {paid} USD on 2026-10-08 00:00 is {off} USD off: "
        "settled 2026-10-07: 100.00 = 100.00 USD."
    )


def test_b14_waits_a_banking_day(world: Any, moment: Any) -> None:
    for day, state, expected in ((9, "WAITING", []), (13, "VARIANCE", [("B14", "L1", D("-1.00"))])):
        w = world(as_of=moment(day, 20))
        settled_on(w, 7)
        w.bank("99.00", oct_(8))
        assert told(w) == expected
        assert states(w) == {"L1": state}


def test_b14_one_cent_over_a_long_weekend(world: Any) -> None:
    w = world()
    settled_on(w, 8, 9, 10)
    w.bank("100.00", oct_(9))
    w.bank("199.99", oct_(13))
    assert w.found() == [("B14", "L2", D("-0.01"))]
    row = w.run().deposits.row(by_predicate=pl.col("line_id") == "L2", named=True)
    assert (row["settled_from"], row["settled_to"], row["detail"]) == (oct_(9), oct_(10), "2 settled dates")


def test_b14_a_credit_that_covers_no_settled_date(world: Any) -> None:
    w = world()
    settled_on(w, 7)
    w.bank("100.00", oct_(8))
    w.bank("55.00", oct_(20))
    assert w.found() == [("B14", "L2", D("55.00"))]
    assert states(w)["L2"] == "UNEXPLAINED"
    assert w.told("B14") == "Bank credit L2 of 55.00 USD on 2026-10-20 00:00 covers no settled date."


def test_money_of_others_is_none_of_ours(world: Any) -> None:
    w = world(deposits={"account_last4": ["4321"]})
    settled_on(w, 7)
    w.bank("100.00", oct_(8))
    w.bank("55.00", oct_(8), text="LOCKBOX DEPOSIT")
    w.bank("66.00", oct_(8), text=None)
    w.bank("77.00", oct_(8), bank_account_last4="9999")
    assert w.found() == []
    assert states(w) == {"L1": "MATCHED"}


def test_b15_after_two_banking_days_of_statement(world: Any) -> None:
    for newest, expected in ((9, []), (12, []), (13, [("B15", "2026-10-07", D("100.00"))])):
        w = world()
        settled_on(w, 6, 7)
        w.bank("100.00", oct_(6))
        w.bank("5.00", oct_(newest), text="OTHER CUSTOMER")
        assert told(w) == expected, newest
        assert states(w)["2026-10-07"] == ("MISSING" if expected else "OUTSTANDING")
    assert w.told("B15") == (
        "No bank credit for settled 2026-10-07: 100.00 = 100.00 USD; it was due by 2026-10-13 00:00."
    )


def test_b15_is_not_judged_before_the_statement_begins_nor_without_any_line_of_ic(world: Any) -> None:
    w = world()
    settled_on(w, 5, 6, 7)
    assert w.found() == []
    w.bank("5.00", oct_(7), text="OTHER CUSTOMER")
    w.bank("5.00", oct_(20), text="OTHER CUSTOMER")
    assert w.found() == []
    assert states(w) == {"2026-10-07": "HELD"}
    w.bank("100.00", oct_(6))
    assert told(w) == [("B15", "2026-10-06", D("100.00")), ("B15", "2026-10-07", D("100.00"))]


def test_b15_a_holiday_on_a_saturday_is_not_moved(world: Any, moment: Any) -> None:
    """Christmas 2027 is a Saturday: Friday the 24th is a banking day, so the 28th is the third after the 23rd."""
    for newest, expected in ((27, []), (28, ["2027-12-23"])):
        w = world(as_of=datetime(2027, 12, 30, 20, tzinfo=moment(1).tzinfo))
        w.settled(1, on=date(2027, 12, 22))
        w.settled(2, on=date(2027, 12, 23))
        w.bank("100.00", date(2027, 12, 22))
        w.bank("1.00", date(2027, 12, newest), text="OTHER")
        assert [subject for code, subject, _ in w.found() if code == "B15"] == expected


def test_one_missing_and_the_next_a_cent_off(world: Any) -> None:
    w = world()
    for day, amount in ((6, "311.17"), (7, "402.90"), (8, "287.45"), (9, "123.00")):
        settled_on(w, day, amount=amount)
    w.bank("311.17", oct_(7))
    w.bank("287.44", oct_(9))
    w.bank("123.00", oct_(13))
    w.bank("1.00", oct_(20), text="OTHER")
    assert told(w) == [("B14", "L2", D("-0.01")), ("B15", "2026-10-07", D("402.90"))]


def test_of_equal_days_the_one_without_a_credit_is_missing(world: Any) -> None:
    w = world()
    settled_on(w, 5, 6, 7, 8)
    for day in (6, 8, 9):
        w.bank(on=oct_(day))
    w.bank("1.00", oct_(20), text="OTHER")
    assert told(w) == [("B15", "2026-10-06", D("100.00"))]


@pytest.mark.parametrize("in_batch", [True, False])
def test_a_return_is_taken_off_once_on_its_own_date(world: Any, moment: Any, in_batch: bool) -> None:
    w = world()
    settled_on(w, 7, 8, 9)
    for day in (7, 8, 9):
        w.rows["payments"][day - 7]["tender"] = "EFT"
    w.returned(7, at=moment(9, 13))
    w.posting(7, "-100.00", moment(9, 18), kind="REVERSAL", reason="NSF")
    w.settled(4, "250.00", oct_(9))
    if in_batch:
        w.settled(7, "-100.00", oct_(9), transaction_type="REJECT")
    w.bank("100.00", oct_(8))
    w.bank("100.00", oct_(9))
    w.bank("250.00", oct_(13))
    assert told(w) == []
    row = w.run().deposits.row(by_predicate=pl.col("line_id") == "L3", named=True)
    assert (row["settled_amount"], row["returned_amount"], row["expected_amount"]) == (
        D("350.00"), D("100.00"), D("250.00"),
    )  # fmt: skip


def test_returns_in_batches_can_be_said(world: Any, moment: Any) -> None:
    for said, expected in ((True, []), (None, [("B14", "L1", D("40.00"))])):
        w = world(deposits={"returns_in_batches": said} if said is not None else {})
        settled_on(w, 7)
        w.returned(3, "40.00", at=moment(7, 13))
        w.bank("100.00", oct_(8))
        assert told(w) == expected


def test_interbank_news_takes_nothing_off(world: Any, moment: Any) -> None:
    w = world()
    settled_on(w, 7)
    w.returned(3, "40.00", at=moment(7, 13), return_code="R68")
    w.bank("100.00", oct_(8))
    assert told(w) == []


def test_chargebacks_and_refunds_are_taken_off_on_their_dates(world: Any) -> None:
    w = world()
    settled_on(w, 7, 8, 9)
    w.disputed(1, "30.00", oct_(8))
    w.disputed(2, "7.00", oct_(8), "RETRIEVAL")
    w.disputed(1, "30.00", oct_(9), "REVERSED")
    w.refunded(3, "12.50", oct_(7))
    w.bank("87.50", oct_(8))
    w.bank("70.00", oct_(9))
    w.bank("130.00", oct_(13))
    assert told(w) == []
    w.rows["chargebacks"].clear()
    assert told(w) == [("B14", "L2", D("-30.00")), ("B14", "L3", D("30.00"))]
    assert (
        "settled 2026-10-07: 100.00 − 12.50 refunded" not in w.run().breaks["sentence"].str.join(" ").item()
    )


def test_a_deduction_on_a_weekend_is_taken_off_on_the_next_banking_day(world: Any) -> None:
    w = world()
    settled_on(w, 7, 13)
    w.refunded(3, "12.50", oct_(10))
    w.bank("100.00", oct_(8))
    w.bank("87.50", oct_(14))
    assert told(w) == []


def test_a_debit_of_a_day_without_a_batch(world: Any) -> None:
    """A refund on a day when nothing settles: taken from the account by itself, or from the next deposit."""
    for credits in (("-12.50", "100.00"), ("87.50",)):
        w = world()
        settled_on(w, 7, 9)
        w.refunded(3, "12.50", oct_(8))
        w.bank("100.00", oct_(8))
        for amount in credits:
            w.bank(amount, oct_(9))
        assert told(w) == []
        assert set(w.run().deposits["state"]) == {"MATCHED"}


@pytest.mark.parametrize(("fees", "paid"), [("none", "100.00"), ("added", "102.50"), ("deducted", "97.50")])
def test_fees_as_the_biller_says(world: Any, fees: str, paid: str) -> None:
    w = world(deposits={"fees": fees})
    settled_on(w, 7)
    w.rows["settlements"][0]["fee_amount"] = "2.50"
    w.bank(paid, oct_(8))
    assert w.found() == []


def test_cloudstore_is_paid_out_with_the_rest_or_not(world: Any) -> None:
    for inside, paid in ((True, "125.00"), (False, "100.00")):
        w = world(deposits={"exclusions_in_deposit": inside})
        settled_on(w, 7)
        w.settled(0, "25.00", oct_(7), payment_guid=None, processor_reference="CS1")
        w.posting(0, "25.00", payment_guid=None, processor_reference="CS1", origin="CLOUDSTORE")
        w.bank(paid, oct_(8))
        assert w.found() == []


def test_a_deposit_is_held_while_settlements_are_not_complete(world: Any, moment: Any) -> None:
    w = world()
    settled_on(w, 7)
    w.bank("150.00", oct_(8))
    for feed in ("payments", "settlements", "ach_rejects"):
        w.poll(feed, moment(1), moment(8, 12) if feed == "settlements" else w.as_of)
    assert told(w) == []
    assert states(w) == {"L1": "HELD"}
    totals = w.run().totals.filter((pl.col("kind") == "held") & (pl.col("name") == "B14"))
    assert totals.select("rows", "amount").rows() == [(1, D("50.00"))]
    w.rows["polls"][1]["window_to"] = moment(9, 12)
    assert told(w) == [("B14", "L1", D("50.00"))]


def test_without_a_statement_there_is_no_deposit_control(world: Any) -> None:
    w = world()
    settled_on(w, 7)
    outcome = w.run()
    assert outcome.breaks.is_empty()
    assert outcome.deposits.is_empty()
    assert "residual_amount" in outcome.deposits.columns


def test_any_row_order_gives_the_same_table(world: Any) -> None:
    w = world()
    settled_on(w, 6, 7, 8, 9)
    for amount, day in (("100.00", 7), ("60.00", 8), ("40.00", 8), ("199.99", 13)):
        w.bank(amount, oct_(day))
    first = w.run().deposits
    for rows in w.rows.values():
        rows.reverse()
    assert w.run().deposits.equals(first)
