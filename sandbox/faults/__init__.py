"""Everything that a server can do wrong, switchable per call. The list: sandbox/README.md."""

from __future__ import annotations

from sandbox.faults.answers import ANSWER_KINDS, Scene
from sandbox.faults.bodies import BODY_KINDS
from sandbox.faults.box import ANY, Fault, FaultBox
from sandbox.faults.rows import ROW_KINDS
from sandbox.faults.transport import TRANSPORT_KINDS, UNANSWERED
from sandbox.wire_schema import REPORTS, SERVICES

CLOCK_AHEAD = "clock_ahead"
KINDS = frozenset({*ANSWER_KINDS, *ROW_KINDS, *BODY_KINDS, *TRANSPORT_KINDS, CLOCK_AHEAD})
OPERATIONS = frozenset({ANY, *SERVICES})


def applies(kind: str, operation: str) -> bool:
    """Faults in rows or columns need a report; all others fit every operation."""
    return kind not in ROW_KINDS or operation in REPORTS


__all__ = [
    "ANSWER_KINDS",
    "BODY_KINDS",
    "CLOCK_AHEAD",
    "KINDS",
    "OPERATIONS",
    "ROW_KINDS",
    "TRANSPORT_KINDS",
    "UNANSWERED",
    "Fault",
    "FaultBox",
    "Scene",
    "applies",
]
