"""One SOAP call from bytes to answer, faults included; knows nothing of sockets."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from sandbox import soap
from sandbox.answer import Answer
from sandbox.calls import CallLog, CallRecord
from sandbox.clock import iso
from sandbox.faults import (
    ANSWER_KINDS,
    BODY_KINDS,
    NOT_TAKEN,
    ROW_KINDS,
    UNANSWERED,
    UPLOAD_KINDS,
    Fault,
    FaultBox,
    Scene,
    applies,
)
from sandbox.invoicecloud import InvoiceCloud, fault_answer
from sandbox.render import Report
from sandbox.soap import Call, SoapRefusal
from sandbox.wire_schema import REPORTS


@dataclass
class Exchange:
    """Answers the calls of one sandbox and keeps their log."""

    cloud: InvoiceCloud
    log: CallLog = field(default_factory=CallLog)
    faults: FaultBox = field(default_factory=lambda: FaultBox(applies))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _previous: dict[str, tuple[Call, datetime]] = field(default_factory=dict)

    def answer(
        self, service: str, content_type: str, soap_action: str | None, body: bytes, base: str
    ) -> tuple[Answer, Fault | None]:
        """The answer to a POST, and the fault that its sending may still have to play."""
        version = soap.soap_version(content_type)
        try:
            operation = soap.requested_operation(service, content_type, soap_action)
            call = soap.read_request(service, operation, version, body)
        except SoapRefusal as refusal:
            self._record("?", version, None, 500, None)
            return fault_answer(version, refusal.who, refusal.text), None
        fault = self.faults.take(operation)
        answer = self._play(call, fault, base)
        status = None if fault and fault.kind in UNANSWERED else answer.status
        self._record(operation, version, call, status, fault)
        return answer, fault

    def _play(self, call: Call, fault: Fault | None, base: str) -> Answer:
        try:
            if fault is None:
                return self._regular(call)
            if fault.kind == NOT_TAKEN:
                return Answer([])
            if fault.kind in UPLOAD_KINDS:
                return self.cloud.upload(call, UPLOAD_KINDS[fault.kind](fault.args))
            previous = self._previous.get(call.operation)
            scene = Scene(call, self.cloud, fault.args, base, previous)
            if fault.kind in ANSWER_KINDS:
                return ANSWER_KINDS[fault.kind](scene)
            if fault.kind in ROW_KINDS:
                return self._with_rows(call, fault)
            answer = self._regular(call)
            return BODY_KINDS[fault.kind](answer, scene) if fault.kind in BODY_KINDS else answer
        except SoapRefusal as refusal:
            return fault_answer(call.version, refusal.who, refusal.text)

    def _regular(self, call: Call) -> Answer:
        answer = self.cloud.answer(call)
        if call.operation in REPORTS:
            with self._lock:
                self._previous[call.operation] = (call, self.cloud.clock.now())
        return answer

    def _with_rows(self, call: Call, fault: Fault) -> Answer:
        """A report with its rows or columns damaged; a refused call stays refused."""
        report = self.cloud.report(call)
        if not isinstance(report, Report):
            return report
        return self.cloud.print_report(ROW_KINDS[fault.kind](report, fault.args), call.version)

    def _record(
        self, operation: str, version: str, call: Call | None, status: int | None, fault: Fault | None
    ) -> None:
        names = REPORTS[operation].window if operation in REPORTS else None
        bounds = [call.parameters.get(name, "") for name in names] if call and names else None
        self.log.add(
            CallRecord(
                operation, version, bounds, status, fault.kind if fault else None, iso(self.cloud.clock.now())
            )
        )
