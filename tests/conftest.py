"""Shared parts: one sandbox with the captured carrier, and an office that pulls from it into its own folder."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sandbox import Sandbox
from sandbox.captured import write_captured
from sandbox.store import CarrierData
from tasks.archive import Archive
from tasks.pull import PollResult, archive_of, plan, pull_window, staging_of
from tasks.settings import Settings, load_settings
from tasks.staging.polls import watermark
from tasks.staging.query import frame

os.environ.setdefault("ICFLOWS_ENGINE", "plain")  # no test but those of the flows looks for a server
KEY = "canary-key-5f3a9c"
KEY_VARIABLE = "ACME_WEB_SERVICE_KEY"
AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
WINDOW = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 10, tzinfo=UTC))
FULL_LISTS = ("autopay", "paperless")
DATA_TABLES = (
    *(
        f"{schema}.{table}{end}"
        for table in ("payments", "settlements", "ach_rejects", "autopay", "paperless")
        for schema, end in (("feed", "_versions"), ("quarantine", ""))
    ),
    "imt.postings_versions",
    "imt.invoice_events_versions",
    "quarantine.postings",
    "quarantine.invoice_events",
)
BASE = {
    "product": "spectrum",
    "biller_guid": "11111111-2222-3333-4444-555555555555",
    "bid": "1234",
    "web_service_key": f"env:{KEY_VARIABLE}",
    "time_zone": "America/Chicago",
}
NO_SLEEP: Callable[[float], None] = lambda seconds: None  # noqa: E731


def toml(data: dict[str, Any], path: tuple[str, ...] = ()) -> str:
    """A nested dict as TOML: strings, numbers, booleans, lists of strings, tables."""
    plain = [(k, v) for k, v in data.items() if not isinstance(v, dict)]
    lines = [f"[{'.'.join(_key(p) for p in path)}]"] if path and plain else []
    lines += [f"{_key(k)} = {_value(v)}" for k, v in plain]
    lines += [toml(v, (*path, k)) for k, v in data.items() if isinstance(v, dict)]
    return "\n".join(lines)


def _key(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return str(value) if isinstance(value, int | float) else _key(str(value))


class Office:
    """One biller's settings, archive and staging in a folder of their own, and the sandbox it asks."""

    at = AT
    window = WINDOW

    def __init__(self, folder: Path, sandbox: Sandbox, **biller: Any) -> None:
        self.folder, self.sandbox = folder, sandbox
        self.settings = self.configure(**biller)

    def configure(self, alerts: list[str] | None = None, storage: Any = None, **biller: Any) -> Settings:
        """Writes icflows.toml (keys of the biller by argument) and reads it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data: dict[str, Any] = {"storage": {"lock_timeout_seconds": 20.0} | (storage or {})}
        data["alerts"] = {"urls": alerts or []}
        biller["transport"] = {"pause_seconds": 0} | biller.get("transport", {})
        data["billers"] = {"acme": BASE | {"base_url": self.sandbox.url} | biller}
        file = self.folder / "icflows.toml"
        file.write_text(toml(data), "utf-8")
        self.settings = load_settings(file)
        return self.settings

    @property
    def archive(self) -> Archive:
        return archive_of(self.settings, "acme")

    def pull(
        self,
        feed: str = "payments",
        window: Any = None,
        at: datetime | None = None,
        sleep: Callable[[float], None] = NO_SLEEP,
    ) -> PollResult:
        """One window (the captured one unless given; full lists have none)."""
        asked = (None, None) if feed in FULL_LISTS else window or WINDOW
        return pull_window(self.settings, "acme", feed, asked, at or AT, sleep=sleep)

    def pull_all(self, feed: str, at: datetime | None = None) -> list[PollResult]:
        """All windows that a pull at `at` plans."""
        at = at or AT
        return [self.pull(feed, window, at) for window in plan(self.settings, "acme", feed, at)]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query on staging."""
        with staging_of(self.settings, "acme").open() as connection:
            return frame(connection, sql).to_dicts()

    def current(self, feed: str = "payments") -> list[dict[str, Any]]:
        return self.rows(f"SELECT * FROM feed.{feed} ORDER BY ALL")

    def runs(self) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM poll.runs ORDER BY poll_id")

    def watermark(self, feed: str = "payments") -> datetime | None:
        with staging_of(self.settings, "acme").open() as connection:
            return watermark(connection, feed)

    def dump(self, *tables: str) -> dict[str, list[dict[str, Any]]]:
        """Every row of the data tables and the watermarks."""
        with staging_of(self.settings, "acme").open() as connection:
            return {
                name: frame(connection, f"SELECT * FROM {name} ORDER BY ALL").to_dicts()
                for name in (tables or (*DATA_TABLES, "poll.watermarks"))
            }

    def serve(self, **tables: pl.DataFrame) -> None:
        """Lets the sandbox serve other rows from now on (the next test gets the captured ones again)."""
        data = self.sandbox.exchange.cloud.data
        for name in tables:
            data.table(name)
        data._tables |= tables

    def table(self, name: str) -> pl.DataFrame:
        """What the sandbox serves now."""
        return self.sandbox.exchange.cloud.data.table(name)


