"""SOAP stacks that the project does not contain call every operation: Node's `soap` package and PHP's SoapClient.

One process of each makes all calls, in SOAP 1.1 and 1.2, with the key in the header and in the path. What they
understood is compared with what is stored, field by field and with its type: text equality of JSON, so that neither
1 nor "1" is true. Node gives decimals as numbers and days as dates, PHP gives the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

WAYS = [f"{soap} {way}" for soap, way in product(("1.1", "1.2"), ("header", "path"))]
INVOICES = ("INV-1", "INV-2", "INV-0", "INV-X", "INV-P")
RTDR = {"GetInvoice", "GetAccount"}
NAMES = {
    "InvoiceNumber": "invoice_number", "AccountNumber": "account_number", "InvoiceDate": "invoice_date",
    "InvoiceDueDate": "due_date", "AutoPayCollectionDate": "autopay_collection_date",
    "TotalAmountDue": "total_amount_due", "BalanceDue": "balance", "MinimumAmountDue": "minimum_amount_due",
    "AllowPartialPayments": "allow_partial", "SuccessorInvoiceNumber": "successor",
}  # fmt: skip
PERSON = 'Zoë O\'Brien & <Söhne> "€" 😀'
PAYMENT: dict[str, Any] = {
    "PaymentDate": "2026-11-10T11:00:00Z", "PaymentAmount": "20.00", "Approved": "True", "CustomerName": PERSON,
    "CustomerAddress": "1 Canary Street", "CustomerCity": None, "CustomerState": "TX", "CustomerZip": "01234",
    "PaymentDescription": "", "PaymentTypeID": "1", "CardType": "VISA", "PaymentMessage": "Approved 0042",
    "BillerReference": "ref-7", "ConvenienceFee": "1.25", "RemoteIP": "203.0.113.7", "AgentCode": "AG-9",
    "PaymentSource": "PORTAL",
}  # fmt: skip
STORED = {
    "payment_date": round(datetime(2026, 11, 10, 11, tzinfo=UTC).timestamp()) * 1_000_000, "payment_amount": 2000,
    "approved": True, "customer_name": PERSON, "address": "1 Canary Street", "city": None, "state_code": "TX",
    "zip": "01234", "payment_description": None, "payment_type_id": "1", "tender": "CARD", "card_type": "VISA",
    "payment_message": "Approved 0042", "biller_reference": "ref-7", "convenience_fee": 125,
    "remote_ip": "203.0.113.7", "agent_code": "AG-9", "payment_source": "PORTAL_OTP", "account_known": True,
    "open_balance": 10_000, "above_balance": False, "form": "soap",
}  # fmt: skip


@dataclass
class Told:
    """What one client understood: (way, name of the call) → answer. `number`: 0 Node, 1 PHP."""

    program: str
    number: int
    served: Any
    ask: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
    answers: dict[tuple[str, str], dict[str, Any]]

    def guid(self, way: str) -> str:
        """Each client and way has a payment of its own."""
        return f"aaaaaaaa-0000-0000-0000-{self.place(way):012d}"

    def place(self, way: str) -> int:
        return 4 * self.number + WAYS.index(way)

    def call(self, way: str, operation: str, biller: str = "acme", **fields: Any) -> dict[str, Any]:
        """A call as the scripts read it."""
        soap, where = way.split()
        name = "RealTimeDataRefresh" if operation in (*RTDR, "?") else "DataPump"
        base = self.served.base(biller, key_in_path=where == "path")
        key = None if where == "path" else self.served.keys[biller]
        return {
            "wsdl": f"{base}/{name}.asmx?wsdl", "key": key, "soap": soap, "operation": operation,
            "fields": {"Req": fields},
        }  # fmt: skip

    def result(self, way: str, name: str) -> dict[str, Any]:
        """The result of a call that was served in the SOAP version it came in."""
        answer = self.answers[way, name]
        assert "fault" not in answer, answer
        assert answer["envelope"] == way[:3]
        (result,) = answer["result"].values()
        return dict(result)

    def shown(self, value: Any) -> Any:
        """How this client gives a value of the WSDL's types; what is None is not there at all."""
        if isinstance(value, dict):
            return {name: self.shown(part) for name, part in value.items() if part is not None}
        if isinstance(value, list):
            parts = [self.shown(part) for part in value]
            return parts[0] if self.program == "php" and len(parts) == 1 else parts
        if isinstance(value, Decimal):
            return str(value) if self.program == "php" else float(value)
        if isinstance(value, datetime):
            return f"{value:%Y-%m-%dT%H:%M:%S}{'' if self.program == 'php' else '.000'}Z"
        if isinstance(value, date):
            return value.isoformat() if self.program == "php" else f"{value}T00:00:00.000Z"
        return value


