"""A sandbox with the captured carrier, and a plain HTTP caller that shows raw bytes."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.captured import CAPTURED_NOW, write_captured
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
