"""An answer on its way out, and the words of a refusal in the caller's own form: JSON, XML of a form post, SOAP."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from tasks.invoicecloud.call import CONTENT_TYPES, Soap, escape_text, render_fault

Headers = tuple[tuple[bytes, bytes], ...]
JSON = "application/json"
_NO_STORE = (b"cache-control", b"no-store")  # a balance is true at its moment
XML = "text/xml; charset=utf-8"


class Refused(Exception):
    """A request that is not served. `words` name fields and limits, never values; `kind` is for the log;
    "" for what is no trouble."""

    def __init__(self, status: int, words: str, kind: str, headers: Headers = ()) -> None:
        super().__init__(words)
        self.status, self.words, self.kind, self.headers = status, words, kind, headers


class Gone(Exception):
    """The caller went away before its request was whole: nobody is left to answer."""


@dataclass(slots=True)
class Reply:
    """What is sent. `close`: the connection ends with it, because the request was not read to its end."""

    status: int
    content_type: str
    body: bytes
    headers: Headers = ()
    close: bool = False


@dataclass(slots=True)
class Visit:
    """One request. `biller` and `prefix` ("/k/<key>" if the key came in the path) are set once it is let in."""

    scope: Scope
    receive: Receive
    headers: dict[bytes, bytes]
    started: float  # perf_counter
    biller: str = ""
    prefix: str = ""

    def header(self, name: bytes) -> str:
        """A header's value, "" if it was not sent."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def content_type(self) -> str:
        return self.header(b"content-type")

    def has_body(self) -> bool:
        """Whether more than a head is on its way."""
        return b"transfer-encoding" in self.headers or self.headers.get(b"content-length", b"0") != b"0"


Voice = Callable[[Visit, Refused], Reply]


def as_json(status: int, content: dict[str, Any], headers: Headers = ()) -> Reply:
    """A JSON answer; money is text in it already."""
    return Reply(status, JSON, json.dumps(content, ensure_ascii=False).encode(), (_NO_STORE, *headers))


def as_result(status: int, parts: list[tuple[str, str]], headers: Headers = ()) -> Reply:
    """The XML that answers a form post."""
    inner = "".join(f"<{name}>{escape_text(text)}</{name}>" for name, text in parts)
    body = f'<?xml version="1.0" encoding="utf-8"?><Result>{inner}</Result>'.encode()
    return Reply(status, XML, body, headers)


def json_voice(_visit: Visit, refused: Refused) -> Reply:
    """A refusal as JSON."""
    return as_json(refused.status, {"error": refused.words}, refused.headers)


def post_voice(visit: Visit, refused: Refused) -> Reply:
    """A refusal for an address that takes forms and JSON: JSON for those who sent it."""
    if is_json(visit.content_type):
        return json_voice(visit, refused)
    return as_result(refused.status, [("Success", "false"), ("ErrorMessage", refused.words)], refused.headers)


def soap_voice(visit: Visit, refused: Refused) -> Reply:
    """A refusal as a SOAP fault of the caller's version."""
    soap: Soap = "1.2" if visit.content_type.lower().startswith("application/soap+xml") else "1.1"
    code = "Receiver" if refused.status >= 500 else "Sender"
    return Reply(
        refused.status, CONTENT_TYPES[soap], render_fault(soap, code, refused.words), refused.headers
    )


def is_json(content_type: str) -> bool:
    """Whether a body calls itself JSON."""
    return content_type.partition(";")[0].strip().lower() == JSON


async def send_reply(send: Send, reply: Reply) -> None:
    """Sends it whole, with its length."""
    headers = [
        (b"content-type", reply.content_type.encode("latin-1")),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    if reply.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
