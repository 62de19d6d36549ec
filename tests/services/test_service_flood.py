"""More connections than there is room for: those that wait for nothing give way to those who ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_idle_connections_give_way(tmp_path: Path, start: Any, make_settings: Callable[..., Any]) -> None:
    settings = make_settings(tmp_path, service={"max_connections": 8, "head_seconds": 5.0})
    with start(settings) as service:
        idle = [service.connect() for _ in range(30)]
        began = time.perf_counter()
        for _ in range(10):
            assert service.get("/acme/rtdr/invoices/INV-1")[0] == 200
        assert time.perf_counter() - began < 1.0
        assert b"503" in idle[0].recv(100)
        assert len(service.server.server_state.connections) <= 9
        for connection in idle:
            connection.close()
