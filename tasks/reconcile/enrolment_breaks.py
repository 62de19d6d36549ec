"""B32, B33: InvoiceCloud's list of enrolled accounts and IMT's own flag say different things.

Judged where IMT's flags were loaded at all (`icflows load enrolment-flags`). Both are whole lists, so an account
that a list does not name is not enrolled there; but only a list that was taken after the last event and its
grace proves anything (domain 3.4, fact 14: enrolments are pushed one event at a time and drift).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, local_day
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.keys import reference_key
from tasks.reconcile.model import MONEY, TIME, ZERO, Inputs
from tasks.reconcile.rules import Rules, overdue

FLAG_FEED = "enrolment_flags"
Found = tuple[pl.DataFrame, pl.DataFrame]
_NOBODY = {name: pl.lit(None, pl.String) for name in ("payment_guid", "invoice_number")}


def autopay_drift(data: Inputs, rules: Rules, calendar: BankingCalendar, as_of: datetime) -> Found:
    """B32 and the rows held back. HIGH where a draw is due within high_within_banking_days."""
    if not has_list(data, "AUTOPAY"):
        return NO_BREAKS, NONE_HELD
    now, rule = pl.lit(as_of, TIME), rules.codes["B32"]
    cancelled = (pl.col("cancelled_at") <= now).fill_null(False)
    on = pl.col("autopay") & ~cancelled & pl.col("gone_at").is_null()
    ended = pl.coalesce("gone_at", "cancelled_at", "enrolled_at", "first_seen_at")
    changed = pl.when(on).then(pl.coalesce("enrolled_at", "first_seen_at")).otherwise(ended)
    rows = _compared(data, "AUTOPAY", _state(data.autopay, on, changed))
    rows = rows.filter(pl.col("on_ic") != pl.col("on_imt"))
    rows = rows.join(_next_draws(data, rules, as_of), on="key", how="left")
    near = calendar.between(pl.lit(local_day(as_of, rules.zone)), pl.col("draw"))
    is_near = (near <= rule.high_within_banking_days).fill_null(False)
    none = f"no draw is due in the next {rule.high_within_banking_days} banking days"
    rows = rows.with_columns(
        severity=pl.when(is_near).then(pl.lit("HIGH")).otherwise(pl.lit(rule.severity)),
        detail=pl.when(is_near).then(pl.format("the next draw is due on {}", "draw")).otherwise(pl.lit(none)),
    )
    return _told("B32", rows, data, rules, as_of)


def paperless_drift(data: Inputs, rules: Rules, as_of: datetime) -> Found:
    """B33 and the rows held back: the flags differ, or IMT prints all the same, or nobody gets the bill at all."""
    if not has_list(data, "PAPERLESS"):
        return NO_BREAKS, NONE_HELD
    on = pl.col("paperless") & pl.col("gone_at").is_null()
    changed = pl.coalesce("gone_at", "changed_at", "first_seen_at")
    bounced = pl.col("email_bounced").fill_null(False) & pl.col("gone_at").is_null()
    rows = _compared(data, "PAPERLESS", _state(data.paperless.with_columns(bounced=bounced), on, changed))
    ic, imt = pl.col("on_ic"), pl.col("on_imt")
    prints = pl.coalesce("prints", ~imt)
    what = (
        pl.when(ic & ~imt).then(pl.lit("on at InvoiceCloud and off in IMT"))
        .when(~ic & imt).then(pl.lit("off at InvoiceCloud and on in IMT"))
        .when(ic & imt & prints).then(pl.lit("on at both, and IMT still prints"))
        .when(~prints & pl.col("bounced")).then(pl.lit("IMT prints nothing, and mail to the payer came back"))
    )  # fmt: skip
    legal = pl.col("legal_notice").fill_null(False)
    notice = pl.when(legal).then(pl.lit("a legal notice is due by mail"))
    rows = rows.with_columns(what=what).filter(pl.col("what").is_not_null())
    rows = rows.with_columns(
        severity=pl.when(legal).then(pl.lit("HIGH")).otherwise(pl.lit(rules.codes["B33"].severity)),
        detail=pl.concat_str("what", notice, separator="; ", ignore_nulls=True),
    )
    return _told("B33", rows, data, rules, as_of)


def has_list(data: Inputs, name: str) -> bool:
    """Did IMT say anything of list `name` (AUTOPAY, PAPERLESS)? Else nothing is judged by it."""
    return bool((data.flags["list"] == name).any())


def list_taken_at(data: Inputs, feed: str) -> pl.Expr:
    """When the last complete list of a feed was asked for; null if there is none."""
    good = data.polls.filter((pl.col("feed") == feed) & (pl.col("status") == "ok"))
    return pl.lit(good["requested_at"].max(), TIME)


def _state(listed: pl.DataFrame, on: pl.Expr, changed: pl.Expr) -> pl.DataFrame:
    """One row per account: enrolled under any of its invoice types, last change, first way of writing it."""
    rows = listed.with_columns(
        key=reference_key("account_number"), account="account_number", on=on, changed=changed
    )
    bounced = [pl.col("bounced").any()] if "bounced" in listed.columns else []
    return (
        rows.drop_nulls("key")
        .sort("account", "changed", nulls_last=True)
        .group_by("key", maintain_order=True)
        .agg(pl.col("account").first(), pl.col("on").any(), pl.col("changed").max(), *bounced)
    )


def _compared(data: Inputs, name: str, ic: pl.DataFrame) -> pl.DataFrame:
    """IMT's flags of list `name` beside InvoiceCloud's."""
    flags = data.flags.filter(pl.col("list") == name)
    on = pl.col("enrolled") & pl.col("gone_at").is_null()
    own = _state(flags, on, pl.coalesce("gone_at", "changed_at", "first_seen_at"))
    more = flags.filter(pl.col("gone_at").is_null()).select(
        "prints", "legal_notice", key=reference_key("account_number")
    )
    own = own.join(more.unique("key", keep="any"), on="key", how="left")
    both = ic.join(own, on="key", how="full", coalesce=True, suffix="_imt").rename(
        {"on": "on_ic", "changed": "changed_ic"}
    )
    return both.with_columns(
        pl.col("on_ic", "on_imt").fill_null(False),
        account_number=pl.coalesce("account_imt", "account"),
        since=pl.max_horizontal("changed_ic", "changed_imt"),
    )


def _next_draws(data: Inputs, rules: Rules, as_of: datetime) -> pl.DataFrame:
    """key, draw: per account the nearest day of a draw that is not over yet."""
    today = pl.lit(local_day(as_of, rules.zone))
    days = [
        data.autopay.filter(pl.col("gone_at").is_null()).select(
            "account_number", draw="next_collection_date"
        ),
        data.bills.select("account_number", draw=pl.coalesce("autopay_collection_date", "due_date")),
    ]
    ahead = pl.concat(days).filter(pl.col("draw") >= today)
    return ahead.group_by(key=reference_key("account_number")).agg(pl.col("draw").min()).drop_nulls("key")


def _told(code: str, rows: pl.DataFrame, data: Inputs, rules: Rules, as_of: datetime) -> Found:
    feed = "autopay" if code == "B32" else "paperless"
    words = {True: "on", False: "off"}
    rows = rows.with_columns(
        **_NOBODY,
        subject="account_number",
        amount=ZERO.cast(MONEY),
        occurred_at="since",
        due_at=rules.due_at(code, "since"),
        ic_status=pl.col("on_ic").replace_strict(words, return_dtype=pl.String),
        imt_status=pl.col("on_imt").replace_strict(words, return_dtype=pl.String),
        taken=pl.min_horizontal(list_taken_at(data, feed), list_taken_at(data, FLAG_FEED)),
    )
    rows = rows.filter(overdue("due_at", "since", as_of))
    known = list_taken_at(data, feed).is_not_null() & list_taken_at(data, FLAG_FEED).is_not_null()
    rows = rows.with_columns(proven=known & (pl.col("taken") >= pl.col("due_at")).fill_null(False))
    at_ic = pl.struct(on="on_ic", changed_at="changed_ic").alias("at_ic")
    at_imt = pl.struct("prints", "legal_notice", on="on_imt", changed_at="changed_imt").alias("at_imt")
    rows = rows.with_columns(at_ic, at_imt)
    facts = ("ic_status", "imt_status", "since", "detail")
    evidence: dict[str, list[str] | str] = {"invoicecloud": "at_ic", "imt": "at_imt"}
    found = build(code, rules, rows.filter("proven"), facts=facts, evidence=evidence)
    return found, rows.filter(~pl.col("proven"))
