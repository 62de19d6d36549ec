"""One SFTP channel that keeps many files on their way at once.

A file's requests: create under a temporary name; all writes, size and close in one go; then, if every answer is good
and the size is right, the atomic rename. Nothing is waited for but answers that decide what comes next: on a link
with 50 ms delay a file costs its three round trips beside all the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tasks.sftp import reasons, wire
from tasks.sftp.model import Task
from tasks.sftp.reasons import Trouble

_CHUNK = 32_768  # every server must take a packet of 34,000 bytes; bigger ones were no faster
_FLUSH = 262_144
IN_FLIGHT_FILES = 24
IN_FLIGHT_BYTES = 2_097_152


class Work(Protocol):
    """Where a lane gets its tasks and brings its results; shared by all lanes, so every call must be safe."""

    def take(self) -> Task | None: ...
    def take_litter(self) -> bytes | None: ...
    def give_back(self, task: Task) -> None: ...
    def settle(self, task: Task, trouble: Trouble | None) -> None: ...
    def path(self, name: str) -> bytes: ...
    def new_part(self, name: str) -> bytes: ...


@dataclass
class _Flight:
    task: Task
    name: bytes
    started: float
    due: int = 0  # answers that decide the next step
    trouble: Trouble | None = None
    size: int | None = None
    asked_again: bool = False
    renamed_before: bool = False  # an earlier connection asked for the rename
    part_there: bool = False
    part_size: int | None = None


def _chunks(path: Path) -> Iterator[bytes]:
    """The file in pieces; a file that cannot be read ends early, and its length tells."""
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError:
        return


class Lane:
    """`run` works until there is nothing to do; any exception means that the channel is of no more use."""

    def __init__(self, channel: Any, work: Work, depth: int) -> None:
        self._channel, self._work, self._depth = channel, work, depth
        self._answers = wire.Answers()
        self._waiting: dict[int, tuple[Callable[[_Flight, int, bytes], None], _Flight | None]] = {}
        self._flights: dict[int, _Flight] = {}
        self._out: list[bytes] = []
        self._pending = self._number = self._bytes = 0
        self._packet = max(channel.out_max_packet_size - 64, 1024)
        self.touched = time.monotonic()  # last sign of life: bytes out or in
        self.oldest = float("inf")  # start of the oldest file on its way
        self.busy = False

    def run(self) -> None:
        """Works off the queue; gives back what it could not finish."""
        self.touched, self.busy = time.monotonic(), True
        try:
            while self._fill() or self._waiting:
                self._flush()
                data = self._channel.recv(65_536)
                if not data:
                    raise EOFError
                self.touched = time.monotonic()
                for number, kind, body in self._answers.feed(data):
                    self._answered(number, kind, body)
        finally:
            self.busy = False
            for flight in self._flights.values():
                self._work.give_back(flight.task)

    def _answered(self, number: int, kind: int, body: bytes) -> None:
        if number not in self._waiting:
            raise wire.NoSftp
        on_answer, flight = self._waiting.pop(number)
        if flight is not None:
            flight.due -= 1
            on_answer(flight, kind, body)

    def _fill(self) -> bool:
        """Takes files from the queue while there is room; is any on its way?"""
        while (litter := self._work.take_litter()) is not None:
            self._ask(None, self._ignored, wire.remove, litter)
        while len(self._flights) < self._depth and self._bytes < IN_FLIGHT_BYTES:
            task = self._work.take()
            if task is None:
                break
            name = self._work.path(task.job.name)
            flight = _Flight(task, name, time.monotonic(), renamed_before=task.naming)
            self._flights[task.index] = flight
            self._bytes += task.job.size
            if task.naming:
                self._look(flight)
            else:
                self._create(flight)
        self.oldest = next((flight.started for flight in self._flights.values()), float("inf"))
        return bool(self._flights)

    def _ask(self, flight: _Flight | None, on_answer: Any, make: Callable[..., bytes], *fields: Any) -> None:
        self._number = (self._number + 1) & 0xFFFF_FFFF
        self._waiting[self._number] = (on_answer, flight)
        if flight is not None:
            flight.due += 1
        packet = make(self._number, *fields)
        self._out.append(packet)
        self._pending += len(packet)
        if self._pending >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        """Small requests share a packet; waits while the link or the server is full."""
        data = memoryview(b"".join(self._out))
        self._out.clear()
        self._pending = 0
        while data:
            sent = self._channel.send(bytes(data[: self._packet]))
            if sent == 0:
                raise EOFError
            self.touched = time.monotonic()
            data = data[sent:]

    def _settle(self, flight: _Flight, trouble: Trouble | None) -> None:
        del self._flights[flight.task.index]
        self._bytes -= flight.task.job.size
        self._work.settle(flight.task, trouble)

    # --- the steps of a file; each is called with the answer to its request ---

    def _create(self, flight: _Flight) -> None:
        task = flight.task
        if task.part:  # of a try before the connection was lost
            self._ask(None, self._ignored, wire.remove, task.part)
        task.part, task.naming = self._work.new_part(task.job.name), False
        self._ask(flight, self._on_create, wire.create, task.part)

    def _on_create(self, flight: _Flight, kind: int, body: bytes) -> None:
        if kind != wire.HANDLE:
            self._settle(flight, reasons.of_create(wire.status(body)))
            return
        handle, sent = wire.handle(body), 0
        for chunk in _chunks(flight.task.job.path):
            self._ask(flight, self._on_status, wire.write, handle, sent, chunk)
            sent += len(chunk)
        if sent != flight.task.job.size:
            flight.trouble = reasons.SOURCE
        self._ask(flight, self._on_size, wire.fstat, handle)
        self._ask(flight, self._on_status, wire.close, handle)

    def _on_status(self, flight: _Flight, kind: int, body: bytes) -> None:
        code = wire.status(body) if kind == wire.STATUS else -1
        if code:
            flight.trouble = flight.trouble or reasons.of_write(code)
        self._complete(flight)

    def _on_size(self, flight: _Flight, kind: int, body: bytes) -> None:
        flight.size = wire.size(body) if kind == wire.ATTRS else None
        self._complete(flight)

    def _complete(self, flight: _Flight) -> None:
        """Every byte is answered for: is the file what it should be?"""
        if flight.due:
            return
        if flight.trouble is None and flight.size != flight.task.job.size:
            if not flight.asked_again:  # a server that works out of order gets a second question
                flight.asked_again = True
                self._ask(flight, self._on_size, wire.lstat, flight.task.part)
                return
            flight.trouble = reasons.NO_SPACE if flight.size is not None else reasons.NO_SIZE
        if flight.trouble is None:
            self._name(flight)
        else:
            self._drop(flight)

    def _name(self, flight: _Flight) -> None:
        flight.task.naming = True
        self._ask(flight, self._on_name, wire.replace, flight.task.part, flight.name)

    def _on_name(self, flight: _Flight, kind: int, body: bytes) -> None:
        code = wire.status(body) if kind == wire.STATUS else -1
        if code == 0:
            self._settle(flight, None)
            return
        if code == wire.NO_FILE and flight.renamed_before:
            flight.renamed_before = False  # the earlier connection's rename came in between, it seems
            self._look(flight)
            return
        flight.task.naming = False
        flight.trouble = reasons.of_rename(code)
        self._drop(flight)

    def _drop(self, flight: _Flight) -> None:
        self._ask(flight, self._on_drop, wire.remove, flight.task.part)

    def _on_drop(self, flight: _Flight, kind: int, body: bytes) -> None:  # noqa: ARG002
        self._settle(flight, flight.trouble)

    # --- after a lost answer to a rename: which of the two names is there? ---

    def _look(self, flight: _Flight) -> None:
        self._ask(flight, self._on_look_name, wire.lstat, flight.name)
        self._ask(flight, self._on_look_part, wire.lstat, flight.task.part)

    def _on_look_name(self, flight: _Flight, kind: int, body: bytes) -> None:
        flight.size = wire.size(body) if kind == wire.ATTRS else None
        self._looked(flight)

    def _on_look_part(self, flight: _Flight, kind: int, body: bytes) -> None:
        flight.part_size = wire.size(body) if kind == wire.ATTRS else None
        flight.part_there = kind == wire.ATTRS or wire.status(body) != wire.NO_FILE
        self._looked(flight)

    def _looked(self, flight: _Flight) -> None:
        if flight.due:
            return
        right = flight.task.job.size
        if flight.size == right and not flight.part_there:
            self._settle(flight, None)  # renamed; only the answer was lost
        elif flight.part_size == right:
            self._name(flight)
        else:
            self._create(flight)

    def _ignored(self, flight: _Flight, kind: int, body: bytes) -> None:
        """Whether a leftover could be removed decides nothing."""
