"""The HTTP server: three .asmx services and the control endpoint, on the standard library alone."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from email.utils import format_datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.answer import Answer, html
from sandbox.control import Control
from sandbox.exchange import Exchange
from sandbox.faults import CLOCK_AHEAD, TRANSPORT_KINDS
from sandbox.line import Line
from sandbox.wire_schema import INVOICING, MANAGEMENT, REPORTING

SERVICES_BY_PATH = {f"/{name}.asmx".lower(): name for name in (REPORTING, INVOICING, MANAGEMENT)}
MAX_REQUEST_BYTES = 256 * 1024 * 1024
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?")


class SandboxServer(ThreadingHTTPServer):
    """Holds what the handlers share."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], exchange: Exchange) -> None:
        super().__init__(address, Handler)
        self.exchange = exchange
        self.control = Control(exchange)
        self.stopping = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """One connection. Nothing is printed: a request's body holds a key."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SandboxServer
    _ahead = 0.0

    def version_string(self) -> str:
        """The Server header."""
        return "Microsoft-IIS/10.0"

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
        """The Date header: the sandbox's clock, plus a fault's offset."""
        now = self.server.exchange.cloud.clock.now() + timedelta(seconds=self._ahead)
        return format_datetime(now, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:
        """No access log."""

    def do_GET(self) -> None:
        """WSDLs, the services' help page, and the control endpoint."""
        self._answer_plain(b"")

    def do_DELETE(self) -> None:
        """The control endpoint."""
        self._answer_plain(b"")

    def do_POST(self) -> None:
        """SOAP calls and the control endpoint."""
        body = self._body()
        if body is None:
            return
        service = SERVICES_BY_PATH.get(urlsplit(self.path).path.lower())
        if service is None:
            self._answer_plain(body)
            return
        kind, action = self.headers.get("Content-Type", ""), self.headers.get("SOAPAction")
        answer, fault = self.server.exchange.answer(service, kind, action, body, self._base())
        line = Line(self, self.server.stopping)
        self._ahead = fault.args.get("seconds", 7_200) if fault and fault.kind == CLOCK_AHEAD else 0.0
        self._guarded(line, answer, fault.kind if fault else "", fault.args if fault else {})

    def _guarded(self, line: Line, answer: Answer, kind: str, args: dict[str, object]) -> None:
        """Send; a caller that hung up is no event here."""
        try:
            if kind in TRANSPORT_KINDS:
                TRANSPORT_KINDS[kind](line, answer, args)
            else:
                line.send(answer)
        except OSError:
            self.close_connection = True

    def _answer_plain(self, body: bytes) -> None:
        url = urlsplit(self.path)
        service = SERVICES_BY_PATH.get(url.path.lower())
        if url.path.startswith("/_sandbox/"):
            answer = self.server.control.answer(self.command, url.path, body)
        elif service and url.query.lower() == "wsdl":
            answer = Answer([wsdl(service, self._base())])
        elif service:
            answer = html(
                f'<html><body><h1>{service}</h1><a href="?wsdl">Service Description</a></body></html>'
            )
        else:
            answer = html("<html><body>404 - not found</body></html>", 404)
        self._ahead = 0.0
        self._guarded(Line(self, self.server.stopping), answer, "", {})

    def _base(self) -> str:
        """The URL that the caller used; an unfit Host header is replaced by the bound address."""
        host = self.headers.get("Host", "")
        if not _HOST.fullmatch(host):
            host = "{}:{}".format(*self.server.server_address[:2])
        return f"http://{host}"

    def _body(self) -> bytes | None:
        """The request's body; answers 411 or 413 itself and gives None."""
        length = self.headers.get("Content-Length", "")
        if length.isdigit() and int(length) <= MAX_REQUEST_BYTES:
            return self.rfile.read(int(length))
        self.close_connection = True
        status = 413 if length.isdigit() else 411
        self._guarded(
            Line(self, self.server.stopping), html("<html><body>Bad length</body></html>", status), "", {}
        )
        return None


@cache
def _wsdl_text(service: str) -> str:
    return (Path(__file__).parent / "wsdl" / f"{service}.wsdl").read_text(encoding="utf-8")


def wsdl(service: str, base: str) -> bytes:
    """A service's WSDL whose addresses lie under `base` (no trailing slash)."""
    return _wsdl_text(service).replace("http://127.0.0.1:8090", base).encode()
