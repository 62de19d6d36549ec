"""What must hold for any rows: one state each, sums kept, no row used twice, row order without meaning."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.reconcile import (
    BREAKS,
    ITEMS,
    STATES,
    TOTALS,
    Inputs,
    StateTotalsError,
    compare,
    empty,
    load_rules,
    postings,
    reconcile,
)
from tasks.reconcile.model import PAYMENTS, SCHEMAS

AMOUNTS = ["100.00", "100.01", "102.50", "0.01"]
_payment = st.fixed_dictionaries(
    {
        "n": st.integers(1, 4),
        "amount": st.sampled_from(AMOUNTS),
        "approved": st.sampled_from([True, True, True, False]),
        "tender": st.sampled_from(["CARD", "EFT", None]),
        "invoice_number": st.sampled_from(["INV-1", "INV\u20132", None]),
        "processor_reference": st.sampled_from(["PR1", "PR2", "", None]),
        "status": st.sampled_from([None, None, "VOIDED", "REFUNDED"]),
        "payment_line_no": st.sampled_from([None, 1, 2, 3]),
        "payment_source": st.sampled_from(["PORTAL_OTP", "AGENTCONNECT"]),
        "agent_code": st.sampled_from([None, "A-17", "A-99"]),
        "day": st.integers(1, 30),
    }
)
_posting = st.fixed_dictionaries(
    {
        "n": st.integers(1, 5),
        "amount": st.sampled_from(AMOUNTS),
        "kind": st.sampled_from(
            ["PAYMENT", "PAYMENT", "PAYMENT", "SUSPENSE", "REVERSAL", "REFUND", "TRANSFER"]
        ),
        "nameless": st.booleans(),
        "invoice_number": st.sampled_from(["INV-1", "inv-2", None]),
        "processor_reference": st.sampled_from(["PR1", "pr2", "CS1", None]),
        "origin": st.sampled_from(["IC", "IC", "IC", "CLOUDSTORE", "LOCKBOX"]),
        "status": st.sampled_from(["POSTED", "POSTED", "POSTED", "REFUSED"]),
        "reverses_posting_id": st.sampled_from([None, "P1", "P2"]),
        "agent_code": st.sampled_from([None, "A-17"]),
        "day": st.integers(1, 30),
    }
)
_settled = st.fixed_dictionaries(
    {
        "n": st.integers(1, 5),
        "amount": st.sampled_from(AMOUNTS),
        "nameless": st.booleans(),
        "processor_reference": st.sampled_from(["PR1", "PR2", "CS1", None]),
        "transaction_type": st.sampled_from(["PAYMENT", "PAYMENT", "REJECT", "REFUND"]),
        "day": st.integers(1, 30),
    }
)
_returned = st.fixed_dictionaries(
    {
        "n": st.integers(1, 5),
        "amount": st.sampled_from(AMOUNTS),
        "nameless": st.booleans(),
        "return_code": st.sampled_from(["R01", "R10", "R61"]),
        "reject_sequence": st.sampled_from([1, 2, None]),
        "day": st.integers(1, 30),
    }
)
_poll = st.tuples(
    st.sampled_from(["payments", "settlements", "ach_rejects", "autopay"]),
    st.integers(1, 15),
    st.integers(16, 30),
    st.sampled_from(["ok", "ok", "suspect", "failed"]),
)
_number = st.sampled_from(["INV-1", "inv-2", "INV\u20132", "007"])
_invoice = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["OPEN", "PAID", "SUPERSEDED", "SUPERSEDED", "CANCELLED"]),
        "successor": st.sampled_from([None, "INV-1", "inv-2", "INV-9"]),
        "day": st.integers(1, 30),
    }
)
_record = st.fixed_dictionaries(
    {
        "number": _number,
        "kind": st.sampled_from(["A", "A", "R", "D"]),
        "state": st.sampled_from(["accepted", "accepted", "rejected", "in_file", "refused", "resent"]),
        "day": st.integers(1, 30),
    }
)
_look = st.fixed_dictionaries(
    {"number": _number, "found": st.sampled_from([True, False, None]), "day": st.integers(1, 30)}
)
_image = st.fixed_dictionaries(
    {
        "invoice_number": _number,
        "state": st.sampled_from(["sent", "missing", "bad_name", "orphan"]),
        "day": st.integers(1, 30),
    }
)
_push = st.fixed_dictionaries(
    {
        "n": st.integers(1, 5),
        "amount": st.sampled_from(AMOUNTS),
        "variant": st.integers(1, 3),
        "approved": st.booleans(),
        "invoice_number": st.sampled_from(["INV-1", "INV-9", None]),
        "day": st.integers(1, 30),
    }
)
_balance = st.tuples(_number, st.sampled_from(["0.00", "100.00", "-5.00"]), st.integers(1, 30))
_inbound = st.tuples(
    st.lists(_push, max_size=5),
    st.lists(_balance, max_size=3, unique_by=lambda row: row[0]),
    st.lists(_balance, max_size=4),
    st.lists(_balance, max_size=4),
)
_bills = st.tuples(
    st.dictionaries(_number, _invoice, max_size=4),
    st.lists(_record, max_size=6),
    st.lists(_look, max_size=3),
    st.lists(_image, max_size=3),
)
_rows = st.tuples(
    st.lists(_payment, max_size=5),
    st.lists(_posting, max_size=7),
    st.lists(_settled, max_size=5),
    st.lists(_returned, max_size=3),
    st.lists(_poll, max_size=5),
    _bills,
    _inbound,
)
SETTINGS = settings(derandomize=True, max_examples=30, deadline=None)


def build(world: Any, moment: Any, rows: Any) -> Any:
    w = world(as_of=moment(30, 23), pump_since=moment(10))
    payments, posted, settled, returned, polls, bills, inbound = rows
    bill(w, moment, bills)
    call(w, moment, inbound)
    for row in payments:
        w.payment(**{k: v for k, v in row.items() if k != "day"}, at=moment(row["day"]))
    for drawn in posted:
        row = dict(drawn)
        sign = "-" if row["kind"] in ("REVERSAL", "REFUND") else ""
        more = {"payment_guid": None} if row.pop("nameless") else {}
        w.posting(row.pop("n"), sign + row.pop("amount"), moment(row.pop("day"), 18), **row, **more)
    for drawn in settled:
        row = dict(drawn)
        sign = "" if row["transaction_type"] == "PAYMENT" else "-"
        more = {"payment_guid": None} if row.pop("nameless") else {}
        w.settled(row.pop("n"), sign + row.pop("amount"), moment(row.pop("day")).date(), **row, **more)
    for drawn in returned:
        row = dict(drawn)
        more = {"original_payment_guid": None} if row.pop("nameless") else {}
        w.returned(row.pop("n"), row.pop("amount"), moment(row.pop("day")), **row, **more)
    for feed, start, end, status in polls:
        w.poll(feed, moment(start), moment(end), status)
    return w


def bill(w: Any, moment: Any, bills: Any) -> None:
    invoices, records, looks, images = bills
    for number, row in invoices.items():
        gone = row["successor"] if row["status"] == "SUPERSEDED" else None
        w.invoice(number, row["status"], moment(row["day"]), successor=gone)
    for n, row in enumerate(records):
        w.record(
            row["number"], row["kind"], moment(row["day"]), state=row["state"], file_id=f"F{n % 2}", line_no=n
        )
    for row in looks:
        w.look(row["number"], moment(row["day"]), found=row["found"])
    for n, drawn in enumerate(images):
        row = dict(drawn)
        at = moment(row.pop("day"))
        w.add(
            "images",
            **row,
            image_id=f"I{n}",
            image_name="x.pdf",
            first_seen_at=at,
            last_seen_at=at,
            sent_at=at,
        )


def call(w: Any, moment: Any, inbound: Any) -> None:
    pushes, balances, calls, events = inbound
    for n, drawn in enumerate(pushes):
        row = dict(drawn)
        w.push(row.pop("n"), at=moment(row.pop("day")), push_id=f"push {n}", **row)
    for number, balance, day in balances:
        w.owes(number, balance, moment(day))
    for number, balance, day in calls:
        w.answered(number, balance.replace("-", ""), moment(day))
    for number, balance, day in events:
        w.event(number, balance, moment(day))


@SETTINGS
@given(rows=_rows)
def test_every_payment_in_one_state_and_sums_kept(rows: Any, world: Any, moment: Any) -> None:
    w = build(world, moment, rows)
    inputs, outcome = w.inputs(), w.run()
    items, breaks, totals = outcome.items, outcome.breaks, outcome.totals
    assert items.height == inputs.payments.height
    assert items["payment_guid"].to_list() == inputs.payments["payment_guid"].to_list()
    assert set(items["state"]) <= set(STATES)
    assert items["state_reason"].null_count() == 0
    by_state = totals.filter(pl.col("kind") == "state")
    assert by_state["rows"].sum() == items.height
    assert by_state["amount"].sum() == inputs.payments["payment_amount"].sum()
    assert ((items["state"] == "BROKEN") == items["break_codes"].is_not_null()).all()
    suggested = outcome.suggestions
    assert set(suggested["payment_guid"]) == set(items.filter(pl.col("state") == "SUGGESTED")["payment_guid"])
    assert suggested["posting_id"].is_unique().all()
    unknown = breaks.filter(pl.col("code") == "B02")["subject"]
    assert not set(suggested["posting_id"]) & set(unknown)
    assert breaks["break_id"].is_unique().all()
    assert breaks.null_count()["subject"].item() == 0
    of_items = items.select(code=pl.col("break_codes").str.split(","), payment_guid="payment_guid").explode(
        "code"
    )
    of_items = of_items.drop_nulls("code").unique()
    of_payments = ["B01", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B16", "B30"]
    of_payments += ["B19", "B22", "B35"]  # further ones bear other subjects: a posting, a dispute, a refund
    told = breaks.filter(pl.col("code").is_in(of_payments))
    expected = of_items.filter(pl.col("code").is_in(of_payments))
    assert sorted(told.select("code", "subject").rows()) == sorted(expected.rows())
    one_side = of_items.filter(pl.col("code").is_in(["B01", "B03", "B05", "B06", "B07", "B08", "B09"]))
    counted = dict(totals.filter(pl.col("kind") == "pushed").select("name", "rows").iter_rows())
    assert counted["reported"] == counted["pushed"] + counted["lost"]
    assert (
        one_side.group_by("payment_guid").len()["len"].max() in (None, 1)
        or not items["payment_guid"].is_unique().all()
    )


@SETTINGS
@given(rows=_rows)
def test_no_posting_and_no_payment_under_a_weak_key_is_used_twice(rows: Any, world: Any, moment: Any) -> None:
    w = build(world, moment, rows)
    data = w.inputs().trimmed()
    books = postings.match(compare.prepared(data.payments, w.rules), data.postings, "America/Chicago")
    assert books.claims["row"].is_unique().all()
    weak = books.claims.filter(pl.col("rule").is_in(["key2", "key3"]))
    assert weak["item"].is_unique().all()
    strong = books.claims.filter(pl.col("rule") == "key1")
    assert not set(weak["item"]) & set(strong["item"])
    credits = books.claims.filter(pl.col("rule").is_not_null())
    assert not set(credits["row"]) & set(books.unclaimed["row"])
    assert not set(credits["item"]) & set(books.ambiguous)


@SETTINGS
@given(rows=_rows, seed=st.integers(0, 1_000))
def test_order_of_rows_does_not_matter_and_twice_is_once(
    rows: Any, seed: int, world: Any, moment: Any
) -> None:
    w = build(world, moment, rows)
    inputs = w.inputs()
    shuffled = Inputs(**{k: v.sample(fraction=1, shuffle=True, seed=seed) for k, v in vars(inputs).items()})
    first, second = (reconcile(data, w.rules, w.as_of, w.calendar) for data in (inputs, shuffled))
    again = reconcile(inputs, w.rules, w.as_of, w.calendar)
    assert again.items.equals(first.items)
    assert again.breaks.equals(first.breaks)
    assert again.totals.equals(first.totals)
    assert second.totals.equals(first.totals)
    assert second.suggestions.equals(first.suggestions)
    told = ("break_id", "code", "subject", "amount", "sentence")
    assert second.breaks.select(told).equals(first.breaks.select(told))
    key = [
        "payment_guid",
        "payment_amount",
        "state",
        "state_reason",
        "break_codes",
        "payment_date",
        "approved",
        "tender",
    ]
    assert second.items.select(key).sort(key).equals(first.items.select(key).sort(key))


@pytest.mark.parametrize("absent", SCHEMAS)
def test_any_frame_may_be_empty(world: Any, moment: Any, absent: str) -> None:
    w = world()
    w.chain(tender="EFT")
    w.invoice("INV-1", "SUPERSEDED", moment(4), successor="INV-2")
    w.record()
    w.look()
    w.add("images", image_id="I", state="missing", first_seen_at=moment(4), last_seen_at=moment(4))
    w.add("guards", guard="share", record_type="D", found_at=moment(4), sentence="S.")
    w.add("held", event_id="E", invoice_number="INV-2", reason="r", held_at=moment(4))
    w.add("files", file_id="F", state="refused")
    w.add("open_at_ic", invoice_number="INV-1", balance_due="1.00")
    w.returned()
    w.settled(3, payment_guid=None, processor_reference="CS1")
    w.push(amount="90.00")
    w.owes(at=moment(5))
    w.answered(at=moment(6))
    w.event()
    inputs = replace(w.inputs(), **{absent: pl.DataFrame()})
    outcome = reconcile(inputs, w.rules, w.as_of, w.calendar)
    assert outcome.items.schema == empty(ITEMS).schema
    assert outcome.breaks.schema == empty(BREAKS).schema
    assert outcome.totals.schema == empty(TOTALS).schema
    assert outcome.items.height == (0 if absent == "payments" else 1)


def test_constant_columns_are_columns_like_any_other(world: Any, moment: Any) -> None:
    """Polars keeps a literal column as one value; comparisons with it must still give a row each."""
    w = world()
    for n in (1, 2, 3):
        w.payment(n)
        w.settled(n)
        w.returned(n)
        w.posting(n + 5)
        w.settled(n + 5)
        w.settled(0, payment_guid=None, processor_reference="CS1")
        w.chain(n + 20)
        w.invoice(f"INV-{n + 20}", "CANCELLED", moment(4))
        w.record(f"INV-{n + 20}", at=moment(1))
        w.invoice(f"INV-{n + 8}", at=moment(4))
        w.record(f"INV-{n + 12}", state="rejected")
        w.add("images", image_id=f"I{n}", state="bad_name", first_seen_at=moment(4), last_seen_at=moment(4))
        w.add("guards", guard="share", record_type="D", found_at=moment(4), sentence="S.")
        w.add("files", file_id=f"F{n}", state="refused")
        w.chain(n + 30)
        w.push(n + 30, "90.00", approved=n < 3)
        w.push(n + 40)
        w.owes(f"INV-{n + 50}", at=moment(5))
        w.answered(f"INV-{n + 50}", "90.00", at=moment(6))
        w.split("60.00", "40.00", n=n + 60)
        w.posting(n + 60, invoice_number="INV-11")
        w.settled(n + 60)
    inputs = w.inputs()
    constant = Inputs(**{name: _with_literals(frame) for name, frame in vars(inputs).items()})
    first, second = (reconcile(data, w.rules, w.as_of, w.calendar) for data in (inputs, constant))
    assert second.items.equals(first.items)
    assert second.breaks.equals(first.breaks)
    assert second.breaks["code"].unique().sort().to_list() == [
        "B01", "B02", "B05", "B07", "B09", "B11", "B25", "B26", "B27", "B28", "B29", "B30", "B31", "B42",
    ]  # fmt: skip


def _with_literals(frame: pl.DataFrame) -> pl.DataFrame:
    same = [name for name in frame.columns if frame[name].n_unique() == 1]
    return frame.with_columns(pl.lit(frame[name][0], frame.schema[name]).alias(name) for name in same)


def test_five_frames_do_as_before(world: Any, moment: Any) -> None:
    """Without the invoice side there are no breaks of it, and nothing else changes."""
    w = world()
    w.chain()
    w.payment(2)
    five = {name: getattr(w.inputs(), name) for name in list(SCHEMAS)[:5]}
    first, second = reconcile(Inputs(**five), w.rules, w.as_of, w.calendar), w.run()
    assert first.items.equals(second.items)
    assert first.breaks.equals(second.breaks)


def test_order_of_columns_does_not_matter(world: Any) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned()
    w.payment(2)
    inputs = w.inputs()
    frames = {name: getattr(inputs, name) for name in SCHEMAS}
    turned = Inputs(**{name: rows.select(reversed(rows.columns)) for name, rows in frames.items()})
    assert turned.trimmed().payments.columns == list(PAYMENTS)
    first, second = w.run(), reconcile(turned, w.rules, w.as_of, w.calendar)
    assert second.items.equals(first.items)
    assert second.breaks.equals(first.breaks)


def test_no_rows_at_all() -> None:
    nothing = pl.DataFrame()
    outcome = reconcile(Inputs(*[nothing] * 5), load_rules(), datetime(2026, 10, 30, tzinfo=UTC))
    assert outcome.items.is_empty()
    assert outcome.breaks.is_empty()
    assert set(outcome.totals["rows"]) == {0}


def test_sums_that_do_not_meet_stop_the_run(world: Any) -> None:
    w = world()
    w.chain()
    w.chain(2)
    totals = w.run().totals
    states, feed = (totals.filter(pl.col("kind") == kind) for kind in ("state", "feed"))
    compare.proof(states, feed)
    lost = states.filter(pl.col("name") != "MATCHED_PROVISIONAL")
    with pytest.raises(StateTotalsError, match=r"-2 rows and -200\.00 USD"):
        compare.proof(lost, feed)


def test_money_as_float_and_missing_columns_are_refused(world: Any) -> None:
    w = world()
    w.payment()
    inputs = w.inputs()
    as_float = inputs.payments.with_columns(pl.col("payment_amount").cast(pl.Float64))
    with pytest.raises(ValueError, match="payment_amount holds money as a float"):
        reconcile(replace(inputs, payments=as_float), w.rules, w.as_of)
    with pytest.raises(ValueError, match="payments: column tender is missing"):
        reconcile(replace(inputs, payments=inputs.payments.drop("tender")), w.rules, w.as_of)
    assert set(PAYMENTS) <= set(inputs.payments.columns)


def test_large_amounts_keep_their_cents(world: Any) -> None:
    w = world()
    w.payment(1, "9999999999999.99")
    w.posting(1, "9999999999999.98")
    w.settled(1, "9999999999999.99")
    assert [amount for _, _, amount in w.found()] == [Decimal("-0.01")]


def test_row_touching_every_time_zone_edge_keeps_the_day(world: Any, moment: Any) -> None:
    """A payment a second before Chicago's midnight is due a banking day before one a second later."""
    due = []
    for shift in (-1, 1):
        w = world(as_of=moment(6, 8))
        w.payment(at=moment(6, 5) + timedelta(seconds=shift), first_seen_at=moment(6, 6))
        w.posting(at=moment(6, 7))
        due.append(w.item()["due_by"])
    assert due == [moment(9, 5), moment(10, 5).replace(day=13)]
