"""UploadInvoice and ViewInvoiceByInvoiceNumber: composed by zeep from the pinned WSDL, archived, then read.

Whoever uploads must know of a failure whether IC may have the file. Known for certain: nothing of the request left
(the socket was not even connected), 429, or the key or login was refused. Everything else is unknown.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.archive import Archive, Poll, Receiver, new_poll_id
from tasks.errors import BadAnswer, CredentialError, IcflowsError, NotSent, StorageTrouble, Throttled
from tasks.invoicecloud.answers import (
    LOOK,
    SERVICE,
    UPLOAD,
    InvoiceView,
    UploadAnswer,
    read_upload,
    read_view,
)
from tasks.invoicecloud.client import keep_distance, milliseconds_since, prepared, refuse_http
from tasks.invoicecloud.transport import Answer, ArchiveTransport
from tasks.sections import Biller
from tasks.settings import secret

UPLOAD_ANSWER_BYTES = 64 << 20
LOOK_ANSWER_BYTES = 1 << 20
_LOGIN = re.compile(rb"type\s*=\s*[\"']?password|log-?\s?[io]n|sign-?\s?[io]n|authenticat", re.IGNORECASE)


class Operations:
    """Both operations for one biller. `sleep` is given by tests."""

    def __init__(
        self, biller: Biller, archive: Archive, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.biller = biller
        self.archive = archive
        self.sleep = sleep

    def upload(self, file_id: str, file_name: str, data: bytes, at: datetime) -> UploadAnswer:
        """Sends one file, once. The answer lies in the archive (folder uploads) before it is read.

        Raises SettingsError, NotSent, CredentialError: certainly not taken. Any other IcflowsError: nobody knows.
        """
        transport = ArchiveTransport(capped(self.biller, UPLOAD_ANSWER_BYTES))
        words = self.words(FileName=file_name, FileData=b"")
        send = prepared(self.biller, transport, SERVICE, UPLOAD, words)
        words["Req"]["FileData"] = data
        poll = self.poll("uploads", UPLOAD, new_poll_id("uploads", at), at)
        keep_distance(self.biller, self.sleep)
        seen = _Seen()
        try:
            answer = self._sent(transport, lambda: send(**words), poll, seen)
        except IcflowsError as error:
            told = _judged(error, transport.written, seen)
            with suppress(StorageTrouble):  # what became of the file matters more than its note
                self.archive.note(seen.note(poll, f"{file_id}: {told}", told))
            raise told from None
        finally:
            transport.session.close()
        counts = f"{answer.accepted} accepted, {answer.rejected} rejected"
        self.archive.note(seen.note(poll, f"{file_id}: Success={str(answer.success).lower()}, {counts}"))
        return answer

    def _sent(
        self, transport: ArchiveTransport, send: Callable[[], Answer], poll: Poll, seen: _Seen
    ) -> UploadAnswer:
        with transport.into(self.archive, poll.poll_id) as receiver:
            seen.receiver = receiver
            seen.answer = send()
        seen.body = self.archive.body_path(poll.poll_id).read_bytes()
        refuse_http(seen.answer, seen.body)
        return read_upload(seen.body, poll.poll_id)

    @contextmanager
    def looks(self, look_id: str, at: datetime) -> Iterator[LookSession]:
        """Many looks over one connection; all answers in one file of the archive (folder looks).

        The note is written at the end, also when a look raised.
        """
        poll_id = new_poll_id("looks", at)
        transport = ArchiveTransport(capped(self.biller, LOOK_ANSWER_BYTES))
        ask = prepared(self.biller, transport, SERVICE, LOOK, self.words(InvoiceNumber=""))
        poll = replace(self.poll("looks", LOOK, poll_id, at), suffix=".looks")
        started, status, reason = time.monotonic(), "received", None
        session = None
        try:
            with self.archive.receive(poll_id, ".looks") as receiver:
                session = LookSession(self, transport, ask, receiver, poll_id)
                yield session
        except BaseException as error:
            status, reason = "failed", getattr(error, "reason", type(error).__name__)
            raise
        finally:
            transport.session.close()
            if session is not None:
                self.archive.note(
                    replace(
                        poll, status=status, reason=reason, bytes=session.receiver.size,  # type: ignore[arg-type]
                        sha256=session.receiver.sha256, duration_ms=milliseconds_since(started),
                        message=f"{look_id}: {session.looks} looks",
                    )
                )  # fmt: skip

    def words(self, **more: Any) -> dict[str, Any]:
        """The operation's arguments. Holds the key: never log it."""
        key = secret(self.biller.web_service_key).get_secret_value()
        return {"Req": {"BillerGUID": self.biller.biller_guid, "WebServiceKey": key, **more}}

    def poll(self, feed: str, operation: str, poll_id: str, at: datetime) -> Poll:
        """The note of a call, before it."""
        return Poll(
            poll_id=poll_id, biller=self.archive.folder.name, feed=feed, form="soap", operation=operation,
            window_from=None, window_to=None, requested_at=at,
        )  # fmt: skip


