"""What a body may be: its type and its size. Refused before it is read wherever possible."""

from __future__ import annotations

import re
from functools import lru_cache

from starlette.types import Message

from services.reply import Gone, Refused, Visit

_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._-]+)", re.I)


def require_type(visit: Visit, allowed: tuple[str, ...]) -> None:
    """The body's content type must be one of `allowed`; uncompressed and UTF-8. Raises Refused 415."""
    _check_type(visit.headers.get(b"content-type", b""), allowed)
    if visit.headers.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity"):
        raise Refused(415, "compressed bodies are not taken", "content_encoding")


@lru_cache(256)  # callers send the same few again and again
def _check_type(content_type: bytes, allowed: tuple[str, ...]) -> None:
    text = content_type.decode("latin-1")
    if text.partition(";")[0].strip().lower() not in allowed:
        raise Refused(415, f"the content type must be {' or '.join(sorted(allowed))}", "content_type")
    charset = _CHARSET.search(text)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Refused(415, "the body must be UTF-8", "encoding")


async def read_body(visit: Visit, max_bytes: int) -> bytes:
    """The whole body. Raises Refused 413 (above `max_bytes`: unread, or as soon as it is more), Gone if the caller
    hung up or was too slow (services/protocol.py answers that)."""
    length = visit.headers.get(b"content-length")
    if length is not None and int(length) > max_bytes:
        raise _too_large(max_bytes)
    message = await visit.receive()
    parts = [_part(message)]
    size = len(parts[0])
    while size <= max_bytes and message.get("more_body", False):
        message = await visit.receive()
        parts.append(_part(message))
        size += len(parts[-1])
    if size > max_bytes:
        raise _too_large(max_bytes)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _part(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise Gone
    part: bytes = message.get("body", b"")
    return part


def _too_large(max_bytes: int) -> Refused:
    return Refused(413, f"the body is larger than {max_bytes} bytes", "too_large")
