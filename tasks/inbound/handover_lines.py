"""Files for IMT as lines of the store: which there are, how far each has come, and whose turn it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Update, select, update

from tasks.archive import translated_os_errors
from tasks.errors import StagingBusy
from tasks.inbound.tables import handovers
from tasks.settings import Settings

HandoverKind = Literal["postings", "enrolments"]


@dataclass(frozen=True)
class Handover:
    """One line of tables.handovers, without the bytes; money in cents, times in microseconds."""

    sequence: int
    kind: HandoverKind
    file_name: str
    rows: int
    amount: int
    sha256: str
    made_at: int
    offered_at: int | None
    times_offered: int
    acknowledged_at: int | None
    refused_at: int | None
    message: str | None

    @property
    def control_name(self) -> str:
        """The file that says that the other one is complete, and what must be in it."""
        return f"{self.file_name}.control.json"

    @property
    def control(self) -> bytes:
        """Control totals: IMT answers with the same sequence, rows and amount."""
        made_at = datetime.fromtimestamp(self.made_at // 1_000_000, UTC)
        totals = {
            "sequence": self.sequence, "kind": self.kind, "file": self.file_name, "rows": self.rows,
            "amount": money_text(self.amount), "sha256": self.sha256, "made_at": f"{made_at:%Y-%m-%dT%H:%M:%SZ}",
        }  # fmt: skip
        return json.dumps(totals, indent=1).encode() + b"\n"


_LINE = [handovers.c[name] for name in Handover.__dataclass_fields__]


def money_text(cents: int) -> str:
    """1230 → '12.30'."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


@contextmanager
def alone(settings: Settings, biller: str) -> Iterator[None]:
    """One run at a time works on a biller's files for IMT."""
    folder = settings.folder("service")
    with translated_os_errors("service's folder"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with FileLock(folder / f"{biller}.handover.lock", timeout=settings.storage.lock_timeout_seconds):
                yield
        except Timeout:
            raise StagingBusy(f"another run hands files of {biller} to IMT") from None


def handover_lines(connection: Connection, biller: str, *where: Any) -> list[Handover]:
    """Lines of tables.handovers, oldest first, without their bytes."""
    lines = select(*_LINE).where(handovers.c.biller == biller, *where).order_by(handovers.c.sequence)
    return [Handover(*line) for line in connection.execute(lines)]


def updated(biller: str, sequence: int) -> Update:
    """UPDATE of one line; give it its values."""
    return update(handovers).where(handovers.c.biller == biller, handovers.c.sequence == sequence)
