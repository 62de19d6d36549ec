"""reconcile(): payments against postings, settlements and returns; every payment ends in one state.

Beside it the invoice side: what IMT bills against what was sent to InvoiceCloud (invoice_side).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import polars as pl

from tasks.errors import ControlTotalError
from tasks.reconcile import (
    candidates,
    clock_shift,
    dead_invoices,
    deposit_breaks,
    double_pay,
    draw_breaks,
    money_side,
    postings,
    push_breaks,
    return_breaks,
    returns,
    settlement_breaks,
    settlements,
    splits,
    suggestions,
    taken_back,
)
from tasks.reconcile.allocation import misplaced
from tasks.reconcile.apart import NOTHING, Apart, added
from tasks.reconcile.balance_breaks import balance_drift
from tasks.reconcile.banking_days import BankingCalendar, local_date
from tasks.reconcile.deposits import deposits as deposit_control
from tasks.reconcile.enrolment_breaks import autopay_drift, paperless_drift
from tasks.reconcile.feeds import Coverage, feed_breaks
from tasks.reconcile.invoice_breaks import invoice_side
from tasks.reconcile.keys import id_key, reference_key
from tasks.reconcile.model import ITEMS, MONEY, STATES, TOTALS, ZERO, Inputs, Outcome
from tasks.reconcile.payment_breaks import payment_breaks, posted_not_reported
from tasks.reconcile.restated import restated_rows
from tasks.reconcile.rules import Rules
from tasks.reconcile.schema_drift import layout_changes
from tasks.reconcile.verdicts import judge, weigh


class StateTotalsError(ControlTotalError, ValueError):
    """The states' counts or sums differ from the payments feed: a fault of the program, never of the data."""

    reason = "states_do_not_sum"


