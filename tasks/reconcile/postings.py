"""Payments against IMT postings: who claims which posting, and what the books then say per payment."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.reconcile.banking_days import local_date
from tasks.reconcile.keys import id_key, one_to_many, pair_once, reference_key, without
from tasks.reconcile.model import MONEY, ZERO
from tasks.reconcile.splits import Sides, by_reference, in_pieces, to_whole

_BRINGS_IN = ("PAYMENT", "SUSPENSE")


@dataclass(frozen=True)
class Books:
    """summary: one row per claimed payment (`item`) · claims: posting rows with their item and rule ·
    ambiguous: items · unclaimed: IC postings of money in that no payment claims."""

    summary: pl.DataFrame
    claims: pl.DataFrame
    ambiguous: pl.Series
    unclaimed: pl.DataFrame


def match(
    payments: pl.DataFrame,
    postings: pl.DataFrame,
    zone: str,
    heirs: pl.DataFrame | None = None,
    lines: pl.DataFrame | None = None,
) -> Books:
    """Keys in order: 1 guid, 2 processor reference (+ amount), 3 account, invoice, amount and date +-1.

    `heirs` (item, heir_key) names the invoices that stand in for a payment's own: those that replaced it.
    `lines`: those of payments split over invoices. One reference may name several postings of such a payment,
    if they make its sum; by account each line looks for a posting of its own.

    A posting that names a guid is claimed by that guid or by nobody; a posting of another origin than
    IC is claimed by guid alone. No posting is claimed twice, and no weaker key overrules a stronger one.
    """
    rows = postings.with_row_index("row").with_columns(
        guid_key=id_key("payment_guid"), ref_key=id_key("processor_reference")
    )
    money_in = rows.filter((pl.col("status") == "POSTED") & pl.col("kind").is_in(_BRINGS_IN))
    first, shared = one_to_many(money_in.select("row", "guid_key"), payments, "guid_key", "item")
    found = [first.select("row", "item", rule=pl.lit("key1"))]
    free = money_in.filter(pl.col("guid_key").is_null() & (pl.col("origin") == "IC"))
    asked = payments if free.height else payments.clear()
    pool = without(asked.select("item", *PAYMENT_KEYS), "item", first["item"], shared)
    doubtful_items: list[pl.Series] = [shared]
    doubtful_rows: list[pl.Series] = []
    heirs = pl.DataFrame(schema={"item": pl.UInt32, "heir_key": pl.String}) if heirs is None else heirs
    lines = payments.clear() if lines is None else lines
    if lines.height and free.height:
        asked = pool.select("item", "ref_key", amount="expected")
        together = by_reference(lines, asked, free.select("row", "ref_key", "amount"))
        found.append(together.with_columns(rule=pl.lit("key2")))
        pool, free = without(pool, "item", together["item"]), without(free, "row", together["row"])
    for rule, ways, on in levels(heirs) if free.height else ():
        sides = in_pieces(ways, lines) if rule == "key3" else ways
        left, right = sides(pool, free, zone)
        paired = pair_once(left.select("item", *on), right.select("row", *on), on)
        agreed = _agreeing(to_whole(paired.pairs, lines), pool, free)
        found.append(agreed.select("row", "item", rule=pl.lit(rule)))
        doubtful = to_whole(paired.left_ambiguous.to_frame("item"), lines)["item"]
        doubtful_items.append(doubtful)
        doubtful_rows.append(paired.right_ambiguous)
        pool = without(pool, "item", agreed["item"], doubtful)
        free = without(free, "row", agreed["row"], paired.right_ambiguous)
    credits = rows.join(pl.concat(found), on="row")
    others = _attach_others(rows, payments, credits)
    claims = pl.concat([credits, others], how="diagonal")
    loose = money_in.filter(pl.col("origin") == "IC")
    loose = without(loose, "row", credits["row"], *doubtful_rows)
    shared_keys = payments.join(shared.to_frame("item"), on="item", how="semi").select("guid_key")
    unclaimed = loose.join(shared_keys, on="guid_key", how="anti")
    summary = _summary(claims, credits, payments, heirs, lines)
    return Books(summary, claims, pl.concat(doubtful_items).unique(), unclaimed)


def _by_reference(pool: pl.DataFrame, free: pl.DataFrame, _zone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    return pool.with_columns(amount="expected"), free


def _by_account(pool: pl.DataFrame, free: pl.DataFrame, zone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Accepted payments alone (declined tries of one payer look alike); a posting stands under its
    effective date and its date of booking, each with the day before and after."""
    cleaned = {"account": reference_key("account_number"), "invoice": reference_key("invoice_number")}
    left = pool.filter("accepted").with_columns(amount="expected", day="local_date", **cleaned)
    dates = pl.concat_list([pl.col("effective_date"), local_date(pl.col("posted_at"), zone)])
    around = pl.concat_list([pl.col("day").dt.offset_by(shift) for shift in ("-1d", "0d", "1d")])
    right = free.with_columns(day=dates, **cleaned).explode("day").with_columns(day=around).explode("day")
    return left, right


