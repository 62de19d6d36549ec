"""Runs a flow for a command: through a running Prefect server if there is one, else the plain functions."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from cli.show import say


def run_flow(module: str, name: str, /, **parameters: Any) -> Any:
    """Calls flow `name` of flows.<module>. Says on standard error which way it runs."""
    flow = load_flow(module, name)
    return flow(**{key: value for key, value in parameters.items() if value is not None})


def load_flow(module: str, name: str) -> Callable[..., Any]:
    """The flow, bound to the engine of this process (chosen once)."""
    if "ICFLOWS_ENGINE" not in os.environ:
        choose_engine()
    flow: Callable[..., Any] = getattr(import_module(f"flows.{module}"), name)
    return flow


def choose_engine() -> str:
    """Looks for a Prefect server (a quick probe on loopback or PREFECT_API_URL) and decides."""
    from ops.prefect_env import apply_defaults, server_url

    url = server_url()
    if url is None:
        os.environ["ICFLOWS_ENGINE"] = "plain"
        say("no Prefect server answers: running the same functions here")
    else:
        apply_defaults()
        os.environ["ICFLOWS_ENGINE"] = "prefect"
        os.environ["PREFECT_API_URL"] = url
        say(f"running through the Prefect server at {url}")
    return os.environ["ICFLOWS_ENGINE"]
