"""From IMT's invoice events to the records that InvoiceCloud is to get. Pure frames.

NEW, CHANGED (X): A(X).  REISSUED (X for Y): A(X), and R(Y) at 0.00 if Y still exists in IMT, else D(Y).
CANCELLED (X): R(X) at 0.00 or D(X), by the same rule. Per invoice the latest event wins; at one instant the
recall wins. Account numbers do not change: a recall carries the account of the event that asks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from tasks.outbox.model import APPLIED, FACTS, MONEY, RECORDS, TIME, empty, shaped

ZERO = pl.lit("0.00").cast(MONEY)
_LATEST = ["occurred_at", "is_recall", "event_id", "version"]
_CHAIN = 20  # reissues of reissues within one run; more would be an error of IMT


@dataclass(frozen=True)
class Pending:
    """What staging knows when records are composed.

    events: events not yet applied (InvoiceEvents columns, version) · own: last own event of each invoice
    concerned (facts, ever_billed) · known: invoice_number, known_at_ic, account_sent, last_occurred_at (of what
    was sent), last_told_at and last_recalled_at (of all events, applied or not), in_flight · done: event_id, event_version, invoice_number, record_type of records that were accepted.
    """

    events: pl.DataFrame
    own: pl.DataFrame
    known: pl.DataFrame
    done: pl.DataFrame


@dataclass(frozen=True)
class Composition:
    """records: RECORDS columns (no file yet) plus pdf_path · applied: events that need no record of their own."""

    records: pl.DataFrame
    applied: pl.DataFrame


@dataclass(frozen=True)
class Presentment:
    """How the bill's image is found: the format GUID (Spectrum) or a link (MIPS/APPS)."""

    bid: str
    format_guid: str | None
    pdf_link: str | None


def compose(pending: Pending, how: Presentment) -> Composition:
    """One record per invoice for the pending events. Same events in any order, same records."""
    wishes = _wishes(pending.events)
    if wishes.is_empty():
        return Composition(empty({**RECORDS, "pdf_path": pl.String}), empty(APPLIED))
    wishes = wishes.sort("invoice_number", *_LATEST, descending=True).with_columns(
        latest=pl.col("invoice_number").is_first_distinct(), group_id="event_id"
    )
    wishes = wishes.join(pending.known, on="invoice_number", how="left").with_columns(
        pl.col("known_at_ic", "in_flight").fill_null(False)
    )
    wishes = wishes.join(
        pending.own.select("invoice_number", "ever_billed"), on="invoice_number", how="left"
    ).with_columns(pl.col("ever_billed").fill_null(False))
    done = pending.done.with_columns(done=pl.lit(True))
    keys = ["event_id", "version", "invoice_number", "record_type"]
    wishes = wishes.join(done.rename({"event_version": "version"}), on=keys, how="left").with_columns(
        fate=_fate()
    )
    kept = _grouped(wishes.filter(pl.col("fate") == "send"))
    return Composition(_records(kept, pending.own, how), _applied(wishes))


def _wishes(events: pl.DataFrame) -> pl.DataFrame:
    """Events → (invoice, record type) wishes: own ones, and recalls of what a reissue replaces."""
    recall = pl.when("still_in_imt").then(pl.lit("R")).otherwise(pl.lit("D"))
    own = events.with_columns(
        record_type=pl.when(pl.col("event") == "CANCELLED").then(recall).otherwise(pl.lit("A")),
        is_recall=pl.lit(False),
        successor=pl.lit(None, pl.String),
    )
    recalls = events.filter(pl.col("event") == "REISSUED").with_columns(
        record_type=recall,
        is_recall=pl.lit(True),
        successor="invoice_number",
        invoice_number="replaces_invoice_number",
        replaces_invoice_number=pl.lit(None, pl.String),
        pdf_path=pl.lit(None, pl.String),
    )
    return pl.concat([own, recalls.select(own.columns)])


def _fate() -> pl.Expr:
    """Why a wish is not sent, or `send`."""
    recall = pl.col("record_type") != "A"
    return (
        pl.when(pl.col("done").fill_null(False)).then(pl.lit("done"))
        .when(~pl.col("latest")).then(pl.lit("covered"))
        .when(_older().fill_null(False)).then(pl.lit("older"))
        # Never sent, and now recalled: InvoiceCloud need not hear of it. A number that IMT never billed is
        # another matter: the guards stop on it. In flight, it may be there: it waits.
        .when(recall & ~pl.col("known_at_ic") & ~pl.col("in_flight") & pl.col("ever_billed"))
        .then(pl.lit("not_needed"))
        .otherwise(pl.lit("send"))
    )  # fmt: skip