def reconcile(
    inputs: Inputs,
    rules: Rules,
    as_of: datetime,
    calendar: BankingCalendar | None = None,
    apart: Apart = NOTHING,
) -> Outcome:
    """Compares the frames as of `as_of` (aware). Pure: same frames, same outcome, in any row order.

    `apart`: sums of payments that the frames leave out because they are at rest; with them the outcome's breaks and
    totals are those of all payments, its items those of the frames.
    """
    calendar, data, zone = calendar or BankingCalendar(), inputs.trimmed(), rules.zone
    coverage = Coverage(data.polls)
    rows = prepared(data.payments, rules)
    payments, lines = splits.gather(rows)
    pieces = rows if lines.is_empty() else splits.to_whole(rows, lines)
    dead = dead_invoices.find(pieces, data.invoices)
    books = postings.match(payments, data.postings, zone, dead.heirs, lines)
    deposits = settlements.match(payments, data.settlements, data.postings, rules, as_of, lines)
    returned = returns.match(payments, data.ach_rejects, zone, lines)
    pushed = push_breaks.match(payments, lines, data.pushes, rules, data.restated)
    ambiguous = pl.concat([books.ambiguous, deposits.ambiguous, returned.ambiguous]).unique().to_frame("item")
    duplicates, returned_twice = returns.duplicates(returned, rules, ambiguous)
    work = payments
    placed = misplaced(lines, books.claims, data.postings, dead.heirs)
    said = push_breaks.with_agents(pushed.summary, payments, books.claims)
    taken = taken_back.match(payments, data, books, rules)
    for part in (books.summary, deposits.summary, returned.summary, placed, said, taken.summary):
        work = _with(work, part)
    work = _flagged(_flagged(work, ambiguous, "ambiguous"), returned_twice, "returned_twice")
    moved = dead_invoices.moved(dead, books.claims, payments, data.postings, lines)
    work = _with(work, moved)
    work = weigh(work, rules)
    doubles = double_pay.suspects(work, lines, data.events, rules)
    work = _flagged(work, doubles, "doubled")
    overdrawn = draw_breaks.overdrawn(work, lines, data)
    work = _flagged(work, overdrawn, "overdrawn")
    shifted = clock_shift.find(work, books, returned, apart.clock, rules, as_of)
    work = work.with_columns(clock_shift=pl.col("item").is_in(shifted.items.implode()))
    books, returned = clock_shift.held_back(books, returned, shifted)
    money = money_side.find(data, taken, returned, books, work, coverage, rules, calendar, as_of, apart)
    may_be = suggestions.find(work, books, data.postings, rules, as_of)
    work = judge(_with(_with(work, money.codes), may_be), coverage, rules, calendar, as_of)

    bills = pl.concat(invoice_side(data, rules, as_of))
    booked = books.claims.filter((pl.col("kind") == "PAYMENT") & (pl.col("status") == "POSTED")).select(
        "item"
    )
    unknown = push_breaks.never_reported(pushed, data.postings, coverage, rules, as_of)
    every = replace(data, ach_rejects=pl.concat([data.ach_rejects, apart.returned]))
    folded = settlements.folded(deposits, data.settlements, apart.named)
    paid_out = deposit_control(every, folded, coverage, rules, calendar, as_of)
    guarded = {
        "B02": _both(
            posted_not_reported(suggestions.held_back(books, work), coverage, rules, as_of), unknown
        ),
        "B11": settlement_breaks.unidentified(deposits, coverage, rules, calendar),
        "B12": settlement_breaks.out_of_balance(folded, coverage, rules),
        "B13": deposit_breaks.batch_gaps(work, apart, coverage, rules, calendar, as_of),
        "B14": deposit_breaks.variances(paid_out, rules, calendar),
        "B15": deposit_breaks.missing(paid_out, rules, calendar),
        "B18": returns.orphans(returned, data.postings, coverage, rules),
        "B27": balance_drift(data, pieces, booked, bills, coverage, rules, as_of),
        "B32": autopay_drift(data, rules, calendar, as_of),
        "B33": paperless_drift(data, rules, as_of),
        "B34": draw_breaks.not_drawn(data, pieces, coverage, rules, calendar, as_of),
        "B42": settlement_breaks.untracked(deposits, coverage, rules, calendar, as_of),
    }
    sides = candidates.Sides(data, lines, dead.heirs, books, deposits, returned)
    found = [payment_breaks(work, books, rules, dead, pushed), duplicates]
    found += [money.breaks, return_breaks.unsupported_breaks(money.reversals, work, rules)]
    found += [
        double_pay.double_breaks(doubles, work, rules),
        draw_breaks.double_draws(overdrawn, work, rules),
        candidates.ambiguous_breaks(work, sides, rules),
        restated_rows(data, rules),
        clock_shift.shift_breaks(shifted, rules),
        layout_changes(data.drifts, rules),
        feed_breaks(data.polls, coverage, rules, as_of),
        bills,
    ]
    breaks = pl.concat([*found, *(raised for raised, _ in guarded.values())]).sort("code", "subject")
    items = _items(work, lines, books, deposits)
    held = {code: rows for code, (_, rows) in guarded.items()} | money.held
    arrived = push_breaks.arrivals(work, rules, as_of, apart.pushed)
    totals = _totals(items, data.payments, deposits, returned, held, arrived, apart.states)
    return Outcome(
        items,
        breaks,
        pl.concat([totals, money.figures]),
        deposits=paid_out,
        suggestions=suggestions.suggested(work),
    )


def _items(
    work: pl.DataFrame, lines: pl.DataFrame, books: postings.Books, deposits: settlements.Deposits
) -> pl.DataFrame:
    """The verdicts in the feed's rows and order (ITEMS)."""
    items = work.with_columns(
        posted_amount="posted",
        reversed_amount=-pl.col("reversed"),
        payment_day="local_date",
        at_rest=pl.lit(False),
    )
    items = items.select("item", *(pl.col(column).cast(kind) for column, kind in ITEMS.items()))
    return splits.expand(items, lines, _parts(lines, books, deposits)).drop("item")


