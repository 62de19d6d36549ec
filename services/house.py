"""What every endpoint shares, and the way into each: method, key, then the handler; every error has its answer."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from starlette.types import Receive, Scope, Send

from services.auth import Gate
from services.limits import read_body
from services.reply import Gone, Refused, Reply, Visit, Voice, json_voice, send_reply
from services.telling import Telling
from services.writer import Writer
from tasks.errors import IcflowsError
from tasks.inbound.model import Answer
from tasks.sections import Biller, Inbound
from tasks.settings import Settings

RETRY_SOON = ((b"retry-after", b"30"),)
Handler = Callable[[Visit], Awaitable[Reply]]


class Answers(Protocol):
    """What an invoice or an account owes at a moment; limits in minutes (tasks/inbound/balances.py)."""

    def invoice(
        self, biller: str, number: str, at: datetime, *, pushed_minutes: float, stale_minutes: float
    ) -> Answer: ...

    def account(
        self, biller: str, number: str, at: datetime, *, pushed_minutes: float, stale_minutes: float
    ) -> Answer: ...


@dataclass
class House:
    """The parts that the endpoints work with. `inline`: the store answers in microseconds, no thread is needed."""

    settings: Settings
    clock: Callable[[], datetime]
    answers: Answers
    writer: Writer
    gate: Gate
    telling: Telling
    inline: bool

    def biller(self, visit: Visit) -> Biller:
        """Settings of the biller that the visit is for."""
        return self.settings.billers[visit.biller]

    def inbound(self, visit: Visit) -> Inbound:
        """Its [inbound]; only billers that have one are let in."""
        inbound = self.biller(visit).inbound
        assert inbound
        return inbound

    async def body(self, visit: Visit) -> bytes:
        """The request's body within the service's limits."""
        return await read_body(visit, self.settings.service.max_body_bytes)


class Door:
    """An ASGI endpoint: `handler` for `methods`; refusals in `voice`'s form. `open`: no key is asked for."""

    def __init__(
        self, house: House, methods: Sequence[str], voice: Voice, handler: Handler, *, open: bool = False
    ) -> None:
        self._house, self._methods, self._voice, self._handler, self._open = (
            house,
            methods,
            voice,
            handler,
            open,
        )
        self._allow = ((b"allow", ", ".join(methods).encode()),)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = Visit(scope, receive, dict(scope["headers"]), time.perf_counter())
        try:
            if scope["method"] not in self._methods:
                raise Refused(405, "this method is not served here", "method", self._allow)
            if not self._open:
                self._house.gate.admit(visit)
            reply = await self._handler(visit)
        except Gone:
            return
        except Refused as refused:
            if refused.kind:
                self._house.telling.tell(refused.kind, f"refused with {refused.status}: {refused.words}")
            reply = self._voice(visit, refused)
            reply.close = visit.has_body()  # it may not have been read to its end
        except IcflowsError as error:
            self._house.telling.tell(error.reason, f"answered with 503: {error}")
            reply = self._voice(
                visit, Refused(503, "the service cannot answer now", error.reason, RETRY_SOON)
            )
        except Exception as error:
            self._house.telling.tell("fault", f"answered with 500: {where(error)}")
            reply = self._voice(visit, Refused(500, "the service failed", "fault"))
            reply.close = visit.has_body()
        await send_reply(send, reply)


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Any other path: 404, and nothing of the path in the answer."""
    visit = Visit(scope, receive, dict(scope["headers"]), 0.0)
    reply = json_voice(visit, Refused(404, "there is nothing here", "path"))
    reply.close = visit.has_body()
    await send_reply(send, reply)


def where(error: BaseException) -> str:
    """Type and place of a fault. Its message stays out: it may hold what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
