"""The schedules of a deployment on a Prefect server. A pause that an operator made stays. Imports Prefect."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from ops.deploy_result import DeployResult
from ops.entrypoints import Planned
from ops.written import Schedule


def sync_schedules(
    client: SyncPrefectClient, made: Planned, found: DeploymentResponse, result: DeployResult, dry_run: bool
) -> None:
    """Creates, updates and prunes by slug. One without a slug was made by hand in Prefect: it is not ours and stays."""
    held = {schedule.slug: schedule for schedule in found.schedules if schedule.slug}
    for written in made.written.schedules:
        what, old = f"schedule {made.full_name} {written.slug}", held.pop(written.slug, None)
        if old is None:
            if not dry_run:
                client.create_deployment_schedules(found.id, [new_schedule(written)])
            result.note(what, new=True, differs=True)
            continue
        active = old.active if written.active is None else written.active
        differs = not _same(old, written) or active != old.active
        if differs and not dry_run:
            client.update_deployment_schedule(found.id, old.id, active=active, schedule=_cron(written))
        result.note(what, new=False, differs=differs)
    for gone in held.values():
        if not dry_run:
            client.delete_deployment_schedule(found.id, gone.id)
        result.pruned.append(f"schedule {made.full_name} {gone.slug}")


def _same(held: DeploymentSchedule, written: Schedule) -> bool:
    schedule = held.schedule
    return isinstance(schedule, CronSchedule) and (schedule.cron, schedule.timezone) == (
        written.cron,
        written.timezone,
    )


def _cron(written: Schedule) -> CronSchedule:
    return CronSchedule(cron=written.cron, timezone=written.timezone)


def new_schedule(written: Schedule) -> DeploymentScheduleCreate:
    """What a new deployment or a new line of an old one asks for."""
    return DeploymentScheduleCreate(
        schedule=_cron(written), active=written.active is not False, slug=written.slug
    )
