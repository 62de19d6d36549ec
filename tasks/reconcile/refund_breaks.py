"""B24: a refund that only one side knows, or that is more than the payment."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_day
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.keys import id_key
from tasks.reconcile.model import MONEY, TIME, ZERO
from tasks.reconcile.rules import Rules
from tasks.reconcile.taken_back import TakenBack

_IC = ["refund_id", "refund_date", "amount", "payment_guid", "processor_reference"]
_IMT = ["posting_id", "booked_on", "amount", "reason", "payment_guid", "processor_reference"]


def one_sided(
    taken: TakenBack,
    payments: pl.DataFrame,
    settlements: pl.DataFrame,
    coverage: Coverage,
    rules: Rules,
    calendar: BankingCalendar,
    as_of: datetime,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """B24, the rows held back, and the (item) frame of payments concerned.

    IC's refunds (subject refund_id) need as much taken back at IMT, other than for returns and disputes; IMT's
    (subject posting_id) need as much refunded at IC, and the list of refunds loaded up to their due time. What IC
    refunds beyond the payment is told instead, as the amount above it.
    """
    ours = _ours(taken, rules)
    if taken.refunds.is_empty() and ours.is_empty():
        return NO_BREAKS, NONE_HELD, taken.refunds.select("item")
    grace, today = rules.codes["B24"].grace_banking_days, pl.lit(local_day(as_of, rules.zone))
    ic = taken.refunds.sort("refund_date", "refund_id").with_columns(
        so_far=pl.col("amount").cum_sum().over("key"),
        day="refund_date",
        subject="refund_id",
        refund=pl.struct(_IC),
    )
    paid = payments.select("item", "payment_amount")
    ic = ic.join(paid, on="item", how="left", maintain_order="left")
    above = pl.min_horizontal("amount", pl.col("so_far") - pl.col("payment_amount"))
    ic = ic.join(_total(ours, "imt"), on="key", how="left", maintain_order="left").with_columns(
        above=pl.when(pl.col("so_far") > pl.col("payment_amount")).then(above.cast(MONEY)),
        alone=pl.col("so_far") > pl.col("imt").fill_null(ZERO),
    )
    imt = (
        ours.filter(pl.col("origin") == "IC")
        .sort("booked_on", "posting_id")
        .with_columns(amount=-pl.col("amount"), day="booked_on", subject="posting_id")
    )
    known = _total(pl.concat([taken.refunds.select("key", "amount"), _reported(payments, settlements)]), "ic")
    imt = imt.with_columns(so_far=pl.col("amount").cum_sum().over("key")).join(
        known, on="key", how="left", maintain_order="left"
    )
    imt = imt.filter(pl.col("is_refund") & (pl.col("so_far") > pl.col("ic").fill_null(ZERO)))
    ways: list[tuple[str, pl.DataFrame, str, str | list[str], str]] = [
        (
            "above",
            ic.filter(pl.col("above").is_not_null()).with_columns(amount="above"),
            "refund",
            "refund",
            "",
        ),
        ("", ic.filter(pl.col("above").is_null() & pl.col("alone")), "refund", "refund", "postings"),
        ("imt", imt, "posting", _IMT, "refunds"),
    ]
    found, held, items = [], [], []
    for way, candidates, name, columns, feed in ways:
        rows = candidates.filter(calendar.between(pl.col("day"), today) > grace).with_columns(
            occurred_at=day_start(pl.col("day"), rules.zone).cast(TIME),
            due_at=day_start(calendar.add(pl.col("day"), grace + 1), rules.zone).cast(TIME),
            other=pl.coalesce("payment_guid", "processor_reference"),
            net="so_far" if way == "above" else "amount",
        )
        shown = rows
        if feed:
            proven = coverage.covers(feed, rows["occurred_at"], rows["due_at"])
            shown = rows.filter(proven)
            held.append(rows.filter(~proven).select("amount"))
        found.append(build("B24", rules, shown, way=way, facts=("other", "net"), evidence={name: columns}))
        items.append(shown.select("item"))
    return pl.concat(found), pl.concat(held), pl.concat(items).drop_nulls().unique()


def _ours(taken: TakenBack, rules: Rules) -> pl.DataFrame:
    """IMT's side: postings of kind REFUND, and reversals with a reason of refunds or none. A reversal without a
    reason supports a refund and is no sign of one by itself."""
    said = pl.col("reason").is_in(list(rules.reasons.refunded)).fill_null(False)
    reversal = pl.col("kind") == "REVERSAL"
    is_refund = (pl.col("kind") == "REFUND") | (reversal & said)
    rows = taken.undone.with_columns(is_refund=is_refund)
    return rows.filter(is_refund | (reversal & pl.col("reason").is_null()))


def _total(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    return rows.drop_nulls("key").group_by("key").agg(pl.col("amount").abs().sum().cast(MONEY).alias(name))


def _reported(payments: pl.DataFrame, settlements: pl.DataFrame) -> pl.DataFrame:
    """Refunds that IC's feeds tell of: rows of batches, payments that refund another one. key, amount."""
    batched = settlements.filter(pl.col("transaction_type") == "REFUND").select(
        guid_key=id_key("payment_guid"), amount="settled_amount"
    )
    back = payments.filter("is_refund").select(guid_key=id_key("refund_of_guid"), amount="payment_amount")
    rows = pl.concat([batched, back]).drop_nulls("guid_key")
    own = payments.select("item", "guid_key").join(rows.select("guid_key"), on="guid_key", how="semi")
    rows = rows.join(own.unique("guid_key", keep="none"), on="guid_key", how="left")
    return rows.select(key=pl.coalesce(pl.format("#{}", "item"), "guid_key"), amount=pl.col("amount").abs())
