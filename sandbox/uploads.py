"""Where uploaded invoice files end: one file per receipt, numbered RCPT000001 and on."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Receipt:
    """What an upload was answered with."""

    receipt_id: str
    records: int
    path: Path


class UploadBox:
    """Stores uploads under `folder`; the numbering goes on after a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def store(self, file_name: str, content: bytes) -> Receipt:
        """Keep `content`; its records are its lines that are not blank."""
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", file_name)[-100:] or "unnamed"
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            receipt_id = f"RCPT{self._next():06d}"
            path = self.folder / f"{receipt_id}_{safe}"
            path.write_bytes(content)
        return Receipt(receipt_id, sum(1 for line in content.splitlines() if line.strip()), path)

    def _next(self) -> int:
        numbers = [int(path.name[4:10]) for path in self.folder.glob("RCPT[0-9]*_*")]
        return max(numbers, default=0) + 1
