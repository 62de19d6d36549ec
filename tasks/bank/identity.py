"""Ids of bank lines: the same line has the same id in whatever file it comes, two equal lines have two."""

from __future__ import annotations

import hashlib

import polars as pl

_PARTS = ("bank_account_last4", "value_date", "_kind", "_amount", "bank_reference", "trace", "text")


def line_ids(lines: pl.DataFrame) -> pl.Series:
    """Text columns of bank lines (of the contract, those that are there) → one id per line, in order.

    Made of account, day, type code (the sign where there is none), amount, references and text, and of a number
    that counts equal lines of one file. A statement that overlaps another therefore gives the same ids, and so
    does the same line in BAI2 and CSV. Two accounts with the same last four are taken for one: only a line equal
    in everything else, in another file, would be lost by that; the full number is in no id, because it can be guessed
    from a hash. One Python step per line: a statement has some thousand a day.
    """
    given = [name for name in lines.columns if name in (*_PARTS, "amount", "type_code")]
    text = lines.select(pl.col(name).cast(pl.String).str.strip_chars().replace("", None) for name in given)
    absent = [name for name in (*_PARTS[:2], *_PARTS[4:], "amount", "type_code") if name not in given]
    text = text.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    amount = pl.col("amount")
    money = amount.cast(pl.Decimal(18, 2), strict=False).abs().cast(pl.String)
    sign = pl.when(amount.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit("+"))
    text = text.with_columns(
        _amount=pl.coalesce(money, amount), _kind=pl.coalesce("type_code", sign), value_date=pl.col("value_date").str.head(10)
    )  # fmt: skip
    same = pl.concat_str([pl.col(name).fill_null("") for name in _PARTS], separator="\x1f")
    counted = text.select(
        "value_date",
        same=same,
        number=pl.int_range(1, pl.len() + 1).over(same, mapping_strategy="group_to_rows"),
    )
    ids = [
        f"{(day or 'no-date')[:10]}-{hashlib.sha256(line.encode()).hexdigest()[:24]}-{number}"
        for day, line, number in counted.iter_rows()
    ]
    return pl.Series("line_id", ids, dtype=pl.String)
