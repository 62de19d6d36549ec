"""Per payment: what stands in IMT's books, what should, and when each link of the chain falls due."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_date, local_day
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.model import MONEY, TIME, ZERO
from tasks.reconcile.rules import Finality, Rules, tender_days


def with_books(work: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """What stands in the books (`net`), what should (`should`), and their difference; all in USD.

    Money in suspense counts as received while no PAYMENT is posted, or once the PAYMENT was reversed because
    its invoice was dead. A return that was reversed takes its
    money out of `should`, unless a later posting shows that it was collected again.
    """
    aside = _put_aside()
    has_paid = (pl.col("n_paid") > 0) & ~aside
    all_back = (pl.col("reversed_paid") + pl.col("reversed_suspense")).cast(MONEY)
    reversed_ = (
        pl.when(has_paid).then("reversed_paid").when(aside).then("reversed_suspense").otherwise(all_back)
    )
    n_both = pl.col("n_reversed_paid") + pl.col("n_reversed_suspense")
    n_reversed = (
        pl.when(has_paid).then("n_reversed_paid").when(aside).then("n_reversed_suspense").otherwise(n_both)
    )
    declared = pl.col("status").is_in(list(rules.returned_statuses)).fill_null(False)
    exported = (pl.col("disputed_amount") + pl.col("refunded_amount")).cast(MONEY)
    back = pl.max_horizontal(
        "returned_amount", "went_back", exported, pl.when(declared).then("expected").otherwise(ZERO)
    )
    work = work.with_columns(
        posted=pl.when(has_paid).then("paid").otherwise("suspense"),
        reversed=reversed_,
        n_reversed=n_reversed,
        n_posted=pl.when(has_paid).then("n_paid").otherwise("n_suspense"),
        back=pl.min_horizontal(back, "expected"),
    )
    work = work.with_columns(net=(pl.col("posted") + pl.col("reversed")).cast(MONEY))
    after_return = local_date(pl.col("last_reversal_at"), rules.zone) >= local_date(
        pl.col("reject_date"), rules.zone
    )
    remains = (pl.col("expected") - pl.col("back")).cast(MONEY)
    undone = (
        (pl.col("back") > ZERO)
        & (pl.col("n_reversed") > 0)
        & (after_return.fill_null(False) | (pl.col("net") <= remains))
    )
    again = (pl.col("last_credit_at") > pl.col("last_reversal_at")).fill_null(False)
    work = work.with_columns(
        return_reversed=undone, should=pl.when(undone & ~again).then(remains).otherwise("expected")
    )
    return work.with_columns(difference=(pl.col("net") - pl.col("should")).cast(MONEY))


def _put_aside() -> pl.Expr:
    """Paid on a dead invoice, taken back in full, and then put in suspense: what B30 suggests."""
    in_time = (pl.col("last_credit_at") >= pl.col("last_reversal_at")).fill_null(False)
    taken_back = (pl.col("n_reversed_paid") > 0) & (pl.col("paid") + pl.col("reversed_paid") == ZERO)
    return pl.col("was_dead") & taken_back & (pl.col("n_suspense") > 0) & in_time


def with_dues(
    work: pl.DataFrame, coverage: Coverage, rules: Rules, calendar: BankingCalendar, as_of: datetime
) -> pl.DataFrame:
    """Due times (UTC) and, for each link of the chain, whether it is overdue and whether that is proven.

    Settlement: the grace is counted up to the day to which the settlements feed is complete, not to today.
    """
    zone, now = rules.zone, pl.lit(as_of, TIME)
    today = pl.lit(local_day(as_of, zone))
    hours = pl.duration(seconds=rules.codes["B01"].grace_hours * 3600)
    grace = tender_days(rules.tender_grace("B10"))
    returned_on = local_date(
        pl.when(pl.col("n_reversed") == 0).then("first_reject_at").otherwise("reject_date"), zone
    )
    reverse_grace = rules.codes["B16"].grace_banking_days
    # Column first, literal second: Polars 2.1 cuts "literal > constant column" to one row.
    work = work.with_columns(
        posting_due=pl.col("first_seen_at") + hours,
        settlement_due=day_start(calendar.add(pl.col("local_date"), grace + 1), zone),
        reversal_due=day_start(calendar.add(returned_on, reverse_grace + 1), zone),
        return_news_due=day_start(
            calendar.add(local_date(pl.col("last_reversal_at"), zone), rules.reversal_wait_banking_days + 1),
            zone,
        ),
        settlements_to=coverage.complete_to("settlements", work["payment_date"]),
        final_at=final_at(rules, calendar),
    )
    work = work.with_columns(
        returns_to=coverage.complete_to("ach_rejects", work["last_reversal_at"]),
        postings_to=coverage.complete_to("postings", work["payment_date"]),
    )
    known_day = local_date(known_to("settlements_to", as_of), zone)
    reversal_late = calendar.between(returned_on, today) > reverse_grace
    return work.with_columns(
        posting_overdue=pl.col("posting_due") < now,
        posting_proven=(pl.col("postings_to") >= pl.min_horizontal("posting_due", now)).fill_null(False),
        settlement_overdue=calendar.between(pl.col("local_date"), today) > grace,
        settlement_proven=(calendar.between(pl.col("local_date"), known_day) > grace).fill_null(False),
        reversal_overdue=reversal_late.fill_null(False),
        reversal_proven=(pl.col("postings_to") >= pl.col("reversal_due")).fill_null(False),
        return_news_overdue=(pl.col("return_news_due") <= now).fill_null(False)
        & (pl.col("returns_to") >= pl.col("return_news_due")).fill_null(False),
    )


def known_to(column: str, as_of: datetime) -> pl.Expr:
    """The earlier of `column` and `as_of`, null where `column` is: a feed never pulled stays unknown.

    min_horizontal alone passes over nulls and would make it "now", that is: complete.
    """
    return pl.when(pl.col(column).is_not_null()).then(pl.min_horizontal(column, pl.lit(as_of, TIME)))


def final_at(rules: Rules, calendar: BankingCalendar) -> pl.Expr:
    """End of the return window after the settled date (ACH rule: 60 calendar days, then 2 banking days)."""

    def end(rule: Finality) -> pl.Expr:
        last = pl.col("settled_date") + pl.duration(days=rule.calendar_days)
        return calendar.add(last, rule.banking_days) if rule.banking_days else last

    last_day = end(rules.finality["default"])
    for tender, rule in rules.finality.items():
        last_day = pl.when(pl.col("tender") == tender).then(end(rule)).otherwise(last_day)
    return day_start(last_day + pl.duration(days=1), rules.zone)
