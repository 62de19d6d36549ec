"""Reads the head of a proven answer: fault, result, Success flag, inline schema. No rows.

ASMX tells its errors in four ways: a soap:Fault, `Success=false` under HTTP 200, an extra table in a
DataSet, or an answer that has no result at all. None of them may look like an empty window.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from tasks.archive import safe_text
from tasks.errors import BadAnswer, CredentialError, IcflowsError, RequestRefused, ServerTrouble
from tasks.invoicecloud.catalogue import FormSpec

_HEAD_BYTES = 1 << 16
_XS = "{http://www.w3.org/2001/XMLSchema}"
_SOAP = {"http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"}
_STACK = re.compile(r"\s+at (?:[A-Za-z_][\w.<>`]*\.[\w.<>`]+ ?\(|\(wrapper)")
CREDENTIALS = re.compile(
    r"webservicekey|billerguid|unauthori[sz]ed|authenticat|credential|access denied", re.I
)
PASSING = re.compile(
    r"time-?out|timed out|deadlock|temporar|try again|unavailable|connection pool|busy", re.I
)


@dataclass(frozen=True)
class Head:
    """What the head says. `tables`: table → {column: xs type} of the inline schema (DataSet only)."""

    form: str
    tables: dict[str, dict[str, str]] = field(default_factory=dict)
    first_row_elements: frozenset[str] = frozenset()


def xml_name(column: str) -> str:
    """A column name as .NET writes it in XML: characters not allowed become _xHHHH_ (space: _x0020_)."""
    return re.sub(r"[^A-Za-z0-9_.-]", lambda match: f"_x{ord(match[0]):04X}_", column)


def local(tag: object) -> str:
    """Local name of an lxml tag; '' for comments and instructions."""
    return tag.rpartition("}")[2].rpartition(":")[2] if isinstance(tag, str) else ""


def namespace(tag: object) -> str:
    """Namespace of an lxml tag; '' if it has none."""
    return tag[1:].partition("}")[0] if isinstance(tag, str) and tag.startswith("{") else ""


def read_head(path: Path, spec: FormSpec, service: str) -> Head:
    """Checks that the answer is `spec.operation`'s and well. Raises the fitting error if it is not."""
    result = result_of(_parsed_head(head_bytes(path)), spec.operation, service)
    return _dataset(result, spec) if spec.rows.startswith("diffgram/") else _typed(result, spec)


def result_of(root: etree._Element, operation: str, service: str) -> etree._Element:
    """The result element of `operation` below an answer's root. Raises what a fault or another answer stands for."""
    if local(root.tag) != "Envelope" or namespace(root.tag) not in _SOAP:
        raise _not_an_envelope(root)
    body = child(root, "Body")
    if body is None:
        raise BadAnswer("the envelope has no body", reason="no_body")
    fault = child(body, "Fault")
    if fault is not None:
        raise judged_fault(_words(fault))
    response = child(body, f"{operation}Response")
    if response is None:
        found = [local(part.tag) for part in body]
        raise BadAnswer(
            f"the answer belongs to another operation: {safe_text(str(found), 80)}", reason="other_operation"
        )
    if not namespace(response.tag).rstrip("/").endswith(f"/{service}"):
        raise BadAnswer("the answer belongs to another service", reason="other_operation")
    results = [part for part in response if local(part.tag) == f"{operation}Result"]
    if len(results) != 1:
        words = "no result element; that is no empty report" if not results else "more than one result"
        raise BadAnswer(f"the answer has {words}", reason="no_result")
    return results[0]


def head_bytes(path: Path) -> bytes:
    """The first bytes of a body: enough for what stands before the rows."""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def fault_of(head: bytes) -> IcflowsError | None:
    """The error that a soap:Fault in the body stands for; None if there is no readable fault."""
    try:
        root = _parsed_head(head)
    except etree.XMLSyntaxError:
        return None
    body = child(root, "Body")
    fault = None if body is None else child(body, "Fault")
    return None if fault is None else judged_fault(_words(fault))


