"""SUGGESTED: a payment that would be missing (B01) and the one unclaimed posting that may be it, by a weak key.

Weak keys lie below key3 and are data ([suggestions.keys]); the amount is always the same. Nothing is matched by them:
a person confirms one by writing the payment's GUID on the posting in IMT. A posting and a payment are suggested if
neither fits anything else under any weak key that is in force. Two GUIDs or two processor references that differ are
two payments, whatever else they share; a posting taken back stands no more, and is no candidate.

The money is told once: while a suggestion stands, it is neither B01 on the payment nor B02 on the posting. It hides
nothing for ever: not taken up within `after_banking_days` both are breaks, and B01 names the candidate. So it is at
once where the payment has a further break, for then it is BROKEN and no suggestion. A payment split over invoices is
looked for with its whole amount, and under its first line's invoice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_date, local_day
from tasks.reconcile.breaks import masked
from tasks.reconcile.keys import pair_once, reference_key, without
from tasks.reconcile.model import POSTINGS, SUGGESTIONS, TIME, Schema, empty
from tasks.reconcile.postings import Books
from tasks.reconcile.rules import Rules, WeakKey

_POSTING = ["posting_id", "kind", "amount", "posted_at", "effective_date", "account_number", "invoice_number"]
_POSTING += ["processor_reference", "reason"]
_FOUND: Schema = {
    "item": pl.UInt32, "candidate_row": pl.UInt32, "candidate_key": pl.String, "candidate_rank": pl.Int32,
    "candidate": pl.Struct({name: POSTINGS[name] for name in _POSTING}), "candidate_words": pl.String,
}  # fmt: skip
_TAKES_BACK = ("REVERSAL", "REFUND", "TRANSFER")
_POSTING_ID = pl.col("candidate").struct.field("posting_id")
WORDS = pl.format("IMT posting {} may be it: {}", _POSTING_ID, "candidate_words")


def find(
    work: pl.DataFrame, books: Books, postings: pl.DataFrame, rules: Rules, as_of: datetime
) -> pl.DataFrame:
    """item, candidate_row, candidate_key, candidate_rank, candidate_words, and `candidate`: the posting, a struct.

    `work` is weighed, with `clock_shift`. All payments that nothing is posted for compete, due or not.
    """
    open_ = pl.col("accepted") & ~pl.col("is_refund") & ~pl.col("clock_shift") & (pl.col("n_posted") == 0)
    pool, free = work.filter(open_), _standing(books, postings)
    if pool.is_empty() or free.is_empty():
        return empty(_FOUND)
    keys = sorted(
        (rule.rank, name) for name, rule in rules.suggestions.keys.items() if rule.expiry >= as_of.date()
    )
    left, right = _payments(pool), _postings(free, rules.zone)
    found, items, rows = [], [], []
    for rank, name in keys:
        for pairs, shared_items, shared_rows in _paired(left, right, rules.suggestions.keys[name]):
            found.append(
                pairs.with_columns(candidate_key=pl.lit(name), candidate_rank=pl.lit(rank, pl.Int32))
            )
            items.append(shared_items)
            rows.append(shared_rows)
    none = pl.DataFrame(
        schema={"item": pl.UInt32, "row": pl.UInt32, "candidate_key": pl.String, "candidate_rank": pl.Int32}
    )
    pairs = without(without(pl.concat([none, *found]), "item", *items), "row", *rows)
    pairs = pairs.sort("candidate_rank", "candidate_key").unique(
        ["item", "row"], keep="first", maintain_order=True
    )
    lone = pairs.filter(~pl.col("item").is_duplicated() & ~pl.col("row").is_duplicated())
    words = {name: rule.words for name, rule in rules.suggestions.keys.items()}
    return (
        lone.join(free.select("row", candidate=pl.struct(_POSTING)), on="row")
        .with_columns(candidate_words=pl.col("candidate_key").replace_strict(words, return_dtype=pl.String))
        .rename({"row": "candidate_row"})
    )


def _standing(books: Books, postings: pl.DataFrame) -> pl.DataFrame:
    back = postings.filter((pl.col("status") == "POSTED") & pl.col("kind").is_in(_TAKES_BACK))
    named = back.select(posting_id="reverses_posting_id").drop_nulls()
    return books.unclaimed.join(named, on="posting_id", how="anti")


def _paired(
    left: pl.DataFrame, right: pl.DataFrame, rule: WeakKey
) -> Iterator[tuple[pl.DataFrame, pl.Series, pl.Series]]:
    """Pairs (item, row) of one key, and the items and rows that fit several; in three parts, so that a posting with
    a reference meets those payments alone that have none or the same."""
    on = ["amount", *rule.same]
    named = pl.col("guid_plain").is_not_null()
    right = right.filter(named if "guid_plain" in rule.same else ~named)
    left = left.join(right.select(on).unique(), on=on, how="semi")
    right = right.join(left.select(on).unique(), on=on, how="semi")
    if left.is_empty():
        return
    shifts = [f"{shift}d" for shift in range(-rule.within_days, rule.within_days + 1)]
    around = pl.concat_list([pl.col("day").dt.offset_by(shift) for shift in shifts])
    right = right.explode("day").with_columns(day=around).explode("day")
    said = pl.col("reference_plain").is_not_null()
    by_reference = [*dict.fromkeys([*on, "reference_plain"]), "day"]
    for payments, rows, key in (
        (left, right.filter(~said), [*on, "day"]),
        (left.filter(~said), right.filter(said), [*on, "day"]),
        (left.filter(said), right.filter(said), by_reference),
    ):
        paired = pair_once(payments.select("item", *key), rows.select("row", *key), key)
        yield paired.pairs, paired.left_ambiguous, paired.right_ambiguous


def _payments(pool: pl.DataFrame) -> pl.DataFrame:
    crossed = {
        "account_as_invoice": reference_key("account_number"),
        "invoice_as_account": reference_key("invoice_number"),
    }
    return pool.select("item", amount="expected", day="local_date", **_keys(), **crossed)


def _postings(free: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Under two days, of effect and of booking."""
    crossed = {
        "account_as_invoice": reference_key("invoice_number"),
        "invoice_as_account": reference_key("account_number"),
    }
    days = pl.concat_list([pl.col("effective_date"), local_date(pl.col("posted_at"), zone)])
    return free.select("row", "amount", day=days, **_keys(), **crossed)


