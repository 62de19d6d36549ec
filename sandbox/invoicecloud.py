"""The three services: what each operation answers to a read request."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sandbox import soap, views
from sandbox.answer import Answer, Part
from sandbox.clock import SandboxClock
from sandbox.imports import InvoiceImport, Twist
from sandbox.render import SLICE_ROWS, Report, body_parts, escape_text
from sandbox.soap import Call, SoapRefusal
from sandbox.store import CarrierData
from sandbox.wire_schema import FLAT, REPORTS, SERVICES

REFUSED = "Invalid BillerGUID or WebServiceKey"
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?(Z|[+-]\d\d:\d\d)?$")


@dataclass
class InvoiceCloud:
    """One biller's Invoice Cloud. `dataset_offset` is the zone that DataSet times carry."""

    data: CarrierData
    clock: SandboxClock
    imports: InvoiceImport
    biller_guid: str
    web_service_key: str
    dataset_offset: str = "+00:00"

    def answer(self, call: Call, now: datetime | None = None) -> Answer:
        """The right answer to `call`, as of `now` [the sandbox's clock].

        Raises SoapRefusal where the server would send a fault.
        """
        if call.operation in REPORTS:
            report = self.report(call, now)
            return self.print_report(report, call.version) if isinstance(report, Report) else report
        if call.operation == "UploadInvoice":
            return self.upload(call)
        if not self._known(call.parameters):
            return self._refusal(call)
        if call.operation == "ViewInvoiceByInvoiceNumber":
            found = self.imports.invoice(self.data, call.parameters.get("InvoiceNumber", ""))
            return _document(call.version, views.invoice(found, "Invoice not found"))
        number = call.parameters.get("AccountNumber", "")
        return _document(call.version, views.customer(self.data.customer(number)))

    def upload(self, call: Call, twist: Twist | None = None) -> Answer:
        """The answer to UploadInvoice; `twist` is what a fault does to the import."""
        if not self._known(call.parameters):
            return self._refusal(call)
        content = views.file_data(call.parameters)
        outcome = self.imports.take(self.data, call.parameters.get("FileName", ""), content, twist)
        return _document(call.version, views.upload(outcome))

    def report(self, call: Call, now: datetime | None = None) -> Report | Answer:
        """The rows that a reporting call asks for; an Answer where it is refused in band."""
        if not self._known(call.parameters):
            return self._refusal(call)
        operation = REPORTS[call.operation]
        bounds = window(call)
        if bounds is not None and bounds[0] > bounds[1]:
            return self._in_band_error(call, "From must not lie after To")
        return self.data.report(operation, bounds, now or self.clock.now())

    def print_report(self, report: Report, version: str) -> Answer:
        """A report as an answer; streamed when it is longer than one slice."""
        answer = Answer(self._envelope(report, version), content_type=soap.CONTENT_TYPE[version])
        return replace(answer, streamed=report.rows > SLICE_ROWS)

    def _envelope(self, report: Report, version: str) -> Iterator[Part]:
        yield soap.opening(version)
        yield from body_parts(report, self.dataset_offset)
        yield soap.CLOSING

    def _known(self, given: dict[str, str]) -> bool:
        """Both are always compared, in constant time."""
        guid = hmac.compare_digest(
            given.get("BillerGUID", "").lower().encode(), self.biller_guid.lower().encode()
        )
        key = hmac.compare_digest(given.get("WebServiceKey", "").encode(), self.web_service_key.encode())
        return guid & key

    def _refusal(self, call: Call) -> Answer:
        if call.operation == "UploadInvoice":
            return _document(call.version, views.upload_refused(REFUSED))
        if call.operation == "ViewInvoiceByInvoiceNumber":
            return _document(call.version, views.invoice(None, REFUSED))
        return self._in_band_error(call, REFUSED)

    @staticmethod
    def _in_band_error(call: Call, message: str) -> Answer:
        """Typed operations say Success=false; the flat ones throw, which is a fault."""
        if call.operation in FLAT:
            raise soap.application_fault(SERVICES[call.operation], call.operation, message)
        return _document(call.version, success_false(call.operation, message))


def success_false(operation: str, message: str) -> str:
    """The body of a typed answer that failed."""
    return views.result(
        operation, f"<Success>false</Success><ErrorMessage>{escape_text(message)}</ErrorMessage>"
    )


def fault_answer(version: str, who: str, text: str, status: int = 500) -> Answer:
    """A soap:Fault as an HTTP answer (ASP.NET sends status 500)."""
    return Answer([soap.fault(version, who, text)], status, soap.CONTENT_TYPE[version])


def _document(version: str, content: str) -> Answer:
    return Answer([soap.envelope(version, content)], content_type=soap.CONTENT_TYPE[version])


def window(call: Call) -> tuple[datetime, datetime] | None:
    """The window of a reporting call (aware UTC), None for a snapshot. Unset bounds are .NET's 0001-01-01."""
    names = REPORTS[call.operation].window if call.operation in REPORTS else None
    if names is None:
        return None
    return _moment(call.parameters.get(names[0])), _moment(call.parameters.get(names[1]))


def _moment(text: str | None) -> datetime:
    """xs:dateTime, up to seven decimals (cut to microseconds); without a zone it is GMT."""
    if text is None:
        return datetime.min.replace(tzinfo=UTC)
    found = _STAMP.match(text.strip())
    try:
        if found is None:
            raise ValueError(text)
        zone = "+00:00" if found[3] in (None, "Z") else found[3]
        moment = datetime.fromisoformat(found[1] + zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SoapRefusal(
            "Client",
            "System.Web.Services.Protocols.SoapException: Server was unable to read request. ---> "
            "System.InvalidOperationException: There is an error in XML document. ---> "
            "System.FormatException: Input string was not in a correct format.",
        ) from error
    return moment + timedelta(microseconds=int((found[2] or "0")[:6].ljust(6, "0")))
