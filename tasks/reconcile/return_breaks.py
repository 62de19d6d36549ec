"""Break classes of ACH returns beside the unposted ones: B17 reversal without return, B19 amount, B21 late, B22 untimely."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_date
from tasks.reconcile.breaks import NO_BREAKS, build
from tasks.reconcile.dues import final_at
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.keys import id_key
from tasks.reconcile.model import MONEY, TIME, ZERO
from tasks.reconcile.returns import Returned, presentment
from tasks.reconcile.rules import Rules
from tasks.reconcile.taken_back import TakenBack

_ROW = ["reject_date", "return_code", "reject_amount", "reject_sequence", "original_payment_guid"]
_POSTING = ["posting_id", "kind", "reason", "amount", "posted_at", "reverses_posting_id", "payment_guid"]
Found = tuple[pl.DataFrame, pl.DataFrame]


def claimed(returned: Returned, work: pl.DataFrame, rules: Rules, calendar: BankingCalendar) -> pl.DataFrame:
    """Returns of known, unambiguous payments, each presentment once, with what the payment says. USD."""
    if returned.rows["item"].null_count() == returned.rows.height:
        return returned.rows.clear()  # nobody asks for the further columns then
    columns = (
        "item",
        "payment_guid",
        "payment_amount",
        "convenience_fee",
        "settled_date",
        "tender",
        "local_date",
    )
    rows = (
        returned.rows.filter(pl.col("item").is_not_null())
        .with_columns(presentment=presentment())
        .sort("reject_date", "reject_amount", "return_code")
        .unique(["item", "presentment"], keep="first", maintain_order=True)
    )
    own = work.filter(~pl.col("ambiguous")).select(columns).join(rows.select("item"), on="item", how="semi")
    rows = rows.join(own, on="item", maintain_order="left").with_columns(
        final_at=final_at(rules, calendar), back_on=local_date(pl.col("reject_date"), rules.zone)
    )
    return rows.with_columns(
        subject="payment_guid", amount="reject_amount", occurred_at="reject_date", due_at=pl.lit(None, TIME)
    )


def amounts(rows: pl.DataFrame, rules: Rules) -> Found:
    """B19 and the (item) frame concerned: neither the payment, nor with its fee, nor one invoice's part of it."""
    if rows.is_empty():
        return NO_BREAKS, rows.select("item")
    whole, fee = pl.col("payment_amount"), pl.col("convenience_fee").fill_null(ZERO)
    back = pl.col("reject_amount")
    right = (back == whole) | (back == whole + fee) | pl.col("line").is_not_null()
    off = rows.filter(~right).with_columns(amount=(back - whole).cast(MONEY), net="reject_amount")
    facts = ("net", "payment_amount", "return_code")
    return build("B19", rules, off, facts=facts, evidence={"return": _ROW}), _items(off)


def untimely(rows: pl.DataFrame, rules: Rules, calendar: BankingCalendar) -> Found:
    """B22 and the (item) frame: back after its code's window and the slack. Codes without a window are in time;
    of a later presentment we do not know when it settled."""
    if rows.is_empty():
        return NO_BREAKS, rows.select("item")
    slack = rules.codes["B22"].grace_banking_days
    settled, days = pl.col("settled_date"), pl.col("code_window_days")
    banking = pl.col("code_window_unit") == "banking"
    start = pl.when(banking).then(settled).otherwise(settled + pl.duration(days=days)).cast(pl.Date)
    allowed = pl.when(banking).then(days).otherwise(0) + slack
    first = pl.col("reject_sequence").fill_null(1) <= 1
    known = rows.filter(first & settled.is_not_null() & days.is_not_null())
    late = known.filter(calendar.between(start, pl.col("back_on")) > allowed)
    late = late.with_columns(
        due_at=day_start(calendar.add(start, allowed + 1), rules.zone).cast(TIME),
        detail=pl.col("settled_date").cast(pl.String),
        what="code_window",
    )
    facts = ("return_code", "detail", "what")
    return build("B22", rules, late, facts=facts, evidence={"return": _ROW}), _items(late)


