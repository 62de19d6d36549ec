"""The further money side: returns in detail, chargebacks, refunds, suspense, rates. Breaks, what is held back, and the
codes that the payments' own verdicts bear."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tasks.reconcile import chargeback_breaks, refund_breaks, return_breaks, return_rates, suspense
from tasks.reconcile.apart import Apart
from tasks.reconcile.banking_days import BankingCalendar
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.model import TOTALS, ZERO, Inputs, Schema, empty
from tasks.reconcile.postings import Books
from tasks.reconcile.returns import Returned
from tasks.reconcile.rules import Rules
from tasks.reconcile.taken_back import TakenBack

_CODES: Schema = {"item": pl.UInt32, "further_codes": pl.String, "unsupported": pl.Boolean}


@dataclass(frozen=True)
class MoneySide:
    """breaks · held: rows held back per class (column amount) · codes: per item `further_codes` (text, sorted)
    and `unsupported` · reversals: those of B17, told once the verdicts stand · figures:
    kind, name, rows, amount of return rates and suspense (recon.totals)."""

    breaks: pl.DataFrame
    held: dict[str, pl.DataFrame]
    codes: pl.DataFrame
    reversals: pl.DataFrame
    figures: pl.DataFrame


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
    apart: Apart,
) -> MoneySide:
    """`work`: payments as weighed, before their verdicts; `apart`: those judged apart."""
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
    rates = return_rates.counted(rows, work, apart, rules, as_of)
    breaks = [found for found, _ in per_item.values()]
    breaks += [aged[0], return_rates.alerts(rates, rules, as_of)]
    held = {"B23": disputes[1], "B24": refunds[1], "B41": aged[1]}
    figures = _figures(rates, aged[2])
    return MoneySide(pl.concat(breaks), held, _codes(per_item, reversals), reversals, figures)


def _figures(rates: pl.DataFrame, waiting: pl.DataFrame) -> pl.DataFrame:
    """Debits and those that came back, per limit; money in suspense, and the banking days of the oldest."""
    nothing = {"kind": pl.lit("returns"), "amount": ZERO}
    parts = [
        rates.select(name=pl.lit("debits"), rows="debits", **nothing).head(1),
        rates.select(name="limit", rows="count", **nothing),
        waiting.select(
            name=pl.lit("unplaced"), rows=pl.len(), kind=pl.lit("suspense"), amount=pl.col("amount").sum()
        ),
        waiting.select(
            name=pl.lit("oldest"), rows=pl.col("age").max(), kind=pl.lit("suspense"), amount=ZERO
        ).drop_nulls("rows"),
    ]
    return pl.concat(
        [part.select(pl.col(name).cast(kind) for name, kind in TOTALS.items()) for part in parts]
    )


def _codes(per_item: dict[str, return_breaks.Found], reversals: pl.DataFrame) -> pl.DataFrame:
    if reversals.is_empty() and all(items.is_empty() for _, items in per_item.values()):
        return empty(_CODES)
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
