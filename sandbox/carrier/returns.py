"""ACH returns: which debits come back, when, with what code; and the rejects report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from sandbox.carrier.draws import Draws
from sandbox.carrier.span import STAMP, Span, local_date, money

CODES = {"R01": 50, "R02": 10, "R03": 12, "R04": 4, "R09": 10, "R10": 5, "R16": 2, "R20": 3, "R29": 4}
REASONS = {
    "R01": "Insufficient Funds",
    "R02": "Account Closed",
    "R03": "No Account/Unable to Locate Account",
    "R04": "Invalid Account Number",
    "R09": "Uncollected Funds",
    "R10": "Customer Advises Not Authorized",
    "R16": "Account Frozen",
    "R20": "Non-Transaction Account",
    "R29": "Corporate Customer Advises Not Authorized",
}
PER_MILLE = 25
UNTIMELY_AFTER, UNTIMELY_CODE = 9, "R01"  # banking days after the settlement; its window is two
# B21 comes in two kinds, both with a code of sixty days: back after its day was signed off, back when it was final.
SIGNED_OFF, WAS_FINAL, LATE_CODE = "B21/signed", "B21/final", "R10"
SIGNED_BEFORE = timedelta(days=3)  # before the close; the day is signed off then
# Final two banking days after the sixtieth day; back on the next, which is still within the code's window and slack.
_SIXTY, _FINAL_AFTER, FINAL_FOR = timedelta(days=60), 3, timedelta(days=72)
IN_TIME_FOR = timedelta(days=55)
ORPHAN_AGE = timedelta(days=6)
NAMED_AFTER_DAYS, NAMELESS_AFTER_DAYS = 7, 15
_SCHEMA = pl.Schema(
    {
        "reject_date": STAMP,
        "original_payment_guid": pl.String(),
        "original_payment_date": STAMP,
        "account_number": pl.String(),
        "invoice_number": pl.String(),
        "cents": pl.Int64(),
        "return_code": pl.String(),
        "reject_sequence": pl.Int32(),
        "plant": pl.String(),
        "processor_reference": pl.String(),
    }
)


def mark(draws: Draws, span: Span, book: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    """The book with `returned` and `reject_date`, 2 to 4 banking days after the payment, early morning.

    Besides a few per mille of the debits, enough old ones come back for the planted classes.
    """
    rows = book.height
    after = draws.between("return_days", rows, 2, 4)
    day = span.calendar.add(book["local_date"], after)
    second = draws.between("return_second", rows, 9 * 3_600, 13 * 3_600 - 1)
    moment = day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + (second * 1_000_000).cast(
        pl.Duration("us")
    )
    book = book.with_columns(
        moment.alias("reject_date"),
        span.calendar.index(book["local_date"]).alias("local_index"),
        draws.chance("returned", rows, PER_MILLE).alias("drawn"),
        draws.pick("return_code", rows, CODES).alias("return_code"),
    )
    ordinary = ~pl.col("twin") & pl.col("paired").is_null() & ~pl.col("gap")
    debit = pl.col("approved") & (pl.col("tender") == "EFT") & ordinary
    needed = wanted["B16"] + wanted["B20"] + wanted["B19"]
    fit = debit & (pl.col("reject_date") <= span.old)
    spare = book.filter(fit).sort("rank", "seq", descending=True).head(needed + 4 if needed else 0)["seq"]
    returned = debit & (pl.col("drawn") | pl.col("seq").is_in(spare.implode()))
    book = book.with_columns((returned & (pl.col("reject_date") <= span.close)).alias("returned")).drop(
        "drawn"
    )
    return book.with_columns(pl.when("returned").then("reject_date"))


def late(span: Span, book: pl.DataFrame) -> pl.DataFrame:
    """The book with the returns of B22, long after the two banking days that its code has, and of B21."""
    known = book.filter(pl.col("plant").is_in(("B22", SIGNED_OFF, WAS_FINAL)))
    settled = span.calendar.add(known["local_date"], 2)
    signed = pl.repeat((span.close - SIGNED_BEFORE).date(), known.height, dtype=pl.Date, eager=True)
    day = pl.select(
        pl.when(known["plant"] == "B22")
        .then(span.calendar.add(settled, UNTIMELY_AFTER))
        .when(known["plant"] == SIGNED_OFF)
        .then(span.calendar.add(signed, 1))
        .otherwise(_after_sixty(span, known, settled))
    ).to_series()
    at = day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").dt.offset_by("10h17m")
    back = known.select(
        "seq",
        at.alias("late_at"),
        pl.when(pl.col("plant") == "B22")
        .then(pl.lit(UNTIMELY_CODE))
        .otherwise(pl.lit(LATE_CODE))
        .alias("late_code"),
    )
    book = book.join(back, on="seq", how="left", maintain_order="left")
    return book.with_columns(
        pl.coalesce("late_at", "reject_date").alias("reject_date"),
        pl.coalesce("late_code", "return_code").alias("return_code"),
        (pl.col("returned") | pl.col("late_at").is_not_null()).alias("returned"),
    ).drop("late_at", "late_code")


def _after_sixty(span: Span, rows: pl.DataFrame, settled: pl.Series) -> pl.Series:
    """The day of a WAS_FINAL; of all others some day, for theirs may lie beyond the calendar."""
    final = rows["plant"] == WAS_FINAL
    start = rows.select(pl.when(final).then(settled + _SIXTY).otherwise(settled)).to_series()
    return span.calendar.add(start, _FINAL_AFTER)


def short() -> pl.Expr:
    """Cents by which the return of a B19 is less than its payment."""
    return 307 + (pl.col("rank") % 900).cast(pl.Int64)


def rejects(draws: Draws, span: Span, book: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    """All rejects, planted ones marked: B16 in place, B20 as a second row, B18 without an original."""
    own = book.filter("returned").select(
        "reject_date",
        pl.col("payment_guid").alias("original_payment_guid"),
        pl.col("payment_date").alias("original_payment_date"),
        "account_number",
        "invoice_number",
        pl.when(pl.col("plant") == "B19").then(pl.col("cents") - short()).otherwise("cents").alias("cents"),
        "return_code",
        pl.lit(1, pl.Int32).alias("reject_sequence"),
        "plant",
        "processor_reference",
    )
    twice = own.filter(pl.col("plant") == "B20")
    again = span.calendar.add(twice.select(local_date("reject_date")).to_series(), 1)
    shift = again.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(hours=11, minutes=7)
    second = twice.with_columns(shift.alias("reject_date"), pl.lit("B20/extra").alias("plant"))
    orphans = _orphans(draws, span, book, wanted["B18"])
    return pl.concat([own, second, orphans]).sort("reject_date", "original_payment_guid", "return_code")


def _orphans(draws: Draws, span: Span, book: pl.DataFrame, count: int) -> pl.DataFrame:
    """Rejects whose original is nowhere; every second one does not even name it.

    That nothing is known of an original shows only where the payments of its time are known.
    """
    days = span.open_days(span.old, after_days=NAMELESS_AFTER_DAYS)
    nameless = bool(days)
    days = days or span.open_days(span.old, after_days=NAMED_AFTER_DAYS)
    if not days or not count:
        return pl.DataFrame(schema=_SCHEMA)
    day = pl.Series("day", days).gather(draws.below("orphan_day", count, len(days)))
    account = book["account_number"].gather(draws.below("orphan_account", count, book.height))
    named = (pl.int_range(count, eager=True) % 2 == 0) | (not nameless)
    made = pl.DataFrame(
        {
            "day": day,
            "guid": draws.guids("orphan_guid", count),
            "account_number": account,
            "cents": draws.between("orphan_cents", count, 1_501, 29_999),
            "return_code": draws.pick("orphan_code", count, ["R02", "R03", "R29"]),
            "named": named,
            "n": pl.int_range(count, eager=True),
        }
    )
    moment = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(
        hours=10, minutes=31
    )
    return (
        made.select(
            moment.alias("reject_date"),
            pl.when("named").then("guid").alias("original_payment_guid"),
            pl.when("named").then(moment - ORPHAN_AGE).alias("original_payment_date"),
            "account_number",
            pl.format("OLD-{}", (pl.col("n") + 1).cast(pl.String).str.zfill(5)).alias("invoice_number"),
            "cents",
            "return_code",
            pl.lit(1, pl.Int32).alias("reject_sequence"),
            pl.lit("B18").alias("plant"),
            pl.format("RT{}", (pl.col("n") + 1).cast(pl.String).str.zfill(8)).alias("processor_reference"),
        )
        .select(_SCHEMA.names())
        .cast(_SCHEMA)
    )


def feed(rejects_: pl.DataFrame) -> pl.DataFrame:
    """The rejects as IC reports them."""
    return rejects_.select(
        "reject_date",
        "original_payment_guid",
        "original_payment_date",
        "account_number",
        "invoice_number",
        money("cents").alias("reject_amount"),
        "return_code",
        pl.col("return_code").replace_strict(REASONS).alias("return_reason"),
        "reject_sequence",
        pl.col("reject_date").alias("visible_at"),
    )
