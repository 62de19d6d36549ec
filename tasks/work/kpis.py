"""The figures of a run that finance steers by (domain.md 1D): match rates, breaks by age, times, money unexplained.

A figure that has nothing to measure has no value; it is never 0 or 1 instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar
from tasks.work.ageing import banking_days, in_buckets
from tasks.work.model import DECIDED, KPIS, RATE

# What a posting itself shows to be wrong: such a payment was found by a key, and yet does not match.
_MISMATCHES = ("B03", "B05", "B06", "B07", "B08", "B09")
_EXCEPTIONS = ("BROKEN", "AMBIGUOUS", "SUGGESTED")
_HOUR = 3_600_000_000  # microseconds
Figure = tuple[str, str | None, Decimal | None, str]


@dataclass(frozen=True)
class Facts:
    """What the figures are made of. items: state, match_rule, break_codes, rows, payment_amount of approved money in;
    breaks, polls, totals, deposits as in tasks.reconcile.model (breaks with their history); standing: break_id,
    work_state; decisions: break_id, decided_at."""

    items: pl.DataFrame
    breaks: pl.DataFrame
    polls: pl.DataFrame
    totals: pl.DataFrame
    standing: pl.DataFrame
    decisions: pl.DataFrame
    deposits: pl.DataFrame = field(default_factory=pl.DataFrame)


def kpis(
    facts: Facts, run_id: str, as_of: datetime, zone: str, calendar: BankingCalendar | None = None
) -> pl.DataFrame:
    """One row per figure (KPIS), in order. Shares are between 0 and 1, money is USD, times are hours."""
    days = calendar or BankingCalendar()
    breaks = facts.breaks.join(facts.standing, on="break_id", how="left").with_columns(
        untouched=pl.col("work_state").is_null(), work_state=pl.col("work_state").fill_null("open")
    )
    figures: list[Figure] = [
        *_matching(facts.items),
        *_breaks(breaks, facts.decisions),
        *_open(breaks, as_of, zone, days),
        *_deposits(facts.deposits),
        *_pushes(facts.totals),
        *_return_rates(facts.totals),
        *_suspense(facts.totals),
        *_feeds(facts.polls, as_of),
    ]
    rows = [(run_id, as_of, rank, *figure) for rank, figure in enumerate(figures)]
    return pl.DataFrame(rows, schema=dict(KPIS), orient="row")


def _matching(items: pl.DataFrame) -> Iterator[Figure]:
    """Matchable: approved money in that is matched by a key or an exception; what is not due yet is neither."""
    exception, keyed = pl.col("state").is_in(_EXCEPTIONS), pl.col("match_rule").is_not_null()
    wrong = pl.col("break_codes").fill_null("").str.contains_any(list(_MISMATCHES))
    matchable = items.filter(keyed | exception)
    matched = matchable.filter(keyed & ~wrong & ~pl.col("state").is_in(["AMBIGUOUS", "SUGGESTED"]))
    broken = matchable.filter(exception)
    for name, part in (("auto_match_rate", matched), ("exception_rate", broken)):
        yield name, "rows", _share(_count(part), _count(matchable)), "share"
        yield name, "amount", _share(_sum(part, "payment_amount"), _sum(matchable, "payment_amount")), "share"


def _breaks(breaks: pl.DataFrame, decisions: pl.DataFrame) -> Iterator[Figure]:
    """False: gone by itself, without anybody's word. Resolved: gone, or decided by a person; the earlier counts."""
    cleared = breaks.filter((pl.col("state") == "closed") & pl.col("untouched"))
    yield "false_break_rate", None, _share(Decimal(cleared.height), Decimal(breaks.height)), "share"
    detected = breaks.select(
        took=(pl.col("opened_at") - pl.col("occurred_at")).clip(lower_bound=pl.duration())
    )
    yield "time_to_detect", "mean", _mean_hours(detected), "hours"
    done = (pl.col("state") == "closed") | pl.col("work_state").is_in([*DECIDED, "signed_off"])
    ended = breaks.filter(done).join(decisions, on="break_id", how="left")
    end = pl.min_horizontal("decided_at", "closed_at")
    yield "time_to_resolve", "mean", _mean_hours(ended.select(took=end - pl.col("opened_at"))), "hours"


