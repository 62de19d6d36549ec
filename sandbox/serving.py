"""The whole sandbox as one object: HTTP, SFTP, faults, clock. Used by tests and by `python -m sandbox`."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox.clock import SandboxClock
from sandbox.exchange import Exchange
from sandbox.faults import Fault
from sandbox.faults.box import ANY
from sandbox.imports import InvoiceImport
from sandbox.invoicecloud import InvoiceCloud
from sandbox.server import SandboxServer
from sandbox.sftp_server import SftpServer, public_line
from sandbox.store import CarrierData
from sandbox.uploads import UploadBox

BILLER_GUID = "11111111-2222-3333-4444-555555555555"
WEB_SERVICE_KEY = "sandbox-key"
BID = "1234"
SFTP_USER = "sandbox"
SFTP_PASSWORD = "sandbox-password"  # noqa: S105


class Sandbox:
    """An Invoice Cloud stand-in on loopback; a context manager. Port 0 takes a free one.

    `carrier` is a folder of Parquet tables (sandbox/README.md). `state` keeps uploads, the SFTP
    root and the host key; without it a temporary folder is used and removed. `now` freezes the
    clock. `dataset_offset` is printed on DataSet times in place of +00:00, the clock reading
    staying GMT, as some ASP.NET servers do. Uploads must bear `bid`; what they change can be seen
    `view_delay` later by the sandbox's clock. `empty` leaves the carrier's invoices out of InvoiceCloud,
    so that it has what was uploaded and nothing else.
    """

    def __init__(
        self,
        carrier: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        sftp_port: int | None = 0,
        biller_guid: str = BILLER_GUID,
        key: str = WEB_SERVICE_KEY,
        now: datetime | None = None,
        state: Path | None = None,
        dataset_offset: str = "+00:00",
        sftp_user: str = SFTP_USER,
        sftp_password: str = SFTP_PASSWORD,
        bid: str = BID,
        view_delay: timedelta = timedelta(0),
        empty: bool = False,
    ) -> None:
        data = CarrierData(carrier)
        # mkdtemp, not TemporaryDirectory: it leaves nothing open when a port is taken below.
        self._temporary = None if state else Path(tempfile.mkdtemp(prefix="sandbox-"))
        self.state = state or self._temporary or carrier
        clock = SandboxClock(now)
        imports = InvoiceImport(clock, UploadBox(self.state / "uploads"), bid, view_delay, empty)
        cloud = InvoiceCloud(data, clock, imports, biller_guid, key, dataset_offset)
        self.exchange = Exchange(cloud)
        try:
            self._server = SandboxServer((host, port), self.exchange)
        except OSError:
            self._remove_temporary()
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="sandbox-http", daemon=True
        )
        self._sftp = (
            None if sftp_port is None else SftpServer(self.state, host, sftp_port, sftp_user, sftp_password)
        )

    def start(self) -> Self:
        """Listen on both ports. OSError when the SFTP port is taken; HTTP is then closed again."""
        self._thread.start()
        try:
            if self._sftp is not None:
                self._sftp.start()
        except OSError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End waits, connections and threads."""
        self._server.stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
        if self._sftp is not None:
            self._sftp.stop()
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """The bound address."""
        return str(self._server.server_address[0])

    @property
    def port(self) -> int:
        """The HTTP port."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Base URL with trailing slash; the .asmx files lie under it."""
        return f"http://{self.host}:{self.port}/"

    @property
    def sftp_port(self) -> int:
        """The SFTP port (0 when there is no SFTP server)."""
        return self._sftp.port if self._sftp else 0

    @property
    def sftp_root(self) -> Path:
        """The folder that SFTP users see as `/`."""
        return self.state / "sftp"

    @property
    def uploads(self) -> Path:
        """The folder of uploaded invoice files."""
        return self.state / "uploads"

    @property
    def host_key_line(self) -> str:
        """`ssh-ed25519 AAAA...`, for pinning."""
        return public_line(self._sftp.key) if self._sftp else ""

    @property
    def client_key_path(self) -> Path:
        """A private key that the SFTP server accepts."""
        return self.state / "sftp_client_key"

    def fault(self, kind: str, *, operation: str = ANY, times: int = 1, **args: Any) -> None:
        """Switch a fault on for the next `times` calls of `operation` (-1: until cleared)."""
        self._server.control.add_fault(Fault(kind, operation, times, args))

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self.exchange.faults.clear()

    def clock(self, now: datetime | None) -> None:
        """Freeze the clock at `now` (aware); None lets it run."""
        self.exchange.cloud.clock.set(now)

    def imported(self) -> list[dict[str, Any]]:
        """Every record that came in an upload: receipt_id, file_name, line_no, record_type, invoice_number,
        account_number, total_amount_due, balance_due (Decimal), accepted, message, at."""
        return self.exchange.cloud.imports.imported(self.exchange.cloud.data)

    def quirk(self, invoice_number: str, quirk: str, message: str = "") -> None:
        """`reject`: the invoice's records are refused; `keep_open`: its recall is taken and changes nothing."""
        self.exchange.cloud.imports.quirk(self.exchange.cloud.data, invoice_number, quirk, message)

    @property
    def view_delay(self) -> timedelta:
        """So long a change by upload cannot be seen."""
        return self.exchange.cloud.imports.view_delay

    @view_delay.setter
    def view_delay(self, delay: timedelta) -> None:
        self.exchange.cloud.imports.view_delay = delay

    def calls(self) -> list[dict[str, Any]]:
        """All answered calls: operation, soap, window, status, fault, at."""
        return self.exchange.log.calls()

    def hooks(self) -> list[Any]:
        """All alerts posted to /_sandbox/hook."""
        return self.exchange.log.hooks()

    @property
    def baited(self) -> int:
        """How often the URL that only external entities name was fetched."""
        return self.exchange.log.baited


@contextmanager
def serve(
    data: Path, host: str = "127.0.0.1", port: int = 0, sftp_port: int | None = 0, **options: Any
) -> Iterator[Sandbox]:
    """`with serve(folder) as sandbox:`; the options are those of `Sandbox`."""
    with Sandbox(data, host=host, port=port, sftp_port=sftp_port, **options) as sandbox:
        yield sandbox
