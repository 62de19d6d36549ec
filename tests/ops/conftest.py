"""The plain engine for this process: deploy needs the flows' names and parameters, Prefect runs them elsewhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

os.environ["ICFLOWS_ENGINE"] = "plain"  # before any module of flows is imported: it is chosen once


@pytest.fixture(scope="session")
def closed_port() -> Callable[[], int]:
    """A loopback port where nobody listens."""

    def port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return port
