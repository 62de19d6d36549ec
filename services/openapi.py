"""GET /openapi.json: the JSON side as OpenAPI 3.1, for the one biller whose key was shown."""

from __future__ import annotations

from typing import Any

from checks.contracts.base import GUID
from services.house import Handler, House
from services.reply import Reply, Visit, as_json
from services.soap import base_address

_MONEY = r"^[0-9]{1,16}(\.[0-9]{1,2})?$"
_NUMBER = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}
_TIME = r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$"
_NO_GUID = "00000000-0000-0000-0000-000000000000"
_PLAIN = {"type": ["string", "number", "boolean", "null"]}  # fields that nobody knows are passed over
_LENIENT = (
    "Pushes are read as form posts are: empty text and null count as nothing, numbers and truths as their text. "
    "What fits this document is always understood; some of what does not is, too."
)
_NULL_TEXT = {"type": ["string", "null"]}
_NULL_MONEY = {"type": ["string", "null"], "pattern": r"^[0-9]+\.[0-9]{2}$"}
_NULL_DAY = {"type": ["string", "null"], "format": "date"}
_NULL_TIME = {"type": ["string", "null"], "format": "date-time"}
_TEXTS = (
    "CustomerName", "CustomerAddress", "CustomerCity", "CustomerState", "CustomerZip", "PaymentDescription",
    "PaymentTypeID", "CardType", "PaymentMessage", "BillerReference", "RemoteIP", "PaymentSource", "AgentCode",
)  # fmt: skip
_REFUSALS = {
    400: "The body is no flat JSON object in UTF-8.",
    401: "No such biller, or a wrong key.",
    403: "The address is not on the biller's list, or the biller takes no such push.",
    405: "This method is not served here.",
    408: "The body was not there in time.",
    413: "The body is too large.",
    415: "The content type is not taken.",
    429: "Too many wrong keys; Retry-After says how long to wait.",
    500: "The service failed.",
    503: "Not stored, or not known well enough now; Retry-After says when to ask again.",
}
_AT_BODIES = (400, 408, 413, 415)


def handler(house: House) -> Handler:
    """The handler of GET /openapi.json."""

    async def handle(visit: Visit) -> Reply:
        return as_json(200, document(house, visit))

    return handle


def document(house: House, visit: Visit) -> dict[str, Any]:
    """The document for the visit's biller: what each address takes, and every status it answers with."""
    root = f"/{visit.biller}"
    guid = house.biller(visit).biller_guid
    enrolments = house.biller(visit).product == "mips-apps"
    paths = {
        f"{root}/rtdr/invoices/{{number}}": _question("invoice", "Invoice"),
        f"{root}/rtdr/accounts/{{number}}": _question("account", "Account"),
        f"{root}/datapump/payments": _push("a payment", _payment(guid)),
        f"{root}/datapump/autopay": _push("an AutoPay event", _enrolment(guid, "AutoPay"), enrolments),
        f"{root}/datapump/paperless": _push("a paperless event", _enrolment(guid, "Paperless"), enrolments),
        "/openapi.json": {
            "get": _operation("This document", {200: _answer("It.", {"type": "object"})}, False)
        },
        "/health": {"get": _health()},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "icflows: Data Pump receiver and real-time data refresh",
            "version": "1",
            "description": _LENIENT,
        },
        "servers": [{"url": base_address(house, visit) + visit.prefix}],
        "security": [] if visit.prefix else [{"header": []}, {"basic": []}, {"bearer": []}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _schemes(house.inbound(visit).header)},
    }


def _schemes(header: str) -> dict[str, Any]:
    return {
        "header": {"type": "apiKey", "in": "header", "name": header},
        "basic": {"type": "http", "scheme": "basic"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }


def _question(what: str, schema: str) -> dict[str, Any]:
    answers = {
        200: _answer(f"What the {what} owes now.", _ref(schema)),
        404: _answer(f"There is no such {what}.", _ref("Error")),
    }
    parameter = {
        "name": "number",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    }
    return {"get": _operation(f"What does the {what} owe now?", answers, False) | {"parameters": [parameter]}}


def _push(what: str, schema: dict[str, Any], taken: bool = True) -> dict[str, Any]:
    answers = {422: _answer("A field cannot be read; the push is kept, with its reasons.", _ref("Unread"))}
    if taken:
        answers[200] = _answer("Stored; the same push again gets the same receipt.", _ref("Receipt"))
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"post": _operation(f"Tells of {what}", answers, True) | {"requestBody": body}}


