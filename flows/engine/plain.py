"""The plain engine: a flow is its function, a task is its function with retries. No Prefect anywhere."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What a flow may know of its own run. `scheduled_at`: aware UTC, when it was due."""

    deployment_id: str | None = None
    scheduled_at: datetime | None = None


def any_error(error: BaseException) -> bool:
    """The retry condition of Prefect's default: whatever went wrong may be tried again."""
    return isinstance(error, Exception)


class Task(Generic[P, R]):
    """A function with retries, with the meaning that Prefect's task has of the same arguments."""

    def __init__(
        self, function: Callable[P, R], *, name: str, retries: int, retry_delay_seconds: Sequence[float],
        retry_condition: Callable[[BaseException], bool],
    ) -> None:  # fmt: skip
        functools.update_wrapper(self, function)
        self.name = name
        self._function = function
        self._retries = retries
        self._delays = list(retry_delay_seconds)
        self._may_retry = retry_condition

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(self._retries):
            try:
                return self._function(*args, **kwargs)
            except Exception as error:
                if not self._may_retry(error):
                    raise
                delay = self._delays[min(attempt, len(self._delays) - 1)] if self._delays else 0
                tries = f"try {attempt + 1} of {self._retries + 1}"
                log.warning("%s: %s failed, next in %g s: %s", self.name, tries, delay, error)
                time.sleep(delay)
        return self._function(*args, **kwargs)

    def with_options(self, *, retry_delay_seconds: Sequence[float]) -> Task[P, R]:
        """The same task with other waits."""
        return Task(
            self._function, name=self.name, retries=self._retries, retry_delay_seconds=retry_delay_seconds,
            retry_condition=self._may_retry,
        )  # fmt: skip


def flow(*, name: str, run_name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Marks a function as a flow. `run_name` is a template of its parameters, used by Prefect."""

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        function.icflows_flow, function.icflows_run_name = name, run_name  # type: ignore[attr-defined]
        return function

    return mark


def task(
    *, name: str, retries: int = 0, retry_delay_seconds: Sequence[float] = (),
    retry_condition: Callable[[BaseException], bool] = any_error,
) -> Callable[[Callable[P, R]], Task[P, R]]:  # fmt: skip
    """Marks a function as a task. After `retries` repeats the last error is raised."""

    def mark(function: Callable[P, R]) -> Task[P, R]:
        return Task(
            function, name=name, retries=retries, retry_delay_seconds=retry_delay_seconds,
            retry_condition=retry_condition,
        )  # fmt: skip

    return mark


def run() -> Run:
    """The current run: by hand, not scheduled."""
    return Run()


def completed(name: str, message: str, result: dict[str, Any]) -> dict[str, Any]:
    """What a flow returns when it ends well under a name of its own, such as Skipped."""
    log.info("%s: %s", name, message)
    return result


def failed(name: str, error: Exception) -> NoReturn:
    """What a flow returns when it ends badly and has told about it itself."""
    log.info("%s: %s", name, error)
    raise error


def artifact(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """A table for people who look at the run; there is no run to look at here."""


def emit(event: str, resource: str, payload: Mapping[str, Any]) -> None:
    """An event; nobody listens here."""
