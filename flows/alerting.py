"""How flows tell people: alerts into the outbox, one event for each new one, and who delivers.

A run of a deployment leaves delivery to the automation that hears its event (and to the sweep behind
it). A run by hand delivers at its end, because nobody may be listening. Both together send one message:
the outbox decides.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from flows import engine
from tasks.alerts import Alert, DeliveryResult, Kind, clear_alerts, deliver_alerts, raise_alerts
from tasks.errors import IcflowsError, SettingsError
from tasks.settings import Settings

log = logging.getLogger(__name__)
EVENTS: dict[Kind, str] = {
    "poll_failed": "icflows.poll.failed",
    "poll_suspect": "icflows.poll.suspect",
    "check_failed": "icflows.check.failed",
    "feed_late": "icflows.feed.late",
    "break_high": "icflows.break.high",
    "run_crashed": "icflows.run.crashed",
    "invoices_blocked": "icflows.invoices.trouble",
    "upload_failed": "icflows.invoices.trouble",
    "upload_refused": "icflows.invoices.trouble",
    "upload_unknown": "icflows.invoices.trouble",
    "upload_undecided": "icflows.invoices.trouble",
    "bill_images": "icflows.invoices.trouble",
    "file_failed": "icflows.file.failed",
    "push_conflict": "icflows.pushes.trouble",
    "push_unread": "icflows.pushes.trouble",
    "push_suspense": "icflows.pushes.trouble",
    "push_above_balance": "icflows.pushes.trouble",
    "enrolment_refused": "icflows.pushes.trouble",
    "handover_late": "icflows.pushes.trouble",
    "handover_refused": "icflows.pushes.trouble",
    "service_down": "icflows.pushes.trouble",
}


def business_time(as_of: datetime | None) -> datetime:
    """`as_of` as aware UTC; without it the clock, which a run looks at here and nowhere else."""
    if as_of is None:
        return datetime.now(UTC).replace(microsecond=0)
    if as_of.tzinfo is None:
        raise SettingsError("as_of needs a time zone, for example 2026-10-30T23:00:00Z")
    return as_of.astimezone(UTC)


def feed_resource(biller: str, feed: str) -> str:
    """The stable name of a feed in events."""
    return f"icflows.biller.{biller}.feed.{feed}"


def biller_resource(biller: str) -> str:
    """The stable name of a biller in events."""
    return f"icflows.biller.{biller}"


def alert(
    settings: Settings, biller: str, as_of: datetime, resource: str, alerts: Sequence[Alert]
) -> list[Alert]:
    """Puts alerts into the outbox; emits one event for each that was not open already, and returns those."""
    fresh = raise_alerts(settings, biller, as_of, alerts)
    for new in fresh:
        payload = {"biller": biller, "subject": new.subject, "severity": new.severity, "title": new.title}
        engine.emit(EVENTS[new.kind], resource, payload)
    return fresh


def clear(
    settings: Settings, biller: str, as_of: datetime, kinds: Sequence[Kind], subjects: Sequence[str]
) -> None:
    """Closes alerts whose cause is gone."""
    for kind in kinds:
        clear_alerts(settings, biller, as_of, kind, subjects)


def deliver_by_hand(settings: Settings, biller: str, as_of: datetime) -> DeliveryResult:
    """Sends what is unsent, unless a deployment runs this and an automation will.

    The work is done by then: what cannot be sent stays in the outbox and is only warned of.
    """
    if engine.run().deployment_id is not None:
        return DeliveryResult()
    try:
        result = deliver_alerts(settings, biller, as_of)
    except IcflowsError as error:
        log.warning("%s: alerts were not sent: %s", biller, error)
        return DeliveryResult()
    if result.failed:
        log.warning("%s: %d alerts could not be sent; they stay in the outbox", biller, result.failed)
    return result