def _operation(summary: str, answers: dict[int, Any], body: bool) -> dict[str, Any]:
    refusals = {
        status: _answer(words, _ref("Error"))
        for status, words in _REFUSALS.items()
        if body or status not in _AT_BODIES
    }
    if body:
        for refusal in refusals.values():
            refusal["content"]["text/xml"] = {}  # to those who did not call their body JSON
        refusals[408] = {
            "description": _REFUSALS[408],
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    return {
        "summary": summary,
        "responses": {str(code): a for code, a in sorted((refusals | answers).items())},
    }


def _health() -> dict[str, Any]:
    status = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    answers = {
        "200": _answer("It works.", status),
        "405": _answer(_REFUSALS[405], _ref("Error")),
        "503": _answer("The store does not answer, or nothing can be written.", status),
    }
    return {"summary": "Does the service work?", "security": [], "responses": answers}


def _answer(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _payment(guid: str) -> dict[str, Any]:
    text = {"type": "string", "pattern": "^[ -~]{0,64}$"}
    return {
        "type": "object",
        "additionalProperties": _PLAIN,
        "required": ["BillerGUID", "PaymentGUID", "PaymentDate", "PaymentAmount", "Approved"],
        "properties": dict.fromkeys(_TEXTS, text)
        | {
            "BillerGUID": {"const": guid},
            "PaymentGUID": {"type": "string", "pattern": GUID, "not": {"const": _NO_GUID}},
            "PaymentDate": {"type": "string", "pattern": _TIME},
            "PaymentAmount": {"type": "string", "pattern": _MONEY},
            "ConvenienceFee": {"type": "string", "pattern": _MONEY},
            "Approved": {"type": "boolean"},
            "InvoiceNumber": _NUMBER,
            "AccountNumber": _NUMBER,
        },
    }


def _enrolment(guid: str, flag: str) -> dict[str, Any]:
    text = {"type": "string", "pattern": "^[ -~]{0,64}$"}
    return {
        "type": "object",
        "additionalProperties": _PLAIN,
        "required": ["AccountNumber", flag],
        "properties": {
            "BillerGUID": {"const": guid},
            "AccountNumber": _NUMBER,
            flag: {"type": "boolean"},
            "InvoiceTypeID": text,
            "OccurredAt": {"type": "string", "pattern": _TIME},
            "PaymentMethod": text,
            "EmailAddress": text,
        },
    }


def _schemas() -> dict[str, Any]:
    invoice: dict[str, Any] = {
        "invoice_number": {"type": "string"}, "account_number": {"type": "string"}, "invoice_date": _NULL_DAY,
        "due_date": _NULL_DAY, "autopay_collection_date": _NULL_DAY, "total_amount_due": _NULL_MONEY,
        "balance_due": {"type": "string", "pattern": r"^[0-9]+\.[0-9]{2}$"}, "minimum_amount_due": _NULL_MONEY,
        "allow_partial_payments": {"type": ["boolean", "null"]}, "payable": {"type": "boolean"},
        "not_payable_reason": _NULL_TEXT, "successor_invoice_number": _NULL_TEXT,
    }  # fmt: skip
    account = {
        "account_number": {"type": "string"}, "balance_due": invoice["balance_due"], "payable": {"type": "boolean"},
        "invoices": {"type": "array", "items": _exactly(invoice)},
    }  # fmt: skip
    known = {"known_as_of": _NULL_TIME}
    return {
        "Invoice": _exactly(invoice | known),
        "Account": _exactly(account | known),
        "Receipt": _exactly({"success": {"const": True}, "receipt": {"type": "string"}}),
        "Unread": _exactly(
            {"success": {"const": False}, "reasons": {"type": "array", "items": {"type": "string"}}}
        ),
        "Error": _exactly({"error": {"type": "string"}}),
    }


def _exactly(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False,
    }  # fmt: skip
