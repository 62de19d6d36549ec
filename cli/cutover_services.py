"""Do the services that Spectrum polls answer? The last good poll says so, else a real call that leaves no trace."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from tasks.errors import IcflowsError
from tasks.outbox.overview import last_ok_polls
from tasks.pull import plan, pull_window
from tasks.settings import Settings

State = Literal["ok", "fail", "person"]
Seen = tuple[State, str]
_SECONDS = 60.0  # a service that takes longer for the rows of one interval counts as not reachable


@dataclass(frozen=True)
class Ground:
    """What the checks look at. `at`: business time, aware UTC."""

    settings: Settings
    biller: str
    at: datetime


def polled(ground: Ground, feed: str) -> Seen:
    """A good answer within two intervals."""
    interval: timedelta = ground.settings.feed(ground.biller, feed).interval
    last = last_ok_polls(ground.settings, ground.biller, [feed]).get(feed)
    if last is None:
        return "fail", f"{feed} was never pulled with a good answer"
    fresh = ground.at - last <= 2 * interval
    words = f"the last good answer is of {last:%Y-%m-%d %H:%M} UTC; it is due every {_hours(interval)}"
    return ("ok" if fresh else "fail"), words


def service(ground: Ground, feed: str) -> Seen:
    """The last good poll, else a real call of every configured operation, kept nowhere."""
    state, words = polled(ground, feed)
    if state == "ok":
        return state, words
    spec = ground.settings.feed(ground.biller, feed)
    told = []
    for form, asked in spec.forms.items():
        _ask(ground, feed, form)
        told.append(asked.operation)
    return "ok", f"{words}; asked just now: {' and '.join(told)} answer"


def _ask(ground: Ground, feed: str, form: str) -> None:
    """Pulls the last interval by one wire form, once, into a folder that is thrown away. Raises what the pull raises."""
    with tempfile.TemporaryDirectory() as folder:
        apart = _apart(ground, feed, form, Path(folder))
        since = ground.at - apart.feed(ground.biller, feed).interval
        for window in plan(apart, ground.biller, feed, ground.at, window_from=since):
            found = pull_window(apart, ground.biller, feed, window, ground.at)
            if found.form != form:
                raise IcflowsError("; ".join(found.warnings))


def _apart(ground: Ground, feed: str, form: str, folder: Path) -> Settings:
    """The same settings with storage of its own and this wire form; a call is not repeated and not waited for long."""
    own = ground.settings.biller(ground.biller)
    feeds = {**own.feeds, feed: {**own.feeds.get(feed, {}), "form": form}}
    limits = own.transport.model_copy(
        update={"tries": 1, "deadline_seconds": min(own.transport.deadline_seconds, _SECONDS)}
    )
    storage = ground.settings.storage.model_copy(
        update={"staging": folder / "staging", "archive": folder / "archive"}
    )
    biller = own.model_copy(update={"feeds": feeds, "transport": limits})
    return ground.settings.model_copy(update={"storage": storage, "billers": {ground.biller: biller}})


def _hours(interval: timedelta) -> str:
    return f"{interval.total_seconds() / 3600:g} h"
