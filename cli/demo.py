"""The demo: a made-up carrier, two moments of its life, and the answer sheet at the end.

Evening one (three days before the close): all feeds are pulled, a few rows are spoilt on the wire; all open
bills and their images go out. In between invoices are reissued and cancelled, and one upload's answer is lost.
The Data Pump was switched on before that: payments are pushed, some twice, some never; balances are asked for.
The close: a feed is down, another one lies, the rest is pulled again; what was planted must be found.
Sandbox, SOAP, DuckDB and Prefect are the real parts; only time is given by hand.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cli.demo_screen import compare_answers, screen
from cli.demo_service import KEY_VARIABLE, Callers, callers
from cli.engine import load_flow
from cli.progress import step
from cli.show import OK, WRONG, emit_json, say
from sandbox import Sandbox
from sandbox.carrier import Carrier, generate
from sandbox.pump import Form
from tasks.settings import load_settings

CLOSE = datetime(2026, 10, 30, 23, 0, tzinfo=UTC)
EVENING = CLOSE - timedelta(days=3)
OPENING = CLOSE - timedelta(days=12)  # the Data Pump is switched on; IMT's files of that day are loaded
FEEDS = ("payments", "settlements", "ach_rejects", "autopay", "paperless")
_KEY_VARIABLE, _SFTP_VARIABLE = "ICFLOWS_DEMO_KEY", "ICFLOWS_DEMO_SFTP_PASSWORD"
ALL_KINDS = ("postings", "invoices", "adjustments")
_ALL_IMAGES = 1_000_000
# What the close does to the feeds: AutoPay is down, paperless lies; both are late by then.
_FAULTS = {"B36": ["autopay", "paperless"], "B37": ["paperless"]}


@dataclass
class Day:
    """What the flows reported, in the order in which they ran."""

    folder: Path
    settings_file: Path
    pulls: list[dict[str, Any]] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    reconciled: dict[str, Any] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)
    called: dict[str, Any] = field(default_factory=dict)


def play(folder: Path, accounts: int, days: int, seed: int, as_json: bool) -> int:
    """Runs the demo; 0 if every planted break was found and nothing besides."""
    started = time.monotonic()
    folder = folder.resolve()
    if folder.exists() and not (folder / "icflows.toml").exists() and any(folder.iterdir()):
        say(f"{folder} is not empty and no earlier demo; name another --folder")
        return WRONG
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[_KEY_VARIABLE], os.environ[_SFTP_VARIABLE] = "sandbox-key", "sandbox-password"
    with ExitStack() as stack:
        carrier = _prepare(stack, folder, accounts, days, seed)
        sandbox = stack.enter_context(
            Sandbox(carrier.folder, now=CLOSE, state=folder / "sandbox", empty=True)
        )
        day = Day(folder, _write_settings(folder, sandbox, days))
        ic = stack.enter_context(callers(day.settings_file, carrier, OPENING))
        _load(day, carrier, OPENING, ALL_KINDS)
        _evening(day, carrier, sandbox, ic)
        _between(day, carrier, sandbox, ic)
        _close(day, carrier, sandbox, ic)
        day.called = {
            "pushed": ic.pushed,
            "asked": ic.asked,
            "handed": ic.handed,
            "booked_twice": ic.imt.doubles,
        }
        hooks = sandbox.hooks()
    answers = compare_answers(load_settings(day.settings_file), carrier.truth())
    seconds = time.monotonic() - started
    if as_json:
        emit_json({"seconds": round(seconds, 1), "answers": answers, "alerts": hooks, **day.__dict__})
    else:
        screen(day, answers, hooks, seconds)
    return OK if answers["missed"] == [] and answers["besides"] == [] else WRONG


def _prepare(stack: ExitStack, folder: Path, accounts: int, days: int, seed: int) -> Carrier:
    """Starts the Prefect server while the carrier is made."""
    from ops.prefect_env import use_server
    from ops.up import server

    with ThreadPoolExecutor(1) as beside:
        making = beside.submit(
            generate,
            seed,
            accounts,
            days,
            CLOSE,
            folder / "carrier",
            feed_faults=_FAULTS,
            images=_ALL_IMAGES,
            plant={"B27": 2},
        )
        with step(f"a carrier of {accounts:,} accounts and {days} days, and a Prefect server, are made"):
            url = stack.enter_context(server(home=folder / "prefect"))
            carrier = making.result()
    use_server(url, folder / "prefect")
    os.environ["ICFLOWS_ENGINE"] = "prefect"
    return carrier


def _write_settings(folder: Path, sandbox: Sandbox, days: int) -> Path:
    file = folder / "icflows.toml"
    file.write_text(
        f'''# Written by the demo. The sandbox that it names is gone when the demo is over.
[alerts]
urls = ["json://{sandbox.host}:{sandbox.port}/_sandbox/hook"]

[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:{_KEY_VARIABLE}"
base_url = "{sandbox.url}"
time_zone = "America/Chicago"
invoice_format_guid = "99999999-8888-7777-6666-555555555555"

[billers.acme.outbound]
images = "from-imt/images"

[billers.acme.inbound]
keys = ["env:{KEY_VARIABLE}"]
handover = "to-imt"
pump_since = "{OPENING:%Y-%m-%dT%H:%M:%SZ}"

[billers.acme.sftp]
host = "{sandbox.host}"
port = {sandbox.sftp_port}
username = "sandbox"
password = "env:{_SFTP_VARIABLE}"
host_key = "{sandbox.host_key_line}"

[billers.acme.transport]
retry_seconds = 0.2
pause_seconds = 0

[billers.acme.feeds]
payments.initial = "{days + 5}d"
settlements.initial = "{days + 5}d"
ach_rejects.initial = "{days + 5}d"
''',
        encoding="utf-8",
    )
    return file


def _evening(day: Day, carrier: Carrier, sandbox: Sandbox, ic: Callers) -> None:
    """Three days before the close: everything answers, but some rows are spoilt on the wire."""
    moment = EVENING
    sandbox.clock(moment)
    _push(ic, moment, "form")
    _load(day, carrier, moment, ALL_KINDS)
    sandbox.fault(
        "bad_value", operation="BillerAutoPayCustomerReportSOAP", column="DrawOffsetDays", row=3, value="two"
    )
    sandbox.fault(
        "bad_value",
        operation="BillerPaperlessCustomerReportDataSet",
        column="Registered",
        row=5,
        value="maybe",
    )
    for feed in FEEDS:
        _pull(day, feed, moment)
    _publish(day, sandbox, moment, "all open bills at once")
    _reconcile(day, moment)


def _between(day: Day, carrier: Carrier, sandbox: Sandbox, ic: Callers) -> None:
    """Hours of sending: an upload whose answer is lost, reissues of both kinds, recalls that are looked at."""
    hour, lost = timedelta(hours=1), EVENING + timedelta(hours=12)
    sandbox.clock(lost)
    _push(ic, lost, "soap")
    _load(day, carrier, lost, ("invoices",))
    sandbox.fault("close_no_reply", operation="UploadInvoice")
    _publish(day, sandbox, lost, "the answer is lost")
    _publish(day, sandbox, lost + hour, "settled by asking")
    early = CLOSE - 3 * hour
    sandbox.clock(early)
    _push(ic, early, "soap")
    _load(day, carrier, early, ALL_KINDS)
    with _quiet(f"{early:%d %b %H:%M} InvoiceCloud asks what is owed"):
        ic.ask(carrier, early)
    _publish(day, sandbox, early, "new bills, R and D")
    _publish(day, sandbox, early + hour, "were R and D obeyed?")


def _close(day: Day, carrier: Carrier, sandbox: Sandbox, ic: Callers) -> None:
    """The close: AutoPay is down, paperless answers an empty list, everything else goes on."""
    sandbox.clock(CLOSE)
    _push(ic, CLOSE, "json")
    _load(day, carrier, CLOSE, ALL_KINDS)
    _push(ic, CLOSE, "json")
    sandbox.fault("http_503", operation="BillerAutoPayCustomerReportSOAP", times=-1, retry_after=0)
    sandbox.fault("empty", operation="BillerPaperlessCustomerReportDataSet")
    for feed in FEEDS:
        _pull(day, feed, CLOSE)
    _publish(day, sandbox, CLOSE, "a guard stops it")
    _reconcile(day, CLOSE)
    with _quiet(f"{CLOSE:%d %b} snapshot and report"):
        day.published = load_flow("publish_snapshot", "publish_snapshot")(
            biller="acme", as_of=CLOSE, settings_file=str(day.settings_file)
        )


def _push(ic: Callers, moment: datetime, form: Form) -> None:
    """InvoiceCloud pushes what was paid; IMT gets it in files; staging hears of it."""
    with _quiet(f"{moment:%d %b %H:%M} payments pushed ({form}), handed to IMT"):
        ic.push(moment, form)
        ic.collect(moment)


def _load(day: Day, carrier: Carrier, moment: datetime, kinds: tuple[str, ...]) -> None:
    folder = day.folder / "from-imt" / f"{moment:%Y%m%dT%H}"
    carrier.imt_until(moment, folder)
    carrier.images_until(moment, day.folder / "from-imt" / "images")
    for kind in kinds:
        with _quiet(f"{moment:%d %b} load {kind} from IMT"):
            result = load_flow("load_file", "load_file")(
                biller="acme", kind=kind, path=str(folder / f"imt_{kind}.csv"), as_of=moment,
                settings_file=str(day.settings_file),
            )  # fmt: skip
        day.loads.append(result)


def _pull(day: Day, feed: str, moment: datetime) -> None:
    with _quiet(f"{moment:%d %b} pull {feed.replace('_', '-')}"):
        flow = load_flow("pull_feed", "pull_feed")
        state = flow(
            biller="acme", feed=feed, as_of=moment, settings_file=str(day.settings_file), return_state=True
        )
        day.pulls.append({"feed": feed, "at": moment, **_outcome(state)})


def _outcome(state: Any) -> dict[str, Any]:
    """A failed pull is part of the story; what it did stands in poll.runs."""
    result = state.result(raise_on_failure=False)
    return result if isinstance(result, dict) else {"status": "failed", "error": str(result), "polls": []}


def _publish(day: Day, sandbox: Sandbox, moment: datetime, what: str) -> None:
    sandbox.clock(moment)
    with _quiet(f"{moment:%d %b %H:%M} invoices out: {what}"):
        flow = load_flow("publish_invoices", "publish_invoices")
        state = flow(biller="acme", as_of=moment, settings_file=str(day.settings_file), return_state=True)
    result = state.result(raise_on_failure=False)
    found = result if isinstance(result, dict) else {"status": "blocked", "files": [], "error": str(result)}
    day.sent.append({"at": moment, "what": what, **found})


def _reconcile(day: Day, moment: datetime) -> None:
    with _quiet(f"{moment:%d %b} reconcile"):
        day.reconciled = load_flow("reconcile", "reconcile")(
            biller="acme", as_of=moment, settings_file=str(day.settings_file)
        )


@contextmanager
def _quiet(words: str) -> Iterator[None]:
    """One line per step; Prefect's own log lines would drown it."""
    import logging

    logging.disable(logging.CRITICAL)
    try:
        with step(words):
            yield
    finally:
        logging.disable(logging.NOTSET)
