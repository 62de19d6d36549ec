"""`icflows serve`: the Data Pump receiver and real-time balances, until Ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Config, Json
from cli.show import OK, console, emit_json
from tasks.errors import SettingsError
from tasks.settings import load_settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [service.host].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port [service.port]; 0 takes a free one.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Answer InvoiceCloud's own calls: payments pushed by the Data Pump, and what is owed now (RTDR)."""
    settings = load_settings(config)
    served = sorted(name for name, biller in settings.billers.items() if biller.inbound)
    if not served:
        known = ", ".join(f"[billers.{name}.inbound]" for name in sorted(settings.billers))
        raise SettingsError(f"no biller in {settings.file} takes calls; add {known} with keys")
    from services.server import serve as run  # the web framework costs 0.4 s

    def listening(url: str) -> None:
        if as_json:
            emit_json({"url": url, "billers": served})
        else:
            console.print(f"listening on {url} for {', '.join(served)}; Ctrl-C ends it", markup=False)

    run(settings, host, port, ready=listening)
    return OK


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(serve)
