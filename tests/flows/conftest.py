"""An office whose alerts go to the sandbox's hook and whose retries wait milliseconds; flows on the plain engine."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest

os.environ["ICFLOWS_ENGINE"] = "plain"  # before any module of flows is imported: it is chosen once

QUICK = {"retry_seconds": 0.001, "tries": 1, "pause_seconds": 0.0}


ONE_WINDOW = {"max_window": "90d"}


@pytest.fixture(autouse=True)
def _no_api_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test of this process may have imported Prefect, whose handlers look for a flow run."""
    for name in ("flows", "tasks"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])


def _ready(office: Any, feeds: dict[str, Any]) -> Any:
    hook = f"json://{office.sandbox.host}:{office.sandbox.port}/_sandbox/hook"
    office.configure(alerts=[hook], transport=QUICK, feeds=feeds)
    office.file = str(office.settings.file)
    return office


@pytest.fixture
def branch(office: Any) -> Any:
    """The office, ready to run flows, one window per pull; `branch.file` is its settings file."""
    return _ready(office, dict.fromkeys(("payments", "settlements", "ach_rejects"), ONE_WINDOW))


@pytest.fixture
def weekly(office: Any) -> Any:
    """The same with the catalogue's windows: a first pull of payments asks for five."""
    return _ready(office, {})


@pytest.fixture
def titles(ic: Any) -> Any:
    """The titles of the messages that reached the hook so far, without the common beginning."""
    return lambda: [hook["title"].removeprefix("[icflows acme] ") for hook in ic.hooks()]
