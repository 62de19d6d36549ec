"""Looks at everything that a run needs: settings, keys, storage, IC, SFTP, Prefect. One finding each."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import requests

from cli.doctor_inbound import inbound, service
from cli.doctor_outbound import outbound
from cli.doctor_work import finance
from cli.finding import Finding
from tasks.errors import IcflowsError, StagingBusy
from tasks.invoicecloud.catalogue import feed_names
from tasks.invoicecloud.client import service_url, wsdl_path
from tasks.pull import staging_of
from tasks.settings import Biller, Settings, alert_urls, load_settings, secret

_LEAST_FREE = 5 * 1024**3
_SECONDS = 5


def examine(config: Path | None, only: str | None) -> Iterator[Finding]:
    """All findings, the settings first; without settings nothing else can be looked at."""
    try:
        settings = load_settings(config)
    except IcflowsError as error:
        yield Finding("settings", "fail", str(error), "correct the file; README, Settings, lists every key")
        return
    yield Finding("settings", "ok", str(settings.file))
    names = [only] if only else sorted(settings.billers)
    for name in names:
        biller = settings.biller(name)
        yield _key(name, biller)
        yield from _feeds(settings, name)
        yield from _services(name, biller)
        yield _sftp(name, biller)
        yield _staging(settings, name)
        yield from outbound(settings, name)
        yield from inbound(settings, name)
        yield from finance(settings, name)
    yield from service(settings)
    yield from _folders(settings)
    yield _alerts(settings)
    yield _prefect()
    yield _silence()


def _key(name: str, biller: Biller) -> Finding:
    try:
        secret(biller.web_service_key)
    except IcflowsError as error:
        return Finding(
            f"{name}: WebServiceKey", "fail", str(error), f"set what {biller.web_service_key} names"
        )
    return Finding(f"{name}: WebServiceKey", "ok", f"{biller.web_service_key} resolves")


def _feeds(settings: Settings, name: str) -> Iterator[Finding]:
    for feed in feed_names():
        spec = settings.feed(name, feed)
        operation = spec.forms[spec.form].operation
        path = wsdl_path(settings.biller(name), spec.service)
        known = f'name="{operation}"' in path.read_text("utf-8")
        state, cure = (
            ("ok", "") if known else ("fail", "set wsdl = <folder> with the biller's WSDL, or the operation")
        )
        yield Finding(f"{name}: feed {feed}", state, f"{operation}, every {spec.interval}", cure)


def _services(name: str, biller: Biller) -> Iterator[Finding]:
    for asked in ("CloudReporting", "CloudInvoicing", "CloudManagement"):
        what, url = f"{name}: {asked}", service_url(biller, asked)
        try:
            answer = requests.get(f"{url}?wsdl", timeout=_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            yield Finding(
                what,
                "fail",
                f"{url} does not answer ({type(error).__name__})",
                "check base_url, network, proxy",
            )
            continue
        if answer.status_code != 200 or b"definitions" not in answer.content[:4096]:
            yield Finding(what, "fail", f"{url} gives no WSDL (HTTP {answer.status_code})", "check base_url")
        else:
            yield Finding(what, "ok", f"{url} gives its WSDL")


def _sftp(name: str, biller: Biller) -> Finding:
    what = f"{name}: SFTP"
    if biller.sftp is None and biller.product == "mips-apps":
        return Finding(what, "ok", "not configured; MIPS/APPS bills are shown through a link")
    if biller.sftp is None:
        return Finding(
            what, "warn", "not configured; bill images cannot be sent", f"add [billers.{name}.sftp]"
        )
    from tasks.sftp import reachable  # paramiko costs 0.2 s

    try:
        return Finding(what, "ok", reachable(biller.sftp))
    except IcflowsError as error:
        return Finding(what, "fail", str(error), "check host, port, user, key and the pinned host_key")


def _staging(settings: Settings, name: str) -> Finding:
    what = f"{name}: staging"
    try:
        staging = staging_of(settings, name)
        if not staging.path.exists():
            return Finding(what, "ok", "empty; the first pull creates it")
        with staging.open():
            return Finding(what, "ok", f"{staging.path} opens and agrees with its journal")
    except StagingBusy as error:
        return Finding(what, "warn", str(error), "wait, or end that process")
    except IcflowsError as error:
        return Finding(what, "fail", str(error), f"icflows replay --biller {name}")


def _folders(settings: Settings) -> Iterator[Finding]:
    for which in ("staging", "archive", "snapshots", "reports", "service"):
        folder = settings.folder(which)  # type: ignore[arg-type]
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # personal data
            with tempfile.TemporaryFile(dir=folder):
                free = shutil.disk_usage(folder).free
        except OSError as error:
            yield Finding(
                f"storage.{which}", "fail", f"{folder}: {error.strerror}", "make the folder writable"
            )
            continue
        words = f"{folder} is writable, {free / 1024**3:.0f} GiB free"
        enough = free >= _LEAST_FREE
        yield Finding(
            f"storage.{which}", "ok" if enough else "warn", words, "" if enough else "free some disk"
        )


def _alerts(settings: Settings) -> Finding:
    try:
        count = len(alert_urls(settings))
    except IcflowsError as error:
        return Finding("alerts", "fail", str(error), "set what [alerts] urls names")
    if not count:
        return Finding("alerts", "warn", "no receiver; alerts stay in the outbox", "add urls under [alerts]")
    return Finding("alerts", "ok", f"{count} receivers")


def _prefect() -> Finding:
    from ops.prefect_env import server_url

    url = server_url()
    if url is None:
        words = "no server answers; commands run the same functions here, schedules do not run"
        return Finding("Prefect API", "warn", words, "make up, or set PREFECT_API_URL")
    return Finding("Prefect API", "ok", url)


def _silence() -> Finding:
    loud = [
        name
        for name, quiet in (("DO_NOT_TRACK", "1"), ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"))
        if os.environ.get(name, quiet).lower() != quiet
    ]
    if loud:
        return Finding(
            "phone home", "warn", f"switched on in the environment: {', '.join(loud)}", "unset them"
        )
    return Finding("phone home", "ok", "everything that phones home is off")
