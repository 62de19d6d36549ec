"""A line from InvoiceCloud to the insurer's service: kept alive, with the key where the service wants it."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from lxml import etree

Way = Literal["header", "basic", "bearer", "path"]
TROUBLE = (OSError, http.client.HTTPException)
_SOAP11, _SOAP12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"


@dataclass(frozen=True)
class Door:
    """Where a biller's service is and how to get in. `url` is its root, `biller` the first part of every path.

    `way`: the key in `header`, as Basic password, as Bearer token, or in the path (`/k/KEY/…`). `context`: for TLS.
    """

    url: str
    key: str
    biller: str = "acme"
    way: Way = "header"
    header: str = "X-Service-Key"
    timeout: float = 10
    context: ssl.SSLContext | None = None

    def path(self, rest: str) -> str:
        """The path of one of the biller's addresses."""
        base = urlsplit(self.url).path.rstrip("/")
        return (
            f"{base}/k/{self.key}/{self.biller}{rest}"
            if self.way == "path"
            else f"{base}/{self.biller}{rest}"
        )

    def headers(self) -> dict[str, str]:
        """The header that bears the key, if one does."""
        if self.way == "path":
            return {}
        if self.way == "header":
            return {self.header: self.key}
        basic = base64.b64encode(f"ic:{self.key}".encode()).decode()
        return {"Authorization": f"Bearer {self.key}" if self.way == "bearer" else f"Basic {basic}"}


class Line:
    """One connection; opened when first used, again when it broke. Not for several threads."""

    def __init__(self, door: Door) -> None:
        self._door = door
        parts = urlsplit(door.url)
        if parts.scheme == "https":
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=door.timeout, context=door.context
            )
        else:
            self._http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=door.timeout)

    def ask(
        self, method: str, rest: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises one of TROUBLE; the line is closed then."""
        self.send(method, rest, body, headers)
        try:
            answer = self._http.getresponse()
            return answer.status, answer.read()
        except TROUBLE:
            self.close()
            raise

    def send(self, method: str, rest: str, body: bytes | None, headers: Mapping[str, str] | None) -> None:
        """Sends and waits for nothing."""
        try:
            self._http.request(
                method, self._door.path(rest), body, self._door.headers() | dict(headers or {})
            )
        except TROUBLE:
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection; the next call opens another."""
        self._http.close()


def soap_call(
    namespace: str, operation: str, fields: Mapping[str, str], version: str = "1.1"
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a call `operation(Req{fields})`."""
    space = _SOAP12 if version == "1.2" else _SOAP11
    envelope = etree.Element(f"{{{space}}}Envelope", nsmap={"soap": space})
    body = etree.SubElement(envelope, f"{{{space}}}Body")
    call = etree.SubElement(body, f"{{{namespace}}}{operation}", nsmap={None: namespace})  # type: ignore[dict-item]
    request = etree.SubElement(call, f"{{{namespace}}}Req")
    for name, text in fields.items():
        etree.SubElement(request, f"{{{namespace}}}{name}").text = text
    action = f"{namespace}/{operation}"
    kind = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'}
    if version == "1.2":
        kind = {"Content-Type": f'application/soap+xml; charset=utf-8; action="{action}"'}
    return etree.tostring(envelope, encoding="utf-8", xml_declaration=True), kind


def read_xml(body: bytes) -> dict[str, str]:
    """Local name → text of the elements without children, the first of a name; no XML: nothing."""
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        return {}
    found: dict[str, str] = {}
    for element in root.iter("{*}*"):
        if len(element) == 0:
            found.setdefault(etree.QName(element).localname, element.text or "")
    return found
