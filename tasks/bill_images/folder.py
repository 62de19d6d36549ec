"""The folder of IMT's bill images. Paths in it are hostile input: nothing outside the folder is ever opened."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MOST_BYTES = 64 << 20  # no bill is longer; a stray film in the folder is not read
_CHUNK = 1 << 20
_TAIL = 1024

State = Literal["ok", "missing", "empty", "not_pdf", "bad_name", "unreadable"]


@dataclass(frozen=True)
class Found:
    """What a path led to. `names`: the file's own name, and that of what it links to."""

    state: State
    reason: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    names: tuple[str, ...] = ()


class Refused(Exception):
    """The path leads to no bill image; carries state and reason."""

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state, self.reason = state, reason


def inside(folder: Path, path: str) -> Path:
    """The file that `path` (relative to `folder`) leads to, links followed. Raises Refused."""
    if "\0" in path:
        raise Refused("unreadable", "the path holds a NUL character")
    if path.startswith("/") or ".." in Path(path).parts:
        raise Refused("unreadable", "the path does not stay in the images folder")
    try:
        root = folder.resolve(strict=True)
    except OSError:
        raise Refused("unreadable", "the images folder cannot be read") from None
    try:
        real = (root / path).resolve(strict=True)
    except FileNotFoundError:
        raise Refused("missing", "there is no such file in the images folder") from None
    except (OSError, RuntimeError, ValueError) as error:  # no right, a loop of links, a name that cannot be
        raise Refused("unreadable", f"the path cannot be followed ({type(error).__name__})") from None
    if not real.is_relative_to(root):
        raise Refused("unreadable", "the path does not stay in the images folder")
    return real


def open_regular(real: Path) -> int:
    """A handle for reading. A pipe does not block, a link that came in between is not followed. Raises Refused."""
    try:
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Refused("missing", "there is no such file in the images folder") from None
    except OSError as error:
        raise Refused("unreadable", f"the file cannot be opened ({type(error).__name__})") from None
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise Refused("unreadable", "it is no regular file")


def read(folder: Path, path: str) -> Found:
    """Looks at one file, whole: is it a PDF of a size that can be sent? Its hash is of exactly these bytes."""
    real = inside(folder, path)
    names = (Path(path).name, real.name)
    handle = open_regular(real)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        if size == 0:
            return Found("empty", "the file is empty", 0, names=names)
        if size > MOST_BYTES:
            return Found(
                "unreadable", f"the file is larger than {MOST_BYTES >> 20} MB", bytes=size, names=names
            )
        digest, count, head, tail = hashlib.sha256(), 0, b"", b""
        try:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                head, tail, count = head or chunk[:5], (tail + chunk)[-_TAIL:], count + len(chunk)
        except OSError as error:
            return Found("unreadable", f"the file cannot be read ({type(error).__name__})", names=names)
    if head != b"%PDF-":
        return Found("not_pdf", "the file does not begin with %PDF-", count, digest.hexdigest(), names)
    if b"%%EOF" not in tail:
        return Found(
            "not_pdf", "the file does not end with %%EOF; it may be cut", count, digest.hexdigest(), names
        )
    return Found("ok", None, count, digest.hexdigest(), names)


def shown(text: str) -> str:
    """A path or name fit for tables and alerts: no control characters, no bytes that are no text, bounded."""
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "\ufffd", clean)[:255]
