"""The Prefect engine: the same names as flows.engine.plain, on Prefect's flow, task, artifact and event.

Nothing is cached and no result is stored: exactly-once lives in our staging, never in Prefect's state.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Any, ParamSpec, TypeVar

import httpx
import prefect
import prefect.runtime
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.events import emit_event
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed

from flows.engine.plain import Run, any_error

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger(__name__)
if os.environ.get("PREFECT__FLOW_RUN_ID"):  # started by a worker: what these say belongs into the run's log
    for _name in ("flows", "tasks"):
        logging.getLogger(_name).setLevel(logging.INFO)


class _Flow(prefect.Flow[P, R]):
    """A flow that sends no heartbeats when it is called by hand.

    They exist to find runs whose machine died; a person who typed a command sees that. Prefect's thread
    sleeps in steps of a second and is waited for, so each call would cost 1 s. Runs of deployments do
    not come this way and keep theirs.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            return super().__call__(*args, **kwargs)


def flow(*, name: str, run_name: str) -> Callable[[Callable[P, R]], Any]:
    """A Prefect flow without retries: what may be repeated is a task."""

    def mark(function: Callable[P, R]) -> Any:
        made = _Flow(
            function, name=name, flow_run_name=run_name, description=inspect.getdoc(function), persist_result=False,
            log_prints=False,
        )  # fmt: skip
        made.icflows_flow = name  # type: ignore[attr-defined]
        return made

    return mark


def task(
    *, name: str, retries: int = 0, retry_delay_seconds: Sequence[float] = (),
    retry_condition: Callable[[BaseException], bool] = any_error,
) -> Callable[[Callable[P, R]], Any]:  # fmt: skip
    """A Prefect task, never cached, repeated only where `retry_condition` says so."""

    def may_retry(_task: Any, _task_run: TaskRun, state: State[Any]) -> bool:
        return isinstance(state.data, BaseException) and retry_condition(state.data)

    def mark(function: Callable[P, R]) -> Any:
        return prefect.task(
            name=name, retries=retries, retry_delay_seconds=list(retry_delay_seconds), retry_condition_fn=may_retry,
            cache_policy=NO_CACHE, persist_result=False,
        )(function)  # fmt: skip

    return mark


def run() -> Run:
    """The current run: of a deployment (and when it was due), or by hand."""
    deployment_id = prefect.runtime.deployment.id
    if deployment_id is None:
        return Run()
    due = prefect.runtime.flow_run.scheduled_start_time
    return Run(str(deployment_id), None if due is None else due.astimezone(UTC))


def completed(name: str, message: str, result: dict[str, Any]) -> Any:
    """A Completed state under a name of its own, such as Skipped; the caller gets `result`."""
    return Completed(name=name, message=message, data=result)


def failed(name: str, error: Exception) -> Any:
    """A Failed state under a name of its own; the caller gets the error raised.

    Its event is prefect.flow-run.<name>: automations on runs that nobody told about listen to
    prefect.flow-run.Failed and do not hear it.
    """
    return Failed(name=name, message=f"{type(error).__name__}: {error}", data=error)


def artifact(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """A table shown with the run. What is staged is staged: a table that cannot be kept fails nothing."""
    table = [{name: _shown(value) for name, value in row.items()} for row in rows]
    try:
        create_table_artifact(key=_slug(key), table=table, description=description)
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("the artifact %s was not kept: %s", key, type(error).__name__)


def emit(event: str, resource: str, payload: Mapping[str, Any]) -> None:
    """An event with a stable name and resource; values as texts and numbers."""
    emit_event(
        event=event, resource={"prefect.resource.id": resource, "prefect.resource.name": resource},
        payload={name: _shown(value) for name, value in payload.items()},
    )  # fmt: skip


@functools.cache
def _slug(key: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", key.lower())


def _shown(value: Any) -> Any:
    """Artifacts and events are JSON: money, times and paths as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping | list):
        return json.dumps(value, default=str)
    return str(value)