def _older() -> pl.Expr:
    """A later word on this invoice was sent, or was heard and needed no sending (it may have waited until now)."""
    at = pl.col("occurred_at")
    return (
        (at < pl.col("last_occurred_at")).fill_null(False)
        | (at < pl.col("last_told_at")).fill_null(False)
        | (~pl.col("is_recall") & (at <= pl.col("last_recalled_at"))).fill_null(False)
    )


def _grouped(kept: pl.DataFrame) -> pl.DataFrame:
    """A recall goes with the record of its successor, whichever event that one came from."""
    for _ in range(_CHAIN):
        homes = kept.select(successor="invoice_number", home="group_id")
        moved = kept.join(homes, on="successor", how="left", maintain_order="left").with_columns(
            group_id=pl.coalesce("home", "group_id")
        )
        moved = moved.drop("home")
        if moved["group_id"].equals(kept["group_id"]):
            break
        kept = moved
    return kept


def _records(kept: pl.DataFrame, own: pl.DataFrame, how: Presentment) -> pl.DataFrame:
    ordinary = pl.col("record_type") == "A"
    facts = [
        name for name in FACTS if name in own.columns and name not in ("invoice_number", "account_number")
    ]
    billed = own.select("invoice_number", *facts)
    kept = kept.join(billed, on="invoice_number", how="left", suffix="_billed")
    # A recall is told with the bill's own facts, as far as they are known.
    kept = kept.with_columns(
        pl.when(~pl.col("is_recall")).then(pl.col(name)).otherwise(pl.col(f"{name}_billed")).alias(name)
        for name in facts
    )
    balance = pl.when(ordinary).then(pl.max_horizontal("balance_due", ZERO)).otherwise(ZERO)
    total = pl.when(ordinary).then(pl.col("total_amount_due")).otherwise(ZERO)
    minimum = pl.when(ordinary).then(pl.col("minimum_amount_due")).otherwise(ZERO)
    kept = kept.with_columns(balance_due=balance.cast(MONEY), total_amount_due=total.cast(MONEY))
    least = pl.when(minimum.is_not_null()).then(pl.min_horizontal(minimum, "balance_due"))
    kept = kept.with_columns(
        minimum_amount_due=least.cast(MONEY),
        autopay_collection_date=pl.when(ordinary).then(pl.col("autopay_collection_date")),
        invoice_format_guid=pl.when(ordinary).then(pl.lit(how.format_guid, pl.String)),
        pdf_link=pl.when(ordinary).then(_link(how)),
        event_version="version",
        state=pl.lit("in_file"),
    )
    shape = {**RECORDS, "pdf_path": pl.String, "in_flight": pl.Boolean}
    return shaped(kept, shape).sort("occurred_at", "event_id", "record_type", "invoice_number")


def _link(how: Presentment) -> pl.Expr:
    """The link's template with each record's numbers, percent-encoded where a web address needs it."""
    if not how.pdf_link:
        return pl.lit(None, pl.String)
    template = how.pdf_link.replace("{bid}", how.bid)
    parts = re.split(r"\{(invoice_number|account_number)\}", template)
    return pl.concat_str(
        [pl.lit(part) if n % 2 == 0 else _encoded(part) for n, part in enumerate(parts) if part or n % 2]
    )


def _encoded(name: str) -> pl.Expr:
    text = pl.col(name).str.replace_all("%", "%25", literal=True)
    for sign in (" ", "#", "?", "&", "+"):
        text = text.str.replace_all(sign, f"%{ord(sign):02X}", literal=True)
    return text


def _applied(wishes: pl.DataFrame) -> pl.DataFrame:
    """Events none of whose wishes is sent: done with, and why."""
    fates = wishes.group_by("event_id", "version").agg(
        pl.col("fate"),
        pl.col("invoice_number").sort_by("is_recall").first(),
    )
    over = fates.filter(~pl.col("fate").list.contains("send"))
    order = ("older", "not_needed", "covered", "done")
    outcome = pl.coalesce(
        pl.when(pl.col("fate").list.contains(name)).then(pl.lit(name)) for name in reversed(order)
    )
    return shaped(over.with_columns(outcome=outcome, at=pl.lit(None, TIME)), APPLIED)
