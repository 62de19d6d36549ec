"""The sandbox's own clock: real time until somebody sets it, then frozen there."""

from __future__ import annotations

import threading
from datetime import UTC, datetime


class SandboxClock:
    """Tells the sandbox's time (aware UTC); the only place of the sandbox that reads the real clock."""

    def __init__(self, now: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self._frozen: datetime | None = None
        if now is not None:
            self.set(now)

    def now(self) -> datetime:
        """The frozen moment, or the real one where none is set."""
        with self._lock:
            return self._frozen or datetime.now(UTC)

    def set(self, now: datetime | None) -> None:
        """Freeze the clock at `now` (aware; other zones are converted); None lets it run again."""
        if now is not None and now.tzinfo is None:
            raise ValueError("the sandbox's clock needs a moment with a time zone")
        with self._lock:
            self._frozen = None if now is None else now.astimezone(UTC)


def parse_moment(text: str) -> datetime:
    """An ISO 8601 moment with zone (`Z` or an offset) as aware UTC; ValueError otherwise."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}; write 2026-10-30T23:00:00Z")
    return moment.astimezone(UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 with `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
