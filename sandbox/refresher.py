"""InvoiceCloud's side of real-time data refresh: asks the insurer what an invoice or an account owes."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self

from sandbox.line_out import Door, Line, read_xml, soap_call

Form = Literal["soap11", "soap12", "json"]
NAMESPACE = "urn:icflows:rtdr"
# SOAP's names of what JSON calls otherwise.
_JSON = {
    "balance_due": "BalanceDue", "payable": "Payable", "account_number": "AccountNumber",
    "successor_invoice_number": "SuccessorInvoiceNumber", "not_payable_reason": "NotPayableReason",
    "known_as_of": "KnownAsOf", "minimum_amount_due": "MinimumAmountDue", "due_date": "InvoiceDueDate",
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """An answer. result: answered, unknown, stale or refused (with `status`); money in USD; `fields` as sent, under
    SOAP's names, of an account without its invoices' own."""

    result: Literal["answered", "unknown", "stale", "refused"]
    status: int
    balance: Decimal | None
    payable: bool
    successor: str
    fields: dict[str, str]


class Refresher:
    """One line to `door`; a context manager. Not for several threads."""

    def __init__(self, door: Door) -> None:
        self._line = Line(door)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._line.close()

    def invoice(self, number: str, form: Form = "soap11") -> Told:
        """What an invoice owes. Raises OSError, HTTPException."""
        return self._ask("GetInvoice", "InvoiceNumber", f"/rtdr/invoices/{number}", number, form)

    def account(self, number: str, form: Form = "soap11") -> Told:
        """What an account owes. Raises OSError, HTTPException."""
        return self._ask("GetAccount", "AccountNumber", f"/rtdr/accounts/{number}", number, form)

    def ask(self, subject: str, number: str, form: Form = "soap11") -> Told:
        """One row of the carrier's `asks`: subject INVOICE or ACCOUNT. Raises OSError, HTTPException."""
        return self.invoice(number, form) if subject == "INVOICE" else self.account(number, form)

    def _ask(self, operation: str, field: str, rest: str, number: str, form: Form) -> Told:
        if form == "json":
            return _from_json(*self._again("GET", rest, None, {}))
        version = "1.2" if form == "soap12" else "1.1"
        body, headers = soap_call(NAMESPACE, operation, {field: number}, version)
        status, answer = self._again("POST", "/RealTimeDataRefresh.asmx", body, headers)
        return _told(status, read_xml(answer))

    def _again(
        self, method: str, rest: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Asks once more when the service has hung up a line that was kept."""
        try:
            return self._line.ask(method, rest, body, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            return self._line.ask(method, rest, body, headers)


def _from_json(status: int, body: bytes) -> Told:
    if status == 404:
        return Told("unknown", status, None, False, "", {})
    if status == 503:
        return Told("stale", status, None, False, "", {})
    content: dict[str, Any] = json.loads(body) if status == 200 else {}
    fields = {
        _JSON[name]: _text(value) for name, value in content.items() if name in _JSON and value is not None
    }
    return _told(status, fields | ({"Success": "true"} if status == 200 else {}))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _told(status: int, fields: dict[str, str]) -> Told:
    if status != 200 or "Success" not in fields:
        return Told("refused", status, None, False, "", fields)
    if fields["Success"] != "true":
        return Told("stale" if fields.get("Stale") == "true" else "unknown", status, None, False, "", fields)
    payable = fields.get("Payable") == "true"
    successor = fields.get("SuccessorInvoiceNumber", "")
    return Told("answered", status, Decimal(fields["BalanceDue"]), payable, successor, fields)
