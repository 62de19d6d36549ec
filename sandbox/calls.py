"""What was asked and answered, kept for tests and the demo; never a key, never a body."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass

KEPT = 10_000


@dataclass(frozen=True)
class CallRecord:
    """One answered call. `window` holds the two bounds as the caller wrote them; status None = no answer sent."""

    operation: str
    soap: str
    window: list[str] | None
    status: int | None
    fault: str | None
    at: str


class CallLog:
    """The last calls, posted hooks, and how often the bait of entity attacks was fetched. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[CallRecord] = deque(maxlen=KEPT)
        self._hooks: deque[object] = deque(maxlen=KEPT)
        self._bait = 0

    def add(self, record: CallRecord) -> None:
        """Remember a call."""
        with self._lock:
            self._calls.append(record)

    def calls(self) -> list[dict[str, object]]:
        """All remembered calls, oldest first."""
        with self._lock:
            return [asdict(record) for record in self._calls]

    def add_hook(self, posted: object) -> None:
        """Remember a posted alert."""
        with self._lock:
            self._hooks.append(posted)

    def hooks(self) -> list[object]:
        """All posted alerts, oldest first."""
        with self._lock:
            return list(self._hooks)

    def take_bait(self) -> None:
        """Somebody fetched the URL that only an external entity names."""
        with self._lock:
            self._bait += 1

    @property
    def baited(self) -> int:
        """Number of fetches of the bait."""
        with self._lock:
            return self._bait

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._calls.clear()
            self._hooks.clear()
            self._bait = 0
