"""A simulated month of one biller: real outbox, real DuckDB (in memory), real layout; IC, the clock and death are made up.

IC takes an upload at once, late, partly, or not at all, and its answer arrives or does not. A look shows IC as it
was a while ago. The process is killed before and after every call that it makes of anything.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from checks.contracts import IMT
from checks.describe import polars_schema
from tasks.errors import DeadlineExceeded, NotSent, ServerTrouble, TruncatedAnswer
from tasks.invoicecloud.answers import ERRORS, InvoiceView, UploadAnswer
from tasks.outbox import publish
from tasks.outbox.sender import Sender
from tasks.outbox.states import Move
from tasks.outbox.store import Outbox
from tasks.settings import load_settings
from tasks.staging.merge import Target, merge
from tasks.staging.schema import create_tables

LAYOUT = """
shape = "delimited"
delimiter = ";"
quote = '"'
line_numbers = "records"
line_end = "\\n"
encoding = "ascii"
[forms]
date = "%d%m%Y"
time = "%Y%m%d%H%M%S"
money = "cents"
sign = "minus"
yes = "1"
no = "0"
null = ""
[record_types]
A = "1"
R = "2"
D = "3"
[record]
Type = { from = "record_type", required = true }
Account = { from = "account_number", required = true }
Invoice = { from = "invoice_number", required = true }
Total = { from = "total_amount_due", required = true }
Balance = { from = "balance_due", required = true }
Due = { from = "due_date" }
[trailer]
Records = { fact = "records" }
"""
SETTINGS = """
[billers.acme]
product = "{product}"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:NOBODY_ASKS"
base_url = "http://127.0.0.1:1/"
time_zone = "America/Chicago"
invoice_format_guid = "99999999-8888-7777-6666-555555555555"
[billers.acme.outbound]
layout = "small.toml"
pdf_link = "https://pdf.example/{{invoice_number}}.pdf"
max_delete_share = 1.0
looks_for_no = {looks}
"""
START = datetime(2026, 11, 1, tzinfo=UTC)
EVENTS = polars_schema(IMT["invoice_events"])
TARGET = Target("imt", "invoice_events", IMT["invoice_events"], ("event_id",))
SETTLE = timedelta(minutes=30)


AMBIGUOUS = ("lost_before", "lost_after", "late", "cut", "short_count")


class Killed(BaseException):
    """kill -9: nothing catches it, nothing cleans up."""


@dataclass
class Reaper:
    """Kills at random before and after calls; `armed` is switched off to let the world come to rest."""

    dice: random.Random
    chance: float
    armed: bool = True
    kills: int = 0

    def pass_by(self) -> None:
        if self.armed and self.dice.random() < self.chance:
            self.kills += 1
            raise Killed


class MemoryStaging:
    """Staging's two ways in, over a DuckDB that outlives every kill of the process but has no disk."""

    def __init__(self, root: Path, reaper: Reaper) -> None:
        self.root, self.biller, self.reaper = root, "acme", reaper
        self.connection = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
        self.connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        create_tables(self.connection)

    @contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        yield self.connection

    @contextmanager
    def transaction(self, load_id: str) -> Iterator[duckdb.DuckDBPyConnection]:
        self.reaper.pass_by()
        self.connection.begin()
        try:
            yield self.connection
            self.reaper.pass_by()
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()
        self.reaper.pass_by()


@dataclass
class MemoryHistory:
    """The archive's outbox folder as dictionaries: what is in them is on the disk."""

    reaper: Reaper
    bodies: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, list[Move]] = field(default_factory=dict)

    def keep(self, file: dict[str, Any], body: bytes, records: pl.DataFrame) -> None:
        self.reaper.pass_by()
        self.bodies[file["file_id"]] = body
        self.reaper.pass_by()

    def note(self, move: Move) -> None:
        self.reaper.pass_by()
        log = self.logs.setdefault(move.file_id, [])
        assert move.n <= len(log) + 1
        del log[move.n - 1 :]
        log.append(move)
        self.reaper.pass_by()

    def note_withheld(self, line: dict[str, Any]) -> None:
        raise AssertionError("nobody withholds here")

    def body(self, file_id: str) -> bytes:
        return self.bodies[file_id]

    def moves(self, file_id: str) -> list[Move]:
        return list(self.logs.get(file_id, []))


