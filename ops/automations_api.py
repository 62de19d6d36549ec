"""Automations on a Prefect server, by name: Prefect itself would double one that is created twice. Imports Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState
from prefect.events.actions import RunDeployment as PrefectRunDeployment
from prefect.events.schemas.automations import Automation as Held
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from ops.deploy_result import DeployResult
from ops.entrypoints import Planned
from ops.written import TAG, Automation, ChangeState, RunDeployment, Trigger

_PAGE = 200
_COMPARED = {"name", "description", "tags", "trigger", "actions", "actions_on_trigger", "actions_on_resolve"}


def sync_automations(
    client: SyncPrefectClient, planned: Sequence[Planned], automations: Sequence[Automation], ids: Mapping[str, UUID],
    result: DeployResult, dry_run: bool,
) -> None:  # fmt: skip
    """Creates, updates and prunes: those of the files, and one for each trigger of a deployment."""
    held = _read_ours(client, set(ids.values()))
    for wanted, enabled in _wanted(planned, automations, ids):
        same_name = [found for found in held if found.name == wanted.name]
        held = [found for found in held if found.name != wanted.name]
        _sync(client, wanted, enabled, same_name[:1], result, dry_run)
        held += same_name[1:]  # doubled before, by other means
    for gone in held:
        if not dry_run:
            client.delete_automation(gone.id)
        result.pruned.append(f"automation {gone.name}")


def _sync(
    client: SyncPrefectClient, wanted: AutomationCore, enabled: bool | None, found: Sequence[Held],
    result: DeployResult, dry_run: bool,
) -> None:  # fmt: skip
    what = f"automation {wanted.name}"
    if not found:
        if not dry_run:
            client.create_automation(wanted.model_copy(update={"enabled": enabled is not False}))
        result.note(what, new=True, differs=True)
        return
    old = found[0]
    keep = old.enabled if enabled is None else enabled
    differs = keep != old.enabled or _content(old) != _content(wanted)
    if differs and not dry_run:
        update = {**wanted.model_dump(exclude={"owner_resource"}), "enabled": keep}
        client.update_automation(old.id, AutomationCore.model_validate(update))
    result.note(what, new=False, differs=differs)


def _content(automation: AutomationCore) -> dict[str, Any]:
    return automation.model_dump(include=_COMPARED)


def _read_ours(client: SyncPrefectClient, deployments: set[UUID]) -> list[Held]:
    """Those with our tag, and those that Prefect keeps for our deployments (made by `prefect deploy`)."""
    found: list[Held] = []
    while len(page := client.read_automations(limit=_PAGE, offset=len(found))) == _PAGE:
        found += page
    return [held for held in [*found, *page] if TAG in held.tags or deployments & _runs(held)]


def _runs(automation: Held) -> set[UUID]:
    """The deployments that an automation starts, if it does nothing else and is named as ours are."""
    if not automation.name.startswith(f"{TAG} "):
        return set()
    return {
        a.deployment_id for a in automation.actions if isinstance(a, PrefectRunDeployment) and a.deployment_id
    }


def _wanted(
    planned: Sequence[Planned], automations: Sequence[Automation], ids: Mapping[str, UUID]
) -> list[tuple[AutomationCore, bool | None]]:
    found: list[tuple[AutomationCore, bool | None]] = []
    for made in planned:
        start = PrefectRunDeployment(source="selected", deployment_id=ids[made.full_name])
        for trigger in made.written.triggers:
            owner = f"prefect.deployment.{ids[made.full_name]}"
            found.append((_core(trigger.name, trigger.description, trigger, [start], owner), None))
    for written in automations:
        actions = [_action(action, ids) for action in written.actions]
        found.append(
            (_core(written.name, written.description, written.trigger, actions, None), written.enabled)
        )
    return found


def _core(
    name: str, description: str, trigger: Trigger, actions: Sequence[ActionTypes], owner: str | None
) -> AutomationCore:
    return AutomationCore(
        name=name, description=description, tags=[TAG], trigger=_trigger(trigger), actions=list(actions),
        owner_resource=owner,
    )  # fmt: skip


def _trigger(written: Trigger) -> EventTrigger:
    return EventTrigger(
        posture=Posture[written.posture], expect=set(written.expect), after=set(written.after), match=written.match,
        match_related=written.match_related, for_each=set(written.for_each), threshold=written.threshold,
        within=timedelta(seconds=written.within),
    )  # fmt: skip


def _action(written: RunDeployment | ChangeState, ids: Mapping[str, UUID]) -> ActionTypes:
    if isinstance(written, RunDeployment):
        return PrefectRunDeployment(
            source="selected", deployment_id=ids[written.deployment], parameters=written.parameters or None
        )
    return ChangeFlowRunState(state=StateType[written.state], message=written.message or None)
