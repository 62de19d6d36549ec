"""What passes between the service and its store: a push as read, what became of it, an answer about a balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

PushForm = Literal["form", "soap", "json"]
EnrolmentList = Literal["AUTOPAY", "PAPERLESS"]


@dataclass(frozen=True)
class Push:
    """A pushed payment whose fields were all read. `values`: columns of tables.pushes that came from IC (times in
    microseconds, money in cents, GUID in lower case); `content_sha256`: over them, whatever the form."""

    biller: str
    form: PushForm
    payment_guid: str
    content_sha256: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class EnrolmentPush:
    """A pushed AutoPay or paperless event; `values` as in tables.enrolment_pushes."""

    biller: str
    form: PushForm
    list: EnrolmentList
    account_number: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Unread:
    """A push that breaks the contract: kept with its reasons, not acknowledged. `reasons` name fields, no values."""

    biller: str
    kind: Literal["payments", "autopay", "paperless"]
    form: PushForm
    fields: Mapping[str, str]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Taken:
    """What became of one push. `receipt` is the same for the same push, however often it comes.

    verdict: new · known (same content again) · conflict (other content under a known GUID) · unread.
    """

    verdict: Literal["new", "known", "conflict", "unread"]
    receipt: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class InvoiceAnswer:
    """What an invoice owes now. Money in USD, never negative; days are the biller's."""

    invoice_number: str
    account_number: str
    balance_due: Decimal
    total_amount_due: Decimal | None
    minimum_amount_due: Decimal | None
    invoice_date: date | None
    due_date: date | None
    autopay_collection_date: date | None
    allow_partial: bool | None
    payable: bool
    reason: str  # why it may not be paid: "", paid, superseded, cancelled
    successor: str | None
    pushed_amount: Decimal  # what was pushed lately and is not posted yet; it is off the balance


@dataclass(frozen=True)
class AccountAnswer:
    """What an account owes now, and its open invoices, earliest due first."""

    account_number: str
    balance_due: Decimal
    payable: bool
    invoices: tuple[InvoiceAnswer, ...]
    pushed_amount: Decimal


@dataclass(frozen=True)
class Answer:
    """result: answered (`of` is set) · unknown · stale (IMT not heard for longer than stale_minutes)."""

    result: Literal["answered", "unknown", "stale"]
    known_as_of: datetime | None
    of: InvoiceAnswer | AccountAnswer | None = None


@dataclass(frozen=True)
class Call:
    """One RTDR call for the log; columns as in tables.calls, money in cents, times in microseconds."""

    biller: str
    called_at: int
    subject: Literal["INVOICE", "ACCOUNT"]
    form: Literal["soap11", "soap12", "json"]
    account_number: str | None
    invoice_number: str | None
    result: str
    balance_answered: int | None
    payable: bool | None
    known_as_of: int | None
    latency_us: int
