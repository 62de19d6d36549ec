"""B39: a feed whose clock is off. What it makes seem missing is told once, with the count and the shift.

Two signs. Items that match nothing, and would if the feed's times were the zone's UTC offset or one day earlier or
later (payments beside nameless postings, nameless returns beside payments). And items matched by guid whose dates
disagree: more of them would agree after the shift than do now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from tasks.reconcile.banking_days import local_date
from tasks.reconcile.breaks import NO_BREAKS, build
from tasks.reconcile.keys import pair_once, reference_key, without
from tasks.reconcile.model import MONEY, TIME, ZERO, Schema, empty
from tasks.reconcile.postings import Books
from tasks.reconcile.returns import Returned
from tasks.reconcile.rules import Rules

REASON = "held: clock shift (B39)"
# So many of the dates agree after a shift of the clock; where IMT books evenings or weekends later, fewer do.
AGREE = 0.95
_ON = ["account", "invoice", "amount", "day"]
_SHIFTS: Schema = {
    "feed": pl.String,
    "shift": pl.String,
    "count": pl.Int64,
    "since": TIME,
    "unmatched": pl.Int64,
}


@dataclass(frozen=True)
class Shifted:
    """feeds: feed, shift (words), count, since, unmatched: one row per feed whose clock is off · items: payments
    · rows: postings · returns: rows of returns that are held for it."""

    feeds: pl.DataFrame
    items: pl.Series
    rows: pl.Series
    returns: pl.Series


def find(
    work: pl.DataFrame, books: Books, returned: Returned, apart: pl.DataFrame, rules: Rules, as_of: datetime
) -> Shifted:
    """`work` is weighed (n_posted, n_returns); `apart` (apart.CLOCK): payments that stand straight.

    Dates are compared for payments of the last days alone (within_hours): years in which the clock was right must
    not outvote the days since it is off.
    """
    zone, least = rules.zone, rules.codes["B39"].at_least
    postings, orphans = _nameless(books, zone), _orphans(returned)
    payments = _unposted(work) if postings.height else pl.DataFrame()
    open_ = _unreturned(work) if orphans.height else pl.DataFrame()
    none = pl.Series([], dtype=pl.UInt32)
    feeds, items, rows, returns = [], none, none, none
    pairs = _best(payments, postings, zone)
    since = pl.lit(as_of - timedelta(hours=rules.codes["B39"].within_hours), TIME)
    recent = pl.col("payment_date") > since
    straight = apart.filter(recent).select(
        "rows", effective_date="posted_on", local_date="payment_day", at="payment_date"
    )
    dates = _disagreeing(books.claims, work.filter(recent), straight, zone)
    if found := _told("payments", pairs, dates, least):
        feeds.append(found[0])
        items, rows = found[1]["item"], found[1]["row"]
    elif found := _told("ach_rejects", _best(orphans, open_, zone), {}, least):
        feeds.append(found[0])
        returns = found[1]["item"]
    told = pl.concat(feeds) if feeds else empty(_SHIFTS)
    return Shifted(told, items, rows, returns)


def held_back(books: Books, returned: Returned, shifted: Shifted) -> tuple[Books, Returned]:
    """Books and returns without what a clock's shift alone makes seem missing."""
    books = replace(books, unclaimed=without(books.unclaimed, "row", shifted.rows))
    return books, replace(returned, orphans=without(returned.orphans, "row", shifted.returns))


def shift_breaks(shifted: Shifted, rules: Rules) -> pl.DataFrame:
    """One B39 per feed; amount 0.00, for nothing is known to be missing."""
    if shifted.feeds.is_empty():
        return NO_BREAKS
    nobody = {name: pl.lit(None, pl.String) for name in ("payment_guid", "account_number", "invoice_number")}
    rows = shifted.feeds.with_columns(
        **nobody,
        subject="feed",
        amount=ZERO.cast(MONEY),
        occurred_at="since",
        due_at=pl.lit(None, TIME),
        what="shift",
    )
    evidence = {"shift": ["feed", "shift", "count", "unmatched"]}
    return build("B39", rules, rows, facts=("count", "what"), evidence=evidence)


def _moves(at: pl.Expr, zone: str) -> dict[str, pl.Expr]:
    """Words → the time moved. The zone's offset first: where both explain as much, it is the likelier cause."""
    local = at.dt.convert_time_zone(zone)
    offset, day = local.dt.base_utc_offset() + local.dt.dst_offset(), pl.duration(days=1)
    return {
        "the zone's UTC offset": at + offset,
        "minus the zone's UTC offset": at - offset,
        "one day later": at + day,
        "one day earlier": at - day,
    }


