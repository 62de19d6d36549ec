"""A sandbox with the captured carrier, a plain HTTP caller that shows raw bytes, and one that uploads files."""

from __future__ import annotations

import base64
import http.client
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.bif import FIELDS
from sandbox.captured import CAPTURED_NOW, write_captured
from sandbox.serving import BILLER_GUID
from sandbox.wire_schema import NAMESPACE, SERVICES

WIRE = Path(__file__).parent.parent / "data" / "wire"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer as it came over the socket."""

    status: int
    headers: dict[str, str]
    body: bytes


class Caller:
    """Posts captured requests to a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def headers(self, operation: str, version: str = "1.1") -> dict[str, str]:
        action = NAMESPACE.format(service=SERVICES[operation]) + operation
        if version == "1.2":
            return {"Content-Type": f'application/soap+xml; charset=utf-8; action="{action}"'}
        return {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'}

    def post(
        self, operation: str, version: str = "1.1", body: bytes | None = None, timeout: float = 20
    ) -> Reply:
        """One call on a fresh connection; the body is the captured request unless given."""
        content = captured_request(operation, version) if body is None else body
        with closing(
            http.client.HTTPConnection(self.sandbox.host, self.sandbox.port, timeout=timeout)
        ) as line:
            line.request("POST", f"/{SERVICES[operation]}.asmx", content, self.headers(operation, version))
            answer = line.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def get(self, path: str) -> Reply:
        """A GET on a fresh connection."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Any request on a fresh connection."""
        with closing(
            http.client.HTTPConnection(self.sandbox.host, self.sandbox.port, timeout=20)
        ) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


class Uploader:
    """Writes Biller Invoice Files, uploads them and looks invoices up."""

    def __init__(self, caller: Caller) -> None:
        self.caller, self.sandbox = caller, caller.sandbox

    @staticmethod
    def line(kind: str, number: str, total: str = "0.00", **fields: str) -> str:
        """A record; fields by their names in the file."""
        given = {
            "RecordType": kind, "AccountNumber": "0012345", "InvoiceNumber": number,
            "InvoiceDate": "2026-11-01", "InvoiceDueDate": "2026-11-20", "TotalAmountDue": total,
            "BalanceDue": total, "AllowPartialPayments": "Y", "CustomerName": '"Ann ""Ace"" | Co"',
        }  # fmt: skip
        return "|".join((given | fields).get(name, "") for name in FIELDS)

    @staticmethod
    def bif(*lines: str, bid: str = "1234") -> bytes:
        """A file with right totals."""
        kinds = [text.split("|")[0] for text in lines]
        counts = [len(lines), *(kinds.count(kind) for kind in "ARD")]
        sums = [sum(Decimal(text.split("|")[place]) for text in lines) for place in (8, 9)]
        head = f"HDR|1|{bid}|{BILLER_GUID}|F-1|2026-11-10T00:00:00+0000"
        tail = "|".join(["TRL", "F-1", *map(str, [*counts, *sums])])
        return "".join(f"{text}\r\n" for text in (head, *lines, tail)).encode()

    def send(self, *lines: str, bid: str = "1234") -> str:
        """The answer to the upload of a file with these records."""
        return self.send_file(self.bif(*lines, bid=bid))

    def send_file(self, content: bytes) -> str:
        """The answer to the upload of a file."""
        request = captured_request("UploadInvoice").replace(b"ZXhhbXBsZQo=", base64.b64encode(content))
        return self.caller.post("UploadInvoice", body=request).body.decode()

    def view(self, number: str) -> dict[str, str]:
        """The fields of a look-up."""
        operation = "ViewInvoiceByInvoiceNumber"
        request = captured_request(operation).replace(b">NOPE<", f">{number}<".encode())
        answer = self.caller.post(operation, body=request.replace(b">INV-0001<", f">{number}<".encode()))
        return dict(re.findall(r"<(\w+)>([^<]*)</\1>", answer.body.decode()))

    @staticmethod
    def told(answer: str) -> tuple[str, str, list[tuple[str, str, str]]]:
        """Accepted, rejected, and (line, invoice, message) of the line errors."""
        fields = dict(re.findall(r"<(\w+)>([^<]*)</\1>", answer))
        one = r"<LineNumber>(\d+)</LineNumber><InvoiceNumber>(.*?)</InvoiceNumber><Message>(.*?)<"
        return fields["RecordsAccepted"], fields["RecordsRejected"], re.findall(one, answer)


def captured_request(operation: str, version: str = "1.1") -> bytes:
    """The captured request; where only 1.1 was captured, the same with the 1.2 envelope."""
    path = WIRE / f"{operation}.soap{version.replace('.', '')}.request.xml"
    if path.is_file():
        return path.read_bytes()
    old, new = b"http://schemas.xmlsoap.org/soap/envelope/", b"http://www.w3.org/2003/05/soap-envelope"
    return (WIRE / f"{operation}.soap11.request.xml").read_bytes().replace(old, new)


@pytest.fixture
def wire() -> Path:
    """The folder of captured requests and answers."""
    return WIRE


@pytest.fixture
def captured(tmp_path: Path) -> Iterator[Sandbox]:
    """A fresh sandbox with the captured data."""
    with Sandbox(write_captured(tmp_path / "carrier"), now=CAPTURED_NOW, sftp_port=None) as sandbox:
        yield sandbox


@pytest.fixture
def caller(captured: Sandbox) -> Caller:
    """Calls the `captured` sandbox."""
    return Caller(captured)


@pytest.fixture
def uploader(caller: Caller) -> Uploader:
    """Uploads to the `captured` sandbox."""
    return Uploader(caller)
