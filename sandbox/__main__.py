"""`python -m sandbox --data DIR`: serve a carrier, generated first if asked for."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sandbox.captured import CAPTURED_NOW, write_captured
from sandbox.carrier import Carrier, generate
from sandbox.clock import iso, parse_moment
from sandbox.serving import BID, BILLER_GUID, SFTP_PASSWORD, SFTP_USER, WEB_SERVICE_KEY, Sandbox
from sandbox.wire_schema import INVOICING, MANAGEMENT, REPORTING

KEY_VARIABLE = "SANDBOX_WEB_SERVICE_KEY"
PASSWORD_VARIABLE = "SANDBOX_SFTP_PASSWORD"  # noqa: S105


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Exit code 2 when there is nothing to serve or a port is taken."""
    options = _parser().parse_args(arguments)
    stopped = _stop_event()
    try:
        now = _prepare(options)
        sandbox = Sandbox(
            options.data,
            host=options.host,
            port=options.port,
            sftp_port=options.sftp_port,
            biller_guid=options.biller_guid,
            key=os.environ.get(KEY_VARIABLE, WEB_SERVICE_KEY),
            now=options.now or now,
            state=options.data,
            dataset_offset=options.dataset_offset,
            sftp_password=os.environ.get(PASSWORD_VARIABLE, SFTP_PASSWORD),
            bid=options.bid,
            view_delay=timedelta(seconds=options.view_delay),
            empty=options.empty,
        )
        sandbox.start()
    except (FileNotFoundError, ValueError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(
            f"cannot listen on {options.host}:{options.port} and :{options.sftp_port}: {error.strerror}"
        )
    _announce(sandbox)
    stopped.wait()
    sandbox.stop()
    print("sandbox: stopped", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sandbox", description="An Invoice Cloud stand-in for loopback.")
    parser.add_argument(
        "--data", type=Path, required=True, help="the carrier's folder; uploads and SFTP files go there"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--sftp-port", type=int, default=8022)
    parser.add_argument("--biller-guid", default=BILLER_GUID)
    parser.add_argument("--bid", default=BID)
    parser.add_argument(
        "--view-delay", type=float, default=0, help="seconds until an upload shows in look-ups [0]"
    )
    parser.add_argument("--empty", action="store_true", help="InvoiceCloud has no invoices but uploaded ones")
    parser.add_argument(
        "--now", type=parse_moment, help="freeze the clock, ISO 8601 with zone [a carrier's close]"
    )
    parser.add_argument(
        "--dataset-offset", default="+00:00", help="the zone printed on DataSet times, e.g. =-06:00"
    )
    parser.add_argument(
        "--captured", action="store_true", help="serve the small carrier of the captured answers"
    )
    parser.add_argument("--generate", action="store_true", help="make a carrier in --data first")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--payments", type=int, help="[accounts x days / 20]")
    parser.add_argument("--images", type=int, help="PDFs for so many of the newest invoice events [none]")
    parser.add_argument("--close", type=parse_moment, default=parse_moment("2026-10-30T23:00:00Z"))
    return parser


def _prepare(options: argparse.Namespace) -> datetime | None:
    """Make the carrier if asked for; the moment to freeze the clock at, None for real time."""
    if options.captured:
        write_captured(options.data)
        return CAPTURED_NOW
    if options.generate:
        return generate(
            options.seed,
            options.accounts,
            options.days,
            options.close,
            options.data,
            payments=options.payments,
            images=options.images,
            bid=options.bid,
        ).close
    return Carrier.open(options.data).close if (options.data / "carrier.json").is_file() else None


def _announce(sandbox: Sandbox) -> None:
    for service in (REPORTING, INVOICING, MANAGEMENT):
        print(f"sandbox: SOAP    {sandbox.url}{service}.asmx?wsdl")
    print(f"sandbox: SFTP    {SFTP_USER}@{sandbox.host}:{sandbox.sftp_port} (root {sandbox.sftp_root})")
    print(f"sandbox: hostkey {sandbox.host_key_line}")
    print(f"sandbox: control {sandbox.url}_sandbox/ (faults, calls, clock, hook, health)")
    print(f"sandbox: clock   {iso(sandbox.exchange.cloud.clock.now())}", flush=True)


def _stop_event() -> threading.Event:
    """Set by SIGTERM and SIGINT."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _refuse(reason: str) -> int:
    print(f"sandbox: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
