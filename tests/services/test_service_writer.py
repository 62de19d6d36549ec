"""The writer: one transaction for many, an answer after it and never before, room that ends, an end in good order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from services.writer import QueueFull, Writer
from tasks.errors import StorageTrouble
from tasks.inbound.model import Call, Push, Taken

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)


class Shelf:
    """Keeps what it is given; can be made to wait, and to fail."""

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.calls: list[Call] = []
        self.beats = 0
        self.open = threading.Event()
        self.open.set()
        self.fails: Callable[[Sequence[Any]], None] = lambda items: None

    def take(self, items: Sequence[Any], at: datetime) -> list[Taken]:
        self.open.wait(10)
        self.fails(items)
        self.groups.append(list(items))
        return [Taken("new", item.payment_guid) for item in items]

    def refuse(self, biller: str, which: str, at: datetime) -> None:
        self.groups.append([(biller, which)])

    def keep(self, calls: Sequence[Call]) -> None:
        self.calls += calls

    def beat(self, at: datetime) -> None:
        self.beats += 1


def push(number: int) -> Push:
    return Push("acme", "form", f"guid-{number}", "", {})


def call(number: int) -> Call:
    return Call("acme", number, "INVOICE", "json", None, None, "unknown", None, None, None, 1)


def run(shelf: Shelf, work: Callable[[Writer], Awaitable[Any]], **limits: Any) -> Any:
    async def main() -> Any:
        writer = Writer(shelf, lambda: AT, **limits)
        writer.start()
        try:
            return await work(writer)
        finally:
            shelf.open.set()
            writer.stop()
            assert not writer.alive

    return asyncio.run(main())


def test_what_waits_is_written_together() -> None:
    shelf = Shelf()
    shelf.open.clear()

    async def work(writer: Writer) -> list[Taken]:
        tasks = [asyncio.ensure_future(writer.take(push(n))) for n in range(50)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks)  # nothing is on the disk yet
        shelf.open.set()
        return await asyncio.gather(*tasks)

    taken = run(shelf, work)
    assert [one.receipt for one in taken] == [f"guid-{n}" for n in range(50)]
    assert len(shelf.groups) <= 2


def test_a_full_queue_refuses() -> None:
    shelf = Shelf()
    shelf.open.clear()

    async def work(writer: Writer) -> list[Any]:
        tasks = [asyncio.ensure_future(writer.take(push(n))) for n in range(40)]
        await asyncio.sleep(0.1)
        shelf.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcome = run(shelf, work, room=10)
    full = [one for one in outcome if isinstance(one, QueueFull)]
    assert len(full) >= 29 - 10
    assert len(full) + sum(len(group) for group in shelf.groups) == 40


def test_storage_trouble_reaches_everyone_of_the_group() -> None:
    shelf = Shelf()

    def fails(items: Sequence[Any]) -> None:
        raise StorageTrouble("the disk is full")

    shelf.fails = fails

    async def work(writer: Writer) -> list[Any]:
        first = await asyncio.gather(*(writer.take(push(n)) for n in range(3)), return_exceptions=True)
        shelf.fails = lambda items: None
        return [*first, await writer.take(push(9))]

    outcome = run(shelf, work)
    assert [type(one) for one in outcome] == [StorageTrouble] * 3 + [Taken]


def test_one_bad_push_harms_no_other() -> None:
    shelf = Shelf()
    shelf.open.clear()

    def fails(items: Sequence[Any]) -> None:
        if any(item.payment_guid == "guid-2" for item in items):
            raise TypeError("guid-2")

    shelf.fails = fails

    async def work(writer: Writer) -> list[Any]:
        tasks = [asyncio.ensure_future(writer.take(push(n))) for n in range(4)]
        await asyncio.sleep(0.05)
        shelf.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcome = run(shelf, work)
    assert [type(one) for one in outcome] == [Taken, Taken, StorageTrouble, Taken]
    assert "guid-2" not in str(outcome[2])


def test_the_end_writes_what_waits() -> None:
    shelf = Shelf()

    async def work(writer: Writer) -> Any:
        for n in range(3):
            writer.called(call(n))
        task = asyncio.ensure_future(writer.take(push(1)))
        await asyncio.sleep(0)
        await asyncio.to_thread(writer.stop)
        with pytest.raises(QueueFull):
            await writer.take(push(2))
        return await task

    assert run(shelf, work).receipt == "guid-1"
    assert [one.called_at for one in shelf.calls] == [0, 1, 2]
    assert shelf.beats == 1


def test_calls_that_cannot_be_logged_wait_within_their_room() -> None:
    shelf = Shelf()

    def broken(calls: Sequence[Call]) -> None:
        raise StorageTrouble("full")

    whole, shelf.keep = shelf.keep, broken  # type: ignore[method-assign]

    async def work(writer: Writer) -> None:
        for n in range(20):
            writer.called(call(n))
        await asyncio.sleep(0.7)
        shelf.keep = whole  # type: ignore[method-assign]

    run(shelf, work, calls_room=8)
    assert [one.called_at for one in shelf.calls] == list(range(12, 20))
