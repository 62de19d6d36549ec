"""What the bank and InvoiceCloud's portal say besides the feeds: deposits, chargebacks, refunds; and IMT's own flags.

IC has no service for these (domain facts 16 to 18): a person exports them, `icflows load` reads them.
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from checks.contracts.base import GUID, Contract, Money, Timestamp, field, reference

STAGES = ["RETRIEVAL", "FIRST", "REVERSED", "SECOND"]
LISTS = ["AUTOPAY", "PAPERLESS"]


class BankLines(Contract):
    """One line of the bank's statement (BAI2 or CSV)."""

    line_id: str = field(
        "the bank's reference, else made from the line; key", str_length={"min_value": 1, "max_value": 96}
    )
    bank_account_last4: str = field(
        "last four of the account", nullable=True, str_matches=r"^[0-9A-Za-z]{1,4}$"
    )
    value_date: pl.Date = field("the bank's value date")
    amount: Money = field("signed: a credit is positive", unit="USD")
    type_code: str = field("the bank's code of the kind of line (BAI2)", nullable=True)
    bank_reference: str = field("the bank's reference", nullable=True)
    trace: str = field("trace or customer reference", nullable=True)
    text: str = field("the bank's words", nullable=True)


class Chargebacks(Contract):
    """One stage of one card dispute, as the portal's export lists it."""

    chargeback_id: str = field("case and stage; key", str_length={"min_value": 1, "max_value": 96})
    case_no: str = field("case")
    stage: str = field("RETRIEVAL, FIRST, REVERSED or SECOND", isin=STAGES)
    chargeback_date: pl.Date = field("netted from the deposit of this day, the biller's calendar")
    payment_guid: str = field("IC's id of the payment", nullable=True, str_matches=GUID)
    processor_reference: str = field("the processor's id of the payment", nullable=True)
    account_number: str = reference("account at IMT", nullable=True)
    invoice_number: str = reference("invoice", nullable=True)
    amount: Money = field("disputed", unit="USD", ge=0)
    card_type: str = field("card brand", nullable=True)
    reason: str = field("reason", nullable=True)
    respond_by: pl.Date = field("answer due", nullable=True)

    @pa.dataframe_check
    @classmethod
    def one_reference_at_least(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A dispute that names no payment can be matched to nothing."""
        named = pl.col("payment_guid").is_not_null() | pl.col("processor_reference").is_not_null()
        return data.lazyframe.select(named)


class Refunds(Contract):
    """One refund, as the portal's export lists it."""

    refund_id: str = field("IC's id of the refund; key", str_length={"min_value": 1, "max_value": 96})
    refund_date: pl.Date = field("netted from the deposit of this day, the biller's calendar")
    payment_guid: str = field("IC's id of the payment that is refunded", nullable=True, str_matches=GUID)
    processor_reference: str = field("the processor's id of that payment", nullable=True)
    account_number: str = reference("account at IMT", nullable=True)
    invoice_number: str = reference("invoice", nullable=True)
    amount: Money = field("refunded", unit="USD", ge=0)
    tender: str = field("CARD, EFT, …", nullable=True)
    reason: str = field("reason", nullable=True)


class EnrolmentFlags(Contract):
    """IMT's own flag of an account: AutoPay or paperless. The whole list each time."""

    account_number: str = reference("account, leading zeros kept; key, with the list")
    list: str = field("AUTOPAY or PAPERLESS", isin=LISTS)
    enrolled: bool = field("true: IMT has it as enrolled")
    changed_at: Timestamp = field("last event at IMT", nullable=True, unit="UTC")
    prints: pl.Boolean = field("PAPERLESS: IMT prints and mails bills all the same", nullable=True)
    legal_notice: pl.Boolean = field("PAPERLESS: a legal notice is due by mail", nullable=True)
