"""Chargebacks and refunds of the portal's exports: to which payment, and what IMT booked the other way for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tasks.reconcile.banking_days import local_date
from tasks.reconcile.keys import id_key, one_to_many
from tasks.reconcile.model import MONEY, Inputs, empty
from tasks.reconcile.postings import Books
from tasks.reconcile.rules import Rules

_LOST = ("FIRST", "SECOND")
_OF_NOBODY = {"item": pl.lit(None, pl.UInt32), "key": pl.lit(None, pl.String)}
_STAGES = {"FIRST": 1, "REVERSED": 2, "SECOND": 3}


@dataclass(frozen=True)
class TakenBack:
    """disputes: the last stage of each case that moves money · refunds: all of IC's · undone: IMT's postings that
    take money back. Each with `item` (null: of no payment we know) and `key`, which joins the three.
    summary: one row per item: disputed_amount (cases lost or open), won_amount, refunded_amount; and what IMT booked:
    receivable_amount (for disputes), given_back_amount (of kind REFUND). All in USD, none negative."""

    disputes: pl.DataFrame
    refunds: pl.DataFrame
    undone: pl.DataFrame
    summary: pl.DataFrame


def match(payments: pl.DataFrame, data: Inputs, books: Books, rules: Rules) -> TakenBack:
    """By guid, else by a processor reference that just one payment has; a posting also by what it takes back."""
    disputes = _keyed(_last_stages(data.chargebacks), payments)
    refunds = _keyed(data.refunds, payments)
    undone = _undone(payments, data.postings, books, rules)
    lost = pl.col("stage").is_in(_LOST)
    parts = {
        "disputed_amount": disputes.filter(lost),
        "won_amount": disputes.filter(~lost),
        "refunded_amount": refunds,
        "receivable_amount": undone.filter(pl.col("kind") == "TRANSFER"),
        "given_back_amount": undone.filter(pl.col("kind") == "REFUND"),
    }
    return TakenBack(disputes, refunds, undone, _summary(parts))


def _last_stages(chargebacks: pl.DataFrame) -> pl.DataFrame:
    if chargebacks.is_empty():
        return chargebacks
    stage = pl.col("stage").replace_strict(_STAGES, default=0, return_dtype=pl.Int32)
    moves = chargebacks.filter(stage > 0).sort("chargeback_date", stage, "chargeback_id")
    case = pl.coalesce("case_no", "chargeback_id")
    return moves.unique(case, keep="last", maintain_order=True)


def _keyed(rows: pl.DataFrame, payments: pl.DataFrame) -> pl.DataFrame:
    """Adds guid_key, ref_key, item and key."""
    rows = rows.with_columns(guid_key=id_key("payment_guid"), ref_key=id_key("processor_reference"))
    if rows.is_empty():
        return rows.with_columns(**_OF_NOBODY)
    return _with_key(rows.with_row_index("own"), payments, ("guid_key", "ref_key")).drop("own")


def _with_key(rows: pl.DataFrame, payments: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """By each of `keys` in turn; a row of no known payment keeps its guid, else its reference, as key."""
    found = [
        one_to_many(rows.select("own", key).drop_nulls(), payments, key, "item")[0].select(
            "own", "item", way=pl.lit(n)
        )
        for n, key in enumerate(keys)
    ]
    best = pl.concat(found).sort("own", "way").unique("own", keep="first").select("own", "item")
    rows = rows.join(best, on="own", how="left", maintain_order="left")
    return rows.with_columns(key=pl.coalesce(pl.format("#{}", "item"), "guid_key", "ref_key"))


def _undone(payments: pl.DataFrame, postings: pl.DataFrame, books: Books, rules: Rules) -> pl.DataFrame:
    """IMT's reversals and refunds, and what it booked with a reason of disputes (a receivable)."""
    reason = pl.col("reason").str.strip_chars().str.to_uppercase()
    disputed = reason.is_in(list(rules.reasons.charged_back)).fill_null(False)
    takes = pl.col("kind").is_in(["REVERSAL", "REFUND"]) | ((pl.col("kind") == "TRANSFER") & disputed)
    rows = postings.filter((pl.col("status") == "POSTED") & takes).with_row_index("own")
    rows = rows.with_columns(
        guid_key=id_key("payment_guid"),
        ref_key=id_key("processor_reference"),
        reason=reason,
        booked_on=local_date(pl.col("posted_at"), rules.zone),
    )
    if rows.is_empty():
        return rows.drop("own").with_columns(**_OF_NOBODY)
    asked = rows.select("own", posting_id="reverses_posting_id").drop_nulls()
    by_posting = books.claims.join(asked, on="posting_id").select("own", back_item="item").unique("own")
    rows = rows.join(by_posting, on="own", how="left", maintain_order="left")
    rows = _with_key(rows, payments, ("guid_key", "ref_key"))
    rows = rows.with_columns(item=pl.coalesce("back_item", "item"))
    return rows.with_columns(key=pl.coalesce(pl.format("#{}", "item"), "key")).drop("own", "back_item")


def _summary(parts: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    rows = [
        part.drop_nulls("item").select("item", name=pl.lit(name), amount=pl.col("amount").abs())
        for name, part in parts.items()
        if part.height
    ]
    if not rows:
        return empty({"item": pl.UInt32, **dict.fromkeys(parts, MONEY)})
    sums = {name: pl.col("amount").filter(pl.col("name") == name).sum().cast(MONEY) for name in parts}
    return pl.concat(rows).group_by("item").agg(**sums)
