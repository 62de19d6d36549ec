"""A command that is killed anywhere leaves its word or period once or not at all, and never in one place alone for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.pull import staging_of
from tasks.replay import replay
from tasks.settings import load_settings
from tasks.work.catching_up import in_step
from tasks.work.kept import kept_of
from tasks.work.periods import closed_periods

ROOT = Path(__file__).parents[2]
LATER = datetime(2026, 11, 2, 14, tzinfo=UTC)
AT = ("--as-of", "2026-11-02T14:00:00Z")


def killed(desk: Any, moments: int, *words: str) -> list[Path]:
    """The settings files of copies in which the command was killed at that many moments, spread over its course."""
    file = Path(desk.settings.file)
    script = [sys.executable, str(Path(__file__).with_name("killed_word.py")), str(file), str(moments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*script, *words], capture_output=True, text=True, timeout=280, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    whole, chosen = json.loads(done.stdout)
    assert chosen[0] == 1
    assert chosen[-1] == whole
    return [file.parent.with_name(f"{file.parent.name}-{number}") / file.name for number in chosen]


def test_a_word_is_said_once_whenever_the_process_dies(desk: Any, desk_class: Callable[..., Any]) -> None:
    first, which = desk.one("B05", 1)["break_id"], desk.one("B05")["break_id"]
    desk.say(first, "noted", "Bo Lee")
    said = []
    for file in killed(desk, 3, "breaks", "assign", which, "--to", "Cy Roe", "--by", "Ann Ode", *AT):
        there = desk_class(load_settings(file))
        noted = kept_of(there.settings, "acme").words().to_dicts()
        assert noted[0]["break_id"] == first
        in_step(there.settings, "acme")
        in_step(there.settings, "acme")
        assert there.rows("SELECT * FROM recon.work_events ORDER BY sequence") == noted
        said.append(len(there.events(which)))
        if len(noted) == 1:
            there.say(which, "assigned", hour=70)
        assert len(there.events(which)) == 1
        assert len(kept_of(there.settings, "acme").words()) == 2
    assert said == sorted(said)
    assert set(said) == {0, 1}


def test_a_period_is_closed_once_whenever_the_process_dies(desk: Any, desk_class: Callable[..., Any]) -> None:
    in_step(desk.settings, "acme")
    closed = []
    for file in killed(desk, 5, "close", "2026-10-29", "--by", "Ann Ode", *AT):
        there = desk_class(load_settings(file))
        noted = kept_of(there.settings, "acme").periods()
        if noted.height and 1 not in closed:
            staging_of(
                there.settings, "acme"
            ).path.unlink()  # the worst of it: the machine took the file along
            replay(there.settings, "acme", LATER + timedelta(hours=1))
        in_step(there.settings, "acme")
        lines = closed_periods(there.settings, "acme")
        assert [(row["period"], row["state"]) for row in lines] == [("2026-10-29", "ok")] * noted.height
        closed.append(len(lines))
    assert closed == sorted(closed)
    assert set(closed) == {0, 1}
