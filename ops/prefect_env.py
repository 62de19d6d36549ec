"""The one place with this project's Prefect settings, as environment variables, and the search for a server.

Nothing here imports Prefect: these must stand in the environment before its first import.
"""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from urllib.parse import quote, urlsplit

LOCAL_API = "http://127.0.0.1:4200/api"
_PROBE_SECONDS = 0.3
_FAR_PROBE_SECONDS = 2.0  # a server that was named on purpose and is not on this machine

DEFAULTS: dict[str, str] = {
    # Nothing phones home: SDK, server, and the UI's banners. No package is fetched at run time.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES": "false",
    # A forgotten PREFECT_API_URL is an error at once, not a hidden server that takes 10 s.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    # In memory (the default) a restart of the server kills limited runs and keeps slots of dead ones.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Five times less work for SQLite.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    # Runs are kept 30 days; our own history lies in staging.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "2592000",
    "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
    "PREFECT_TASKS_DEFAULT_PERSIST_RESULT": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks",
    "PREFECT_WORKER_QUERY_SECONDS": "5",
}
# By hand, the command itself tells what happened.
_BY_HAND = {"PREFECT_LOGGING_LEVEL": "WARNING"}


def apply_defaults(environment: dict[str, str] | None = None) -> None:
    """Sets what is not set, in this process (os.environ) unless another `environment` is given.

    Must come before the first import of Prefect. What a person has set stays.
    """
    target = os.environ if environment is None else environment
    for name, value in (DEFAULTS | (_BY_HAND if environment is None else {})).items():
        target.setdefault(name, value)


def database_url(home: Path) -> str:
    """SQLite in `home`, used over one connection.

    With the usual pool of connections the server (3.8.8) loses events and stands still for up to a minute:
    writers fail with "database is locked"; and when Python's garbage collector, on the thread of the event
    loop, finalises a statement of a connection that waits for the lock, the holder of the lock cannot go
    on until SQLite's time-out of 60 s is over (seen in 5 of 7 short runs; with one connection in none).
    Prefect makes a pool of one for every URL that holds `:memory:`; SQLite does not read that part of ours.
    """
    return f"sqlite+aiosqlite:///file:{quote(str(home.resolve()))}/prefect.db?uri=true&connections=one,as-in:memory:"


def child_environment(home: Path, api_url: str, **more: str) -> dict[str, str]:
    """The environment of a server, a worker or a run: ours, the defaults, one PREFECT_HOME, one API, one database.

    A database that somebody has named (PostgreSQL, say) stays.
    """
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_API_URL": api_url, **more}
    environment.pop("ICFLOWS_ENGINE", None)
    if environment.get("PREFECT_LOGGING_LEVEL") == _BY_HAND["PREFECT_LOGGING_LEVEL"]:
        del environment["PREFECT_LOGGING_LEVEL"]
    if "PREFECT_API_DATABASE_CONNECTION_URL" not in environment:
        environment.setdefault("PREFECT_SERVER_DATABASE_CONNECTION_URL", database_url(home))
    apply_defaults(environment)
    return environment


def use_server(api_url: str, home: Path) -> None:
    """Lets this process run flows through that server. Must come before the first import of flows or Prefect."""
    os.environ |= {"PREFECT_API_URL": api_url, "PREFECT_HOME": str(home), "ICFLOWS_ENGINE": "prefect"}
    apply_defaults()


def server_url() -> str | None:
    """The API of a running Prefect server: PREFECT_API_URL, else this machine's; None if it does not answer."""
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/") or LOCAL_API
    return url if answers(url) else None


def answers(api_url: str) -> bool:
    """True if a Prefect API says at once that it is healthy. Never raises; goes around any proxy."""
    parts = urlsplit(api_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    near = parts.hostname in ("127.0.0.1", "localhost", "::1")
    try:
        connection = kind(parts.hostname, parts.port, timeout=_PROBE_SECONDS if near else _FAR_PROBE_SECONDS)
        try:
            connection.request("GET", f"{parts.path}/health")
            answer = connection.getresponse()
            return answer.status == 200 and answer.read(16).strip() == b"true"
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError):
        return False
