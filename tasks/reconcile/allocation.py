"""B07: a payment split over invoices, posted in full and on the right invoices, but in other parts."""

from __future__ import annotations

import polars as pl

from tasks.reconcile.keys import id_key, reference_key
from tasks.reconcile.model import MONEY, ZERO, Schema, empty

_NOTHING: Schema = {"item": pl.UInt32, "misplaced": MONEY, "placed": pl.String}


def misplaced(
    lines: pl.DataFrame, claims: pl.DataFrame, postings: pl.DataFrame, heirs: pl.DataFrame
) -> pl.DataFrame:
    """item, misplaced (USD that one of its invoices lacks), placed (text: what each invoice has of its line).

    Counts PAYMENT postings, what took them back, and TRANSFERs of the payment's guid; an invoice that replaced
    the line's own counts as that one.
    """
    if lines.is_empty():
        return empty(_NOTHING)
    wanted = _placed(lines.with_columns(key=reference_key("invoice_number")), heirs)
    wanted = wanted.group_by("item", "place", maintain_order=True).agg(
        wanted=pl.col("expected").sum().cast(MONEY), invoice=pl.col("invoice_number").first().fill_null("-")
    )
    booked = pl.concat([_booked(claims), _transfers(lines, postings)]).join(lines, on="item", how="semi")
    found = _placed(booked, heirs).group_by("item", "place").agg(found=pl.col("amount").sum().cast(MONEY))
    both = wanted.join(found, on=["item", "place"], how="left", nulls_equal=True, maintain_order="left")
    both = both.with_columns(pl.col("found").fill_null(ZERO))
    lack = (pl.col("wanted") - pl.col("found")).cast(MONEY).clip(0, None)
    words = pl.format("{} has {} of {} USD", "invoice", "found", "wanted")
    return both.group_by("item").agg(misplaced=lack.sum().cast(MONEY), placed=words.str.join("; "))


def _booked(claims: pl.DataFrame) -> pl.DataFrame:
    """item, key, amount: postings on their invoice; a reversal where the posting stood that it takes back."""
    posted = claims.filter(pl.col("status") == "POSTED")
    stood = claims.select(reverses_posting_id="posting_id", stood="invoice_number", stood_kind="kind")
    back = posted.filter(pl.col("kind") == "REVERSAL").join(
        stood.unique("reverses_posting_id", keep="first"), on="reverses_posting_id", how="left"
    )
    back = back.filter((pl.col("stood_kind") != "SUSPENSE").fill_null(True))
    back = back.with_columns(invoice_number=pl.coalesce("stood", "invoice_number"))
    paid = posted.filter(pl.col("kind") == "PAYMENT")
    return pl.concat(
        [part.select("item", "amount", key=reference_key("invoice_number")) for part in (paid, back)]
    )


def _transfers(lines: pl.DataFrame, postings: pl.DataFrame) -> pl.DataFrame:
    moved = postings.filter((pl.col("kind") == "TRANSFER") & (pl.col("status") == "POSTED"))
    moved = moved.select("amount", key=reference_key("invoice_number"), guid_key=id_key("payment_guid"))
    items = lines.select("item", "guid_key").unique()
    return moved.join(items, on="guid_key").select("item", "amount", "key")


def _placed(rows: pl.DataFrame, heirs: pl.DataFrame) -> pl.DataFrame:
    """Adds `place`: the last invoice that stands in for the row's own (`key`), else that one itself."""
    ends = pl.concat([heirs.select("item", "end_key", key=name) for name in ("heir_key", "own_key")]).unique(
        ["item", "key"], keep="first", maintain_order=True
    )
    return rows.join(ends, on=["item", "key"], how="left", maintain_order="left").with_columns(
        place=pl.coalesce("end_key", "key")
    )
