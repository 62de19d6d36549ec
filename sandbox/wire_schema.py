"""What each reporting operation prints: its columns, in order, and how a null is written.

Facts as data. The names and the order are those of the captured answers of a real
ASP.NET server; a `Column` maps one element of the wire to one column of the carrier's
Parquet table. Two forms exist for most feeds: a typed list (`...SOAP`) and a DataSet
with inline schema and diffgram.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

REPORTING = "CloudReporting"
INVOICING = "CloudInvoicing"
MANAGEMENT = "CloudManagement"
NAMESPACE = "https://www.invoicecloud.com/portal/webservices/{service}/"

Kind = Literal["string", "guid", "int", "decimal", "boolean", "dateTime"]
Form = Literal["typed", "dataset"]


@dataclass(frozen=True)
class Column:
    """One element of a row: wire name, source column, kind, and whether the typed form may say nil.

    `optional`: only a carrier whose table has the source shows it, as the captured one does not.
    """

    wire: str
    source: str
    kind: Kind = "string"
    nillable: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Operation:
    """One reporting operation.

    `row` is the element of one row; `parent` the list element (typed) or DataSet name.
    `window` names the request's two bounds; without them the report is a full snapshot.
    `key_time` is the table's column that the window is applied to.
    """

    name: str
    table: str
    form: Form
    parent: str
    row: str
    columns: tuple[Column, ...]
    window: tuple[str, str] | None = None
    key_time: str | None = None

    @property
    def amount(self) -> str | None:
        """Wire name of the first money column, if the report has one."""
        return next((column.wire for column in self.columns if column.kind == "decimal"), None)


PAYMENTS = (
    Column("PaymentGUID", "payment_guid", "guid"),
    Column("PaymentDateGMT", "payment_date", "dateTime"),
    Column("AccountNumber", "account_number"),
    Column("InvoiceNumber", "invoice_number"),
    Column("InvoiceTypeID", "invoice_type_id", "int", nillable=True),
    Column("PaymentAmount", "payment_amount", "decimal"),
    Column("ConvenienceFee", "convenience_fee", "decimal", nillable=True),
    Column("Approved", "approved", "boolean"),
    Column("PaymentTypeID", "payment_type_id", "int"),
    Column("CardType", "card_type"),
    Column("PaymentSource", "payment_source"),
    Column("PaymentMessage", "payment_message"),
    Column("BillerReference", "biller_reference"),
    Column("CustomerName", "customer_name"),
    Column("ProcessorReference", "processor_reference"),
    Column("AgentCode", "agent_code"),
)
SETTLEMENTS = (
    Column("SettledBatchID", "settled_batch_id"),
    Column("SettledDate", "settled_date", "dateTime"),
    Column("Tender", "tender"),
    Column("PaymentGUID", "payment_guid"),
    Column("ProcessorReference", "processor_reference"),
    Column("AccountNumber", "account_number"),
    Column("InvoiceNumber", "invoice_number"),
    Column("SettledAmount", "settled_amount", "decimal"),
    Column("FeeAmount", "fee_amount", "decimal", nillable=True),
    Column("TransactionType", "transaction_type"),
    Column("BatchTotal", "batch_total", "decimal"),
    Column("BatchItemCount", "batch_item_count", "int"),
)
# No typed form has these: the captured WSDL does not know them.
PAYMENTS_DATASET = (*PAYMENTS, Column("PaymentLineNo", "payment_line_no", "int", optional=True))
SETTLEMENTS_DATASET = (*SETTLEMENTS, Column("AgentCode", "agent_code", optional=True))
REJECTS = (
    Column("RejectDateGMT", "reject_date", "dateTime"),
    Column("OriginalPaymentGUID", "original_payment_guid"),
    Column("OriginalPaymentDateGMT", "original_payment_date", "dateTime"),
    Column("AccountNumber", "account_number"),
    Column("InvoiceNumber", "invoice_number"),
    Column("RejectAmount", "reject_amount", "decimal"),
    Column("ReturnCode", "return_code"),
    Column("ReturnReason", "return_reason"),
    Column("RejectSequence", "reject_sequence", "int", nillable=True),
)
AUTOPAY = (
    Column("AccountNumber", "account_number"),
    Column("InvoiceTypeID", "invoice_type_id", "int", nillable=True),
    Column("AutoPay", "autopay", "boolean"),
    Column("EnrolledDate", "enrolled_at", "dateTime", nillable=True),
    Column("PaymentMethod", "payment_method"),
    Column("DrawOffsetDays", "draw_offset_days", "int", nillable=True),
    Column("EmailAddress", "email"),
    Column("CustomerID", "customer_id"),
)
PAPERLESS = (
    Column("AccountNumber", "account_number"),
    Column("InvoiceTypeID", "invoice_type_id", "int", nillable=True),
    Column("PaperInvoices", "paper_invoices", "boolean"),
    Column("EmailAddress", "email"),
    Column("Registered", "registered", "boolean"),
    Column("RegistrationDate", "registration_date", "dateTime"),
    Column("EmailBounced", "email_bounced", "boolean"),
    Column("CustomerID", "customer_id"),
)

GMT = ("FromGMT", "ToGMT")
DATES = ("FromDate", "ToDate")

_ALL = (
    Operation(
        "PaymentReportingSOAP",
        "payments",
        "typed",
        "Payments",
        "PaymentRecord",
        PAYMENTS,
        GMT,
        "payment_date",
    ),
    Operation(
        "PaymentReportingDataSetFromGMT",
        "payments",
        "dataset",
        "PaymentReporting",
        "Payments",
        PAYMENTS_DATASET,
        GMT,
        "payment_date",
    ),
    Operation(
        "BillerSettledBatchDetailSOAP",
        "settlements",
        "typed",
        "Details",
        "SettledRecord",
        SETTLEMENTS,
        DATES,
        "settled_date",
    ),
    Operation(
        "BillerSettledBatchDetailDataSet",
        "settlements",
        "dataset",
        "BillerSettledBatchDetail",
        "Settlements",
        SETTLEMENTS_DATASET,
        DATES,
        "settled_date",
    ),
    Operation(
        "ACHRejectReportingSOAP",
        "ach_rejects",
        "typed",
        "Rejects",
        "RejectRecord",
        REJECTS,
        GMT,
        "reject_date",
    ),
    Operation(
        "ACHRejectReportingDataSetFromGMT",
        "ach_rejects",
        "dataset",
        "ACHRejectReporting",
        "Rejects",
        REJECTS,
        GMT,
        "reject_date",
    ),
    Operation("BillerAutoPayCustomerReportSOAP", "autopay", "typed", "Customers", "AutoPayRecord", AUTOPAY),
    Operation(
        "BillerPaperlessCustomerReportDataSet",
        "paperless",
        "dataset",
        "BillerPaperlessCustomerReport",
        "PaperlessCustomers",
        PAPERLESS,
    ),
)
REPORTS: dict[str, Operation] = {operation.name: operation for operation in _ALL}
TABLES = ("payments", "settlements", "ach_rejects", "autopay", "paperless")

# Every operation and the service it belongs to; the last three are no reports.
SERVICES: dict[str, str] = dict.fromkeys(REPORTS, REPORTING) | {
    "UploadInvoice": INVOICING,
    "ViewInvoiceByInvoiceNumber": INVOICING,
    "ViewCustomerRecord": MANAGEMENT,
}
# Operations whose parameters are flat and whose refusal is a fault; the others nest them in `Req`.
FLAT = frozenset(o.name for o in _ALL if o.form == "dataset") | {"ViewCustomerRecord"}
