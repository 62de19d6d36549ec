"""B04: the same invoice paid twice in the same amount within hours, for more than it owed.

Domain B04: another guid, same account, invoice and amount, both accepted; at most 24 hours apart through one
channel, 15 minutes through two; together more than the invoice owed when the first was made. Where that is
not known there is no break.
"""

from __future__ import annotations

import polars as pl

from tasks.reconcile.breaks import NO_BREAKS, build, local_time
from tasks.reconcile.keys import id_key, reference_key
from tasks.reconcile.model import MONEY, TIME, ZERO
from tasks.reconcile.rules import Rules

_ALIKE = ["account_number", "invoice_number", "payment_amount"]
_PAYMENT = ["payment_guid", "payment_date", "account_number", "invoice_number", "payment_amount"]
_PAYMENT += ["payment_source", "tender"]


def suspects(work: pl.DataFrame, lines: pl.DataFrame, events: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """One row per later payment (per line, where it is split): its columns, the payment before it as `first`,
    `other` (its guid), `owed` (balance of the invoice when that one was made). `work` is judged."""
    if events.is_empty():
        return _nothing(work)
    live = live_payments(work, lines)
    order = ["payment_date", "payment_guid", "item"]
    # A cheap test first: hardly any payment has a twin.
    twins = live.filter(pl.struct(_ALIKE).hash().is_duplicated()).sort(order)
    pairs = _pairs(twins, rules)
    if pairs.is_empty():
        return _nothing(work)
    owed = _owed(pairs, live, events)
    both = pl.col("payment_amount") + pl.col("first_amount")
    return pairs.join(owed, on=["item", "invoice_number"]).filter(both > pl.col("owed"))


def _nothing(work: pl.DataFrame) -> pl.DataFrame:
    return work.select("item").clear()


def live_payments(work: pl.DataFrame, lines: pl.DataFrame, *more: str) -> pl.DataFrame:
    """Accepted payments, line by line, none of whose money went back; with `more` columns of the payment."""
    refunded = work.filter("accepted").select(guid_key=id_key("refund_of_guid")).drop_nulls()
    kept = pl.col("accepted") & ~pl.col("is_refund") & ~pl.col("ambiguous")
    kept = kept & (pl.col("back") == ZERO) & pl.col("invoice_number").is_not_null()
    columns = ["item", *_PAYMENT, *more]
    live = work.filter(kept & (pl.col("payment_amount") > ZERO)).join(refunded, on="guid_key", how="anti")
    if lines.is_empty():
        return live.select(columns)
    own = lines.drop(more, strict=False).join(live.select("item", *more), on="item")
    own = own.filter(pl.col("invoice_number").is_not_null())
    single = live.join(lines.select("item"), on="item", how="anti")
    return pl.concat([single.select(columns), own.select(columns)])


def _pairs(twins: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Each payment beside the one before it: the last through any channel, if that was minutes ago, else the
    last through the same one, if that was hours ago."""
    rule = rules.codes["B04"]
    minutes, hours = (
        pl.duration(seconds=seconds) for seconds in (rule.within_minutes * 60, rule.within_hours * 3600)
    )
    facts = pl.struct("item", *_PAYMENT)
    twins = twins.with_columns(
        any_first=facts.shift(1).over(_ALIKE), own_first=facts.shift(1).over([*_ALIKE, "payment_source"])
    )

    def near(name: str, span: pl.Expr) -> pl.Expr:
        before = pl.col(name)
        other = before.struct.field("payment_guid") != pl.col("payment_guid")
        return (other & (pl.col("payment_date") - before.struct.field("payment_date") <= span)).fill_null(
            False
        )

    same = pl.when(near("own_first", hours)).then("own_first")
    first = pl.when(near("any_first", minutes)).then("any_first").otherwise(same)
    found = twins.with_columns(first=first).drop("any_first", "own_first")
    found = found.filter(pl.col("first").struct.field("item").is_not_null())
    return found.with_columns(
        other=pl.col("first").struct.field("payment_guid"),
        first_item=pl.col("first").struct.field("item"),
        first_at=pl.col("first").struct.field("payment_date"),
        first_amount=pl.col("first").struct.field("payment_amount"),
    )


def _owed(pairs: pl.DataFrame, live: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """item, invoice_number, owed: the invoice's last event by the first payment, less what was paid between."""
    asked = pairs.select("item", "invoice_number", "first_item", at="first_at")
    told = _events_of(asked["invoice_number"].unique(), events)
    known = (
        asked.sort("at")
        .join_asof(
            told.select("invoice_number", "told_at", "balance").sort("told_at"),
            left_on="at",
            right_on="told_at",
            by="invoice_number",
            check_sortedness=False,
        )
        .drop_nulls("balance")
    )
    paid = (
        live.join(asked.select("invoice_number").unique(), on="invoice_number", how="semi")
        .sort("payment_date", "payment_guid", "item")
        .with_columns(upto=pl.col("payment_amount").cum_sum().over("invoice_number"))
    )
    before = paid.select(
        "invoice_number", first_item="item", before=(pl.col("upto") - pl.col("payment_amount")).cast(MONEY)
    ).unique(["invoice_number", "first_item"], keep="first", maintain_order=True)
    counted = known.sort("told_at").join_asof(
        paid.select("invoice_number", "upto", paid_at="payment_date"),
        left_on="told_at",
        right_on="paid_at",
        by="invoice_number",
        check_sortedness=False,
    )
    between = pl.col("before") - pl.col("upto").fill_null(ZERO)
    between = pl.when(between > ZERO).then(between).otherwise(ZERO)
    owed = counted.join(before, on=["invoice_number", "first_item"])
    return owed.select("item", "invoice_number", owed=(pl.col("balance") - between).cast(MONEY)).unique(
        ["item", "invoice_number"], keep="first", maintain_order=True
    )


def _events_of(numbers: pl.Series, events: pl.DataFrame) -> pl.DataFrame:
    """Events under the numbers as payments write them: as IMT does, else the one that reads the same."""
    asked = numbers.to_frame("invoice_number")
    told = events.select("invoice_number", told_at="occurred_at", balance="balance_due")
    exact = told.join(asked, on="invoice_number", how="semi")
    unknown = asked.join(exact, on="invoice_number", how="anti")
    if unknown.is_empty():
        return exact.sort("told_at", "balance")
    keyed = told.with_columns(key=reference_key("invoice_number")).drop("invoice_number")
    alike = unknown.with_columns(key=reference_key("invoice_number")).join(keyed, on="key").drop("key")
    return pl.concat([exact, alike.select(exact.columns)]).sort("told_at", "balance")


def double_breaks(found: pl.DataFrame, work: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """B04 of the suspects that verdicts.judge lets stand, both payments as evidence."""
    if found.is_empty():
        return NO_BREAKS
    stand = work.filter("doubled").select("item")
    gap = pl.format(
        "through {} on {} and through {} on {}",
        pl.col("first").struct.field("payment_source").fill_null("an unknown channel"),
        local_time("first_at", rules.zone),
        pl.col("payment_source").fill_null("an unknown channel"),
        local_time("payment_date", rules.zone),
    )
    rows = found.join(stand, on="item", how="semi").with_columns(
        subject="payment_guid",
        amount="payment_amount",
        occurred_at="payment_date",
        due_at=pl.lit(None, TIME),
        net="owed",
        detail=gap,
        first=pl.struct(pl.col("first").struct.field(name) for name in _PAYMENT),
    )
    evidence: dict[str, list[str] | str] = {"payment": _PAYMENT, "first": "first"}
    return build("B04", rules, rows, facts=("net", "other", "detail"), evidence=evidence)
