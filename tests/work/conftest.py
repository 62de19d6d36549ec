"""A biller after the runs of two moments, to work on; and a run that finds other breaks than the last one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.pull import staging_of
from tasks.settings import Settings
from tasks.staging.polls import record_load
from tasks.staging.query import frame
from tasks.work.people import say

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)


class Desk:
    """People at work on the breaks of one biller. Moments are hours after the close of the day."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def say(self, which: str, action: str, by: str = "Ann Ode", hour: int = 1, **more: Any) -> dict[str, Any]:
        more = {"note": "" if action in ("assigned", "signed") else "seen", **more}
        more |= {"owner": "Cy Roe"} if action == "assigned" and "owner" not in more else {}
        return say(self.settings, "acme", which, action, by, CLOSE + timedelta(hours=hour), **more)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with staging_of(self.settings, "acme").open() as connection:
            return frame(connection, sql).to_dicts()

    def run(self, sql: str, load: str = "") -> None:
        """Changes what lies in staging, as a test may and the program never does; `load` came with poll_id of that name."""
        with staging_of(self.settings, "acme").open() as connection:
            connection.execute(sql)
            if load:
                record_load(connection, load, "poll", CLOSE)

    def events(self, which: str) -> list[dict[str, Any]]:
        return self.rows(f"SELECT * FROM recon.work_events WHERE break_id = '{which}' ORDER BY sequence")

    def one(self, code: str, number: int = 0) -> dict[str, Any]:
        """An open break of this class."""
        sql = f"SELECT * FROM recon.breaks WHERE code = '{code}' AND state = 'open' ORDER BY break_id"
        return self.rows(sql)[number]


@pytest.fixture
def desk(day: Any, tmp_path: Path) -> Desk:
    return Desk(day.copy("close", tmp_path))


@pytest.fixture
def desk_before(day: Any, tmp_path: Path) -> Desk:
    """Three days before the close: the last run is as of then."""
    return Desk(day.copy("before", tmp_path / "before"))


@pytest.fixture(scope="session")
def desk_class() -> Callable[[Settings], Desk]:
    return Desk
