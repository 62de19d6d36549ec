"""Contract of feed.payments (PaymentReporting*): one row per payment or line of a split one, IC's point of view."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from checks.contracts.base import GUID, Contract, Money, Timestamp, field, reference


class Payments(Contract):
    payment_guid: str = field("IC's id of the payment; key, with the line", str_matches=GUID)
    payment_line_no: pl.Int32 = field(
        "line of a payment split over invoices, from 1; else empty", nullable=True
    )
    payment_date: Timestamp = field("when the payer paid", unit="UTC")
    account_number: str = reference("account at IMT, leading zeros kept")
    invoice_number: str = reference("invoice paid", nullable=True)
    invoice_type_id: str = field("IC's id of the invoice type", nullable=True)
    payment_amount: Money = field("amount paid, fee not included", unit="USD")
    convenience_fee: Money = field("service fee, a separate amount", nullable=True, unit="USD", ge=0)
    approved: bool = field("false: declined, no money moves")
    payment_type_id: str = field("IC's tender code as sent", nullable=True)
    tender: str = field(
        "CARD, EFT, WALLET, OBD, CHECK or CASH; an unknown code is kept as sent", nullable=True
    )
    card_type: str = field("card brand", nullable=True)
    payment_source: str = field("channel; an unknown code is kept as sent", nullable=True)
    payment_message: str = field("processor's words", nullable=True)
    auth_code: str = field("authorisation code", nullable=True)
    payment_description: str = field("free text", nullable=True)
    biller_reference: str = field("reference that the biller gave", nullable=True)
    customer_name: str = field("payer", nullable=True, pii=True)
    address: str = field("payer's street", nullable=True, pii=True)
    city: str = field("payer's city", nullable=True, pii=True)
    state_code: str = field("payer's state", nullable=True, pii=True)
    zip: str = field("payer's postal code", nullable=True, pii=True)
    remote_ip: str = field("payer's address on the net", nullable=True, pii=True)
    processor_reference: str = field("the processor's id of the payment", nullable=True)
    confirmation_no: str = field("number shown to the payer", nullable=True)
    status: str = field(
        "APPROVED, DECLINED, VOIDED, REFUNDED, REJECTED, CHARGED_BACK, if sent", nullable=True
    )
    refund_of_guid: str = field("the payment that this row refunds", nullable=True)
    agent_code: str = field("agent of an AgentConnect payment", nullable=True)
    settled_batch_id: str = field("settlement batch, if the report names it", nullable=True)
    settled_date: pl.Date = field("settled on, if the report names it", nullable=True)

    @pa.dataframe_check
    @classmethod
    def negative_only_as_refund(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A payment is never negative; a refund (status, or refund_of_guid) may be."""
        refund = pl.col("refund_of_guid").is_not_null() | (pl.col("status") == "REFUNDED").fill_null(False)
        return data.lazyframe.select((pl.col("payment_amount") >= 0) | refund)
