"""The verdict on each payment: what should stand in the books, which break it is, in which state it ends.

Order per payment: AMBIGUOUS, duplicate (B03), status (B09), reference (B08), reversal without return (B17), fee,
amount and its split (B06, B05, B07), then what was pushed against what is reported (B09, B08, B05), missing (B01).
One of these at most; and SUGGESTED in place of B01, where that is all and one posting may be it (suggestions.py).
Besides it a payment may be a second one of its kind (B04), unsettled (B10), have an unposted or duplicate return
(B16, B20), be misdirected: made for an invoice that was dead by then (B30), or be drawn by AutoPay beside another
payment or after the payer had left it (B35).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile import clock_shift, suggestions
from tasks.reconcile.banking_days import BankingCalendar
from tasks.reconcile.dues import known_to, with_books, with_dues
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.model import MONEY, TIME, ZERO
from tasks.reconcile.rules import Rules

_SUMS = [
    "paid",
    "suspense",
    "reversed_paid",
    "reversed_suspense",
    "settled_amount",
    "went_back",
    "returned_amount",
    "disputed_amount",
    "refunded_amount",
    "won_amount",
    "receivable_amount",
    "given_back_amount",
]
_FURTHER = ["doubled", "unsettled", "unreversed", "returned_twice", "misdirected", "overdrawn"]
_COUNTS = [
    "n_paid",
    "n_suspense",
    "n_reversed_paid",
    "n_reversed_suspense",
    "n_refused",
    "n_settled",
    "n_returns",
]


def weigh(work: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Adds what stands in the books and what should to `work` (payments with what was claimed for them)."""
    # Rows that nothing touched have nulls from the joins: zero money, zero rows.
    work = work.with_columns(
        *(pl.col(name).fill_null(ZERO) for name in _SUMS),
        *(pl.col(name).fill_null(0) for name in _COUNTS),
        pl.col("was_dead", "moved").fill_null(False),
    )
    return with_books(work, rules)


def judge(
    work: pl.DataFrame, coverage: Coverage, rules: Rules, calendar: BankingCalendar, as_of: datetime
) -> pl.DataFrame:
    """Adds the verdict columns to `work` (weighed, with `doubled`, `overdrawn`, `clock_shift` and suggestions.find)."""
    work = with_dues(work, coverage, rules, calendar, as_of)
    free = ~(pl.col("ambiguous") | pl.col("is_refund"))
    work = work.with_columns(booked_code=_posting_code(rules))
    said = pl.when(free & pl.col("booked_code").is_null() & (pl.col("push_code") != "")).then("push_code")
    work = work.with_columns(unsettled=_unsettled(), unreversed=_unreversed(), misdirected=_misdirected())
    missing = free & _missing() & ~pl.col("clock_shift")
    alone = pl.coalesce("booked_code", said, "further_codes").is_null() & ~pl.any_horizontal(_FURTHER)
    work = work.with_columns(
        suggested=(missing & alone & suggestions.in_time(rules, calendar, as_of)).fill_null(False),
        suggestion_lapses=suggestions.until(rules, calendar),
    )
    missing_code = pl.when(missing & ~pl.col("suggested")).then(pl.lit("B01"))
    work = work.with_columns(
        posting_code=pl.coalesce("booked_code", said, missing_code),
        way=pl.when(said.is_not_null()).then("push_way"),
    )
    code_columns = [
        pl.col("posting_code"),
        pl.when("doubled").then(pl.lit("B04")),
        pl.when("unsettled").then(pl.lit("B10")),
        pl.when("unreversed").then(pl.lit("B16")),
        pl.when("returned_twice").then(pl.lit("B20")),
        pl.when("misdirected").then(pl.lit("B30")),
        pl.when("overdrawn").then(pl.lit("B35")),
        pl.col("further_codes"),
    ]
    codes = pl.concat_str(code_columns, separator=",", ignore_nulls=True)
    work = work.with_columns(break_codes=pl.when(~pl.col("ambiguous") & (codes != "")).then(codes))
    return work.with_columns(_state(rules, as_of)).unnest("verdict")