def same(told: dict[str, Any], expected: Any) -> bool:
    """Equal with their types; a number is a number, whether whole or not."""
    texts = [json.dumps(value, sort_keys=True) for value in (told, expected)]
    assert texts[0] == re.sub(r"\.0(?=[,}])", "", texts[1])
    return True


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """SOAP version, and where the key is."""
    return str(request.param)


@pytest.fixture(scope="module", params=["node", "php"])
def told(request: pytest.FixtureRequest, served: Any) -> Told:
    """All calls of one client, made by one process."""
    number, ask = ["node", "php"].index(request.param), request.getfixturevalue(request.param)
    told = Told(request.param, number, served, ask, {})
    calls = {(way, name): call for way in WAYS for name, call in all_calls(told, way).items()}
    told.answers = dict(zip(calls, told.ask(list(calls.values())), strict=True))
    return told


def all_calls(told: Told, way: str) -> dict[str, dict[str, Any]]:
    """The calls of one way, in the order in which they are made."""
    place = told.place(way)
    payment = PAYMENT | {
        "BillerGUID": told.served.guid.upper(), "PaymentGUID": told.guid(way), "InvoiceNumber": f"PUSH-{place}"
    }  # fmt: skip
    invoices = {
        number: told.call(way, "GetInvoice", InvoiceNumber=number) for number in (*INVOICES, "NONE-1")
    }
    accounts = {
        number: told.call(way, "GetAccount", BillerGUID=None, AccountNumber=number)
        for number in ("0042", "0077", f"09{place}", "NONE-2")
    }
    enrolment: dict[str, Any] = {
        "AccountNumber": f"00{place}",
        "EmailAddress": "canary@example.invalid",
        "OccurredAt": None,
    }
    return (
        invoices
        | accounts
        | {
            "questions": told.call(way, "?"),
            "pushes": told.call(way, "?") | {"wsdl": told.call(way, "PostPayment")["wsdl"]},
            "foreign": told.call(way, "GetInvoice", BillerGUID=told.guid(way), InvoiceNumber="INV-1"),
            "stale": told.call(way, "GetInvoice", "late", InvoiceNumber="INV-1"),
            "push": told.call(way, "PostPayment", **payment),
            "again": told.call(way, "PostPayment", **payment),
            "after": told.call(way, "GetInvoice", InvoiceNumber=f"PUSH-{place}"),
            "other": told.call(way, "PostPayment", **payment | {"PaymentAmount": "20.01"}),
            "unread": told.call(way, "PostPayment", **payment | {"PaymentAmount": "1.005", "Approved": None}),
            "refused": told.call(way, "PostAutoPay", AutoPay="true", **enrolment),
            "autopay": told.call(way, "PostAutoPay", "zeta", AutoPay="true", **enrolment),
            "paperless": told.call(way, "PostPaperless", "zeta", Paperless="0", **enrolment),
            "must": told.call(way, "GetInvoice", InvoiceNumber="INV-1") | {"must": True},
        }
    )


