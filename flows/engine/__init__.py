"""One way to write a flow, two ways to run it: on Prefect, or as the plain function that it is.

Chosen once per process, by ICFLOWS_ENGINE = prefect | plain, when this package is first imported. The
default is prefect, because deployments import the flows by their module paths. With plain, Prefect is
never imported: it costs 1.5 s and would look for a server. Both ways call the same functions with the
same retries; plain has no run record, no artifact and no event.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from tasks.errors import SettingsError

VARIABLE = "ICFLOWS_ENGINE"


def _chosen() -> Literal["plain", "prefect"]:
    name = os.environ.get(VARIABLE, "prefect")
    if name not in ("plain", "prefect"):
        raise SettingsError(f"{VARIABLE} is '{name}'; known: plain, prefect")
    return "plain" if name == "plain" else "prefect"


NAME = _chosen()
os.environ.setdefault("DO_NOT_TRACK", "1")  # whoever started this process: Prefect's SDK does not report it

if TYPE_CHECKING or NAME == "plain":
    from flows.engine.plain import artifact, completed, emit, failed, flow, run, task
else:
    from flows.engine.on_prefect import artifact, completed, emit, failed, flow, run, task


def flow_name(thing: Any) -> str | None:
    """The name that the flow has in Prefect; None if `thing` is no flow of either engine."""
    mark = getattr(thing, "icflows_flow", None)
    return mark if isinstance(mark, str) else None


__all__ = ["NAME", "VARIABLE", "artifact", "completed", "emit", "failed", "flow", "flow_name", "run", "task"]
