"""What InvoiceCloud tells us and asks us by itself (`icflows serve`), and IMT's adjustments, which the answers need.

Pushes are the Data Pump's payment post-backs (domain fact 8); calls are those of real-time data refresh (RTDR).
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from checks.contracts.base import GUID, Contract, Money, Timestamp, field, reference

ADJUSTMENT_KINDS = ["ENDORSEMENT", "CANCELLATION", "FEE", "CREDIT"]
ENROLMENT_LISTS = ["AUTOPAY", "PAPERLESS"]
RESULTS = ["answered", "unknown", "stale"]


class Pushes(Contract):
    """One content of one pushed payment. The same GUID with other content is a row of its own (`variant` 2, 3, …)."""

    push_id: str = field(
        "the receiver's id, also the receipt that IC got; key", str_length={"min_value": 1, "max_value": 64}
    )
    payment_guid: str = field("IC's id of the payment", str_matches=GUID)
    variant: pl.Int32 = field("1: what came first; 2 and up: other content under the same GUID", ge=1)
    received_at: Timestamp = field("when the push was stored, before it was answered", unit="UTC")
    form: str = field("form, soap or json", isin=["form", "soap", "json"])
    payment_date: Timestamp = field("when the payer paid", unit="UTC")
    account_number: str = reference("account, as pushed or by the invoice", nullable=True)
    invoice_number: str = reference("invoice paid", nullable=True)
    payment_amount: Money = field("amount paid, fee not included", unit="USD", ge=0)
    convenience_fee: Money = field("service fee, a separate amount", nullable=True, unit="USD", ge=0)
    approved: bool = field("false: declined, no money moves")
    payment_type_id: str = field("IC's tender code as sent", nullable=True)
    tender: str = field("CARD, EFT, …; an unknown code is kept as sent", nullable=True)
    card_type: str = field("card brand", nullable=True)
    payment_source: str = field("channel, if it is pushed", nullable=True)
    payment_message: str = field("processor's words", nullable=True)
    payment_description: str = field("free text", nullable=True)
    biller_reference: str = field("reference that the biller gave", nullable=True)
    agent_code: str = field("agent of an AgentConnect payment, if it is pushed", nullable=True)
    customer_name: str = field("payer", nullable=True, pii=True)
    address: str = field("payer's street", nullable=True, pii=True)
    city: str = field("payer's city", nullable=True, pii=True)
    state_code: str = field("payer's state", nullable=True, pii=True)
    zip: str = field("payer's postal code", nullable=True, pii=True)
    remote_ip: str = field("payer's address on the net", nullable=True, pii=True)
    account_known: bool = field("false: neither account nor invoice is known to IMT: suspense")
    open_balance: Money = field(
        "what the invoice owed when the push came, if known", nullable=True, unit="USD"
    )
    above_balance: bool = field("the amount is above what was owed")
    handover_sequence: pl.Int32 = field("number of the file that hands the posting to IMT", nullable=True)
    acknowledged_at: Timestamp = field("when IMT acknowledged that file", nullable=True, unit="UTC")


class EnrolmentPushes(Contract):
    """One AutoPay or paperless event that the Data Pump pushed (MIPS/APPS only)."""

    push_id: str = field("the receiver's id; key", str_length={"min_value": 1, "max_value": 64})
    list: str = field("AUTOPAY or PAPERLESS", isin=ENROLMENT_LISTS)
    account_number: str = reference("account at IMT")
    invoice_type_id: str = field("IC's id of the invoice type", nullable=True)
    enrolled: bool = field("true: enrolled; false: cancelled")
    occurred_at: Timestamp = field("when it happened at IC, if it said so", nullable=True, unit="UTC")
    received_at: Timestamp = field("when the push was stored", unit="UTC")
    payment_method: str = field("CARD or EFT, if sent", nullable=True)
    email: str = field("e-mail", nullable=True, pii=True)
    handover_sequence: pl.Int32 = field("number of the file that hands it to IMT", nullable=True)
    acknowledged_at: Timestamp = field("when IMT acknowledged that file", nullable=True, unit="UTC")


class RtdrCalls(Contract):
    """One question of real-time data refresh and what was answered. No names, no addresses."""

    call_id: str = field("the service's id of the call; key", str_length={"min_value": 1, "max_value": 64})
    called_at: Timestamp = field("when the question came", unit="UTC")
    subject: str = field("INVOICE or ACCOUNT", isin=["INVOICE", "ACCOUNT"])
    form: str = field("soap11, soap12 or json", isin=["soap11", "soap12", "json"])
    account_number: str = reference("account asked for, or of the invoice", nullable=True)
    invoice_number: str = reference("invoice asked for", nullable=True)
    result: str = field(
        "answered; unknown: no such account or invoice; stale: IMT not heard lately", isin=RESULTS
    )
    balance_answered: Money = field("balance that IC was told", nullable=True, unit="USD", ge=0)
    payable: pl.Boolean = field("whether IC was told that it may be paid", nullable=True)
    known_as_of: Timestamp = field("how fresh IMT's figures were", nullable=True, unit="UTC")
    latency_us: pl.Int32 = field("time from the request to its answer", unit="microseconds", ge=0)


class Adjustments(Contract):
    """One change of what is owed that is no invoice event: it reaches InvoiceCloud by RTDR alone."""

    adjustment_id: str = field(
        "IMT's id of the adjustment; key", str_length={"min_value": 1, "max_value": 64}
    )
    account_number: str = reference("account, leading zeros kept")
    invoice_number: str = reference("invoice; without one it counts for the account alone", nullable=True)
    policy_number: str = field("policy", nullable=True)
    kind: str = field("ENDORSEMENT, CANCELLATION, FEE or CREDIT", isin=ADJUSTMENT_KINDS)
    amount: Money = field("signed: what is owed grows by it; a credit is negative", unit="USD")
    occurred_at: Timestamp = field("when IMT booked it", unit="UTC")
    reason: str = field("IMT's word for it", nullable=True)

    @pa.dataframe_check
    @classmethod
    def sign_follows_kind(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A FEE never lowers what is owed, a CREDIT never raises it."""
        fee, credit = pl.col("kind") == "FEE", pl.col("kind") == "CREDIT"
        wrong = (fee & (pl.col("amount") < 0)) | (credit & (pl.col("amount") > 0))
        return data.lazyframe.select(~wrong)
