"""The service's log: one line per kind of trouble and minute, so that a stranger cannot fill a disk with it.

No keys, no bodies, no addresses, no paths: kinds and counts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("icflows.service")


class Telling:
    """Says a kind of trouble at once, then at most once within `seconds`, with how often it came meanwhile."""

    def __init__(self, seconds: float = 60.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._monotonic = seconds, monotonic
        self._said: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def tell(self, kind: str, words: str) -> None:
        """`kind` is one of a fixed few; `words` go with its next line."""
        now = self._monotonic()
        with self._lock:
            since, silent = self._said.get(kind, (float("-inf"), 0))
            if now - since < self._seconds:
                self._said[kind] = (since, silent + 1)
                return
            self._said[kind] = (now, 0)
        more = f" ({silent} more since the last line)" if silent else ""
        log.warning("%s: %s%s", kind, words, more)
