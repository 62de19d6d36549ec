"""Plays rounds of a biller's inbound side and dies at a chosen moment. Run as a process of its own.

    python killed_round.py SETTINGS MOMENTS          prints how many moments a round has, then the ones it died at
A moment is before a statement, a commit, an fsync or a rename. Each death happens in a fork on a copy of the folder:
<folder>-<n>; after it, another fork hands over once more and plays a whole round.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from sandbox.imt import Imt
from tasks.inbound.collect import collect
from tasks.inbound.handover import hand_over, read_acks
from tasks.settings import Settings, load_settings

NOW = datetime(2026, 11, 10, 13, tzinfo=UTC)


def play(file: Path, imt: Imt, at: datetime) -> None:
    """One round; IMT is another program and does not die with this one."""
    settings = load_settings(file)
    exchange(settings, imt, at)
    collect(settings, "acme", at)


def exchange(settings: Settings, imt: Imt, at: datetime) -> None:
    """Files to IMT, and its answers."""
    hand_over(settings, "acme", at)
    imt.run()
    read_acks(settings, "acme", at)


class Moments:
    """Counts moments and dies at one of them (0: at none)."""

    def __init__(self, last: int) -> None:
        self.count, self.last = 0, last
        for name in ("fsync", "replace"):
            setattr(os, name, self._before(getattr(os, name)))
        event.listen(Engine, "before_cursor_execute", lambda *_: self.tick())
        event.listen(Engine, "commit", lambda _: self.tick())

    def _before(self, done: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.tick()
            return done(*arguments, **named)

        return call

    def tick(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def fork(work: Any) -> int:
    """Runs work in a fork; returns its wait status. Nothing has started threads before."""
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def count(file: Path, into: Path) -> None:
    moments = Moments(0)
    play(file, Imt(file.parent / "handover"), NOW)
    into.write_text(str(moments.count))


def die(file: Path, last: int) -> None:
    Moments(last)
    play(file, Imt(file.parent / "handover"), NOW)


def finish(file: Path) -> None:
    """IMT's memory of what it booked is what lies in its done folder: here it starts anew and books what it is given."""
    imt = Imt(file.parent / "handover")
    done = sorted((file.parent / "handover" / "done").glob("*.csv"))
    imt._seen = {int(path.stem.rsplit("-", 1)[1]): "" for path in done}
    exchange(load_settings(file), imt, NOW + timedelta(hours=2))
    play(file, imt, NOW + timedelta(hours=4))
    (file.parent / "booked.json").write_text(json.dumps([imt.doubles, imt.booked["receipt"].to_list()]))


def main(settings_file: str, moments: int) -> None:
    """Prints JSON: moments of a round, those it died at."""
    first = Path(settings_file)
    copies = first.parent.parent

    def copy(name: str) -> Path:
        shutil.copytree(first.parent, copies / name)
        return copies / name / first.name

    told = copies / "count"
    assert fork(lambda: count(copy("whole"), told)) == 0
    whole = int(told.read_text())
    chosen = sorted({1 + whole * step // moments for step in range(moments)})
    for number in chosen:
        file = copy(f"killed-{number}")
        assert fork(lambda file=file, number=number: die(file, number)) == signal.SIGKILL
        assert fork(lambda file=file: finish(file)) == 0
    print(json.dumps([whole, chosen]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
