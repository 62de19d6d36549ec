"""Changes of what is owed that are no invoice events, and the balances that InvoiceCloud asks for.

IMT exports an adjustment minutes after it booked it; those of B27 a day late, so that InvoiceCloud is told the
old balance in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from sandbox.carrier.draws import Draws
from sandbox.carrier.recalls import LAST_SEND, QUIET, made
from sandbox.carrier.span import STAMP, Span, money

# When a B27 is booked and when it is exported, before the close; InvoiceCloud asks in between, at LAST_SEND.
LATE_BOOKED, LATE_TOLD = timedelta(hours=30), timedelta(hours=2)
_FEWEST, _SHARE, _OF_ACCOUNTS, _EACH = 10, 50, 3, 5
_REASONS = {
    "ENDORSEMENT": "Policy changed", "FEE": "Late fee", "CREDIT": "Goodwill", "CANCELLATION": "Policy cancelled"
}  # fmt: skip
_KINDS = ("ENDORSEMENT", "CREDIT", "FEE", "CANCELLATION", "ENDORSEMENT")


def build(
    draws: Draws,
    span: Span,
    bills: pl.DataFrame,
    book: pl.DataFrame,
    fates: pl.DataFrame,
    wanted: Mapping[str, int],
) -> pl.DataFrame:
    """All adjustments in order of time, money in cents; `plant` is B27 or null. They fall on open invoices that
    nobody ever tried to pay and that are not recalled; a few name an account alone."""
    short = span.start > span.close - QUIET
    free = untouched(draws, span, bills, book, fates)
    late = free.head(0 if short else wanted["B27"])
    rest = free.slice(late.height)
    some = rest.head(0 if short else min(max(rest.height // _SHARE, _FEWEST), rest.height // 2))
    frame = pl.concat([_late(span, late), _in_time(draws, span, some)])
    frame = frame.sort("occurred_at", "account_number", "invoice_number")
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).cast(pl.String).str.zfill(6)
    return frame.with_columns(
        pl.concat_str(pl.lit("ADJ-"), number).alias("adjustment_id"),
        pl.col("kind").replace_strict(_REASONS, return_dtype=pl.String).alias("reason"),
    )


def untouched(
    draws: Draws, span: Span, bills: pl.DataFrame, book: pl.DataFrame, fates: pl.DataFrame
) -> pl.DataFrame:
    """Open invoices, made before the quiet days, that no payment, recall or planted break ever touched."""
    free = bills.filter((pl.col("balance_cents") > 0) & (made() < span.close - QUIET))
    free = free.join(book, on="invoice_number", how="anti").join(fates, on="invoice_number", how="anti")
    rank = draws.u64("adjust_rank", free.height)
    return free.sort("invoice_number").with_columns(rank.alias("rank")).sort("rank", "invoice_number")


def _late(span: Span, taken: pl.DataFrame) -> pl.DataFrame:
    """B27: a fee and a credit in turn; something is still owed after it."""
    turn = pl.int_range(pl.len())
    booked = pl.lit(span.close - LATE_BOOKED, STAMP) + pl.duration(minutes=7 * (turn % 60))
    return _shaped(
        taken.with_columns(
            pl.when(turn % 2 == 0).then(pl.lit("FEE")).otherwise(pl.lit("CREDIT")).alias("kind"),
            pl.when(turn % 2 == 0).then(2_500).otherwise(-(pl.col("premium_cents") // 4)).alias("cents"),
            booked.dt.truncate("1s").alias("occurred_at"),
            pl.lit(span.close - LATE_TOLD, STAMP).dt.truncate("1s").alias("visible_at"),
            pl.lit("B27").alias("plant"),
        )
    )


def _in_time(draws: Draws, span: Span, taken: pl.DataFrame) -> pl.DataFrame:
    """The ordinary ones, up to a minute before four hours before the close; a cancelled policy leaves a credit."""
    first = pl.lit(span.close - QUIET, STAMP)
    length = int((QUIET - LAST_SEND).total_seconds()) - 4_300
    turn = pl.int_range(pl.len())
    kind = pl.lit(pl.Series(_KINDS)).gather(turn % len(_KINDS))
    part = pl.col("premium_cents") // 10
    cents = (
        pl.when(pl.col("kind") == "CANCELLATION")
        .then(-pl.col("premium_cents") - 500)
        .when((pl.col("kind") == "CREDIT") | (turn % len(_KINDS) == len(_KINDS) - 1))
        .then(-part)
        .otherwise(part)
    )
    frame = taken.with_columns(kind.alias("kind")).with_columns(
        cents.alias("cents"),
        (first + pl.duration(seconds=(2 * turn + 1) * length // (2 * pl.len().clip(lower_bound=1))))
        .dt.truncate("1s")
        .alias("occurred_at"),
        draws.between("adjust_told", taken.height, 30, 600).alias("after"),
        pl.lit(None, pl.String).alias("plant"),
    )
    frame = frame.with_columns(
        (pl.col("occurred_at") + pl.duration(seconds=pl.col("after"))).alias("visible_at")
    )
    alone = frame.filter(pl.col("kind") == "CREDIT").head(_OF_ACCOUNTS)
    unnamed = frame["invoice_number"].is_in(alone["invoice_number"].implode())
    return _shaped(
        frame.with_columns(pl.when(~unnamed).then("invoice_number").alias("invoice_number")),
    )


def _shaped(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        "account_number",
        "invoice_number",
        "policy_number",
        "kind",
        "cents",
        "occurred_at",
        "visible_at",
        "plant",
    )


def imt(adjustments: pl.DataFrame) -> pl.DataFrame:
    """The adjustments as IMT exports them, and `visible_at`: when it does."""
    return adjustments.select(
        "adjustment_id",
        "account_number",
        "invoice_number",
        "policy_number",
        "kind",
        money("cents").alias("amount"),
        "occurred_at",
        "reason",
        "visible_at",
    )


def asks(span: Span, adjustments: pl.DataFrame, free: pl.DataFrame, fates: pl.DataFrame) -> pl.DataFrame:
    """What InvoiceCloud asks at LAST_SEND before the close: asked_at, subject (INVOICE, ACCOUNT), number, about.

    Every adjusted invoice (`late` is what B27 comes from; `adjusted`), some that nothing happened to (`open`),
    recalled ones (`recalled`), accounts (`account`) and a number that is nobody's (`unknown`).
    """
    named = adjustments.filter(pl.col("invoice_number").is_not_null())
    at = span.close - LAST_SEND
    gone = fates.filter((pl.col("recall_at") < at) & pl.col("plant").is_null()).sort("invoice_number")
    late = pl.when(pl.col("plant") == "B27").then(pl.lit("late")).otherwise(pl.lit("adjusted"))
    quiet = free.join(adjustments, on="account_number", how="anti", maintain_order="left")
    parts = [
        _asked(named.with_columns(late.alias("about")), "invoice_number"),
        _asked(quiet.head(_EACH).with_columns(pl.lit("open").alias("about")), "invoice_number"),
        _asked(gone.head(_EACH).with_columns(pl.lit("recalled").alias("about")), "invoice_number"),
        _asked(quiet.tail(_EACH).with_columns(pl.lit("account").alias("about")), "account_number"),
        pl.DataFrame({"subject": ["INVOICE"], "number": ["INV-NOBODYS"], "about": ["unknown"]}),
    ]
    frame = pl.concat(parts).with_row_index("n")
    moment = pl.lit(at, STAMP).dt.truncate("1s") + pl.duration(seconds=pl.col("n"))
    return frame.select(moment.alias("asked_at"), "subject", "number", "about")


def _asked(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    subject = "ACCOUNT" if column == "account_number" else "INVOICE"
    return frame.select(pl.lit(subject).alias("subject"), pl.col(column).alias("number"), "about")
