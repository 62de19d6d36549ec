"""A hundred times kill -9 while six callers push: what was acknowledged is there once, and IMT books it once.

The moments are drawn (seeded): some while the service is still opening its store, most while it writes. A caller that
got no answer asks again until it has one, as InvoiceCloud does; some pushes are sent again though they were answered,
in another form, and some from two callers at once.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sandbox.imt import Imt
from sandbox.line_out import TROUBLE
from tasks.inbound.acks import read_acks
from tasks.inbound.collect import collect
from tasks.inbound.handover import hand_over
from tasks.pull import staging_of
from tasks.staging.query import frame

KILLS, CALLERS, SEED = 100, 6, 20261110
HURRY = 0.3  # this share of pushes goes out once more, in another form
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)


@dataclass
class Lives:
    """The service, living one life after another. `address`: where it is now; None while it is dead."""

    process: subprocess.Popen[str]
    address: str | None = None
    given_up: bool = False  # no life comes any more
    ends: list[int] = field(default_factory=list)

    def hear(self) -> list[str]:
        """The next thing that the zygote or its child says."""
        assert self.process.stdout
        return self.process.stdout.readline().split()

    def begin(self) -> int:
        """Starts a life; the process id."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said, pid = self.hear()
        assert said == "born", said
        return int(pid)

    def end(self, pid: int, with_signal: signal.Signals) -> None:
        """Ends it and waits until it is gone."""
        os.kill(pid, with_signal)
        said = self.hear()
        if said[0] == "ready":  # it just came up
            said = self.hear()
        self.address = None
        assert said[0] == "dead", said
        self.ends.append(int(said[1]))


