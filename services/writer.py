"""One thread writes for all: pushes in groups, each group one transaction; then the log of calls and a heartbeat.

A push is answered when the transaction that holds it is on the disk, never before. While one group is being written
the next one gathers, so that many callers share one sync of the disk. The queue is bounded: when it is full the
caller is told to come again, and no memory grows.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.telling import Telling
from tasks.errors import IcflowsError, StorageTrouble
from tasks.inbound.model import Call, EnrolmentList, EnrolmentPush, Push, Taken, Unread

Item = Push | EnrolmentPush | Unread


class Shelf(Protocol):
    """Where the thread writes to; every call is durable when it returns, or raises."""

    def take(self, items: Sequence[Item], at: datetime) -> list[Taken]: ...
    def refuse(self, biller: str, which: EnrolmentList, at: datetime) -> None: ...
    def keep(self, calls: Sequence[Call]) -> None: ...
    def beat(self, at: datetime) -> None: ...


@dataclass(slots=True)
class _Job:
    item: Item | tuple[str, EnrolmentList]
    done: asyncio.Future[Taken]


class QueueFull(StorageTrouble):
    """More is waiting to be written than the service holds."""

    reason = "queue_full"


class Writer:
    """Start it within a running event loop; stop it when the last request is answered."""

    def __init__(
        self, shelf: Shelf, clock: Callable[[], datetime], *,
        room: int = 2_000, group: int = 256, calls_room: int = 100_000, beat_seconds: float = 30.0,
    ) -> None:  # fmt: skip
        self._shelf, self._clock = shelf, clock
        self._room, self._group, self._beat_seconds = room, group, beat_seconds
        self._waiting: deque[_Job] = deque()
        self._calls: deque[Call] = deque(maxlen=calls_room)
        self._wake = threading.Condition()
        self._closing = False
        self._beaten = float("-inf")
        self._thread = threading.Thread(target=self._run, name="icflows-writer", daemon=True)
        self._telling = Telling()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread is at work."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begins to write for the loop that is running."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self, seconds: float = 15.0) -> None:
        """Writes what waits and the last calls, then ends. What comes later is refused."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(seconds)

    async def take(self, item: Item) -> Taken:
        """Returns when `item` is on the disk. Raises StorageTrouble (also QueueFull), StagingDamaged."""
        return await self._put(item)

    async def refuse(self, biller: str, which: EnrolmentList) -> None:
        """Counts an enrolment push that was refused."""
        await self._put((biller, which))

    def called(self, call: Call) -> None:
        """Logs a call soon; above the room for it the oldest give way."""
        if len(self._calls) == self._calls.maxlen:
            self._telling.tell("calls_lost", "the log of calls cannot be written; the oldest are dropped")
        self._calls.append(call)

    async def _put(self, item: Item | tuple[str, EnrolmentList]) -> Taken:
        job = _Job(item, asyncio.get_running_loop().create_future())
        with self._wake:
            if self._closing or not self.alive or len(self._waiting) >= self._room:
                raise QueueFull("the service cannot store more at the moment")
            self._waiting.append(job)
            self._wake.notify()
        return await job.done

    def _run(self) -> None:
        flushed = time.monotonic()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._closing, timeout=0.5)
                jobs = [self._waiting.popleft() for _ in range(min(self._group, len(self._waiting)))]
                ending = self._closing and not jobs
            if jobs:
                self._write(jobs)
            if ending or time.monotonic() - flushed >= 0.5:
                self._flush()
                flushed = time.monotonic()
            if ending:
                return

    def _write(self, jobs: list[_Job]) -> None:
        outcome: list[Taken | BaseException]
        try:
            outcome = list(self._stored(jobs))
        except IcflowsError as error:
            self._telling.tell(error.reason, f"pushes are not stored: {error}")
            outcome = [error] * len(jobs)
        except Exception as error:  # a fault of ours: whichever push it lies in, the others are not to suffer
            self._telling.tell(
                "fault", f"a group of pushes failed ({type(error).__name__}); written one by one"
            )
            outcome = [self._alone(job) for job in jobs]
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            assert self._loop
            self._loop.call_soon_threadsafe(_resolve, jobs, outcome)

    def _stored(self, jobs: list[_Job]) -> list[Taken]:
        at = self._clock()
        items = [job.item for job in jobs if not isinstance(job.item, tuple)]
        taken = iter(self._shelf.take(items, at) if items else ())
        results = []
        for job in jobs:
            if isinstance(job.item, tuple):
                self._shelf.refuse(*job.item, at)
                results.append(Taken("unread", ""))
            else:
                results.append(next(taken))
        return results

    def _alone(self, job: _Job) -> Taken | BaseException:
        try:
            return self._stored([job])[0]
        except IcflowsError as error:
            return error
        except Exception as error:
            return StorageTrouble(f"this push cannot be stored ({type(error).__name__})", reason="fault")

    def _flush(self) -> None:
        try:
            while self._calls:
                calls = [self._calls[place] for place in range(min(500, len(self._calls)))]
                self._shelf.keep(calls)
                for call in calls:
                    if self._calls and self._calls[0] is call:  # else it gave way meanwhile
                        self._calls.popleft()
            if time.monotonic() - self._beaten >= self._beat_seconds:
                self._shelf.beat(self._clock())
                self._beaten = time.monotonic()
        except Exception as error:
            words = error if isinstance(error, IcflowsError) else type(error).__name__
            self._telling.tell("log", f"calls are not logged for now: {words}")


def _resolve(jobs: list[_Job], outcome: Sequence[Taken | BaseException]) -> None:
    for job, result in zip(jobs, outcome, strict=True):
        if job.done.done():
            continue
        if isinstance(result, BaseException):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)
