"""SUGGESTED: a missing payment and the one posting that may be it; told once, never matched, and not for ever."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

D = Decimal
ACCOUNT = "0012345678"


def fresh(world: Any, moment: Any, **rules: Any) -> Any:
    """Thursday the 8th at noon: the payment of the 5th is settled, and due in the books since the evening."""
    w = world(as_of=moment(8, 17), **rules)
    w.payment()
    w.settled()
    return w


def nameless(w: Any, **more: Any) -> str:
    posted: str = w.posting(payment_guid=None, **more)
    return posted


@pytest.mark.parametrize(
    ("key", "posting"),
    [
        ("GUID", {"payment_guid": "{00000000000040008000000000000001}", "account_number": "9", "invoice_number": None}),
        ("REFERENCE", {"processor_reference": " 00p-R 1", "account_number": "9", "invoice_number": None}),
        ("DATE", {"days": 3}),
        ("ACCOUNT", {"account_number": "12345678"}),
        ("ACCOUNT", {"account_number": "POL-12 345678"}),
        ("CROSSED", {"account_number": "inv-1", "invoice_number": ACCOUNT}),
        ("INVOICE", {"invoice_number": "INV-7"}),
        ("INVOICE", {"invoice_number": None}),
        ("INVOICE", {"invoice_number": None, "kind": "SUSPENSE"}),
    ],
)  # fmt: skip
def test_each_weak_key_suggests_and_matches_nothing(
    world: Any, moment: Any, guid_of: Any, key: str, posting: dict[str, Any]
) -> None:
    w = fresh(world, moment)
    posting = {"payment_guid": None} | posting
    id_ = w.posting(at=moment(5, 18) + timedelta(days=posting.pop("days", 0)), **posting)
    outcome = w.run()
    assert outcome.breaks.is_empty()
    (row,) = outcome.suggestions.to_dicts()
    assert (row["payment_guid"], row["posting_id"], row["rule"], row["amount"]) == (
        guid_of(1),
        id_,
        key,
        D(100),
    )
    item = w.item()
    assert (item["state"], item["match_rule"], item["posted_amount"]) == ("SUGGESTED", None, 0)
    assert item["state_reason"] == f"IMT posting {id_} may be it: {w.rules.suggestions.keys[key].words}"
    states = {name: (rows, amount) for kind, name, rows, amount in outcome.totals.rows() if kind == "state"}
    assert states["SUGGESTED"] == (1, D(100))


def test_what_a_person_reads(world: Any, moment: Any, guid_of: Any) -> None:
    w = fresh(world, moment)
    nameless(w, invoice_number="INV-7", posting_id="X1")
    (row,) = w.run().suggestions.to_dicts()
    assert row["reason"] == (
        f"IMT posting X1 of 100.00 USD (account …5678, invoice INV-7) may be payment {guid_of(1)} "
        "(account …5678, invoice INV-1): same account and amount, another invoice or none."
    )
    assert (row["payment_date"], row["posted_at"], row["rank"]) == (moment(5), moment(5, 18), 6)
    assert (
        row["take_up_by"] == w.item()["due_by"] == moment(14, 5)
    )  # five banking days; the 12th is a holiday


@pytest.mark.parametrize(
    "posting",
    [
        {"account_number": "0099"},
        {"amount": "100.01"},
        {"origin": "LOCKBOX"},
        {"status": "REFUSED"},
        {"processor_reference": "PR2"},  # another payment's, whatever else is the same
        {"payment_guid": "00000000-0000-4000-8000-000000000007"},
        {"at": "far"},
        {"account_number": "A-B", "invoice_number": "INV-7"},
    ],
)
def test_what_is_no_candidate(world: Any, moment: Any, guid_of: Any, posting: dict[str, Any]) -> None:
    w = fresh(world, moment)
    if posting.get("at") == "far":
        posting = {"at": moment(1, 18), "effective_date": moment(1).date()}
    w.posting(1, **{"payment_guid": None, "invoice_number": "INV-7"} | posting)
    outcome = w.run()
    assert outcome.suggestions.is_empty()
    assert ("B01", guid_of(1), D(100)) in w.found()


def test_the_strongest_key_is_told(world: Any, moment: Any) -> None:
    w = fresh(world, moment)
    nameless(w, at=moment(7, 18), account_number=ACCOUNT)
    assert w.run().suggestions["rule"].to_list() == ["DATE"]


def test_two_postings_or_two_payments_suggest_nothing(world: Any, moment: Any, guid_of: Any) -> None:
    w = fresh(world, moment)
    nameless(w, invoice_number="INV-7")
    nameless(w, account_number="12345678")  # by another key
    assert w.run().suggestions.is_empty()
    assert [code for code, _, _ in w.found()] == ["B01", "B02", "B02"]
    w = fresh(world, moment)
    nameless(w, invoice_number="INV-7")
    w.payment(2, at=moment(8, 16))  # not due yet, and it may be its posting
    assert w.run().suggestions.is_empty()
    assert ("B01", guid_of(1), D(100)) in w.found()
    w = fresh(world, moment)
    nameless(w, invoice_number="INV-7")
    w.chain(2)  # has its own: nothing to compete for
    assert w.run().suggestions.height == 1


def test_a_declined_try_is_no_rival(world: Any, moment: Any) -> None:
    w = fresh(world, moment)
    nameless(w, invoice_number="INV-7")
    w.payment(2, approved=False)
    assert w.run().suggestions.height == 1


def test_a_posting_taken_back_stands_no_more(world: Any, moment: Any) -> None:
    w = fresh(world, moment)
    id_ = nameless(w, invoice_number="INV-7")
    w.posting(
        1, "-100.00", payment_guid=None, kind="REVERSAL", reverses_posting_id=id_, invoice_number="INV-7"
    )
    assert w.run().suggestions.is_empty()
    assert [code for code, _, _ in w.found()] == ["B01", "B02"]


def test_not_before_it_would_be_missing(world: Any, moment: Any) -> None:
    w = world(as_of=moment(5, 22))
    w.payment()
    nameless(w, invoice_number="INV-7")
    assert (w.item()["state"], w.run().suggestions.height) == ("IN_FLIGHT", 0)
    w = fresh(world, moment)
    nameless(w, invoice_number="INV-7")
    w.poll("postings", moment(1), moment(5, 16))
    for feed in ("payments", "settlements", "ach_rejects"):
        w.poll(feed, moment(1, 5, month=9), w.as_of)
    assert (w.item()["state"], w.run().suggestions.height) == ("IN_FLIGHT", 0)  # not proven to be missing


@pytest.mark.parametrize(("late", "state"), [(timedelta(seconds=-1), "SUGGESTED"), (timedelta(0), "BROKEN")])
def test_left_alone_it_is_both_breaks_with_the_candidate(
    world: Any, moment: Any, guid_of: Any, late: timedelta, state: str
) -> None:
    w = fresh(world, moment)
    nameless(w, invoice_number="INV-7", posting_id="X1")
    w.as_of = moment(14, 5) + late
    assert w.item()["state"] == state
    if state == "SUGGESTED":
        return
    assert w.run().suggestions.is_empty()
    assert w.found() == [("B01", guid_of(1), D(100)), ("B02", "X1", D(100))]
    assert w.told("B01").endswith(
        " IMT posting X1 may be it: same account and amount, another invoice or none."
    )
    told = json.loads(w.run().breaks.filter(pl.col("code") == "B01")["evidence"].item())
    assert (told["candidate"]["posting_id"], told["candidate"]["invoice_number"]) == ("X1", "INV-7")


def test_the_days_are_counted_from_the_later_of_both(world: Any, moment: Any) -> None:
    w = fresh(world, moment)
    nameless(w, at=moment(13, 18), effective_date=moment(13).date())  # Tuesday
    w.as_of = moment(20, 17)
    assert (w.item()["state"], w.item()["due_by"]) == ("SUGGESTED", moment(21, 5))


def test_a_further_break_leaves_both_as_breaks(world: Any, moment: Any, guid_of: Any) -> None:
    w = world(as_of=moment(12, 17))
    w.payment()  # never settled
    nameless(w, invoice_number="INV-7", at=moment(8, 18), effective_date=moment(8).date())
    assert w.found() == [("B01", guid_of(1), D(100)), ("B02", "P1", D(100)), ("B10", guid_of(1), D(100))]
    assert (w.item()["state"], w.run().suggestions.height) == ("BROKEN", 0)


def test_taken_up_it_is_a_match_and_the_next_run_says_so(world: Any, moment: Any, guid_of: Any) -> None:
    w = fresh(world, moment)
    nameless(w, account_number="12345678", posting_id="X1")
    assert w.item()["state"] == "SUGGESTED"
    w.rows["postings"][0] |= {"payment_guid": guid_of(1), "account_number": ACCOUNT}
    assert (w.item()["state"], w.item()["match_rule"], w.found()) == ("MATCHED_PROVISIONAL", "key1", [])


def test_a_biller_sets_keys_and_time_and_an_expired_key_suggests_nothing(world: Any, moment: Any) -> None:
    own = {"rank": 1, "same": ["invoice"], "within_days": 1, "words": "same invoice", "owner": "Ann Ode"}
    keys = {"OWN": own | {"expiry": "2027-01-01"}, "INVOICE": {"expiry": "2026-10-07"}}
    w = fresh(world, moment, suggestions={"after_banking_days": 3, "keys": keys})
    nameless(w, account_number="0099")
    assert w.run().suggestions["rule"].to_list() == ["OWN"]
    w.rows["postings"][0] |= {"account_number": ACCOUNT, "invoice_number": "INV-7"}
    assert w.run().suggestions.is_empty()
    w = fresh(
        world, moment, suggestions={"after_banking_days": 1, "keys": {"INVOICE": {"expiry": "2026-10-08"}}}
    )
    nameless(w, invoice_number="INV-7")
    assert w.item()["state"] == "BROKEN"  # over since the 7th


def test_a_fee_in_the_amount_is_taken_off_first(world: Any, moment: Any) -> None:
    w = fresh(world, moment, fee_model="payer_paid_included")
    nameless(w, amount="97.50", invoice_number="INV-7")
    assert w.run().suggestions["amount"].to_list() == [D("97.50")]


def test_a_split_payment_is_looked_for_as_a_whole(world: Any, moment: Any, guid_of: Any) -> None:
    w = world(as_of=moment(8, 17))
    w.split("60.00", "40.00")
    w.settled()
    nameless(w, invoice_number="INV-99")
    outcome = w.run()
    assert outcome.suggestions.select("payment_guid", "amount").rows() == [(guid_of(1), D(100))]
    assert outcome.items["state"].to_list() == ["SUGGESTED", "SUGGESTED"]
    assert outcome.breaks.is_empty()


def test_thousands_that_look_alike_cost_no_quadratic_list(world: Any, moment: Any) -> None:
    w = fresh(world, moment)
    nameless(w, invoice_number=None)
    inputs, size = w.inputs(), 3_000
    payments = pl.concat([inputs.payments] * size).with_columns(
        payment_guid=pl.format("g{}", pl.int_range(pl.len())),
        invoice_number=pl.format("I{}", pl.int_range(pl.len())),
    )
    postings = pl.concat([inputs.postings] * size).with_columns(
        posting_id=pl.format("P{}", pl.int_range(pl.len()))
    )
    w.rows = {name: [] for name in w.rows}
    from dataclasses import replace

    from tasks.reconcile import reconcile

    found = reconcile(replace(inputs, payments=payments, postings=postings), w.rules, w.as_of, w.calendar)
    assert found.suggestions.is_empty()
    assert found.breaks.filter(pl.col("code") == "B01").height == size
