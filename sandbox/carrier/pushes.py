"""What the Data Pump sends: a push per payment, seconds to minutes after it; some come again, a few never."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from sandbox.carrier.draws import Draws
from sandbox.carrier.span import Span, money

LOST_PER_MILLE, LOST_AT_LEAST = 3, 3
CONFLICTS = 2  # payments whose push comes a second time with other content: money and wording in turn
_FRESH = timedelta(hours=2)  # none that young at the close is lost: it could still be on its way
_WEB = ("PORTAL", "PORTAL_REG", "AUTOPAY", "FLEXPAY", "SCHEDULED", "TEXT", "AGENTCONNECT")
FIELDS = (
    "payment_date", "account_number", "invoice_number", "payment_amount", "convenience_fee", "approved",
    "payment_type_id", "card_type", "payment_source", "payment_message", "payment_description",
    "biller_reference", "agent_code", "customer_name", "address", "city", "state_code", "zip", "remote_ip",
)  # fmt: skip


def lose(span: Span, book: pl.DataFrame) -> pl.DataFrame:
    """The book with `lost`: the push never comes. So it is for some ordinary payments, which IMT posts all the
    same, and for every second B01, which is why it is not posted."""
    young = pl.col("payment_date") > span.close - _FRESH
    ordinary = pl.col("approved") & ~young & pl.col("plant").is_null() & pl.col("paired").is_null()
    count = max(book.height * LOST_PER_MILLE // 1_000, LOST_AT_LEAST)
    some = book.filter(ordinary & ~pl.col("returned")).sort("rank", "seq", descending=True).head(count)["seq"]
    unposted = book.filter(pl.col("plant") == "B01").sort("seq").gather_every(2)["seq"]
    return book.with_columns(pl.col("seq").is_in(pl.concat([some, unposted]).implode()).alias("lost"))


def build(
    draws: Draws, span: Span, book: pl.DataFrame, feed: pl.DataFrame, people: pl.DataFrame
) -> pl.DataFrame:
    """payment_guid, variant, FIELDS, sent_at, times, lost; in order of sending, up to the close.

    One push per payment; that of a payment split over invoices names none of them and bears the whole amount.
    """
    facts = book.select("acct", "policy_number", "paired", "plant", "lost", "rank", cents_="cents")
    rows = pl.concat([feed, facts], how="horizontal").filter(pl.col("payment_line_no").fill_null(1) == 1)
    split = pl.col("payment_line_no").is_not_null()
    whole = book.filter(pl.col("line").is_not_null()).group_by("payment_guid").agg(pl.col("cents").sum())
    rows = rows.join(whole, on="payment_guid", how="left", maintain_order="left")
    rows = rows.join(people.drop("customer_name"), on="acct", how="left", maintain_order="left")
    count = rows.height
    delay = (
        pl.when(draws.chance("push_late", count, 70))
        .then(draws.between("push_minutes", count, 120, 2_400))
        .otherwise(draws.between("push_seconds", count, 1, 30))
    )
    luck = draws.below("push_again", count, 1_000)
    host = draws.between("push_host", count, 1, 254).cast(pl.String)
    rows = rows.with_columns(
        pl.when(~split).then("invoice_number").alias("invoice_number"),
        money(pl.coalesce("cents", "cents_")).alias("payment_amount"),
        pl.format("Payment of policy {}", "policy_number").alias("payment_description"),
        pl.col("address1").alias("address"),
        pl.when(pl.col("payment_source").is_in(_WEB)).then("198.51.100." + host).alias("remote_ip"),
        (pl.col("payment_date") + pl.duration(seconds=delay)).dt.truncate("1ms").alias("sent_at"),
        pl.when(luck < 30).then(3).when(luck < 100).then(2).otherwise(1).cast(pl.Int32).alias("times"),
        pl.lit(1, pl.Int32).alias("variant"),
    )
    both = pl.concat([part.select(_ALL) for part in (rows, _others(span, rows))])
    return both.filter(pl.col("sent_at") <= span.close).sort("sent_at", "payment_guid", "variant")


_ALL = ("payment_guid", "variant", *FIELDS, "sent_at", "times", "lost")


def _others(span: Span, rows: pl.DataFrame) -> pl.DataFrame:
    """Other content under a known GUID, ten minutes after the first: a dollar more, another text."""
    plain = rows.filter(
        pl.col("approved")
        & pl.col("plant").is_null()
        & pl.col("paired").is_null()
        & ~pl.col("lost")
        & (pl.col("payment_date") <= span.old)
    )
    turn = pl.int_range(pl.len())
    return (
        plain.sort("rank", "payment_guid")
        .head(CONFLICTS)
        .with_columns(
            pl.lit(2, pl.Int32).alias("variant"),
            pl.lit(1, pl.Int32).alias("times"),
            (pl.col("sent_at") + pl.duration(minutes=10)).alias("sent_at"),
            pl.when(turn % 2 == 0)
            .then(pl.col("payment_amount") + 1)
            .otherwise("payment_amount")
            .cast(rows.schema["payment_amount"])
            .alias("payment_amount"),
            pl.when(turn % 2 == 1)
            .then(pl.lit("Approved by hand"))
            .otherwise("payment_message")
            .alias("payment_message"),
        )
    )