def _posting_code(rules: Rules) -> pl.Expr:
    """The class that IMT's postings of the payment show, if any."""
    tolerance = pl.lit(str(rules.tolerance)).cast(MONEY)
    gap = pl.col("difference").abs()
    posted = pl.col("n_posted") > 0
    live = pl.col("n_posted").cast(pl.Int64) - pl.col("n_reversed")
    # A split payment may be posted in one sum or line by line.
    expected_count = pl.when(pl.col("should") > ZERO).then("n_lines").otherwise(0)
    again = (pl.col("n_lines") > 1) & (pl.col("net") >= pl.col("should") + pl.col("should"))
    twice = (pl.col("n_paid") > 1) & ((live > expected_count) | again) & (pl.col("difference") > tolerance)
    conflict = (
        pl.when("accepted").then(~posted & (pl.col("n_refused") > 0)).otherwise(pl.col("net") > tolerance)
    )
    off = pl.col("accepted") & posted & (gap > tolerance) & ~_awaits_return()
    is_fee = gap == pl.col("convenience_fee")
    whole = pl.col("accepted") & (pl.col("net") == pl.col("expected")) & (pl.col("n_paid") > 0)
    misplaced = whole & (pl.col("misplaced") > tolerance).fill_null(False)
    return (
        pl.when(pl.col("ambiguous") | pl.col("is_refund")).then(None)
        .when(twice).then(pl.lit("B03"))
        .when(conflict).then(pl.lit("B09"))
        .when(pl.col("accepted") & pl.col("wrong_reference").fill_null(False)).then(pl.lit("B08"))
        .when(off & pl.col("unsupported").fill_null(False)).then(pl.lit("B17"))
        .when(off & is_fee.fill_null(False)).then(pl.lit("B06"))
        .when(off).then(pl.lit("B05"))
        .when(misplaced).then(pl.lit("B07"))
    )  # fmt: skip


def _missing() -> pl.Expr:
    unposted = pl.col("accepted") & ~(pl.col("n_posted") > 0)
    return unposted & pl.col("posting_overdue") & pl.col("posting_proven")


def _awaits_return() -> pl.Expr:
    """Fully posted, then reversed without a return so far: IMT may know of it before the feed does."""
    was_right = pl.col("posted") == pl.col("expected")
    return was_right & (pl.col("n_reversed") > 0) & (pl.col("back") == ZERO) & ~pl.col("return_news_overdue")


def _unsettled() -> pl.Expr:
    nothing_back = (pl.col("n_returns") == 0) & (pl.col("went_back") == ZERO)
    open_ = pl.col("accepted") & ~pl.col("is_refund") & (pl.col("n_settled") == 0) & nothing_back
    return open_ & pl.col("settlement_proven") & ~pl.col("ambiguous")


def _unreversed() -> pl.Expr:
    """A return of money that still stands in the books. What was never posted cannot be reversed (B01)."""
    open_ = (pl.col("n_returns") > 0) & ~pl.col("return_reversed") & (pl.col("n_posted") > 0)
    return open_ & pl.col("reversal_overdue") & pl.col("reversal_proven") & ~pl.col("ambiguous")


def _misdirected() -> pl.Expr:
    """For an invoice that was dead when it was paid, and neither on its successor nor in suspense. Money
    that went back to the payer needs no new place."""
    waits = (pl.col("n_suspense") > pl.col("n_reversed_suspense")) & (
        pl.col("n_paid") <= pl.col("n_reversed_paid")
    )
    ours = pl.col("accepted") & ~pl.col("is_refund") & ~pl.col("ambiguous")
    return ours & pl.col("was_dead") & ~pl.col("moved") & ~waits & (pl.col("back") < pl.col("expected"))


