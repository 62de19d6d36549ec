"""One window of one feed: ask, archive, prove, read, check, merge, acknowledge. In this order.

Plain functions; flows/pull_feed.py puts Prefect's retries around `pull_window`, which may be repeated
any number of times: rows are keyed, and each attempt is a poll of its own with its own bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from checks.contracts import FEEDS
from checks.quarantine import ShapeError
from tasks.archive import Archive, Poll, new_poll_id
from tasks.errors import (
    BadAnswer,
    ControlTotalError,
    IcflowsError,
    RequestRefused,
    SchemaDrift,
    SettingsError,
    StagingBusy,
    StagingDamaged,
    StorageTrouble,
    Throttled,
)
from tasks.invoicecloud.catalogue import FeedSpec, Form
from tasks.invoicecloud.client import ReportClient
from tasks.invoicecloud.report import Report, read_report
from tasks.settings import Settings, table_name
from tasks.stage import Staged, record_failure, stage_report
from tasks.staging.merge import Target
from tasks.staging.polls import watermark
from tasks.staging.store import Staging
from tasks.windows import Window, windows

_OTHER_FORM_MAY_HELP = (BadAnswer, SchemaDrift, RequestRefused, ControlTotalError)


@dataclass(frozen=True)
class PollResult:
    """What a flow may know of a poll: references and counts, no row, no key."""

    poll_id: str
    feed: str
    form: str
    window_from: datetime | None
    window_to: datetime | None
    status: str
    reason: str | None = None
    message: str | None = None
    rows_in: int = 0
    rows_new: int = 0
    rows_unchanged: int = 0
    rows_amended: int = 0
    rows_duplicate: int = 0
    rows_quarantined: int = 0
    rows_gone: int = 0
    sum_in: Decimal | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def staging_of(settings: Settings, biller: str) -> Staging:
    """The biller's staging file."""
    settings.biller(biller)
    return Staging(settings.folder("staging"), biller, settings.storage.lock_timeout_seconds)


def archive_of(settings: Settings, biller: str) -> Archive:
    """The biller's archive."""
    return Archive(settings.folder("archive"), biller)


def target_of(feed: FeedSpec) -> Target:
    """Where the feed's rows go."""
    return Target("feed", feed.name, FEEDS[feed.name], tuple(feed.key))


def plan(
    settings: Settings,
    biller: str,
    feed: str,
    as_of: datetime,
    window_from: datetime | None = None,
    window_to: datetime | None = None,
) -> list[Window]:
    """The windows that a pull at `as_of` asks for, oldest first."""
    spec = settings.feed(biller, table_name(feed))
    with staging_of(settings, biller).open() as connection:
        mark = watermark(connection, spec.name)
    zone = settings.biller(biller).zone
    return windows(spec, mark, as_of, zone, window_from=window_from, window_to=window_to)


def pull_window(
    settings: Settings,
    biller: str,
    feed: str,
    window: Window,
    as_of: datetime,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> PollResult:
    """Pulls one window; on a broken answer tries the feed's other wire form once.

    Raises Retry errors (the caller may call again) and Stop errors; each failed poll is recorded first.
    The error's text names biller, feed and window.
    """
    spec = settings.feed(biller, table_name(feed))
    try:
        return _poll(settings, biller, spec, spec.form, window, as_of, sleep)
    except _OTHER_FORM_MAY_HELP as error:
        other = spec.other_form(spec.form)
        if other is None or error.reason == "error_table":  # IC said what is wrong: asking otherwise hides it
            raise
        result = _poll(settings, biller, spec, other, window, as_of, sleep)
        note = f"form {spec.form} failed ({error.reason}), {other} was used instead"
        return replace(result, warnings=[note, *result.warnings])


def _poll(
    settings: Settings, biller: str, spec: FeedSpec, form: Form, window: Window, as_of: datetime,
    sleep: Callable[[float], None],
) -> PollResult:  # fmt: skip
    """One form; waits out 429 and 503 within the budget. Every try is a poll of its own."""
    limits = settings.biller(biller).transport
    for attempt in range(1, limits.tries + 1):
        try:
            return _once(settings, biller, spec, form, window, as_of, sleep)
        except Throttled as error:
            wait = error.retry_after if error.retry_after is not None else limits.retry_seconds * 2**attempt
            if attempt == limits.tries or wait > limits.max_retry_after_seconds:
                raise
            sleep(wait)
    raise AssertionError("the loop returns or raises")


def _once(
    settings: Settings, biller: str, spec: FeedSpec, form: Form, window: Window, as_of: datetime,
    sleep: Callable[[float], None],
) -> PollResult:  # fmt: skip
    archive, staging = archive_of(settings, biller), staging_of(settings, biller)
    poll = Poll(
        poll_id=new_poll_id(spec.name, as_of), biller=biller, feed=spec.name, form=form,
        operation=spec.forms[form].operation, window_from=window[0], window_to=window[1], requested_at=as_of,
    )  # fmt: skip
    try:
        poll = ReportClient(settings.biller(biller), archive, sleep=sleep).fetch(poll, spec, form)
        return _result(poll, stage_poll(settings, staging, archive, poll))
    except SettingsError:
        raise
    except (StagingBusy, StagingDamaged) as error:
        raise located(error, biller, spec.name, window) from None  # there is nowhere to record it
    except StorageTrouble as error:
        with suppress(IcflowsError):  # the archive may be full and staging not
            record_failure(staging, poll, error)
        raise located(error, biller, spec.name, window) from None
    except IcflowsError as error:
        record_failure(staging, archive.read_note(poll.poll_id) or poll, error)
        raise located(error, biller, spec.name, window) from None


def stage_poll(settings: Settings, staging: Staging, archive: Archive, poll: Poll) -> Staged:
    """Archived body → staging. A function of the note, the body and what staging holds; replay calls it too."""
    spec = settings.feed(poll.biller, poll.feed)
    zone = settings.biller(poll.biller).time_zone
    try:
        report: Report = read_report(archive.body_path(poll.poll_id, poll.suffix), spec, poll.form, zone)  # type: ignore[arg-type]
        return stage_report(staging, poll, spec, target_of(spec), report)
    except ShapeError as error:
        raise SchemaDrift(str(error)) from None


def _result(poll: Poll, staged: Staged) -> PollResult:
    return PollResult(
        poll_id=poll.poll_id, feed=poll.feed, form=poll.form, window_from=poll.window_from, window_to=poll.window_to,
        status=staged.status, reason=staged.reason, message=staged.message, reasons=staged.reasons,
        warnings=staged.warnings, **staged.counts.__dict__,
    )  # fmt: skip


def located(error: IcflowsError, biller: str, feed: str, window: Window) -> IcflowsError:
    """The same error with biller, feed and window in front of its words."""
    start, end = window
    span = f"{start:%Y-%m-%dT%H:%M:%SZ} to {end:%Y-%m-%dT%H:%M:%SZ}" if start and end else "full list"
    prefix = f"{biller} / {feed} / {span}: "
    if not str(error).startswith(prefix):
        error.args = (prefix + str(error),)
    return error
