"""B38: a feed whose answers have another layout, or hold codes that nobody knows, for as long as that lasts."""

from __future__ import annotations

import polars as pl

from tasks.reconcile.breaks import NO_BREAKS, build
from tasks.reconcile.model import MONEY, TIME, ZERO
from tasks.reconcile.rules import Rules

LAYOUT, CODES = "layout", "codes"
_NOBODY = {name: pl.lit(None, pl.String) for name in ("payment_guid", "account_number", "invoice_number")}


def layout_changes(drifts: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """One B38 per feed. `drifts` (model.DRIFTS) holds what no good answer has made good since.

    A refused answer (its layout) counts before codes: of such an answer nothing is staged at all.
    """
    if drifts.is_empty():
        return NO_BREAKS
    layout = pl.col("kind") == LAYOUT
    kept = drifts.filter(pl.col("feed").is_in(list(rules.feeds))).filter(layout | ~layout.any().over("feed"))
    rows = (
        kept.sort("feed", "at", "detail", nulls_last=True)
        .group_by("feed", maintain_order=True)
        .agg(
            pl.col("kind").first(),
            occurred_at=pl.col("at").min(),
            count=pl.len(),
            words=pl.col("detail").drop_nulls().unique(maintain_order=True).tail(3),
        )
        .with_columns(
            **_NOBODY,
            subject="feed",
            amount=ZERO.cast(MONEY),
            due_at=pl.lit(None, TIME),
            detail=pl.col("words").list.join("; ").str.strip_chars(" .").replace("", "no reason given"),
        )
    )
    evidence = {"drift": ["feed", "kind", "count", "words"]}
    parts = [
        build(
            "B38", rules, rows.filter(pl.col("kind") == kind), way=way, facts=("detail",), evidence=evidence
        )
        for kind, way in ((LAYOUT, ""), (CODES, "codes"))
    ]
    return pl.concat(parts)
