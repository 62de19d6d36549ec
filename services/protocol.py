"""uvicorn's HTTP/1.1 protocol with limits before the app is asked: time and size of a head, pieces of a body, how
many connections; and an end that lets the caller read its refusal.

A connection without a whole head costs nothing to open, so when all places are taken the one that has waited longest
for its head gives way: callers that send what they came for are always served.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from services.telling import Telling, log

HEAD_BYTES = 16_384
_FREE_PIECES = 2_048  # of one body; more of them must be of some size: a chunk of one byte costs as much work
_LEAST_PIECE = 256  # bytes, on average
_LINGER_SECONDS = 0.5  # what a refused caller still sends is read and thrown away for so long
_FLUSH_SECONDS = 5.0  # an answer that nobody reads for so long is dropped
_HEAD_END = re.compile(rb"\n\r?\n")
_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class _Pieces(h11.Connection):
    """h11 that refuses a body in too many pieces."""

    pieces = size = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if type(event) is h11.Data:
            self.pieces += 1
            self.size += len(event.data)
            if self.pieces > _FREE_PIECES and self.size < self.pieces * _LEAST_PIECE:
                self._process_error(self.their_role)
                raise h11.RemoteProtocolError("the body comes in too many pieces")
        elif type(event) is h11.Request:
            self.pieces = self.size = 0
        return event


class _Lingering:
    """A transport that sends head and body of an answer at once, and whose close() lets the caller read it first:
    closing with unread input would reset the connection."""

    def __init__(self, transport: asyncio.Transport, protocol: Protocol) -> None:
        self._transport, self._protocol = transport, protocol
        self._head = b""
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading
        self.get_extra_info = transport.get_extra_info
        self.closing = False
        self._timers: list[asyncio.TimerHandle] = []

    def write(self, data: bytes) -> None:
        """An answer comes as head, body, end: the head waits for what follows it. `100 Continue` does not."""
        if not self._head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._head = data
        elif self._head:
            data, self._head = self._head + data, b""
            self._transport.write(data)
        elif data:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether nothing more is served on it."""
        return self.closing or self._transport.is_closing()

    def close(self) -> None:
        """Sends what waits; reads on for a moment if the request was not read to its end."""
        if self.closing:
            return
        self.closing = True
        if self._head:
            self.write(b"")
        loop = self._protocol.loop
        self._timers.append(loop.call_later(_FLUSH_SECONDS, self._transport.abort))
        if (
            self._protocol.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
            or self._transport.is_closing()
        ):
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._protocol.flow.resume_reading()
        self._timers.append(loop.call_later(_LINGER_SECONDS, self._transport.close))

    def lost(self) -> None:
        """The connection is no more: nothing is left to be done to it."""
        while self._timers:
            self._timers.pop().cancel()


class Protocol(H11Protocol):
    """One connection. `head_seconds` from its first moment, and from the first byte of each later head;
    `body_seconds` from the end of a head."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None, *,
        head_seconds: float = 0.9, body_seconds: float = 0.9, max_connections: int = 512,
        telling: Telling | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _Pieces(h11.SERVER, HEAD_BYTES)
        self.logger = _quiet  # uvicorn would say a line for each bad request
        self.access_log = False
        self._seconds = {h11.IDLE: head_seconds, h11.SEND_BODY: body_seconds}
        self._max_connections = max_connections
        self._telling = telling or Telling()
        self._awaited: Any = None  # h11's state that may not last: IDLE (a head), SEND_BODY
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._raw: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for a head from now on."""
        self._raw = cast(asyncio.Transport, transport)
        super().connection_made(self._raw)
        self.transport = cast(asyncio.Transport, _Lingering(self._raw, self))
        self.flow._transport = self.transport
        self._watch(h11.IDLE)
        if len(self.connections) > self._max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends its timers."""
        self._watch(None)
        self.resume_writing()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        cast(_Lingering, self.transport).lost()

    def data_received(self, data: bytes) -> None:
        """Feeds h11, unless the connection is being closed or its head is too large."""
        if self.transport.is_closing():
            return
        if self._waiting and len(data) > HEAD_BYTES and not _HEAD_END.search(data, 0, HEAD_BYTES):
            self.refuse(431, "the request's head is too large", "head")
            return
        super().data_received(data)
        if self.conn.their_state is not self._awaited and not self.transport.is_closing():
            self._watch(self.conn.their_state)

    def on_response_complete(self) -> None:
        """The next request of a pipeline may be here in part."""
        super().on_response_complete()
        state = self.conn.their_state
        if state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0]):
            self._watch(state)

    @property
    def _waiting(self) -> bool:
        """Whether no whole head is here and no answer under way."""
        return self.conn.their_state is h11.IDLE

    def _watch(self, state: Any) -> None:
        """From now on `state` may last as long as is allowed for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._awaited = state
        if state in self._seconds and not self.transport.is_closing():
            self._since = self.loop.time()
            self._timer = self.loop.call_later(self._seconds[state], self._is_late, state)

    def _is_late(self, state: Any) -> None:
        self._timer = None
        if self.conn.their_state is state and not self.transport.is_closing():
            part, kind = ("head", "slow_head") if state is h11.IDLE else ("body", "slow_body")
            self.refuse(
                408, f"the request's {part} was not there within {self._seconds[state]:g} seconds", kind
            )

    def _make_room(self) -> None:
        others = [c for c in self.connections if isinstance(c, Protocol) and c._waiting and c is not self]
        waiting = [c for c in others if not c.transport.is_closing()]
        longest = min(waiting, key=lambda c: c._since, default=self)
        longest.refuse(503, "all connections are taken", "connections")
        longest._raw.abort() if longest is not self else self._raw.close()

    def refuse(self, status: int, words: str, kind: str) -> None:
        """Answers without the app and closes. A request that the app has in hand is taken from it."""
        self._telling.tell(kind, f"refused with {status}: {words}")
        self._watch(None)
        self._unset_keepalive_if_required()
        started = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not started and not self.transport.is_closing():
            head = b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\n" % (
                status,
                _PHRASES[status],
            )
            tail = b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(words), words.encode())
            self.transport.write(head + tail)
        self.transport.close()

    def shutdown(self) -> None:
        """The service stops: an answer under way is finished, an idle connection is closed."""
        if not self.transport.is_closing():
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """What h11 cannot read."""
        self.refuse(400, "this is no HTTP/1.1 request", "http")

    def pause_writing(self) -> None:
        """The caller does not read: it has a while, then it is dropped."""
        super().pause_writing()
        self._stuck = self._stuck or self.loop.call_later(_FLUSH_SECONDS, self._raw.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None


_quiet = log.getChild("uvicorn")
_quiet.setLevel(100)
