"""BID_ACCOUNT_INVOICE.pdf: made, and parsed back to exactly one BID, account and invoice."""

from __future__ import annotations

import polars as pl

from tasks.errors import SettingsError

_LONGEST = 255  # bytes of a file name, nearly everywhere
_NEVER = r"[_/\\\x00-\x1f\x7f]"  # whatever the pattern of the settings lets through
_THREE = r"\A(?<bid>[^_]+)_(?<account_number>[^_]+)_(?<invoice_number>[^_]+)\.pdf\z"
PARTS = ("bid", "account_number", "invoice_number")


def with_image_names(frame: pl.DataFrame, bid: str, pattern: str) -> pl.DataFrame:
    """`frame` (account_number, invoice_number) with `image_name` and `name_trouble`; one of the two is null.

    Every part must match `pattern` whole and hold no underscore, or the name has two readings. Two invoices whose
    names differ in upper and lower case alone are both refused: the server's file system may fold them into one.
    Raises SettingsError if the pattern is none.
    """
    part_is_good = _matcher(pattern)
    name = pl.format("{}_{}_{}.pdf", pl.lit(bid), "account_number", "invoice_number")
    folded = pl.col("_name").str.to_lowercase()
    trouble = (
        pl.when(~part_is_good(pl.lit(bid)))
        .then(pl.lit("the BID does not fit outbound.image_name_pattern"))
        .when(~part_is_good(pl.col("account_number")).fill_null(False))
        .then(pl.lit("the account number does not fit outbound.image_name_pattern"))
        .when(~part_is_good(pl.col("invoice_number")).fill_null(False))
        .then(pl.lit("the invoice number does not fit outbound.image_name_pattern"))
        .when(pl.col("_name").str.len_bytes() > _LONGEST)
        .then(pl.lit("the name is longer than 255 bytes"))
        .when(pl.col("_name").n_unique().over(folded) > 1)
        .then(pl.lit("another invoice has the same name but for upper and lower case"))
    )
    named = frame.with_columns(_name=name).with_columns(name_trouble=trouble.cast(pl.String))
    fine = pl.col("name_trouble").is_null()
    return named.with_columns(image_name=pl.when(fine).then("_name")).drop("_name")


def parse_names(names: pl.Series, pattern: str) -> pl.DataFrame:
    """bid, account_number, invoice_number of each name; all null where it is not one of ours."""
    part_is_good = _matcher(pattern)
    parts = names.to_frame("name").select(pl.col("name").str.extract_groups(_THREE)).unnest("name")
    good = pl.all_horizontal(part_is_good(pl.col(name)) for name in PARTS)
    short = names.to_frame("name").select(pl.col("name").str.len_bytes() <= _LONGEST)["name"]
    return parts.select(pl.when(good & pl.lit(short)).then(pl.col(name)).alias(name) for name in PARTS)


class _matcher:
    """Does a text match the pattern whole? Rust's expressions are not quite Python's, so it is tried here."""

    def __init__(self, pattern: str) -> None:
        self._whole = rf"\A(?:{pattern})\z"
        try:
            pl.Series(["x"]).str.contains(self._whole)
        except pl.exceptions.ComputeError:
            raise SettingsError(
                "outbound.image_name_pattern is no pattern that can be matched row by row (no look-around, no references)"
            ) from None

    def __call__(self, text: pl.Expr) -> pl.Expr:
        return text.str.contains(self._whole) & ~text.str.contains(_NEVER)
