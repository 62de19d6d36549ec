"""Settled batches: per banking day and tender, card after 1-2 banking days, the rest after 2-3."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from sandbox.carrier.draws import Draws
from sandbox.carrier.span import Span, money, settled_moment

SUFFIX = {"CARD": "CC", "EFT": "EFT", "WALLET": "WAL", "OBD": "OBD"}
CLOUDSTORE_PER_MILLE = 20
# A stranger is only known as one when the payments of the days before it are known too.
PAID_BEFORE_DAYS = 10
_COLUMNS = (
    "settled_date",
    "tender",
    "guid",
    "processor_reference",
    "account_number",
    "invoice_number",
    "cents",
)
_ALL = (*_COLUMNS, "fee_cents", "transaction_type", "plant")


def cloudstore(draws: Draws, span: Span, book: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    """CloudStore sales: in no payment report, only in card batches. Planted ones lack support in IMT."""
    days = span.open_days(span.close)
    rows = max(book.height * CLOUDSTORE_PER_MILLE // 1_000, 5 + wanted["B42"]) if days else 0
    day = pl.Series("settled_date", days, dtype=pl.Date).gather(
        draws.below("cs_day", rows, max(len(days), 1))
    )
    frame = pl.DataFrame(
        {
            "settled_date": day,
            "n": pl.int_range(rows, eager=True),
            "cents": draws.between("cs_cents", rows, 1_207, 24_999),
            "account_number": book["account_number"].gather(draws.below("cs_acct", rows, book.height)),
            "before": draws.between("cs_before", rows, 3_600, 90_000),
        }
    )
    old = settled_moment("settled_date") <= span.old
    place = pl.when(old).then(old.cum_sum())
    return frame.with_columns(
        pl.format("CS{}", (pl.col("n") + 1).cast(pl.String).str.zfill(7)).alias("processor_reference"),
        pl.when(place <= wanted["B42"]).then(pl.lit("B42")).alias("plant"),
    ).drop("n")


def rows(
    draws: Draws,
    span: Span,
    book: pl.DataFrame,
    rejects: pl.DataFrame,
    sales: pl.DataFrame,
    wanted: Mapping[str, int],
) -> pl.DataFrame:
    """All settlement rows whose batch is out at the close, totals not yet added."""
    parts = [
        _payments(draws, span, book),
        _returns(rejects),
        _sales(sales),
        _strangers(draws, span, book, wanted["B11"]),
    ]
    return pl.concat(parts).filter(settled_moment("settled_date") <= span.close)


def _payments(draws: Draws, span: Span, book: pl.DataFrame) -> pl.DataFrame:
    extra = draws.between("settle_days", book.height, 0, 1)
    # A debit that comes back has been settled before, at the earliest the same day.
    days = pl.select(
        pl.when(book["tender"].is_in(["CARD", "WALLET"]))
        .then(1 + extra)
        .when(book["returned"])
        .then(2)
        .otherwise(2 + extra)
    ).to_series()
    settled = book.with_columns(span.calendar.add(book["local_date"], days).alias("settled_date"))
    # The lines of one payment settle together.
    settled = settled.with_columns(pl.col("settled_date").min().over("payment_guid"))
    fits = pl.col("approved") & ~pl.col("gap") & (pl.col("plant").is_null() | (pl.col("plant") != "B10"))
    return settled.filter(fits).select(
        *(pl.col("payment_guid").alias("guid") if name == "guid" else name for name in _COLUMNS),
        "fee_cents",
        pl.lit("PAYMENT").alias("transaction_type"),
        pl.lit(None, pl.String).alias("plant"),
    )


def _returns(rejects: pl.DataFrame) -> pl.DataFrame:
    """Each reject is taken off the batch of its date."""
    return rejects.select(
        pl.col("reject_date").dt.date().alias("settled_date"),
        pl.lit("EFT").alias("tender"),
        pl.col("original_payment_guid").alias("guid"),
        "processor_reference",
        "account_number",
        "invoice_number",
        (-pl.col("cents")).alias("cents"),
        pl.lit(None, pl.Int64).alias("fee_cents"),
        pl.lit("REJECT").alias("transaction_type"),
        pl.lit(None, pl.String).alias("plant"),
    )


def _sales(sales: pl.DataFrame) -> pl.DataFrame:
    nothing = pl.lit(None, pl.String)
    return sales.select(
        "settled_date",
        pl.lit("CARD").alias("tender"),
        nothing.alias("guid"),
        "processor_reference",
        nothing.alias("account_number"),
        nothing.alias("invoice_number"),
        "cents",
        pl.lit(None, pl.Int64).alias("fee_cents"),
        pl.lit("PAYMENT").alias("transaction_type"),
        "plant",
    )


def _strangers(draws: Draws, span: Span, book: pl.DataFrame, count: int) -> pl.DataFrame:
    """B11: settled, but in no payment report; every second one has no GUID, only a reference."""
    days = span.open_days(span.old, after_days=PAID_BEFORE_DAYS)
    count = count if days else 0
    frame = pl.DataFrame(
        {
            "settled_date": pl.Series(days, dtype=pl.Date).gather(
                draws.below("b11_day", count, max(len(days), 1))
            ),
            "guid": draws.guids("b11_guid", count),
            "account_number": book["account_number"].gather(draws.below("b11_acct", count, book.height)),
            "cents": draws.between("b11_cents", count, 2_003, 48_999),
            "tender": draws.pick("b11_tender", count, ["CARD", "EFT"]),
            "n": pl.int_range(count, eager=True),
        }
    )
    return frame.select(
        "settled_date",
        "tender",
        pl.when(pl.col("n") % 2 == 0).then("guid").alias("guid"),
        pl.format("CH{}", (pl.col("n") + 90_000_001).cast(pl.String)).alias("processor_reference"),
        "account_number",
        pl.lit(None, pl.String).alias("invoice_number"),
        "cents",
        pl.lit(None, pl.Int64).alias("fee_cents"),
        pl.lit("PAYMENT").alias("transaction_type"),
        pl.lit("B11").alias("plant"),
    )


def batched(draws: Draws, span: Span, rows_: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    """Rows with batch id, total and count; B12 spoils a few old batches: total and count in turn."""
    batch = pl.format(
        "B{}-{}", pl.col("settled_date").dt.strftime("%Y%m%d"), pl.col("tender").replace_strict(SUFFIX)
    )
    frame = rows_.with_columns(batch.alias("settled_batch_id"))
    sums = frame.group_by("settled_batch_id").agg(
        pl.col("settled_date").first(),
        pl.col("cents").sum().alias("batch_cents"),
        pl.len().cast(pl.Int32).alias("items"),
    )
    old = sums.filter(settled_moment("settled_date") <= span.old).sort("settled_batch_id")
    spoiled = old.with_columns(draws.u64("b12", old.height).alias("rank")).sort("rank").head(wanted["B12"])
    spoiled = spoiled.select(
        "settled_batch_id",
        pl.when(pl.int_range(pl.len()) % 2 == 0).then(5_003).otherwise(0).alias("off_cents"),
        pl.when(pl.int_range(pl.len()) % 2 == 0).then(0).otherwise(1).cast(pl.Int32).alias("off_items"),
    )
    totals = (
        sums.drop("settled_date")
        .join(spoiled, on="settled_batch_id", how="left")
        .with_columns(
            (pl.col("batch_cents") + pl.col("off_cents").fill_null(0)).alias("batch_cents"),
            (pl.col("items") + pl.col("off_items").fill_null(0)).alias("items"),
        )
    )
    frame = frame.join(totals, on="settled_batch_id", how="left")
    return frame.sort(
        "settled_date", "settled_batch_id", "transaction_type", "processor_reference", "guid", "cents"
    )


def feed(batched_: pl.DataFrame, book: pl.DataFrame) -> pl.DataFrame:
    """The rows as IC reports them, with the agent of an AgentConnect payment."""
    agents = book.filter(pl.col("agent_code").is_not_null()).select("payment_guid", "agent_code")
    agents = agents.unique("payment_guid").rename({"payment_guid": "guid"})
    return batched_.join(agents, on="guid", how="left", maintain_order="left").select(
        "settled_batch_id",
        "settled_date",
        "tender",
        pl.col("guid").alias("payment_guid"),
        "processor_reference",
        "account_number",
        "agent_code",
        "invoice_number",
        money("cents").alias("settled_amount"),
        money("fee_cents").alias("fee_amount"),
        "transaction_type",
        money("batch_cents").alias("batch_total"),
        pl.col("items").alias("batch_item_count"),
        settled_moment("settled_date").alias("visible_at"),
    )
