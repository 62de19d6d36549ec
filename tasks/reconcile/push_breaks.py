"""What the Data Pump pushed against what the report says: B05, B08, B09 by push, B02 for pushes, lost pushes.

A payment may have been pushed in several contents (variants). One that agrees with the report is enough; the
conflict itself is told when it comes (tasks/alerts.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tasks.reconcile.apart import added
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.keys import id_key, reference_key
from tasks.reconcile.model import MONEY, TIME, Schema
from tasks.reconcile.rules import Rules

ROW = ["payment_guid", "variant", "received_at", "payment_date", "account_number", "invoice_number"]
ROW += ["payment_amount", "approved", "agent_code"]
_LATER = ("VOIDED",)  # approved when it was pushed, and taken back since


@dataclass(frozen=True)
class Pushed:
    """summary: item, pushed_at (first), push_code and push_way of what differs, and the words for it ·
    rows: pushes with the item of their payment, if the report has it (else null)."""

    summary: pl.DataFrame
    rows: pl.DataFrame


def match(
    payments: pl.DataFrame, lines: pl.DataFrame, pushes: pl.DataFrame, rules: Rules, restated: pl.DataFrame
) -> Pushed:
    """By guid. Where no push of a payment says the same as the report, the last one tells what differs, in the
    order status (B09), reference (B08), agent (B08), amount (B05). Declined ones can differ in status alone.

    `restated` (model.RESTATED): a push with the amount that the report told then was right; what changed is B44's.
    """
    keyed = pushes.with_columns(guid_key=id_key("payment_guid"))
    if pushes.is_empty():
        nothing = payments.select("item").clear()
        return Pushed(_with_words(nothing, nothing), keyed.with_columns(item=pl.lit(None, pl.UInt32)).clear())
    rows = keyed.join(payments.select("item", "guid_key"), on="guid_key", how="left")
    known = rows.filter(pl.col("item").is_not_null())
    first = known.group_by("item").agg(pushed_at=pl.col("received_at").min())
    asked = payments.join(lines.select("item").unique(), on="item", how="anti")
    named = ["item", "account_number", "invoice_number", "payment_amount"]
    whole = payments.select("item", "approved", "accepted", "agent_code", "status", total="payment_amount")
    pieces = asked.select(named).join(whole, on="item")
    pieces = pl.concat([pieces, lines.select(named).join(whole, on="item").select(pieces.columns)])
    pairs = known.join(pieces, on="item", suffix="_ic")
    different = pairs.join(pairs.filter(_as_it_stands()).select("item").unique(), on="item", how="anti")
    before = restated.filter(pl.col("feed") == "payments").select(
        guid_key=id_key("payment_guid"), payment_amount="amount_before", as_told_then=pl.lit(True)
    )
    different = different.join(before.unique(), on=["guid_key", "payment_amount"], how="left")
    return Pushed(_with_words(first, _differences(different, rules)), rows)


def _as_it_stands() -> pl.Expr:
    """The quick way for the many: every value is the same text."""
    same = [pl.col(name) == pl.col(f"{name}_ic") for name in ("account_number", "invoice_number", "approved")]
    agent = (pl.col("agent_code") == pl.col("agent_code_ic")).fill_null(True)
    return pl.all_horizontal(same) & (pl.col("payment_amount") == pl.col("total")) & agent


def _differences(pairs: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """item, push_code, push_way, and the values of the push: one row per payment that no push agrees with."""

    def alike(name: str) -> pl.Expr:
        return (reference_key(name) == reference_key(f"{name}_ic")).fill_null(True)

    taken_back = pl.col("status").is_in([*_LATER, *rules.returned_statuses]).fill_null(False)
    judged = pairs.with_columns(
        same_status=(pl.col("approved") == pl.col("approved_ic")) | (pl.col("approved") & taken_back),
        same_reference=alike("account_number") & alike("invoice_number"),
        same_agent=(id_key("agent_code") == id_key("agent_code_ic")).fill_null(True),
        same_amount=(pl.col("payment_amount") == pl.col("total"))
        | (pl.col("payment_amount") == pl.col("payment_amount_ic"))
        | pl.col("as_told_then").fill_null(False),
    )
    both = (pl.col("same_reference") & pl.col("same_amount")).any()
    per_push = judged.group_by("item", "push_id").agg(
        pl.col(
            "variant", "accepted", "same_status", "same_agent", "account_number", "invoice_number"
        ).first(),
        pl.col("payment_amount", "approved", "agent_code", "agent_code_ic").first(),
        pl.col("same_reference", "same_amount").any(),
        agrees=pl.col("same_status").first() & pl.col("same_agent").first() & both,
    )
    agreed = per_push.filter("agrees").select("item").unique()
    last = per_push.join(agreed, on="item", how="anti").sort("item", "variant", "push_id")
    last = last.unique("item", keep="last", maintain_order=True)
    accepted = pl.col("accepted")
    way = (
        pl.when(~pl.col("same_status")).then(pl.lit("status"))
        .when(accepted & ~pl.col("same_reference")).then(pl.lit("reference"))
        .when(accepted & ~pl.col("same_agent")).then(pl.lit("agent"))
        .when(accepted).then(pl.lit("amount"))
    )  # fmt: skip
    codes = {"status": "B09", "reference": "B08", "agent": "B08", "amount": "B05"}
    return (
        last.with_columns(push_way=way)
        .select(
            "item",
            push_code=pl.col("push_way").replace_strict(codes, default=None, return_dtype=pl.String),
            push_way=pl.when(pl.col("push_way") == "agent").then(pl.lit("agent")).otherwise(pl.lit("pushed")),
            pushed_amount="payment_amount",
            pushed_account="account_number",
            pushed_invoice="invoice_number",
            pushed_approved="approved",
            other_agent="agent_code",
            other_where=pl.lit("the push"),
        )
        .drop_nulls("push_code")
    )


def _with_words(first: pl.DataFrame, different: pl.DataFrame) -> pl.DataFrame:
    kinds: Schema = {
        "pushed_at": TIME, "push_code": pl.String, "push_way": pl.String, "pushed_amount": MONEY,
        "pushed_account": pl.String, "pushed_invoice": pl.String, "pushed_approved": pl.Boolean,
        "other_agent": pl.String, "other_where": pl.String,
    }  # fmt: skip
    joined = first.join(different, on="item", how="left") if different.width > 1 else first
    absent = {name: pl.lit(None, kind) for name, kind in kinds.items() if name not in joined.columns}
    return joined.with_columns(**absent).select("item", *kinds)


def with_agents(summary: pl.DataFrame, payments: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """`summary` with B08 of payments whose standing posting names another agent, where no push says worse."""
    by_agent = pl.col("agent_code").is_not_null()
    paid = claims.filter(by_agent & (pl.col("kind") == "PAYMENT") & (pl.col("status") == "POSTED"))
    if paid.is_empty():
        return summary
    back = claims.select(posting_id="reverses_posting_id").drop_nulls()
    paid = paid.join(back, on="posting_id", how="anti")
    named = payments.filter("accepted").select("item", of="agent_code").drop_nulls()
    other = (
        paid.join(named, on="item")
        .filter(id_key("agent_code") != id_key("of"))
        .sort("posted_at", "posting_id")
    )
    if other.is_empty():
        return summary
    other = other.group_by("item", maintain_order=True).agg(agent=pl.col("agent_code").last())
    both = summary.join(other, on="item", how="full", coalesce=True)
    here = pl.col("agent").is_not_null() & pl.col("push_code").is_null()
    told = {"push_code": "B08", "push_way": "agent", "other_where": "IMT's posting"}
    return both.with_columns(
        *(pl.when(here).then(pl.lit(text)).otherwise(name).alias(name) for name, text in told.items()),
        other_agent=pl.when(here).then("agent").otherwise("other_agent"),
    ).drop("agent")


def never_reported(
    pushed: Pushed, postings: pl.DataFrame, coverage: Coverage, rules: Rules, as_of: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B02 for pushes, and those held back: approved as first pushed, in no report after the grace, and not
    posted (a posting of it is B02 by itself). The payments feed must be complete from payment to push."""
    if pushed.rows.is_empty():
        return NO_BREAKS, NONE_HELD
    now, hours = pl.lit(as_of, TIME), pl.duration(seconds=rules.codes["B02"].grace_hours * 3600)
    posted = (
        postings.filter(pl.col("status") == "POSTED").select(guid_key=id_key("payment_guid")).drop_nulls()
    )
    apart = [rule.support_origin for rule in rules.exclusions.values() if rule.expiry >= as_of.date()]
    excluded = pl.col("payment_source").is_in(apart).fill_null(False)
    rows = (
        pushed.rows.filter(
            pl.col("item").is_null() & pl.col("approved") & (pl.col("variant") == 1) & ~excluded
        )
        .join(posted, on="guid_key", how="anti")
        .with_columns(
            subject="payment_guid",
            amount=pl.col("payment_amount").cast(MONEY),
            occurred_at="payment_date",
            due_at=pl.col("received_at") + hours,
            needed_from=pl.min_horizontal("payment_date", "received_at"),
            needed_to=pl.max_horizontal("payment_date", "received_at"),
        )
        .filter(pl.col("due_at") < now)
    )
    proven = coverage.covers("payments", rows["needed_from"], rows["needed_to"])
    found = build("B02", rules, rows.filter(proven), way="pushed", evidence={"push": ROW})
    return found, rows.filter(~proven)


