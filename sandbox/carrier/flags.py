"""IMT's own flags of each account, AutoPay and paperless: those of InvoiceCloud's lists, but where B32 and B33 differ."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from sandbox.carrier.autopays import AutoPays
from sandbox.carrier.draws import Draws
from sandbox.carrier.span import STAMP, Span

SETTLED = timedelta(days=5)  # nothing changed at either side for so long where a flag is planted
_LONG_AGO = timedelta(days=400)


def build(
    draws: Draws,
    span: Span,
    accounts: pl.DataFrame,
    drawn: pl.DataFrame,
    mailed: pl.DataFrame,
    pays: AutoPays | None,
    wanted: Mapping[str, int],
) -> pl.DataFrame:
    """account_number, list, enrolled, changed_at, prints, legal_notice, plant: two rows per account, at the close.

    B32 flips a flag. B33 in turn flips one and lets IMT print what goes out without paper as well.
    """
    lists = {
        "AUTOPAY": _now(span, drawn, pl.col("autopay")),
        "PAPERLESS": _now(span, mailed, ~pl.col("paper_invoices")),
    }
    if pays is not None:  # who left AutoPay did so at a moment that IMT knows
        gone = pays.enrolled.filter(pl.col("left_at").is_not_null()).select(
            "account_number", pl.lit(False).alias("enrolled"), pl.col("left_at").alias("changed_at"),
            pl.lit(True).alias("changes"),
        )  # fmt: skip
        lists["AUTOPAY"] = pl.concat([lists["AUTOPAY"], gone.select(lists["AUTOPAY"].columns)])
    codes = {"AUTOPAY": "B32", "PAPERLESS": "B33"}
    parts = []
    for name, held in lists.items():
        rows = accounts.select("account_number").join(
            held, on="account_number", how="left", maintain_order="left"
        )
        code, rank = codes[name], draws.u64(f"flag_{name}", rows.height)
        rows = rows.with_columns(
            pl.col("enrolled").fill_null(False),
            pl.col("changed_at").fill_null(pl.lit(span.start - _LONG_AGO, STAMP)),
            rank.alias("rank"),
            pl.lit(name).alias("list"),
        ).with_row_index("n")
        quiet = rows.filter(
            (pl.col("changed_at") < span.close - SETTLED) & ~pl.col("changes").fill_null(False)
        )
        prints = quiet.filter("enrolled").sort("rank").head(wanted[code] // 2 if code == "B33" else 0)
        flipped = quiet.join(prints, on="n", how="anti").sort("rank").head(wanted[code] - prints.height)
        is_flipped, is_printed = (pl.col("n").is_in(part["n"].implode()) for part in (flipped, prints))
        enrolled = pl.col("enrolled") ^ is_flipped
        printed = pl.when(pl.lit(name == "PAPERLESS")).then(~enrolled | is_printed)
        parts.append(
            rows.select(
                "account_number",
                "list",
                enrolled.alias("enrolled"),
                "changed_at",
                printed.alias("prints"),
                pl.lit(False).alias("legal_notice"),
                pl.when(is_flipped | is_printed).then(pl.lit(code)).alias("plant"),
            )
        )
    return pl.concat(parts).sort("account_number", "list")


def _now(span: Span, states: pl.DataFrame, enrolled: pl.Expr) -> pl.DataFrame:
    """InvoiceCloud's state at the close, and whether it changed in the span at all."""
    now = (pl.col("valid_from") <= span.close) & (
        pl.col("valid_to").is_null() | (pl.col("valid_to") > span.close)
    )
    changes = states.group_by("account_number").agg(
        (pl.col("valid_from") > span.start).any().alias("changes")
    )
    # Where a row vanished, the account left the list then.
    left = states.group_by("account_number").agg(pl.col("valid_to").max().alias("left_at"))
    held = states.filter(now).select("account_number", enrolled.alias("enrolled"), "valid_from")
    return (
        changes.join(left, on="account_number")
        .join(held, on="account_number", how="left")
        .select(
            "account_number",
            "enrolled",
            pl.coalesce("valid_from", "left_at").alias("changed_at"),
            (pl.col("changes") | pl.col("left_at").is_not_null()).alias("changes"),
        )
    )


def delivered(mailed: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    """The paperless list; without bounced mail where B33 is planted, for each of those would be one."""
    bounced = pl.lit(False) if wanted["B33"] else pl.col("email_bounced")
    return mailed.with_columns(bounced.alias("email_bounced"))


def imt(kept: pl.DataFrame) -> pl.DataFrame:
    """The flags as IMT exports them: the whole list."""
    return kept.drop("plant")
