"""The business day of tests/reconciling/day.py, made once for all folders that ask for it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

DAY = Path(__file__).parents[1] / "reconciling" / "day.py"


@pytest.fixture(scope="session")
def acme_day() -> Any:
    """The module (test folders are no packages, so it is loaded by its path)."""
    if "acme_day" not in sys.modules:
        spec = importlib.util.spec_from_file_location("acme_day", DAY)
        assert spec
        assert spec.loader
        sys.modules["acme_day"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["acme_day"])
    return sys.modules["acme_day"]


@pytest.fixture(scope="session")
def day(acme_day: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Day: two states of one biller, ready to be copied."""
    return acme_day.shared_day(tmp_path_factory.mktemp)
