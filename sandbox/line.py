"""One HTTP answer on one socket: the regular way, and the raw means that faults need."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

from sandbox.answer import Answer, Part


class Line:
    """Writes answers for a request handler. `stop` ends every wait early."""

    def __init__(self, handler: BaseHTTPRequestHandler, stop: threading.Event) -> None:
        self._handler = handler
        self._stop = stop

    def send(self, answer: Answer) -> None:
        """The answer as a well-behaved server sends it."""
        if not answer.streamed or self._handler.request_version == "HTTP/1.0":
            body = answer.body()
            self.head(answer, {"Content-Length": str(len(body))})
            self.raw(body)
            return
        self.head(answer, {"Transfer-Encoding": "chunked"})
        for part in _steps(answer):
            self.chunk(part)
        self.raw(b"0\r\n\r\n")

    def head(self, answer: Answer, framing: dict[str, str]) -> None:
        """Status line and headers; `framing` says how the body's end is marked."""
        handler = self._handler
        handler.send_response(answer.status)
        handler.send_header("Cache-Control", "private, max-age=0")
        if answer.content_type:
            handler.send_header("Content-Type", answer.content_type)
        handler.send_header("X-AspNet-Version", "4.0.30319")
        handler.send_header("X-Powered-By", "ASP.NET")
        for name, value in (answer.headers | framing).items():
            handler.send_header(name, value)
        handler.end_headers()

    def raw(self, data: Part) -> None:
        """Bytes as they are."""
        self._handler.wfile.write(data)

    def chunk(self, data: Part) -> None:
        """One chunk of chunked transfer."""
        self.raw(b"%X\r\n" % len(data))
        self.raw(data)
        self.raw(b"\r\n")

    def wait(self, seconds: float) -> bool:
        """Sleep; True when the sandbox is being stopped meanwhile."""
        return self._stop.wait(seconds)

    def close(self) -> None:
        """End the connection after this answer (a FIN)."""
        self._handler.close_connection = True

    def reset(self) -> None:
        """End the connection with an RST, at once."""
        self._handler.close_connection = True
        connection: socket.socket = self._handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())


def _steps(answer: Answer) -> Iterator[Part]:
    """The parts, those above a megabyte cut to a megabyte; empty ones left out."""
    for part in answer.parts:
        view = memoryview(part)
        for start in range(0, len(view), 1 << 20):
            yield view[start : start + (1 << 20)]
