"""reconcile(): payments against postings, settlements and returns; every payment ends in one state.

Beside it the invoice side: what IMT bills against what was sent to InvoiceCloud (invoice_side).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.errors import ControlTotalError
from tasks.reconcile import dead_invoices, postings, returns, settlement_breaks, settlements
from tasks.reconcile.banking_days import BankingCalendar, local_date
from tasks.reconcile.feeds import Coverage, feed_breaks
from tasks.reconcile.invoice_breaks import invoice_side
from tasks.reconcile.keys import id_key
from tasks.reconcile.model import ITEMS, MONEY, STATES, TOTALS, ZERO, Inputs, Outcome
from tasks.reconcile.payment_breaks import payment_breaks, posted_not_reported
from tasks.reconcile.rules import Rules
from tasks.reconcile.verdicts import judge


class StateTotalsError(ControlTotalError, ValueError):
    """The states' counts or sums differ from the payments feed: a fault of the program, never of the data."""

    reason = "states_do_not_sum"


def reconcile(
    inputs: Inputs, rules: Rules, as_of: datetime, calendar: BankingCalendar | None = None
) -> Outcome:
    """Compares the frames as of `as_of` (aware). Pure: same frames, same outcome, in any row order."""
    calendar, data, zone = calendar or BankingCalendar(), inputs.trimmed(), rules.zone
    coverage = Coverage(data.polls)
    payments = prepared(data.payments, rules)
    dead = dead_invoices.find(payments, data.invoices)
    books = postings.match(payments, data.postings, zone, dead.heirs)
    deposits = settlements.match(payments, data.settlements, data.postings, rules, as_of)
    returned = returns.match(payments, data.ach_rejects, zone)
    ambiguous = pl.concat([books.ambiguous, deposits.ambiguous, returned.ambiguous]).unique().to_frame("item")
    duplicates, returned_twice = returns.duplicates(returned, rules, ambiguous)
    work = payments
    for part in (books.summary, deposits.summary, returned.summary):
        work = work.join(part, on="item", how="left")
    work = work.join(ambiguous.with_columns(ambiguous=True), on="item", how="left")
    work = work.join(returned_twice.with_columns(returned_twice=True), on="item", how="left")
    work = work.join(dead_invoices.moved(dead, books.claims, payments, data.postings), on="item", how="left")
    work = work.with_columns(pl.col("ambiguous", "returned_twice").fill_null(False))
    work = judge(work, coverage, rules, calendar, as_of)

    guarded = {
        "B02": posted_not_reported(books, coverage, rules, as_of),
        "B11": settlement_breaks.unidentified(deposits, coverage, rules, calendar),
        "B12": settlement_breaks.out_of_balance(data.settlements, coverage, rules),
        "B18": returns.orphans(returned, data.postings, coverage, rules),
        "B42": settlement_breaks.untracked(deposits, coverage, rules, calendar, as_of),
    }
    found = [payment_breaks(work, books, rules, dead), duplicates]
    found += [feed_breaks(data.polls, coverage, rules, as_of), *invoice_side(data, rules, as_of)]
    breaks = pl.concat([*found, *(raised for raised, _ in guarded.values())]).sort("code", "subject")
    items = work.with_columns(posted_amount="posted", reversed_amount=-pl.col("reversed"))
    items = items.select(pl.col(column).cast(kind) for column, kind in ITEMS.items())
    held = {code: rows for code, (_, rows) in guarded.items()}
    return Outcome(items, breaks, _totals(items, data.payments, deposits, returned, held))


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
) -> pl.DataFrame:
    """Rows `state` (all six), `feed`, `proof` (their difference, always zero), `excluded`, `held`."""
    states = pl.DataFrame({"name": STATES}, schema={"name": pl.String})
    counted = items.group_by(name="state").agg(rows=pl.len(), amount=pl.col("payment_amount").sum())
    by_state = states.join(counted, on="name", how="left", maintain_order="left")
    excluded = deposits.excluded.group_by(name="exclusion").agg(
        rows=pl.len(), amount=pl.col("settled_amount").sum()
    )
    by_state = _shaped(
        by_state.with_columns(pl.col("rows").fill_null(0), pl.col("amount").fill_null(ZERO)), "state"
    )
    feed = _sum("feed", "payments", payments, "payment_amount")
    return pl.concat(
        [
            by_state,
            feed,
            proof(by_state, feed),
            _shaped(excluded.sort("name"), "excluded"),
            _sum("excluded", "INTERBANK_RETURNS", returned.interbank, "reject_amount"),
            *(_sum("held", code, rows, "amount") for code, rows in held.items()),
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
    return _shaped(rows.select(name=pl.lit(name), rows=pl.len(), amount=pl.col(column).sum()).head(1), kind)


def _shaped(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    return rows.with_columns(kind=pl.lit(kind)).select(
        pl.col(column).cast(type_) for column, type_ in TOTALS.items()
    )
