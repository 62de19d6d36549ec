"""B43: shares of returned debits near Nacha's limits, by the day of origination (domain fact 37)."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from checks import ach_codes
from tasks.reconcile.banking_days import day_start, local_day
from tasks.reconcile.breaks import build
from tasks.reconcile.model import BREAKS, TIME, ZERO, empty
from tasks.reconcile.rules import Rules


def alerts(returned: pl.DataFrame, work: pl.DataFrame, rules: Rules, as_of: datetime) -> pl.DataFrame:
    """B43 of `returned` (return_breaks.claimed), one per group (subject) whose share of the debits of the last days is at the alert share of its limit.

    Denominator: accepted debits (tenders of the rule) by their payment date; numerator: those of them that came
    back with a code of the group, each presentment once, and interbank news none. Too few returns tell nothing.
    """
    rule = rules.return_rates
    today = local_day(as_of, rules.zone)
    first = today - timedelta(days=rule.days)
    inside = (pl.col("local_date") > first) & (pl.col("local_date") <= today)
    debits = work.filter(
        inside & pl.col("accepted") & ~pl.col("is_refund") & pl.col("tender").is_in(list(rule.tenders))
    )
    if debits.is_empty():
        return empty(BREAKS)
    back = returned.join(debits.select("item"), on="item", how="semi")
    code = pl.col("return_code").str.strip_chars().str.to_uppercase()
    limits = ach_codes.limits().with_columns(every=pl.col("codes").list.len() == 0)
    hits = back.select("item", code=code).join(limits, how="cross")
    hits = hits.filter(pl.col("every") | pl.col("codes").list.contains(pl.col("code")))
    counted = hits.group_by("limit").agg(count=pl.col("item").n_unique(), percent=pl.col("percent").first())
    # count / debits >= share of the limit, in whole numbers: hundredths of a percent on either side.
    limit = (pl.col("percent") * 100).cast(pl.Int64) * int(rule.alert_share * 10_000)
    reached = pl.col("count").cast(pl.Int64) * 100_000_000 >= limit * debits.height
    near = counted.filter((pl.col("count") >= rules.codes["B43"].at_least) & reached)
    share = (pl.col("count") * 100 / debits.height).round(2)
    started = day_start(pl.lit(first + timedelta(days=1)), rules.zone).cast(TIME)
    rows = near.with_columns(
        subject="limit",
        amount=ZERO,
        occurred_at=started,
        due_at=pl.lit(None, TIME),
        detail=pl.format("{} % of {} debits", share, pl.lit(debits.height)),
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
