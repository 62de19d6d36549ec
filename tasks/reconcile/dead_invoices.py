"""Invoices that IMT replaced or cancelled: which payments name them, and which invoices stand in for them.

A payment of a dead invoice is misdirected (B30) until its money stands on a successor or in suspense; a
posting on a successor is no wrong reference (B08).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.reconcile.keys import id_key, reference_key
from tasks.reconcile.model import MONEY, TIME, empty

DEAD = ("SUPERSEDED", "CANCELLED")
_ITEMS = {
    "item": pl.UInt32, "invoice_number": pl.String, "status": pl.String, "still_in_imt": pl.Boolean,
    "successor": pl.String, "changed_at": TIME, "heir": pl.String, "was_dead": pl.Boolean, "line_amount": MONEY,
}  # fmt: skip
_HEIRS = {"item": pl.UInt32, "heir_key": pl.String, "own_key": pl.String, "end_key": pl.String}


@dataclass(frozen=True)
class Dead:
    """items: payments (`item`) of invoices that are dead now, the invoice as IMT has it, `heir` (the live
    invoice at the end of the chain of successors, else null), `was_dead` (already when it was paid),
    `line_amount` (what was paid on it; a payment over several invoices has a row for each dead one) ·
    heirs: item, key of each invoice that may stand in for the payment's own, `own_key` of that one, `end_key`
    of the last in its chain."""

    items: pl.DataFrame
    heirs: pl.DataFrame


NONE = Dead(empty(_ITEMS), empty(_HEIRS))


def find(payments: pl.DataFrame, invoices: pl.DataFrame) -> Dead:
    """Looks up the invoice of every payment or line (prepared: item, invoice_number, payment_date).

    A number is IMT's own as it stands, else the only one that reads the same (case, blanks, dashes).
    """
    dead = invoices.filter(pl.col("status").is_in(DEAD))
    if dead.is_empty() or payments.is_empty():
        return NONE
    named = _named(payments.select("item", number="invoice_number").drop_nulls(), invoices, dead)
    chains = _chains(named["number"].unique(), dead)
    last = chains.sort("step").unique("origin", keep="last", maintain_order=True)
    live = last.join(dead, left_on="number", right_on="invoice_number", how="anti")
    heir = live.select(invoice_number="origin", heir="number")
    facts = payments.select("item", "payment_date", asked="invoice_number", line_amount="payment_amount")
    items = (
        named.rename({"number": "invoice_number"})
        .join(dead, on="invoice_number")
        .join(heir, on="invoice_number", how="left")
        .join(facts, on=["item", "asked"])
        .with_columns(was_dead=pl.col("changed_at") <= pl.col("payment_date"))
    )
    ends = last.select("origin", end_key=reference_key("number"))
    links = chains.join(ends, on="origin").select(
        "end_key", number="origin", heir_key=reference_key("number"), own_key=reference_key("origin")
    )
    heirs = named.join(links, on="number")
    return Dead(items.select(list(_ITEMS)), heirs.select(list(_HEIRS)).drop_nulls().unique())


def _named(asked: pl.DataFrame, invoices: pl.DataFrame, dead: pl.DataFrame) -> pl.DataFrame:
    """item, number of the dead invoice, and the number `asked` for it."""
    numbers = invoices.select(number="invoice_number")
    gone = dead.select(number="invoice_number")
    exact = asked.join(gone, on="number").with_columns(asked="number")
    unknown = asked.join(numbers, on="number", how="anti")
    if unknown.is_empty():
        return exact
    alike = numbers.with_columns(key=reference_key("number")).unique("key", keep="none")
    alike = alike.join(gone, on="number", how="semi")
    keyed = unknown.select("item", asked="number", key=reference_key("number")).join(alike, on="key")
    return pl.concat([exact, keyed.select("item", "number", "asked")])


def _chains(origins: pl.Series, dead: pl.DataFrame) -> pl.DataFrame:
    """origin, number, step: every invoice that follows on `origin`, nearest first. Ends in a circle too."""
    links = dead.select(number="invoice_number", next="successor").drop_nulls()
    front = pl.DataFrame({"origin": origins, "number": origins}).with_columns(step=pl.lit(0))
    seen = front
    while front.height:  # one turn per link of the longest chain
        front = front.join(links, on="number").select("origin", number="next", step=pl.col("step") + 1)
        front = front.join(seen, on=["origin", "number"], how="anti")
        seen = pl.concat([seen, front])
    return seen.filter(pl.col("step") > 0)


def moved(
    dead: Dead, claims: pl.DataFrame, payments: pl.DataFrame, postings: pl.DataFrame, lines: pl.DataFrame
) -> pl.DataFrame:
    """item, was_dead, moved: is the money on a successor, by a posting of its own or by a TRANSFER?

    A posting that still stands elsewhere speaks against it, unless something of the payment was reversed. What
    a payment over several invoices paid on its living ones (`lines`) is where it should be.
    """
    items = dead.items.select("item", "was_dead")
    if items.is_empty():
        return items.with_columns(moved=pl.lit(False))
    own = claims.join(items, on="item", how="semi")
    back = own.filter(pl.col("kind") == "REVERSAL")
    paid = own.filter((pl.col("kind") == "PAYMENT") & (pl.col("status") == "POSTED"))
    paid = paid.join(back.select(posting_id="reverses_posting_id").drop_nulls(), on="posting_id", how="anti")
    if lines.height:
        paid = _off_living(paid, lines, dead)
    stands = (
        _on_heir(paid, dead).group_by("item").agg(here=pl.col("on_heir").any(), gone=pl.col("on_heir").all())
    )
    transfers = postings.filter(
        (pl.col("kind") == "TRANSFER") & (pl.col("status") == "POSTED") & (pl.col("amount") > 0)
    ).with_columns(guid_key=id_key("payment_guid"))
    ours = payments.join(items, on="item", how="semi").select("item", "guid_key").drop_nulls()
    sent = _on_heir(transfers.join(ours, on="guid_key"), dead).filter("on_heir")
    corrected = pl.col("here").fill_null(False) & pl.col("item").is_in(back["item"].implode())
    done = pl.col("gone").fill_null(False) | corrected | pl.col("item").is_in(sent["item"].implode())
    moved = items.join(stands, on="item", how="left").select("item", "was_dead", moved=done)
    if not moved["item"].is_duplicated().any():
        return moved
    return moved.group_by("item").agg(pl.col("was_dead").any(), pl.col("moved").all())


def _off_living(paid: pl.DataFrame, lines: pl.DataFrame, dead: Dead) -> pl.DataFrame:
    """Postings that stand on none of the payment's living invoices."""
    named = lines.select("item", key=reference_key("invoice_number")).unique()
    gone = dead.items.select("item", key=reference_key("invoice_number"))
    living = named.join(gone, on=["item", "key"], how="anti")
    keyed = paid.with_columns(key=reference_key("invoice_number"))
    return keyed.join(living, on=["item", "key"], how="anti").drop("key")


def _on_heir(rows: pl.DataFrame, dead: Dead) -> pl.DataFrame:
    keyed = rows.select("item", heir_key=reference_key("invoice_number"))
    found = keyed.join(dead.heirs.with_columns(on_heir=True), on=["item", "heir_key"], how="left")
    return found.with_columns(pl.col("on_heir").fill_null(False))
