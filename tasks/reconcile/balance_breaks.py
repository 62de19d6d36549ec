"""B27: InvoiceCloud was told, or shows, a balance that was already wrong when it was told or shown.

A change that InvoiceCloud has not heard of yet is no break by itself: it asks before it shows a balance, so
the question that comes brings the change along (rules: untold_hours, for those who want to know of it).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.keys import id_key, reference_key
from tasks.reconcile.model import MONEY, TIME, ZERO, Inputs
from tasks.reconcile.rules import Rules, overdue

_WORDS = {"answer": "was told", "look": "shows"}


def balance_drift(
    data: Inputs,
    pieces: pl.DataFrame,
    booked: pl.DataFrame,
    told_elsewhere: pl.DataFrame,
    coverage: Coverage,
    rules: Rules,
    as_of: datetime,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B27 and the rows held back: payments must be known from IMT's last change (or as far back as one may
    lie, orphan_lookback_days) to what IC was told.

    `pieces`: payments, or their lines (prepared); `booked` (item): those with a posting on an invoice;
    `told_elsewhere`: breaks of the invoice side; an invoice that stands in B25, B26 or B28 is not told again.
    """
    if data.balances.is_empty():
        return NO_BREAKS, NONE_HELD
    views = _views(data)
    clipped = pl.max_horizontal("balance", ZERO)
    rows = (
        data.balances.filter(pl.col("status").is_in(["OPEN", "PAID"]))
        .with_columns(key=reference_key("invoice_number"), owed=clipped.cast(MONEY))
        .join(views, on="key")
        .filter(pl.col("shown") != pl.col("owed"))
        .with_columns(due_at=rules.due_at("B27", "changed_at"))
    )
    after = pl.col("at") >= pl.col("changed_at")
    wrong = (pl.col("view") != "record") & after & overdue("due_at", "changed_at", as_of)
    if (hours := rules.codes["B27"].untold_hours) is not None:
        untold = ~after & (pl.col("changed_at") + pl.duration(seconds=hours * 3600) < pl.lit(as_of, TIME))
        wrong = wrong | untold
    elsewhere = told_elsewhere.filter(pl.col("code").is_in(["B25", "B26", "B28"]))
    rows = rows.filter(wrong).join(elsewhere.select("invoice_number"), on="invoice_number", how="anti")
    if rows.height:
        rows = _unexplained(rows, data, pieces, booked)
    rows = rows.with_columns(
        subject="invoice_number",
        payment_guid=pl.lit(None, pl.String),
        amount=(pl.col("shown") - pl.col("owed")).cast(MONEY),
        occurred_at="at",
        since="changed_at",
        net="owed",
        other=pl.format("{} USD", pl.col("shown").cast(pl.String)),
        what=pl.col("view").replace_strict(_WORDS, default="was sent", return_dtype=pl.String),
        told=pl.struct("view", "shown", told_at="at"),
    )
    longest = pl.col("at") - pl.duration(days=rules.orphan_lookback_days)
    begin = pl.min_horizontal(pl.max_horizontal("changed_at", longest), "at")
    proven = coverage.covers("payments", rows.select(begin=begin)["begin"], rows["at"])
    evidence: dict[str, list[str] | str] = {"balance": ["status", "balance", "changed_at"], "told": "told"}
    facts = ("what", "other", "net", "since")
    return build("B27", rules, rows.filter(proven), facts=facts, evidence=evidence), rows.filter(~proven)


def _views(data: Inputs) -> pl.DataFrame:
    """key, view (answer, look, record), at, shown: the newest that IC has of each invoice."""
    answered = (pl.col("subject") == "INVOICE") & (pl.col("result") == "answered")
    parts = (
        data.calls.filter(answered).select("invoice_number", at="called_at", shown="balance_answered", view=pl.lit("answer")),
        data.looks.filter("found").select("invoice_number", at="at", shown="balance_due", view=pl.lit("look")),
        data.records.filter((pl.col("state") == "accepted") & (pl.col("record_type") == "A")).select(
            "invoice_number", at=pl.coalesce("settled_at", "composed_at"), shown="balance_due", view=pl.lit("record")
        ),
    )  # fmt: skip
    every = pl.concat(parts).drop_nulls().with_columns(key=reference_key("invoice_number"))
    # At the same moment an answer counts before a look, a record before both: it is newer at IC.
    rank = pl.col("view").replace_strict({"look": 0, "answer": 1, "record": 2}, return_dtype=pl.Int8)
    last = every.sort("at", rank, "shown").unique("key", keep="last", maintain_order=True)
    return last.select("key", "view", "at", "shown")


def _unexplained(
    rows: pl.DataFrame, data: Inputs, pieces: pl.DataFrame, booked: pl.DataFrame
) -> pl.DataFrame:
    """Without the rows whose difference is money on its way: paid or pushed, and not on IMT's invoice yet."""
    paid = pieces.filter(pl.col("accepted") & ~pl.col("is_refund")).join(booked, on="item", how="anti")
    paid = paid.select("guid_key", "invoice_number", amount="payment_amount", at_money="payment_date")
    posted = data.postings.filter((pl.col("status") == "POSTED") & (pl.col("kind") == "PAYMENT"))
    done = [posted.select(guid_key=id_key("payment_guid")), pieces.join(booked, on="item").select("guid_key")]
    pushed = (
        data.pushes.filter(pl.col("approved") & (pl.col("variant") == 1))
        .select(
            "invoice_number", guid_key=id_key("payment_guid"), amount="payment_amount", at_money="received_at"
        )
        .select(paid.columns)
        .join(pl.concat(done).drop_nulls(), on="guid_key", how="anti")
    )
    either = pl.concat([paid, pushed.join(paid, on="guid_key", how="anti")])
    for name, money in (("paid", paid), ("pushed", pushed), ("either", either)):
        waiting = money.with_columns(key=reference_key("invoice_number"))
        waiting = waiting.join(rows.select("key", "at"), on="key")
        before = pl.col("at_money") <= pl.col("at")
        sums = waiting.group_by("key").agg(
            pl.col("amount").filter(before).sum().cast(MONEY).alias(f"{name}_before"),
            pl.col("amount").filter(~before).sum().cast(MONEY).alias(f"{name}_after"),
        )
        rows = rows.join(sums, on="key", how="left")
        rows = rows.with_columns(pl.col(f"{name}_before", f"{name}_after").fill_null(ZERO))
    explained = [_clipped(pl.col("owed") - pl.col(f"{name}_before")) == pl.col("shown") for name in _MONEY]
    explained += [_clipped(pl.col("shown") - pl.col(f"{name}_after")) == pl.col("owed") for name in _MONEY]
    return rows.filter(~pl.any_horizontal(explained))


_MONEY = ("paid", "pushed", "either")


def _clipped(amount: pl.Expr) -> pl.Expr:
    return pl.when(amount > ZERO).then(amount).otherwise(ZERO).cast(MONEY)
