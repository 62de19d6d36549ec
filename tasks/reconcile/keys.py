"""Keys for matching: how they are cleaned, and how two sides are paired so that no row is used twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

# Hyphens, dashes and minus signs that keyboards and word processors put in place of "-".
_DASHES = r"[\x{2010}-\x{2015}\x{2212}\x{FE58}\x{FE63}\x{FF0D}]"


def reference_key(column: str) -> pl.Expr:
    """Account or invoice for comparison: trimmed, lower case, one kind of dash; leading zeros count."""
    text = pl.col(column).str.strip_chars().str.to_lowercase().str.replace_all(_DASHES, "-")
    return _blank_to_null(text)


def id_key(column: str) -> pl.Expr:
    """A guid or processor reference for joining: trimmed, lower case; blank is null and never joins."""
    return _blank_to_null(pl.col(column).str.strip_chars().str.to_lowercase())


def _blank_to_null(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


@dataclass(frozen=True)
class Paired:
    """pairs: (left id, right id), each id at most once · left, right: ids with more than one candidate."""

    pairs: pl.DataFrame
    left_ambiguous: pl.Series
    right_ambiguous: pl.Series


def pair_once(left: pl.DataFrame, right: pl.DataFrame, on: Sequence[str]) -> Paired:
    """Pairs rows that are each other's only candidate under the key `on`; anything else is ambiguous.

    First column of each side = its id; the key columns follow. One side may hold an id under several
    keys (a date and its neighbours). Null keys never pair. Candidates are counted, never listed, so
    a million equal rows cost no more than a million different ones.
    """
    lid, rid = left.columns[0], right.columns[0]
    if left.is_empty() or right.is_empty():
        none = pl.DataFrame(schema={lid: left.schema[lid], rid: right.schema[rid]})
        return Paired(none, none[lid], none[rid])
    left, right = left.drop_nulls(on).unique([lid, *on]), right.drop_nulls(on).unique([rid, *on])
    left = _with_candidates(left, right, on, lid)
    right = _with_candidates(right, left.drop("candidates"), on, rid)
    single = pl.col("candidates") == 1
    tried = left.filter(single).drop("candidates").join(right.filter(single).drop("candidates"), on=on)
    pairs = tried.select(lid, rid)
    return Paired(pairs, _rest(left, lid, pairs[lid]), _rest(right, rid, pairs[rid]))


def _with_candidates(side: pl.DataFrame, other: pl.DataFrame, on: Sequence[str], id_: str) -> pl.DataFrame:
    counted = side.join(other.group_by(on).agg(pl.len().cast(pl.Int64).alias("n")), on=on)
    return counted.with_columns(pl.col("n").sum().over(id_).alias("candidates")).drop("n")


def _rest(side: pl.DataFrame, id_: str, paired: pl.Series) -> pl.Series:
    return side.select(pl.col(id_).unique()).join(paired.to_frame(id_), on=id_, how="anti")[id_]


def one_to_many(many: pl.DataFrame, one: pl.DataFrame, key: str, id_: str) -> tuple[pl.DataFrame, pl.Series]:
    """Rows of `many` joined to the single row of `one` with the same key.

    Returns the joined rows (`id_` added) and the ids of `one` that share a key someone asks for.
    """
    if many.is_empty():
        return many.with_columns(pl.lit(None, one.schema[id_]).alias(id_)), one[id_].clear()
    keyed = one.select(key, id_).drop_nulls(key)
    if many.height * 4 < one.height:  # few ask: look at their keys alone
        keyed = keyed.join(many.select(key), on=key, how="semi")
    repeated = keyed.select(pl.col(key).is_duplicated()).to_series()
    if not repeated.any():
        return many.join(keyed, on=key), keyed[id_].clear()
    shared = keyed.filter(repeated)
    asked = shared.join(many.select(key), on=key, how="semi")
    return many.join(keyed.filter(~repeated), on=key), asked[id_]


def without(frame: pl.DataFrame, id_: str, *used: pl.Series) -> pl.DataFrame:
    """`frame` without the rows whose id is in any of `used`."""
    gone = [ids.to_frame(id_) for ids in used if len(ids)]
    return frame.join(pl.concat(gone), on=id_, how="anti") if gone else frame