def _parsed_head(head: bytes) -> etree._Element:
    parser = etree.XMLPullParser(
        events=("start",), resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False
    )
    parser.feed(head)
    first: Any = next(iter(parser.read_events()), None)
    if first is None:
        raise BadAnswer("the answer has no element", reason="malformed")
    root: etree._Element = first[1].getroottree().getroot()
    return root


def _not_an_envelope(root: etree._Element) -> IcflowsError:
    if local(root.tag).lower() == "html":
        return CredentialError("the answer is a web page, most likely a login page", reason="login_page")
    return BadAnswer(
        f"the answer is no SOAP envelope but <{safe_text(local(root.tag), 40)}>", reason="wrong_envelope"
    )


def judged_fault(text: str) -> IcflowsError:
    """A fault by its words: wrong key → stop; time-out or deadlock → retry; anything else → stop."""
    # The stack trace names the operation's parameters, WebServiceKey among them: only the cause counts.
    cause = safe_text(_STACK.split(text.rsplit("--->", maxsplit=1)[-1])[0], 200)
    if CREDENTIALS.search(cause):
        return CredentialError(f"IC refused BillerGUID or WebServiceKey: {cause}")
    if PASSING.search(cause):
        return ServerTrouble(f"IC is in trouble: {cause}", reason="soap_fault")
    return RequestRefused(f"IC answered with a fault: {cause}", reason="soap_fault")


def _dataset(result: etree._Element, spec: FormSpec) -> Head:
    schema, diffgram = child(result, "schema"), child(result, "diffgram")
    if schema is None or diffgram is None:
        raise BadAnswer("the DataSet has no inline schema or no diffgram", reason="no_result")
    expected = spec.rows.split("/")[-1]
    tables = {
        str(table.get("name")): {
            str(c.get("name")): _type(c) for c in table.iter(f"{_XS}element") if c is not table
        }
        for table in schema.findall(f"{_XS}element/{_XS}complexType/{_XS}choice/{_XS}element")
    }
    unexpected = {local(child.tag) for part in diffgram for child in part} - {expected}
    unexpected |= set(tables) - {expected}
    if unexpected:
        names = safe_text(", ".join(sorted(unexpected)), 80)
        raise RequestRefused(
            f"the DataSet holds a table that is not of the contract: {names}", reason="error_table"
        )
    if expected not in tables:
        raise BadAnswer(f"the DataSet's schema has no table '{expected}'", reason="no_result")
    return Head("dataset", tables)


def _type(column: etree._Element) -> str:
    return str(column.get("type", "")).split(":")[-1]


def _typed(result: etree._Element, spec: FormSpec) -> Head:
    success = _text(result, "Success")
    if success is None:
        raise BadAnswer("the answer says neither success nor failure", reason="no_result")
    if success.strip().lower() not in ("true", "1"):
        words = safe_text(_text(result, "ErrorMessage") or "no message", 200)
        if CREDENTIALS.search(words):
            raise CredentialError(f"IC refused BillerGUID or WebServiceKey: {words}")
        kind = ServerTrouble if PASSING.search(words) else RequestRefused
        raise kind(f"IC answered Success=false: {words}", reason="success_false")
    container = child(result, spec.rows.split("/")[0])
    if container is None:
        raise BadAnswer(
            f"the answer has no <{spec.rows.split('/')[0]}>; that is no empty report", reason="no_result"
        )
    row_element = spec.rows.split("/")[-1]
    strange = {local(child.tag) for child in container if isinstance(child.tag, str)} - {row_element}
    if strange:
        names = safe_text(", ".join(sorted(strange)), 80)
        raise RequestRefused(
            f"the list holds elements that are not of the contract: {names}", reason="error_table"
        )
    first = container[0] if len(container) else ()
    return Head("soap", {}, frozenset(local(child.tag) for child in first))


def _words(element: etree._Element) -> str:
    """All text below an element, white space folded."""
    return " ".join("".join(str(text) for text in element.itertext()).split())


def child(parent: etree._Element, name: str) -> etree._Element | None:
    """The first child of that local name."""
    return next((part for part in parent if local(part.tag) == name), None)


def _text(parent: etree._Element, name: str) -> str | None:
    found = child(parent, name)
    return None if found is None else found.text or ""
