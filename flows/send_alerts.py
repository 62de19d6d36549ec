"""The messenger: everything unsent in the outboxes goes to the receivers of [alerts], once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flows import engine
from flows.alerting import business_time
from flows.engine import flow
from tasks.alerts import Alert, deliver_alerts, raise_alerts
from tasks.errors import IcflowsError
from tasks.settings import Settings, load_settings


class NotDelivered(IcflowsError):
    """A receiver refused or did not answer; the alerts stay in the outbox and the next sweep tries again."""

    reason = "not_delivered"


@flow(name="send-alerts", run_name="send-alerts")
def send_alerts(
    biller: str | None = None, note: str | None = None, settings_file: str | None = None
) -> dict[str, Any]:
    """Send unsent alerts, of one biller or of all.

    `note` comes from the automation on crashed and failed runs: it names such a run, which could not raise
    its own alert, and is raised for it first.
    """
    settings, now = load_settings(settings_file), business_time(None)
    names = [biller] if biller else sorted(settings.billers)
    if note:
        _raise_note(settings, names[0], note, now)
    results = {name: deliver_alerts(settings, name, now) for name in names}
    sent, waiting = sum(r.sent for r in results.values()), sum(r.failed for r in results.values())
    result = {
        "sent": sent,
        "waiting": waiting,
        "titles": [title for r in results.values() for title in r.titles],
    }
    if not waiting:
        return result
    message = f"{waiting} alerts could not be delivered; they stay in the outbox"
    if not settings.alerts.urls:
        return engine.completed("NoReceiver", f"{message}: [alerts] urls is empty", result)
    return engine.failed("NotDelivered", NotDelivered(message))


def _raise_note(settings: Settings, biller: str, note: str, as_of: datetime) -> None:
    body = f"{note}. It could not tell by itself what went wrong: see the run in Prefect. The next run makes up for it."
    raise_alerts(
        settings,
        biller,
        as_of,
        [Alert("run_crashed", note[:200], "HIGH", f"run ended badly: {note[:120]}", body)],
    )
