"""`make up`: Prefect server, worker, deployments, automations, sandbox and service on loopback, until Ctrl-C.

`server()` alone is what the demo and the tests use.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from ops.deploy import check, deploy
from ops.deploy_result import DeployResult
from ops.prefect_env import LOCAL_API, answers, child_environment, use_server
from ops.processes import Child, free_port, listens
from ops.service import start_service
from tasks.errors import SettingsError, Stop
from tasks.settings import Biller, Settings, load_settings

PORT = urlsplit(LOCAL_API).port or 4200
START_SECONDS = 120
DRAIN_SECONDS = 60
_SANDBOX_KEY = "sandbox-key"
_AHEAD_DAYS = 30  # the sandbox's carrier lives on for so long after its first start


@contextmanager
def server(home: Path, port: int | None = None) -> Iterator[str]:
    """A Prefect server on loopback with a PREFECT_HOME of its own; yields its API URL. Raises Stop.

    Ready in 3 s with an existing `home`, 9 s with a new one (measured on 2 cores). Logs to `home`/server.log.
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}/api"
    arguments = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    child = Child("the Prefect server", arguments, child_environment(home, url), home / "server.log")
    try:
        child.wait_until(lambda: answers(url), START_SECONDS)
        yield url
    finally:
        child.stop()


def start_worker(home: Path, api_url: str, pool: str, limit: int = 4) -> Child:
    """A process worker for `pool`. SIGTERM lets its running flows end first."""
    arguments = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    return Child(
        "the worker",
        [*arguments, "--limit", str(limit)],
        child_environment(home, api_url),
        home / "worker.log",
    )


def start_sandbox(data: Path, biller: Biller, key: str, log: Path) -> Child:
    """The Invoice Cloud stand-in where `biller.base_url` points, its clock running; a carrier is made if there is none."""
    port = urlsplit(biller.base_url).port or 80
    sftp_port = biller.sftp.port if biller.sftp else free_port()
    arguments = [sys.executable, "-m", "sandbox", "--data", str(data), "--biller-guid", biller.biller_guid]
    arguments += ["--port", str(port), "--sftp-port", str(sftp_port)]
    if not (data / "carrier.json").is_file():
        close = datetime.now(UTC) + timedelta(days=_AHEAD_DAYS)
        close = close.replace(hour=23, minute=0, second=0, microsecond=0)
        arguments += ["--generate", "--days", str(2 * _AHEAD_DAYS), "--close", close.isoformat()]
    child = Child("the sandbox", arguments, {**os.environ, "SANDBOX_WEB_SERVICE_KEY": key}, log)
    try:
        child.wait_until(lambda: listens(port), START_SECONDS)
        _let_the_clock_run(biller.base_url)
    except BaseException:
        child.stop(5)
        raise
    return child


def _let_the_clock_run(base_url: str) -> None:
    request = urllib.request.Request(f"{base_url}_sandbox/clock", b'{"now": null}', method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        json.load(answer)


def up(
    settings_file: Path | str | None = None,
    prefect_file: Path | str | None = None,
    say: Callable[[str], None] = print,
    port: int = PORT,
) -> None:
    """Starts everything, says where it is, and waits; Ctrl-C or SIGTERM ends all children in order.

    `prefect_file` stands beside the settings file unless given; Prefect's files lie in var/prefect there.
    Raises SettingsError if a file is wrong or a port is taken, Stop if a child ends by itself.
    """
    settings = load_settings(settings_file)
    written = Path(prefect_file) if prefect_file else settings.file.parent / "prefect.yaml"
    home, url = settings.file.parent / "var" / "prefect", f"http://127.0.0.1:{port}/api"
    use_server(url, home)
    _, planned, _ = check(settings.file, written)
    if listens(port):
        raise SettingsError(f"port {port} is taken; is `make up` running already?")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        children = _sandboxes(settings, stack, say) + start_service(settings, stack, say)
        say("starting the Prefect server …")
        stack.enter_context(server(home, port))
        result = deploy(settings.file, written)
        for pool in sorted({made.written.work_pool.name for made in planned}):
            children.append(start_worker(home, url, pool))
            stack.callback(_drain, children[-1], say)
        _announce(settings, url, home, result, say)
        try:
            _watch(children, url)
        except KeyboardInterrupt:
            say("ending; runs that are under way come to their end first")


def _sandboxes(settings: Settings, stack: ExitStack, say: Callable[[str], None]) -> list[Child]:
    """One sandbox for each biller that points to this machine."""
    children = []
    for name, biller in sorted(settings.billers.items()):
        where = urlsplit(biller.base_url)
        if where.hostname not in ("127.0.0.1", "localhost") or listens(where.port or 80):
            say(f"{name}: {biller.base_url} is used as it is")
            continue
        folder = settings.file.parent / "var" / "sandbox" / name
        say(f"{name}: starting a sandbox at {biller.base_url} …")
        child = start_sandbox(folder, biller, _key(biller), folder.parent / f"{name}.log")
        stack.callback(child.stop, 5)
        children.append(child)
    return children


def _key(biller: Biller) -> str:
    """The key that sandbox and worker share: the one that is set, else the sandbox's own, set for the worker."""
    kind, _, variable = biller.web_service_key.partition(":")
    if kind != "env":
        raise SettingsError(f"a sandbox needs web_service_key = 'env:NAME', not '{biller.web_service_key}'")
    return os.environ.setdefault(variable, _SANDBOX_KEY)


def _drain(worker: Child, say: Callable[[str], None]) -> None:
    worker.stop(DRAIN_SECONDS)
    say("the worker has ended")


def _announce(
    settings: Settings, url: str, home: Path, result: DeployResult, say: Callable[[str], None]
) -> None:
    made = f"{len(result.created)} created, {len(result.updated)} updated, {len(result.unchanged)} unchanged"
    say(f"deployed: {made}, {len(result.pruned)} removed")
    say(f"Prefect   {url.removesuffix('/api')}")
    for name, biller in sorted(settings.billers.items()):
        say(f"{name:9} {biller.base_url} (control: {biller.base_url}_sandbox/)")
    say(f"logs      {home}/server.log, {home}/worker.log")
    say("Ctrl-C ends everything")


def _watch(children: Sequence[Child], url: str) -> None:
    """Waits until interrupted. Raises Stop if a child is gone or the server has been silent for a while."""
    silent = 0
    while True:
        time.sleep(1)
        for child in children:
            if not child.alive:
                raise Stop(
                    f"{child.name} ended by itself (exit code {child.process.returncode}); its log is {child.log}"
                )
        silent = 0 if answers(url) else silent + 1
        if silent > START_SECONDS / 2:
            raise Stop(f"the Prefect server at {url} does not answer any more")
