"""Every table's contract, by schema and name. A table without a row here cannot be created."""

from __future__ import annotations

from checks.contracts.ach_rejects import AchRejects
from checks.contracts.bank import BankLines, Chargebacks, EnrolmentFlags, Refunds
from checks.contracts.base import Contract
from checks.contracts.bif import BifRecords
from checks.contracts.enrolments import Autopay, Paperless
from checks.contracts.imt import Postings
from checks.contracts.inbound import Adjustments, EnrolmentPushes, Pushes, RtdrCalls
from checks.contracts.invoices import InvoiceEvents, OpenAtIc, SpectrumInvoices
from checks.contracts.payments import Payments
from checks.contracts.settlements import Settlements

FEEDS: dict[str, type[Contract]] = {
    "payments": Payments,
    "settlements": Settlements,
    "ach_rejects": AchRejects,
    "autopay": Autopay,
    "paperless": Paperless,
}
IMT: dict[str, type[Contract]] = {
    "postings": Postings,
    "invoice_events": InvoiceEvents,
    "spectrum_invoices": SpectrumInvoices,
    "open_at_ic": OpenAtIc,
    "adjustments": Adjustments,
    "pushes": Pushes,
    "enrolment_pushes": EnrolmentPushes,
    "rtdr_calls": RtdrCalls,
    "bank_lines": BankLines,
    "chargebacks": Chargebacks,
    "refunds": Refunds,
    "enrolment_flags": EnrolmentFlags,
}

__all__ = ["FEEDS", "IMT", "BifRecords", "Contract"]
