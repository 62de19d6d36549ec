"""Contracts of the IMT side: files that `icflows load` reads (CSV or Parquet)."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from checks.contracts.base import Contract, Money, Timestamp, field, reference

KINDS = ["PAYMENT", "REVERSAL", "REFUND", "SUSPENSE", "TRANSFER"]


class Postings(Contract):
    posting_id: str = field("IMT's id of the posting; key", str_length={"min_value": 1, "max_value": 64})
    system: str = field("MIPS_APPS or SPECTRUM", isin=["MIPS_APPS", "SPECTRUM"])
    payment_guid: str = field("IC's id of the payment, if IMT kept it", nullable=True)
    processor_reference: str = field("the processor's id, if IMT kept it", nullable=True)
    account_number: str = reference("account, leading zeros kept")
    policy_number: str = field("policy", nullable=True)
    invoice_number: str = reference("invoice", nullable=True)
    amount: Money = field("signed: money in is positive, a reversal negative", unit="USD")
    kind: str = field("PAYMENT, REVERSAL, REFUND, SUSPENSE or TRANSFER", isin=KINDS)
    reason: str = field("NSF, DUPLICATE, ...", nullable=True)
    origin: str = field("IC, CLOUDSTORE, LOCKBOX or OTHER", isin=["IC", "CLOUDSTORE", "LOCKBOX", "OTHER"])
    status: str = field("POSTED or REFUSED", isin=["POSTED", "REFUSED"])
    posted_at: Timestamp = field("when IMT booked it", unit="UTC")
    effective_date: pl.Date = field("date it counts from")
    batch: str = field("IMT's batch", nullable=True)
    posted_by: str = field("user or job", nullable=True)
    agent_code: str = field("agent of an AgentConnect payment, if IMT kept it", nullable=True)
    reverses_posting_id: str = field("the posting that this one takes back", nullable=True)

    @pa.dataframe_check
    @classmethod
    def sign_follows_kind(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """PAYMENT and SUSPENSE bring money in, REVERSAL and REFUND take it out."""
        brings_in = pl.col("kind").is_in(["PAYMENT", "SUSPENSE"])
        takes_out = pl.col("kind").is_in(["REVERSAL", "REFUND"])
        wrong = (brings_in & (pl.col("amount") < 0)) | (takes_out & (pl.col("amount") > 0))
        return data.lazyframe.select(~wrong)
