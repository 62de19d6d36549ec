"""The book of payments: every attempt by every channel, before anything goes wrong with it."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from sandbox.carrier import invoices
from sandbox.carrier.draws import Draws
from sandbox.carrier.span import STAMP, Span, local_date, money

# Wire codes of PaymentSource; PORTAL is the one-time payment of a visitor.
CHANNELS = {
    "PORTAL": 24,
    "PORTAL_REG": 14,
    "AGENTCONNECT": 14,
    "RECURRING": 6,
    "IVR": 6,
    "OBD": 6,
    "SCHEDULED": 5,
    "TEXT": 5,
    "FLEXPAY": 4,
    "CSR": 4,
    "API": 4,
    "VIRTUAL_TERMINAL": 3,
    "POS_KIOSK": 3,
}
TENDERS = {"CARD": 1, "EFT": 2, "WALLET": 3, "OBD": 4}
CARD_ONLY = ("POS_KIOSK", "VIRTUAL_TERMINAL")
FEE_CHANNELS = ("PORTAL", "PORTAL_REG", "IVR", "TEXT", "CSR")
DECLINES = {"Do not honor": 4, "Insufficient funds": 3, "Expired card": 2, "Invalid CVV": 1}
DOUBLE, DOUBLE_WITHIN = "Duplicate transaction", timedelta(hours=25)


def book(draws: Draws, span: Span, accounts: pl.DataFrame, rows: int) -> pl.DataFrame:
    """`rows` payment attempts in order of time; money in cents; `seq` is the row number."""
    frame = _who_and_when(draws, span, accounts.height, rows).join(accounts, on="acct", how="left")
    frame = frame.sort("payment_date", "payment_guid").with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("seq"), local_date("payment_date").alias("local_date")
    )
    frame = _channel(draws, frame)
    frame = _money(draws, frame)
    frame = _outcome(draws, frame)
    number = invoices.number(pl.col("acct"), invoices.month_of(span, "local_date"))
    frame = frame.with_columns(number.alias("invoice_number"), draws.u64("rank", rows).alias("rank"))
    return _no_double_by_chance(frame)


def _who_and_when(draws: Draws, span: Span, accounts: int, rows: int) -> pl.DataFrame:
    """Account and time of each attempt. The first rows come in pairs of twins: one account, one
    amount, weeks apart, both legitimate."""
    length = int((span.close - span.start).total_seconds())
    day = draws.below("date", rows, max(length // 86_400, 1))
    # Two draws added: most people pay around noon local time, nobody is excluded.
    second = (draws.below("s1", rows, 43_200) + draws.below("s2", rows, 43_200) + 21_600) % 86_400
    moment = (day * 86_400 + second) % length
    # A quarter of the times carry milliseconds, as the wire does.
    milli = draws.below("ms", rows, 1_000) * draws.chance("has_ms", rows, 250).cast(pl.Int64)
    pairs = min(max(rows // 400, 2), rows // 2) if length > 21 * 86_400 else 0
    frame = pl.DataFrame(
        {
            "payment_guid": draws.guids("guid", rows),
            "acct": draws.below("acct", rows, accounts),
            "at": moment,
            "milli": milli,
        }
    ).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("i"))
    twin = pl.col("i") < 2 * pairs
    second_twin = twin & (pl.col("i") % 2 == 1)
    early = pl.col("at") % (3 * 86_400)
    frame = frame.with_columns(
        twin.alias("twin"),
        pl.when(second_twin).then(pl.col("acct").shift(1)).otherwise("acct").alias("acct"),
        pl.when(second_twin)
        .then(early.shift(1) + 14 * 86_400 + pl.col("at") % 86_400)
        .when(twin)
        .then(early)
        .otherwise("at")
        .alias("at"),
    )
    moment_us = pl.col("at") * 1_000_000 + pl.col("milli") * 1_000
    start = pl.lit(span.start.replace(microsecond=0), STAMP)
    return frame.select(
        "payment_guid", "acct", "twin", (start + moment_us.cast(pl.Duration("us"))).alias("payment_date")
    )


def _channel(draws: Draws, frame: pl.DataFrame) -> pl.DataFrame:
    """Channel and tender. AUTOPAY only for accounts that are enrolled."""
    rows = frame.height
    frame = frame.with_columns(
        draws.pick("channel", rows, CHANNELS).alias("channel"),
        draws.chance("drawn", rows, 800).alias("drawn"),
        draws.below("tender", rows, 100).alias("t"),
        draws.pick("brand", rows, {"VISA": 5, "MC": 3, "AMEX": 1, "DISC": 1}).alias("brand"),
        draws.pick("wallet", rows, ["APPLEPAY", "GOOGLEPAY", "PAYPAL", "VENMO"]).alias("wallet"),
    )
    source = pl.when(pl.col("autopay") & pl.col("drawn")).then(pl.lit("AUTOPAY")).otherwise("channel")
    frame = frame.with_columns(source.alias("payment_source"))
    at = pl.col("payment_source")
    tender = (
        pl.when(at == "OBD")
        .then(pl.lit("OBD"))
        .when(at.is_in(CARD_ONLY))
        .then(pl.lit("CARD"))
        .when(at.is_in(("AUTOPAY", "AGENTCONNECT", "RECURRING", "API")))
        .then(pl.when(pl.col("t") < 65).then(pl.lit("EFT")).otherwise(pl.lit("CARD")))
        .when(pl.col("t") < 55)
        .then(pl.lit("CARD"))
        .when(pl.col("t") < 88)
        .then(pl.lit("EFT"))
        .otherwise(pl.lit("WALLET"))
    )
    frame = frame.with_columns(tender.alias("tender"))
    kind = pl.when(pl.col("tender") == "CARD").then("brand").when(pl.col("tender") == "WALLET").then("wallet")
    return frame.with_columns(
        kind.alias("card_type"),
        pl.when(pl.col("payment_source") == "AGENTCONNECT").then("agent").alias("agent_code"),
    ).drop("channel", "drawn", "brand", "wallet")


def _money(draws: Draws, frame: pl.DataFrame) -> pl.DataFrame:
    """Most pay the whole premium; budget plans a quarter; the rest any part of it. Fees stand apart."""
    rows = frame.height
    frame = frame.with_columns(
        draws.chance("partial", rows, 250).alias("partial"),
        draws.below("part", rows, 1_000_003).alias("part"),
    )
    quarter = pl.col("premium_cents") // 4
    part = 1_000 + pl.col("part") % (pl.col("premium_cents") - 1_000)
    cents = (
        pl.when(pl.col("twin"))
        .then("premium_cents")
        .when(pl.col("payment_source") == "FLEXPAY")
        .then(quarter)
        .when(pl.col("partial") & (pl.col("payment_source") != "AUTOPAY"))
        .then(part)
        .otherwise("premium_cents")
    )
    charged = pl.col("payment_source").is_in(FEE_CHANNELS)
    fee = (
        pl.when(charged & pl.col("tender").is_in(("CARD", "WALLET")))
        .then(295)
        .when(charged & (pl.col("tender") == "EFT") & (pl.col("part") % 3 == 0))
        .then(40)
    )
    return frame.with_columns(cents.alias("cents"), fee.cast(pl.Int64).alias("fee_cents")).drop(
        "partial", "part"
    )


def _outcome(draws: Draws, frame: pl.DataFrame) -> pl.DataFrame:
    """Approved or declined; a decline has no processor reference and is never settled."""
    rows = frame.height
    frame = frame.with_columns(
        draws.below("declined", rows, 1_000).alias("luck"),
        draws.pick("reason", rows, DECLINES).alias("reason"),
        draws.below("reference", rows, 10).alias("reference"),
    )
    limit = (
        pl.when(pl.col("tender").is_in(("CARD", "WALLET"))).then(40).when(pl.col("tender") == "EFT").then(10)
    )
    approved = pl.col("twin") | (pl.col("luck") >= limit.otherwise(0))
    processor = pl.concat_str(pl.lit("CH"), (pl.col("seq") + 1_000_001).cast(pl.String).str.zfill(8))
    return frame.with_columns(
        approved.alias("approved"),
        pl.when(approved).then(pl.lit("Approved")).otherwise("reason").alias("payment_message"),
        pl.when(approved).then(processor).alias("processor_reference"),
        pl.when(pl.col("reference") < 4)
        .then("policy_number")
        .when(pl.col("reference") == 4)
        .then(pl.lit(""))
        .alias("biller_reference"),
    ).drop("luck", "reason", "reference", "t")


def _no_double_by_chance(frame: pl.DataFrame) -> pl.DataFrame:
    """The same amount on the same invoice again within 25 hours is declined: as processors do, and so that
    only planted payments look paid twice (B04). Whatever stays approved lies that far behind what came before."""
    gap = pl.col("payment_date").diff().over("approved", "invoice_number", "cents", order_by="seq")
    again = pl.col("approved") & (gap < DOUBLE_WITHIN).fill_null(False)
    return frame.with_columns(
        (pl.col("approved") & ~again).alias("approved"),
        pl.when(again).then(pl.lit(DOUBLE)).otherwise("payment_message").alias("payment_message"),
        pl.when(~again).then("processor_reference").alias("processor_reference"),
    )


def feed(book_: pl.DataFrame) -> pl.DataFrame:
    """The book as IC reports it."""
    return book_.select(
        "payment_guid",
        pl.col("line").alias("payment_line_no"),
        "payment_date",
        "account_number",
        "invoice_number",
        "invoice_type_id",
        money("cents").alias("payment_amount"),
        money("fee_cents").alias("convenience_fee"),
        "approved",
        pl.col("tender").replace_strict(TENDERS, return_dtype=pl.Int32).alias("payment_type_id"),
        "tender",
        "card_type",
        "payment_source",
        "payment_message",
        "biller_reference",
        "customer_name",
        "processor_reference",
        "agent_code",
        pl.col("payment_date").alias("visible_at"),
    )
