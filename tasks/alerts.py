"""Alerts: one open alert per kind and subject, kept in an outbox, sent once through Apprise.

Raising is a row in check.alerts (idempotent while it is open); sending marks the row. Whoever sends
holds a file lock, so two senders never send one alert; a kill between sending and marking can repeat
one message, never lose one. An alert is cleared when its cause is gone, and may be raised anew later.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from tasks.archive import safe_text
from tasks.errors import StagingBusy
from tasks.pull import staging_of
from tasks.settings import Settings, alert_urls
from tasks.staging.outgoing import clear, mark_sent, raise_rows, unsent

Kind = Literal[
    "check_failed", "poll_failed", "poll_suspect", "feed_late", "break_high", "run_crashed",
    "invoices_blocked", "upload_failed", "upload_refused", "upload_unknown", "upload_undecided", "bill_images",
    "file_failed", "push_conflict", "push_unread", "push_suspense", "push_above_balance", "enrolment_refused",
    "handover_late", "handover_refused", "service_down",
]  # fmt: skip
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
        (alert.kind, alert.subject, alert.severity, safe_text(alert.title, 200), safe_text(alert.body, 2000))
        for alert in alerts
    ]
    with staging_of(settings, biller).open() as connection:
        fresh = raise_rows(connection, rows, as_of)
    return [alert for alert in alerts if (alert.kind, alert.subject) in fresh]


def clear_alerts(
    settings: Settings, biller: str, as_of: datetime, kind: Kind, subjects: Sequence[str]
) -> int:
    """Closes the open alerts of this kind on these subjects; returns how many."""
    with staging_of(settings, biller).open() as connection:
        return clear(connection, kind, list(subjects), as_of)


def deliver_alerts(settings: Settings, biller: str, as_of: datetime) -> DeliveryResult:
    """Sends every unsent alert of the biller, oldest first, to each URL of [alerts] that has not got it yet."""
    staging = staging_of(settings, biller)
    with _only_sender(staging.root / f"{biller}.alerts.lock", biller):
        with staging.open() as connection:
            waiting = unsent(connection)
        if not waiting:
            return DeliveryResult()
        urls = {_receiver(url): url for url in alert_urls(settings)}
        tried = {row["alert_id"]: _send_missing(urls, biller, row) for row in waiting}
        with staging.open() as connection:
            whole = mark_sent(connection, tried, list(urls), as_of)
    titles = [row["title"] for row in waiting if row["alert_id"] in whole]
    return DeliveryResult(len(whole), len(waiting) - len(whole), titles)


@contextmanager
def _only_sender(path: Path, biller: str) -> Iterator[None]:
    try:
        with FileLock(path, timeout=_SEND_LOCK_SECONDS):
            yield
    except Timeout:
        raise StagingBusy(f"another process is sending the alerts of {biller}") from None


def _receiver(url: str) -> str:
    """A name for a receiver that does not tell its tokens."""
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def _send_missing(urls: dict[str, str], biller: str, row: dict[str, Any]) -> list[str]:
    """Sends to the receivers that have not got this alert; returns all that have it now."""
    have = list(row["sent_to"])
    return have + [name for name, url in urls.items() if name not in have and _send(url, biller, row)]


def _send(url: str, biller: str, row: dict[str, Any]) -> bool:
    """One message to one receiver. Apprise logs URLs, which may hold tokens: its output is dropped."""
    import apprise  # 0.2 s, needed only when there is something to send

    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    sender = apprise.Apprise()
    kind = apprise.NotifyType.FAILURE if row["severity"] == "HIGH" else apprise.NotifyType.WARNING
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        sender.add(url)
        return bool(
            sender.notify(title=f"[icflows {biller}] {row['title']}", body=str(row["body"]), notify_type=kind)
        )
