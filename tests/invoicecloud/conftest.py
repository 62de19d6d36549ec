"""Reads captured and hand-changed answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.invoicecloud.catalogue import feed_spec
from tasks.invoicecloud.report import Report, read_report


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Report]:
    """read(body, feed, form, zone, override): one body through read_report."""

    def reading(
        body: bytes,
        feed: str = "payments",
        form: Any = "soap",
        zone: str = "America/Chicago",
        override: dict[str, Any] | None = None,
    ) -> Report:
        path = tmp_path / "body.xml"
        path.write_bytes(body)
        return read_report(path, feed_spec(feed, override), form, zone)

    return reading


@pytest.fixture
def captured(wire_folder: Path) -> Callable[[str], bytes]:
    """captured("PaymentReportingSOAP.soap11.response") → bytes."""
    return lambda name: (wire_folder / f"{name}.xml").read_bytes()
