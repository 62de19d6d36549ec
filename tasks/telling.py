"""Where long work tells how far it is. Flows take plain parameters, so a command says here who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
_listeners: list[Progress] = []


@contextmanager
def listening(listener: Progress) -> Iterator[None]:
    """`listener(words, done, of)` hears of long work in this process until the block ends."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(words: str, done: int, of: int) -> None:
    """How far the work named by `words` is."""
    for listener in _listeners:
        listener(words, done, of)
