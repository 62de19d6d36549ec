"""B34, B35: AutoPay that did not draw, that drew what was paid already, or that drew after the payer had left.

Domain facts 26 and 27: AutoPay draws the balance on a day of its own, if the enrolment stood two banking days
before; a recurring payment runs even where the bill is paid. Judged where IMT's AutoPay flags were loaded.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_date
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build, local_time
from tasks.reconcile.double_pay import live_payments
from tasks.reconcile.enrolment_breaks import has_list
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.keys import reference_key
from tasks.reconcile.model import MONEY, TIME, ZERO, Inputs, Schema, empty
from tasks.reconcile.rules import Rules

AUTOPAY = "AUTOPAY"
_PAYMENT = ["payment_guid", "payment_date", "account_number", "invoice_number", "payment_amount"]
_PAYMENT += ["payment_source", "tender"]
_BILL = ["invoice_number", "due_date", "autopay_collection_date", "balance"]
_OVERDRAWN: Schema = {"item": pl.UInt32, "invoice_number": pl.String, "above": MONEY, "way": pl.String,
                      "owed": MONEY, "other": pl.String, "since": TIME, "said_by": pl.String}  # fmt: skip


def is_on(data: Inputs) -> bool:
    """Are draws judged at all?"""
    return has_list(data, AUTOPAY)


def not_drawn(
    data: Inputs,
    pieces: pl.DataFrame,
    coverage: Coverage,
    rules: Rules,
    calendar: BankingCalendar,
    as_of: datetime,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B34 and the rows held back. `pieces`: payments, or their lines (prepared).

    A bill with money owed, of an account that stood enrolled setup_banking_days before its collection day, and
    by the end of the grace neither anything paid on it nor a draw tried. Payments must be complete from
    orphan_lookback_days before that day on: an earlier one may still be on its way to the balance.
    """
    rule, bills = rules.codes["B34"], data.bills.filter(pl.col("balance") > ZERO)
    if bills.is_empty() or not is_on(data):
        return NO_BREAKS, NONE_HELD
    rows = _enrolled(bills, data.autopay, rules, calendar)
    day = pl.col("day")
    rows = rows.with_columns(
        key=reference_key("invoice_number"),
        occurred_at=day_start(day, rules.zone),
        due_at=day_start(calendar.add(day, rule.grace_banking_days + 1), rules.zone),
    ).filter(pl.col("due_at") <= pl.lit(as_of, TIME))
    tried = pl.col("payment_source") == AUTOPAY
    asked = pieces if rows.height else pieces.clear()
    paid = asked.filter((pl.col("accepted") & ~pl.col("is_refund")) | tried.fill_null(False))
    paid = paid.select("local_date", key=reference_key("invoice_number")).drop_nulls()
    paid = paid.join(rows.select("key", "due_at"), on="key")
    paid = paid.filter(day_start(pl.col("local_date"), rules.zone) < pl.col("due_at"))
    rows = rows.join(paid, on="key", how="anti").with_columns(
        subject="invoice_number", payment_guid=pl.lit(None, pl.String), amount="balance"
    )
    start = rows.select(at=pl.col("occurred_at") - pl.duration(days=rules.orphan_lookback_days))["at"]
    proven = coverage.covers("payments", start, rows["due_at"])
    evidence: dict[str, list[str] | str] = {"bill": _BILL, "enrolment": ["enrolled_at", "draw_offset_days"]}
    found = build("B34", rules, rows.filter(proven), evidence=evidence)
    return found, rows.filter(~proven).select("amount")


def _enrolled(
    bills: pl.DataFrame, autopay: pl.DataFrame, rules: Rules, calendar: BankingCalendar
) -> pl.DataFrame:
    """Bills of accounts enrolled on their collection day (`day`): that of the bill, else draw_offset_days before
    it is due. An enrolment of one invoice type is none of another."""
    ended = pl.coalesce("cancelled_at", "gone_at", pl.when(~pl.col("autopay")).then("first_seen_at"))
    listed = autopay.select(
        "enrolled_at", "draw_offset_days", "first_seen_at",
        key=reference_key("account_number"), enrolled_type="invoice_type_id", ended=ended,
    ).drop_nulls("key")  # fmt: skip
    offset = pl.duration(days=pl.col("draw_offset_days").fill_null(0))
    both = bills.with_columns(key=reference_key("account_number")).join(listed, on="key")
    both = both.with_columns(day=pl.coalesce("autopay_collection_date", pl.col("due_date") - offset))
    begun = local_date(pl.coalesce("enrolled_at", "first_seen_at"), rules.zone)
    in_time = calendar.between(begun, pl.col("day")) >= rules.codes["B34"].setup_banking_days
    same_type = (pl.col("invoice_type_id") == pl.col("enrolled_type")).fill_null(True)
    stood = pl.col("ended").is_null() | (local_date(pl.col("ended"), rules.zone) > pl.col("day"))
    kept = both.filter(pl.col("day").is_not_null() & in_time & same_type & stood)
    return kept.sort("invoice_number", "enrolled_at", nulls_last=True).unique(
        "invoice_number", keep="first", maintain_order=True
    )


def overdrawn(work: pl.DataFrame, lines: pl.DataFrame, data: Inputs) -> pl.DataFrame:
    """Payments that are B35 (`item`, by line where split): `above` (USD), `way` (opted_out, or empty), `owed`,
    `other` (the payment before it), `since` and `said_by` of the opt-out. `work` is weighed."""
    if not is_on(data):
        return empty(_OVERDRAWN)
    live = live_payments(work, lines, "last_credit_at")
    out = _after_opt_out(live, data)
    twice = _twice(live.join(out.select("item"), on="item", how="anti"), data.events)
    both = pl.concat([out, twice])
    return both.select(pl.col(name).cast(kind) for name, kind in _OVERDRAWN.items())


