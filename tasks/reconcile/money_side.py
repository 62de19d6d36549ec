"""The further money side: returns in detail, chargebacks, refunds, suspense, rates. Breaks, what is held back, and the
codes that the payments' own verdicts bear."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tasks.reconcile import chargeback_breaks, refund_breaks, return_breaks, return_rates, suspense
from tasks.reconcile.banking_days import BankingCalendar
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.model import Inputs
from tasks.reconcile.postings import Books
from tasks.reconcile.returns import Returned
from tasks.reconcile.rules import Rules
from tasks.reconcile.taken_back import TakenBack


@dataclass(frozen=True)
class MoneySide:
    """breaks · held: rows held back per class (column amount) · codes: per item `further_codes` (text, sorted)
    and `unsupported` · reversals: those of B17, told once the verdicts stand."""

    breaks: pl.DataFrame
    held: dict[str, pl.DataFrame]
    codes: pl.DataFrame
    reversals: pl.DataFrame


def find(
    data: Inputs,
    taken: TakenBack,
    returned: Returned,
    books: Books,
    work: pl.DataFrame,
    coverage: Coverage,
    rules: Rules,
    calendar: BankingCalendar,
    as_of: datetime,
) -> MoneySide:
    """`work`: payments as weighed, before their verdicts."""
    rows = return_breaks.claimed(returned, work, rules, calendar)
    disputes = chargeback_breaks.unposted(taken, coverage, rules, calendar, as_of)
    refunds = refund_breaks.one_sided(taken, work, data.settlements, coverage, rules, calendar, as_of)
    aged = suspense.aged(data.postings, books, coverage, rules, calendar, as_of)
    per_item = {
        "B19": return_breaks.amounts(rows, rules),
        "B21": return_breaks.late(rows, data.periods, rules),
        "B22": return_breaks.untimely(rows, rules, calendar),
        "B23": (disputes[0], disputes[2]),
        "B24": (refunds[0], refunds[2]),
    }
    reversals = return_breaks.unsupported(taken, returned, work, coverage, rules, calendar, as_of)
    breaks = [found for found, _ in per_item.values()] + [
        aged[0],
        return_rates.alerts(rows, work, rules, as_of),
    ]
    held = {"B23": disputes[1], "B24": refunds[1], "B41": aged[1]}
    return MoneySide(pl.concat(breaks), held, _codes(per_item, reversals), reversals)


def _codes(per_item: dict[str, return_breaks.Found], reversals: pl.DataFrame) -> pl.DataFrame:
    marked = [
        items.select(pl.col("item").cast(pl.UInt32), code=pl.lit(code))
        for code, (_, items) in per_item.items()
    ]
    codes = (
        pl.concat(marked)
        .sort("item", "code")
        .group_by("item")
        .agg(further_codes=pl.col("code").str.join(","))
    )
    known = (
        reversals.select(pl.col("item").cast(pl.UInt32)).drop_nulls().unique().with_columns(unsupported=True)
    )
    return codes.join(known, on="item", how="full", coalesce=True)
