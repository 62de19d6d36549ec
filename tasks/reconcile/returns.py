"""Payments against ACH returns: claims, and the break classes B18 and B20 (B16 is judged per payment)."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from checks import ach_codes
from tasks.reconcile.banking_days import local_date
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.feeds import Coverage, interval
from tasks.reconcile.keys import id_key, one_to_many, pair_once, reference_key
from tasks.reconcile.model import MONEY, TIME, Schema, empty
from tasks.reconcile.rules import Rules

_ROW = ["reject_date", "return_code", "reject_amount", "reject_sequence", "original_payment_guid"]
_ROW += ["original_payment_date", "account_number", "invoice_number"]
# Of rows: what the claim adds to them; and the columns of summary.
_CLAIM: Schema = {
    "guid_key": pl.String, "item": pl.UInt32, "ic_guid": pl.String, "original_guid": pl.String, "line": pl.String,
}  # fmt: skip
_SUMMARY: Schema = {
    "item": pl.UInt32, "n_returns": pl.Int32, "returned_amount": MONEY, "last_reject_amount": MONEY,
    "return_code": pl.String, "first_reject_at": TIME, "reject_date": TIME,
}  # fmt: skip


@dataclass(frozen=True)
class Returned:
    """summary: one row per returned payment (`item`) · rows: all returns, `item` null if of no payment ·
    ambiguous: items · orphans: returns without payment ·
    interbank: bank-to-bank news, no returns of money by themselves."""

    summary: pl.DataFrame
    rows: pl.DataFrame
    ambiguous: pl.Series
    orphans: pl.DataFrame
    interbank: pl.DataFrame


def match(payments: pl.DataFrame, rejects: pl.DataFrame, zone: str, lines: pl.DataFrame) -> Returned:
    """By the original guid; a return without one by account, invoice, amount and the payment's date +-1,
    if unique on both sides. An interbank code (R61-R77) tells of an earlier return and claims nothing.

    A payment split over invoices (`lines`) comes back as a whole, under any of them, or line by line.
    """
    coded = ach_codes.lookup(rejects.with_row_index("row"))
    if coded.is_empty():
        rows = coded.with_columns(pl.lit(None, kind).alias(name) for name, kind in _CLAIM.items())
        return Returned(empty(_SUMMARY), rows, rows["item"], rows, coded)
    is_interbank = pl.col("code_group") == "INTERBANK"
    rows = coded.filter(~is_interbank).with_columns(guid_key=id_key("original_payment_guid"))
    by_guid, shared = one_to_many(rows.select("row", "guid_key"), payments, "guid_key", "item")
    left, right = by_account(payments, rows, zone, lines)
    paired = pair_once(left, right, ["account", "invoice", "amount", "day"])
    claimed = pl.concat([by_guid.select("row", "item"), paired.pairs.select("row", "item")])
    named = payments.select("item", ic_guid="payment_guid")
    rows = rows.join(claimed, on="row", how="left").join(named, on="item", how="left")
    rows = rows.with_columns(original_guid=pl.coalesce("original_payment_guid", "ic_guid"))
    rows = _of_lines(rows, lines)
    shared_keys = payments.join(shared.to_frame("item"), on="item", how="semi").select("guid_key")
    orphans = (
        rows.filter(pl.col("item").is_null())
        .join(paired.right_ambiguous.to_frame("row"), on="row", how="anti")
        .join(shared_keys, on="guid_key", how="anti")
    )
    ambiguous = pl.concat([shared, paired.left_ambiguous])
    return Returned(_summary(rows), rows, ambiguous, orphans, coded.filter(is_interbank))


def _of_lines(rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Adds `line`: the invoice of the one line that a return takes back; null if it takes back the whole."""
    if lines.is_empty():
        return rows.with_columns(line=pl.lit(None, pl.String))
    own = lines.select("item", line=reference_key("invoice_number"), reject_amount="payment_amount").unique()
    keyed = rows.with_columns(key=reference_key("invoice_number"))
    own = own.with_columns(key="line")
    return keyed.join(own, on=["item", "key", "reject_amount"], how="left", maintain_order="left").drop("key")


