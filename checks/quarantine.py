"""Splits a typed frame into rows that keep their contract and rows that are set aside, with reasons.

Row failures carry an index and set one row aside; a shape failure (column missing, other type) has
none and stops the load. Nothing is dropped: accepted + set aside + identical duplicates = rows in.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandera.errors
import polars as pl

from checks.contracts import Contract

_WORDS = {
    "not_nullable": "is missing",
    "str_matches": "has a form that is not allowed",
    "str_length": "is empty or too long",
    "isin": "is not one of the known values",
    "greater_than_or_equal_to": "is below the least that is allowed",
    "greater_than": "is below the least that is allowed",
    "less_than_or_equal_to": "is above the most that is allowed",
}
REASONS = pl.Schema([("row_no", pl.Int64()), ("reasons", pl.List(pl.String))])


class ShapeError(ValueError):
    """The frame as a whole does not have the contract's columns; nothing of it may be loaded."""


@dataclass(frozen=True)
class Split:
    """`good`: contract columns and row_no. `bad`: row_no, reasons. `duplicate_rows`: row_no of identical rows left out."""

    good: pl.DataFrame
    bad: pl.DataFrame
    duplicate_rows: pl.DataFrame

    @property
    def duplicates(self) -> int:
        """How many identical rows were left out."""
        return self.duplicate_rows.height


def split(frame: pl.DataFrame, contract: type[Contract], key: list[str]) -> Split:
    """Applies row rules and frame rules of `contract` to `frame` (its columns plus row_no).

    Identical rows of one answer count once; the same key with different content sets all of its rows
    aside, because nobody can tell which one is right. Raises ShapeError.
    """
    bad = broken_rules(frame, contract)
    good = frame.join(bad, on="row_no", how="anti") if bad.height else frame
    good, clashing, duplicates = _one_per_key(good, key)
    return Split(good, pl.concat([bad, clashing]) if clashing.height else bad, duplicates)


def broken_rules(frame: pl.DataFrame, contract: type[Contract]) -> pl.DataFrame:
    """row_no and reasons of the rows that break the contract. Raises ShapeError."""
    try:
        contract.validate(frame.drop("row_no"), lazy=True)
    except pandera.errors.SchemaErrors as failure:
        cases = failure.failure_cases
        shape = cases.filter(pl.col("index").is_null())
        if shape.height:
            words = shape.select(pl.format("{}: {}", pl.col("column"), pl.col("check"))).to_series()
            raise ShapeError("; ".join(words.unique().sort().to_list())) from None
        return _by_row(frame, cases)
    return pl.DataFrame(schema=REASONS)


def _by_row(frame: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    """Reasons in plain words. The failing value itself is not repeated: the raw row holds it."""
    name = pl.col("check").str.extract(r"^(\w+)", 1)
    words = name.replace(_WORDS)
    reason = (
        pl.when(pl.col("schema_context") == "Column")
        .then(pl.format("{} {}", pl.col("column"), words))
        .otherwise(pl.format("breaks the rule: {}", name.str.replace_all("_", " ")))
    )
    rows = frame.select("row_no").with_row_index("index").with_columns(pl.col("index").cast(pl.Int64))
    return (
        cases.select(pl.col("index").cast(pl.Int64), reason=reason)
        .join(rows, on="index")
        .group_by("row_no", maintain_order=True)
        .agg(reasons=pl.col("reason").unique(maintain_order=True))
        .select("row_no", "reasons")
        .sort("row_no")
    )


def _one_per_key(frame: pl.DataFrame, key: list[str]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    nothing = pl.DataFrame(schema=REASONS)
    if frame.select(key).n_unique() == frame.height:
        return frame, nothing, frame.head(0).select("row_no")
    content = [name for name in frame.columns if name != "row_no"]
    once = frame.unique(subset=content, keep="first", maintain_order=True)
    clash = pl.len().over(key) > 1
    clashing = once.filter(clash).select("row_no")
    reasons = clashing.with_columns(
        reasons=pl.lit(
            [f"the same {' + '.join(key)} appears with different content"], dtype=pl.List(pl.String)
        )
    )
    left_out = frame.select("row_no").join(once.select("row_no"), on="row_no", how="anti")
    return once.filter(~clash), reasons, left_out
