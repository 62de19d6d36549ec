"""What InvoiceCloud's calls need: keys, certificate, the running service, its store, the hand-over folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from cli.finding import Finding
from ops.service import address
from tasks.errors import IcflowsError
from tasks.settings import Inbound, Settings, secret

_SECONDS = 3
_SILENT = timedelta(minutes=2)


def service(settings: Settings) -> Iterator[Finding]:
    """The service as a whole, if any biller takes calls."""
    if not any(biller.inbound for biller in settings.billers.values()):
        return
    own = settings.service
    if own.certificate and not os.access(own.certificate, os.R_OK):
        yield Finding(
            "service: TLS", "fail", f"{own.certificate} cannot be read", "correct [service] certificate"
        )
    elif own.certificate is None and own.host not in ("127.0.0.1", "::1", "localhost"):
        cure = "add certificate and certificate_key to [service]"
        yield Finding("service: TLS", "fail", f"{own.host} without a certificate; it does not start", cure)
    yield _answers(settings)


def _answers(settings: Settings) -> Finding:
    """Asked where it listens, not where the world sees it: a proxy may stand in between."""
    own = settings.service
    url = f"{'https' if own.certificate else 'http'}://{own.host}:{own.port}"
    try:
        with warnings.catch_warnings():  # the certificate names the public host, not this address
            warnings.simplefilter("ignore")
            answer = requests.get(f"{url}/health", timeout=_SECONDS, allow_redirects=False, verify=False)  # noqa: S501
    except requests.RequestException as error:
        words = f"{url} does not answer ({type(error).__name__})"
        return Finding("service", "warn", words, "icflows serve (or make up)")
    if answer.status_code != 200:
        return Finding("service", "fail", f"{url} answers HTTP {answer.status_code}", "its log tells why")
    return Finding("service", "ok", f"{url} answers; InvoiceCloud's address is {address(settings)}")


def inbound(settings: Settings, name: str) -> Iterator[Finding]:
    """The way in of one biller."""
    biller = settings.biller(name)
    if biller.inbound is None:
        words = "no [inbound]: the Data Pump and RTDR are refused"
        yield Finding(f"{name}: calls of IC", "warn", words, f"add [billers.{name}.inbound] with keys")
        return
    yield _keys(name, biller.inbound)
    yield from _fields(settings, name)
    yield _handover(name, biller.inbound)
    if (settings.folder("service") / "service.db").exists() or settings.service.database:
        yield from _store(settings, name)


def _keys(name: str, own: Inbound) -> Finding:
    what = f"{name}: keys for IC"
    try:
        for key in own.keys:
            secret(key)
    except IcflowsError as error:
        return Finding(what, "fail", str(error), f"set what [billers.{name}.inbound] keys names")
    return Finding(what, "ok", f"{', '.join(own.keys)} resolve")


def _fields(settings: Settings, name: str) -> Iterator[Finding]:
    """A wrong map would otherwise show at the start of the service."""
    from tasks.inbound.fields import push_fields

    try:
        push_fields(settings, name, "payments")
    except IcflowsError as error:
        cure = f"correct [billers.{name}.inbound] push_fields"
        yield Finding(f"{name}: fields of pushes", "fail", str(error), cure)


def _handover(name: str, own: Inbound) -> Finding:
    what = f"{name}: hand-over to IMT"
    if own.handover is None:
        cure = f"add handover to [billers.{name}.inbound], a folder that IMT imports from"
        return Finding(what, "warn", "no handover folder: pushed payments do not reach IMT", cure)
    there = next(folder for folder in (own.handover, *own.handover.parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            what, "fail", f"{there} is not writable", "give the account that runs icflows the right"
        )
    return Finding(what, "ok", f"{own.handover}, {own.handover_format}")


def _store(settings: Settings, name: str) -> Iterator[Finding]:
    from tasks.inbound.overview import overview  # SQLAlchemy: 0.2 s

    what = f"{name}: pushes"
    try:
        found = overview(settings, name)
    except IcflowsError as error:
        yield Finding(what, "fail", str(error), "see the runbook, The service")
        return
    refused = [f["file"] for f in found["files"] if f["state"] == "refused"]
    words = f"{found['payments']['received']} received, {found['waiting_for_imt']['payments']} not acknowledged by IMT"
    cure = f"icflows pushes --biller {name}" if refused else ""
    yield Finding(what, "warn" if refused else "ok", words, cure)
    yield _freshness(settings, name, found)


def _freshness(settings: Settings, name: str, found: dict[str, Any]) -> Finding:
    what, known = f"{name}: balances", found["known_as_of"]
    own = settings.biller(name).inbound
    cure = f"icflows load invoices FILE --biller {name}; it refreshes them"
    if known is None or own is None:
        return Finding(what, "warn", "IMT was never heard: RTDR answers no balance", cure)
    if datetime.now(UTC) - known > timedelta(minutes=own.stale_minutes):
        words = f"IMT was last heard {known:%Y-%m-%d %H:%M} UTC: RTDR answers that it does not know"
        return Finding(what, "warn", words, cure)
    return Finding(what, "ok", f"IMT was last heard {known:%Y-%m-%d %H:%M} UTC")


def seen_serving(settings: Settings, name: str, at: datetime, what: str) -> tuple[bool, str]:
    """For the cutover: does the service live, and was it (`pump`) pushed to, or (`rtdr`) is it fresh?"""
    biller = settings.biller(name)
    if biller.inbound is None:
        return False, f"there is no [billers.{name}.inbound]"
    if not _has_store(settings):
        return False, "icflows serve never ran"
    from tasks.inbound.overview import overview

    found = overview(settings, name)
    alive = found["alive_at"]
    if alive is None or at - alive > _SILENT:
        return False, "icflows serve does not run" + (f" since {alive:%Y-%m-%d %H:%M} UTC" if alive else "")
    if what == "pump":
        last = found["payments"]["last_received"]
        return (
            last is not None,
            f"the last push came {last:%Y-%m-%d %H:%M} UTC" if last else "it lives; nothing was pushed yet",
        )
    known = found["known_as_of"]
    fresh = known is not None and at - known <= timedelta(minutes=biller.inbound.stale_minutes)
    words = f"IMT was last heard {known:%Y-%m-%d %H:%M} UTC" if known else "IMT was never heard"
    return fresh, f"it lives; {words}"


def _has_store(settings: Settings) -> bool:
    file: Path = settings.folder("service") / "service.db"
    return bool(settings.service.database) or file.exists()
