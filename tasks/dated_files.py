"""Files published for people: <folder>/<UTC>.<suffix> and <folder>/latest.<suffix>, whole or not at all.

A file is written under a temporary name in the same folder, flushed to the disk, and renamed. Whoever reads
`latest` sees the old file or the new one, never a part; a failure or a kill leaves the old one in place.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.errors import Retry, SettingsError, StagingBusy

_STAMP = "%Y%m%dT%H%M%SZ"
_PART = ".part-"
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EACCES)


@dataclass(frozen=True)
class Draft:
    """A file that is being written at `path` and is to stay under the name `final`."""

    path: Path
    final: Path

    def keep(self) -> None:
        """Gives the file its name, whole and read-only. What had that name before is replaced."""
        self.path.chmod(0o444)
        _sync(self.path)
        os.replace(self.path, self.final)
        _sync(self.final.parent)


@dataclass(frozen=True)
class DatedFiles:
    """The published files of one biller and one kind; `suffix` without the dot."""

    folder: Path
    suffix: str
    lock_timeout: float = 60.0

    @property
    def latest(self) -> Path:
        """The name under which the newest file is always found."""
        return self.folder / f"latest.{self.suffix}"

    def path(self, as_of: datetime) -> Path:
        """The file of this moment (aware); publishing it again replaces it."""
        if as_of.tzinfo is None:
            raise SettingsError("as_of needs a time zone, for example 2026-10-30T23:00:00Z")
        return self.folder / f"{as_of.astimezone(UTC):{_STAMP}}.{self.suffix}"

    @contextmanager
    def replacing(self, as_of: datetime) -> Iterator[Path]:
        """Gives a temporary path to write to; the file gets both its names when the block ends well.

        Leftovers of killed runs are removed first. Raises Retry when the disk is full or refuses.
        """
        final = self.path(as_of)
        with self._writing() as part:
            yield part
            self._give_names(part, final)

    @contextmanager
    def freezing(self, name: str) -> Iterator[Draft]:
        """Gives a draft that becomes <folder>/<name>.<suffix> when it is kept: read-only, never pruned, not `latest`.

        Raises Retry when the disk is full or refuses.
        """
        with self._writing() as part:
            yield Draft(part, self.folder / f"{name}.{self.suffix}")

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error
        with self._locked():
            self._sweep()
            try:
                yield self.folder / f"{_PART}{os.getpid()}.{self.suffix}"
            except OSError as error:
                raise self._refused(error) from error
            finally:
                self._sweep()

    def prune(self, as_of: datetime, keep: int, days: int) -> list[Path]:
        """Removes all but the newest `keep` files and those older than `days`; never what `latest` shows."""
        with self._locked():
            dated = sorted(self._dated(), reverse=True)
            oldest = f"{as_of.astimezone(UTC) - timedelta(days=days):{_STAMP}}"
            gone = [p for rank, p in enumerate(dated) if rank >= keep or p.name < oldest]
            gone = [p for p in gone if not (self.latest.exists() and self.latest.samefile(p))]
            for path in gone:
                path.unlink(missing_ok=True)
        return gone

    def _dated(self) -> list[Path]:
        name = re.compile(rf"\d{{8}}T\d{{6}}Z\.{self.suffix}")
        return [path for path in self.folder.iterdir() if name.fullmatch(path.name)]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=self.lock_timeout)
        except Timeout:
            raise StagingBusy(
                f"another process publishes to {self.folder}; waited {self.lock_timeout:g} s"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _sweep(self) -> None:
        """Under the lock nobody else writes, so every part is a leftover."""
        for path in self.folder.glob(f"{_PART}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _give_names(self, part: Path, final: Path) -> None:
        _sync(part)
        os.replace(part, final)
        _sync(self.folder)
        second = part.with_name(f"{part.name}.latest")
        try:
            os.link(final, second)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            shutil.copyfile(final, second)
            _sync(second)
        os.replace(second, self.latest)
        _sync(self.folder)

    def _refused(self, error: OSError) -> Retry:
        cause = os.strerror(error.errno) if error.errno else type(error).__name__
        reason = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "not_written"
        return Retry(
            f"{self.folder} cannot be written ({cause}); what was published before still stands",
            reason=reason,
        )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
