"""The pull: one feed of one biller, window by window, from InvoiceCloud into staging."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from flows import engine
from flows.alerting import alert, business_time, clear, deliver_by_hand, feed_resource
from flows.engine import flow, task
from flows.guards import made_up_for
from tasks.alerts import Alert, Kind
from tasks.errors import IcflowsError, Retry
from tasks.pull import PollResult, plan
from tasks.pull import pull_window as pull_one
from tasks.settings import Settings, load_settings, table_name
from tasks.windows import Window

COUNTS = (
    "rows_in",
    "rows_new",
    "rows_unchanged",
    "rows_amended",
    "rows_duplicate",
    "rows_quarantined",
    "rows_gone",
)


def may_pass(error: BaseException) -> bool:
    """Only what may pass by itself is asked for again; a Stop needs a person."""
    return isinstance(error, Retry)


@task(name="pull window", retries=2, retry_delay_seconds=(30, 120), retry_condition=may_pass)
def pull_window(settings_file: str, biller: str, feed: str, window: Window, as_of: datetime) -> PollResult:
    """One window; may be repeated any number of times. The SOAP call has a deadline of its own."""
    return pull_one(load_settings(settings_file), biller, feed, window, as_of)


@flow(name="pull-feed", run_name="{biller} {feed}")
def pull_feed(
    biller: str, feed: str, window_from: datetime | None = None, window_to: datetime | None = None,
    as_of: datetime | None = None, settings_file: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Ask InvoiceCloud for what is new in one feed; stage what is proven, raise an alert for what is not.

    Returns counts and references. Raises the error of the window that failed: it ends the pull, because
    later windows would not touch what is already covered. A suspect window does not end it.
    """
    settings, now, name = load_settings(settings_file), business_time(as_of), table_name(feed)
    if made_up_for(settings, biller, name, now, engine.run().scheduled_at):
        message = f"{biller} {feed}: a later run has pulled beyond the time this one was due"
        return engine.completed("Skipped", message, _summary(biller, name, [], "skipped"))
    windows = plan(settings, biller, name, now, window_from, window_to)
    polls, error = _pull(settings, biller, name, windows, now)
    _tell(settings, biller, name, now, polls, error)
    result = _summary(biller, name, polls, _status(polls))
    title = f"What was pulled from {feed} for {biller}"
    engine.artifact(f"pull-{name}-{biller}", _table(polls, windows, error), title)
    if polls:
        counts = {key: value for key, value in result.items() if key != "polls"}
        engine.emit("icflows.feed.staged", feed_resource(biller, name), counts)
    deliver_by_hand(settings, biller, now)
    return engine.failed("PollFailed", error) if error else result


def _pull(
    settings: Settings, biller: str, feed: str, windows: list[Window], as_of: datetime
) -> tuple[list[PollResult], IcflowsError | None]:
    seconds = settings.biller(biller).transport.retry_seconds
    ask = pull_window.with_options(retry_delay_seconds=[6 * seconds, 24 * seconds])
    polls: list[PollResult] = []
    for window in windows:
        try:
            polls.append(ask(str(settings.file), biller, feed, window, as_of))
        except IcflowsError as error:
            return polls, error
    return polls, None


def _tell(
    settings: Settings,
    biller: str,
    feed: str,
    as_of: datetime,
    polls: list[PollResult],
    error: IcflowsError | None,
) -> None:
    """Raises what is wrong and closes what this pull has healed; a pull that failed heals nothing."""
    found = _alerts(feed, polls, error)
    if polls and not error:
        wrong = {alert.kind for alert in found}
        healed: list[Kind] = [
            kind for kind in ("poll_failed", "poll_suspect", "check_failed") if kind not in wrong
        ]
        late: list[Kind] = ["feed_late"] if "poll_suspect" in healed else []
        clear(settings, biller, as_of, healed + late, [feed])
    alert(settings, biller, as_of, feed_resource(biller, feed), found)


def _alerts(feed: str, polls: list[PollResult], error: IcflowsError | None) -> list[Alert]:
    """At most one of each kind: failed, suspect, rows set aside. Counts and reasons, no row."""
    found = []
    if error:
        kept = "Nothing was staged from this window and the watermark did not move; the next run asks again."
        title = f"{feed}: poll failed ({error.reason})"
        found.append(Alert("poll_failed", feed, "HIGH", title, f"{error}. {kept}"))
    if suspect := [poll for poll in polls if poll.status == "suspect"]:
        lines = [f"{poll.poll_id}, {_span(_window(poll))}: {poll.message}" for poll in suspect]
        lines.append("the rows are staged, but no row is called missing and the watermark did not move")
        title = f"{feed}: suspect answer ({suspect[0].reason})"
        found.append(Alert("poll_suspect", feed, "HIGH", title, "; ".join(lines)))
    if bad := [poll for poll in polls if poll.rows_quarantined]:
        rows = sum(poll.rows_quarantined for poll in bad)
        lines = [f"{poll.poll_id}: {why}: {count}" for poll in bad for why, count in poll.reasons.items()]
        title = f"{feed}: {rows} rows set aside by the contract"
        found.append(Alert("check_failed", feed, "MED", title, "; ".join([*lines, f"see quarantine.{feed}"])))
    return found


def _status(polls: list[PollResult]) -> str:
    return "suspect" if any(poll.status == "suspect" for poll in polls) else "ok"


def _summary(biller: str, feed: str, polls: list[PollResult], status: str) -> dict[str, Any]:
    totals = {name: sum(getattr(poll, name) for poll in polls) for name in COUNTS}
    told = [asdict(poll) for poll in polls]
    return {"biller": biller, "feed": feed, "status": status, **totals, "polls": told}


def _table(
    polls: list[PollResult], windows: list[Window], error: IcflowsError | None
) -> list[dict[str, Any]]:
    shown = ("status", "reason", *COUNTS, "sum_in", "form", "poll_id")
    lines = [
        {"window": _span(_window(poll)), **{name: getattr(poll, name) for name in shown}} for poll in polls
    ]
    if error:
        lines.append({"window": _span(windows[len(polls)]), "status": "failed", "reason": error.reason})
    return lines


def _window(poll: PollResult) -> Window:
    return poll.window_from, poll.window_to


def _span(window: Window) -> str:
    start, end = window
    return f"{start:%Y-%m-%dT%H:%M:%SZ} to {end:%Y-%m-%dT%H:%M:%SZ}" if start and end else "full list"
