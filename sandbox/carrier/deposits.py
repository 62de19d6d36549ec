"""What the bank says: a credit for the settled batches, on the banking day after them, among other lines.

What falls before a Federal Reserve holiday, and every second Thursday and Friday, comes in one credit; so does a
date on which nothing is left to pay out, with the next one. B14 is a credit of another amount, B15 one that never comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import polars as pl

from sandbox.carrier.banking import holidays
from sandbox.carrier.draws import Draws
from sandbox.carrier.span import STAMP, Span, money

LAST4, TEXT = "4417", "INVOICE CLOUD SETTLEMENT"
_OTHERS = ("LOCKBOX DEPOSIT 0417", "PAYROLL", "WIRE IN REINSURER")
_THURSDAY, _APART = 3, 4  # planted credits lie so many credits apart, so that none is taken for another


def lines(
    draws: Draws, span: Span, settled: pl.DataFrame, netted: pl.DataFrame, wanted: Mapping[str, int]
) -> pl.DataFrame:
    """One row per line up to the close: value_date, settled_from, settled_to (null: none of InvoiceCloud's),
    cents, due_cents, text, bank_reference, plant (B14, B15: the latter is not on the statement)."""
    both = pl.concat([settled.select("settled_date", "cents"), netted.select("settled_date", "cents")])
    days = both.group_by("settled_date").agg(pl.col("cents").sum()).sort("settled_date")
    groups = _groups(days.rows())
    frame = pl.DataFrame(
        groups,
        schema={"settled_from": pl.Date, "settled_to": pl.Date, "due_cents": pl.Int64},
        orient="row",
    )
    frame = frame.with_columns(span.calendar.add(frame["settled_to"], 1).alias("value_date"))
    frame = _planted(draws, span, frame.filter(pl.col("value_date") <= span.close.date()), wanted)
    frame = frame.with_columns(
        pl.lit(TEXT).alias("text"),
        pl.format("IC{}", pl.col("value_date").dt.strftime("%Y%m%d")).alias("bank_reference"),
    )
    return pl.concat([frame, _others(draws, frame)]).sort("value_date", "bank_reference")


def _groups(days: list[tuple[date, int]]) -> list[tuple[date, date, int]]:
    """(first date, last date, cents) of each credit; what is not yet paid out at the end is left. One step per day."""
    found: list[tuple[date, date, int]] = []
    start, cents = None, 0
    for day, amount in days:
        start, cents = start or day, cents + amount
        if cents > 0 and not _waits(day):
            found.append((start, day, cents))
            start, cents = None, 0
    return found


def _waits(day: date) -> bool:
    """Whether a date's money comes with that of the next: before a holiday's eve, and every second Thursday."""
    after = {day + timedelta(days=n) for n in (1, 2, 3, 4)} & holidays(day.year)
    eve = bool(after) and min(after) - day == timedelta(days=2) and day.weekday() < _THURSDAY
    return eve or (day.weekday() == _THURSDAY and day.isocalendar().week % 2 == 0 and not after)


def _planted(draws: Draws, span: Span, frame: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    alone = (pl.col("settled_from") == pl.col("settled_to")) & (pl.col("due_cents") > 50_000)
    frame = frame.with_row_index("n").with_columns(draws.u64("bank_rank", frame.height).alias("rank"))
    fit = frame.filter(alone & (pl.col("value_date") <= span.old.date()) & (pl.col("n") > 1)).sort("rank")
    names = ["B14"] * wanted["B14"] + ["B15"] * wanted["B15"]
    taken: list[int] = []
    for place in fit["n"].to_list():
        if len(taken) < len(names) and all(abs(place - other) >= _APART for other in taken):
            taken.append(place)
    plants = pl.DataFrame(
        {"n": taken, "plant": names[: len(taken)]}, schema={"n": frame.schema["n"], "plant": pl.String}
    )
    off = (pl.col("rank") % 4_000).cast(pl.Int64) - 2_000
    off = pl.when(off == 0).then(1).otherwise(off)
    frame = frame.join(plants, on="n", how="left", maintain_order="left")
    return frame.with_columns(
        (pl.col("due_cents") + pl.when(pl.col("plant") == "B14").then(off).otherwise(0)).alias("cents")
    ).drop("n", "rank")


def _others(draws: Draws, frame: pl.DataFrame) -> pl.DataFrame:
    """Lines that are none of InvoiceCloud's, one on each of its days; payroll goes out."""
    rows = frame.height
    text = draws.pick("bank_text", rows, list(_OTHERS))
    cents = draws.between("bank_other", rows, 10_003, 9_999_999)
    return frame.with_columns(
        pl.lit(None, pl.Date).alias("settled_from"),
        pl.lit(None, pl.Date).alias("settled_to"),
        pl.when(text == "PAYROLL").then(-cents).otherwise(cents).alias("cents"),
        text.alias("text"),
        pl.format("OT{}", pl.col("value_date").dt.strftime("%Y%m%d")).alias("bank_reference"),
        pl.lit(None, pl.Int64).alias("due_cents"),
        pl.lit(None, pl.String).alias("plant"),
    )


def statement(lines_: pl.DataFrame) -> pl.DataFrame:
    """The lines as the bank tells them, and `visible_at`: 10:00 UTC of the value date."""
    credit = pl.col("cents") >= 0
    return lines_.filter(pl.col("plant").is_null() | (pl.col("plant") != "B15")).select(
        pl.lit(LAST4).alias("bank_account_last4"),
        "value_date",
        money("cents").alias("amount"),
        pl.when(credit).then(pl.lit("142")).otherwise(pl.lit("455")).alias("type_code"),
        "bank_reference",
        pl.lit("").alias("trace"),
        "text",
        (pl.col("value_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(hours=10))
        .cast(STAMP)
        .alias("visible_at"),
    )


def bai2(told: pl.DataFrame) -> str:
    """The statement as one BAI2 file: a group per value date, amounts in cents without sign, totals right."""
    records = ["01,122099999,ICFLOWS,261030,0600,1,80,,2/"]
    groups, total = 0, 0
    for (day,), rows in told.sort("value_date", "bank_reference").group_by("value_date", maintain_order=True):
        lines_ = rows.select(
            (pl.col("amount").abs() * 100).cast(pl.Int64).alias("cents"),
            "type_code",
            "bank_reference",
            "text",
        ).rows()
        amount = sum(cents for cents, *_ in lines_)
        records += [f"02,ICFLOWS,122099999,1,{day:%y%m%d},0600,USD,2/", f"03,99887766{LAST4},USD,,,,/"]
        records += [f"16,{code},{cents},Z,{reference},,{text}" for cents, code, reference, text in lines_]
        records += [f"49,{amount},{len(lines_) + 2}/", f"98,{amount},1,{len(lines_) + 4}/"]
        groups, total = groups + 1, total + amount
    return "\n".join([*records, f"99,{total},{groups},{len(records) + 1}/"]) + "\n"
