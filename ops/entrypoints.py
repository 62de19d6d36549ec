"""Checks deployments and automations against the code: entrypoints, parameters, the deployments they name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from flows.engine import flow_name
from ops.written import Automation, Deployment, RunDeployment
from tasks.errors import IcflowsError, SettingsError
from tasks.settings import Settings, table_name


@dataclass(frozen=True)
class Planned:
    """A deployment together with its flow: everything that Prefect has to be told."""

    written: Deployment
    flow: str
    function: Callable[..., Any]

    @property
    def full_name(self) -> str:
        """`flow name/deployment name`, as Prefect says it."""
        return f"{self.flow}/{self.written.name}"


def plan(
    deployments: Sequence[Deployment], automations: Sequence[Automation], settings: Settings
) -> list[Planned]:
    """Imports every entrypoint and looks at every parameter. Raises SettingsError with all that is wrong."""
    planned: list[Planned] = []
    problems: list[str] = []
    for deployment in deployments:
        where = f"deployment '{deployment.name}'"
        try:
            made = _load(deployment, where)
        except SettingsError as error:
            problems.append(str(error))
            continue
        planned.append(made)
        problems += _parameter_problems(made.function, deployment.parameters, where)
        problems += _reference_problems(deployment.parameters, settings, where)
    problems += _automation_problems(automations, planned)
    if problems:
        raise SettingsError("\n".join(dict.fromkeys(problems)))
    return planned


def _load(deployment: Deployment, where: str) -> Planned:
    module, _, attribute = deployment.entrypoint.rpartition(".")
    try:
        thing = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"{where}: the entrypoint {deployment.entrypoint} cannot be imported: {error}"
        ) from None
    name = flow_name(thing)
    if name is None:
        raise SettingsError(f"{where}: {deployment.entrypoint} is no flow")
    return Planned(deployment, name, getattr(thing, "fn", thing))


def _parameter_problems(function: Callable[..., Any], given: Mapping[str, Any], where: str) -> list[str]:
    known = inspect.signature(function).parameters
    problems = [
        f"{where}: {function.__name__} has no parameter '{name}'{_nearest(name, list(known))}"
        for name in given
        if name not in known
    ]
    missing = [
        name for name, p in known.items() if p.default is inspect.Parameter.empty and name not in given
    ]
    return problems + [
        f"{where}: the parameter '{name}' of {function.__name__} is missing" for name in missing
    ]


def _reference_problems(given: Mapping[str, Any], settings: Settings, where: str) -> list[str]:
    try:
        if "biller" in given:
            settings.biller(str(given["biller"]))
        if "feed" in given:
            table_name(str(given["feed"]))
    except IcflowsError as error:
        return [f"{where}: {error}"]
    return []


def _automation_problems(automations: Sequence[Automation], planned: Sequence[Planned]) -> list[str]:
    by_name = {made.full_name: made for made in planned}
    problems = []
    for automation in automations:
        where = f"automation '{automation.name}'"
        for action in automation.actions:
            if not isinstance(action, RunDeployment):
                continue
            made = by_name.get(action.deployment)
            if made is None:
                hint = _nearest(action.deployment, list(by_name))
                problems.append(f"{where}: there is no deployment '{action.deployment}'{hint}")
            else:
                both = {**made.written.parameters, **action.parameters}
                problems += _parameter_problems(made.function, both, where)
    return problems


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
