"""One HTTP call to IC: zeep's transport with a total deadline, byte caps, and no redirects.

The body is streamed into the archive as it arrives; nobody holds it in memory. requests' own time-out
is per read, so a server that drips one byte a second holds a call for ever: here a timer closes the
socket when the total deadline is over. A request is never logged: the WebServiceKey is in it.
"""

from __future__ import annotations

import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import requests
import urllib3
import zeep.transports
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from tasks.archive import Archive, Receiver
from tasks.errors import BadAnswer, DeadlineExceeded, TruncatedAnswer, Unreachable
from tasks.settings import Transport

CHUNK = 1 << 20
KEPT_HEADERS = (
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Date",
    "Server",
    "Retry-After",
    "Location",
)


@dataclass(frozen=True)
class Answer:
    """What came back: status and headers; the body lies in the archive."""

    status: int
    headers: dict[str, str]
    size: int
    sha256: str

    @property
    def content_type(self) -> str:
        """Media type, lower case, without parameters."""
        return self.headers.get("Content-Type", "").split(";")[0].strip().lower()


class Sink(Protocol):
    """Where a body goes: a place in the archive, or memory on its way there."""

    def write(self, data: bytes) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> str: ...


class _Deadline:
    """Shuts down every socket of the call when time is up, also in the middle of a header."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self.sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def _expire(self) -> None:
        self.expired = True
        for sock in self.sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


class _Adapter(HTTPAdapter):
    """Connections that tell the call's deadline which socket they write to, before the first byte leaves."""

    deadline: _Deadline | None = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        known: type = pool.ConnectionCls
        if not hasattr(known, "watched_by") and issubclass(known, HTTPConnection | HTTPSConnection):
            pool.ConnectionCls = type("Watched", (_Watched, known), {"watched_by": self})
        return pool


class _Watched:
    """Mixed into urllib3's connections; `watched_by` is the adapter whose current call this is."""

    watched_by: _Adapter
    sock: socket.socket | None

    def send(self, data: Any) -> None:
        """Connects first (TLS too), so that a failure up to there is known to have sent nothing."""
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        deadline = self.watched_by.deadline
        if deadline is not None and self.sock is not None and self.sock not in deadline.sockets:
            # urllib3 would let the connect time-out cut the sending of a large body.
            self.sock.settimeout(deadline.seconds)
            deadline.sockets.append(self.sock)
        super().send(data)  # type: ignore[misc]


class ArchiveTransport(zeep.transports.Transport):
    """zeep composes the request and calls `post`; the answer goes to the sink given by `into`."""

    def __init__(self, limits: Transport) -> None:
        session = requests.Session()
        session.headers["Accept-Encoding"] = "gzip"
        self.limits = limits
        self.written = False
        self._adapter = _Adapter(max_retries=0)
        session.mount("http://", self._adapter)
        session.mount("https://", self._adapter)
        super().__init__(session=session, timeout=limits.connect_seconds)  # type: ignore[no-untyped-call]
        self._sink: Sink | None = None

    @contextmanager
    def into(self, archive: Archive, poll_id: str) -> Iterator[Receiver]:
        """Within this block, answers are written to the archive under `poll_id`."""
        with archive.receive(poll_id) as receiver, self.into_sink(receiver):
            yield receiver

    @contextmanager
    def into_sink(self, sink: Sink) -> Iterator[None]:
        """Within this block, answers are written to `sink`."""
        self._sink = sink
        try:
            yield
        finally:
            self._sink = None

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> Answer:
        """Sends `message`, streams the answer; raises Retry/Stop errors, never requests' own.

        `written` tells afterwards whether any byte of the request may have left.
        """
        if self._sink is None:
            raise RuntimeError("post() outside of into(): an answer must have a place in the archive first")
        limits = self.limits
        read_seconds = min(limits.deadline_seconds, 120.0)
        self.written = False
        with _Deadline(limits.deadline_seconds) as deadline:
            self._adapter.deadline = deadline
            try:
                response = self.session.post(
                    address, data=message, headers=headers, stream=True, allow_redirects=False,
                    timeout=(limits.connect_seconds, read_seconds),
                )  # fmt: skip
                with response:
                    _receive(response, self._sink, limits)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise _translated(error, deadline.expired, limits) from None
            finally:
                self.written = bool(deadline.sockets)
            if deadline.expired:
                raise DeadlineExceeded(f"no complete answer within {limits.deadline_seconds:g} s")
        kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        return Answer(response.status_code, kept, self._sink.size, self._sink.sha256)


def _receive(response: requests.Response, out: Sink, limits: Transport) -> None:
    """Raw bytes → content-coding undone → archive. Refuses a cut or swollen body."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity", "gzip"):
        raise BadAnswer(f"content-coding '{coding[:20]}' was not asked for", reason="content_coding")
    unzip = zlib.decompressobj(wbits=31) if coding == "gzip" else None
    wire = 0
    started = time.monotonic()
    while chunk := response.raw.read1(CHUNK, decode_content=False):
        wire += len(chunk)
        for data in _unzipped(unzip, chunk) if unzip else (chunk,):
            out.write(data)
            if out.size > limits.max_bytes:
                raise BadAnswer(f"body is larger than {limits.max_bytes} bytes", reason="too_large")
            if unzip and out.size > 1 << 20 and out.size > wire * limits.max_ratio:
                raise BadAnswer(f"body expands more than {limits.max_ratio} times", reason="gzip_bomb")
        if time.monotonic() - started > limits.deadline_seconds:
            raise DeadlineExceeded(f"no complete answer within {limits.deadline_seconds:g} s")
    if unzip is not None and not unzip.eof:
        raise TruncatedAnswer("the gzip stream ends before its trailer", reason="gzip_cut")


def _unzipped(unzip: Any, chunk: bytes) -> Iterator[bytes]:
    """Pieces of at most CHUNK bytes, so that a bomb is seen before it is in memory."""
    try:
        while chunk:
            if unzip.eof:
                raise BadAnswer("bytes behind the end of the gzip stream", reason="trailing_junk")
            piece = unzip.decompress(chunk, CHUNK)
            chunk = unzip.unconsumed_tail or unzip.unused_data
            if piece:
                yield piece
    except zlib.error:
        raise TruncatedAnswer("the gzip stream is damaged", reason="gzip_cut") from None


def _translated(error: Exception, expired: bool, limits: Transport) -> Exception:
    """requests' and urllib3's errors in our words; their texts may hold bodies and are dropped."""
    if expired or isinstance(
        error, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError | TimeoutError
    ):
        return DeadlineExceeded(f"no complete answer within {limits.deadline_seconds:g} s")
    if isinstance(error, requests.ConnectTimeout):
        return Unreachable(f"no connection within {limits.connect_seconds:g} s", reason="connect_timeout")
    cut = (
        urllib3.exceptions.IncompleteRead,
        urllib3.exceptions.InvalidChunkLength,
        urllib3.exceptions.ProtocolError,
        requests.exceptions.ChunkedEncodingError,
    )
    if isinstance(error, cut):
        return TruncatedAnswer(f"the connection ended inside the answer ({type(error).__name__})")
    if isinstance(error, requests.exceptions.SSLError):
        return Unreachable("TLS was refused: check the certificate chain", reason="tls")
    return Unreachable(f"no connection or no answer ({type(error).__name__})")
