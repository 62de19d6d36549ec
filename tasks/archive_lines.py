"""Logs in the archive: one JSON line per thing that was said, flushed to the disk one by one, never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.archive import sync_folder, translated_os_errors


def append_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Appends these lines to <archive>/<biller>/<folder>/<log>; they are on the disk when this returns.

    Instants, days and decimals become text. Raises StorageTrouble.
    """
    text = b"".join(json.dumps(dict(line), default=str, sort_keys=True).encode() + b"\n" for line in lines)
    with translated_os_errors("archive"):
        path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # personal data
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = not path.exists()
        with path.open("a+b") as log:
            if log.tell():
                log.seek(-1, os.SEEK_END)
                if log.read(1) != b"\n":
                    log.write(b"\n")  # a torn line never happened; it must not swallow this one
            log.write(text)
            log.flush()
            os.fsync(log.fileno())
        if fresh:
            path.chmod(0o600)
            sync_folder(path.parent)
            sync_folder(path.parent.parent)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log, oldest first; none if there is no log. A torn line is passed over."""
    if not path.exists():
        return
    with translated_os_errors("archive"):
        text = path.read_text("utf-8", errors="replace")
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
