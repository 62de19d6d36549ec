"""A biller moves to Spectrum: from what is open at InvoiceCloud and what Spectrum holds, the records to send. Pure.

Open at IC, and in Spectrum's list under the same number:
    OPEN or PAID              A if IC shows another total, balance or due date (`changed`), else nothing (`unchanged`)
    SUPERSEDED or CANCELLED   R at 0.00: it still exists (`reissued`)
Open at IC, not in the list   D: it no longer exists (`deleted`)
Not open at IC, OPEN there    A (`new`)
Account numbers do not change. (Source: integration comparison, rows Invoice Data and IMT Integration Conversions.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from tasks.outbox.compose import Presentment
from tasks.outbox.contradictions import contradictions
from tasks.outbox.model import FACTS, MONEY, RECORDS, TIME, Schema, shaped

KINDS = ("unchanged", "changed", "new", "reissued", "deleted")
TYPES = {"changed": "A", "new": "A", "reissued": "R", "deleted": "D"}
# One row per invoice of the conversion. before: what IC shows as owed; after: what it shows once all is sent.
FATES: Schema = {
    "invoice_number": pl.String, "account_number": pl.String, "kind": pl.String, "record_type": pl.String,
    "before": MONEY, "after": MONEY,
}  # fmt: skip
PLANNED: Schema = {**RECORDS, "pdf_path": pl.String}
ZERO = pl.lit("0.00").cast(MONEY)
_OWN = ("invoice_format_guid", "pdf_link", "image_name")  # facts of the record, not of the bill
_KEPT = ("invoice_format_guid", "group_id", "occurred_at", "state", "pdf_path")


@dataclass(frozen=True)
class Conversion:
    """records: PLANNED columns, without a file yet · fates: FATES · refusals: rule, invoice_number, sentence.

    With a single refusal nothing of it may be sent.
    """

    records: pl.DataFrame
    fates: pl.DataFrame
    refusals: pl.DataFrame


def compose_conversion(
    open_at_ic: pl.DataFrame, spectrum: pl.DataFrame, how: Presentment, at: datetime
) -> Conversion:
    """The whole conversion (OpenAtIc, SpectrumInvoices → records). Same rows in any order, same records.

    `at`: when Spectrum's list was true; an event of IMT from before it is older than what is sent here.
    """
    refusals = contradictions(open_at_ic, spectrum)
    work = _paired(
        open_at_ic.unique("invoice_number", keep="first", maintain_order=True),
        spectrum.unique("invoice_number", keep="first", maintain_order=True),
    ).filter(pl.col("kind").is_not_null())
    fates = shaped(work, FATES).sort("invoice_number")
    going = work.filter(pl.col("record_type").is_not_null()).join(
        groups(spectrum), on="invoice_number", how="left"
    )
    going = going.with_columns(group_id=pl.coalesce("group_id", "invoice_number"))
    return Conversion(_records(going, how, at), fates, refusals)


def _paired(open_at_ic: pl.DataFrame, spectrum: pl.DataFrame) -> pl.DataFrame:
    """Both lists side by side, with kind, record_type, before and after."""
    shown = open_at_ic.select(
        "invoice_number", ic_account="account_number", ic_total="total_amount_due", ic_balance="balance_due",
        ic_due="due_date", at_ic=pl.lit(True),
    )  # fmt: skip
    both = spectrum.join(shown, on="invoice_number", how="full", coalesce=True)
    at_ic, live = pl.col("at_ic").fill_null(False), pl.col("status").is_in(["OPEN", "PAID"])
    owed = pl.max_horizontal("balance_due", ZERO).cast(MONEY)
    # What the export does not tell (no total, no due date) is not known to be the same.
    same = (
        pl.col("ic_total").eq_missing(pl.col("total_amount_due"))
        & pl.col("ic_balance").eq_missing(owed)
        & pl.col("ic_due").eq_missing(pl.col("due_date"))
    )
    kind = (
        pl.when(at_ic & live & same).then(pl.lit("unchanged"))
        .when(at_ic & live).then(pl.lit("changed"))
        .when(at_ic & pl.col("status").is_not_null()).then(pl.lit("reissued"))
        .when(at_ic).then(pl.lit("deleted"))
        .when(pl.col("status") == "OPEN").then(pl.lit("new"))
    )  # fmt: skip
    both = both.with_columns(kind=kind, before=pl.col("ic_balance").fill_null(ZERO))
    return both.with_columns(
        record_type=pl.col("kind").replace_strict(TYPES, default=None, return_dtype=pl.String),
        after=pl.when(pl.col("kind").is_in(["changed", "new"]))
        .then(owed)
        .when(pl.col("kind") == "unchanged")
        .then("before")
        .otherwise(ZERO)
        .cast(MONEY),
        account_number=pl.coalesce("account_number", "ic_account"),
        due_date=pl.when(pl.col("status").is_null()).then("ic_due").otherwise("due_date"),
    )


def groups(spectrum: pl.DataFrame) -> pl.DataFrame:
    """invoice_number → group_id: a replaced invoice and what replaces it, over any number of steps, go together.

    The group is called after the last successor. A fork (two invoices for one) is one group, and so is a loop.
    """
    named = pl.col("replaces_invoice_number")
    pairs = spectrum.filter(named.is_not_null() & (named != pl.col("invoice_number"))).select(
        old=named, new="invoice_number"
    )
    links = pl.concat([pairs.select(a="old", b="new"), pairs.select(a="new", b="old")]).unique()
    homes = links.select(invoice_number="a").unique().with_columns(home="invoice_number")
    while True:
        near = (
            links.join(homes, left_on="b", right_on="invoice_number")
            .group_by(invoice_number="a")
            .agg(near=pl.col("home").min())
        )
        moved = homes.join(near, on="invoice_number", how="left").with_columns(
            home=pl.min_horizontal("home", "near")
        )
        further = moved.select(home="invoice_number", far="home")  # halves a long chain in each round
        moved = moved.join(further, on="home", how="left").select("invoice_number", home="far")
        moved = moved.sort("invoice_number")
        if moved.equals(homes.sort("invoice_number")):
            break
        homes = moved
    last = pairs.join(pairs, left_on="new", right_on="old", how="anti").select(invoice_number="new")
    names = homes.join(last, on="invoice_number", how="semi").group_by("home")
    called = names.agg(name=pl.col("invoice_number").min())
    return homes.join(called, on="home", how="left").select(
        "invoice_number", group_id=pl.coalesce("name", "home")
    )


def _records(going: pl.DataFrame, how: Presentment, at: datetime) -> pl.DataFrame:
    """Records with the bill's facts as far as they are known; a recall asks for nothing and shows no image."""
    ordinary = pl.col("record_type") == "A"
    asked = {
        "balance_due": pl.col("after"),
        "total_amount_due": pl.when(ordinary).then("total_amount_due").otherwise(ZERO),
        "minimum_amount_due": pl.when(~ordinary)
        .then(ZERO)
        .when(pl.col("minimum_amount_due").is_not_null())
        .then(pl.min_horizontal("minimum_amount_due", "after")),
    }
    only_bills = ("autopay_collection_date", "replaces_invoice_number", "pdf_path")
    made = going.with_columns(
        **{name: value.cast(MONEY) for name, value in asked.items()},
        **{name: pl.when(ordinary).then(pl.col(name)) for name in only_bills},
        invoice_format_guid=pl.when(ordinary).then(pl.lit(how.format_guid, pl.String)),
        occurred_at=pl.lit(at, TIME),
        state=pl.lit("in_file"),
    )
    told = {name for name in FACTS if name not in _OWN}
    return shaped(made.select(*sorted({*told, *_KEPT})), PLANNED).sort(
        "group_id", "record_type", "invoice_number"
    )


