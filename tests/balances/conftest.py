"""A staging file that stays open and an own store; facts of IMT go in as the loader puts them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from checks.contracts import IMT
from checks.describe import polars_schema
from tasks.archive import Poll
from tasks.inbound import tables
from tasks.inbound.balances import Balances
from tasks.inbound.model import Answer, Push, Taken
from tasks.inbound.refresh import RefreshResult, renew
from tasks.inbound.store import open_store
from tasks.inbound.stored import take
from tasks.inbound.values import microseconds
from tasks.loading import target_of
from tasks.settings import load_settings
from tasks.staging import polls
from tasks.staging.merge import merge
from tasks.staging.query import Connection
from tasks.staging.store import Staging

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
BILLER = """[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:ACME_WEB_SERVICE_KEY"
base_url = "https://ic.invalid/"
time_zone = "America/Chicago"
[billers.acme.inbound]
keys = ["env:ACME_WEB_SERVICE_KEY"]
"""
DEFAULTS: dict[str, dict[str, Any]] = {
    "invoice_events": {
        "event": "NEW", "occurred_at": AT - timedelta(days=1), "account_number": "A1", "invoice_date": date(2026, 11, 1),
        "due_date": date(2026, 12, 1), "total_amount_due": Decimal("100.00"), "balance_due": Decimal("100.00"),
        "minimum_amount_due": Decimal("25.00"), "allow_partial": True,
    },
    "adjustments": {"account_number": "A1", "kind": "ENDORSEMENT", "occurred_at": AT - timedelta(hours=2)},
    "postings": {
        "system": "SPECTRUM", "account_number": "A1", "kind": "PAYMENT", "origin": "IC", "status": "POSTED",
        "posted_at": AT - timedelta(hours=1), "effective_date": date(2026, 11, 10),
    },
}  # fmt: skip


def guid(number: int) -> str:
    return f"aaaaaaaa-0000-0000-0000-{number:012d}"


class Kept(Staging):
    """A staging that is opened once."""

    kept: Connection

    @contextmanager
    def open(self) -> Iterator[Connection]:
        yield self.kept


class Books:
    """IMT's facts in staging, IC's pushes in the store, and the answers."""

    at = AT
    guid = staticmethod(guid)

    def __init__(self, folder: Path, staging: Kept) -> None:
        self.staging, self.folder, self.loads = staging, folder, 0
        (folder / "icflows.toml").write_text(BILLER)
        self.settings = load_settings(folder / "icflows.toml")
        self.store = open_store(self.settings)
        self.balances = Balances(self.store)

    def close(self) -> None:
        self.balances.close()
        self.store.close()

    def clear(self) -> None:
        """Empties staging and store."""
        for name in (*(f"imt.{kind}_versions" for kind in DEFAULTS), "poll.runs", "poll.loads"):
            self.staging.kept.execute(f"DELETE FROM {name}")
        self.clear_store()

    def clear_store(self, *names: str) -> None:
        with self.store.writing() as connection:
            for table in tables.metadata.sorted_tables:
                if not names or table.name in names:
                    connection.execute(table.delete())

    def load(self, kind: str, *rows: Mapping[str, Any], at: datetime = AT) -> str:
        """One file of IMT, as tasks.loading leaves it in staging."""
        self.loads += 1
        load_id, connection = f"load-{self.loads:04d}", self.staging.kept
        data = [DEFAULTS[kind] | row for row in rows]
        schema = polars_schema(IMT[kind])
        frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in data], schema=schema)
        frame = frame.with_columns(row_no=pl.int_range(pl.len(), dtype=pl.Int64))
        connection.begin()
        merge(connection, target_of(kind), frame, poll_id=load_id, form="file", seen_at=at)
        poll = Poll(load_id, "acme", kind, "file", "x.csv", None, None, at)
        polls.record_run(
            connection, poll, polls.Counts(), status="ok", reason=None, message=None, covered_to=None
        )
        connection.commit()
        return load_id

    def push(self, payment_guid: str, cents: int, at: datetime = AT, **values: Any) -> Taken:
        """A pushed payment; approved unless said otherwise."""
        content = {
            "payment_date": microseconds(at), "payment_amount": cents, "approved": True,
            "account_number": None, "invoice_number": None,
        } | values  # fmt: skip
        digest = sha256(repr(sorted(content.items())).encode()).hexdigest()
        pushed = Push("acme", "form", payment_guid, digest, content | {"payment_guid": payment_guid})
        return take(self.store, [pushed], at)[0]

    def refresh(self, at: datetime = AT, **options: Any) -> RefreshResult:
        return renew(self.store, self.staging, "acme", at, pause=lambda seconds: None, **options)

    def invoice(self, number: str, at: datetime = AT, **limits: float) -> Answer:
        limits = {"pushed_minutes": 240, "stale_minutes": 180} | limits
        return self.balances.invoice("acme", number, at, **limits)

    def account(self, number: str, at: datetime = AT, **limits: float) -> Answer:
        limits = {"pushed_minutes": 240, "stale_minutes": 180} | limits
        return self.balances.account("acme", number, at, **limits)

    def rows(self, table: str) -> list[Any]:
        """What the store holds, in order."""
        with self.store.reading() as connection:
            return sorted(map(tuple, connection.exec_driver_sql(f"SELECT * FROM {table}")), key=repr)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("staging")
    staging = Kept(folder, "acme")
    with Staging(folder, "acme").open() as connection:
        staging.kept = connection
        yield staging


@pytest.fixture(scope="module")
def shared_books(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    books = Books(tmp_path_factory.mktemp("books"), kept)
    yield books
    books.close()


@pytest.fixture
def books(shared_books: Books) -> Books:
    """Empty books."""
    shared_books.clear()
    return shared_books


@pytest.fixture(scope="session")
def more_books(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Books]:
    """Further stores on the same staging; close them."""
    return lambda: Books(tmp_path_factory.mktemp("more"), kept)


@pytest.fixture(scope="session")
def make_guids() -> Callable[[int], Sequence[str]]:
    return lambda count: [guid(number) for number in range(count)]
