"""What the Prefect server says of one deployment: is it there, is it paused, is a schedule on. Over plain HTTP.

Prefect's own client would cost 1.5 s of imports for one question.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import requests

from ops.prefect_env import server_url

_SECONDS = 5


@dataclass(frozen=True)
class Deployed:
    """active: None where nobody could tell."""

    active: bool | None
    words: str


def schedule_of(name: str) -> Deployed:
    """`name` is `flow name/deployment name`."""
    url = server_url()
    if url is None:
        return Deployed(None, "no Prefect server answers, so it cannot be seen here whether it is deployed")
    try:
        with requests.Session() as session:
            session.trust_env = False  # around any proxy, as the probe for the server
            answer = session.get(f"{url}/deployments/name/{quote(name)}", timeout=_SECONDS)
        if answer.status_code == 404:
            return Deployed(False, f"{name} is not deployed at {url}")
        if answer.status_code != 200:
            return Deployed(
                None, f"{url} does not show deployments (HTTP {answer.status_code}); see {name} in its UI"
            )
        found = answer.json()
        on = [line["schedule"].get("cron", "") for line in found["schedules"] if line["active"]]
        paused = bool(found["paused"])
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        return Deployed(None, f"{url} gave no readable answer ({type(error).__name__}); see {name} in its UI")
    if paused or not on:
        return Deployed(False, f"{name} is deployed, but {'paused' if paused else 'no schedule of it is on'}")
    return Deployed(True, f"{name} is deployed and its schedule is on ({', '.join(on)})")