def by_account(
    payments: pl.DataFrame, rows: pl.DataFrame, zone: str, lines: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    nameless = rows.filter(pl.col("guid_key").is_null())
    right = (
        nameless.select(
            "row",
            account=reference_key("account_number"),
            invoice=reference_key("invoice_number"),
            amount="reject_amount",
            day=local_date(pl.col("original_payment_date"), zone),
        )
        .with_columns(
            pl.concat_list([pl.col("day").dt.offset_by(n) for n in ("-1d", "0d", "1d")]).alias("day")
        )
        .explode("day")
    )
    pool = payments.filter("accepted") if nameless.height else payments.clear()
    columns = ("item", "account_number", "invoice_number", "payment_amount", "local_date")
    pool = pool.select(columns)
    if lines.height:
        others = lines.drop("payment_amount").join(pool.select("item", "payment_amount"), on="item")
        pool = pl.concat([pool, others.select(columns)])
    left = pool.select(
        "item",
        account=reference_key("account_number"),
        invoice=reference_key("invoice_number"),
        amount="payment_amount",
        day="local_date",
    )
    return left, right


def _summary(rows: pl.DataFrame) -> pl.DataFrame:
    """Per item: each presentment counted once, however often it was reported."""
    order = ("reject_date", "reject_amount", "return_code")
    once = (
        rows.filter(pl.col("item").is_not_null())
        .with_columns(presentment=presentment())
        .sort(order)
        .unique(["item", "presentment"], keep="first", maintain_order=True)
    )
    return once.group_by("item", maintain_order=True).agg(
        n_returns=pl.len().cast(pl.Int32),
        returned_amount=pl.col("reject_amount").sum().cast(MONEY),
        last_reject_amount=pl.col("reject_amount").last(),
        return_code=pl.col("return_code").last(),
        first_reject_at=pl.col("reject_date").first(),
        reject_date=pl.col("reject_date").last(),
    )


def presentment() -> pl.Expr:
    """Sequence as text; where IC sends none, the day of the return stands in. Each line comes back by itself."""
    sequence = pl.coalesce(
        pl.col("reject_sequence").cast(pl.String), pl.col("reject_date").dt.strftime("%Y-%m-%d")
    )
    return pl.concat_str(sequence, "line", separator="/", ignore_nulls=True)


def orphans(
    returned: Returned, postings: pl.DataFrame, coverage: Coverage, rules: Rules
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B18 and the rows held back: neither payments nor postings know the original. The payments feed must
    be complete from the original's date (else a look-back before the return) for one full window."""
    if returned.orphans.is_empty():
        return NO_BREAKS, NONE_HELD
    window, lookback = interval(rules, "payments"), pl.duration(days=rules.orphan_lookback_days)
    known = postings.select(guid_key=id_key("payment_guid")).drop_nulls()
    original = pl.col("original_payment_date")
    nameless = pl.concat_str(
        "account_number", "invoice_number", "return_code", separator="/", ignore_nulls=True
    )
    rows = returned.orphans.join(known, on="guid_key", how="anti").with_columns(
        subject=pl.coalesce("original_payment_guid", nameless),
        payment_guid="original_payment_guid",
        amount="reject_amount",
        occurred_at="reject_date",
        due_at=pl.lit(None, TIME),
        needed_from=pl.coalesce(original, pl.col("reject_date") - lookback),
        needed_to=pl.coalesce(original + pl.lit(window), "reject_date"),
    )
    proven = coverage.covers("payments", rows["needed_from"], rows["needed_to"])
    found = build("B18", rules, rows.filter(proven), facts=("return_code",), evidence={"return": _ROW})
    return found, rows.filter(~proven)


def duplicates(
    returned: Returned, rules: Rules, ambiguous: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B20 and the (item) frame of payments concerned: one presentment returned more than once."""
    if returned.rows.is_empty():
        return NO_BREAKS, returned.rows.select("item")
    order = ("reject_date", "reject_amount", "return_code")
    original = pl.coalesce("guid_key", pl.format("item {}", pl.col("item")))
    rows = (
        returned.rows.join(ambiguous, on="item", how="anti")
        .with_columns(original=original, presentment=presentment())
        .drop_nulls("original")
        .sort(order)
        .group_by("original", "presentment", maintain_order=True)
        .agg(
            pl.col("item", "account_number", "invoice_number", "original_guid").first(),
            pl.col("reject_date", "return_code").last(),
            count=pl.len(),
            amount=(pl.col("reject_amount").sum() - pl.col("reject_amount").first()).cast(MONEY),
            returns=pl.struct("reject_date", "return_code", "reject_amount", "reject_sequence"),
        )
        .filter(pl.col("count") > 1)
        .with_columns(
            subject=pl.format("{}#{}", "original_guid", "presentment"),
            payment_guid="original_guid",
            occurred_at="reject_date",
            due_at=pl.lit(None, TIME),
        )
    )
    found = build("B20", rules, rows, facts=("count", "return_code"), evidence={"returns": "returns"})
    return found, rows.select("item").drop_nulls().unique()
