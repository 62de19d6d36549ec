"""Records of a Biller Invoice File as the outbox holds them; a layout says how they are written down."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from checks.contracts.base import field, reference
from checks.contracts.invoices import InvoiceFacts

RECORD_TYPES = ["A", "R", "D"]


class BifRecords(InvoiceFacts):
    """A: the invoice as it stands. R: reissued, 0.00. D: the invoice no longer exists."""

    invoice_date: pl.Date = field(
        "issued on; unknown for a recall of an invoice that IMT never told of", nullable=True
    )
    record_type: str = field("A ordinary, R reissued at 0.00, D deleted", isin=RECORD_TYPES)
    replaces_invoice_number: str = reference("invoice that this one replaces", nullable=True)
    invoice_format_guid: str = field("IC's id of the PDF-extraction format (Spectrum)", nullable=True)
    pdf_link: str = field("where IC finds the bill image (MIPS/APPS)", nullable=True)
    image_name: str = field("bill image sent before this record", nullable=True)

    @pa.dataframe_check
    @classmethod
    def recall_has_no_amount(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """R and D ask for nothing."""
        amounts = pl.all_horizontal(
            pl.col("total_amount_due", "balance_due", "minimum_amount_due").fill_null(0) == 0
        )
        return data.lazyframe.select((pl.col("record_type") == "A") | amounts)

    @pa.dataframe_check
    @classmethod
    def balance_is_not_negative(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """InvoiceCloud shows no credit, only 0.00 or an amount due."""
        return data.lazyframe.select(pl.col("balance_due") >= 0)
