"""Which payments carry a planted break. Every planted payment carries exactly one."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from sandbox.carrier.returns import FINAL_FOR, IN_TIME_FOR, SIGNED_OFF, WAS_FINAL
from sandbox.carrier.span import OLD_BANKING_DAYS, Span

DEFAULT_PLANT: dict[str, int] = {
    "B01": 3,
    "B02": 3,
    "B03": 2,
    "B04": 2,
    "B05": 3,
    "B06": 2,
    "B07": 2,
    "B08": 2,
    "B09": 4,
    "B10": 3,
    "B11": 3,
    "B12": 2,
    "B16": 3,
    "B18": 2,
    "B20": 2,
    "B26": 2,
    "B27": 0,
    "B28": 2,
    "B29": 1,
    "B30": 2,
    "B31": 3,
    "B42": 2,
}
# Classes that need the bank's statement, the portal's exports or IMT's flags; off unless asked for.
FURTHER: dict[str, int] = {
    "B13": 1,
    "B14": 2,
    "B15": 2,
    "B17": 2,
    "B19": 2,
    "B21": 2,  # signed off, if whoever plays it signs off Carrier.to_sign_off(); final, where the span is long enough
    "B22": 2,
    "B23": 2,
    "B24": 2,
    "B32": 2,
    "B33": 2,
    "B34": 2,
    "B35": 2,
    "B40": 2,
    "B41": 2,
    "B44": 1,
    "B43": 1,  # not so many of them, but told at all: it follows from what came back
}
DEFAULT_PLANT |= dict.fromkeys(FURTHER, 0)
ALL_PLANT: dict[str, int] = DEFAULT_PLANT | FURTHER
# What the further classes are told from: right ones of each, planted beside them.
POSTED_DISPUTE, WON_DISPUTE, RIGHT_REFUND, CLEARED = (
    "dispute/posted",
    "dispute/won",
    "refund/both",
    "suspense/cleared",
)
# Found only where invoices are sent; B31 needs bill images besides (and brings a B25 for each record it holds).
SENT_ONLY = ("B26", "B28", "B29", "B31")
# Found only where InvoiceCloud asks for balances and is answered, so none is planted unless it is asked for.
SERVED_ONLY = ("B27",)
# B09 comes in two kinds: declined but posted, approved but refused by IMT.
DECLINED_POSTED, APPROVED_REFUSED = "B09/declined", "B09/refused"
# A dispute or refund lies some days after the settlement, an untimely return further; both have to be old.
_DISPUTED_BANKING_DAYS, _UNTIMELY_BANKING_DAYS = 12, 17
# B24 comes in two kinds: refunded at InvoiceCloud alone, posted by IMT alone.
REFUNDED, REFUND_POSTED = "B24/ic", "B24/imt"
PAIRED = ("B04", "B07")  # payments of two rows, laid out by doubles.py


def counts(plant: Mapping[str, int] | None) -> dict[str, int]:
    """The wanted number per class; classes that `plant` does not name keep their default."""
    unknown = set(plant or {}) - set(DEFAULT_PLANT)
    if unknown:
        raise ValueError(f"cannot plant {', '.join(sorted(unknown))}; known: {', '.join(DEFAULT_PLANT)}")
    return DEFAULT_PLANT | dict(plant or {})


def assign(book: pl.DataFrame, span: Span, wanted: Mapping[str, int]) -> pl.DataFrame:
    """The book with a column `plant`: a class, or null. Lowest random rank first, disjoint.
    Of a B04 the later payment has it, of a B07 both lines.

    A class gets fewer than wanted when the span holds too few payments that fit.
    """
    old = pl.col("payment_date") <= span.old
    clean = (
        pl.col("approved")
        & old
        & ~pl.col("gap")
        & ~pl.col("twin")
        & pl.col("paired").is_null()
        & ~pl.col("returned")
    )
    alone = pl.len().over("invoice_number") == 1  # nothing else is paid on an invoice that dies early
    age = pl.lit(int(span.calendar.index(pl.Series([span.close.date()]))[0])) - pl.col("local_index")
    returned = pl.col("returned") & (pl.col("reject_date") <= span.old)
    aged, card = clean & (age >= OLD_BANKING_DAYS), pl.col("tender") == "CARD"
    long_final = clean & alone & (pl.col("local_date") < span.old.date() - FINAL_FOR)
    # Late for the period alone, and in time for its code, whose sixty days begin with the settlement.
    in_time = aged & alone & (pl.col("local_date") > span.close.date() - IN_TIME_FOR)
    long_ago = clean & (age >= _UNTIMELY_BANKING_DAYS) & alone
    # Classes with the rarest candidates first.
    fits: list[tuple[str, int, pl.Expr]] = [
        ("B16", wanted["B16"], returned),
        ("B20", wanted["B20"], returned),
        (DECLINED_POSTED, (wanted["B09"] + 1) // 2, ~pl.col("approved") & old & ~pl.col("gap")),
        ("B10", wanted["B10"], clean & (age >= OLD_BANKING_DAYS)),
        ("B06", wanted["B06"], clean & pl.col("fee_cents").is_not_null()),
        (APPROVED_REFUSED, wanted["B09"] // 2, clean),
        ("B01", wanted["B01"], clean),
        ("B03", wanted["B03"], clean),
        ("B05", wanted["B05"], clean),
        ("B08", wanted["B08"], clean),
        ("B30", wanted["B30"], clean & alone),
        ("B19", wanted["B19"], returned & (pl.col("cents") > 5_000)),
        (WAS_FINAL, wanted["B21"] // 2, long_final & (pl.col("tender") == "EFT")),
        (SIGNED_OFF, (wanted["B21"] + 1) // 2, in_time & (pl.col("tender") == "EFT")),
        ("B22", wanted["B22"], long_ago & (pl.col("tender") == "EFT")),
        ("B17", wanted["B17"], aged & alone & (pl.col("tender") == "EFT")),
        ("B23", wanted["B23"], aged & alone & card & (age >= _DISPUTED_BANKING_DAYS)),
        (REFUNDED, (wanted["B24"] + 1) // 2, aged & alone & card & (age >= _DISPUTED_BANKING_DAYS)),
        (REFUND_POSTED, wanted["B24"] // 2, aged & alone & card & (age >= _DISPUTED_BANKING_DAYS)),
        ("B40", wanted["B40"], aged & alone),
        ("B41", wanted["B41"], aged & alone),
    ]
    chosen = pl.DataFrame(schema={"seq": pl.Int64, "plant": pl.String})
    for name, count, fit in fits:
        free = book.filter(fit).select("seq", "rank").join(chosen, on="seq", how="anti")
        taken = free.sort("rank", "seq").head(count).select("seq", pl.lit(name).alias("plant"))
        chosen = pl.concat([chosen, taken])
    book = book.join(chosen, on="seq", how="left", maintain_order="left")
    book = _beside(book, aged & alone & card & (age >= _DISPUTED_BANKING_DAYS), wanted)
    own = pl.when(pl.col("paired").is_in(PAIRED)).then("paired")
    return book.with_columns(pl.coalesce("plant", own).alias("plant"))


def _beside(book: pl.DataFrame, fit: pl.Expr, wanted: Mapping[str, int]) -> pl.DataFrame:
    """Adds `right`: what happens to a payment, by the book, of the kinds that B23, B24 and B41 plant wrongly."""
    kinds = [POSTED_DISPUTE, WON_DISPUTE] if wanted["B23"] else []
    kinds += [RIGHT_REFUND] if wanted["B24"] else []
    kinds += [CLEARED] if wanted["B41"] else []
    free = book.filter(fit & pl.col("plant").is_null()).sort("rank", "seq").head(len(kinds))
    right = free.select("seq", pl.Series("right", kinds[: free.height], dtype=pl.String))
    return book.join(right, on="seq", how="left", maintain_order="left")
