"""An outbox without a disk (DuckDB in memory) and an InvoiceCloud that loses answers, for the simulations."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def world() -> Any:
    """tests/outbox/world.py (test folders are no packages, so it is loaded by its path)."""
    if "outbox_world" not in sys.modules:
        spec = importlib.util.spec_from_file_location("outbox_world", Path(__file__).with_name("world.py"))
        assert spec
        assert spec.loader
        sys.modules["outbox_world"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["outbox_world"])
    return sys.modules["outbox_world"]