def _by_heir(heirs: pl.DataFrame) -> Sides:
    """By account, with the invoices that replaced the payment's own in its place."""

    def sides(pool: pl.DataFrame, free: pl.DataFrame, zone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        left, right = _by_account(pool.join(heirs, on="item", how="semi"), free, zone)
        return left.drop("invoice").join(heirs.rename({"heir_key": "invoice"}), on="item"), right

    return sides


PAYMENT_KEYS = ("ref_key", "expected", "accepted", "account_number", "invoice_number", "local_date")
_ACCOUNT = ["account", "invoice", "amount", "day"]
# Levels below the guid: rule, the two sides, key columns.
_WEAKER: tuple[tuple[str, Sides, list[str]], ...] = (
    ("key2", _by_reference, ["ref_key", "amount"]),
    # Same reference, other amount: the same payment, wrongly posted, if both sides show it once.
    ("key2", _by_reference, ["ref_key"]),
    ("key3", _by_account, _ACCOUNT),
)


def levels(heirs: pl.DataFrame) -> tuple[tuple[str, Sides, list[str]], ...]:
    """The keys below the guid, strongest first: rule, the two sides, key columns."""
    return (*_WEAKER, ("key3", _by_heir(heirs), _ACCOUNT)) if heirs.height else _WEAKER


def unclaimed_money(postings: pl.DataFrame, books: Books) -> pl.DataFrame:
    """Postings of money in that no payment has, those of several candidates included, as `match` keyed them."""
    rows = postings.with_row_index("row").filter(
        (pl.col("status") == "POSTED") & pl.col("kind").is_in(_BRINGS_IN)
    )
    rows = without(rows, "row", books.claims["row"])
    return rows.with_columns(guid_key=id_key("payment_guid"), ref_key=id_key("processor_reference"))


def _agreeing(pairs: pl.DataFrame, pool: pl.DataFrame, free: pl.DataFrame) -> pl.DataFrame:
    """Pairs without contradiction: two different processor references are two different payments."""
    refs = pairs.join(pool.select("item", ic_ref="ref_key"), on="item").join(
        free.select("row", imt_ref="ref_key"), on="row"
    )
    return refs.filter((pl.col("ic_ref") == pl.col("imt_ref")).fill_null(True)).select("item", "row")


def _attach_others(rows: pl.DataFrame, payments: pl.DataFrame, credits: pl.DataFrame) -> pl.DataFrame:
    """Reversals and refused postings: to the payment of their guid, of the posting that they take back,
    else of their processor reference, if just one payment has it."""
    others = rows.filter(
        ((pl.col("status") == "POSTED") & (pl.col("kind") == "REVERSAL"))
        | ((pl.col("status") == "REFUSED") & pl.col("kind").is_in(_BRINGS_IN))
    )
    if others.is_empty():
        return others.with_columns(item=pl.lit(None, pl.UInt32), rule=pl.lit(None, pl.String)).clear()
    by_guid, _ = one_to_many(others.select("row", "guid_key"), payments, "guid_key", "item")
    back = others.select("row", posting_id="reverses_posting_id").drop_nulls()
    by_posting = back.join(
        credits.select("posting_id", "item").unique("posting_id", keep="none"), on="posting_id"
    )
    nameless = others.filter(pl.col("guid_key").is_null()).select("row", "ref_key").drop_nulls()
    by_ref, _ = one_to_many(nameless, payments, "ref_key", "item")
    ways = pl.concat(
        [way.select("row", "item", way=pl.lit(n)) for n, way in enumerate((by_posting, by_guid, by_ref))]
    )
    best = ways.sort("row", "way").unique("row", keep="first").select("row", "item")
    return others.join(best, on="row").with_columns(rule=pl.lit(None, pl.String))


def _summary(
    claims: pl.DataFrame,
    credits: pl.DataFrame,
    payments: pl.DataFrame,
    heirs: pl.DataFrame,
    lines: pl.DataFrame,
) -> pl.DataFrame:
    """Per item: counts and sums of what IMT booked, and whether a live posting names another account."""
    suspense_ids = credits.filter(pl.col("kind") == "SUSPENSE")["posting_id"].implode()
    posted = pl.col("status") == "POSTED"
    kinds = {
        "paid": posted & (pl.col("kind") == "PAYMENT"),
        "suspense": posted & (pl.col("kind") == "SUSPENSE"),
        "reversed_suspense": (pl.col("kind") == "REVERSAL")
        & pl.col("reverses_posting_id").is_in(suspense_ids).fill_null(False),
    }
    kinds["reversed_paid"] = posted & (pl.col("kind") == "REVERSAL") & ~kinds["reversed_suspense"]
    flagged = claims.with_columns(**{f"is_{name}": test for name, test in kinds.items()})
    sums = [pl.when(f"is_{name}").then("amount").otherwise(ZERO).alias(name) for name in kinds]
    credit = pl.col("is_paid") | pl.col("is_suspense")
    reversal = pl.col("is_reversed_paid") | pl.col("is_reversed_suspense")
    per_item = (
        flagged.select(
            "item",
            "rule",
            *(f"is_{name}" for name in kinds),
            *sums,
            refused=pl.col("status") == "REFUSED",
            credit_at=pl.when(credit).then("posted_at"),
            credit_on=pl.when(credit).then("effective_date"),
            reversal_at=pl.when(reversal).then("posted_at"),
        )
        .group_by("item")
        .agg(
            *(pl.col(f"is_{name}").sum().cast(pl.Int32).alias(f"n_{name}") for name in kinds),
            *(pl.col(name).sum().cast(MONEY) for name in kinds),
            n_refused=pl.col("refused").sum().cast(pl.Int32),
            last_credit_at=pl.col("credit_at").max(),
            last_reversal_at=pl.col("reversal_at").max(),
            posted_on=pl.col("credit_on").max(),
            match_rule=pl.col("rule").min(),
        )
    )
    wrong = _wrong_reference(claims, credits, payments, heirs, lines)
    return per_item.with_columns(wrong_reference=pl.col("item").is_in(wrong.implode()))


def _wrong_reference(
    claims: pl.DataFrame,
    credits: pl.DataFrame,
    payments: pl.DataFrame,
    heirs: pl.DataFrame,
    lines: pl.DataFrame,
) -> pl.Series:
    """Items with a live PAYMENT posting to another account or invoice. A posting taken back does not
    count, nor does a wrong one beside a right one once something was reversed: that is a correction.
    An invoice that replaced the payment's own is right, and so is that of any of its lines."""
    named = payments.select("item", ic_account="account_number", ic_invoice="invoice_number")
    paid = credits.filter(pl.col("kind") == "PAYMENT")
    both = paid.select("item", "posting_id", "account_number", "invoice_number").join(named, on="item")
    differs = (pl.col("account_number") != pl.col("ic_account")) | (
        pl.col("invoice_number") != pl.col("ic_invoice")
    )
    off = both.filter(differs)["item"].unique()
    if off.is_empty():
        return off
    suspects = both.filter(pl.col("item").is_in(off.implode()))
    reversals = claims.filter(pl.col("kind") == "REVERSAL")
    taken_back = reversals["reverses_posting_id"].drop_nulls().implode()
    live = suspects.filter(~pl.col("posting_id").is_in(taken_back))
    account = (reference_key("account_number") != reference_key("ic_account")).fill_null(False)
    invoice = (reference_key("invoice_number") != reference_key("ic_invoice")).fill_null(False)
    rightful = heirs.select("item", "heir_key")
    if lines.height:
        own = lines.select("item", heir_key=reference_key("invoice_number")).drop_nulls()
        rightful = pl.concat([rightful, own])
        live = _with_line_account(live, lines)
    live = live.with_columns(heir_key=reference_key("invoice_number")).join(
        rightful.with_columns(is_heir=True), on=["item", "heir_key"], how="left"
    )
    judged = (
        live.with_columns(wrong=account | (invoice & ~pl.col("is_heir").fill_null(False)))
        .group_by("item")
        .agg(any_wrong=pl.col("wrong").any(), any_right=(~pl.col("wrong")).any())
    )
    corrected = pl.col("any_right") & pl.col("item").is_in(reversals["item"].implode())
    return judged.filter(pl.col("any_wrong") & ~corrected)["item"]


def _with_line_account(live: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """`ic_account` is the account of any line of a split payment that the posting names."""
    key = {"account": reference_key("account_number")}
    own = lines.select("item", named="account_number", **key).unique(["item", "account"], keep="first")
    named = live.with_columns(**key).join(own, on=["item", "account"], how="left", maintain_order="left")
    return named.with_columns(ic_account=pl.coalesce("named", "ic_account")).drop("named", "account")
