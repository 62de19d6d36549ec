"""The demo's other direction: InvoiceCloud calls. The real service on loopback, its pump, its questions, IMT's import."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cli.engine import load_flow
from sandbox.carrier import Carrier
from sandbox.imt import Imt
from sandbox.line_out import Door
from sandbox.pump import Form, Pump
from sandbox.refresher import Refresher
from tasks.settings import load_settings

KEY_VARIABLE, KEY = "ICFLOWS_DEMO_INBOUND_KEY", "sandbox-inbound-key"
_START_SECONDS = 30


@dataclass
class Callers:
    """Who calls the service, and what came of it. `now` is the service's clock."""

    settings_file: Path
    pump: Pump
    door: Door
    imt: Imt
    now: datetime
    beat: Callable[[datetime], None]
    pushed: dict[str, Any] = field(default_factory=lambda: {"sent": 0, "refused": 0, "unlike": 0})
    asked: dict[str, int] = field(default_factory=dict)
    handed: dict[str, Any] = field(default_factory=dict)

    def push(self, moment: datetime, form: Form) -> None:
        """Everything that was paid until then and not pushed yet."""
        self.now = moment
        self.beat(moment)  # the clock jumped over its heartbeats
        told = self.pump.push(moment, form=form)
        self.pushed["sent"] += told.sent
        self.pushed["refused"] += len(told.refused)
        self.pushed["unlike"] += len(told.unlike)

    def ask(self, carrier: Carrier, moment: datetime) -> None:
        """InvoiceCloud's questions, by SOAP 1.1, SOAP 1.2 and JSON in turn."""
        self.now = moment
        questions = carrier.table("asks").select("subject", "number").rows()
        with Refresher(self.door) as asker:
            for number, (subject, name) in enumerate(questions):
                told = asker.ask(subject, name, form=("soap11", "soap12", "json")[number % 3])
                self.asked[told.result] = self.asked.get(told.result, 0) + 1

    def collect(self, moment: datetime) -> None:
        """One run of the flow; then IMT imports what was handed over. The next run reads its acknowledgements."""
        self.now = moment
        result = load_flow("collect_pushes", "collect_pushes")(
            biller="acme", as_of=moment, settings_file=str(self.settings_file)
        )
        for name in ("made", "acknowledged", "refused"):
            self.handed[name] = self.handed.get(name, 0) + len(result["handed"][name])
        self.handed["rows"] = self.handed.get("rows", 0) + result["handed"]["rows"]
        self.imt.run()


@contextmanager
def callers(settings_file: Path, carrier: Carrier, since: datetime) -> Iterator[Callers]:
    """The service in a thread of this process, so that its clock is the demo's; stopped in order at the end."""
    from services.app import build_app
    from services.server import server_of
    from tasks.inbound.balances import Balances
    from tasks.inbound.store import open_store
    from tasks.inbound.stored import beat

    os.environ[KEY_VARIABLE] = KEY
    settings = load_settings(settings_file)
    inbound = settings.biller("acme").inbound
    if inbound is None or inbound.handover is None:
        raise ValueError("the demo's settings have an [inbound] with a handover folder")
    with closing(open_store(settings)) as store, closing(Balances(store)) as answers:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        door = Door(f"http://127.0.0.1:{listening.getsockname()[1]}", KEY, biller="acme")
        pump = Pump(door, carrier, since=since, hasty=20)
        found = Callers(
            settings_file, pump, door, Imt(inbound.handover), since, lambda at: beat(store, ["acme"], at)
        )
        app = build_app(settings, store, clock=lambda: found.now, answers=answers)
        ready = threading.Event()
        server = server_of(app, settings.service, listening, None, ready.set)
        thread = threading.Thread(target=server.run, name="icflows serve", daemon=True)
        thread.start()
        try:
            if not ready.wait(_START_SECONDS):
                raise RuntimeError("the service did not start")
            yield found
        finally:
            server.should_exit = True
            thread.join(_START_SECONDS)
            listening.close()
