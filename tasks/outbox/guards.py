"""What must never be sent (break B29). One finding stops the whole run: a wrong recall takes a bill from a customer.

A finding is cured by IMT (a later event that is right) or by a person (`icflows outbox withhold EVENT`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from string import Formatter

import polars as pl

from tasks.outbox.model import GUARDS, MONEY, TIME, shaped

_SENTENCES = {
    "live_invoice": "{type} for invoice {invoice}, which is {status} in IMT: a live invoice is not recalled.",
    "amount": "{type} for invoice {invoice} asks for {amount} USD: a recall asks for 0.00.",
    "never_sent": "{type} for invoice {invoice}, which InvoiceCloud never got from here and which is not on its list of open invoices.",
    "wrong_kind": "{type} for invoice {invoice}, which {exists}: it has to be {other}.",
    "account": "Invoice {invoice} was sent for another account: account numbers do not change.",
}


@dataclass(frozen=True)
class Ground:
    """What the guards compare with.

    state: invoice_number, status, still_in_imt (imt.invoices) · known: invoice_number, known_at_ic,
    account_sent · live: invoices that InvoiceCloud holds open by what was sent.
    """

    state: pl.DataFrame
    known: pl.DataFrame
    live: int
    max_delete_share: float
    max_deletes_always: int


def findings(records: pl.DataFrame, ground: Ground, at: datetime) -> pl.DataFrame:
    """outbox.guards rows for `records` (RECORDS columns); empty if all may go."""
    state = ground.state.select("invoice_number", "status", "still_in_imt")
    known = ground.known.select("invoice_number", "known_at_ic", "account_sent")
    work = records.join(state, on="invoice_number", how="left").join(known, on="invoice_number", how="left")
    recall = pl.col("record_type") != "A"
    asked = pl.max_horizontal(
        pl.col("total_amount_due").fill_null(0).abs(), pl.col("balance_due").fill_null(0).abs()
    ).cast(MONEY)
    work = work.with_columns(asked=asked, exists=pl.col("still_in_imt"))
    checks = {
        "live_invoice": recall & pl.col("status").is_in(["OPEN", "PAID"]),
        "amount": recall & (pl.col("asked") != 0),
        "never_sent": recall & ~pl.col("known_at_ic").fill_null(False),
        "wrong_kind": recall
        & pl.col("status").is_in(["SUPERSEDED", "CANCELLED"])
        & ((pl.col("record_type") == "R") != pl.col("exists")),
        "account": pl.col("account_sent") != pl.col("account_number"),
    }
    parts = [_told(work.filter(test.fill_null(False)), guard, at) for guard, test in checks.items()]
    return pl.concat([*parts, _share(records, ground, at)]).sort("guard", "invoice_number")


def _told(rows: pl.DataFrame, guard: str, at: datetime) -> pl.DataFrame:
    words: dict[str, pl.Expr] = {
        "type": pl.col("record_type"), "invoice": pl.col("invoice_number"), "status": pl.col("status"),
        "amount": pl.col("asked").cast(pl.String),
        "exists": pl.when("exists").then(pl.lit("still exists in IMT")).otherwise(pl.lit("no longer exists in IMT")),
        "other": pl.when("exists").then(pl.lit("R at 0.00")).otherwise(pl.lit("D")),
    }  # fmt: skip
    names = [name for _, name, _, _ in Formatter().parse(_SENTENCES[guard]) if name]
    plain = re.sub(r"\{\w+\}", "{}", _SENTENCES[guard])
    sentence = pl.format(plain, *(words[name].fill_null("unknown") for name in names))
    return shaped(
        rows.with_columns(
            found_at=pl.lit(at, TIME), guard=pl.lit(guard), amount=pl.col("asked"), sentence=sentence
        ),
        GUARDS,
    )


def _share(records: pl.DataFrame, ground: Ground, at: datetime) -> pl.DataFrame:
    """More deletes than a run may make."""
    deletes = records.filter(pl.col("record_type") == "D").height
    allowed = max(ground.max_deletes_always, int(ground.live * ground.max_delete_share))
    words = (
        f"{deletes} of {ground.live} live invoices would be deleted in one run; {allowed} are allowed "
        "(outbound.max_delete_share, max_deletes_always)."
    )
    row = {
        "found_at": at, "guard": "delete_share", "record_type": "D", "invoice_number": "*", "amount": None,
        "sentence": words,
    }  # fmt: skip
    rows = [row] if deletes > allowed else []
    return shaped(pl.DataFrame(rows, schema={n: GUARDS[n] for n in row}), GUARDS)