def _open(breaks: pl.DataFrame, as_of: datetime, zone: str, days: BankingCalendar) -> Iterator[Figure]:
    """Breaks that the run found, by age; those nobody decided; days since they were found without a sign-off."""
    found = breaks.filter(pl.col("state") == "open")
    since = pl.coalesce("occurred_at", "opened_at")
    aged = found.with_columns(days=banking_days(since, as_of, zone, days))
    by_age = in_buckets(aged).rows(named=True)
    for row in by_age:
        yield "open_value", row["bucket"], row["amount"], "USD"
    for row in by_age:
        yield "open_breaks", row["bucket"], Decimal(row["count"]), "breaks"
    undecided = found.filter(pl.col("work_state").is_in(["open", "in_work"])).with_columns(
        pl.col("amount").abs()
    )
    yield "open_work", "amount", _sum(undecided, "amount"), "USD"
    yield "open_work", "rows", Decimal(undecided.height), "breaks"
    unsigned = breaks.filter(
        ((pl.col("state") == "open") & (pl.col("work_state") != "signed_off"))
        | pl.col("work_state").is_in(DECIDED)
    ).select(days=banking_days(pl.col("opened_at"), as_of, zone, days))["days"]
    yield "unsigned", "rows", Decimal(unsigned.len()), "breaks"
    mean = _share(Decimal(int(unsigned.sum())), Decimal(unsigned.len()))
    yield "days_unsigned", "mean", mean, "banking days"
    largest = Decimal(int(unsigned.max())) if unsigned.len() else None  # type: ignore[arg-type]
    yield "days_unsigned", "largest", largest, "banking days"


def _deposits(deposits: pl.DataFrame) -> Iterator[Figure]:
    """Money of deposits that no named part explains; the target is 0.00. Nothing where no bank line was loaded."""
    if not deposits.height:
        return
    residual = deposits.with_columns(pl.col("residual_amount").abs())
    yield "unexplained_money", "amount", _sum(residual, "residual_amount"), "USD"
    yield "unexplained_money", "largest", residual["residual_amount"].max(), "USD"  # type: ignore[misc]
    off = residual.filter(pl.col("residual_amount") > 0).height
    yield "unexplained_deposits", "rows", Decimal(off), "deposits"


def _pushes(totals: pl.DataFrame) -> Iterator[Figure]:
    """Payments first seen by poll, of all that should have been pushed; nothing where no push is expected."""
    counted = dict(totals.filter(pl.col("kind") == "pushed").select("name", "rows").iter_rows())
    if counted.get("reported"):
        yield (
            "push_loss_rate",
            "rows",
            _share(Decimal(counted["lost"]), Decimal(counted["reported"])),
            "share",
        )


def _return_rates(totals: pl.DataFrame) -> Iterator[Figure]:
    """Of the debits of the rule's days (by origination, domain fact 37) those that came back, per limit of Nacha; nothing
    where no debit was originated. Counted by the run (kind returns: debits, and each limit's name), never here."""
    counted = dict(totals.filter(pl.col("kind") == "returns").select("name", "rows").iter_rows())
    debits = counted.pop("debits", 0)
    for limit in sorted(counted) if debits else ():
        yield "return_rate", limit, _share(Decimal(counted[limit]), Decimal(debits)), "share"


def _suspense(totals: pl.DataFrame) -> Iterator[Figure]:
    """Money in suspense that nobody has placed, as class B41 sees it, whatever its age."""
    rows = totals.filter(pl.col("kind") == "suspense")
    held = {
        name: (count, amount) for name, count, amount in rows.select("name", "rows", "amount").iter_rows()
    }
    count, amount = held.get("unplaced", (0, Decimal("0.00")))
    yield "suspense", "amount", amount, "USD"
    yield "suspense", "rows", Decimal(count), "postings"
    yield "suspense_oldest", None, Decimal(held["oldest"][0]) if "oldest" in held else None, "banking days"


def _feeds(polls: pl.DataFrame, as_of: datetime) -> Iterator[Figure]:
    """How old what is known of each feed is: the moment up to which its newest good answer tells."""
    reached = pl.coalesce("covered_to", "window_to", "requested_at")
    newest = polls.filter(pl.col("status") == "ok").group_by("feed").agg(at=reached.max()).sort("feed")
    aged = newest.with_columns(
        took=(pl.lit(as_of, newest.schema["at"]) - pl.col("at")).clip(lower_bound=pl.duration())
    )
    for feed, took in aged.select("feed", pl.col("took").dt.total_microseconds()).iter_rows():
        yield "feed_freshness", feed, _hours(took), "hours"


def _count(sums: pl.DataFrame) -> Decimal:
    return Decimal(int(sums["rows"].sum()))


def _sum(rows: pl.DataFrame, column: str) -> Decimal:
    found = rows.select(pl.col(column).cast(pl.Decimal(38, 2)).sum()).item()
    return Decimal("0.00") if found is None else found


def _share(part: Decimal, whole: Decimal) -> Decimal | None:
    """Exact to the sixth place; None where there is nothing to share."""
    return (part / whole).quantize(Decimal(1).scaleb(-_places())) if whole else None


def _mean_hours(rows: pl.DataFrame) -> Decimal | None:
    took = rows["took"].drop_nulls().dt.total_microseconds()
    return _hours(int(took.sum()) // took.len()) if took.len() else None


def _hours(microseconds: int) -> Decimal:
    return (Decimal(microseconds) / _HOUR).quantize(Decimal("0.01"))


def _places() -> int:
    return RATE.scale
