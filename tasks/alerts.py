"""Alerts: one open alert per kind and subject, kept in an outbox, sent once through Apprise.

Raising is a row in check.alerts (idempotent while it is open); sending marks the row. Whoever sends
holds a file lock, so two senders never send one alert; a kill between sending and marking can repeat
one message, never lose one. An alert is cleared when its cause is gone, and may be raised anew later.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from typing import Literal

from filelock import FileLock

from tasks.archive import safe_text
from tasks.pull import staging_of
from tasks.settings import Settings, alert_urls
from tasks.staging.outgoing import clear, mark_sent, raise_rows, unsent

Kind = Literal["check_failed", "poll_failed", "poll_suspect", "feed_late", "break_high", "run_crashed"]
Severity = Literal["HIGH", "MED"]
_SEND_LOCK_SECONDS = 60


@dataclass(frozen=True)
class Alert:
    """What is wrong, where, in words that hold no key and no personal data."""

    kind: Kind
    subject: str
    severity: Severity
    title: str
    body: str

    @property
    def identity(self) -> str:
        """Stable name of what is wrong."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True)
class DeliveryResult:
    """Alerts sent now, and still unsent (no URL, or the receiver refused)."""

    sent: int = 0
    failed: int = 0
    titles: list[str] = field(default_factory=list)


def raise_alerts(settings: Settings, biller: str, as_of: datetime, alerts: Sequence[Alert]) -> list[Alert]:
    """Writes alerts to the outbox; returns those that were not open already."""
    alerts = list({alert.identity: alert for alert in alerts}.values())
    if not alerts:
        return []
    rows = [
        (
            _alert_id(biller, alert, as_of),
            alert.kind,
            alert.subject,
            alert.severity,
            alert.title,
            safe_text(alert.body, 2000),
        )
        for alert in alerts
    ]
    with staging_of(settings, biller).open() as connection:
        fresh = raise_rows(connection, rows, as_of)
    return [alert for alert, row in zip(alerts, rows, strict=True) if row[0] in fresh]


def clear_alerts(
    settings: Settings, biller: str, as_of: datetime, kind: Kind, subjects: Sequence[str]
) -> int:
    """Closes the open alerts of this kind on these subjects; returns how many."""
    with staging_of(settings, biller).open() as connection:
        return clear(connection, kind, list(subjects), as_of)


def deliver_alerts(settings: Settings, biller: str, as_of: datetime) -> DeliveryResult:
    """Sends every unsent alert of the biller, oldest first, to all URLs of [alerts]."""
    staging = staging_of(settings, biller)
    with FileLock(staging.root / f"{biller}.alerts.lock", timeout=_SEND_LOCK_SECONDS):
        with staging.open() as connection:
            waiting = unsent(connection)
        urls = alert_urls(settings) if waiting else []
        sent = [row["alert_id"] for row in waiting if urls and _send(urls, biller, row)]
        if waiting:
            with staging.open() as connection:
                mark_sent(connection, sent, [row["alert_id"] for row in waiting], as_of)
    titles = [row["title"] for row in waiting if row["alert_id"] in sent]
    return DeliveryResult(len(sent), len(waiting) - len(sent), titles)


def _alert_id(biller: str, alert: Alert, as_of: datetime) -> str:
    text = f"{biller}|{alert.identity}|{as_of.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _send(urls: list[str], biller: str, row: dict[str, object]) -> bool:
    """One message to all receivers. Apprise logs URLs, which may hold tokens: its output is dropped."""
    import apprise  # 0.2 s, needed only when there is something to send

    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    sender = apprise.Apprise()
    for url in urls:
        sender.add(url)
    kind = apprise.NotifyType.FAILURE if row["severity"] == "HIGH" else apprise.NotifyType.WARNING
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        return bool(
            sender.notify(title=f"[icflows {biller}] {row['title']}", body=str(row["body"]), notify_type=kind)
        )
