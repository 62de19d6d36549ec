"""An HTTP answer before it is sent: status, headers, body in parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

Part = bytes | memoryview


@dataclass(frozen=True)
class Answer:
    """`parts` is consumed once. `streamed` asks for chunked transfer instead of Content-Length."""

    parts: Iterable[Part]
    status: int = 200
    content_type: str | None = "text/xml; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    streamed: bool = False

    def body(self) -> bytes:
        """The whole body in memory (consumes the parts)."""
        return b"".join(self.parts)

    def whole(self, body: bytes, **changes: object) -> Answer:
        """The same answer with `body` in one piece and other fields changed."""
        return replace(self, parts=[body], streamed=False, **changes)  # type: ignore[arg-type]


def html(text: str, status: int = 200, **headers: str) -> Answer:
    """A web page. Underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer([text.encode()], status, "text/html; charset=utf-8", named)
