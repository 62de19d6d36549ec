"""Real-time data refresh: what an invoice or an account owes now, as SOAP and as JSON. Every question is logged."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from checks.contracts.base import REFERENCE
from services.house import Handler, House
from services.reply import Refused, Reply, Visit, as_json
from services.soap import Result, SoapService
from tasks.inbound.model import AccountAnswer, Answer, Call, InvoiceAnswer
from tasks.inbound.values import EPOCH
from tasks.invoicecloud.call import SoapCall

NAMESPACE = "urn:icflows:rtdr"
STALE = "the balance is not known well enough now; ask again later"
RETRY_STALE = ((b"retry-after", b"60"),)
Subject = Literal["INVOICE", "ACCOUNT"]
Form = Literal["soap11", "soap12", "json"]
_REFERENCE = re.compile(REFERENCE)
_MICROSECOND = timedelta(microseconds=1)


async def ask(house: House, visit: Visit, subject: Subject, number: str, form: Form) -> Answer:
    """What the store says now; logged. A text that can be no number is unknown, and is not logged itself."""
    at = house.clock()
    readable = _REFERENCE.fullmatch(number) is not None
    answer = await _answer(house, visit, subject, number, at) if readable else Answer("unknown", None)
    of = answer.of
    invoice = subject == "INVOICE"
    account = of.account_number if of else None if invoice or not readable else number
    house.writer.called(
        Call(
            visit.biller, _microseconds(at), subject, form, account, number if invoice and readable else None,
            answer.result, int(of.balance_due * 100) if of else None, of.payable if of else None,
            _microseconds(answer.known_as_of) if answer.known_as_of else None,
            round((time.perf_counter() - visit.started) * 1e6),
        )
    )  # fmt: skip
    return answer


async def _answer(house: House, visit: Visit, subject: Subject, number: str, at: datetime) -> Answer:
    inbound = house.inbound(visit)
    asked = house.answers.invoice if subject == "INVOICE" else house.answers.account
    limits = {"pushed_minutes": inbound.pushed_minutes, "stale_minutes": inbound.stale_minutes}
    if house.inline:
        return asked(visit.biller, number, at, **limits)
    return await asyncio.to_thread(asked, visit.biller, number, at, **limits)


def soap_service(house: House) -> SoapService:
    """GetInvoice and GetAccount. A stale or unknown figure is Success=false without any amount."""

    async def operate(visit: Visit, call: SoapCall) -> Result:
        guid = call.fields.get("BillerGUID")
        if guid and guid.lower() != house.biller(visit).biller_guid.lower():
            return _failed("BillerGUID is not this biller's")
        subject: Subject = "INVOICE" if call.operation == "GetInvoice" else "ACCOUNT"
        name = "InvoiceNumber" if subject == "INVOICE" else "AccountNumber"
        number = call.fields.get(name)
        if not number:
            return _failed(f"{name} is missing")
        answer = await ask(house, visit, subject, number, "soap12" if call.soap == "1.2" else "soap11")
        return _result(answer, subject)

    return SoapService(
        house, "RealTimeDataRefresh", NAMESPACE, {"GetInvoice": operate, "GetAccount": operate}
    )


def _failed(words: str, known_as_of: str | None = None, stale: bool = False) -> Result:
    return [
        ("Success", "false"), ("ErrorMessage", words), ("Payable", "false"),
        ("KnownAsOf", known_as_of), ("Stale", _bool(stale)),
    ]  # fmt: skip


def _result(answer: Answer, subject: Subject) -> Result:
    known = _time(answer.known_as_of)
    if answer.of is None:
        stale = answer.result == "stale"
        return _failed(STALE if stale else f"{subject.capitalize()} not found", known, stale)
    tail: Result = [("KnownAsOf", known), ("Stale", "false")]
    if isinstance(answer.of, InvoiceAnswer):
        return [("Success", "true"), *_invoice(answer.of), *tail]
    return [
        ("Success", "true"), ("AccountNumber", answer.of.account_number), ("BalanceDue", str(answer.of.balance_due)),
        ("Payable", _bool(answer.of.payable)), *tail,
        ("Invoices", [("Invoice", _invoice(invoice)) for invoice in answer.of.invoices]),
    ]  # fmt: skip


def _invoice(of: InvoiceAnswer) -> Result:
    return [
        ("InvoiceNumber", of.invoice_number), ("AccountNumber", of.account_number),
        ("InvoiceDate", _day(of.invoice_date)), ("InvoiceDueDate", _day(of.due_date)),
        ("AutoPayCollectionDate", _day(of.autopay_collection_date)),
        ("TotalAmountDue", _money(of.total_amount_due)), ("BalanceDue", str(of.balance_due)),
        ("MinimumAmountDue", _money(of.minimum_amount_due)),
        ("AllowPartialPayments", None if of.allow_partial is None else _bool(of.allow_partial)),
        ("Payable", _bool(of.payable)), ("NotPayableReason", of.reason or None),
        ("SuccessorInvoiceNumber", of.successor),
    ]  # fmt: skip


def get(house: House, subject: Subject) -> Handler:
    """The handler of GET …/rtdr/invoices/{number} and …/accounts/{number}: 200, 404 unknown, 503 stale."""

    async def handle(visit: Visit) -> Reply:
        answer = await ask(house, visit, subject, str(visit.scope["path_params"]["number"]), "json")
        if answer.result == "stale":
            raise Refused(503, STALE, "stale", RETRY_STALE)
        if answer.of is None:
            raise Refused(404, f"{subject.lower()} not found", "")
        of = answer.of
        content = _invoice_json(of) if isinstance(of, InvoiceAnswer) else _account_json(of)
        return as_json(200, content | {"known_as_of": _time(answer.known_as_of)})

    return handle


def _invoice_json(of: InvoiceAnswer) -> dict[str, Any]:
    return {
        "invoice_number": of.invoice_number, "account_number": of.account_number,
        "invoice_date": _day(of.invoice_date), "due_date": _day(of.due_date),
        "autopay_collection_date": _day(of.autopay_collection_date),
        "total_amount_due": _money(of.total_amount_due), "balance_due": str(of.balance_due),
        "minimum_amount_due": _money(of.minimum_amount_due), "allow_partial_payments": of.allow_partial,
        "payable": of.payable, "not_payable_reason": of.reason or None, "successor_invoice_number": of.successor,
    }  # fmt: skip


def _account_json(of: AccountAnswer) -> dict[str, Any]:
    invoices = [_invoice_json(invoice) for invoice in of.invoices]
    return {
        "account_number": of.account_number, "balance_due": str(of.balance_due), "payable": of.payable,
        "invoices": invoices,
    }  # fmt: skip


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // _MICROSECOND


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _money(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="seconds")[:19] + "Z"
