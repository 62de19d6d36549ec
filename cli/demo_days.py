"""What the demo plays: the days of a made-up carrier, each a few runs of the real flows at moments given by hand."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cli.demo_service import Callers
from cli.engine import load_flow
from cli.progress import step
from sandbox import Sandbox
from sandbox.carrier import Carrier
from sandbox.pump import Form
from tasks.settings import load_settings
from tasks.work.periods import close_period

CLOSE = datetime(2026, 10, 30, 23, 0, tzinfo=UTC)
EVENING = CLOSE - timedelta(days=3)
DAY_BEFORE = CLOSE - timedelta(hours=26)  # the last good answers of the feeds that fail at the close
OPENING = CLOSE - timedelta(days=12)  # the Data Pump is switched on; IMT's files of that day are loaded
FEEDS = ("payments", "settlements", "ach_rejects", "autopay", "paperless")
ALL_KINDS = ("postings", "invoices", "adjustments")
# What the close does to the feeds: returns are down, paperless lies, AutoPay has another layout.
FAULTS = {"B36": ["ach_rejects"], "B37": ["paperless"], "B38": ["autopay"]}


@dataclass
class Day:
    """What the flows reported, in the order in which they ran."""

    folder: Path
    settings_file: Path
    pulls: list[dict[str, Any]] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    signed_off: list[str] = field(default_factory=list)
    reconciled: dict[str, Any] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)
    called: dict[str, Any] = field(default_factory=dict)


def play_days(day: Day, carrier: Carrier, sandbox: Sandbox, ic: Callers) -> None:
    """All of them. After it, `day` holds what was reported."""
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


def _evening(day: Day, carrier: Carrier, sandbox: Sandbox, ic: Callers) -> None:
    """Three days before the close: everything answers, but some rows are spoilt on the wire. Old days are signed off."""
    moment = EVENING
    sandbox.clock(moment)
    _push(ic, moment, "form")
    _load(day, carrier, moment, ALL_KINDS)
    _load_money(day, carrier, moment, ("deposits-bai2", "chargebacks", "refunds"))
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
    _sign_off(day, carrier, moment)


def _between(day: Day, carrier: Carrier, sandbox: Sandbox, ic: Callers) -> None:
    """Hours of sending: an upload whose answer is lost, reissues of both kinds, recalls that are looked at."""
    hour, lost = timedelta(hours=1), EVENING + timedelta(hours=12)
    sandbox.clock(lost)
    _push(ic, lost, "soap")
    _load(day, carrier, lost, ("invoices",))
    sandbox.fault("close_no_reply", operation="UploadInvoice")
    _publish(day, sandbox, lost, "the answer is lost")
    _publish(day, sandbox, lost + hour, "settled by asking")
    sandbox.clock(DAY_BEFORE)
    for feed in ("ach_rejects", "autopay", "paperless"):
        _pull(day, feed, DAY_BEFORE)
    early = CLOSE - 3 * hour
    sandbox.clock(early)
    _push(ic, early, "soap")
    _load(day, carrier, early, ALL_KINDS)
    with _quiet(f"{early:%d %b %H:%M} InvoiceCloud asks what is owed"):
        ic.ask(carrier, early)
    _publish(day, sandbox, early, "new bills, R and D")
    _publish(day, sandbox, early + hour, "were R and D obeyed?")


def _close(day: Day, carrier: Carrier, sandbox: Sandbox, ic: Callers) -> None:
    """The close: returns are down, paperless answers an empty list, AutoPay another layout; the rest goes on."""
    sandbox.clock(CLOSE)
    _push(ic, CLOSE, "json")
    _load(day, carrier, CLOSE, ALL_KINDS)
    _load_money(day, carrier, CLOSE, ("deposits-bai2", "chargebacks", "refunds", "enrolment-flags"))
    _push(ic, CLOSE, "json")
    sandbox.fault("http_503", operation="ACHRejectReportingDataSetFromGMT", times=-1, retry_after=0)
    sandbox.fault("empty", operation="BillerPaperlessCustomerReportDataSet")
    sandbox.fault(
        "renamed_column", operation="BillerAutoPayCustomerReportSOAP", column="AutoPay", to="AutoPayFlag"
    )
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
    with _quiet(f"{moment:%d %b} load {', '.join(kinds)} from IMT"):
        for kind in kinds:
            _load_one(day, kind, folder / f"imt_{kind}.csv", moment)


def _load_money(day: Day, carrier: Carrier, moment: datetime, names: Sequence[str]) -> None:
    """What the bank and the portal export; IMT's flags are those of the close, so they come with the last."""
    paths = carrier.bank_until(moment, day.folder / "from-imt" / f"{moment:%Y%m%dT%H}")
    kinds = {name: name.removesuffix("-bai2") for name in names if name in paths}
    with _quiet(f"{moment:%d %b} load {', '.join(kinds.values())}"):
        for name, kind in kinds.items():
            _load_one(day, kind, paths[name], moment)


def _load_one(day: Day, kind: str, path: Path, moment: datetime) -> None:
    day.loads.append(
        load_flow("load_file", "load_file")(
            biller="acme", kind=kind, path=str(path), as_of=moment, settings_file=str(day.settings_file)
        )
    )


def _sign_off(day: Day, carrier: Carrier, moment: datetime) -> None:
    """Freezes old days, whatever is open of them: what comes back on them later is late."""
    settings, note = load_settings(day.settings_file), "the demo closes it with what is open"
    for text in (signed.isoformat() for signed in carrier.to_sign_off()):
        with _quiet(f"{moment:%d %b} close {text}"):
            close_period(
                settings, "acme", text, "The Demo", moment, force=True, note=note, clock=lambda: moment
            )
        day.signed_off.append(text)


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
    logging.disable(logging.CRITICAL)
    try:
        with step(words):
            yield
    finally:
        logging.disable(logging.NOTSET)
