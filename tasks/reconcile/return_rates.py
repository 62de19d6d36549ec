"""B43: shares of returned debits near Nacha's limits, by the day of origination (domain fact 37)."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl

from checks import ach_codes
from tasks.reconcile.apart import Apart
from tasks.reconcile.banking_days import day_start, local_day
from tasks.reconcile.breaks import NO_BREAKS, build
from tasks.reconcile.model import TIME, ZERO
from tasks.reconcile.rules import Rules


def counted(
    returned: pl.DataFrame, work: pl.DataFrame, apart: Apart, rules: Rules, as_of: datetime
) -> pl.DataFrame:
    """Per limit of Nacha: limit, percent, count (debits that came back), debits; no row where no debit was originated.

    Debits: accepted payments of the rule's tenders and last days by their payment date. `returned`
    (return_breaks.claimed): those that came back with a code of the group, each once, and interbank news none.
    `apart`: further accepted payments, and those of them that came back.
    """
    rule, (first, today) = rules.return_rates, _span(rules, as_of)
    inside = (pl.col("local_date") > first) & (pl.col("local_date") <= today)
    debits = work.filter(
        inside & pl.col("accepted") & ~pl.col("is_refund") & pl.col("tender").is_in(list(rule.tenders))
    )
    at, tender = pl.col("payment_day"), pl.col("tender").is_in(list(rule.tenders))
    others = apart.days.filter((at > first) & (at <= today) & tender)["rows"].sum()
    gone = apart.back.filter((at > first) & (at <= today) & tender)
    originated = debits.height + int(others)
    back = returned.join(debits.select("item"), on="item", how="semi")
    code = pl.col("return_code").str.strip_chars().str.to_uppercase()
    limits = ach_codes.limits()
    rates = limits.select("limit", "percent", count=pl.lit(0, pl.Int64), debits=pl.lit(originated, pl.Int64))
    if not originated or (back.is_empty() and gone.is_empty()):
        return rates if originated else rates.clear()
    named = [
        back.select("item", code=code).cast({"item": pl.String}),
        gone.select(item="guid_key", code=code),
    ]
    hits = pl.concat(named).join(limits, how="cross")
    hits = hits.filter((pl.col("codes").list.len() == 0) | pl.col("codes").list.contains(pl.col("code")))
    hits = hits.group_by("limit").agg(came=pl.col("item").n_unique().cast(pl.Int64))
    rates = rates.join(hits, on="limit", how="left", maintain_order="left")
    return rates.with_columns(count=pl.col("came").fill_null(0)).drop("came")


def _span(rules: Rules, as_of: datetime) -> tuple[date, date]:
    today = local_day(as_of, rules.zone)
    return today - timedelta(days=rules.return_rates.days), today


def alerts(rates: pl.DataFrame, rules: Rules, as_of: datetime) -> pl.DataFrame:
    """B43 of `rates` (counted): one per group whose share of the debits is at the alert share of its limit. Too few
    returns tell nothing."""
    rule, (first, _) = rules.return_rates, _span(rules, as_of)
    # count / debits >= share of the limit, in whole numbers: hundredths of a percent on either side.
    limit = (pl.col("percent") * 100).cast(pl.Int64) * int(rule.alert_share * 10_000)
    reached = pl.col("count") * 100_000_000 >= limit * pl.col("debits")
    near = rates.filter((pl.col("count") >= rules.codes["B43"].at_least) & reached)
    if near.is_empty():
        return NO_BREAKS
    share = (pl.col("count") * 100 / pl.col("debits")).round(2)
    started = day_start(pl.lit(first + timedelta(days=1)), rules.zone).cast(TIME)
    rows = near.with_columns(
        subject="limit",
        amount=ZERO,
        occurred_at=started,
        due_at=pl.lit(None, TIME),
        detail=pl.format("{} % of {} debits", share, "debits"),
        what=pl.format("{} %", "percent"),
        **{name: pl.lit(None, pl.String) for name in ("payment_guid", "account_number", "invoice_number")},
    )
    return build(
        "B43",
        rules,
        rows,
        facts=("count", "detail", "what"),
        evidence={"rate": ["limit", "count", "detail", "what"]},
    )
