"""Progress that people can see, on standard error, for anything over two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from cli.show import errors, say
from tasks.telling import listening


@contextmanager
def counted(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for a known number of steps; gives a function (done, total). Quiet when not on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(words)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def told() -> Iterator[None]:
    """A bar for each kind of long work that tells how far it is. Quiet when not on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(words: str, done: int, total: int) -> None:
            if words not in tasks:
                tasks[words] = bars.add_task(words)
            bars.update(tasks[words], completed=done, total=total)

        with listening(show):
            yield


@contextmanager
def step(words: str) -> Iterator[None]:
    """A spinner while the step runs on a terminal, and one line with its time when it is over."""
    started = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    if not errors.is_terminal:
        say(f"  … {words}")
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        bar.add_task(words)
        yield
    say(f"  ✓ {words} ({time.monotonic() - started:.1f} s)")
