"""The service that InvoiceCloud calls, as a child of `make up`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ops.processes import Child, listens
from tasks.errors import SettingsError
from tasks.settings import Settings

START_SECONDS = 30
SANDBOX_KEY = "sandbox-inbound-key"


def start_service(settings: Settings, stack: ExitStack, say: Callable[[str], None]) -> list[Child]:
    """`icflows serve` where [service] says, if a biller takes calls; ended with `stack`. Raises Stop, SettingsError.

    A key that is not set (`env:NAME`) is set to the sandbox's, on loopback alone.
    """
    billers = [biller for biller in settings.billers.values() if biller.inbound]
    if not billers:
        return []
    service = settings.service
    if service.port == 0:
        raise SettingsError("[service] port = 0: name a port, so that the service can be found")
    if listens(service.port):
        say(f"service   port {service.port} is in use; it is left as it is")
        return []
    if service.host in ("127.0.0.1", "::1", "localhost"):
        for reference in (key for biller in billers if biller.inbound for key in biller.inbound.keys):
            kind, _, name = reference.partition(":")
            if kind == "env":
                os.environ.setdefault(name, SANDBOX_KEY)
    log = settings.file.parent / "var" / "service.log"
    arguments = [sys.executable, "-m", "services", "--config", str(settings.file)]
    child = Child("icflows serve", arguments, dict(os.environ), log)
    stack.callback(child.stop, 15)
    child.wait_until(lambda: listens(service.port), START_SECONDS)
    say(f"service   {address(settings)} (its log is {Path(log)})")
    return [child]


def address(settings: Settings) -> str:
    """Where InvoiceCloud finds the service: [service] public_url, else host and port."""
    service = settings.service
    scheme = "https" if service.certificate else "http"
    return (service.public_url or f"{scheme}://{service.host}:{service.port}").rstrip("/")