def read(data: bytes) -> list[dict[str, Any]]:
    """IC's own reading of LAYOUT; the trailer's count must be right."""
    *lines, trailer = data.decode("ascii").splitlines()
    assert trailer == str(len(lines))
    rows = []
    for line_no, line in enumerate(lines, 1):
        letter, account, number, total, balance, due = line.split(";")
        rows.append({
            "line_no": line_no, "record_type": "ARD"[int(letter) - 1], "account_number": account,
            "invoice_number": number, "total_amount_due": Decimal(int(total)) / 100,
            "balance_due": Decimal(int(balance)) / 100,
            "due_date": date(int(due[4:]), int(due[2:4]), int(due[:2])) if due else None,
        })  # fmt: skip
    return rows


@dataclass
class Cloud:
    """InvoiceCloud. `taken` counts how often each record of each file was imported."""

    dice: random.Random
    reaper: Reaper
    now: datetime = START
    calm: bool = False
    taken: Counter[tuple[str, int]] = field(default_factory=Counter)
    shelves: dict[str, list[tuple[datetime, dict[str, Any] | None]]] = field(default_factory=dict)
    coming: list[tuple[datetime, str, bytes]] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)
    ambiguous_invoices: int = 0

    def upload(self, file_id: str, file_name: str, data: bytes, at: datetime) -> UploadAnswer:
        self.reaper.pass_by()
        kinds = ["well", "lost_before", "lost_after", "late", "partly", "not_sent", "cut", "short_count"]
        weights = [1, 0, 0, 0, 0, 0, 0, 0] if self.calm else [5, 25, 30, 20, 4, 1, 10, 5]
        fate = self.dice.choices(kinds, weights)[0]
        self.fates[fate] += 1
        self.ambiguous_invoices += len(read(data)) if fate in AMBIGUOUS else 0
        answer = self._carried_out(fate, file_id, data, at)
        self.reaper.pass_by()
        return answer

    def _carried_out(self, fate: str, file_id: str, data: bytes, at: datetime) -> UploadAnswer:
        if fate == "not_sent":
            raise NotSent("no connection")
        if fate == "lost_before":
            raise DeadlineExceeded("no answer")
        if fate == "late":
            self.coming.append((at + SETTLE * self.dice.random() * 0.4, file_id, data))
            raise DeadlineExceeded("no answer")
        rows = read(data)
        errors: list[tuple[int, str, str]] = []
        if fate == "partly":
            unlucky = self.dice.choice(rows)
            errors.append((unlucky["line_no"], unlucky["invoice_number"], "Account is closed"))
        self._take(file_id, rows, at, {line for line, _, _ in errors})
        if fate == "lost_after":
            raise self.dice.choice([DeadlineExceeded("no answer"), ServerTrouble("503")])
        if fate == "cut":
            raise TruncatedAnswer("half an answer")
        count = len(rows) - len(errors)
        return UploadAnswer(
            True, f"R{len(self.taken)}", count - (fate == "short_count"), len(errors),
            pl.DataFrame(errors, schema=ERRORS, orient="row"), None, "a",
        )  # fmt: skip

    def _take(self, file_id: str, rows: list[dict[str, Any]], at: datetime, but: set[int]) -> None:
        for row in rows:
            if row["line_no"] not in but:
                self.taken[file_id, row["line_no"]] += 1
                shown = None if row["record_type"] == "D" else row
                self.shelves.setdefault(row["invoice_number"], []).append((at, shown))

    def arrive(self, now: datetime) -> None:
        """Time goes on: what was under way is imported."""
        self.now = now
        for at, file_id, data in sorted(self.coming, key=lambda c: c[0]):
            if at <= now:
                self._take(file_id, read(data), at, set())
        self.coming = [c for c in self.coming if c[0] > now]

    @contextmanager
    def looks(self, look_id: str, at: datetime) -> Iterator[Cloud]:
        self.reaper.pass_by()
        self.seen_at = at - (timedelta(0) if self.calm else SETTLE * self.dice.random() * 1.5)
        yield self

    def look(self, invoice_number: str) -> InvoiceView:
        self.reaper.pass_by()
        if not self.calm and self.dice.random() < 0.01:
            raise DeadlineExceeded("no answer")
        past = [shown for at, shown in self.shelves.get(invoice_number, []) if at <= self.seen_at]
        if not past or past[-1] is None:
            return InvoiceView(False, invoice_number, message="Invoice not found")
        row = past[-1]
        return InvoiceView(
            True, invoice_number, row["account_number"], due_date=row["due_date"],
            total_amount_due=row["total_amount_due"], balance_due=row["balance_due"],
        )  # fmt: skip


