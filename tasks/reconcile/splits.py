"""One payment over several invoices: the report gives it a row per line (payment_line_no) under one guid.

Every class but the allocation (B07) looks at the whole payment; its lines come back for the items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from tasks.reconcile.keys import reference_key
from tasks.reconcile.model import MONEY

_OWN = (
    "payment_line_no",
    "account_number",
    "invoice_number",
    "payment_amount",
    "convenience_fee",
    "payment_date",
)


def gather(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prepared rows → payments (one row each, `n_lines`, `invoices` as text) and the lines of those with
    several: the rows' columns, `row`, and `item` of the payment, which is the row number of its first line.

    Rows of one guid are lines of one payment if all have a number of their own and agree on being accepted;
    any others are nobody's (AMBIGUOUS).
    """
    whole = rows.with_columns(n_lines=pl.lit(1, pl.Int32), invoices="invoice_number")
    lines = _lines(rows)
    if lines.is_empty():
        return whole, lines
    own = pl.exclude("item", "payment_amount", "convenience_fee", "expected", "payment_date", "first_seen_at")
    fee = pl.col("convenience_fee")
    payments = lines.group_by("item", maintain_order=True).agg(
        own.first(),
        *(pl.col(name).sum().cast(MONEY) for name in ("payment_amount", "expected")),
        pl.col("payment_date", "first_seen_at").min(),
        convenience_fee=pl.when(fee.is_not_null().any()).then(fee.sum()).cast(MONEY),
        n_lines=pl.len().cast(pl.Int32),
        invoices=pl.col("invoice_number").fill_null("-").str.join(", "),
    )
    single = whole.join(lines.select(item="row"), on="item", how="anti")
    return pl.concat([single, payments.select(whole.columns)]).sort("item"), lines


def _lines(rows: pl.DataFrame) -> pl.DataFrame:
    numbered = rows.select("item", "guid_key", "payment_line_no").filter(
        pl.col("payment_line_no").is_not_null() & pl.col("guid_key").is_not_null()
    )
    several = numbered.filter(pl.col("guid_key").is_duplicated()).select("guid_key").unique()
    if several.is_empty():
        return rows.clear().with_columns(row="item")
    asked = rows.join(several, on="guid_key", how="semi")
    number = pl.col("payment_line_no")
    whole = asked.group_by("guid_key").agg(
        alike=(number.null_count() == 0)
        & (number.n_unique() == pl.len())
        & (pl.col("accepted").n_unique() == 1)
        & (pl.col("is_refund").n_unique() == 1)
    )
    lines = asked.join(whole.filter("alike"), on="guid_key", how="semi").sort("guid_key", "payment_line_no")
    return lines.with_columns(row="item", item=pl.col("item").first().over("guid_key"))


def to_whole(pieces: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """`item` that may be the row of a line → the payment's."""
    if lines.is_empty():
        return pieces
    of = lines.select(item="row", whole="item")
    return (
        pieces.join(of, on="item", how="left").with_columns(item=pl.coalesce("whole", "item")).drop("whole")
    )


Sides = Callable[[pl.DataFrame, pl.DataFrame, str], tuple[pl.DataFrame, pl.DataFrame]]


def in_pieces(sides: Sides, lines: pl.DataFrame) -> Sides:
    """`sides` of a matching level with each line of a split payment as a payment of its own."""
    if lines.is_empty():
        return sides

    def pieces(pool: pl.DataFrame, free: pl.DataFrame, zone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        own = lines.join(pool.select("item"), on="item", how="semi").with_columns(item="row")
        rest = pool.join(lines.select("item"), on="item", how="anti")
        return sides(pl.concat([rest, own.select(pool.columns)]), free, zone)

    return pieces


def by_reference(lines: pl.DataFrame, pool: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """row, item: rows (row, ref_key, amount) without a guid that together make a split payment of pool (item,
    ref_key, amount), if no other payment has its reference."""
    named = pool.join(lines.select("ref_key").drop_nulls().unique(), on="ref_key", how="semi")
    named = named.filter(~pl.col("ref_key").is_duplicated()).join(lines.select("item"), on="item", how="semi")
    sums = rows.group_by("ref_key").agg(together=pl.col("amount").sum().cast(MONEY))
    whole = named.join(sums, on="ref_key").filter(pl.col("together") == pl.col("amount"))
    return rows.join(whole.select("ref_key", "item"), on="ref_key").select("row", "item")


def expand(items: pl.DataFrame, lines: pl.DataFrame, parts: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Items (with `item`) in the feed's rows and order; the money of a split payment shared out to its lines.

    parts: column → (item, invoice_key, amount): what lies on which invoice. Where that does not tell the lines
    apart, the money fills them in their order; either way the shares make the payment's sum.
    """
    if lines.is_empty():
        return items.sort("item")
    single = items.join(lines.select("item"), on="item", how="anti")
    own = lines.select("item", "row", *_OWN, invoice_key=reference_key("invoice_number"))
    told = own.join(items.drop(_OWN), on="item", maintain_order="left")
    for column in ("posted_amount", "reversed_amount", "settled_amount", "returned_amount"):
        told = told.with_columns(_in_order(column).cast(MONEY).alias("filled"))
        if column in parts:
            told = _by_invoice(told, parts[column], column)
        told = told.with_columns(pl.col("filled").alias(column))
    told = told.with_columns(item="row").select(items.columns)
    return pl.concat([single, told]).sort("item")


def _in_order(column: str) -> pl.Expr:
    """Each line up to its amount, the last one the rest."""
    amount, whole = pl.col("payment_amount"), pl.col(column)
    before = amount.cum_sum().over("item") - amount
    share = (whole - before).clip(0, None)
    share = pl.when(share > amount).then(amount).otherwise(share)
    last = pl.int_range(pl.len()).over("item") == pl.len().over("item") - 1
    others = pl.when(last).then(0).otherwise(share).sum().over("item")
    return pl.when(last).then(whole - others).otherwise(share)


def _by_invoice(told: pl.DataFrame, part: pl.DataFrame, column: str) -> pl.DataFrame:
    sums = part.group_by("item", "invoice_key").agg(exact=pl.col("amount").sum().cast(MONEY))
    told = told.join(sums, on=["item", "invoice_key"], how="left", maintain_order="left")
    once = ~pl.struct("item", "invoice_key").is_duplicated()
    complete = (pl.col("exact").sum() == pl.col(column).first()).over("item") & once.all().over("item")
    exact = pl.when(complete).then(pl.col("exact").fill_null(0)).otherwise("filled")
    return told.with_columns(filled=exact.cast(MONEY)).drop("exact")
