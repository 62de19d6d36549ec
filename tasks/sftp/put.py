"""Puts files to the biller's SFTP directory: many at once, each complete under its name or not there at all.

Several connections, each with several channels, work off one queue (tasks/sftp/lane.py has the steps of a file).
A file that is there with the right size, and known to be ours, is not sent again: that is how a cut run resumes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import paramiko

from tasks.errors import Unreachable
from tasks.settings import Sftp
from tasks.sftp import reasons
from tasks.sftp.batch import Batch, regular_files
from tasks.sftp.lane import IN_FLIGHT_BYTES, IN_FLIGHT_FILES
from tasks.sftp.line import Line, Opened
from tasks.sftp.model import Progress, PutJob, PutResult
from tasks.sftp.session import LIMITS, Limits, open_channel, open_client

_FILES_PER_LANE = 8  # fewer are not worth another channel
_WATCH_SECONDS = 0.1


def put_files(
    sftp: Sftp, jobs: Sequence[PutJob], *, progress: Progress | None = None, limits: Limits = LIMITS
) -> list[PutResult]:
    """One result per job, in their order: sent, skipped (is there already) or failed with its reason.

    One file's failure stops no other; a lost connection is opened again `limits.reopen` times, then the rest fails
    as `cut`. Raises Unreachable, CredentialError, SettingsError if the server cannot be entered to begin with.
    """
    if not jobs:
        return []
    batch = Batch(sftp.directory, jobs, progress)
    client = open_client(sftp, limits)
    try:
        with _no_longer_than(client, limits.file):
            opened = open_channel(client, limits)
            there = _listing(opened, sftp.directory)
        if there is None:
            batch.plan({})
            return batch.fail_all(reasons.NO_DIRECTORY)
        batch.plan(there)
        if batch.has_work:
            _work_off(_lines(sftp, batch, limits, (client, opened)))
    finally:
        client.close()
    return batch.results()


def _listing(opened: paramiko.SFTPClient, directory: str) -> dict[str, int | None] | None:
    """What is there, by one listing; None if the directory is not. A directory that may not be listed is empty."""
    try:
        entries = opened.listdir_iter(directory or ".")
        return regular_files((entry.filename, entry.st_mode, entry.st_size) for entry in entries)
    except FileNotFoundError:
        return None
    except PermissionError:
        return {}
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise Unreachable(f"the SFTP directory cannot be listed ({type(error).__name__})") from None


@contextmanager
def _no_longer_than(client: paramiko.SSHClient, seconds: float) -> Iterator[None]:
    """paramiko's time-outs are per read; a server that drips would hold a listing for ever."""
    timer = threading.Timer(seconds, client.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _lines(sftp: Sftp, batch: Batch, limits: Limits, opened: Opened) -> list[Line]:
    """As many connections and lanes as the settings say, or as the files are worth."""
    wanted = -(-batch.open // _FILES_PER_LANE) or 1
    lines = min(sftp.connections, wanted)
    lanes = min(sftp.lanes, -(-wanted // lines))
    depth = min(IN_FLIGHT_FILES, -(-batch.open // (lines * lanes)) or 1)
    on_the_way = batch.largest() + lines * lanes * IN_FLIGHT_BYTES
    seconds = limits.file + on_the_way / limits.least_rate
    first = Line(sftp, batch, limits, lanes, depth, seconds, opened)
    return [first, *(Line(sftp, batch, limits, lanes, depth, seconds) for _ in range(lines - 1))]


def _work_off(lines: list[Line]) -> None:
    for line in lines:
        line.start()
    try:
        while alive := [line for line in lines if line.is_alive()]:
            alive[0].join(_WATCH_SECONDS)
            now = time.monotonic()
            for line in alive:
                line.watch(now)
    except BaseException:  # interrupted
        for line in lines:
            line.stop()
        raise
    for line in lines:
        if line.crash is not None:
            raise line.crash