def _keys() -> dict[str, pl.Expr]:
    """Every column that a weak key may name, those of crossed ones apart."""
    return {
        "account": reference_key("account_number"),
        "invoice": reference_key("invoice_number"),
        "account_digits": _bare("account_number", "[^0-9]"),
        "invoice_digits": _bare("invoice_number", "[^0-9]"),
        "reference_plain": _bare("processor_reference", "[^a-z0-9]"),
        "guid_plain": _bare("payment_guid", "[^a-z0-9]"),
    }


def _bare(column: str, noise: str) -> pl.Expr:
    """Without the signs of `noise` and without leading zeros; nothing left is null and never joins."""
    text = pl.col(column).str.to_lowercase().str.replace_all(noise, "").str.strip_chars_start("0")
    return pl.when(text != "").then(text)


def until(rules: Rules, calendar: BankingCalendar) -> pl.Expr:
    """When a suggestion lapses (UTC): the banking days are counted from the day on which the payment was due in the
    books, or from that of the posting where it came later."""
    day = local_date(_since(), rules.zone)
    return day_start(calendar.add(day, rules.suggestions.after_banking_days + 1), rules.zone).cast(TIME)


def in_time(rules: Rules, calendar: BankingCalendar, as_of: datetime) -> pl.Expr:
    """Is there a candidate, and is the time not over in which a person may take it up?"""
    today: date = local_day(as_of, rules.zone)
    age = calendar.between(local_date(_since(), rules.zone), pl.lit(today))
    return pl.col("candidate_row").is_not_null() & (age <= rules.suggestions.after_banking_days).fill_null(
        False
    )


def _since() -> pl.Expr:
    return pl.max_horizontal("posting_due", pl.col("candidate").struct.field("posted_at"))


def held_back(books: Books, work: pl.DataFrame) -> Books:
    """Books without the postings of suggestions that stand: their money is told with the payment."""
    rows = work.filter("suggested")["candidate_row"]
    return replace(books, unclaimed=without(books.unclaimed, "row", rows))


def suggested(work: pl.DataFrame) -> pl.DataFrame:
    """SUGGESTIONS of the judged payments: one row per payment, that is one of each state SUGGESTED."""
    rows = work.filter("suggested")
    if rows.is_empty():
        return empty(SUGGESTIONS)
    posting = pl.col("candidate").struct
    rows = rows.with_columns(
        posting_id=posting.field("posting_id"),
        posting_kind=posting.field("kind"),
        posted_at=posting.field("posted_at"),
        posted_account=posting.field("account_number"),
        posted_invoice=posting.field("invoice_number"),
        rule="candidate_key",
        rank="candidate_rank",
        amount="expected",
        take_up_by="due_by",
    ).sort("rank", "payment_guid")
    reason = pl.format(
        "IMT posting {} of {} USD (account {}, invoice {}) may be payment {} (account {}, invoice {}): {}.",
        "posting_id", "amount", masked("posted_account").fill_null("-"), pl.col("posted_invoice").fill_null("-"),
        pl.col("payment_guid").fill_null("-"), masked("account_number").fill_null("-"),
        pl.col("invoices").fill_null("-"), "candidate_words",
    )  # fmt: skip
    return rows.with_columns(reason=reason).select(
        pl.col(name).cast(kind) for name, kind in SUGGESTIONS.items()
    )
