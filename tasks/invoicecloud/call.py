"""Reads a SOAP call that InvoiceCloud sends us, and writes the answer to it (document/literal, SOAP 1.1 and 1.2).

The sender is not trusted. expat reads the bytes once and every limit holds while it reads: no document type (so no
entities, internal or external), UTF-8 only, so many elements, attributes and levels and no more. lxml is not used
here: it keeps every element name it ever saw for the whole process (measured: 600 bodies of 57 KB held 64 MB), so a
stranger could fill the memory of a service that never ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any, Literal, NoReturn, TypeAlias
from xml.parsers import expat

Soap = Literal["1.1", "1.2"]
Value: TypeAlias = "str | Sequence[tuple[str, Value]] | None"
ENVELOPES: dict[str, Soap] = {
    "http://schemas.xmlsoap.org/soap/envelope/": "1.1",
    "http://www.w3.org/2003/05/soap-envelope": "1.2",
}
CONTENT_TYPES: dict[Soap, str] = {
    "1.1": "text/xml; charset=utf-8",
    "1.2": "application/soap+xml; charset=utf-8",
}
_NAMESPACES = {soap: name for name, soap in ENVELOPES.items()}
_XSI_NIL = "http://www.w3.org/2001/XMLSchema-instance nil"
_MAX_DEPTH = 12
_MAX_ELEMENTS = 256
_MAX_ATTRIBUTES = 16  # of one element
_MAX_NAME = 256
_BAD_REFERENCE = expat.errors.codes[expat.errors.XML_ERROR_BAD_CHAR_REF]
_REFERENCE = re.compile(rb"&#(x[0-9a-fA-F]{1,8}|[0-9]{1,10});")
_ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = re.compile(r"[^\t\n\r\x20-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._-]+)", re.I)
_ACTION = re.compile(r"action\s*=\s*\"([^\"]*)\"", re.I)


class CallRefused(Exception):
    """A call that is not served. `http_status`, fault `code` (SOAP 1.2's word), `reason` (a machine word) and a
    text without anything that the caller sent."""

    def __init__(
        self,
        text: str,
        *,
        reason: str,
        soap: Soap = "1.1",
        code: str = "Sender",
        http_status: int | None = None,
    ) -> None:
        super().__init__(text)
        self.text, self.reason, self.soap, self.code = text, reason, soap, code
        # SOAP 1.1 sends every fault with 500; 1.2 says 400 where the sender is to blame.
        self.http_status = http_status or (400 if soap == "1.2" and code == "Sender" else 500)


@dataclass(frozen=True)
class SoapCall:
    """`fields`: element name → text, None for xsi:nil; of the operation and of the `Req` in it."""

    soap: Soap
    operation: str
    fields: dict[str, str | None]


def read_call(body: bytes, content_type: str, soap_action: str | None, namespace: str) -> SoapCall:
    """The one operation of `namespace` that the body calls.

    Raises CallRefused: 415 for another content type or encoding, 400 for what is no XML or hostile, a fault
    for what is no call of ours. Illegal character references (ASP.NET sends &#x1;) are read as U+FFFD.
    """
    soap = _version(content_type)
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in body[:64]:
        raise CallRefused("the body is not UTF-8", reason="encoding", soap=soap, http_status=415)
    try:
        reader = _read(body, soap, namespace)
    except expat.ExpatError as error:
        if error.code != _BAD_REFERENCE:
            raise _malformed(soap) from None
        try:
            reader = _read(_REFERENCE.sub(_legal, body), soap, namespace)
        except expat.ExpatError:
            raise _malformed(soap) from None
    action = soap_action if soap == "1.1" else _action_of(content_type)
    named = (action or "").strip().strip('"').rpartition("/")[2].rpartition(":")[2]
    if named and named != reader.operation:
        raise CallRefused("SOAPAction and body name different operations", reason="action", soap=soap)
    return SoapCall(soap, reader.operation, reader.fields)


@lru_cache(256)  # callers send the same few again and again
def _version(content_type: str) -> Soap:
    kind = content_type.partition(";")[0].strip().lower()
    soap = {"text/xml": "1.1", "application/soap+xml": "1.2"}.get(kind)
    charset = _CHARSET.search(content_type)
    if soap is None or (charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii")):
        raise CallRefused(
            "the content type must be text/xml (SOAP 1.1) or application/soap+xml (1.2), in UTF-8",
            reason="content_type",
            http_status=415,
        )
    return "1.1" if soap == "1.1" else "1.2"


def _action_of(content_type: str) -> str | None:
    match = _ACTION.search(content_type)
    return match[1] if match else None


def _malformed(soap: Soap) -> CallRefused:
    return CallRefused(
        "the body is not well-formed XML in UTF-8", reason="malformed", soap=soap, http_status=400
    )


def _legal(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    code = int(digits[1:], 16) if digits[:1] == b"x" else int(digits)
    legal = code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF and not _ILLEGAL.match(chr(code))
    return match[0] if legal else b"\xef\xbf\xbd"


def _read(body: bytes, soap: Soap, namespace: str) -> _Reader:
    parser = expat.ParserCreate("UTF-8", " ")
    reader = _Reader(soap, namespace)
    parser.buffer_text = True
    parser.XmlDeclHandler = reader.declaration
    parser.StartDoctypeDeclHandler = reader.document_type
    parser.ProcessingInstructionHandler = reader.instruction
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.Parse(body, True)
    if not reader.operation:
        raise CallRefused("the body calls no operation", reason="no_operation", soap=soap)
    return reader


class _Reader:
    """Envelope → Header?, Body → operation → (Req →)? fields. Anything else is refused where it begins."""

    def __init__(self, soap: Soap, namespace: str) -> None:
        self.soap = soap
        self.operation = ""
        self.fields: dict[str, str | None] = {}
        self._own = namespace + " "
        self._envelope = _NAMESPACES[soap] + " "
        self._path: list[str] = []
        self._elements = 0
        self._bodies = 0
        self._headers = 0
        self._field: list[str] | None = None  # the text of the field that is open
        self._nil = False

    def _refuse(
        self, text: str, reason: str, code: str = "Sender", http_status: int | None = None
    ) -> NoReturn:
        raise CallRefused(text, reason=reason, soap=self.soap, code=code, http_status=http_status)

    def declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.lower() not in ("utf-8", "us-ascii"):
            self._refuse("the body is not UTF-8", "encoding", http_status=415)

    def document_type(self, *_: Any) -> None:
        self._refuse("the body declares a document type; calls have none", "dtd", http_status=400)

    def instruction(self, *_: Any) -> None:
        self._refuse(
            "the body holds a processing instruction; calls have none", "instruction", http_status=400
        )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        path = self._path
        depth = len(path)
        if depth >= _MAX_DEPTH or self._elements > _MAX_ELEMENTS:
            self._refuse("the body holds too many elements or levels", "too_much", http_status=400)
        if (attributes and len(attributes) > _MAX_ATTRIBUTES) or len(name) > _MAX_NAME:
            self._refuse("an element has too many attributes or too long a name", "too_much", http_status=400)
        path.append(name)
        if depth == 0:
            self._root(name)
        elif depth == 1:
            self._part(name)
        elif path[1] == self._envelope + "Header":
            self._header(depth, attributes)
        elif depth == 2:
            if self.operation:
                self._refuse("the body calls more than one operation", "two_operations")
            if not name.startswith(self._own):
                self._refuse("the operation belongs to another namespace", "namespace")
            self.operation = name[len(self._own) :]
        elif depth == 3 or (depth == 4 and path[3] == self._own + "Req"):
            self._open(name, depth, attributes)
        else:
            self._refuse("a field holds elements", "nested_field")

    def _root(self, name: str) -> None:
        namespace, _, local = name.rpartition(" ")
        if local != "Envelope" or namespace not in ENVELOPES:
            self._refuse("the body is no SOAP envelope", "envelope", http_status=400)
        if ENVELOPES[namespace] != self.soap:
            self._refuse(
                "envelope and content type are of different SOAP versions", "version", "VersionMismatch"
            )

    def _part(self, name: str) -> None:
        if name == self._envelope + "Body" and not self._bodies:
            self._bodies = 1
        elif name == self._envelope + "Header" and not self._bodies and not self._headers:
            self._headers = 1
        else:
            self._refuse("an envelope has one header at most, then one body", "envelope")

    def _header(self, depth: int, attributes: dict[str, str]) -> None:
        if depth == 2 and attributes.get(self._envelope + "mustUnderstand") in ("1", "true"):
            self._refuse("a header that must be understood is not", "must_understand", "MustUnderstand")

    def _open(self, name: str, depth: int, attributes: dict[str, str]) -> None:
        if depth == 3 and name == self._own + "Req":
            return
        local = name[len(self._own) :] if name.startswith(self._own) else name
        if " " in local:
            self._refuse("a field belongs to another namespace", "namespace")
        if local in self.fields:
            self._refuse("a field is there twice", "twice")
        self._field = []
        self.fields[local] = ""
        self._nil = attributes.get(_XSI_NIL) in ("true", "1")

    def text(self, data: str) -> None:
        if self._field is not None:
            self._field.append(data)
        elif not data.isspace() and not (len(self._path) > 2 and self._path[1] == self._envelope + "Header"):
            self._refuse("there is text outside the fields", "stray_text")

    def end(self, name: str) -> None:
        self._path.pop()
        if self._field is not None:
            local = name[len(self._own) :] if name.startswith(self._own) else name
            text = "".join(self._field)
            self.fields[local] = None if self._nil and not text else text
            self._field = None


def render(soap: Soap, namespace: str, operation: str, result: Sequence[tuple[str, Value]]) -> bytes:
    """The answer `<operation>Response/<operation>Result` with `result`; None is left out, as ASMX does."""
    return (
        f'{_HEADS[soap]}<{operation}Response xmlns="{namespace}"><{operation}Result>{_elements(result)}'
        f"</{operation}Result></{operation}Response></soap:Body></soap:Envelope>"
    ).encode()


def render_fault(soap: Soap, code: str, text: str) -> bytes:
    """A fault. `code`: SOAP 1.2's words Sender, Receiver, MustUnderstand, VersionMismatch."""
    words = escape_text(text)
    if soap == "1.2":
        fault = (
            f"<soap:Code><soap:Value>soap:{code}</soap:Value></soap:Code>"
            f'<soap:Reason><soap:Text xml:lang="en">{words}</soap:Text></soap:Reason>'
        )
    else:
        code = {"Sender": "Client", "Receiver": "Server"}.get(code, code)
        fault = f"<faultcode>soap:{code}</faultcode><faultstring>{words}</faultstring>"
    return f"{_HEADS[soap]}<soap:Fault>{fault}</soap:Fault></soap:Body></soap:Envelope>".encode()


_HEADS = {
    soap: f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{name}" '
    f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soap:Body>'
    for soap, name in _NAMESPACES.items()
}


def escape_text(text: str) -> str:
    """Text as XML character data; what XML 1.0 cannot hold becomes U+FFFD."""
    return escape(_ILLEGAL.sub("\ufffd", text), quote=False) if _SPECIAL.search(text) else text


def _elements(parts: Sequence[tuple[str, Value]]) -> str:
    return "".join(
        f"<{name}>{escape_text(value) if isinstance(value, str) else _elements(value)}</{name}>"
        for name, value in parts
        if value is not None
    )