def _state(rules: Rules, as_of: datetime) -> pl.Expr:
    """Struct `verdict`: state, state_reason, due_by. The first line that fits decides."""
    now = pl.lit(as_of, TIME)
    returned, posted = pl.col("n_returns") > 0, pl.col("n_posted") > 0
    came_back = pl.col("return_reversed") & (pl.col("should") < pl.col("expected"))
    unsettled = pl.col("n_settled") == 0
    taken_back = pl.col("back_kind").is_in(["REJECT", "CHARGEBACK"]).fill_null(False) & ~pl.col(
        "return_reversed"
    )
    disputed = posted & (pl.col("disputed_amount") > ZERO) & ~pl.col("return_reversed")
    receivable = disputed & (pl.col("receivable_amount") >= pl.col("disputed_amount"))
    given_back = (pl.col("back") == pl.col("expected")) & (pl.col("given_back_amount") >= pl.col("expected"))
    final = (pl.col("final_at") <= now) & (pl.col("settled_amount") == pl.col("payment_amount"))
    held = pl.format(
        "held: settlements not complete since {}",
        known_to("settlements_to", as_of).dt.strftime("%Y-%m-%d %H:%MZ").fill_null("the payment"),
    )
    back = (
        pl.when(returned)
        .then(pl.format("returned {}, reversed", "return_code"))
        .otherwise(
            pl.format("{}, reversed", pl.coalesce("back_kind", _exported(), "status").str.to_lowercase())
        )
    )
    in_books = pl.when(pl.col("n_paid") > 0).then(pl.lit("posted")).otherwise(pl.lit("in suspense"))
    settled = (
        pl.when(pl.col("settled_amount") == pl.col("payment_amount"))
        .then(pl.format("{} and settled", in_books))
        .otherwise(pl.format("{}; settled {} of {} USD", in_books, "settled_amount", "payment_amount"))
    )
    waits_return = posted & (pl.col("net") != pl.col("should")) & _awaits_return()
    unposted_held = pl.lit("held: postings not complete to the payment's due time")
    lines: list[tuple[pl.Expr, str, pl.Expr, pl.Expr | None]] = [
        (pl.col("ambiguous"), "AMBIGUOUS", pl.lit("more than one candidate on either side"), None),
        (pl.col("break_codes").is_not_null(), "BROKEN", pl.col("break_codes"), None),
        (pl.col("suggested"), "SUGGESTED", suggestions.WORDS, pl.col("suggestion_lapses")),
        (pl.col("is_refund"), "EXPLAINED", pl.lit("refund of another payment"), None),
        (~pl.col("accepted"), "EXPLAINED", _not_accepted(rules), None),
        (posted & came_back, "EXPLAINED", back, None),
        (~posted & pl.col("clock_shift"), "IN_FLIGHT", pl.lit(clock_shift.REASON), None),
        (~posted & ~pl.col("posting_overdue"), "IN_FLIGHT", pl.lit("not posted yet"), pl.col("posting_due")),
        (~posted, "IN_FLIGHT", unposted_held, None),
        (returned & ~pl.col("return_reversed"), "IN_FLIGHT",
         pl.format("returned {}, not reversed yet", "return_code"), pl.col("reversal_due")),
        (waits_return, "IN_FLIGHT", pl.lit("reversed, no return reported yet"), pl.col("return_news_due")),
        (receivable, "EXPLAINED", pl.lit("charged back, booked as a receivable"), None),
        (disputed, "IN_FLIGHT", pl.lit("charged back, not reversed yet"), None),
        (given_back, "EXPLAINED", pl.lit("refunded, reversed"), None),
        (taken_back, "IN_FLIGHT",
         pl.format("{} settled, not reported yet", pl.col("back_kind").str.to_lowercase()), None),
        (unsettled & pl.col("settlement_overdue"), "IN_FLIGHT", held, None),
        (unsettled, "IN_FLIGHT", pl.format("{}, not settled yet", in_books), pl.col("settlement_due")),
        (final, "MATCHED_FINAL", settled, None),
    ]  # fmt: skip
    state, reason, due = pl.lit("MATCHED_PROVISIONAL"), settled, pl.col("final_at")
    nothing = pl.lit(None, TIME)
    for test, name, why, when in reversed(lines):
        state = pl.when(test).then(pl.lit(name)).otherwise(state)
        reason = pl.when(test).then(why).otherwise(reason)
        due = pl.when(test).then(nothing if when is None else when).otherwise(due)
    return pl.struct(state=state, state_reason=reason, due_by=due).alias("verdict")


def _exported() -> pl.Expr:
    """What the portal's exports say of the payment."""
    disputed = pl.when(pl.col("disputed_amount") > ZERO).then(pl.lit("charged back"))
    return pl.coalesce(disputed, pl.when(pl.col("refunded_amount") > ZERO).then(pl.lit("refunded")))


def _not_accepted(rules: Rules) -> pl.Expr:
    said = pl.when(pl.col("status").is_in(list(rules.void_statuses))).then(
        pl.col("status").str.to_lowercase()
    )
    word = said.fill_null("declined")
    return pl.when(pl.col("n_reversed") > 0).then(pl.format("{}, posted and reversed", word)).otherwise(word)
