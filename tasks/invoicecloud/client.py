"""Asks IC for one report: zeep composes the request from the pinned WSDL, our transport archives the answer.

zeep's own deserialiser never sees a report body (10.8 s for 50,000 rows, and strict=False loses rows).
"""

from __future__ import annotations

import email.utils
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import zeep
import zeep.exceptions
from zeep.client import Client

from tasks.archive import Archive, Poll, safe_text
from tasks.errors import (
    BadAnswer,
    CredentialError,
    IcflowsError,
    RequestRefused,
    ServerTrouble,
    SettingsError,
    Throttled,
)
from tasks.invoicecloud import envelope
from tasks.invoicecloud.catalogue import FeedSpec, Form, FormSpec
from tasks.invoicecloud.transport import Answer, ArchiveTransport
from tasks.settings import Biller, secret

WSDL_FOLDER = Path(__file__).parent / "wsdl"
_NAMESPACE = "https://www.invoicecloud.com/portal/webservices/{}/"
_XML_TYPES = {"text/xml", "application/soap+xml", "application/xml"}
_LAST_CALL: dict[str, float] = {}
logging.getLogger("zeep").setLevel(logging.WARNING)  # zeep.transports at DEBUG prints the WebServiceKey


def _client(wsdl: Path, transport: ArchiveTransport) -> Client:
    settings = zeep.Settings(
        strict=True,
        xml_huge_tree=False,
        forbid_dtd=True,
        forbid_entities=True,
        forbid_external=True,
        raw_response=True,
    )
    return Client(str(wsdl), transport=transport, settings=settings)  # type: ignore[no-untyped-call]


def wsdl_path(biller: Biller, service: str) -> Path:
    """The pinned WSDL: the biller's own folder if it has one, else the packaged one."""
    path = (biller.wsdl or WSDL_FOLDER) / f"{service}.wsdl"
    if not path.is_file():
        raise SettingsError(f"no WSDL file {path}")
    return path


def service_url(biller: Biller, service: str) -> str:
    """Address of a service below the biller's base_url."""
    return urljoin(biller.base_url, f"{service}.asmx")


def arguments(
    biller: Biller, spec: FormSpec, window_from: datetime | None, window_to: datetime | None
) -> dict[str, Any]:
    """The operation's arguments, nested as the catalogue says. Holds the key: never log it."""
    values: dict[str, Any] = {
        spec.biller_guid: biller.biller_guid,
        spec.web_service_key: secret(biller.web_service_key).get_secret_value(),
    }
    if window_from and window_to:
        values |= {spec.window_from: window_from, spec.window_to: window_to}
    return {spec.nesting: values} if spec.nesting else values


