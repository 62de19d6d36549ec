"""Payments against settled batches: who claims which item, and what is excluded by declaration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from tasks.reconcile.apart import fold
from tasks.reconcile.banking_days import local_day
from tasks.reconcile.keys import id_key, one_to_many, pair_once, without
from tasks.reconcile.model import MONEY, ZERO
from tasks.reconcile.rules import Rules
from tasks.reconcile.splits import by_reference

_WENT_BACK = ("REJECT", "CHARGEBACK", "REFUND")


@dataclass(frozen=True)
class Deposits:
    """summary: one row per settled payment (`item`) · claims: rows with their item · ambiguous: items ·
    unclaimed: PAYMENT rows of nobody · excluded: rows of declared exclusions, `exclusion` and `supported` added."""

    summary: pl.DataFrame
    claims: pl.DataFrame
    ambiguous: pl.Series
    unclaimed: pl.DataFrame
    excluded: pl.DataFrame


def match(
    payments: pl.DataFrame,
    settlements: pl.DataFrame,
    postings: pl.DataFrame,
    rules: Rules,
    as_of: datetime,
    lines: pl.DataFrame,
) -> Deposits:
    """Excluded rows are set apart; the rest is claimed by guid, then by processor reference + amount. A payment
    split over invoices (`lines`) may be settled in one row or in several that make its sum."""
    rows = settlements.with_row_index("row").with_columns(
        guid_key=id_key("payment_guid"), ref_key=id_key("processor_reference")
    )
    rows = rows.with_columns(exclusion=_exclusion(rules, local_day(as_of, rules.zone)))
    excluded = _with_support(rows.filter(pl.col("exclusion").is_not_null()), postings, rules)
    rows = rows.filter(pl.col("exclusion").is_null())
    by_guid, shared = one_to_many(rows.select("row", "guid_key"), payments, "guid_key", "item")
    nameless = rows.filter(pl.col("guid_key").is_null() & (pl.col("transaction_type") == "PAYMENT"))
    asked = payments if nameless.height else payments.clear()
    pool = without(asked.select("item", "ref_key", amount="payment_amount"), "item", by_guid["item"], shared)
    nameless = nameless.select("row", "ref_key", amount="settled_amount")
    together = by_reference(lines, pool, nameless) if lines.height else by_guid.select("row", "item").clear()
    pool, nameless = without(pool, "item", together["item"]), without(nameless, "row", together["row"])
    paired = pair_once(pool, nameless, ["ref_key", "amount"])
    claimed = pl.concat([part.select("row", "item") for part in (by_guid, together, paired.pairs)])
    claims = rows.join(claimed, on="row")
    shared_keys = payments.join(shared.to_frame("item"), on="item", how="semi").select("guid_key")
    loose = without(
        rows.filter(pl.col("transaction_type") == "PAYMENT"), "row", claimed["row"], paired.right_ambiguous
    )
    unclaimed = loose.join(shared_keys, on="guid_key", how="anti")
    ambiguous = pl.concat([shared, paired.left_ambiguous])
    return Deposits(_summary(claims), claims, ambiguous, unclaimed, excluded)


def folded(deposits: Deposits, rows: pl.DataFrame, named: pl.DataFrame | None) -> pl.DataFrame:
    """All rows of settled batches as apart.FOLDED. `named`: those with a guid, where `rows` does not hold them all."""
    nameless = id_key("payment_guid").is_null()
    kept = rows.with_row_index("row") if named is None else rows.with_row_index("row").filter(nameless)
    own = fold(kept.with_columns(excluded=pl.col("row").is_in(deposits.excluded["row"].implode())))
    return own if named is None else pl.concat([own, named])


def _exclusion(rules: Rules, today: date) -> pl.Expr:
    """The exclusion in force that a row falls under, else null. A row with a guid is never excluded."""
    found = pl.lit(None, pl.String)
    for name, rule in rules.exclusions.items():
        if rule.expiry >= today:
            hit = pl.col("guid_key").is_null() & pl.col(rule.column).str.starts_with(rule.starts_with)
            found = pl.when(hit).then(pl.lit(name)).otherwise(found)
    return found


def _with_support(excluded: pl.DataFrame, postings: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Adds `supported`: the n-th row of a reference and amount needs the n-th IMT record of the same."""
    if excluded.is_empty():
        return excluded.with_columns(supported=pl.lit(False))
    origins = pl.DataFrame(
        {
            "exclusion": list(rules.exclusions),
            "origin": [rule.support_origin for rule in rules.exclusions.values()],
        },
        schema={"exclusion": pl.String, "origin": pl.String},
    )
    key = ["origin", "ref_key", "settled_amount"]
    records = (
        postings.filter((pl.col("status") == "POSTED") & pl.col("kind").is_in(["PAYMENT", "SUSPENSE"]))
        .select("origin", ref_key=id_key("processor_reference"), settled_amount="amount")
        .drop_nulls()
        .group_by(key)
        .agg(records=pl.len())
    )
    order = ("settled_date", "settled_batch_id", "row")
    ranked = excluded.join(origins, on="exclusion", how="left").sort(order)
    ranked = ranked.with_columns(nth=pl.int_range(1, pl.len() + 1).over(key))
    joined = ranked.join(records, on=key, how="left")
    return joined.with_columns(supported=(pl.col("nth") <= pl.col("records")).fill_null(False))


def _summary(claims: pl.DataFrame) -> pl.DataFrame:
    """Per item: settled amount, date, batch; money that went back, as a positive amount."""
    is_payment = pl.col("transaction_type") == "PAYMENT"
    back = pl.col("transaction_type").is_in(_WENT_BACK) & (pl.col("settled_amount") < 0)
    return (
        claims.select(
            "item",
            settled=pl.when(is_payment).then("settled_amount").otherwise(ZERO),
            back=pl.when(back).then(-pl.col("settled_amount")).otherwise(ZERO),
            back_kind=pl.when(back).then("transaction_type"),
            settled_date=pl.when(is_payment).then("settled_date"),
            settled_batch_id=pl.when(is_payment).then("settled_batch_id"),
            is_payment=is_payment,
        )
        .group_by("item")
        .agg(
            n_settled=pl.col("is_payment").sum().cast(pl.Int32),
            settled_amount=pl.col("settled").sum().cast(MONEY),
            went_back=pl.col("back").sum().cast(MONEY),
            back_kind=pl.col("back_kind").max(),
            settled_date=pl.col("settled_date").max(),
            settled_batch_id=pl.col("settled_batch_id").max(),
        )
    )
