"""Everything that a server can do wrong, switchable per call. The list: sandbox/README.md."""

from __future__ import annotations

from sandbox.faults.answers import ANSWER_KINDS, Scene
from sandbox.faults.bodies import BODY_KINDS
from sandbox.faults.box import ANY, Fault, FaultBox
from sandbox.faults.rows import ROW_KINDS
from sandbox.faults.transport import NOT_TAKEN, TRANSPORT_KINDS, UNANSWERED
from sandbox.faults.uploads import UPLOAD_KINDS
from sandbox.wire_schema import REPORTS, SERVICES

CLOCK_AHEAD = "clock_ahead"
KINDS = frozenset({*ANSWER_KINDS, *ROW_KINDS, *BODY_KINDS, *TRANSPORT_KINDS, *UPLOAD_KINDS, CLOCK_AHEAD})
OPERATIONS = frozenset({ANY, *SERVICES})


def applies(kind: str, operation: str) -> bool:
    """Faults in rows or columns need a report, those of records an upload; all others fit every operation."""
    if kind in UPLOAD_KINDS:
        return operation == "UploadInvoice"
    return kind not in ROW_KINDS or operation in REPORTS


__all__ = [
    "ANSWER_KINDS",
    "BODY_KINDS",
    "CLOCK_AHEAD",
    "KINDS",
    "NOT_TAKEN",
    "OPERATIONS",
    "ROW_KINDS",
    "TRANSPORT_KINDS",
    "UNANSWERED",
    "UPLOAD_KINDS",
    "Fault",
    "FaultBox",
    "Scene",
    "applies",
]