def _with(work: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    """`part` (one row per item) joined to `work`; without any rows just its columns, which costs no join."""
    if part.height:
        return work.join(part, on="item", how="left")
    absent = ((name, kind) for name, kind in part.schema.items() if name != "item")
    return work.with_columns(pl.lit(None, kind).alias(name) for name, kind in absent)


def _flagged(work: pl.DataFrame, found: pl.DataFrame, name: str) -> pl.DataFrame:
    """`work` with a column `name`: is the item among those of `found`?"""
    if found.is_empty():
        return work.with_columns(pl.lit(False).alias(name))
    items = found.select("item").unique().with_columns(pl.lit(True).alias(name))
    return _with(work, items).with_columns(pl.col(name).fill_null(False))


def _both(
    one: tuple[pl.DataFrame, pl.DataFrame], other: tuple[pl.DataFrame, pl.DataFrame]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Breaks, and amounts held back, of two ways to one class."""
    return pl.concat([one[0], other[0]]), pl.concat([held.select("amount") for held in (one[1], other[1])])


def _parts(
    lines: pl.DataFrame, books: postings.Books, deposits: settlements.Deposits
) -> dict[str, pl.DataFrame]:
    """Per column of the items: what of split payments lies on which invoice."""
    if lines.is_empty():
        return {}
    paid = books.claims.filter((pl.col("kind") == "PAYMENT") & (pl.col("status") == "POSTED"))
    settled = deposits.claims.filter(pl.col("transaction_type") == "PAYMENT").with_columns(
        amount="settled_amount"
    )
    return {
        column: rows.select("item", "amount", invoice_key=reference_key("invoice_number"))
        for column, rows in (("posted_amount", paid), ("settled_amount", settled))
    }


def prepared(payments: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Adds item (row id), keys, local date, `accepted`, `is_refund`, and what IMT is to book (`expected`)."""
    void = pl.col("status").is_in(list(rules.void_statuses)).fill_null(False)
    fee = pl.col("convenience_fee").fill_null(ZERO)
    included = rules.fee_model == "payer_paid_included"
    expected = (pl.col("payment_amount") - fee).cast(MONEY) if included else pl.col("payment_amount")
    return payments.with_row_index("item").with_columns(
        guid_key=id_key("payment_guid"),
        ref_key=id_key("processor_reference"),
        local_date=local_date(pl.col("payment_date"), rules.zone),
        accepted=pl.col("approved") & ~void,
        is_refund=pl.col("refund_of_guid").is_not_null() | (pl.col("payment_amount") < ZERO),
        expected=expected,
    )


def _totals(
    items: pl.DataFrame,
    payments: pl.DataFrame,
    deposits: settlements.Deposits,
    returned: returns.Returned,
    held: dict[str, pl.DataFrame],
    arrived: pl.DataFrame,
    apart: pl.DataFrame,
) -> pl.DataFrame:
    """Rows `state` (all seven), `feed`, `proof` (their difference, always zero), `excluded`, `held`, `pushed`."""
    states = pl.DataFrame({"name": STATES}, schema={"name": pl.String})
    counted = items.group_by(name="state").agg(rows=pl.len(), amount=pl.col("payment_amount").sum())
    by_state = states.join(counted, on="name", how="left", maintain_order="left")
    excluded = deposits.excluded.group_by(name="exclusion").agg(
        rows=pl.len(), amount=pl.col("settled_amount").sum()
    )
    by_state = by_state.with_columns(pl.col("rows").fill_null(0), pl.col("amount").fill_null(ZERO))
    by_state = _shaped(added(by_state, apart), "state")
    feed = _sum("feed", "payments", payments, "payment_amount")
    feed = feed.with_columns(pl.col("rows") + apart["rows"].sum(), pl.col("amount") + apart["amount"].sum())
    return pl.concat(
        [
            by_state,
            feed,
            proof(by_state, feed),
            _shaped(excluded.sort("name"), "excluded"),
            _sum("excluded", "INTERBANK_RETURNS", returned.interbank, "reject_amount"),
            *(_sum("held", code, rows, "amount") for code, rows in held.items()),
            _shaped(arrived, "pushed"),
        ]
    )


def proof(by_state: pl.DataFrame, feed: pl.DataFrame) -> pl.DataFrame:
    """The row that shows that nothing was lost; StateTotalsError if the states do not sum to the feed."""
    rows = by_state["rows"].sum() - feed["rows"][0]
    amount = by_state["amount"].sum() - feed["amount"][0]
    if rows or amount:
        raise StateTotalsError(f"states differ from the payments feed by {rows} rows and {amount} USD")
    return feed.with_columns(
        kind=pl.lit("proof"), name=pl.lit("states minus feed"), rows=pl.lit(0), amount=ZERO
    ).select(pl.col(column).cast(kind) for column, kind in TOTALS.items())


def _sum(kind: str, name: str, rows: pl.DataFrame, column: str) -> pl.DataFrame:
    counted = {"rows": pl.len().cast(pl.Int64), "amount": pl.col(column).sum().cast(MONEY)}
    return rows.select(kind=pl.lit(kind), name=pl.lit(name), **counted)


def _shaped(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    return rows.with_columns(kind=pl.lit(kind)).select(
        pl.col(column).cast(type_) for column, type_ in TOTALS.items()
    )
