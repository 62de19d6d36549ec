"""What looks at InvoiceCloud prove of a file whose upload had no answer. Pure frames.

Per record: `yes` (IC shows what was sent), `no` (IC shows what was there before, or nothing), `same` (before and
after look alike), `unclear`. Payments move a balance down meanwhile, so a lower balance is no contradiction.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

Verdict = Literal["taken", "not_taken", "mixed"]
_SEEN = ("total_amount_due", "balance_due", "due_date")


def judge(records: pl.DataFrame, before: pl.DataFrame, views: pl.DataFrame) -> pl.DataFrame:
    """`records` with a column `verdict`.

    before: what was accepted earlier per invoice (invoice_number, record_type, amounts, due_date); views: one
    look per record (record_id, found, account_number, amounts, due_date).
    """
    old = before.select("invoice_number", was="record_type", **{f"old_{name}": name for name in _SEEN})
    seen = views.select(
        "record_id", "found", seen_account="account_number", **{f"seen_{name}": name for name in _SEEN}
    )
    work = records.join(old, on="invoice_number", how="left").join(seen, on="record_id", how="left")
    there = pl.col("was").is_not_null() & (pl.col("was") != "D")
    found = pl.col("found")
    ordinary = (
        pl.when(~found).then(pl.lit("no"))
        .when(pl.col("seen_account") != pl.col("account_number")).then(pl.lit("unclear"))
        .when(~there).then(pl.when(_like("")).then(pl.lit("yes")).otherwise(pl.lit("unclear")))
        .when(_exact("") & _exact("old_")).then(pl.lit("same"))
        .when(_exact("")).then(pl.lit("yes"))
        .when(_exact("old_")).then(pl.lit("no"))
        .when(_like("") & ~_like("old_")).then(pl.lit("yes"))
        .when(_like("old_") & ~_like("")).then(pl.lit("no"))
        .otherwise(pl.lit("unclear"))
    )  # fmt: skip
    nothing_due = pl.col("seen_balance_due") == 0
    reissued = (
        pl.when(~found).then(pl.lit("unclear"))
        .when(~nothing_due).then(pl.lit("no"))
        .when((pl.col("old_balance_due") == 0).fill_null(False)).then(pl.lit("same"))
        .otherwise(pl.lit("yes"))
    )  # fmt: skip
    deleted = pl.when(found).then(pl.lit("no")).otherwise(pl.lit("yes"))
    verdict = (
        pl.when(found.is_null()).then(pl.lit("unclear"))
        .when(pl.col("record_type") == "A").then(ordinary)
        .when(pl.col("record_type") == "R").then(reissued)
        .otherwise(deleted)
    )  # fmt: skip
    return work.with_columns(verdict=verdict.fill_null("unclear")).select(*records.columns, "verdict")


def _exact(of: str) -> pl.Expr:
    return pl.all_horizontal(pl.col(f"seen_{n}").eq_missing(pl.col(f"{of}{n}")) for n in _SEEN)


def _like(of: str) -> pl.Expr:
    """The same bill, paid down perhaps."""
    bill = pl.all_horizontal(
        pl.col(f"seen_{n}").eq_missing(pl.col(f"{of}{n}")) for n in ("total_amount_due", "due_date")
    )
    return bill & (pl.col("seen_balance_due") <= pl.col(f"{of}balance_due")).fill_null(False)


def file_verdict(verdicts: pl.Series) -> Verdict:
    """All that can be told says yes: taken. All of it says no: not taken. Anything else: mixed."""
    counts = dict(verdicts.value_counts().iter_rows())
    yes, no, unclear = (counts.get(name, 0) for name in ("yes", "no", "unclear"))
    if yes and not no and not unclear:
        return "taken"
    return "not_taken" if no and not yes and not unclear else "mixed"