def late(rows: pl.DataFrame, periods: pl.DataFrame, rules: Rules) -> Found:
    """B21 and the (item) frame: back when the payment was final, or when the period of the payment was closed."""
    if rows.is_empty():
        return NO_BREAKS, rows.select("item")
    closed = rows.select("item", "presentment", "local_date", "reject_date").join_where(
        periods,
        pl.col("local_date") >= pl.col("first_day"),
        pl.col("local_date") <= pl.col("last_day"),
        pl.col("reject_date") > pl.col("closed_at"),
    )
    closed = closed.group_by("item", "presentment").agg(period=pl.col("period").min())
    after = rows.join(closed, on=["item", "presentment"], how="left", maintain_order="left")
    final = (pl.col("final_at") <= pl.col("reject_date")).fill_null(False)
    after = after.filter(final | pl.col("period").is_not_null()).with_columns(
        detail=pl.when(pl.col("period").is_not_null())
        .then(pl.format("its period {} was closed", "period"))
        .otherwise(pl.lit("it was final"))
    )
    facts = ("return_code", "detail")
    return build("B21", rules, after, facts=facts, evidence={"return": _ROW}), _items(after)


def unsupported(
    taken: TakenBack,
    returned: Returned,
    work: pl.DataFrame,
    coverage: Coverage,
    rules: Rules,
    calendar: BankingCalendar,
    as_of: datetime,
) -> pl.DataFrame:
    """Reversals booked for a return or a dispute of which neither InvoiceCloud's reports nor its export know:
    posting rows with `item`. Of a payment that was accepted, and not set right since.

    A return's news may be behind the reversal by the reversal's wait; the report it would be in must be complete.
    """
    for_return = pl.col("reason").is_in(list(rules.reasons.returned)).fill_null(False)
    for_dispute = pl.col("reason").is_in(list(rules.reasons.charged_back)).fill_null(False)
    rows = taken.undone.filter((pl.col("kind") == "REVERSAL") & (for_return | for_dispute))
    if rows.is_empty():
        return rows
    came = pl.concat([
        taken.disputes.select("key"),
        returned.rows.select(key=pl.coalesce(pl.format("#{}", "item"), id_key("original_payment_guid"))),
    ]).drop_nulls()  # fmt: skip
    rows = rows.join(came, on="key", how="anti")
    said = work.select(
        "item",
        open=pl.col("accepted")
        & (pl.col("went_back") == ZERO)
        & (pl.col("back") == ZERO)
        & (pl.col("difference") < ZERO),
    ).join(rows.select("item"), on="item", how="semi")
    rows = rows.join(said, on="item", how="left", maintain_order="left")
    ours = pl.col("open").fill_null(pl.col("item").is_null() & (pl.col("origin") == "IC"))
    wait = max(rules.reversal_wait_banking_days, rules.codes["B17"].grace_banking_days)
    rows = rows.filter(ours).with_columns(
        due_at=day_start(calendar.add(pl.col("booked_on"), wait + 1), rules.zone).cast(TIME),
        for_return=for_return,
    )
    rejects = coverage.covers("ach_rejects", rows["posted_at"], rows["due_at"])
    disputes = coverage.covers("chargebacks", rows["posted_at"], rows["due_at"])
    proven = pl.when("for_return").then(rejects).otherwise(disputes)
    return rows.filter(proven & (pl.col("due_at") <= pl.lit(as_of, TIME)))


def unsupported_breaks(rows: pl.DataFrame, work: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """B17 of the reversals that decide their payment's verdict, and of those of no payment we know."""
    if rows.is_empty():
        return NO_BREAKS
    told = work.filter(pl.col("posting_code") == "B17").select("item")
    alone = rows.filter(pl.col("item").is_null())
    rows = pl.concat([rows.join(told, on="item", how="semi"), alone]).with_columns(
        subject="posting_id",
        amount=-pl.col("amount"),
        occurred_at="posted_at",
        other=pl.coalesce("payment_guid", "reverses_posting_id", "processor_reference"),
        what="reason",
    )
    return build("B17", rules, rows, facts=("other", "what"), evidence={"posting": _POSTING})


def _items(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("item").unique()
