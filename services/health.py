"""GET /health: whether the store answers and the writer works. It says no more than that, and asks no key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from services.reply import Reply, Visit, as_json
from services.writer import Writer

_SECONDS = 1.0  # so long an answer holds, and so long the store may take


class Health:
    """`look` reads the store and raises if it cannot; at most one look is under way, however many ask."""

    def __init__(self, look: Callable[[], None], writer: Writer) -> None:
        self._look, self._writer = look, writer
        self._running: asyncio.Task[bool] | None = None
        self._seen = (float("-inf"), False)

    async def handle(self, _visit: Visit) -> Reply:
        """200 {"status": "ok"} or 503 {"status": "failing"}."""
        well = self._writer.alive and await self._store_answers()
        return as_json(200, {"status": "ok"}) if well else as_json(503, {"status": "failing"})

    async def _store_answers(self) -> bool:
        when, well = self._seen
        if time.monotonic() - when < _SECONDS:
            return well
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._ask())
        try:
            return await asyncio.wait_for(asyncio.shield(self._running), _SECONDS * 0.8)
        except TimeoutError:
            return False

    async def _ask(self) -> bool:
        try:
            await asyncio.to_thread(self._look)
            well = True
        except Exception:
            well = False
        self._seen = (time.monotonic(), well)
        return well
