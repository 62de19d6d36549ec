"""Where uploaded invoice files end: one file per receipt, numbered RCPT000001 and on."""

from __future__ import annotations

import re
import threading
from pathlib import Path


class UploadBox:
    """Stores uploads under `folder`; the numbering goes on after a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._last: int | None = None

    def store(self, file_name: str, content: bytes) -> str:
        """Keep `content`; its receipt's number."""
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", file_name)[-100:] or "unnamed"
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._last = (self._highest() if self._last is None else self._last) + 1
            receipt_id = f"RCPT{self._last:06d}"
            (self.folder / f"{receipt_id}_{safe}").write_bytes(content)
        return receipt_id

    def _highest(self) -> int:
        """Looked up once: thousands of uploads would make each look slower than the one before."""
        return max((int(path.name[4:10]) for path in self.folder.glob("RCPT[0-9]*_*")), default=0)
