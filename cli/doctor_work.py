"""Doctor's look at closed periods: is each frozen snapshot still there, byte for byte?"""

from __future__ import annotations

from collections.abc import Iterator

from cli.finding import Finding
from tasks.errors import IcflowsError
from tasks.pull import staging_of
from tasks.settings import Settings


def frozen(settings: Settings, name: str) -> Iterator[Finding]:
    """One finding for all closed periods that are as they were, one for each that is not; none if none is closed."""
    from tasks.work.periods import closed_periods

    what = f"{name}: closed periods"
    try:
        closed = closed_periods(settings, name) if staging_of(settings, name).path.exists() else []
    except IcflowsError:
        return  # the finding on staging says so already
    wrong = [row for row in closed if row["state"] != "ok"]
    for row in wrong:
        words = f"{row['snapshot']} of {row['period']} is {row['state']}; its SHA-256 was {row['sha256']}"
        yield Finding(
            what, "fail", words, "put the file back from a backup; nothing here writes it a second time"
        )
    if closed and not wrong:
        yield Finding(what, "ok", f"{len(closed)} frozen snapshots are as they were")
