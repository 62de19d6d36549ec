"""SOAP 1.1 and 1.2 as an ASP.NET server speaks it: envelopes, faults, reading a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from lxml import etree

from sandbox.render import escape_text
from sandbox.wire_schema import FLAT, NAMESPACE, SERVICES

Version = Literal["1.1", "1.2"]
ENVELOPE: dict[str, str] = {
    "1.1": "http://schemas.xmlsoap.org/soap/envelope/",
    "1.2": "http://www.w3.org/2003/05/soap-envelope",
}
CONTENT_TYPE: dict[str, str] = {
    "1.1": "text/xml; charset=utf-8",
    "1.2": "application/soap+xml; charset=utf-8",
}
CLOSING = b"</soap:Body></soap:Envelope>"
_UNREADABLE = (
    "System.Web.Services.Protocols.SoapException: Server was unable to read request. "
    "---> System.InvalidOperationException: There is an error in XML document."
)


class SoapRefusal(Exception):
    """A request that ends in a soap:Fault. `who` is Client or Server; the text is the fault string."""

    def __init__(self, who: Literal["Client", "Server"], text: str) -> None:
        super().__init__(text)
        self.who = who
        self.text = text


@dataclass(frozen=True)
class Call:
    """A read request: the operation, the SOAP version to answer in, and its parameters as text."""

    operation: str
    version: Version
    parameters: dict[str, str] = field(repr=False)


def opening(version: str) -> bytes:
    """Everything before the content of soap:Body."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<soap:Envelope xmlns:soap="{ENVELOPE[version]}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soap:Body>'
    ).encode()


def envelope(version: str, content: str) -> bytes:
    """`content` (already XML) inside an envelope."""
    return opening(version) + content.encode() + CLOSING


def fault(version: str, who: str, text: str) -> bytes:
    """A complete fault answer; in 1.2 Client and Server are called Sender and Receiver."""
    shown = escape_text(text)
    if version == "1.1":
        inner = f"<faultcode>soap:{who}</faultcode><faultstring>{shown}</faultstring><detail />"
    else:
        code = {"Client": "Sender", "Server": "Receiver"}[who]
        inner = (
            f"<soap:Code><soap:Value>soap:{code}</soap:Value></soap:Code>"
            f'<soap:Reason><soap:Text xml:lang="en">{shown}</soap:Text></soap:Reason><soap:Detail />'
        )
    return envelope(version, f"<soap:Fault>{inner}</soap:Fault>")


def application_fault(service: str, operation: str, message: str) -> SoapRefusal:
    """The fault of an exception thrown inside a web method, stack trace and all, as ASP.NET prints it."""
    return SoapRefusal(
        "Server",
        "System.Web.Services.Protocols.SoapException: Server was unable to process request. ---> "
        f"System.ApplicationException: {message}\n  at {service}.{operation} \n"
        "   --- End of inner exception stack trace ---",
    )


def soap_version(content_type: str) -> Version:
    """1.2 for application/soap+xml, else 1.1."""
    return "1.2" if content_type.lower().lstrip().startswith("application/soap+xml") else "1.1"


def requested_operation(service: str, content_type: str, soap_action: str | None) -> str:
    """The operation that the SOAPAction header (1.1) or the action parameter (1.2) names."""
    action = soap_action
    if soap_version(content_type) == "1.2":
        found = re.search(r'action\s*=\s*"?([^";]+)"?', content_type)
        action = found.group(1) if found else None
    if not action:
        raise SoapRefusal(
            "Client",
            "System.Web.Services.Protocols.SoapException: Unable to handle request without a valid "
            "action parameter. Please supply a valid soap action.",
        )
    action = action.strip().strip('"')
    space, _, name = action.rpartition("/")
    if f"{space}/" != NAMESPACE.format(service=service) or SERVICES.get(name) != service:
        raise SoapRefusal(
            "Client",
            "System.Web.Services.Protocols.SoapException: Server did not recognize the value of "
            f"HTTP Header SOAPAction: {action}.",
        )
    return name


def read_request(service: str, operation: str, version: Version, body: bytes) -> Call:
    """Read a request's parameters. No DTD, no entities, no network; SoapRefusal when unreadable."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise SoapRefusal("Client", _UNREADABLE) from error
    if _has_doctype(root) or root.tag != f"{{{ENVELOPE[version]}}}Envelope":
        raise SoapRefusal("Client", _UNREADABLE)
    space = "{" + NAMESPACE.format(service=service) + "}"
    holder = root.find(f"{{{ENVELOPE[version]}}}Body/{space}{operation}")
    if holder is not None and operation not in FLAT:
        holder = holder.find(f"{space}Req")
    found = {} if holder is None else {_local(child.tag): child.text or "" for child in holder}
    return Call(operation, version, found)


def _has_doctype(root: etree._Element) -> bool:
    return root.getroottree().docinfo.internalDTD is not None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