def totals(conversion: Conversion, done: pl.DataFrame, held: pl.DataFrame) -> list[dict[str, Any]]:
    """Per kind, then `open`: records, done (accepted earlier), held, to_send, before, after, difference in USD.

    `done` and `held` have a column invoice_number. Held ones stay as they are. The last line is the sum of all
    others: what is open at IC now, and what will be.
    """
    known = {"done": done["invoice_number"].implode(), "held": held["invoice_number"].implode()}
    work = conversion.fates.with_columns(
        **{name: pl.col("invoice_number").is_in(numbers) for name, numbers in known.items()}
    ).with_columns(after=pl.when("held").then("before").otherwise("after"))
    sent = pl.col("record_type").is_not_null()
    figures = [
        sent.sum().alias("records"), pl.col("done").sum(), pl.col("held").sum(),
        (sent & ~pl.col("done") & ~pl.col("held")).sum().alias("to_send"), pl.len().alias("invoices"),
        pl.col("before").sum(), pl.col("after").sum(),
        (pl.col("after").sum() - pl.col("before").sum()).alias("difference"),
    ]  # fmt: skip
    kinds = pl.DataFrame({"kind": KINDS})
    by_kind = kinds.join(
        work.group_by("kind").agg(figures), on="kind", how="left", maintain_order="left"
    ).fill_null(0)
    whole = work.select(pl.lit("open").alias("kind"), *figures)
    lines: list[dict[str, Any]] = pl.concat([by_kind, whole], how="vertical_relaxed").to_dicts()
    return lines
