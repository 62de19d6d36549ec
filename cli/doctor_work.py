"""Doctor's look at the work of finance: are frozen snapshots as they were, do archive and staging tell the same?"""

from __future__ import annotations

from collections.abc import Iterator

from cli.finding import Finding
from tasks.errors import IcflowsError, StorageTrouble
from tasks.pull import staging_of
from tasks.settings import Settings


def finance(settings: Settings, name: str) -> Iterator[Finding]:
    """All findings on the work of finance; none where staging is empty or cannot be opened (that is told already)."""
    if staging_of(settings, name).path.exists():
        yield from frozen(settings, name)
        yield from archived(settings, name)


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


def archived(settings: Settings, name: str) -> Iterator[Finding]:
    """What people said of breaks, the periods they closed and the runs: is each in the archive and in staging?"""
    from tasks.work.catching_up import differences
    from tasks.work.kept import kept_of

    what = f"{name}: work and history"
    try:
        with staging_of(settings, name).open() as connection:
            found = differences(connection, kept_of(settings, name))
    except StorageTrouble as error:
        yield Finding(what, "fail", str(error), "make the archive readable and writable")
        return
    except IcflowsError:
        return  # the finding on staging says so already
    noted = _counted(found.words_noted.height, found.periods_noted.height, 0)
    unkept = _counted(found.words_unkept.height, found.periods_unkept.height, len(found.runs_unkept))
    if found.runs_lost:
        words = f"{_counted(0, 0, len(found.runs_lost))} in the archive and not in staging"
        yield Finding(what, "fail", words, f"icflows replay --biller {name}")
    if noted:
        words = f"{noted} in the archive and not in staging: a process was ended in between"
        yield Finding(what, "warn", words, f"icflows breaks --biller {name} applies them")
    if unkept:
        words = f"{unkept} in staging and not in the archive"
        yield Finding(what, "warn", words, f"icflows breaks --biller {name} writes them")
    if not (found.runs_lost or noted or unkept):
        yield Finding(what, "ok", "archive and staging tell the same")


def _counted(words: int, periods: int, runs: int) -> str:
    """'2 words on breaks, 1 closed period'; empty if there is nothing."""
    named = ((words, "word on breaks", "words on breaks"), (periods, "closed period", "closed periods"))
    parts = [*named, (runs, "reconcile run", "reconcile runs")]
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in parts if count)
