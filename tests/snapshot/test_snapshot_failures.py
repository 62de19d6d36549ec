"""A snapshot that fails or is killed leaves the one before, whole, and nothing under a final name."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tasks.errors import Retry
from tasks.settings import Settings
from tasks.snapshot import publish_snapshot
from tasks.staging.query import scalar

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
PUBLISH = """
import sys
from datetime import UTC, datetime, timedelta
from tasks.settings import load_settings
from tasks.snapshot import publish_snapshot
settings = load_settings(sys.argv[1])
at = datetime.fromisoformat(sys.argv[2])
print("ready", flush=True)
for number in range(1000):
    publish_snapshot(settings, "acme", at + timedelta(seconds=number))
"""


def shown(settings: Settings) -> tuple[Any, int]:
    """as_of and payments of `latest`, read in full."""
    with duckdb.connect(
        str(settings.folder("snapshots") / "acme" / "latest.duckdb"), read_only=True
    ) as connection:
        as_of = scalar(connection, "SELECT as_of::VARCHAR FROM snapshot_info")
        return as_of, int(scalar(connection, "SELECT count(*) FROM v_payment_chain"))


def names(settings: Settings) -> list[str]:
    folder = settings.folder("snapshots") / "acme"
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock")


def test_full_disk(day: Any, tmp_path: Path, file_limit: Callable[[int], None]) -> None:
    settings = day.copy("close", tmp_path)
    publish_snapshot(settings, "acme", CLOSE)
    before = shown(settings)
    file_limit(2_000_000)
    with pytest.raises(Retry, match="still stands"):
        publish_snapshot(settings, "acme", CLOSE + timedelta(hours=1))
    assert names(settings) == ["20261030T230000Z.duckdb", "latest.duckdb"]
    assert shown(settings) == before


def test_kill_at_any_moment(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    publish_snapshot(settings, "acme", CLOSE)
    draw, published = random.Random(5), set()
    at = CLOSE
    for _ in range(5):
        at += timedelta(minutes=10)
        process = subprocess.Popen(
            [sys.executable, "-c", PUBLISH, str(settings.file), at.isoformat()],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0.0, 3.0))  # long enough on a busy machine
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        as_of, payments = shown(settings)
        assert payments == 600
        published.add(as_of)
        for name in names(settings):
            if not name.startswith("."):
                with duckdb.connect(
                    str(settings.folder("snapshots") / "acme" / name), read_only=True
                ) as connection:
                    assert scalar(connection, "SELECT count(*) FROM recon.items") == 600
    publish_snapshot(settings, "acme", at + timedelta(hours=1))
    assert not [name for name in names(settings) if name.startswith(".")]  # leftovers are gone
    assert len(published) > 1
