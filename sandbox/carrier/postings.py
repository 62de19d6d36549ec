"""What IMT booked: a posting minutes after each payment, reversals, and money IC knows nothing of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from sandbox.carrier import disputes, restated
from sandbox.carrier.doubles import CENT
from sandbox.carrier.draws import Draws
from sandbox.carrier.plants import APPROVED_REFUSED, DECLINED_POSTED
from sandbox.carrier.returns import SIGNED_OFF, WAS_FINAL
from sandbox.carrier.span import STAMP, Span, local_date, money

LOCKBOX_PER_MILLE = 30
DASHES = ("\u2010", "\u2011", "\u2013", "\u2212")  # hyphen, non-breaking hyphen, en dash, minus
_TYPED_EACH = 41
# Posting ids of one payment lie ten apart; those of other money begin after them.
_PAYMENT, _AGAIN, _REVERSAL = 0, 1, 2
_COLUMNS = (
    "id", "payment_guid", "processor_reference", "account_number", "policy_number", "invoice_number",
    "cents", "kind", "reason", "origin", "status", "posted_at", "agent_code", "reverses", "plant",
)  # fmt: skip


def build(
    draws: Draws,
    span: Span,
    accounts: pl.DataFrame,
    book: pl.DataFrame,
    rejects: pl.DataFrame,
    sales: pl.DataFrame,
    wanted: Mapping[str, int],
) -> pl.DataFrame:
    """All postings up to the close, in order of time; `plant` marks those of B02."""
    own = _payments(draws, accounts, book)
    beyond = (book.height + 10) * 10
    parts = [
        own,
        _again(draws, own),
        _reversals(draws, book, rejects),
        *disputes.taken_back(span, own, book),
        _sales(sales, beyond),
        _others(
            draws, span, accounts, "LOCKBOX", beyond + 1, book.height * LOCKBOX_PER_MILLE // 1_000, span.close
        ),
        _others(draws, span, accounts, "IC", beyond + 2, wanted["B02"], span.old),
    ]
    parts = [*parts[1:], *disputes.set_aside(own, book), *restated.corrected(span, own, book)]
    text = pl.concat([part.select(_COLUMNS) for part in parts]).filter(pl.col("posted_at") <= span.close)
    return text.sort("posted_at", "id")


def _payments(draws: Draws, accounts: pl.DataFrame, book: pl.DataFrame) -> pl.DataFrame:
    """The posting of each approved payment, 2 to 90 minutes later; B01, B05 to B09 spoil theirs."""
    plant = pl.col("plant").fill_null("")
    nameless = (pl.col("paired") == CENT).fill_null(False)
    off = 9 * (1 + pl.col("rank").cast(pl.Int64, strict=False).fill_null(7).abs() % 50)
    frame = book.with_columns(
        draws.between("post_seconds", book.height, 120, 5_400).alias("delay"),
        pl.when(pl.col("seq") % 2 == 0).then(1).otherwise(-1).alias("sign"),
    ).filter((pl.col("approved") & (plant != "B01")) | (plant == DECLINED_POSTED))
    neighbour = accounts.select(
        ((pl.col("acct") - 1) % accounts.height).alias("acct"),
        pl.col("account_number").alias("other_account"),
        pl.col("policy_number").alias("other_policy"),
    )
    frame = frame.join(neighbour, on="acct", how="left", maintain_order="left")
    cents = (
        pl.when(plant == "B05")
        .then(pl.col("cents") + pl.col("sign") * off)
        .when(plant == "B06")
        .then(pl.col("cents") + pl.col("sign") * pl.col("fee_cents"))
        .when(plant == "B07")
        .then(pl.col("cents") + pl.when(pl.col("line") == 1).then(-1).otherwise(1) * pl.col("moved_cents"))
        .otherwise("cents")
    )
    return frame.select(
        (pl.col("seq") * 10 + _PAYMENT).alias("id"),
        pl.when(~nameless).then("payment_guid").alias("payment_guid"),
        pl.when(~nameless).then("processor_reference").alias("processor_reference"),
        pl.when(plant == "B08").then("other_account").otherwise("account_number").alias("account_number"),
        pl.when(plant == "B08").then("other_policy").otherwise("policy_number").alias("policy_number"),
        "invoice_number",
        cents.alias("cents"),
        pl.lit("PAYMENT").alias("kind"),
        pl.lit(None, pl.String).alias("reason"),
        pl.lit("IC").alias("origin"),
        pl.when(plant == APPROVED_REFUSED)
        .then(pl.lit("REFUSED"))
        .otherwise(pl.lit("POSTED"))
        .alias("status"),
        (pl.col("payment_date") + (pl.col("delay") * 1_000_000).cast(pl.Duration("us")))
        .dt.truncate("1s")
        .alias("posted_at"),
        "agent_code",
        pl.lit(None, pl.Int64).alias("reverses"),
        "plant",
    )


def _again(draws: Draws, own: pl.DataFrame) -> pl.DataFrame:
    """B03: the same payment posted a second time, minutes later."""
    twice = own.filter(pl.col("plant") == "B03")
    later = (draws.between("again", twice.height, 30, 900) * 1_000_000).cast(pl.Duration("us"))
    return twice.with_columns(
        (pl.col("id") + _AGAIN).alias("id"), (pl.col("posted_at") + later).alias("posted_at")
    )


def _reversals(draws: Draws, book: pl.DataFrame, rejects: pl.DataFrame) -> pl.DataFrame:
    """One reversal per returned payment, one to eight hours after the reject; none for B16."""
    booked = ("B19", "B20", "B22", SIGNED_OFF, WAS_FINAL)
    back = rejects.filter(pl.col("plant").is_null() | pl.col("plant").is_in(booked)).join(
        book.filter("returned").select("payment_guid", "seq", "policy_number", "agent_code"),
        left_on="original_payment_guid",
        right_on="payment_guid",
        how="inner",
        maintain_order="left",
    )
    later = (draws.between("reverse", back.height, 3_600, 28_800) * 1_000_000).cast(pl.Duration("us"))
    return back.with_columns(later.alias("later")).select(
        (pl.col("seq") * 10 + _REVERSAL).alias("id"),
        pl.col("original_payment_guid").alias("payment_guid"),
        "processor_reference",
        "account_number",
        "policy_number",
        "invoice_number",
        (-pl.col("cents")).alias("cents"),
        pl.lit("REVERSAL").alias("kind"),
        pl.lit("NSF").alias("reason"),
        pl.lit("IC").alias("origin"),
        pl.lit("POSTED").alias("status"),
        (pl.col("reject_date") + pl.col("later")).dt.truncate("1s").alias("posted_at"),
        "agent_code",
        (pl.col("seq") * 10 + _PAYMENT).alias("reverses"),
        pl.lit(None, pl.String).alias("plant"),
    )


def _sales(sales: pl.DataFrame, first: int) -> pl.DataFrame:
    """The supporting record of each CloudStore sale; none for B42."""
    noon = pl.col("settled_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(hours=12)
    before = (pl.col("before") * 1_000_000).cast(pl.Duration("us"))
    kept = sales.filter(pl.col("plant").is_null())
    return kept.select(
        (pl.int_range(pl.len(), dtype=pl.Int64) * 10 + first).alias("id"),
        pl.lit(None, pl.String).alias("payment_guid"),
        "processor_reference",
        "account_number",
        pl.lit(None, pl.String).alias("policy_number"),
        pl.lit(None, pl.String).alias("invoice_number"),
        "cents",
        pl.lit("PAYMENT").alias("kind"),
        pl.lit(None, pl.String).alias("reason"),
        pl.lit("CLOUDSTORE").alias("origin"),
        pl.lit("POSTED").alias("status"),
        (noon - before).alias("posted_at"),
        pl.lit(None, pl.String).alias("agent_code"),
        pl.lit(None, pl.Int64).alias("reverses"),
        pl.lit(None, pl.String).alias("plant"),
    )


def _others(
    draws: Draws, span: Span, accounts: pl.DataFrame, origin: str, first: int, rows: int, until: object
) -> pl.DataFrame:
    """Money without a payment at IC: cheques by lockbox (fine), or said to come from IC (B02)."""
    length = max(int((until - span.start).total_seconds()), 1)  # type: ignore[operator]
    at = accounts[draws.below(f"{origin}_acct", rows, accounts.height)]
    start = pl.lit(span.start.replace(microsecond=0), STAMP)
    from_ic = origin == "IC"
    frame = at.select("account_number", "policy_number").with_columns(
        draws.guids(f"{origin}_guid", rows).alias("guid"),
        draws.between(f"{origin}_cents", rows, 1_009, 59_999).alias("cents"),
        draws.below(f"{origin}_at", rows, length).alias("at"),
        pl.int_range(rows, dtype=pl.Int64, eager=True).alias("n"),
    )
    reference = pl.format("CH{}", (pl.col("n") + 80_000_001).cast(pl.String))
    return frame.select(
        (pl.col("n") * 10 + first).alias("id"),
        pl.when(pl.lit(from_ic)).then("guid").alias("payment_guid"),
        pl.when(pl.lit(from_ic)).then(reference).alias("processor_reference"),
        "account_number",
        "policy_number",
        pl.lit(None, pl.String).alias("invoice_number"),
        "cents",
        pl.lit("PAYMENT").alias("kind"),
        pl.lit(None, pl.String).alias("reason"),
        pl.lit(origin).alias("origin"),
        pl.lit("POSTED").alias("status"),
        (start + (pl.col("at") * 1_000_000).cast(pl.Duration("us"))).alias("posted_at"),
        pl.lit(None, pl.String).alias("agent_code"),
        pl.lit(None, pl.Int64).alias("reverses"),
        pl.when(pl.lit(from_ic)).then(pl.lit("B02")).alias("plant"),
    )


def posting_id(number: str | pl.Expr) -> pl.Expr:
    """`SP000012340`; null stays null."""
    value = pl.col(number) if isinstance(number, str) else number
    return pl.concat_str(pl.lit("SP"), value.cast(pl.String).str.zfill(9))


def imt(postings: pl.DataFrame, dashed: bool) -> pl.DataFrame:
    """The postings as IMT exports them. `dashed`: some invoices are written with a dash that a word processor made."""
    day = local_date("posted_at")
    typed = (pl.col("payment_guid").is_null() | (pl.col("id") // 10 % _TYPED_EACH == 0)) & pl.lit(dashed)
    dash = pl.lit(pl.Series(DASHES)).gather((pl.col("id") // 10 % len(DASHES)).cast(pl.UInt32))
    written = pl.col("invoice_number").str.split("-").list.join(dash)
    return postings.select(
        posting_id("id").alias("posting_id"),
        pl.lit("SPECTRUM").alias("system"),
        "payment_guid",
        "processor_reference",
        "account_number",
        "policy_number",
        pl.when(typed).then(written).otherwise("invoice_number").alias("invoice_number"),
        money("cents").alias("amount"),
        "kind",
        "reason",
        "origin",
        "status",
        "posted_at",
        day.alias("effective_date"),
        pl.format("{}{}", pl.col("origin"), day.dt.strftime("%Y%m%d")).alias("batch"),
        pl.lit("icpost").alias("posted_by"),
        "agent_code",
        posting_id("reverses").alias("reverses_posting_id"),
    )
