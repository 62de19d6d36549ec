"""What may stand in prefect.yaml and in an automation file. Unknown keys are refused everywhere.

The keys are Prefect's own, but fewer: cron schedules only (an interval of a day drifts with the clocks),
module paths only, one trigger kind. Prefect itself ignores a misspelled key: `concurency_limit` would
remove the limit on the server without a word.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

TAG = "icflows"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pool(Strict):
    """The work pool whose worker runs it; made by deploy if it is missing."""

    name: str
    work_queue_name: str = "default"
    job_variables: dict[str, Any] = {}


class Limit(Strict):
    """How many runs at a time, and what becomes of one too many."""

    limit: int = Field(ge=1)
    collision_strategy: Literal["CANCEL_NEW", "ENQUEUE"]
    grace_period_seconds: int = Field(300, ge=60, le=86400)


class Schedule(Strict):
    """A cron schedule. Without `active` a pause made by an operator survives; false pauses, true un-pauses."""

    slug: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    cron: str
    timezone: str = "UTC"
    active: bool | None = None

    @field_validator("cron")
    @classmethod
    def _cron(cls, text: str) -> str:
        from prefect.client.schemas.schedules import CronSchedule  # its own reading decides what is valid

        try:
            CronSchedule(cron=text)
        except ValueError:
            fields = 0
        else:
            fields = len(text.split())
        if fields != 5:
            raise ValueError(f"'{text}' is no cron line of five fields, such as '0 */2 * * *'")
        return text

    @field_validator("timezone")
    @classmethod
    def _zone(cls, text: str) -> str:
        if text not in available_timezones():
            raise ValueError(f"'{text}' is no IANA time zone; write one such as America/Chicago")
        return text

    @model_validator(mode="after")
    def _steady(self) -> Schedule:
        hour = self.cron.split()[1]
        if self.timezone != "UTC" and (not hour.isdigit() or 1 <= int(hour) <= 3):
            raise ValueError(
                f"'{self.cron}' in {self.timezone} jumps or doubles when the clocks change: "
                f"name one hour outside 01-03, or use UTC"
            )
        return self


class Trigger(Strict):
    """An event that starts the deployment, or the trigger of an automation."""

    name: str = ""
    description: str = ""
    posture: Literal["Reactive", "Proactive"] = "Reactive"
    expect: list[str] = Field(min_length=1)
    after: list[str] = []
    match: dict[str, str | list[str]] = {}
    match_related: dict[str, str | list[str]] | list[dict[str, str | list[str]]] = {}
    for_each: list[str] = []
    threshold: int = Field(1, ge=1)
    within: float = Field(0, ge=0)


class Deployment(Strict):
    """One deployment as written."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    entrypoint: str = Field(pattern=r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+$")
    work_pool: Pool
    description: str = ""
    tags: list[str]
    parameters: dict[str, Any] = {}
    enforce_parameter_schema: bool = True
    concurrency_limit: Limit | None = None
    schedules: list[Schedule] = []
    triggers: list[Trigger] = []

    @model_validator(mode="after")
    def _ours(self) -> Deployment:
        if TAG not in self.tags:
            raise ValueError(f"tags must hold '{TAG}': deploy finds and prunes by it")
        for kind, names in (
            ("slug", [s.slug for s in self.schedules]),
            ("name", [t.name for t in self.triggers]),
        ):
            if len(set(names)) < len(names) or "" in names:
                raise ValueError(f"each schedule and trigger needs a {kind} of its own")
        return self


class Definitions(BaseModel):
    """Anchors for the rest of the file; only `biller` is read."""

    model_config = ConfigDict(extra="allow", frozen=True)
    biller: str


class PrefectFile(Strict):
    """The whole file; deployments are read one by one."""

    prefect_version: str = Field("", alias="prefect-version")
    name: str = TAG
    pull: list[Any] = Field(max_length=0)
    definitions: Definitions
    deployments: list[dict[str, Any]] = Field(min_length=1)


class RunDeployment(Strict):
    """Runs a deployment, named as `flow name/deployment name`; parameters may be templates of the event."""

    type: Literal["run-deployment"]
    deployment: str = Field(pattern=r"^[^/]+/[^/]+$")
    parameters: dict[str, str] = {}


class ChangeState(Strict):
    """Sets the state of the flow run that the event is about."""

    type: Literal["change-flow-run-state"]
    state: Literal["CRASHED", "FAILED", "CANCELLED"]
    message: str = ""


class Automation(Strict):
    """One automation file. Without `enabled` an automation that an operator switched off stays off."""

    name: str = Field(min_length=1)
    description: str = ""
    enabled: bool | None = None
    trigger: Trigger
    actions: list[Annotated[RunDeployment | ChangeState, Field(discriminator="type")]] = Field(min_length=1)