def invoice(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the store's balances as the WSDL's Invoice."""
    money = {"TotalAmountDue", "BalanceDue", "MinimumAmountDue"}
    days = {"InvoiceDate", "InvoiceDueDate", "AutoPayCollectionDate"}
    found = {name: row[column] for name, column in NAMES.items()}
    found |= {name: Decimal(found[name]).scaleb(-2) for name in money if found[name] is not None}
    found |= {name: date.fromisoformat(found[name]) for name in days if found[name]}
    if found["MinimumAmountDue"] is not None:
        found["MinimumAmountDue"] = min(found["MinimumAmountDue"], found["BalanceDue"])
    reason = None if row["balance"] else row["status"].lower()
    return found | {"Payable": row["balance"] > 0, "NotPayableReason": reason}


def test_every_operation_is_offered(told: Told, way: str) -> None:
    for service, names in (("questions", RTDR), ("pushes", {"PostPayment", "PostAutoPay", "PostPaperless"})):
        offered = told.answers[way, service]["operations"]
        assert {name for name in names for text in offered if name in text} == names


@pytest.mark.parametrize("number", INVOICES)
def test_an_invoice_arrives_as_it_is_stored(told: Told, way: str, number: str) -> None:
    (row,) = told.served.rows("balances", f"invoice_number = '{number}'")
    known = {"Success": True, "KnownAsOf": told.served.known_as_of, "Stale": False}
    assert same(told.result(way, number), told.shown(known | invoice(row)))


def test_an_account_arrives_with_its_open_invoices(told: Told, way: str) -> None:
    known = {"Success": True, "KnownAsOf": told.served.known_as_of, "Stale": False}
    for number in ("0042", "0077", f"09{told.place(way)}"):
        rows = told.served.rows("balances", f"account_number = '{number}'")
        open_ones = sorted((row for row in rows if row["status"] == "OPEN"), key=lambda row: row["due_date"])
        balance = Decimal(sum(row["balance"] for row in rows)).scaleb(-2)
        expected = known | {"AccountNumber": number, "BalanceDue": balance, "Payable": balance > 0}
        result = told.result(way, number)
        invoices = (result.pop("Invoices") or {}).get("Invoice", [])
        assert same(result, told.shown(expected))
        assert same({"": invoices}, {"": told.shown([invoice(row) for row in open_ones])})


def test_no_answer_carries_no_figures(told: Told, way: str) -> None:
    known = {"Success": False, "Payable": False, "Stale": False, "KnownAsOf": told.served.known_as_of}
    words = {"NONE-1": "Invoice not found", "NONE-2": "Account not found"}
    for name, text in words.items():
        assert same(told.result(way, name), told.shown(known | {"ErrorMessage": text}))
    stale, foreign = told.result(way, "stale"), told.result(way, "foreign")
    assert (stale["Success"], stale["Stale"], stale["Payable"], foreign["Success"]) == (
        False,
        True,
        False,
        False,
    )
    assert "BalanceDue" not in stale
    assert foreign["ErrorMessage"] == "BillerGUID is not this biller's"


def test_a_push_is_stored_field_by_field(told: Told, way: str) -> None:
    rows = told.served.rows("pushes", f"payment_guid = '{told.guid(way)}'")
    place = told.place(way)
    own = STORED | {"invoice_number": f"PUSH-{place}", "account_number": f"09{place}", "biller": "acme"}
    first, second = rows
    assert {name: first[name] for name in own} == own
    assert (first["variant"], first["times_seen"]) == (1, 2)
    assert (second["variant"], second["payment_amount"], second["times_seen"]) == (2, 2001, 1)


def test_receipts_and_reasons(told: Told, way: str) -> None:
    guid = told.guid(way)
    assert same(told.result(way, "push"), {"Success": True, "Receipt": f"{guid}-1"})
    assert same(told.result(way, "again"), {"Success": True, "Receipt": f"{guid}-1"})
    assert same(told.result(way, "other"), {"Success": True, "Receipt": f"{guid}-2"})
    assert same({"": told.result(way, "after")["BalanceDue"]}, {"": told.shown(Decimal("80.00"))})
    unread = told.result(way, "unread")
    assert (unread["Success"], "Receipt" in unread) == (False, False)
    assert "PaymentAmount" in unread["ErrorMessage"]
    assert "Approved is missing" in unread["ErrorMessage"]
    assert "1.005" not in unread["ErrorMessage"]


def test_enrolments_are_for_mips_alone(told: Told, way: str) -> None:
    refused = {"Success": False, "ErrorMessage": "this biller takes no pushes of AutoPay and paperless"}
    assert same(told.result(way, "refused"), refused)
    found = told.served.rows("enrolment_pushes", f"account_number = '00{told.place(way)}'")
    stored = {row["list"]: row for row in found}
    assert {(name, row["biller"], row["enrolled"]) for name, row in stored.items()} == {
        ("AUTOPAY", "zeta", True), ("PAPERLESS", "zeta", False),
    }  # fmt: skip
    assert {row["email"] for row in stored.values()} == {"canary@example.invalid"}
    for name, list_name in (("autopay", "AUTOPAY"), ("paperless", "PAPERLESS")):
        assert same(told.result(way, name), {"Success": True, "Receipt": stored[list_name]["push_id"]})


def test_a_header_that_must_be_understood_is_a_fault(told: Told, way: str) -> None:
    answer = told.answers[way, "must"]
    assert "MustUnderstand" in json.dumps(answer["fault"])
    assert answer["status"] == 500
    assert "must be understood" in answer["words"]


def test_a_refused_key_is_a_fault(told: Told) -> None:
    """Neither a call is served, though its WSDL came with the right key, nor the WSDL itself."""
    served, calls = told.served, []
    for way, (name, operation) in product(
        WAYS, (("RealTimeDataRefresh", "GetInvoice"), ("DataPump", "PostPayment"))
    ):
        key, prefix = (None, "/k/no-key") if "path" in way else ("no-key", "")
        wsdl = f"{served.base(key_in_path=True)}/{name}.asmx?wsdl"
        change = {"wsdl": wsdl, "key": key, "location": f"{served.url}{prefix}/acme/{name}.asmx"}
        calls.append(told.call(way, operation, InvoiceNumber="INV-1") | change)
    before = len(served.rows("pushes")), len(served.rows("unread"))
    for answer in told.ask(calls):
        assert answer["status"] == 401, answer
        assert "no such biller, or a wrong key" in answer["words"]
    described = told.ask([call | {"wsdl": call["location"] + "?wsdl"} for call in calls])
    assert all("WSDL" in answer["words"] and "result" not in answer for answer in described)
    assert (len(served.rows("pushes")), len(served.rows("unread"))) == before


def test_a_broken_store_is_a_server_fault(told: Told) -> None:
    guid = f"bbbbbbbb-0000-0000-0000-{told.number:012d}"
    payment = PAYMENT | {"BillerGUID": told.served.guid, "PaymentGUID": guid}
    calls = [
        told.call(way, operation, **fields)
        for way in WAYS
        for operation, fields in (("PostPayment", payment), ("GetInvoice", {"InvoiceNumber": "INV-1"}))
    ]
    told.served.run("ALTER TABLE pushes RENAME TO away")
    try:
        broken = told.ask(calls)
    finally:
        told.served.run("ALTER TABLE away RENAME TO pushes")
    for call, answer in zip(calls, broken, strict=True):
        assert answer["status"] == 503, answer
        assert ("Server" if call["soap"] == "1.1" else "Receiver") in json.dumps(answer["fault"])
    assert not told.served.rows("pushes", f"payment_guid = '{guid}'")
    assert all("result" in answer for answer in told.ask(calls))
    (row,) = told.served.rows("pushes", f"payment_guid = '{guid}'")
    assert row["times_seen"] == len(WAYS)
