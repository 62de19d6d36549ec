"""What a put is given and what it answers, and the names of its temporary files."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_LEFTOVER = re.compile(r"\..+\.ic([0-9a-f]{14})[0-9a-f]{6}-[0-9]+\.part", re.S)
_LONGEST = 255  # bytes of a name, nearly everywhere
_KEPT = 180  # of a name in its temporary name


@dataclass(frozen=True)
class PutJob:
    """One file: its name at the server, where it lies here, its bytes.

    `may_skip`: a file of that name and size at the server is known to be ours, so it need not be sent again.
    """

    name: str
    path: Path
    size: int
    may_skip: bool = False


@dataclass(frozen=True)
class PutResult:
    """What became of a job. `reason` is a machine word, `message` a sentence for people; both None if all is well."""

    name: str
    state: Literal["sent", "skipped", "failed"]
    bytes: int
    reason: str | None = None
    message: str | None = None


Progress = Callable[[PutResult], None]


@dataclass
class Task:
    """A job on its way. `part` is the temporary name of an earlier try; `naming`: its rename was asked for."""

    index: int
    job: PutJob
    part: bytes = b""
    naming: bool = False


def name_trouble(name: str) -> str | None:
    """Why `name` cannot be the name of a file, or None. A NUL makes OpenSSH drop the whole connection."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "the name is no text"
    if not name or name in {".", ".."} or "/" in name or any(c < 32 or c == 127 for c in encoded):
        return "the name is empty or holds a slash or a control character"
    return "the name is longer than 255 bytes" if len(encoded) > _LONGEST else None


class PartNames:
    """Hidden names for files that are not complete yet: `.NAME.icTIMERANDOM-NUMBER.part`, of one session."""

    def __init__(self) -> None:
        self._began = f"{time.time_ns() // 1000:014x}"
        self._token = f"ic{self._began}{secrets.token_hex(3)}"
        self._count = 0

    def new(self, name: str) -> str:
        """A name that nobody else has."""
        self._count += 1
        short = name.encode()[:_KEPT].decode(errors="ignore")
        return f".{short}.{self._token}-{self._count}.part"

    def is_leftover(self, name: str) -> bool:
        """Is it such a name, of a session that began before this one?"""
        match = _LEFTOVER.fullmatch(name)
        return match is not None and match[1] < self._began
