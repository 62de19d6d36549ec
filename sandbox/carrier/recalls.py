"""Which invoices are reissued or cancelled before the close, and which carry a planted break.

A send is thought of three days and three hours before the close: what is recalled between the two
was billed at InvoiceCloud and has to be taken back there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from sandbox.carrier.draws import Draws
from sandbox.carrier.span import STAMP, Span

MADE_AT = timedelta(hours=11)
FIRST_SEND, LAST_SEND = timedelta(days=3), timedelta(hours=3)
STRAY_BEFORE = timedelta(minutes=30)
SPREAD = timedelta(days=5)
# Nobody tries to pay a recalled invoice from here on, so none of them is a misdirected payment by chance.
QUIET = timedelta(days=6)
MISSING, BAD_NAME, ORPHAN = "B31/missing", "B31/name", "B31/orphan"
_FATE = pl.Schema(
    {
        "invoice_number": pl.String(),
        "event": pl.String(),
        "recall_at": STAMP,
        "still_in_imt": pl.Boolean(),
        "plant": pl.String(),
    }
)


def made(day: str = "invoice_date") -> pl.Expr:
    """The moment at which IMT makes an invoice: 11:00 UTC of its date."""
    return pl.col(day).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + MADE_AT


def held(wanted: Mapping[str, int]) -> tuple[int, int, int]:
    """B31 comes in three kinds, in turn: (missing, bad name, orphan)."""
    count = wanted["B31"]
    return (count + 2) // 3, (count + 1) // 3, count // 3


def within(span: Span, wanted: Mapping[str, int], images: bool) -> dict[str, int]:
    """What can be planted on invoices: nothing when the span is shorter than the sends; B31 needs images."""
    short = span.start > span.close - FIRST_SEND
    none = {"B26": 0, "B27": 0, "B28": 0, "B29": 0, "B31": 0} if short else {} if images else {"B31": 0}
    return dict(wanted) | none


def fates(
    draws: Draws, span: Span, bills: pl.DataFrame, book: pl.DataFrame, wanted: Mapping[str, int]
) -> pl.DataFrame:
    """invoice_number, event (REISSUED, CANCELLED; null: none), recall_at (UTC), still_in_imt, plant.

    One row per invoice that has one of them. Recalls that are no breaks: about 1 % of the open invoices
    are reissued and a few cancelled over the last five days, in turn still in IMT and gone.
    """
    quiet = span.close - QUIET
    tried = book.group_by("invoice_number").agg(
        pl.col("payment_date").max().alias("tried_at"), pl.col("plant").is_not_null().any().alias("touched")
    )
    pool = (
        bills.with_columns(draws.u64("bill_rank", bills.height).alias("bill_rank"))
        .filter((pl.col("balance_cents") > 0) & (made() < quiet))
        .join(tried, on="invoice_number", how="left")
        .filter(
            (pl.col("tried_at").is_null() | (pl.col("tried_at") < quiet))
            & ~pl.col("touched").fill_null(False)
        )
        .sort("bill_rank", "invoice_number")
    )
    planted = _planted(span, pool.filter(pl.col("tried_at").is_null()), wanted)
    rest = pool.join(planted, on="invoice_number", how="anti", maintain_order="left")
    owed = bills.filter(pl.col("balance_cents") > 0).height
    new = min(max(owed // 100, 4), rest.height // 4)
    gone = min(max(owed // 400, 4), rest.height // 8)
    parts = [
        planted,
        _dead(book),
        _spread(span, rest.slice(0, new), "REISSUED"),
        _spread(span, rest.slice(new, gone), "CANCELLED"),
    ]
    return pl.concat([part.select(_FATE.names()).cast(_FATE) for part in parts])


def _planted(span: Span, untouched: pl.DataFrame, wanted: Mapping[str, int]) -> pl.DataFrame:
    """B26, B28 and the held records of B31, on invoices that nobody ever tried to pay."""
    missing, bad, _ = held(wanted)
    names = ["B26"] * wanted["B26"] + ["B28"] * wanted["B28"] + [MISSING] * missing + [BAD_NAME] * bad
    taken = untouched.head(len(names)).with_columns(
        pl.Series("plant", names[: untouched.height], dtype=pl.String)
    )
    turn = pl.int_range(pl.len()).over("plant")
    between = pl.lit(span.close - timedelta(days=2), STAMP) + pl.duration(hours=turn % 40)
    recalled = pl.col("plant") == "B28"
    return taken.with_columns(
        pl.when(recalled).then(pl.lit("REISSUED")).alias("event"),
        pl.when(recalled).then(between.dt.truncate("1s")).alias("recall_at"),
        pl.when(recalled).then(turn % 2 == 0).alias("still_in_imt"),
    )


def _dead(book: pl.DataFrame) -> pl.DataFrame:
    """B30: the invoice of the payment was reissued the day before it."""
    return book.filter(pl.col("plant") == "B30").with_columns(
        pl.lit("REISSUED").alias("event"),
        (pl.col("payment_date") - timedelta(days=1)).dt.truncate("1s").alias("recall_at"),
        (pl.int_range(pl.len()) % 2 == 0).alias("still_in_imt"),
    )


def _spread(span: Span, taken: pl.DataFrame, event: str) -> pl.DataFrame:
    """Evenly over the last days, so some lie before the first send and some after it."""
    first = span.close - SPREAD
    length = int((SPREAD - LAST_SEND).total_seconds()) - 600
    second = (2 * pl.int_range(pl.len()) + 1) * length // (2 * pl.len().clip(lower_bound=1))
    return taken.with_columns(
        pl.lit(event).alias("event"),
        (pl.lit(first, STAMP) + pl.duration(seconds=second)).dt.truncate("1s").alias("recall_at"),
        (pl.int_range(pl.len()) % 2 == 0).alias("still_in_imt"),
        pl.lit(None, pl.String).alias("plant"),
    )
