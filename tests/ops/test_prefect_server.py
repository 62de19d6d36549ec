"""The real thing: one Prefect server, one process worker, deployments and automations, on the sandbox.

All tests here share one house and build on each other's deployments; each leaves it as it found it.
Every Python process of the house reports (and is refused) connections and look-ups beyond loopback.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox import Sandbox
from sandbox.carrier import generate

pytestmark = pytest.mark.prefect
ROOT = Path(__file__).parents[2]
BILLER = "acme"
AUTOPAY = "BillerAutoPayCustomerReportSOAP"
WATCH = """
import os, sys
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")

def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        target = args[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        target = args[0]
    else:
        return
    host = target[0] if isinstance(target, tuple) else target
    host = host.decode() if isinstance(host, bytes) else host
    if not isinstance(host, str) or not host or host.startswith(("/", "\\\\0", *LOOPBACK)):
        return
    with open(os.environ["SOCKET_LOG"], "a") as log:
        log.write(f"{event} {host} {sys.argv[:3]}\\n")
    raise OSError(f"the test refuses {event} to {host}")

sys.addaudithook(watch)
"""


@dataclass
class House:
    """What runs, and how to ask it."""

    folder: Path
    url: str
    sandbox: Sandbox
    socket_log: Path
    marks: dict[str, Any] = field(default_factory=dict)

    @property
    def settings_file(self) -> Path:
        return self.folder / "icflows.toml"

    @property
    def prefect_file(self) -> Path:
        return self.folder / "prefect.yaml"

    def ask(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """The API's answer as JSON."""
        for _ in range(20):  # as Prefect's own client does: 503 means that SQLite was locked
            answer = httpx.request(method, f"{self.url}{path}", json=body, timeout=30, trust_env=False)
            if answer.status_code != 503:
                break
            time.sleep(0.5)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def deploy(self) -> Any:
        from ops.deploy import deploy

        return deploy(self.settings_file, self.prefect_file)

    def deployment(self, name: str) -> dict[str, Any]:
        flow = {
            "payments": "pull-feed",
            "autopay": "pull-feed",
            "reconcile": "reconcile",
            "snapshot": "publish-snapshot",
        }
        full = f"{flow[name]}/{name}-{BILLER}" if name in flow else f"{name}/{name}"
        found: dict[str, Any] = self.ask(f"/deployments/name/{full}", method="GET")
        return found

    def start(self, name: str, at: datetime | None = None, **parameters: Any) -> str:
        """Starts a run of a deployment; returns its id."""
        state = (
            {"type": "SCHEDULED", "state_details": {"scheduled_time": at.isoformat()}}
            if at
            else {"type": "SCHEDULED"}
        )
        body = {"parameters": parameters, "state": state}
        run: dict[str, Any] = self.ask(f"/deployments/{self.deployment(name)['id']}/create_flow_run", body)
        return str(run["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"/flow_runs/{run_id}", method="GET")
        return found

    def runs_of(self, name: str, *states: str) -> list[dict[str, Any]]:
        body: dict[str, Any] = {"deployments": {"id": {"any_": [self.deployment(name)["id"]]}}}
        if states:
            body["flow_runs"] = {"state": {"name": {"any_": list(states)}}}
        found: list[dict[str, Any]] = self.ask("/flow_runs/filter", body)
        return found

    def wait(self, what: str, ready: Callable[[], Any], seconds: float = 120) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := ready()):
            if time.monotonic() > deadline:
                log = (self.folder / "prefect" / "worker.log").read_text("utf-8")[-3000:]
                raise AssertionError(f"not within {seconds:g} s: {what}\n{log}")
            time.sleep(0.25)
        return found

    def ended(self, run_id: str) -> dict[str, Any]:
        """The run, when it is over."""

        def over() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        found: dict[str, Any] = self.wait(f"the end of run {run_id}", over)
        return found

    def messages(self, part: str) -> list[str]:
        return [hook["title"] for hook in self.sandbox.hooks() if part in hook["title"]]

    def quiet(self) -> None:
        """Waits until no run of ours is under way."""
        states = ["PENDING", "RUNNING", "CANCELLING"]
        due = {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "next_scheduled_start_time": {"before_": datetime.now(UTC).isoformat()},
        }
        self.wait(
            "quiet",
            lambda: (
                self.ask("/flow_runs/count", {"flow_runs": {"state": {"type": {"any_": states}}}})
                + self.ask("/flow_runs/count", {"flow_runs": due})
                == 0
            ),
            90,
        )


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, to_toml: Callable[..., str], canary_key: str
) -> Iterator[House]:
    """Everything of `make up`, on free ports, with a small carrier in real time."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "prefect.yaml", folder)
    shutil.copytree(ROOT / "automations", folder / "automations")
    (folder / "watch").mkdir()
    (folder / "watch" / "sitecustomize.py").write_text(WATCH, "utf-8")
    close = (datetime.now(UTC) + timedelta(days=1)).replace(hour=23, minute=0, second=0, microsecond=0)
    carrier = generate(7, 100, 10, close, folder / "carrier")
    before = dict(os.environ)
    os.environ |= {
        "ACME_WEB_SERVICE_KEY": canary_key, "PREFECT_HOME": str(folder / "prefect"), "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": str(folder / "watch"), "SOCKET_LOG": str(folder / "socket.log"),
    }  # fmt: skip
    for name in ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED", "CI"):
        os.environ.pop(name, None)  # the project's own settings must be enough
    try:
        with Sandbox(carrier.folder, key=canary_key, sftp_port=None) as sandbox:
            _settings(folder, sandbox, to_toml)
            yield from _running(folder, sandbox)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _settings(folder: Path, sandbox: Sandbox, to_toml: Callable[..., str]) -> None:
    biller = {
        "product": "spectrum", "biller_guid": "11111111-2222-3333-4444-555555555555", "bid": "1234",
        "web_service_key": "env:ACME_WEB_SERVICE_KEY", "base_url": sandbox.url, "time_zone": "America/Chicago",
        "transport": {"retry_seconds": 0.01, "tries": 1, "deadline_seconds": 120.0},
    }  # fmt: skip
    alerts = {"urls": [f"json://{sandbox.host}:{sandbox.port}/_sandbox/hook"]}
    (folder / "icflows.toml").write_text(to_toml({"alerts": alerts, "billers": {BILLER: biller}}), "utf-8")


def _running(folder: Path, sandbox: Sandbox) -> Iterator[House]:
    from ops.up import server

    started = time.monotonic()
    with server(folder / "prefect") as url:
        os.environ["PREFECT_API_URL"] = url
        house = House(folder, url, sandbox, folder / "socket.log")
        house.marks["server_seconds"] = time.monotonic() - started
        house.marks["deployed"] = house.deploy()
        house.marks["deploy_seconds"] = time.monotonic() - started - house.marks["server_seconds"]
        yield house


@pytest.fixture(scope="module")
def work(house: House) -> Iterator[House]:
    """The house with a worker; nothing runs by schedule any more, so that each test knows what runs."""
    from ops.up import start_worker

    for deployment in house.ask("/deployments/filter", {"limit": 200}):
        for schedule in deployment["schedules"]:
            house.ask(
                f"/deployments/{deployment['id']}/schedules/{schedule['id']}", {"active": False}, "PATCH"
            )
    worker = start_worker(house.folder / "prefect", house.url, "icflows")
    try:
        yield house
    finally:
        worker.stop(5)


def test_a_deploy_makes_scheduled_runs(house: House) -> None:
    created = house.marks["deployed"].created
    assert len([name for name in created if name.startswith("deployment ")]) == 9
    assert len([name for name in created if name.startswith("automation ")]) == 12
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    house.wait("scheduled runs", lambda: house.ask("/flow_runs/count", scheduled) > 10, 30)
    assert house.runs_of("payments")
    assert house.ask("/deployments/name/publish-invoices/invoices-acme", method="GET")["schedules"][0][
        "active"
    ]
    assert house.marks["server_seconds"] < 60


def test_a_second_deploy_changes_nothing(house: House) -> None:
    def held() -> Any:
        deployments = house.ask("/deployments/filter", {"limit": 200})
        automations = house.ask("/automations/filter", {"limit": 200})
        return {
            **{d["id"]: (d["name"], sorted(s["id"] for s in d["schedules"])) for d in deployments},
            **{a["id"]: (a["name"], a["updated"]) for a in automations},
        }

    before = held()
    result = house.deploy()
    assert not result.changed
    assert len(result.unchanged) == 31
    assert held() == before


def test_a_pause_survives_and_what_is_gone_is_pruned(house: House) -> None:
    payments = house.deployment("payments")
    schedule = payments["schedules"][0]["id"]
    house.ask(f"/deployments/{payments['id']}/schedules/{schedule}", {"active": False}, "PATCH")
    house.ask(f"/deployments/{house.deployment('autopay')['id']}/pause_deployment")
    dead = next(a for a in house.ask("/automations/filter", {}) if a["name"] == "icflows a run is dead")
    house.ask(f"/automations/{dead['id']}", {"enabled": False}, "PATCH")
    text = house.prefect_file.read_text("utf-8")
    fewer = text.replace("slug: every-4-hours", "slug: four-hourly").replace('"0 */2 * * *"', '"5 */2 * * *"')
    start, end = (
        fewer.index("  - <<: *after_others\n    name: invoices"),
        fewer.index("  # No limit"),
    )
    house.prefect_file.write_text(fewer[:start] + fewer[end:], "utf-8")
    late = house.folder / "automations" / "late-feed.yaml"
    late_text = late.read_text("utf-8")
    late.unlink()
    result = house.deploy()
    assert sorted(result.pruned) == [
        "automation icflows a feed is late", "deployment publish-invoices/invoices-acme",
        "schedule pull-feed/settlements-acme every-4-hours",
    ]  # fmt: skip
    assert result.updated == ["schedule pull-feed/payments-acme every-2-hours"]
    assert result.created == ["schedule pull-feed/settlements-acme four-hourly"]
    after = house.deployment("payments")
    assert [(s["id"], s["active"], s["schedule"]["cron"]) for s in after["schedules"]] == [
        (schedule, False, "5 */2 * * *")
    ]
    assert house.deployment("autopay")["paused"] is True
    assert house.ask(f"/automations/{dead['id']}", method="GET")["enabled"] is False
    house.prefect_file.write_text(text, "utf-8")
    late.write_text(late_text, "utf-8")
    house.deploy()
    house.ask(f"/deployments/{house.deployment('autopay')['id']}/resume_deployment")
    house.ask(f"/automations/{dead['id']}", {"enabled": True}, "PATCH")
    assert not house.deploy().changed


def test_a_pull_runs_what_it_feeds_runs_after_it_and_a_failed_check_is_one_message(work: House) -> None:
    work.sandbox.fault("bad_money", operation="PaymentReportingDataSetFromGMT", value="12.345", times=-1)
    run = work.ended(work.start("payments", as_of=datetime.now(UTC).isoformat()))
    work.sandbox.clear_faults()
    assert (run["state_name"], run["name"]) == ("Completed", "acme payments")
    followers = work.wait("a reconcile run", lambda: work.runs_of("reconcile", "Completed", "Failed"))
    assert followers[0]["state_name"] == "Completed"
    assert (
        work.wait("a snapshot run", lambda: work.runs_of("snapshot", "Completed", "Failed"))[0]["state_name"]
        == "Completed"
    )
    latest = list((work.folder / "var" / "snapshots" / BILLER).glob("latest.duckdb"))
    assert len(latest) == 1
    tables = {a["key"]: json.loads(a["data"]) for a in work.ask("/artifacts/filter", {})}
    assert {"pull-payments-acme", "reconcile-states-acme", "reconcile-breaks-acme", "snapshot-acme"} <= set(
        tables
    )
    assert sum(int(line["rows_in"]) for line in tables["pull-payments-acme"]) > 0
    work.wait("the message", lambda: work.messages("rows set aside"))
    work.quiet()
    assert len(work.messages("rows set aside")) == 1


def test_a_run_that_comes_too_late_is_skipped(work: House) -> None:
    run = work.ended(work.start("payments", at=datetime.now(UTC) - timedelta(hours=9)))
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Skipped")
    work.quiet()


def test_a_failed_poll_is_one_message_and_no_second_one_for_the_run(work: House) -> None:
    work.sandbox.fault("login_html", times=1)
    run = work.ended(work.start("autopay"))
    assert (run["state_type"], run["state_name"]) == ("FAILED", "PollFailed")
    assert "a web page, most likely a login page" in run["state"]["message"]
    work.wait("the message", lambda: work.messages("autopay: poll failed (login_page)"))
    work.quiet()
    assert len(work.messages("poll failed")) == 1
    assert work.messages("ended badly") == []


def _process_of(run_id: str) -> int | None:
    """The process that runs the flow: the one with the run's id in its environment that has no child with it."""
    wanted = f"PREFECT__FLOW_RUN_ID={run_id}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return max(found) if found else None


def test_a_killed_run_and_a_dead_one_end_as_crashed_and_are_told(work: House) -> None:
    zombie = _zombie(work)
    work.sandbox.fault("hang", operation=AUTOPAY, times=1, seconds=60)
    calls = len(work.sandbox.calls())
    killed = work.start("autopay")
    work.wait(
        "the call", lambda: work.run(killed)["state_name"] == "Running" and len(work.sandbox.calls()) > calls
    )
    process = _process_of(killed)
    assert process
    os.kill(process, signal.SIGKILL)
    assert work.ended(killed)["state_name"] == "Crashed"
    assert work.ended(zombie)["state"]["message"].startswith("No heartbeat")
    work.wait("two messages", lambda: len(work.messages("ended badly")) >= 2)
    work.quiet()
    told = sorted(work.messages("ended badly"))
    assert len(told) == 2
    assert "pull-feed acme autopay ended as Crashed" in told[0]
    assert "pull-feed zombie ended as Crashed" in told[1]
    assert work.deploy().updated == ["automation icflows a run is dead"]


def _zombie(work: House) -> str:
    """A run that says Running, sent one heartbeat, and is nowhere; the automation waits 10 s instead of 540."""
    dead = next(a for a in work.ask("/automations/filter", {}) if a["name"] == "icflows a run is dead")
    kept = {name: dead[name] for name in ("name", "description", "enabled", "tags", "actions")}
    work.ask(f"/automations/{dead['id']}", {**kept, "trigger": {**dead["trigger"], "within": 10}}, "PUT")
    body = {"flow_id": work.deployment("payments")["flow_id"], "name": "zombie", "tags": ["icflows"]}
    body |= {"parameters": {"biller": BILLER}, "state": {"type": "RUNNING"}}
    run = work.ask("/flow_runs/", body)
    resource = {"prefect.resource.id": f"prefect.flow-run.{run['id']}", "prefect.resource.name": "zombie"}
    event = {
        "id": str(uuid.uuid4()), "occurred": datetime.now(UTC).isoformat(), "event": "prefect.flow-run.heartbeat",
        "resource": resource, "payload": {},
        "related": [{"prefect.resource.id": "prefect.tag.icflows", "prefect.resource.role": "tag"}],
    }  # fmt: skip
    work.ask("/events", [event])
    return str(run["id"])


def test_by_hand_the_same_flow_runs_through_the_server(work: House) -> None:
    """On a terminal, where Prefect's SDK would report itself; without the second that heartbeats cost."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "ICFLOWS_ENGINE"}
    command = [sys.executable, "-m", "cli.main", "pull", "autopay", "--biller", BILLER]
    command += ["--config", str(work.settings_file)]
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with suppress(OSError):
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert child.wait(30) == 0, shown.decode()
    assert b"running through the Prefect server" in shown
    assert b"autopay: ok" in shown
    assert b"telemetry" not in shown.lower()
    runs = work.ask("/flow_runs/filter", {"flow_runs": {"name": {"any_": ["acme autopay"]}}})
    assert [run["state_name"] for run in runs if run["deployment_id"] is None] == ["Completed"]


def test_no_key_reaches_prefect(work: House, canary_key: str) -> None:
    everything = json.dumps(
        [
            work.ask("/logs/filter", {"limit": 200}),
            work.ask("/flow_runs/filter", {"limit": 200}),
            work.ask("/artifacts/filter", {}),
        ]
    )
    assert "acme" in everything
    assert canary_key not in everything
    assert canary_key not in json.dumps(work.sandbox.hooks())
    for name in ("server.log", "worker.log"):
        assert canary_key not in (work.folder / "prefect" / name).read_text("utf-8", errors="replace")


def test_prefects_own_deploy_understands_the_file(work: House) -> None:
    """Made by it and by us in turn, nothing is doubled."""
    environment = {**os.environ, "PWD": str(work.folder), "ICFLOWS_ENGINE": "prefect"}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        command, cwd=work.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names = sorted(a["name"] for a in work.ask("/automations/filter", {}))
    assert len(names) == len(set(names)) == 12
    work.deploy()
    assert not work.deploy().changed
    assert sorted(a["name"] for a in work.ask("/automations/filter", {})) == names


def test_the_server_never_found_its_database_locked(work: House) -> None:
    log = (work.folder / "prefect" / "server.log").read_text("utf-8", errors="replace")
    assert "database is locked" not in log
    assert "Traceback" not in log


def test_nothing_phones_home(work: House) -> None:
    """Server, worker, runs, deploys and a command on a terminal: no look-up, no connection beyond loopback."""
    assert not work.socket_log.exists(), work.socket_log.read_text("utf-8")
    code = "import socket\ntry: socket.getaddrinfo('icflows.invalid', 443)\nexcept OSError: pass"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert "icflows.invalid" in work.socket_log.read_text("utf-8"), "the watch itself must see"
    work.socket_log.unlink()
    code = "import httpx\ntry: httpx.get('http://192.0.2.1/', timeout=1)\nexcept httpx.HTTPError: pass"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert "192.0.2.1" in work.socket_log.read_text("utf-8"), "the watch itself must see"
