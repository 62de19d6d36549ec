"""An office whose alerts go to the sandbox's hook and whose retries wait milliseconds; flows on the plain engine."""

from __future__ import annotations

import os
from typing import Any

import pytest

os.environ["ICFLOWS_ENGINE"] = "plain"  # before any module of flows is imported: it is chosen once

QUICK = {"retry_seconds": 0.001, "tries": 1, "pause_seconds": 0.0}


@pytest.fixture
def branch(office: Any) -> Any:
    """The office, ready to run flows; `branch.file` is its settings file."""
    office.configure(alerts=[f"json://{office.sandbox.host}:{office.sandbox.port}/_sandbox/hook"], transport=QUICK)
    office.file = str(office.settings.file)
    return office


@pytest.fixture
def titles(branch: Any) -> Any:
    """The titles of the messages that reached the hook so far, without the common beginning."""
    return lambda: [hook["title"].removeprefix("[icflows acme] ") for hook in branch.sandbox.hooks()]