class World:
    """One biller's month. `play` runs it; `verdict` counts what went wrong."""

    def __init__(
        self, root: Path, product: str, seed: int, kill_chance: float = 0.0015, looks: int = 2
    ) -> None:
        (root / "small.toml").write_text(LAYOUT)
        (root / "icflows.toml").write_text(SETTINGS.format(product=product, looks=looks))
        self.dice = random.Random(seed)
        self.reaper = Reaper(self.dice, kill_chance)
        self.settings = load_settings(root / "icflows.toml")
        self.staging = MemoryStaging(root, self.reaper)
        self.history = MemoryHistory(self.reaper)
        self.cloud = Cloud(self.dice, self.reaper)
        self.outbox = Outbox(self.staging, self.history)
        self.now = START
        self.wanted: dict[str, tuple[str, Decimal]] = {}
        self.live: list[str] = []
        self.accounts: dict[str, str] = {}
        self.events = 0
        self.by_person = 0
        self.statuses: Counter[str] = Counter()

    def bill(self, count: int) -> None:
        """IMT makes events: mostly new invoices, some changed, reissued, cancelled."""
        rows = []
        for n in range(count):
            self.events += 1
            what = self.dice.choices(["NEW", "CHANGED", "REISSUED", "CANCELLED"], [70, 15, 10, 5])[0]
            old = self.dice.choice(self.live) if self.live and what != "NEW" else None
            number = old if old and what in ("CHANGED", "CANCELLED") else f"I-{self.events:06d}"
            amount = Decimal(self.dice.randrange(1_000, 99_999)) / 100
            still = self.dice.random() < 0.5
            row: dict[str, Any] = {
                "event_id": f"E-{self.events:06d}", "event": what if old else "NEW",
                "occurred_at": self.now - timedelta(seconds=count - n), "invoice_number": number,
                "account_number": f"{self.events % 97:07d}", "invoice_date": date(2026, 11, 1),
                "due_date": date(2026, 12, 1), "total_amount_due": amount, "balance_due": amount,
            }  # fmt: skip
            if old:
                row["account_number"] = self.accounts[old]
            if old and what in ("REISSUED", "CANCELLED"):
                row |= {"still_in_imt": still}
                self.live.remove(old)
                self.wanted[old] = ("R" if still else "D", Decimal("0.00"))
            if old and what == "REISSUED":
                row |= {"replaces_invoice_number": old}
            if row["event"] != "CANCELLED":
                self.wanted[number] = ("A", amount)
                self.live += [] if number in self.live else [number]
                self.accounts[number] = row["account_number"]
            rows.append(row)
        frame = pl.DataFrame([{n: r.get(n) for n in EVENTS} for r in rows], schema=EVENTS)
        frame = frame.with_row_index("row_no", offset=1).with_columns(pl.col("row_no").cast(pl.Int64))
        connection = self.staging.connection
        connection.begin()
        merge(
            connection,
            TARGET,
            frame,
            poll_id=f"p{self.events}",
            form="file",
            seen_at=self.now,
            amount_column="",
        )
        connection.commit()

    def run(self) -> None:
        """One hourly run, killed or not."""
        self.cloud.arrive(self.now)
        sender = Sender(self.outbox, self.cloud, self.settings.biller("acme").outbound)
        try:
            found = publish.Run(self.settings, "acme", self.now, sender, None).go()
            self.statuses[found.status] += 1
            assert not found.guards, found.guards
        except Killed:
            self.statuses["killed"] += 1

    def person(self) -> None:
        """Somebody looks at IC's portal and decides, file by file."""
        for file in self.outbox.files("undecided"):
            self.by_person += 1
            lines = [
                row[0] for row in self.staging.connection.execute(
                    "SELECT line_no FROM outbox.records WHERE file_id = ? AND state = 'in_file'", [file["file_id"]]
                ).fetchall()
            ]  # fmt: skip
            missing = [line for line in lines if not self.cloud.taken[file["file_id"], line]]
            state = "composed" if len(missing) == len(lines) else "accepted"
            requeued = [] if state == "composed" else missing
            self.outbox.move(file, state, self.now, "a person", "portal", requeued=requeued)

    def hour(self, events: int) -> None:
        """An hour with trouble: IMT bills, the run is started twice, a person looks in."""
        self.now += timedelta(minutes=15)
        self.bill(events)
        for _ in range(2):
            self.run()
            self.now += timedelta(minutes=self.dice.randrange(20, 35))
        self._unarmed(self.person)

    def rest(self) -> None:
        """Calm hours, until nothing waits any more."""
        self.cloud.calm, self.reaper.armed = True, False
        for _ in range(12):
            self.now += timedelta(minutes=45)
            self.run()
            self.person()

    def _unarmed(self, act: Any) -> None:
        self.reaper.armed = False
        act()
        self.reaper.armed = True

    def verdict(self) -> dict[str, int]:
        """lost: invoices that IC does not show as IMT wants. doubled: records imported more than once."""
        accepted = self.staging.connection.execute(
            """SELECT count(*), count(*) - count(DISTINCT (event_id, event_version, invoice_number, record_type))
               FROM outbox.records WHERE state = 'accepted'"""
        ).fetchall()[0]
        rejected = {
            row[0] for row in self.staging.connection.execute(
                "SELECT invoice_number FROM outbox.records WHERE state = 'rejected'"
            ).fetchall()
        }  # fmt: skip
        lost = 0
        for number, (what, amount) in self.wanted.items():
            shown = (self.cloud.shelves.get(number) or [(START, None)])[-1][1]
            there = ("A", shown["balance_due"]) if shown else ("D", Decimal("0.00"))
            right = shown is None or there[1] == 0 if what in ("R", "D") else there == (what, amount)
            lost += not right and number not in rejected
        open_files = len(self.outbox.files("composed", "sending", "unknown", "undecided"))
        return {
            "uploads": sum(self.cloud.fates.values()), "ambiguous": sum(self.cloud.fates[f] for f in AMBIGUOUS),
            "invoices": self.cloud.ambiguous_invoices, "records": accepted[0], "kills": self.reaper.kills,
            "lost": lost, "doubled": sum(n > 1 for n in self.cloud.taken.values()) + accepted[1],
            "open_files": open_files, "by_person": self.by_person, "rejected": len(rejected),
        }  # fmt: skip


def played(root: Path, product: str, seed: int, invoices: int, looks: int = 2) -> dict[str, int]:
    """A world that has seen so many invoices in ambiguous uploads, and what went wrong in it."""
    world = World(root, product, seed, looks=looks)
    while world.cloud.ambiguous_invoices < invoices:
        world.hour(40 if product == "mips-apps" else 75)
    world.rest()
    return world.verdict()
