"""Contract of feed.ach_rejects (ACHRejectReporting*): one row per returned ACH debit."""

from __future__ import annotations

import polars as pl

from checks.contracts.base import GUID, Contract, Money, Timestamp, field, reference


class AchRejects(Contract):
    reject_date: Timestamp = field("when IC booked the return; netted from that day's deposit", unit="UTC")
    original_payment_guid: str = field("payment that came back", nullable=True, str_matches=GUID)
    original_payment_date: Timestamp = field("when that payment was made", nullable=True, unit="UTC")
    account_number: str = reference("account at IMT", nullable=True)
    invoice_number: str = reference("invoice paid", nullable=True)
    reject_amount: Money = field("amount that came back", unit="USD", gt=0)
    return_code: str = field("R code; an unknown one is kept and warned of", str_matches=r"^R[0-9]{2}$")
    return_reason: str = field("the bank's words", nullable=True)
    reject_sequence: pl.Int32 = field("1 = first presentment", nullable=True, ge=1)
    reject_fee: Money = field("fee for the return", nullable=True, unit="USD", ge=0)
    notified_payer: bool = field("payer was told", nullable=True)
    notified_biller: bool = field("biller was told", nullable=True)
