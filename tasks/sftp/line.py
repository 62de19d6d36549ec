"""One connection with its lanes: opened again when it is lost, cut when it stands still."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import paramiko

from tasks.errors import Retry, Stop
from tasks.settings import Sftp
from tasks.sftp import reasons
from tasks.sftp.batch import Batch
from tasks.sftp.lane import Lane
from tasks.sftp.reasons import Trouble
from tasks.sftp.session import Limits, open_channel, open_client
from tasks.sftp.wire import NoSftp

# What a lost channel or a server that speaks nonsense looks like from inside paramiko.
_LOST = (OSError, EOFError, paramiko.SSHException, NoSftp)
Opened = tuple[paramiko.SSHClient, paramiko.SFTPClient]


class Line(threading.Thread):
    """Works until the batch has nothing left, or the connection was lost once too often."""

    def __init__(
        self, sftp: Sftp, batch: Batch, limits: Limits, lanes: int, depth: int, seconds: float,
        opened: Opened | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name="sftp-line", daemon=True)
        self._sftp, self._batch, self._limits = sftp, batch, limits
        self._count, self._depth, self._seconds, self._first = lanes, depth, seconds, opened
        self._lanes: list[Lane] = []
        self._open: paramiko.SSHClient | None = None
        self._stood_still = self._stopped = False
        self.crash: BaseException | None = None  # a fault of ours, for the caller to raise

    def run(self) -> None:
        """The thread's body."""
        try:
            self._work()
        except BaseException as error:
            self.crash = error

    def _work(self) -> None:
        for attempt in range(self._limits.reopen + 1):
            if attempt:
                time.sleep(self._limits.pause * 2 ** (attempt - 1))
            if self._stopped or not self._batch.has_work:
                return
            try:
                if self._once():
                    return
            except Stop as error:  # refused: asking again may lock the account
                self._batch.lost(Trouble(error.reason, str(error)))
                return
            except Retry as error:
                self._batch.lost(Trouble(error.reason, str(error)))

    def _once(self) -> bool:
        """One connection's life; False if it was lost with work undone."""
        client, first = self._first or (open_client(self._sftp, self._limits), None)
        self._first, self._stood_still = None, False
        try:
            lanes = [Lane(channel, self._batch, self._depth) for channel in self._channels(client, first)]
            self._open, self._lanes = client, lanes
            if self._stopped:
                return True
            errors: list[BaseException] = []
            threads = [threading.Thread(target=_run, args=(lane, errors), daemon=True) for lane in lanes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self._lanes = []
            client.close()
        for error in errors:
            if not isinstance(error, _LOST):
                raise error
        if errors:
            still = self._stood_still or any(isinstance(error, TimeoutError) for error in errors)
            self._batch.lost(reasons.TIMEOUT if still else reasons.CUT)
        return not errors

    def _channels(self, client: paramiko.SSHClient, first: paramiko.SFTPClient | None) -> list[Any]:
        """As many as wanted, or as many as the server gives; at least one. Raises Unreachable."""
        opened = [first or open_channel(client, self._limits)]
        with suppress(Retry):
            for _ in range(self._count - 1):
                opened.append(open_channel(client, self._limits))
        return [one.get_channel() for one in opened]

    def watch(self, now: float) -> None:
        """Cuts the connection if a lane has been silent, or a file on its way, for too long."""
        lanes = [lane for lane in list(self._lanes) if lane.busy]
        silent = any(now - lane.touched > self._limits.silence for lane in lanes)
        if self._open and (silent or any(now - lane.oldest > self._seconds for lane in lanes)):
            self._stood_still = True
            self._open.close()

    def stop(self) -> None:
        """The caller does not wait any longer: nothing more may be sent behind its back."""
        self._stopped = True
        if self._open:
            self._open.close()


def _run(lane: Lane, errors: list[BaseException]) -> None:
    try:
        lane.run()
    except BaseException as error:
        errors.append(error)