class LookSession:
    """A batch of looks. `answer_id` names its file in the archive, `looks` counts them."""

    def __init__(
        self, operations: Operations, transport: ArchiveTransport, ask: Callable[..., Answer],
        receiver: Receiver, answer_id: str,
    ) -> None:  # fmt: skip
        self.receiver, self.answer_id, self.looks = receiver, answer_id, 0
        self._operations, self._transport, self._ask = operations, transport, ask

    def look(self, invoice_number: str) -> InvoiceView:
        """Asks for one invoice. Raises what an unreadable answer, a fault or HTTP stand for."""
        biller = self._operations.biller
        words = self._operations.words(InvoiceNumber=invoice_number)
        keep_distance(biller, self._operations.sleep)
        sink, answer = _Memory(), None
        self.looks += 1
        try:
            with self._transport.into_sink(sink):
                answer = self._ask(**words)
        finally:
            head = {
                "look": self.looks, "invoice_number": invoice_number, "bytes": sink.size,
                "http_status": answer.status if answer else None,
            }  # fmt: skip
            self.receiver.write(json.dumps(head).encode() + b"\n" + bytes(sink.data) + b"\n")
            self.receiver.flush()
        refuse_http(answer, bytes(sink.data))
        return read_view(bytes(sink.data), invoice_number, biller.outbound.not_found)


def split_looks(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The answers of a batch as archived: (look, invoice_number, bytes, http_status), body."""
    with path.open("rb") as file:
        while line := file.readline():
            head: dict[str, Any] = json.loads(line)
            yield head, file.read(head["bytes"])
            file.read(1)


class _Memory:
    """A body of at most a megabyte on its way into the archive."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass
class _Seen:
    """What is known of one exchange so far."""

    receiver: Receiver | None = None
    answer: Answer | None = None
    body: bytes = b""
    started: float = field(default_factory=time.monotonic)

    def note(self, poll: Poll, message: str, error: IcflowsError | None = None) -> Poll:
        """The note of the exchange as it ended."""
        return replace(
            poll, status="failed" if error else "received", reason=error.reason if error else None, message=message,
            http_status=self.answer.status if self.answer else None,
            headers=self.answer.headers if self.answer else {},
            bytes=self.receiver.size if self.receiver else 0,
            sha256=self.receiver.sha256 if self.receiver else None, duration_ms=milliseconds_since(self.started),
        )  # fmt: skip


def capped(biller: Biller, most: int) -> Any:
    """The biller's limits of a call, with a body of at most `most` bytes."""
    limits = biller.transport
    return limits.model_copy(update={"max_bytes": min(limits.max_bytes, most)})


def _judged(error: IcflowsError, written: bool, seen: _Seen) -> IcflowsError:
    """What a failed upload means: not sent, refused at the door, or unknown (the error as it is)."""
    if not written:
        return NotSent(str(error))
    if isinstance(error, Throttled) and error.http_status == 429:
        return NotSent(str(error), retry_after=error.retry_after, http_status=429)
    if isinstance(error, CredentialError) and error.reason in ("redirect", "login_page"):
        # A gateway's or customErrors' page looks alike, and comes after the file was taken.
        where = seen.answer.headers.get("Location", "").encode() if seen.answer else b""
        if not _LOGIN.search(where if error.reason == "redirect" else seen.body[: 1 << 16]):
            return BadAnswer("IC answered a web page that is no login page", reason="web_page")
    return error
