"""Contract of feed.settlements (BillerSettledBatchDetail*): one row per item of a settled batch."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from checks.contracts.base import GUID, Contract, Money, field, reference

TRANSACTION_TYPES = ["PAYMENT", "REFUND", "REJECT", "CHARGEBACK", "ADJUSTMENT"]


class Settlements(Contract):
    settled_batch_id: str = field("id of the batch", str_length={"min_value": 1, "max_value": 64})
    settled_date: pl.Date = field("settled on, the biller's calendar")
    tender: str = field("CARD, EFT, ...; an unknown code is kept as sent", nullable=True)
    invoice_type: str = field("invoice type", nullable=True)
    payment_guid: str = field("IC's id of the payment; empty for CloudStore", nullable=True, str_matches=GUID)
    processor_reference: str = field("the processor's id", nullable=True)
    account_number: str = reference("account at IMT", nullable=True)
    invoice_number: str = reference("invoice paid", nullable=True)
    settled_amount: Money = field("amount of this item; negative when money went back", unit="USD")
    fee_amount: Money = field("fee of this item", nullable=True, unit="USD")
    transaction_type: str = field("PAYMENT, REFUND, REJECT, CHARGEBACK or ADJUSTMENT")
    batch_total: Money = field("IC's total of the whole batch", unit="USD")
    batch_item_count: pl.Int32 = field("IC's count of the batch's items", ge=0)
    agent_code: str = field("agent of an AgentConnect payment, if the report names it", nullable=True)
    merchant_account: str = field("merchant account", nullable=True)
    deposit_account_last4: str = field("last four of the deposit account", nullable=True)

    @pa.dataframe_check
    @classmethod
    def payment_not_negative(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Money that came in is not negative."""
        is_payment = pl.col("transaction_type") == "PAYMENT"
        return data.lazyframe.select(~is_payment | (pl.col("settled_amount") >= 0))

    @pa.dataframe_check
    @classmethod
    def one_reference_at_least(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """An item that names neither payment nor processor reference can be matched to nothing."""
        named = pl.col("payment_guid").is_not_null() | pl.col("processor_reference").is_not_null()
        return data.lazyframe.select(named)
