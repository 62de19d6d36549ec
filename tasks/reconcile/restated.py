"""B44: a feed tells a row otherwise than it did when the payment was matched.

What was restated before the match was matched as it stands now. A payment's way back (returned, refunded, charged
back) is news, not a restatement: its own classes judge it. A row once told stays until a person accepts it or it
says again what it said at first.
"""

from __future__ import annotations

import polars as pl

from tasks.reconcile.breaks import build
from tasks.reconcile.keys import id_key
from tasks.reconcile.model import BREAKS, MONEY, TIME, ZERO, Inputs, empty
from tasks.reconcile.rules import Rules

_MATCHED = ("MATCHED_PROVISIONAL", "MATCHED_FINAL")
_ROW = ["feed", "version", "seen_at", "amount_before", "amount_now", "status_before", "status_now"]


def restated_rows(data: Inputs, rules: Rules) -> pl.DataFrame:
    """One B44 per restated row (`key`); its amount: what the row says now minus what it said, USD."""
    if data.restated.is_empty() or data.matched.is_empty():
        return empty(BREAKS)
    changed = _after_the_match(data).sort("key", "version", "seen_at")
    rows = changed.group_by("key", maintain_order=True).agg(
        pl.col("feed", "payment_guid", "account_number", "invoice_number").first(),
        pl.col("amount_before", "status_before", "seen_at").first(),
        pl.col("amount_now", "status_now").last(),
        versions=pl.struct(_ROW),
    )
    other_money = pl.col("amount_before").ne_missing(pl.col("amount_now"))
    other_status = pl.col("status_before").ne_missing(pl.col("status_now"))
    went_back = pl.col("status_now").str.split(" ").list.last().is_in(list(rules.returned_statuses))
    rows = rows.filter(other_money | (other_status & ~went_back.fill_null(False)))
    money = pl.when(other_money).then(
        pl.format("{} USD is now {} USD", _text("amount_before"), _text("amount_now"))
    )
    status = pl.when(other_status).then(
        pl.format("{} is now {}", _text("status_before"), _text("status_now"))
    )
    rows = rows.with_columns(
        subject="key",
        amount=(pl.col("amount_now").fill_null(ZERO) - pl.col("amount_before").fill_null(ZERO)).cast(MONEY),
        occurred_at="seen_at",
        due_at=pl.lit(None, TIME),
        what="feed",
        other="payment_guid",
        detail=pl.concat_str(money, status, separator="; ", ignore_nulls=True),
    )
    return build("B44", rules, rows, facts=("what", "other", "detail"), evidence={"versions": "versions"})


def _after_the_match(data: Inputs) -> pl.DataFrame:
    """Restated versions of payments that the last run had as matched and seen since then, or told before.

    `seen_at` is the time of the poll. A poll under way while the last run read staging began before it: its rows
    are known by the amount that the run still had.
    """
    last = data.matched.filter(pl.col("key").is_null() & pl.col("state").is_in(_MATCHED))
    last = last.group_by(guid_key=id_key("payment_guid")).agg(
        run_at=pl.col("as_of").max(), amounts=pl.col("payment_amount")
    )
    told = data.matched.filter(pl.col("key").is_not_null()).select("key", told_at="as_of")
    rows = data.restated.with_columns(guid_key=id_key("payment_guid"))
    rows = rows.join(last.drop_nulls("guid_key"), on="guid_key", how="left")
    rows = rows.join(told.group_by("key").agg(pl.col("told_at").min()), on="key", how="left")
    still_had = pl.col("amounts").list.contains(pl.col("amount_before"))
    has_not = ~pl.col("amounts").list.contains(pl.col("amount_now"))
    missed = (pl.col("feed") == "payments") & still_had & has_not
    since = pl.col("seen_at") > pl.col("run_at")
    again = pl.col("seen_at") >= pl.col("told_at")
    return rows.filter(pl.any_horizontal(test.fill_null(False) for test in (missed, since, again)))


def _text(column: str) -> pl.Expr:
    """Money or a status for people; a payments row has `approved` in front of its status."""
    text = pl.col(column).cast(pl.String).fill_null("nothing")
    text = text.str.replace(r"^true\b", "approved").str.replace(r"^false\b", "not approved")
    return text.str.replace(r"^approved APPROVED$", "approved")