def _after_opt_out(live: pl.DataFrame, data: Inputs) -> pl.DataFrame:
    """AutoPay's payments at whose time the last word on the account, of either side, was: not enrolled."""
    drawn = live.filter((pl.col("payment_source") == AUTOPAY).fill_null(False))
    drawn = drawn.with_columns(key=reference_key("account_number")).drop_nulls("key")
    words = _words(data).sort("since", "on")
    last = drawn.sort("payment_date").join_asof(
        words, left_on="payment_date", right_on="since", by="key", check_sortedness=False, allow_exact_matches=False
    )  # fmt: skip
    gone = last.filter(~pl.col("on"))
    return gone.with_columns(
        above="payment_amount",
        way=pl.lit("opted_out"),
        owed=pl.lit(None, MONEY),
        other=pl.lit(None, pl.String),
    ).select(list(_OVERDRAWN))


def _words(data: Inputs) -> pl.DataFrame:
    """key, since, on, said_by: every dated word on an account's AutoPay, enrolled or not."""
    ic = data.autopay.with_columns(key=reference_key("account_number"))
    imt = data.flags.filter(pl.col("list") == AUTOPAY).with_columns(key=reference_key("account_number"))
    left = pl.coalesce("cancelled_at", "gone_at")
    parts = [
        ic.select("key", since="enrolled_at", on=pl.lit(True), said_by=pl.lit("InvoiceCloud")),
        ic.select("key", since=left, on=pl.lit(False), said_by=pl.lit("InvoiceCloud")),
        imt.filter(pl.col("gone_at").is_null()).select(
            "key", since="changed_at", on="enrolled", said_by=pl.lit("IMT")
        ),
    ]
    return pl.concat(parts).drop_nulls(["key", "since"])


def opted_out(data: Inputs) -> pl.Series:
    """Accounts (reference_key) of which either side ever said that they are not enrolled in AutoPay."""
    if not is_on(data):
        return pl.Series("key", [], pl.String)
    return _words(data).filter(~pl.col("on"))["key"].unique()


def _twice(live: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The later of several payments of one invoice, AutoPay's among them, as far as it is more than was owed.

    Owed: the invoice's last event by then, less what was paid before and IMT had not booked by that event.
    """
    drawn = live.filter((pl.col("payment_source") == AUTOPAY).fill_null(False))
    rows = live.with_columns(key=reference_key("invoice_number")).drop_nulls("key")
    keys = drawn.select(key=reference_key("invoice_number")).unique()
    rows = rows.join(keys, on="key", how="semi").filter(pl.len().over("key") > 1)
    if rows.is_empty() or events.is_empty():
        return empty(_OVERDRAWN)
    amount, is_drawn = pl.col("payment_amount"), (pl.col("payment_source") == AUTOPAY).fill_null(False)
    rows = rows.sort("payment_date", "payment_guid", "item").with_columns(
        before=(amount.cum_sum() - amount).over("key"),
        drawn_by_now=is_drawn.cum_sum().over("key") > 0,
        other=pl.col("payment_guid").shift(1).over("key"),
        since=pl.col("payment_date").shift(1).over("key"),
    )
    later = rows.filter(pl.col("other").is_not_null() & pl.col("drawn_by_now"))
    told = events.select(told_at="occurred_at", balance="balance_due", key=reference_key("invoice_number"))
    told = told.join(keys, on="key", how="semi").sort("told_at", "balance")
    known = later.join_asof(
        told, left_on="payment_date", right_on="told_at", by="key", check_sortedness=False
    ).drop_nulls("balance")
    booked = rows.drop_nulls("last_credit_at").sort("last_credit_at").select(
        "key", booked_at="last_credit_at", booked=pl.col("payment_amount").cum_sum().over("key")
    )  # fmt: skip
    counted = known.sort("told_at").join_asof(
        booked, left_on="told_at", right_on="booked_at", by="key", check_sortedness=False
    )
    waiting = (pl.col("before") - pl.col("booked").fill_null(ZERO)).cast(MONEY)
    owed = (pl.col("balance") - pl.max_horizontal(waiting, ZERO)).cast(MONEY)
    counted = counted.with_columns(owed=pl.max_horizontal(owed, ZERO).cast(MONEY))
    above = (amount - pl.col("owed")).cast(MONEY)
    return (
        counted.with_columns(above=above, way=pl.lit(""), said_by=pl.lit(None, pl.String))
        .filter(pl.col("above") > ZERO)
        .select(pl.col(name).cast(kind) for name, kind in _OVERDRAWN.items())
    )


def double_draws(found: pl.DataFrame, work: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """B35 of the payments that verdicts.judge lets stand; the amounts of a payment's lines are added up."""
    if found.is_empty():
        return NO_BREAKS
    stand = work.filter("overdrawn").select("item", *_PAYMENT)
    rows = stand.drop("invoice_number").join(found, on="item").with_columns(
        subject="payment_guid",
        amount="above",
        occurred_at="payment_date",
        due_at=pl.lit(None, TIME),
        net="owed",
        detail=pl.format("{} of {}", "other", local_time("since", rules.zone)),
        what="said_by",
        before=pl.struct("other", "since", "said_by", "owed"),
    )  # fmt: skip
    evidence: dict[str, list[str] | str] = {"payment": _PAYMENT, "before": "before"}
    facts = ("payment_amount", "net", "detail", "since", "what")
    told = [
        build("B35", rules, rows.filter(pl.col("way") == way), way=way, facts=facts, evidence=evidence)
        for way in ("", "opted_out")
    ]
    return pl.concat(told)
