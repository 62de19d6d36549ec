"""Bill images: tiny PDFs whose names tell biller, account and invoice, as InvoiceCloud wants them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sandbox.carrier.recalls import BAD_NAME, MISSING

FOLDER = "images"


def named(events: pl.DataFrame, images: int | None, bid: str) -> pl.DataFrame:
    """The events with `pdf_path`: for the `images` newest that bill something, and for the planted ones.

    The image of a B31 invoice is named for another account, or is named rightly and not there.
    """
    if images is None:
        return events.with_columns(pl.lit(None, pl.String).alias("pdf_path"))
    bills = pl.col("event") != "CANCELLED"
    newest = bills.cum_sum(reverse=True) <= images
    planted = pl.col("plant").is_in([BAD_NAME, MISSING]).fill_null(False)
    account = pl.col("account_number")
    account = pl.when(pl.col("plant") == BAD_NAME).then(other_account(account)).otherwise(account)
    return events.with_columns(
        pl.when(bills & (newest | planted)).then(image_name(bid, account)).alias("pdf_path")
    )


def other_account(account: pl.Expr) -> pl.Expr:
    """A number that is no account's: none of them has a 9 in its second place."""
    return account.str.slice(0, 1) + "9" + account.str.slice(2)


def image_name(bid: str, account: pl.Expr) -> pl.Expr:
    """BID_ACCOUNT_INVOICE.pdf."""
    return pl.concat_str(
        pl.lit(bid), pl.lit("_"), account, pl.lit("_"), pl.col("invoice_number"), pl.lit(".pdf")
    )


def orphans(accounts: pl.Series, bid: str) -> pl.DataFrame:
    """Images of invoices that do not exist: `subject` (the file's name), account_number, invoice_number."""
    number = (pl.int_range(pl.len()) + 900_001).cast(pl.String)
    frame = pl.DataFrame({"account_number": accounts}).with_columns(
        pl.concat_str(pl.lit("INV-X"), number, pl.lit("-01")).alias("invoice_number")
    )
    return frame.with_columns(image_name(bid, pl.col("account_number")).alias("subject"))


def write(folder: Path, events: pl.DataFrame, orphaned: pl.DataFrame) -> None:
    """One file per image into `folder` (made if missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    there = events.filter(
        pl.col("pdf_path").is_not_null() & (pl.col("plant").is_null() | (pl.col("plant") != MISSING))
    )
    names = pl.concat(
        [
            there.select("pdf_path", "invoice_number").unique("pdf_path", maintain_order=True),
            orphaned.select(pl.col("subject").alias("pdf_path"), "invoice_number"),
        ]
    )
    for name, invoice in names.iter_rows():
        (folder / name).write_bytes(pdf(invoice))


def pdf(text: str) -> bytes:
    """A valid PDF of one page that shows `text` (ASCII without brackets); less than 600 bytes."""
    shown = f"BT/F1 12 Tf 20 40 Td({text})Tj ET"
    font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    bodies = (
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 90]/Resources<</Font<</F1{font}>>>>/Contents 4 0 R>>",
        f"<</Length {len(shown)}>>stream\n{shown}\nendstream\n",
    )
    file, places = "%PDF-1.4\n", []
    for number, body in enumerate(bodies, start=1):
        places.append(len(file))
        file += f"{number} 0 obj{body}endobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(bodies) + 1
    file += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer<</Size {size}/Root 1 0 R>>\n"
    return f"{file}startxref\n{file.index('xref')}\n%%EOF\n".encode("ascii")
