"""Rebuilds a biller's staging from its archive: the same tables from the same bytes.

What is in the archive is the truth: polls, files from IMT, what was sent, what people said of breaks, the periods they
closed, the history of breaks. Alerts, and all that was made of the rest, are carried over from the old file where that
can still be read. The new file takes the old one's place by one rename, at the end; until then nothing is touched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from checks.contracts import FEEDS, IMT
from tasks.archive import Archive, Poll
from tasks.errors import BadAnswer, IcflowsError
from tasks.loading import stage_file
from tasks.outbox.history import History
from tasks.outbox.rebuild import rebuild
from tasks.pull import archive_of, stage_poll, staging_of
from tasks.settings import Settings
from tasks.stage import record_failure
from tasks.staging.carry import carry_over
from tasks.staging.store import Staging
from tasks.work.catching_up import restore
from tasks.work.kept import kept_of


@dataclass(frozen=True)
class ReplayResult:
    """Polls and files read again, those that had failed then, rows per table carried over from the old file, and rows

    of the work and of the history of breaks that only the archive had.
    """

    polls: int
    failed: int
    carried: dict[str, int]
    old_file: Path | None
    restored: dict[str, int] = field(default_factory=dict)


def replay(
    settings: Settings,
    biller: str,
    as_of: datetime,
    progress: Callable[[int, int], None] | None = None,
) -> ReplayResult:
    """Rebuilds staging of `biller`. The old file is kept beside the new one as <name>.before-<time>."""
    staging, archive = staging_of(settings, biller), archive_of(settings, biller)
    notes = sorted(archive.polls(), key=lambda poll: poll.poll_id.rsplit("-", 1)[-1])
    folder = staging.root / f".rebuild-{biller}"
    shutil.rmtree(folder, ignore_errors=True)
    rebuilt = Staging(folder, biller, settings.storage.lock_timeout_seconds)
    failed = 0
    for done, poll in enumerate(notes):
        if progress:
            progress(done, len(notes))
        failed += not _again(settings, rebuilt, archive, poll)
    if progress:
        progress(len(notes), len(notes))
    with rebuilt.open():
        pass  # an empty archive gives an empty, valid file
    with staging.exclusively():
        carried = carry_over(staging, rebuilt)
        rebuild(rebuilt, History(archive))
        restored = restore(rebuilt, kept_of(settings, biller))
        old = _swap(staging, rebuilt, as_of)
    shutil.rmtree(folder, ignore_errors=True)
    return ReplayResult(len(notes), failed, carried, old, restored)


def _again(settings: Settings, staging: Staging, archive: Archive, poll: Poll) -> bool:
    """Stages one poll or file as it was; False if it failed then or fails now, or is of a kind that is no more."""
    if poll.feed not in FEEDS and poll.feed not in IMT:
        return False
    if poll.status == "failed":
        record_failure(staging, poll, IcflowsError(poll.message or "failed", reason=poll.reason))
        return False
    try:
        _unchanged(archive, poll)
        if poll.feed in IMT:
            stage_file(settings, staging, archive, poll)
        else:
            stage_poll(settings, staging, archive, poll)
    except IcflowsError as error:
        record_failure(staging, poll, error)
        return False
    return True


def _unchanged(archive: Archive, poll: Poll) -> None:
    """The bytes must still be those of the note. Raises BadAnswer."""
    path = archive.body_path(poll.poll_id, poll.suffix)
    if not path.exists():
        raise BadAnswer(f"{path} is gone from the archive", reason="archive_changed")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != poll.sha256:
        raise BadAnswer(f"{path} has other bytes than its note says", reason="archive_changed")


def _second_name(path: Path, second: Path) -> None:
    """The old file keeps its own name until the new one takes it: a replay that is ended here finds it again."""
    second.unlink(missing_ok=True)
    try:
        os.link(path, second)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, second)


def _swap(staging: Staging, rebuilt: Staging, as_of: datetime) -> Path | None:
    old = None
    if staging.path.exists():
        old = staging.path.with_name(f"{staging.path.name}.before-{as_of:%Y%m%dT%H%M%SZ}")
        _second_name(staging.path, old)
    for leftover in staging.root.glob(f"{staging.path.name}.wal"):
        leftover.unlink()
    if rebuilt.journal.exists():
        os.replace(rebuilt.journal, staging.journal)
    else:
        staging.journal.unlink(missing_ok=True)
    os.replace(rebuilt.path, staging.path)
    return old
