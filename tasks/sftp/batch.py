"""The state that all lanes of one batch share: what is to be sent, what became of it."""

from __future__ import annotations

import stat
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from tasks.sftp import reasons
from tasks.sftp.model import PartNames, Progress, PutJob, PutResult, Task, name_trouble
from tasks.sftp.reasons import Trouble


class Batch:
    """A queue with its results. Safe to be used from many threads."""

    def __init__(self, directory: str, jobs: Sequence[PutJob], progress: Progress | None = None) -> None:
        self._folder = directory.rstrip("/").encode() + b"/" if directory else b""
        self._jobs, self._progress = jobs, progress
        self._results: dict[int, PutResult] = {}
        self._queue: deque[Task] = deque()
        self._litter: deque[bytes] = deque()
        self._parts = PartNames()
        self._lock = threading.RLock()
        self._last: Trouble = reasons.CUT

    def plan(self, there: Mapping[str, int | None]) -> None:
        """`there`: names and sizes at the server. Queues what must be sent; leftovers of older sessions go."""
        self._litter.extend(self._folder + n.encode() for n in there if self._parts.is_leftover(n))
        seen: set[str] = set()
        for index, job in enumerate(self._jobs):
            task = Task(index, job)
            if said := name_trouble(job.name):
                self.settle(task, Trouble("bad_name", said))
            elif job.name in seen:
                self.settle(task, reasons.NAMED_TWICE)
            elif job.may_skip and there.get(job.name) == job.size:
                self._finish(index, PutResult(job.name, "skipped", job.size))
            else:
                self._queue.append(task)
            seen.add(job.name)

    @property
    def open(self) -> int:
        """How many files wait in the queue."""
        return len(self._queue)

    @property
    def has_work(self) -> bool:
        """Is there anything for a lane to do?"""
        return bool(self._queue or self._litter)

    def largest(self) -> int:
        """Bytes of the largest file."""
        return max((job.size for job in self._jobs), default=0)

    def take(self) -> Task | None:
        """The next file, or None."""
        with self._lock:
            return self._queue.popleft() if self._queue else None

    def take_litter(self) -> bytes | None:
        """The path of a leftover to be removed, or None."""
        with self._lock:
            return self._litter.popleft() if self._litter else None

    def give_back(self, task: Task) -> None:
        """A file that a lost connection left undone goes last: if it was the cause, the others go before."""
        with self._lock:
            self._queue.append(task)

    def settle(self, task: Task, trouble: Trouble | None) -> None:
        """Sent, or failed with its reason."""
        if trouble is None:
            result = PutResult(task.job.name, "sent", task.job.size)
        else:
            result = PutResult(task.job.name, "failed", task.job.size, trouble.reason, trouble.message)
        self._finish(task.index, result)

    def lost(self, trouble: Trouble) -> None:
        """Why a connection went; what no connection finishes fails with the last of these."""
        with self._lock:
            self._last = trouble

    def results(self) -> list[PutResult]:
        """In the order of the jobs; what is still open failed."""
        while (task := self.take()) is not None:
            self.settle(task, self._last)
        return [self._results[index] for index in range(len(self._jobs))]

    def fail_all(self, trouble: Trouble) -> list[PutResult]:
        """Nothing can be sent."""
        self.lost(trouble)
        return self.results()

    def path(self, name: str) -> bytes:
        """The file's path at the server."""
        return self._folder + name.encode()

    def new_part(self, name: str) -> bytes:
        """A new temporary path beside it."""
        with self._lock:
            return self._folder + self._parts.new(name).encode()

    def _finish(self, index: int, result: PutResult) -> None:
        with self._lock:
            self._results[index] = result
            if self._progress is not None:
                self._progress(result)


def regular_files(entries: Iterable[tuple[str, int | None, int | None]]) -> dict[str, int | None]:
    """(name, mode, bytes) → name: bytes. A folder or a link of a wanted name is not that file."""
    return {name: size for name, mode, size in entries if mode is None or stat.S_ISREG(mode)}
