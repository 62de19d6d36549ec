"""B31: a bill without its image, an image without its bill, an image that could not be sent or named."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.breaks import NO_BREAKS, build, masked
from tasks.reconcile.dead_invoices import DEAD
from tasks.reconcile.model import IMAGES, ZERO
from tasks.reconcile.rules import Rules, overdue

# state: what is wrong, what to do.
_WORDS = {
    "missing": ("the PDF is not there", "Put it in the images folder: the next run sends it"),
    "unreadable": ("the PDF cannot be read", "Make it readable: the next run sends it"),
    "empty": ("the file is empty", "Print the bill again: the next run sends it"),
    "not_pdf": ("the file is no PDF", "Print the bill again: the next run sends it"),
    "failed": ("the PDF could not be sent", "The next run tries again; look at the SFTP connection"),
    "bad_name": ("no name can be made of it that leads back to one bill", "Correct the number or the file's name in IMT"),
    "orphan": ("no invoice goes with it", "Load its invoice, or take the file away"),
}  # fmt: skip
_WRONG = {state: wrong for state, (wrong, _) in _WORDS.items()}
_ACTIONS = {state: action for state, (_, action) in _WORDS.items()}


def document_gaps(
    images: pl.DataFrame, invoices: pl.DataFrame, rules: Rules, as_of: datetime
) -> pl.DataFrame:
    """One break per invoice, for a file without invoice per file, when the grace of its state is over.

    An image that was sent since is no gap, nor is one of an invoice that died since.
    """
    unsent = images.filter(pl.col("state") != "sent")
    if unsent.is_empty():
        return NO_BREAKS
    sent = (
        images.filter(pl.col("state") == "sent").group_by("invoice_number").agg(good=pl.col("sent_at").max())
    )
    died = invoices.filter(pl.col("status").is_in(DEAD)).select("invoice_number", died="changed_at")
    rows = (
        unsent.join(sent, on="invoice_number", how="left")
        .join(died, on="invoice_number", how="left")
        .with_columns(due_at=rules.due_at("B31", "first_seen_at"))
    )
    over = (pl.col("good") >= pl.col("last_seen_at")) | (pl.col("died") >= pl.col("first_seen_at"))
    rows = rows.filter(overdue("due_at", "first_seen_at", as_of) & ~over.fill_null(False))
    file = pl.coalesce("image_name", pl.col("source").str.extract(r"([^/\\\\]+)$"), "image_id")
    is_orphan = pl.col("state") == "orphan"
    rows = rows.with_columns(
        subject=pl.when(is_orphan).then(file).otherwise(pl.coalesce("invoice_number", file)), file=file
    )
    told = (
        rows.sort("first_seen_at", "state", "image_id")
        .group_by("subject", maintain_order=True)
        .agg(pl.all().first(), images=pl.struct(list(IMAGES)))
        .with_columns(
            payment_guid=pl.lit(None, pl.String),
            amount=ZERO,
            occurred_at="first_seen_at",
            what=_what(),
            detail=_detail(),
            action=pl.col("state").replace_strict(_ACTIONS, default="See the log of the last run"),
        )
    )
    facts = ("what", "detail", "action", "file", "message")
    told = told.with_columns(message="reason")
    return build("B31", rules, told, facts=facts, evidence={"images": "images"})


def _what() -> pl.Expr:
    bill = pl.format("invoice {} (account {})", "invoice_number", masked("account_number").fill_null("-"))
    of_file = pl.format("file {}", "file")
    no_bill = (pl.col("state") == "orphan") | pl.col("invoice_number").is_null()
    return pl.when(no_bill).then(of_file).otherwise(bill)


def _detail() -> pl.Expr:
    """What is wrong, and the words of the one who found it, where there are any."""
    wrong = pl.col("state").replace_strict(_WRONG, default=None, return_dtype=pl.String)
    wrong = pl.coalesce(wrong, pl.col("state"))
    words = pl.col("reason").str.strip_chars(" .").replace("", None)
    return pl.when(words.is_null()).then(wrong).otherwise(pl.format("{} ({})", wrong, words))
