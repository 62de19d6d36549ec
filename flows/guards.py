"""When a run of a deployment has nothing to do: it comes too late, or nothing happened since the last one."""

from __future__ import annotations

import json
from datetime import datetime

from tasks.pull import staging_of
from tasks.settings import Settings
from tasks.staging.inputs import last_run
from tasks.staging.polls import watermark


def made_up_for(settings: Settings, biller: str, feed: str, as_of: datetime, due: datetime | None) -> bool:
    """True for a run that was due more than one interval ago and whose work was done meanwhile.

    After a worker was down, Prefect starts every run that was missed. The first one pulls all that is new,
    because windows start at the watermark; the rest would only ask again.
    """
    if due is None or as_of - due <= settings.feed(biller, feed).interval:
        return False
    with staging_of(settings, biller).open() as connection:
        mark = watermark(connection, feed)
    return mark is not None and mark > due


def last_run_id(settings: Settings, biller: str) -> str | None:
    """The id of the reconcile run that stands."""
    with staging_of(settings, biller).open() as connection:
        last = last_run(connection)
    return last["run_id"] if last else None


def nothing_new(settings: Settings, biller: str, as_of: datetime) -> bool:
    """True if the last acknowledged load is the last reconcile run itself, on the same day of the biller.

    Several feeds end at nearly the same time and each asks for a reconcile run; the first run sees them
    all. On a new day verdicts change even without new rows: what was due yesterday is missing today.
    """
    staging, zone = staging_of(settings, biller), settings.biller(biller).zone
    with staging.open() as connection:
        last = last_run(connection)
    if last is None or last["as_of"].astimezone(zone).date() != as_of.astimezone(zone).date():
        return False
    loads = staging.journal.read_text("utf-8").splitlines()
    return bool(loads) and json.loads(loads[-1])["load_id"] == last["run_id"]
