"""The answer sheet: one row per break that a right reconciliation finds at the close, and no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from sandbox.carrier.plants import APPROVED_REFUSED, DECLINED_POSTED
from sandbox.carrier.postings import posting_id
from sandbox.carrier.recalls import BAD_NAME, MISSING, ORPHAN
from sandbox.carrier.span import money

_LOST = "B01/lost"
NOTES = {
    "B01": "approved and settled, never posted",
    _LOST: "approved and settled, never pushed, never posted",
    "B02": "posted as IC money, in no payment report",
    "B03": "posted twice",
    "B04": "paid a second time minutes later, by another channel",
    "B05": "posted with another amount",
    "B06": "posted with the convenience fee added or taken off",
    "B07": "split over two invoices, posted with another split",
    "B08": "posted to another account",
    DECLINED_POSTED: "declined but posted",
    APPROVED_REFUSED: "approved but refused by IMT",
    "B10": "approved, never settled",
    "B11": "settled, in no payment report",
    "B12": "batch total or item count is wrong",
    "B16": "returned, not reversed",
    "B18": "return without an original",
    "B20": "the same return reported twice",
    "B25": "held for want of its bill image",
    "B26": "InvoiceCloud refuses the record",
    "B27": "told the balance before an adjustment that IMT exported late",
    "B28": "recalled, accepted, still payable at IC",
    "B29": "recall of an invoice that was never billed",
    "B30": "paid on an invoice that was reissued the day before",
    MISSING: "the bill image is not there",
    BAD_NAME: "the bill image is named for another account",
    ORPHAN: "a bill image without an invoice",
    "B42": "CloudStore money without a supporting record",
}
_OF_PAYMENTS = ("B01", "B03", "B04", "B05", "B06", "B07", "B08", "B10", "B30")
_CENTS_OFF = ("B03", "B05", "B06")


def sheet(
    book: pl.DataFrame,
    postings: pl.DataFrame,
    rejects: pl.DataFrame,
    batched: pl.DataFrame,
    events: pl.DataFrame,
    orphans: pl.DataFrame,
    adjusted: pl.DataFrame,
    feed_faults: Mapping[str, Iterable[str]],
) -> pl.DataFrame:
    """Columns code, subject, amount, account_number, invoice_number, note; sorted by code and subject."""
    parts = [
        _payments(book, postings),
        _unreported(postings),
        _returns(rejects),
        _settled(batched),
        _batches(batched),
        _bills(events),
        orphans.with_columns(pl.lit(ORPHAN).alias("plant"), pl.lit(0, pl.Int64).alias("cents")),
        _drifted(adjusted),
        _feeds(feed_faults),
    ]
    frame = pl.concat(
        [part.select("plant", "subject", "cents", "account_number", "invoice_number") for part in parts]
    )
    return frame.select(
        pl.col("plant").str.slice(0, 3).alias("code"),
        "subject",
        money("cents").alias("amount"),
        "account_number",
        "invoice_number",
        pl.col("plant").replace_strict(NOTES, default="the feed is late or suspect").alias("note"),
    ).sort("code", "subject")


def _payments(book: pl.DataFrame, postings: pl.DataFrame) -> pl.DataFrame:
    """Breaks whose subject is a payment; B03, B05 and B06 weigh what was posted too much or too little, B07
    what was posted to the wrong one of two invoices."""
    net = postings.group_by("payment_guid").agg(pl.col("cents").sum().alias("net"))
    of_payments = [*_OF_PAYMENTS, DECLINED_POSTED, APPROVED_REFUSED]
    planted = book.filter(pl.col("plant").is_in(of_payments) & (pl.col("line").fill_null(1) == 1))
    off = (
        pl.when(pl.col("plant").is_in(_CENTS_OFF))
        .then(pl.col("net") - pl.col("cents"))
        .otherwise(pl.coalesce("moved_cents", "cents"))
    )
    lost = (pl.col("plant") == "B01") & pl.col("lost")
    return planted.join(net, on="payment_guid", how="left").with_columns(
        pl.col("payment_guid").alias("subject"),
        off.alias("cents"),
        pl.when(lost).then(pl.lit(_LOST)).otherwise("plant").alias("plant"),
    )


def _unreported(postings: pl.DataFrame) -> pl.DataFrame:
    return postings.filter(pl.col("plant") == "B02").with_columns(posting_id("id").alias("subject"))


def _returns(rejects: pl.DataFrame) -> pl.DataFrame:
    chain = pl.concat_str("account_number", "invoice_number", "return_code", separator="/")
    one = rejects.filter(pl.col("plant").is_in(("B16", "B18"))).with_columns(
        pl.coalesce("original_payment_guid", chain).alias("subject")
    )
    extra = rejects.filter(pl.col("plant") == "B20/extra").with_columns(
        pl.format("{}#{}", "original_payment_guid", "reject_sequence").alias("subject"),
        pl.lit("B20").alias("plant"),
    )
    return pl.concat([one, extra])


def _settled(batched: pl.DataFrame) -> pl.DataFrame:
    return batched.filter(pl.col("plant").is_in(("B11", "B42"))).with_columns(
        pl.coalesce("guid", "processor_reference").alias("subject")
    )


def _batches(batched: pl.DataFrame) -> pl.DataFrame:
    sums = batched.group_by("settled_batch_id").agg(
        pl.col("cents").sum().alias("sum"),
        pl.len().alias("rows"),
        pl.col("batch_cents").first(),
        pl.col("items").first(),
    )
    wrong = (pl.col("sum") != pl.col("batch_cents")) | (pl.col("rows") != pl.col("items"))
    return sums.filter(wrong).select(
        pl.lit("B12").alias("plant"),
        pl.col("settled_batch_id").alias("subject"),
        (pl.col("batch_cents") - pl.col("sum")).alias("cents"),
        pl.lit(None, pl.String).alias("account_number"),
        pl.lit(None, pl.String).alias("invoice_number"),
    )


def _bills(events: pl.DataFrame) -> pl.DataFrame:
    """Breaks whose subject is an invoice. A record without its image is held, so that its bill is not sent."""
    plant = pl.col("plant")
    held = plant.is_in((MISSING, BAD_NAME))
    one = events.filter(held | plant.is_in(("B26", "B28", "B29"))).with_columns(
        pl.when(plant == "B29")
        .then(pl.concat_str(pl.lit("D/"), "invoice_number"))
        .otherwise("invoice_number")
        .alias("subject"),
        pl.when(held | (plant == "B29")).then(0).otherwise("total_cents").alias("cents"),
    )
    unbilled = one.filter(held).with_columns(
        pl.lit("B25").alias("plant"), pl.col("balance_cents").alias("cents")
    )
    return pl.concat([one, unbilled])


def _drifted(adjusted: pl.DataFrame) -> pl.DataFrame:
    """What InvoiceCloud was told less what IMT says is owed: the adjustment, taken back."""
    return adjusted.filter(pl.col("plant") == "B27").with_columns(
        pl.col("invoice_number").alias("subject"), (-pl.col("cents")).alias("cents")
    )


def _feeds(feed_faults: Mapping[str, Iterable[str]]) -> pl.DataFrame:
    pairs = [(code, feed) for code, feeds in sorted(feed_faults.items()) for feed in feeds]
    return pl.DataFrame(
        {"plant": [code for code, _ in pairs], "subject": [feed for _, feed in pairs]},
        schema={"plant": pl.String, "subject": pl.String},
    ).with_columns(
        pl.lit(0, pl.Int64).alias("cents"),
        pl.lit(None, pl.String).alias("account_number"),
        pl.lit(None, pl.String).alias("invoice_number"),
    )
