"""The two lists of a conversion: what is open at InvoiceCloud, and what Spectrum holds of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from sandbox.carrier.carrier import Carrier
from sandbox.carrier.draws import Draws
from sandbox.carrier.images import image_name, other_account, pdf

_EVENT_ONLY = ("event_id", "event", "occurred_at", "still_in_imt")


def conversion(
    carrier: Carrier,
    out: Path,
    seed: int,
    *,
    account_clash: int = 0,
    images: Path | None = None,
    bid: str = "1234",
) -> tuple[Path, Path]:
    """Writes `open_at_ic.csv` and `spectrum_invoices.csv` into `out`; their paths.

    Of the carrier's open invoices Spectrum holds most under the same number; about 10 % under a new one
    with the old still listed as SUPERSEDED, about 5 % under a new one with the old gone; a few are new.
    `account_clash` of the unchanged ones have another account number. With `images`, a folder, the new
    numbers have a bill image there, named with `bid`.
    """
    out.mkdir(parents=True, exist_ok=True)
    known = _facts(carrier)
    listed = carrier.table("ic_open").join(known, on="invoice_number", how="semi", maintain_order="left")
    listed.write_csv(out / "open_at_ic.csv")
    held = _held(Draws(seed), listed, known, account_clash)
    if images is not None:
        images.mkdir(parents=True, exist_ok=True)
        held = held.with_columns(
            pl.when("fresh")
            .then(image_name(bid, pl.col("account_number")))
            .otherwise("pdf_path")
            .alias("pdf_path")
        )
        for name, number in held.filter("fresh").select("pdf_path", "invoice_number").iter_rows():
            (images / name).write_bytes(pdf(number))
    held.drop("fresh").sort("invoice_number").write_csv(out / "spectrum_invoices.csv")
    return out / "open_at_ic.csv", out / "spectrum_invoices.csv"


def _facts(carrier: Carrier) -> pl.DataFrame:
    """The facts of each invoice as its last bill told them."""
    events = carrier.table("imt_invoices").filter(pl.col("event") != "CANCELLED")
    last = events.unique("invoice_number", keep="last", maintain_order=True)
    return last.drop(*_EVENT_ONLY, "replaces_invoice_number")


def _held(draws: Draws, listed: pl.DataFrame, known: pl.DataFrame, account_clash: int) -> pl.DataFrame:
    """Spectrum's rows; `fresh` marks those whose number InvoiceCloud does not have."""
    rows = listed.height
    money = ("total_amount_due", "balance_due")
    ranked = (
        listed.select("invoice_number", *money)
        .join(known.drop(*money), on="invoice_number", how="left", maintain_order="left")
        .with_columns(draws.u64("conversion", rows).alias("rank"))
        .sort("rank", "invoice_number")
        .select(known.columns)
    )
    first = min(max(rows // 10, 1), rows)
    second = min(first + max(rows // 20, 1), rows)
    replaced = ranked.head(second)
    zero = pl.lit(0).cast(pl.Decimal(18, 2))
    parts = [
        _rows(ranked.slice(second), "OPEN", fresh=False).with_columns(_clash(account_clash)),
        _rows(ranked.head(first).with_columns(zero.alias("balance_due")), "SUPERSEDED", fresh=False),
        _rows(
            _renumbered(replaced, pl.concat_str("invoice_number", pl.lit("-S1"))), "OPEN", fresh=True
        ).with_columns(replaced["invoice_number"].alias("replaces_invoice_number")),
        _rows(_renumbered(ranked.tail(max(rows // 50, 1)), _new_number()), "OPEN", fresh=True),
    ]
    return pl.concat(parts)


def _rows(facts: pl.DataFrame, status: str, *, fresh: bool) -> pl.DataFrame:
    return facts.with_columns(
        pl.lit(status).alias("status"),
        pl.lit(None, pl.String).alias("replaces_invoice_number"),
        pl.lit(fresh).alias("fresh"),
    )


def _renumbered(facts: pl.DataFrame, number: pl.Expr) -> pl.DataFrame:
    """Another invoice of the same account, a month later; no image yet."""
    later = [(pl.col(name) + timedelta(days=30)) for name in ("invoice_date", "due_date")]
    return facts.with_columns(
        number.alias("invoice_number"), *later, pl.lit(None, pl.String).alias("pdf_path")
    )


def _new_number() -> pl.Expr:
    number = (pl.int_range(pl.len()) + 1).cast(pl.String).str.zfill(6)
    return pl.concat_str(pl.lit("INV-S"), number, pl.lit("-01"))


def _clash(count: int) -> pl.Expr:
    clashing = pl.int_range(pl.len()) < count
    account = pl.col("account_number")
    return pl.when(clashing).then(other_account(account)).otherwise(account).alias("account_number")
