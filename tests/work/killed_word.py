"""Runs a command of `icflows` and dies at a chosen moment. Run as a process of its own.

    python killed_word.py SETTINGS MOMENTS COMMAND...      prints how many moments it has, and the ones it died at
A moment is before a line for a log, an fsync or a rename. Each death happens in a fork, on a copy of the folder: <folder>-<n>.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli import main as program
from tasks.work import kept


def dying_at(last: int, told: Path) -> None:
    """Counts moments, writes the count to `told`, and dies at number `last` (0: at none)."""
    count = 0

    def before(done: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            told.write_text(str(count))
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return done(*arguments, **named)

        return call

    os.fsync, os.replace = before(os.fsync), before(os.replace)
    kept._note = before(kept._note)


def run(file: Path, words: list[str], last: int) -> int:
    """The command in a fork on a copy of the folder; its wait status. Nothing has started threads before."""
    folder = file.parent.with_name(f"{file.parent.name}-{last}")
    shutil.copytree(file.parent, folder)
    pid = os.fork()
    if not pid:
        dying_at(last, folder / "moments")
        os.environ["ICFLOWS_CONFIG"] = str(folder / file.name)
        sys.argv = ["icflows", *words]
        try:
            program.main()
        except SystemExit as left:
            os._exit(int(left.code or 0))
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    return os.waitpid(pid, 0)[1]


def main(file: Path, moments: int, words: list[str]) -> None:
    """Prints JSON: moments of the command, those it died at."""
    out, sys.stdout = sys.stdout, sys.stderr
    assert run(file, words, 0) == 0
    whole = int((file.parent.with_name(f"{file.parent.name}-0") / "moments").read_text())
    chosen = sorted({1 + (whole - 1) * step // (moments - 1) for step in range(moments)})
    for number in chosen:
        assert run(file, words, number) == signal.SIGKILL
    print(json.dumps([whole, chosen]), file=out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