@contextmanager
def lives(config: Path) -> Iterator[Lives]:
    """A zygote of the service."""
    command = [sys.executable, str(Path(__file__).with_name("zygote.py")), str(config)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        try:
            yield Lives(process)
        finally:
            process.kill()


@dataclass
class Caller:
    """One connection of IC's. `receipts`: (GUID or account, amount in cents) → every receipt it was answered with."""

    number: int
    site: Any
    lives: Lives
    stop: threading.Event
    receipts: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    unanswered: int = 0
    declined: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Pushes until it is stopped; then what is under way is brought to its end."""
        dice, turn = random.Random(SEED + self.number), 0
        while not self.stop.is_set():
            turn += 1
            kind = "autopay" if dice.random() < 0.1 else "payments"
            # every tenth is sent by the neighbour too, at about the same time
            who = self.number // 2 if turn % 10 == 0 else 10 + self.number
            cents = dice.randrange(1, 100_000) if who >= 10 else 5_000
            name = f"{who:08d}-0000-0000-0000-{turn:012d}" if kind == "payments" else f"{who:04d}{turn:08d}"
            self._deliver(kind, name, cents, dice)
            if dice.random() < HURRY:
                self._deliver(kind, name, cents, dice)
            if dice.random() < 0.05 and kind == "payments" and who >= 10:
                self._deliver(kind, name, cents + 1, dice)  # other content: a conflict

    def _deliver(self, kind: str, name: str, cents: int, dice: random.Random) -> None:
        if kind == "payments":
            approved = "False" if cents % 20 == 7 else "True"
            fields = self.site.payment(name, cents, Approved=approved)
        else:
            fields = {"AccountNumber": name, "AutoPay": "true"}
        form = dice.choice(self.site.forms)
        while True:
            receipt = self._answer(form, fields, kind)
            assert not self.lives.given_up, "the service is gone for good"
            if receipt:
                self.receipts.setdefault((name, cents if kind == "payments" else 0), []).append(receipt)
                return
            time.sleep(0.005)

    def _answer(self, form: Any, fields: dict[str, str], kind: str) -> str:
        """The receipt; "" if none came. A line is kept as long as the service lives."""
        address = self.lives.address
        if address is None:
            return ""
        line = self._line_to(address)
        try:
            status, receipt = self.site.push(line, form, fields, kind)
        except TROUBLE:
            self.unanswered += 1
            return ""
        assert status in (200, 503), status
        assert bool(receipt) == (status == 200)
        return str(receipt)

    _line: tuple[str, Any] | None = None

    def _line_to(self, address: str) -> Any:
        if self._line is None or self._line[0] != address:
            self.close()
            self._line = (address, self.site.line(address))
        return self._line[1]

    def close(self) -> None:
        """Gives the line back."""
        if self._line:
            self._line[1].close()


def kill_again_and_again(service: Lives, site: Any, imt: Imt) -> None:
    """A hundred lives; after every tenth, postings are handed to IMT while the service is down."""
    dice = random.Random(SEED)
    for number in range(KILLS):
        pid = service.begin()
        if dice.random() < 0.15:
            time.sleep(dice.uniform(0, 0.05))  # while it opens its store
        else:
            said, service.address = service.hear()
            assert said == "ready", said
            time.sleep(dice.uniform(0, 0.2))
        service.end(pid, signal.SIGKILL)
        if number % 10 == 9:
            hand_over(site.settings, "acme", NOW)
            imt.run()
            read_acks(site.settings, "acme", NOW)


def test_a_hundred_kills_lose_and_double_nothing(site: Any) -> None:
    stop, imt = threading.Event(), Imt(site.handover)
    site.handover.mkdir()
    with lives(site.file) as service, ThreadPoolExecutor(CALLERS) as pool:
        callers = [Caller(number, site, service, stop) for number in range(CALLERS)]
        running = [pool.submit(caller.run) for caller in callers]
        try:
            kill_again_and_again(service, site, imt)
            stop.set()
            pid = service.begin()
            service.address = service.hear()[1]
            for one in running:
                one.result(timeout=60)
        finally:
            stop.set()
            service.given_up = True
        for caller in callers:
            caller.close()
        service.end(pid, signal.SIGTERM)
    assert service.ends == [-signal.SIGKILL] * KILLS + [0]
    receipts = merged(callers)
    check_store(site, receipts, callers)
    check_books(site, imt)


def merged(callers: list[Caller]) -> dict[tuple[str, int], list[str]]:
    """The receipts of all callers together."""
    found: dict[tuple[str, int], list[str]] = {}
    for caller in callers:
        for push, receipts in caller.receipts.items():
            found.setdefault(push, []).extend(receipts)
    return found


def check_store(site: Any, receipts: dict[tuple[str, int], list[str]], callers: list[Caller]) -> None:
    """Every acknowledged push is there once, nothing else is, and its receipt was always the same."""
    payments = [((row["payment_guid"], row["payment_amount"]), row) for row in site.rows("pushes")]
    stored = [*payments, *(((row["account_number"], 0), row) for row in site.rows("enrolment_pushes"))]
    by_push = dict(stored)
    lost, doubled = set(receipts) - set(by_push), len(stored) - len(by_push)
    again = sum(len(some) - 1 for some in receipts.values())
    print(
        f"{KILLS} kills: {len(receipts)} pushes acknowledged, {again} of them again,"
        f" {sum(caller.unanswered for caller in callers)} calls without an answer, {len(lost)} lost, {doubled} doubled"
    )
    assert not lost
    assert not doubled
    assert set(by_push) == set(receipts)  # each was pushed until it was acknowledged
    assert len(receipts) > KILLS
    assert sum(caller.unanswered for caller in callers) > KILLS / 4
    for push, some in receipts.items():
        assert set(some) == {by_push[push]["push_id"]}
        assert by_push[push]["times_seen"] >= len(some)
    with closing(sqlite3.connect(site.settings.folder("service") / "service.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_books(site: Any, imt: Imt) -> None:
    """Each approved payment is booked once, each event too; staging has every push, posted or not."""
    for _ in range(2):
        hand_over(site.settings, "acme", NOW)
        imt.run()
        assert not read_acks(site.settings, "acme", NOW).refused
        collected = collect(site.settings, "acme", NOW)
    assert (collected.pushes, collected.enrolment_pushes, collected.unread) == (0, 0, 0)
    pushes, events = site.rows("pushes"), site.rows("enrolment_pushes")
    due = {row["push_id"]: row["payment_amount"] for row in pushes if row["approved"] and row["variant"] == 1}
    booked = imt.booked
    money = booked.filter(booked["amount"].is_not_null())
    assert imt.doubles == 0
    assert sorted(money["receipt"]) == sorted(due)
    assert sum(map(Decimal, money["amount"])) == Decimal(sum(due.values())).scaleb(-2)
    assert booked.height == len(due) + len(events)
    assert all(row["acknowledged_at"] for row in pushes if row["push_id"] in due)
    with staging_of(site.settings, "acme").open() as connection:
        staged = frame(connection, "SELECT payment_guid, variant FROM imt.pushes ORDER BY ALL").rows()
        listed = frame(connection, "SELECT account_number FROM imt.enrolment_pushes ORDER BY ALL").rows()
    assert staged == sorted((row["payment_guid"], row["variant"]) for row in pushes)
    assert listed == sorted((row["account_number"],) for row in events)
