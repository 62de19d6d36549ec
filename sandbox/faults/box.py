"""Faults waiting to happen: which operation, which kind, how often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ANY = "*"


@dataclass
class Fault:
    """A switched-on fault. `times` counts down; -1 means until cleared. `args`: sandbox/README.md."""

    kind: str
    operation: str = ANY
    times: int = 1
    args: dict[str, Any] = field(default_factory=dict)


class FaultBox:
    """First switched on, first taken. Thread-safe."""

    def __init__(self, applies: Callable[[str, str], bool]) -> None:
        self._applies = applies
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Switch a fault on."""
        with self._lock:
            self._waiting.append(fault)

    def take(self, operation: str) -> Fault | None:
        """The next fault for this operation, used up by one; None when there is none."""
        with self._lock:
            for fault in self._waiting:
                if fault.operation in (ANY, operation) and self._applies(fault.kind, operation):
                    if fault.times > 0:
                        fault.times -= 1
                    if fault.times == 0:
                        self._waiting.remove(fault)
                    return fault
        return None

    def waiting(self) -> list[dict[str, Any]]:
        """What is still switched on."""
        with self._lock:
            return [
                {"operation": f.operation, "kind": f.kind, "times": f.times, "args": f.args}
                for f in self._waiting
            ]

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._waiting.clear()
