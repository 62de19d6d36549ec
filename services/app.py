"""The addresses of the service: for each biller the Data Pump and RTDR, with the key in a header or in the path."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from services import datapump, rtdr
from services.auth import Gate
from services.health import Health
from services.house import Answers, Door, House, nowhere
from services.openapi import handler as openapi
from services.reply import json_voice, post_voice, soap_voice
from services.telling import Telling
from services.writer import Item, Writer
from tasks.inbound import calls, stored
from tasks.inbound.fields import push_fields
from tasks.inbound.model import Call, EnrolmentList, Taken
from tasks.inbound.store import Store
from tasks.settings import Settings


def build_app(
    settings: Settings, store: Store, *, clock: Callable[[], datetime], answers: Answers,
    writer: Writer | None = None, monotonic: Callable[[], float] = time.monotonic,
) -> Router:  # fmt: skip
    """The ASGI app. Its lifespan starts and stops the writer; the store is the caller's to close.

    `clock` gives aware UTC. Raises SettingsError for a key that cannot be resolved, or a wrong push_fields.
    """
    for name, biller in settings.billers.items():
        if biller.inbound:
            push_fields(settings, name, "payments")
    writer = writer or Writer(StoreShelf(store, settings), clock)
    house = House(
        settings, clock, answers, writer, Gate(settings, monotonic), Telling(), inline=store.is_sqlite
    )
    health = Health(lambda: _look(store), writer)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        writer.start()
        yield
        writer.stop()

    return Router(_routes(house, health), redirect_slashes=False, default=nowhere, lifespan=lifespan)


def _routes(house: House, health: Health) -> list[BaseRoute]:
    refresh, pump = rtdr.soap_service(house), datapump.soap_service(house)
    doors: dict[str, ASGIApp] = {
        "/{biller}/RealTimeDataRefresh.asmx": Door(house, ["GET", "POST"], soap_voice, refresh.serve),
        "/{biller}/DataPump.asmx": Door(house, ["GET", "POST"], soap_voice, pump.serve),
        "/{biller}/rtdr/invoices/{number}": Door(house, ["GET"], json_voice, rtdr.get(house, "INVOICE")),
        "/{biller}/rtdr/accounts/{number}": Door(house, ["GET"], json_voice, rtdr.get(house, "ACCOUNT")),
    }
    for kind in datapump.OPERATIONS.values():
        doors[f"/{{biller}}/datapump/{kind}"] = Door(house, ["POST"], post_voice, datapump.post(house, kind))
    doors["/openapi.json"] = Door(house, ["GET"], json_voice, openapi(house))
    keyed = {f"/k/{{key}}{path}": door for path, door in doors.items()}
    doors["/health"] = Door(house, ["GET"], json_voice, health.handle, open=True)
    return [Route(path, door) for path, door in (doors | keyed).items()]


class StoreShelf:
    """What the writer writes to: the service's store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._billers = [name for name, biller in settings.billers.items() if biller.inbound]

    def take(self, items: Sequence[Item], at: datetime) -> list[Taken]:
        """Pushes, in one transaction."""
        return stored.take(self._store, items, at)

    def refuse(self, biller: str, which: EnrolmentList, at: datetime) -> None:
        """Counts a refused enrolment push."""
        stored.refuse_enrolment(self._store, biller, which, at)

    def keep(self, answered: Sequence[Call]) -> None:
        """The log of calls."""
        calls.keep(self._store, answered)

    def beat(self, at: datetime) -> None:
        """Says of every biller that the service lives."""
        stored.beat(self._store, self._billers, at)


def _look(store: Store) -> None:
    with store.reading() as connection:
        connection.exec_driver_sql("SELECT biller FROM freshness LIMIT 1").fetchall()