def _best(left: pl.DataFrame, right: pl.DataFrame, zone: str) -> dict[str, pl.DataFrame]:
    """Words → pairs (item, row, at) that a shift of `left` alone makes: unique on both sides, none by now."""
    if left.is_empty() or right.is_empty():
        return {}
    left = left.join(right.select(_ON[:3]).unique(), on=_ON[:3], how="semi")
    right = right.join(left.select(_ON[:3]).unique(), on=_ON[:3], how="semi")
    if left.is_empty():
        return {}
    found = {}
    for words, moved in _moves(pl.col("at"), zone).items():
        days = left.with_columns(day=local_date(moved, zone))
        pairs = pair_once(days.select("item", *_ON), right.select("row", *_ON), _ON).pairs
        found[words] = pairs.join(left.select("item", "at"), on="item")
    return found


def _disagreeing(
    claims: pl.DataFrame, work: pl.DataFrame, straight: pl.DataFrame, zone: str
) -> dict[str, pl.DataFrame]:
    """Words → one row (gain, at): matched payments whose date is that of the posting after the shift alone, less
    those that agree now and would not any more. `straight` has `rows` of a kind."""
    posted = claims.filter(
        (pl.col("kind") == "PAYMENT") & (pl.col("rule") == "key1") & (pl.col("origin") == "IC")
    )
    dated = posted.select("item", "effective_date").drop_nulls().unique("item", keep="any")
    both = dated.join(work.select("item", "local_date", at="payment_date"), on="item")
    both = both.select("effective_date", "local_date", "at", rows=pl.lit(1, pl.Int64))
    both = pl.concat([both, straight.select(both.columns)])
    agrees = pl.col("effective_date") == pl.col("local_date")
    off, every = both.filter(~agrees), int(both["rows"].sum())
    found = {}
    for words, moved in _moves(pl.col("at"), zone).items() if off.height else ():
        agree = local_date(moved, zone) == pl.col("effective_date")
        now_right = off.filter(agree)
        if now_right.height:
            gained, lost = int(now_right["rows"].sum()), int(both.filter(agrees & ~agree)["rows"].sum())
            if int(off["rows"].sum()) - gained + lost > every * (1 - AGREE):
                continue
            found[words] = now_right.select(gain=pl.lit(gained - lost, pl.Int64), at=pl.col("at").min())
    return found


def _told(
    feed: str, pairs: Mapping[str, pl.DataFrame], dates: Mapping[str, pl.DataFrame], least: int
) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """The shift that explains most, if that is enough: its row of `feeds`, and the pairs held for it."""
    best: tuple[int, str] = (0, "")
    for words in dict.fromkeys([*pairs, *dates]):
        gain = max(int(dates[words]["gain"][0]), 0) if words in dates else 0
        unmatched = pairs[words].height if words in pairs else 0
        best = max(best, (gain + unmatched, words), key=lambda found: found[0])
    count, words = best
    if count < least:
        return None
    held = pairs.get(words)
    if held is None:
        held = pl.DataFrame(schema={"item": pl.UInt32, "row": pl.UInt32, "at": TIME})
    times = [part["at"].min() for part in (held, dates.get(words)) if part is not None and part.height]
    row = {"feed": feed, "shift": words, "count": count, "since": min(t for t in times if t is not None)}
    return pl.DataFrame([row | {"unmatched": held.height}], schema=dict(_SHIFTS)), held


def _keyed(rows: pl.DataFrame, **more: pl.Expr | str) -> pl.DataFrame:
    keys = {"account": reference_key("account_number"), "invoice": reference_key("invoice_number")}
    return rows.select(**more, **keys).drop_nulls(["account", "invoice", "amount"])


def _unposted(work: pl.DataFrame) -> pl.DataFrame:
    free = pl.col("accepted") & ~pl.col("ambiguous") & ~pl.col("is_refund") & (pl.col("n_posted") == 0)
    rows = work.filter(free & (pl.col("n_refused") == 0))
    return _keyed(rows, item="item", at="payment_date", amount="expected")


def _nameless(books: Books, zone: str) -> pl.DataFrame:
    """Unclaimed postings under each day by which a payment would find them: of effect and booking, and next to these."""
    rows = books.unclaimed.filter(pl.col("guid_key").is_null())
    if rows.is_empty():
        return rows
    dates = pl.concat_list([pl.col("effective_date"), local_date(pl.col("posted_at"), zone)])
    return _around(_keyed(rows.with_columns(day=dates), row="row", amount="amount", day="day").explode("day"))


def _orphans(returned: Returned) -> pl.DataFrame:
    rows = returned.orphans.filter(pl.col("guid_key").is_null())
    if rows.is_empty():
        return rows
    return _keyed(rows, item="row", at="original_payment_date", amount="reject_amount").drop_nulls("at")


def _unreturned(work: pl.DataFrame) -> pl.DataFrame:
    rows = work.filter(pl.col("accepted") & ~pl.col("ambiguous") & (pl.col("n_returns") == 0))
    return _around(_keyed(rows, row="item", amount="payment_amount", day="local_date"))


def _around(rows: pl.DataFrame) -> pl.DataFrame:
    days = pl.concat_list([pl.col("day").dt.offset_by(shift) for shift in ("-1d", "0d", "1d")])
    return rows.with_columns(day=days).explode("day").unique()
