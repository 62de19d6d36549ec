"""The archive: every byte in and out, kept before it is interpreted. It is the truth.

    <archive>/<biller>/<feed>/<YYYY>/<MM>/<poll_id>.xml     the body as received (content-coding undone)
    <archive>/<biller>/<feed>/<YYYY>/<MM>/<poll_id>.json    who asked what, when, and what came: no key, no row

A body is written to a temporary name, flushed to the disk, renamed; the note follows the same way.
`icflows replay` reads the notes in order of poll_id and rebuilds staging from the bodies. What people and runs made of
it lies beside: outbox (tasks/outbox/history.py), work and breaks (tasks/work/kept.py).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from tasks.errors import StorageTrouble

_COUNTER = itertools.count()
_OUTBOUND = ("outbox", "uploads", "looks", "images")  # what was sent, and the answers to it: nothing to stage


@dataclass(frozen=True)
class Poll:
    """One question to IC (or one file from IMT) and what is known of its answer.

    Times are aware UTC. `window_*` is None for full snapshots. Nothing here is secret or personal.
    """

    poll_id: str
    biller: str
    feed: str
    form: str
    operation: str
    window_from: datetime | None
    window_to: datetime | None
    requested_at: datetime
    http_status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    sha256: str | None = None
    suffix: str = ".xml"
    status: Literal["received", "failed"] = "received"
    reason: str | None = None
    message: str | None = None
    duration_ms: int = 0


def new_poll_id(feed: str, at: datetime) -> str:
    """Sortable, unique: business time, then the order in which this machine asked."""
    tick = time.time_ns() // 1000
    return f"{at:%Y%m%dT%H%M%SZ}-{feed}-{tick:015x}{os.getpid() % 4096:03x}{next(_COUNTER) % 256:02x}"


class Archive:
    """One biller's archive below `root`."""

    def __init__(self, root: Path, biller: str) -> None:
        self.folder = root / biller

    def body_path(self, poll_id: str, suffix: str = ".xml") -> Path:
        """Where the body of this poll lies."""
        stamp, feed, _ = poll_id.split("-", 2)
        return self.folder / feed / stamp[:4] / stamp[4:6] / f"{poll_id}{suffix}"

    def receive(self, poll_id: str, suffix: str = ".xml") -> Receiver:
        """Opens the body for writing; use as a context manager."""
        path = self.body_path(poll_id, suffix)
        with translated_os_errors("archive"):
            _make_private(path.parent)
            return Receiver(path)

    def note(self, poll: Poll) -> None:
        """Writes the note beside the body, durably."""
        text = json.dumps(asdict(poll), default=lambda value: value.isoformat(), indent=1, sort_keys=True)
        self.keep(poll.poll_id, ".json", text.encode())

    def keep(self, poll_id: str, suffix: str, data: bytes) -> None:
        """Writes a small file at once: whole and on the disk when this returns, or not there."""
        path = self.body_path(poll_id, suffix)
        with translated_os_errors("archive"):
            _make_private(path.parent)
            write_durably(path, data)

    def read_note(self, poll_id: str) -> Poll | None:
        """The note of one poll, if it was written."""
        path = self.body_path(poll_id, ".json")
        return _from_note(json.loads(path.read_text("utf-8"))) if path.exists() else None

    def keep_file(self, poll_id: str, source: Path) -> tuple[Path, int, str]:
        """Copies a file from IMT in; returns (path, bytes, sha256)."""
        with self.receive(poll_id, source.suffix.lower()) as out, source.open("rb") as data:
            shutil.copyfileobj(data, out, 1 << 20)
        return out.path, out.size, out.sha256

    def polls(self, feed: str | None = None) -> Iterator[Poll]:
        """All notes of one folder, oldest first; without `feed`, of everything that came in to be staged."""
        paths = self.folder.glob(f"{feed or '*'}/*/*/*.json")
        wanted = [path for path in paths if feed or path.parents[2].name not in _OUTBOUND]
        for path in sorted(wanted, key=lambda p: p.name):
            yield _from_note(json.loads(path.read_text("utf-8")))


class Receiver:
    """Writes a body: hashes on the way, counts, and gives it its final name only when complete on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._part = path.with_suffix(path.suffix + ".part")
        self._file: IO[bytes] = self._part.open("wb")

    def write(self, data: bytes) -> int:
        """Appends `data`."""
        self._hash.update(data)
        self.size += len(data)
        with translated_os_errors("archive"):
            return self._file.write(data)

    def flush(self) -> None:
        """Hands what was written so far to the system: it outlives this process, not yet the machine."""
        with translated_os_errors("archive"):
            self._file.flush()

    @property
    def sha256(self) -> str:
        """Hex digest of what was written so far."""
        return self._hash.hexdigest()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        """Even a cut body is kept under its name: its note says that it failed and why."""
        with translated_os_errors("archive"):
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                with suppress(OSError):  # on a full disk it fails again, and closes all the same
                    self._file.close()
            os.replace(self._part, self.path)
            sync_folder(self.path.parent)


@contextmanager
def translated_os_errors(where: str) -> Iterator[None]:
    """A full or broken disk as StorageTrouble that names the place, not as a bare OSError."""
    try:
        yield
    except OSError as error:
        raise StorageTrouble(
            f"the {where} cannot be written: {error.strerror or type(error).__name__}"
        ) from None


def _make_private(folder: Path) -> None:
    """Bodies hold personal data: only the account that runs icflows may enter."""
    if not folder.exists():
        biller = folder.parent.parent.parent
        biller.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)


def write_durably(path: Path, data: bytes) -> None:
    """Writes `data` under a temporary name, flushes it to the disk, gives it its name."""
    part = path.with_suffix(path.suffix + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes a new name in `folder` last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _from_note(note: dict[str, Any]) -> Poll:
    for name in ("window_from", "window_to", "requested_at"):
        if note[name]:
            note[name] = datetime.fromisoformat(note[name]).astimezone(UTC)
    return Poll(**note)


def safe_text(text: str, limit: int = 300) -> str:
    """A server's words, fit for logs and alerts: one line, bounded, long digit runs and addresses masked."""
    text = re.sub(r"[^\x20-\x7e\u00a0-\uffff]+", " ", text).strip()
    text = re.sub(r"[\w.+-]+@[\w.-]+", "***@***", text)
    text = re.sub(r"\d{3,}(?=\d{4})", "***", text)
    return text[:limit]