@pytest.fixture(scope="session")
def captured_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The carrier behind the captured answers."""
    return write_captured(tmp_path_factory.mktemp("captured"))


@pytest.fixture(scope="session")
def shared_sandbox(captured_folder: Path) -> Iterator[Sandbox]:
    """One sandbox for all; `ic` puts it back to its first state."""
    with Sandbox(captured_folder, now=AT, key=KEY, sftp_port=None) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def _key_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture
def ic(shared_sandbox: Sandbox, captured_folder: Path) -> Sandbox:
    """The sandbox: captured rows, no faults, no calls, its clock at 2026-11-10 12:00 UTC."""
    shared_sandbox.clear_faults()
    shared_sandbox.exchange.log.clear()
    shared_sandbox.exchange.cloud.data = CarrierData(captured_folder)
    shared_sandbox.exchange.cloud.dataset_offset = "+00:00"
    shared_sandbox.exchange._previous.clear()
    shared_sandbox.clock(AT)
    return shared_sandbox


@pytest.fixture
def office(ic: Sandbox, tmp_path: Path) -> Office:
    """An empty office."""
    return Office(tmp_path / "office", ic)


@pytest.fixture(scope="session")
def wire_folder() -> Path:
    """Captured requests and answers of a real ASP.NET server."""
    return Path(__file__).parent / "data" / "wire"


@pytest.fixture(scope="session")
def office_class() -> type[Office]:
    return Office


@pytest.fixture(scope="session")
def to_toml() -> Callable[..., str]:
    return toml


@pytest.fixture(scope="session")
def canary_key() -> str:
    return KEY


@pytest.fixture
def mutter(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that any logger says, at DEBUG, also those that were quieted."""
    import logging

    named = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    before = {logger: (logger.level, logger.propagate) for logger in named}
    for logger in named:
        with suppress(AttributeError):
            logger.setLevel(logging.DEBUG)
            logger.propagate = True
    with caplog.at_level(logging.DEBUG):
        yield caplog
    for logger, (level, propagate) in before.items():
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """file_limit(bytes): from now on no file may grow beyond that, as on a full disk (error EFBIG)."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session")
def acme_day() -> Any:
    """The business day of tests/reconciling/day.py (test folders are no packages, so it is loaded by its path)."""
    if "acme_day" not in sys.modules:
        path = Path(__file__).parent / "reconciling" / "day.py"
        spec = importlib.util.spec_from_file_location("acme_day", path)
        assert spec
        assert spec.loader
        sys.modules["acme_day"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["acme_day"])
    return sys.modules["acme_day"]


@pytest.fixture(scope="session")
def day(acme_day: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two states of one biller, made once, ready to be copied."""
    return acme_day.shared_day(tmp_path_factory.mktemp)
