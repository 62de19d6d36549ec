"""The drop folder: IMT puts its files into <folder>/<kind>, a run takes them, loads them and moves them away.

    <folder>/invoices, /postings, …     one subfolder for each kind of file (tasks.loading.KINDS)
            /done/<UTC date>/           what was loaded
            /failed/                    what could not be read at all

A file is moved only after its rows are committed. One that was loaded and not moved (the process died in
between) is loaded again, which changes nothing. A writer should rename its file into place; one that writes
in place is waited for until the file has been quiet for some seconds.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tasks.archive import translated_os_errors
from tasks.errors import SettingsError
from tasks.imt_files import suffixes
from tasks.loading import KINDS

QUIET_SECONDS = 5.0
DONE, FAILED = "done", "failed"
_TEMPORARY = (".part", ".tmp", ".temp", ".partial", ".filepart", ".crdownload", ".swp", "~")


@dataclass(frozen=True)
class Sight:
    """A file as it was when somebody looked: another size, time or inode is another file."""

    size: int
    changed_ns: int
    inode: int


def waiting_files(
    folder: Path, quiet_seconds: float = QUIET_SECONDS, clock: Callable[[], float] = time.time
) -> list[tuple[str, Path]]:
    """(kind, path) of the files that may be taken, oldest first by name.

    `clock` gives seconds since 1970 as the file system counts them (business time may be another one).
    Raises SettingsError if the folder is not there, StorageTrouble if it cannot be read.
    """
    found = []
    for kind, path in _entries(folder):
        if not _suitable(kind, path):
            continue
        with translated_os_errors("drop folder"):
            try:
                changed = path.stat().st_mtime
            except FileNotFoundError:
                continue  # another run took it just now
        # A time ahead of the clock is one that still changes: the file server's clock may be fast.
        if clock() - changed >= quiet_seconds:
            found.append((kind, path))
    return sorted(found, key=lambda item: (item[1].name, item[0]))


def strangers(folder: Path) -> list[str]:
    """What lies there and will never be taken ('invoices/list.xlsx'); hidden and temporary names are no strangers."""
    return [
        f"{kind}/{path.name}"
        for kind, path in _entries(folder)
        if not _suitable(kind, path) and not _temporary(path.name)
    ]


def sight(path: Path) -> Sight | None:
    """How the file is now; None if it is gone."""
    try:
        seen = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Sight(seen.st_size, seen.st_mtime_ns, seen.st_ino)


def put_away(path: Path, folder: Path, day: date | None) -> Path:
    """Moves a file to done/<day> (a date) or failed/ (None) and returns where it is now. Nothing is overwritten.

    The name is taken first with an empty file of our own, so that two runs never take the same one. Raises
    StorageTrouble.
    """
    home = folder / DONE / day.isoformat() if day else folder / FAILED
    with translated_os_errors("drop folder"):
        home.mkdir(parents=True, exist_ok=True)
        for name in _names(path):
            place = home / name
            try:
                os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                continue
            try:
                os.replace(path, place)
            except OSError:
                place.unlink()
                raise
            return place
    raise AssertionError("there is always another name")


def _names(path: Path) -> Iterator[str]:
    """The name itself, then name-2, name-3, …"""
    yield path.name
    for number in itertools.count(2):
        yield f"{path.stem}-{number}{path.suffix}"


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Whatever lies in the subfolders that are named after a kind."""
    if not folder.is_dir():
        raise SettingsError(f"the drop folder {folder} does not exist; create it, or correct drop_folder")
    with translated_os_errors("drop folder"):
        for kind in sorted(KINDS):
            below = folder / kind
            if below.is_dir() and not below.is_symlink():
                for path in sorted(below.iterdir()):
                    yield kind, path


def _suitable(kind: str, path: Path) -> bool:
    """A regular file, no link, with an ending that can be read, and no sign of being written."""
    plain = path.is_file() and not path.is_symlink()
    return plain and path.suffix.lower() in suffixes(KINDS[kind]) and not _temporary(path.name)


def _temporary(name: str) -> bool:
    """rsync and curl hide theirs, editors and browsers mark them: 'x.csv.part', '~x.csv', '.x.csv.Ab12'."""
    return name.startswith((".", "~")) or name.lower().endswith(_TEMPORARY)
