"""Deployments and their schedules on a Prefect server: create, update what differs, prune. Imports Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from ops.deploy_result import DeployResult
from ops.entrypoints import Planned
from ops.schedules_api import new_schedule, sync_schedules
from ops.written import TAG

UNMADE = UUID(int=0)  # stands for the id of what a dry run would create
_PAGE = 200


def sync_deployments(
    client: SyncPrefectClient, planned: Sequence[Planned], result: DeployResult, dry_run: bool
) -> dict[str, UUID]:
    """Creates what is missing, updates what differs; returns the ids by full name."""
    for pool in sorted({made.written.work_pool.name for made in planned}):
        _ensure_pool(client, pool, result, dry_run)
    held = {found.full_name: found for found in read_ours(client)}
    ids = {}
    for made in planned:
        found = held.get(made.full_name)
        if found is None:
            ids[made.full_name] = UNMADE if dry_run else _create(client, made)
            result.note(f"deployment {made.full_name}", new=True, differs=True)
        else:
            ids[made.full_name] = found.response.id
            _update(client, made, found.response, result, dry_run)
    return ids


class Found:
    """A deployment of ours on the server, under its full name."""

    def __init__(self, response: DeploymentResponse, flow: str) -> None:
        self.response = response
        self.full_name = f"{flow}/{response.name}"


def read_ours(client: SyncPrefectClient) -> list[Found]:
    """Every deployment with our tag."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found: list[DeploymentResponse] = []
    while (
        len(page := client.read_deployments(deployment_filter=tagged, limit=_PAGE, offset=len(found)))
        == _PAGE
    ):
        found += page
    flows = {flow.id: flow.name for flow in _flows(client)}
    return [Found(response, flows[response.flow_id]) for response in [*found, *page]]


def _flows(client: SyncPrefectClient) -> list[Any]:
    found: list[Any] = []
    while len(page := client.read_flows(limit=_PAGE, offset=len(found))) == _PAGE:
        found += page
    return [*found, *page]


def prune_deployments(
    client: SyncPrefectClient,
    settings_file: str,
    ids: Mapping[str, UUID],
    result: DeployResult,
    dry_run: bool,
) -> None:
    """Deletes deployments with our tag and this settings file that no file names any more."""
    for found in read_ours(client):
        if found.full_name in ids or found.response.parameters.get("settings_file") != settings_file:
            continue
        if not dry_run:
            client.delete_deployment(found.response.id)
        result.pruned.append(f"deployment {found.full_name}")


def _ensure_pool(client: SyncPrefectClient, name: str, result: DeployResult, dry_run: bool) -> None:
    try:
        client.read_work_pool(name)
        result.note(f"work pool {name}", new=False, differs=False)
    except ObjectNotFound:
        if not dry_run:
            from prefect.workers.process import ProcessWorker

            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
        result.note(f"work pool {name}", new=True, differs=True)


def _wanted(made: Planned) -> dict[str, Any]:
    """All that an update compares and sets."""
    written = made.written
    limit = written.concurrency_limit
    options = (
        ConcurrencyOptions.model_validate(
            limit.model_dump(include={"collision_strategy", "grace_period_seconds"})
        )
        if limit
        else None
    )
    return {
        "description": written.description or None,
        "tags": written.tags,
        "parameters": written.parameters,
        "entrypoint": written.entrypoint,
        "work_pool_name": written.work_pool.name,
        "work_queue_name": written.work_pool.work_queue_name,
        "job_variables": written.work_pool.job_variables,
        "enforce_parameter_schema": written.enforce_parameter_schema,
        "parameter_openapi_schema": parameter_schema(made.function).model_dump_for_openapi(),
        "pull_steps": [],
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": options,
    }


def _held(found: DeploymentResponse) -> dict[str, Any]:
    names = _COMPARED
    held: dict[str, Any] = {name: getattr(found, name) for name in names}
    shared = found.global_concurrency_limit
    return {
        **held,
        "pull_steps": found.pull_steps or [],
        "concurrency_limit": shared.limit if shared else None,
    }


_COMPARED = (
    "description", "tags", "parameters", "entrypoint", "work_pool_name", "work_queue_name", "job_variables",
    "enforce_parameter_schema", "parameter_openapi_schema", "concurrency_options",
)  # fmt: skip


def _create(client: SyncPrefectClient, made: Planned) -> UUID:
    flow_id = client.create_flow_from_name(made.flow)
    schedules = [new_schedule(schedule) for schedule in made.written.schedules]
    return client.create_deployment(
        flow_id=flow_id, name=made.written.name, schedules=schedules, **_wanted(made)
    )


def _update(
    client: SyncPrefectClient, made: Planned, found: DeploymentResponse, result: DeployResult, dry_run: bool
) -> None:
    wanted = _wanted(made)
    differs = wanted != _held(found)
    if differs and not dry_run:
        client.update_deployment(found.id, DeploymentUpdate(**wanted))
    result.note(f"deployment {made.full_name}", new=False, differs=differs)
    sync_schedules(client, made, found, result, dry_run)