def arrivals(work: pl.DataFrame, rules: Rules, as_of: datetime, apart: pl.DataFrame) -> pl.DataFrame:
    """name, rows, amount of payments that should have been pushed by now: reported, pushed, lost. No row where
    no push is expected (pump_since is not set). `apart`: the same of the payments judged apart."""
    if rules.pump_since is None:
        return pl.DataFrame(schema={"name": pl.String, "rows": pl.Int64, "amount": MONEY})
    wait = pl.duration(seconds=rules.push_wait_hours * 3600)
    since, now = pl.lit(rules.pump_since, TIME), pl.lit(as_of, TIME)
    due = (pl.col("payment_date") >= since) & (pl.col("payment_date") + wait < now) & ~pl.col("is_refund")
    expected = work.filter(due)
    came = pl.col("pushed_at").is_not_null()
    parts = {"reported": expected, "pushed": expected.filter(came), "lost": expected.filter(~came)}
    counted = pl.concat(
        rows.select(name=pl.lit(name), rows=pl.len().cast(pl.Int64), amount=pl.col("payment_amount").sum().cast(MONEY))
        for name, rows in parts.items()
    )  # fmt: skip
    return added(counted, apart)


def never_delivered(rules: Rules) -> pl.Expr:
    """B01's last words: whether the Data Pump told of the payment. Empty where no push is expected."""
    since = pl.lit(rules.pump_since, TIME)
    expected = (pl.col("payment_date") >= since).fill_null(False)
    return (
        pl.when(pl.col("pushed_at").is_not_null())
        .then(pl.lit(" The Data Pump delivered it."))
        .when(expected)
        .then(pl.lit(" The Data Pump never delivered it; it was first seen by poll."))
        .otherwise(pl.lit(""))
    )
