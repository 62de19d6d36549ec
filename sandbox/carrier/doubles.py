"""Payments of two rows: paid twice (B04), alike by right, a cent apart, and split over two invoices (B07 and clean ones).

Each takes an ordinary old payment on an invoice that nobody else tried to pay and adds one row to it; as many
ordinary payments are left out, so that the number of rows stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from sandbox.carrier import invoices
from sandbox.carrier.draws import Draws
from sandbox.carrier.span import Span, local_date

ALIKE = 2  # pairs that look paid twice and are not: two halves of one bill, minutes apart
CENTS = 2  # pairs a cent apart, one bill, minutes apart, booked without a GUID: told from one another, no B40
SPLIT, PAIR, CENT = "split", "pair", "cent"  # of a clean split; of what is only near a double; a cent apart
_CHANNELS = ("PORTAL", "AGENTCONNECT")
_MARGIN = timedelta(minutes=15)


def add(draws: Draws, span: Span, book: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    """The book with the rows above, in order of time. New columns: `paired` (null: an ordinary payment),
    `line` (1, 2; null: not split), `moved_cents` (what a B07 is posted to the wrong invoice)."""
    book = book.with_columns(
        pl.lit(None, pl.String).alias("paired"),
        pl.lit(None, pl.Int32).alias("line"),
        pl.lit(None, pl.Int64).alias("moved_cents"),
    )
    fit = _candidates(span, book)
    splits = _ranked(fit.filter("splittable"), 2 * wanted["B07"]).with_columns(
        (pl.int_range(pl.len()) < wanted["B07"]).alias("wrong")
    )
    rest = fit.filter(pl.col("payment_source").is_in(_CHANNELS)).join(splits, on="seq", how="anti")
    twice = _ranked(rest.filter(pl.col("cents") == pl.col("premium_cents")), wanted["B04"])
    alike = _ranked(
        rest.filter(2 * pl.col("cents") <= pl.col("premium_cents")), ALIKE if wanted["B04"] else 0
    )
    near = _ranked(
        rest.filter(2 * pl.col("cents") + 1 <= pl.col("premium_cents")).join(alike, on="seq", how="anti"),
        CENTS if wanted["B40"] else 0,
    )
    first, second = _split_lines(splits)
    again = _by_another_channel(draws, pl.concat([twice, alike, near]), twice.height, near.height)
    near = near.with_columns(pl.lit(CENT).alias("paired"))
    changed = pl.concat([first, twice.with_columns(_pair()), alike.with_columns(_pair()), near])
    added = pl.concat([second, again]).with_columns((pl.int_range(pl.len()) + book.height).alias("seq"))
    parts = [_left(book, changed, added.height), changed, _numbered(added)]
    both = pl.concat([part.select(book.columns) for part in parts])
    return both.sort("payment_date", "payment_guid", "line")


def _candidates(span: Span, book: pl.DataFrame) -> pl.DataFrame:
    """Old approved payments alone on their invoice; `splittable` where next month's bill is out and untouched."""
    month = invoices.month_of(span, "local_date") + 1
    due = pl.lit(span.start.date().replace(day=1)).dt.offset_by(pl.format("{}mo", month))
    billed = due + pl.duration(days=pl.col("invoice_day") - 1 - invoices.LEAD_DAYS)
    alone = (pl.len().over("invoice_number") == 1) & ~pl.col("gap")
    old = pl.col("payment_date") <= span.old - _MARGIN
    fit = book.with_columns(alone.alias("alone")).filter(
        pl.col("approved") & ~pl.col("twin") & old & pl.col("alone")
    )
    number = invoices.number(pl.col("acct"), month)
    fit = fit.with_columns(
        number.alias("next_invoice"), (pl.col("local_date") > billed + timedelta(days=1)).alias("out")
    )
    tried = pl.col("next_invoice").is_in(book["invoice_number"].unique().implode())
    whole = pl.col("cents") == pl.col("premium_cents")
    return fit.with_columns((pl.col("out") & ~tried & whole).alias("splittable"))


def _ranked(fit: pl.DataFrame, count: int) -> pl.DataFrame:
    return fit.sort("rank", "seq").head(count)


def _pair() -> pl.Expr:
    return pl.lit(PAIR).alias("paired")


def _split_lines(splits: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The whole of one bill and half of the next, under one GUID; the fee stands on the first line."""
    both = splits.with_columns(
        pl.when("wrong").then(pl.lit("B07")).otherwise(pl.lit(SPLIT)).alias("paired"),
        pl.when("wrong").then(503 + (pl.col("rank") % 1_400).cast(pl.Int64)).alias("moved_cents"),
    )
    second = both.with_columns(
        pl.lit(2, pl.Int32).alias("line"),
        pl.col("next_invoice").alias("invoice_number"),
        (pl.col("cents") // 2).alias("cents"),
        pl.lit(None, pl.Int64).alias("fee_cents"),
    )
    return both.with_columns(pl.lit(1, pl.Int32).alias("line")).drop("wrong"), second.drop("wrong")


def _by_another_channel(draws: Draws, firsts: pl.DataFrame, doubles: int, near: int) -> pl.DataFrame:
    """The same once more, 2 to 12 minutes later, by the agent if the payer was on the portal, or the other way;
    the last `near` with a cent more."""
    by_agent = pl.col("payment_source") == "PORTAL"
    later = pl.duration(seconds=120 + (pl.col("rank") % 600).cast(pl.Int64))
    is_near = pl.int_range(pl.len()) >= firsts.height - near
    return firsts.with_columns(
        draws.guids("again_guid", firsts.height).alias("payment_guid"),
        (pl.col("payment_date") + later).alias("payment_date"),
        pl.when(by_agent).then(pl.lit("AGENTCONNECT")).otherwise(pl.lit("PORTAL")).alias("payment_source"),
        pl.when(by_agent).then(pl.lit("EFT")).otherwise(pl.lit("CARD")).alias("tender"),
        pl.when(~by_agent).then(pl.lit("VISA")).alias("card_type"),
        pl.when(~by_agent).then(295).cast(pl.Int64).alias("fee_cents"),
        pl.when(by_agent).then("agent").alias("agent_code"),
        pl.when(pl.int_range(pl.len()) < doubles)
        .then(pl.lit("B04"))
        .otherwise(pl.when(is_near).then(pl.lit(CENT)).otherwise(_pair()))
        .alias("paired"),
        (pl.col("cents") + is_near.cast(pl.Int64)).alias("cents"),
    )


def _numbered(added: pl.DataFrame) -> pl.DataFrame:
    """A payment of its own has a reference of its own; a second line has that of the first."""
    own = pl.concat_str(pl.lit("CH"), (pl.col("seq") + 1_000_001).cast(pl.String).str.zfill(8))
    return added.with_columns(
        pl.when(pl.col("line").is_null())
        .then(own)
        .otherwise("processor_reference")
        .alias("processor_reference"),
        local_date("payment_date").alias("local_date"),
    )


def _left(book: pl.DataFrame, changed: pl.DataFrame, fewer: int) -> pl.DataFrame:
    """The ordinary payments, less the last ones by rank."""
    others = book.join(changed, on="seq", how="anti", maintain_order="left")
    out = others.filter(~pl.col("twin")).sort("rank", "seq", descending=True).head(fewer)
    return others.join(out, on="seq", how="anti", maintain_order="left")
