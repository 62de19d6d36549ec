"""What the two lists of a conversion must not say. One finding, and nothing of the conversion is sent. Pure."""

from __future__ import annotations

import polars as pl

REFUSALS = pl.Schema({"rule": pl.String(), "invoice_number": pl.String(), "sentence": pl.String()})
IC, SPECTRUM = "InvoiceCloud's list", "Spectrum's list"
LIVE = ["OPEN", "PAID"]


def contradictions(open_at_ic: pl.DataFrame, spectrum: pl.DataFrame) -> pl.DataFrame:
    """REFUSALS rows, sorted; accounts are named by their last four characters only."""
    found = [
        _twice(open_at_ic, IC),
        _twice(spectrum, SPECTRUM),
        _accounts_of_both(open_at_ic, spectrum),
        _accounts_of_successors(open_at_ic, spectrum),
        *_replaced(spectrum),
        _paid(spectrum),
        _zeros(open_at_ic, spectrum),
    ]
    return (
        pl.concat([pl.DataFrame(schema=REFUSALS), *found]).unique().sort("rule", "invoice_number", "sentence")
    )


def _told(rows: pl.DataFrame, rule: str, words: str, *parts: str | pl.Expr) -> pl.DataFrame:
    number = pl.col("invoice_number")
    sentence = pl.format(words, *parts)
    told = rows.select(rule=pl.lit(rule), invoice_number=number, sentence=sentence)
    return told.select(pl.col(name).cast(kind) for name, kind in REFUSALS.items())


def _twice(rows: pl.DataFrame, where: str) -> pl.DataFrame:
    again = rows.filter(pl.col("invoice_number").is_duplicated()).unique("invoice_number")
    return _told(again, "twice", f"Invoice {{}} is in {where} more than once.", "invoice_number")


def _accounts_of_both(open_at_ic: pl.DataFrame, spectrum: pl.DataFrame) -> pl.DataFrame:
    """Rule of the conversion: account numbers will not change."""
    both = open_at_ic.join(spectrum.select("invoice_number", other="account_number"), on="invoice_number")
    differ = both.filter(pl.col("account_number") != pl.col("other"))
    words = "Invoice {} is under account {} at InvoiceCloud and under {} in Spectrum{}: account numbers do not change."
    parts = (short("account_number"), short("other"), _zero_words("account_number", "other"))
    return _told(differ, "account", words, "invoice_number", *parts)


def _accounts_of_successors(open_at_ic: pl.DataFrame, spectrum: pl.DataFrame) -> pl.DataFrame:
    known = pl.concat(
        [rows.select(old="invoice_number", was="account_number") for rows in (open_at_ic, spectrum)]
    )
    pairs = spectrum.join(known.unique(), left_on="replaces_invoice_number", right_on="old")
    differ = pairs.filter(pl.col("was") != pl.col("account_number"))
    words = (
        "Invoice {} is under account {} and replaces {}, which is under {}{}: account numbers do not change."
    )
    parts = (
        short("account_number"),
        "replaces_invoice_number",
        short("was"),
        _zero_words("account_number", "was"),
    )
    return _told(differ, "account", words, "invoice_number", *parts)


def _replaced(spectrum: pl.DataFrame) -> list[pl.DataFrame]:
    own = spectrum.filter(pl.col("replaces_invoice_number") == pl.col("invoice_number"))
    named = spectrum.filter(pl.col("replaces_invoice_number") != pl.col("invoice_number")).select(
        old="replaces_invoice_number", by="invoice_number"
    )
    live = spectrum.filter(pl.col("status").is_in(LIVE)).join(named, left_on="invoice_number", right_on="old")
    words = "Invoice {} is {} in Spectrum's list, which also says that {} replaces it."
    return [
        _told(own, "replaces_itself", "Invoice {} is said to replace itself.", "invoice_number"),
        _told(live, "live_and_replaced", words, "invoice_number", "status", "by"),
    ]


def _paid(spectrum: pl.DataFrame) -> pl.DataFrame:
    owed = spectrum.filter((pl.col("status") == "PAID") & (pl.col("balance_due") > 0))
    words = "Invoice {} is PAID in Spectrum's list and still owes {} USD there."
    return _told(owed, "paid_and_owed", words, "invoice_number", pl.col("balance_due").cast(pl.String))


def _zeros(open_at_ic: pl.DataFrame, spectrum: pl.DataFrame) -> pl.DataFrame:
    """A spreadsheet that ate the leading zeros would have every invoice deleted and sent again as a new one."""
    bare = pl.col("invoice_number").str.strip_chars_start("0")
    gone = open_at_ic.join(spectrum, on="invoice_number", how="anti").with_columns(bare=bare)
    new = spectrum.join(open_at_ic, on="invoice_number", how="anti").filter(pl.col("status").is_in(LIVE))
    alike = gone.join(new.select(bare=bare, other="invoice_number"), on="bare")
    words = "Invoice {} is open at InvoiceCloud, and Spectrum has {}: they differ in leading zeros only."
    return _told(alike, "leading_zeros", words, "invoice_number", "other")


def short(account: str) -> pl.Expr:
    """The end of an account number: …6789."""
    return pl.format("…{}", pl.col(account).str.tail(4))


def _zero_words(one: str, other: str) -> pl.Expr:
    same = pl.col(one).str.strip_chars_start("0") == pl.col(other).str.strip_chars_start("0")
    return pl.when(same).then(pl.lit(" (they differ in leading zeros only)")).otherwise(pl.lit(""))
