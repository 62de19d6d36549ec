"""What the service received → the biller's staging: imt.pushes, imt.enrolment_pushes, imt.rtdr_calls.

Rows go as a file through the same door as IMT's (archive, contract, quarantine, merge); only then does the store
note that staging has them. A kill in between loads them once more, which changes nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.archive import translated_os_errors
from tasks.errors import StagingBusy
from tasks.inbound.flags import Flagged, Flags, flags, told
from tasks.inbound.overview import overview
from tasks.inbound.pruning import prune
from tasks.inbound.store import open_store
from tasks.inbound.unstaged import sources
from tasks.loading import load_file
from tasks.settings import Settings

__all__ = ["CollectResult", "Flagged", "Flags", "collect", "flags", "overview", "told"]
ROWS = 100_000  # of one kind in one file


@dataclass(frozen=True)
class CollectResult:
    """Rows loaded now: new or changed pushes and events, those that could not be read, calls; ids of the loads."""

    pushes: int = 0
    enrolment_pushes: int = 0
    unread: int = 0
    rtdr_calls: int = 0
    loads: list[str] = field(default_factory=list)


def collect(settings: Settings, biller: str, at: datetime) -> CollectResult:
    """Loads everything that staging lacks; takes out of the store what is old. Raises Retry (store, staging or disk) and Stop errors; run it again then."""
    counts = {"pushes": 0, "enrolment_pushes": 0, "unread": 0, "rtdr_calls": 0}
    loads: list[str] = []
    with _alone(settings, biller) as folder, closing(open_store(settings)) as store:
        for source in sources():
            full = True
            while full:  # what comes in meanwhile is for the next run
                signs, rows = source.read(store, biller, ROWS)
                full = rows.height == ROWS
                if not rows.height:
                    break
                path = folder / f"{source.kind}.parquet"
                with translated_os_errors("service's folder"):
                    rows.write_parquet(path)
                loads.append(load_file(settings, biller, source.kind, path, at).load_id)
                source.note(store, biller, signs)
                counts[source.counted_as] += rows.height
        prune(store, biller, at)
    return CollectResult(**counts, loads=loads)


@contextmanager
def _alone(settings: Settings, biller: str) -> Iterator[Path]:
    """A private folder for one run at a time; what a killed run left in it goes."""
    folder = settings.folder("service") / f"{biller}.collecting"
    with translated_os_errors("service's folder"):
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_suffix(".lock"), timeout=settings.storage.lock_timeout_seconds, mode=0o600):
            shutil.rmtree(folder, ignore_errors=True)
            with translated_os_errors("service's folder"):
                folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        raise StagingBusy(f"another run collects the pushes of {biller}") from None