class ReportClient:
    """Fetches report bodies of one biller into its archive. `sleep` is given by tests."""

    def __init__(
        self, biller: Biller, archive: Archive, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.biller = biller
        self.archive = archive
        self._sleep = sleep

    def fetch(self, poll: Poll, feed: FeedSpec, form: Form) -> Poll:
        """Asks once; returns the note of the archived answer.

        The note is written in every case, also when this raises (but for wrong settings: then nothing was
        asked); nothing is interpreted here beyond HTTP status and media type.
        """
        spec = feed.forms[form]
        transport = ArchiveTransport(self.biller.transport)
        words = arguments(self.biller, spec, poll.window_from, poll.window_to)
        operation = prepared(self.biller, transport, feed.service, spec.operation, words)
        keep_distance(self.biller, self._sleep)
        started = time.monotonic()
        answer: Answer | None = None
        try:
            with transport.into(self.archive, poll.poll_id) as receiver:
                answer = operation(**words)
            refuse_http(answer, envelope.head_bytes(self.archive.body_path(poll.poll_id)))
        except IcflowsError as error:
            poll = replace(
                poll, status="failed", reason=error.reason, message=str(error), bytes=receiver.size,
                sha256=receiver.sha256, http_status=answer.status if answer else error.http_status,
                headers=answer.headers if answer else {}, duration_ms=milliseconds_since(started),
            )  # fmt: skip
            self.archive.note(poll)
            raise
        finally:
            transport.session.close()
        poll = replace(
            poll, http_status=answer.status, headers=answer.headers, bytes=answer.size, sha256=answer.sha256,
            duration_ms=milliseconds_since(started),
        )  # fmt: skip
        self.archive.note(poll)
        return poll


def keep_distance(biller: Biller, sleep: Callable[[float], None]) -> None:
    """At least pause_seconds between two calls of this process to one IC (domain.md, fact 10)."""
    since = time.monotonic() - _LAST_CALL.get(biller.base_url, -math.inf)
    if since < biller.transport.pause_seconds:
        sleep(biller.transport.pause_seconds - since)
    _LAST_CALL[biller.base_url] = time.monotonic()


def prepared(
    biller: Biller, transport: ArchiveTransport, service: str, name: str, words: Mapping[str, Any]
) -> Callable[..., Answer]:
    """The operation `name`, ready to be called with words like these. SettingsError for all that can be wrong."""
    client = _client(wsdl_path(biller, service), transport)
    port = f"{service}Soap" + ("12" if biller.transport.soap == "1.2" else "")
    proxy: Any = client.create_service(  # type: ignore[no-untyped-call]
        f"{{{_NAMESPACE.format(service)}}}{port}", service_url(biller, service)
    )
    try:
        operation: Callable[..., Answer] = proxy[name]
    except (AttributeError, KeyError):
        raise SettingsError(f"the WSDL of {service} has no operation {name}") from None
    try:
        client.create_message(proxy, name, **words)  # type: ignore[no-untyped-call]
    except (TypeError, zeep.exceptions.ValidationError) as error:
        raise SettingsError(f"{name} does not take these parameters: {safe_text(str(error), 120)}") from None
    return operation


def milliseconds_since(started: float) -> int:
    """Whole milliseconds since a reading of time.monotonic()."""
    return round((time.monotonic() - started) * 1000)


def server_time(headers: dict[str, str]) -> datetime | None:
    """The server's clock from the Date header, aware UTC; None if it sent none."""
    try:
        return email.utils.parsedate_to_datetime(headers["Date"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return None


def _retry_after(headers: dict[str, str]) -> float | None:
    """Seconds to wait: Retry-After as a number or as an HTTP date by the server's own clock; None if unsaid."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    then, now = server_time({"Date": text}), server_time(headers)
    return max(0.0, (then - now).total_seconds()) if then and now else None


def refuse_http(answer: Answer, head: bytes) -> None:
    """Statuses and media types that are no answer. ASMX faults come as 500 with XML: `head` of the body tells."""
    status = answer.status
    if status in (429, 503):
        raise Throttled(
            f"IC answered HTTP {status}", retry_after=_retry_after(answer.headers), http_status=status
        )
    if status in (401, 403, 407):
        raise CredentialError(
            f"IC answered HTTP {status}: the login or key was refused", reason=f"http_{status}"
        )
    if 300 <= status < 400:
        raise CredentialError(
            f"IC redirected (HTTP {status}), most likely to a login page", reason="redirect"
        )
    if status == 200 and answer.content_type == "text/html":
        raise CredentialError("IC answered a web page, most likely a login page", reason="login_page")
    if status >= 400:
        raise _http_error(answer, head)
    if answer.content_type not in _XML_TYPES:
        raise BadAnswer(
            f"the answer is {answer.content_type or 'of no type'}, not XML", reason="content_type"
        )


def _http_error(answer: Answer, head: bytes) -> IcflowsError:
    """A SOAP fault by its words; another 5xx may pass, another 4xx will not."""
    error: IcflowsError
    if answer.content_type in _XML_TYPES:
        error = envelope.fault_of(head) or ServerTrouble(f"IC answered HTTP {answer.status}")
    elif answer.status >= 500:
        error = ServerTrouble(f"IC answered HTTP {answer.status} without a SOAP fault")
    else:
        error = RequestRefused(f"IC answered HTTP {answer.status}")
    error.http_status = answer.status
    if not isinstance(error, CredentialError) and error.reason in ("server_trouble", "refused"):
        error.reason = f"http_{answer.status}"
    return error
