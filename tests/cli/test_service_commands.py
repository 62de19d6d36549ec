"""`icflows serve`, `collect` and `pushes` as a person calls them, and what doctor and cutover say of the service."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from cli.cutover import walk
from cli.doctor_inbound import inbound, service
from tasks.inbound.overview import overview
from tasks.inbound.store import open_store
from tasks.inbound.stored import beat

GUID = "11111111-2222-3333-4444-555555555555"
AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def counter(office: Any) -> Any:
    office.configure(inbound={"keys": ["env:ACME_WEB_SERVICE_KEY"], "handover": "handover"})
    return office


@pytest.fixture
def call(counter: Any) -> Call:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "ICFLOWS_CONFIG": str(counter.settings.file),
            "NO_COLOR": "1",
            "COLUMNS": "80",
        }
        script = [sys.executable, "-m", "cli.main", *words]
        return subprocess.run(
            script, capture_output=True, text=True, env=environment, timeout=60, check=False, stdin=subprocess.DEVNULL
        )  # fmt: skip

    return run


@pytest.fixture
def serving(counter: Any) -> Iterator[tuple[str, int, subprocess.Popen[str]]]:
    """`icflows serve` on a free port."""
    script = [
        sys.executable,
        "-m",
        "cli.main",
        "serve",
        "--port",
        "0",
        "--config",
        str(counter.settings.file),
    ]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout
        line = child.stdout.readline()
        found = re.match(r"listening on http://(127\.0\.0\.1):(\d+) for acme; Ctrl-C ends it$", line.strip())
        assert found, line
        yield found[1], int(found[2]), child
        if child.poll() is None:
            child.terminate()


def post(host: str, port: int, key: str, **changes: str) -> tuple[int, str]:
    fields = {
        "BillerGUID": GUID, "PaymentGUID": "aaaaaaaa-0000-0000-0000-000000000001", "PaymentAmount": "30.00",
        "PaymentDate": "2026-11-10T15:00:00Z", "InvoiceNumber": "INV-1", "Approved": "True",
    } | changes  # fmt: skip
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Service-Key": key}
    line = http.client.HTTPConnection(host, port, timeout=10)
    try:
        line.request("POST", "/acme/datapump/payments", urlencode(fields), headers)
        answer = line.getresponse()
        return answer.status, answer.read().decode()
    finally:
        line.close()


def test_a_push_from_serve_to_imt(serving: Any, call: Call, canary_key: str, counter: Any) -> None:
    host, port, child = serving
    status, body = post(host, port, canary_key)
    assert (status, "<Receipt>aaaaaaaa-0000-0000-0000-000000000001-1</Receipt>" in body) == (200, True)
    assert post(host, port, "wrong")[0] == 401
    moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    collected = call("collect", "--biller", "acme", "--as-of", moment, "--json")
    assert collected.returncode == 0, collected.stderr
    told = json.loads(collected.stdout)
    assert (told["handed"]["rows"], told["handed"]["amount"], told["taken"]["pushes"]) == (1, "30.00", 1)
    listed = json.loads(call("pushes", "--json").stdout)
    assert (listed["payments"]["received"], listed["payments"]["suspense"]) == (1, 1)
    assert [file["state"] for file in listed["files"]] == ["offered"]
    shown = call("pushes", "--biller", "acme")
    assert "for an account that IMT does not know" in shown.stdout
    assert re.search(r"1\s+postings\s+1\s+30\.00\s+offered", shown.stdout)
    assert "1 payments over 30.00 USD are not acknowledged" in shown.stderr
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0
    assert child.stderr
    assert canary_key not in child.stderr.read()
    assert (counter.folder / "handover" / "postings-acme-00000001.csv").exists()


def test_ctrl_c_ends_it_in_order(serving: Any) -> None:
    child = serving[2]
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 0


def test_tables_of_collect(call: Call, counter: Any) -> None:
    done = call("collect", "--biller", "acme", "--as-of", "2026-11-10T12:00:00Z")
    assert done.returncode == 0, done.stderr
    assert re.search(r"pushes into staging\s+0", done.stdout)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("pushes", "--biller", "nobody"), 2, "there is no biller 'nobody'"),
        (("collect", "--biller", "nobody"), 2, "there is no biller 'nobody'"),
        (("pushes", "offer", "7"), 1, "IMT has refused no file 7"),
        (("serve", "--port", "99999"), 2, "65535"),
        (("serve", "--host", "0.0.0.0", "--port", "0"), 2, "certificate"),
        (("collect", "--biller", "acme", "--as-of", "2026-11-10T12:00:00"), 2, "a time with its zone"),
    ],
)
def test_wrong_calls_are_told_in_one_line(call: Call, words: tuple[str, ...], code: int, told: str) -> None:
    done = call(*words)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_without_inbound_nothing_is_served(call: Call, counter: Any) -> None:
    counter.configure()
    for words in (("serve",), ("pushes",), ("collect", "--biller", "acme")):
        done = call(*words)
        assert done.returncode == 2
        assert "[billers.acme.inbound]" in done.stderr


def test_a_taken_port_is_told(serving: Any, call: Call) -> None:
    done = call("serve", "--port", str(serving[1]))
    assert done.returncode == 2
    assert "cannot listen" in done.stderr


def found(counter: Any) -> dict[str, str]:
    lines = [*inbound(counter.settings, "acme"), *service(counter.settings)]
    return {line.what: line.state for line in lines}


def test_doctor_sees_keys_folder_service_and_freshness(counter: Any, monkeypatch: Any) -> None:
    assert found(counter) == {"acme: keys for IC": "ok", "acme: hand-over to IMT": "ok", "service": "warn"}
    with_store = open_store(counter.settings)
    with_store.close()
    assert found(counter)["acme: balances"] == "warn"
    monkeypatch.delenv("ACME_WEB_SERVICE_KEY")
    assert found(counter)["acme: keys for IC"] == "fail"
    counter.configure(inbound={"keys": ["env:ACME_WEB_SERVICE_KEY"]})
    assert found(counter)["acme: hand-over to IMT"] == "warn"
    counter.configure()
    assert found(counter) == {"acme: calls of IC": "warn"}


def test_doctor_asks_the_running_service(serving: Any, counter: Any) -> None:
    counter.settings = counter.settings.model_copy(
        update={"service": counter.settings.service.model_copy(update={"port": serving[1]})}
    )
    assert found(counter)["service"] == "ok"


def cutover(counter: Any, at: datetime = AT) -> dict[str, tuple[str, str]]:
    wanted = ("RTDR answers here", "Data Pump receiver here", "RTDR web services")
    return {
        s.what: (s.state, s.words or s.how) for s in walk(counter.settings, "acme", at) if s.what in wanted
    }


def test_cutover_sees_the_service(counter: Any) -> None:
    before = cutover(counter)
    assert before["RTDR answers here"] == ("fail", "icflows serve never ran")
    assert before["RTDR web services"][0] == "person"
    assert "http://127.0.0.1:8443/acme/RealTimeDataRefresh.asmx" in before["RTDR web services"][1]
    store = open_store(counter.settings)
    beat(store, ["acme"], AT)
    store.close()
    assert cutover(counter)["Data Pump receiver here"] == ("fail", "it lives; nothing was pushed yet")
    assert cutover(counter)["RTDR answers here"] == ("fail", "it lives; IMT was never heard")
    late = cutover(counter, AT + timedelta(minutes=3))
    assert late["RTDR answers here"][1].startswith("icflows serve does not run since 2026-11-10 12:00")


def test_offering_a_refused_file_again(counter: Any, call: Call, serving: Any, canary_key: str) -> None:
    post(*serving[:2], canary_key)
    collect = ("collect", "--biller", "acme", "--as-of", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    assert call(*collect).returncode == 0
    acks: Path = counter.folder / "handover" / "acks"
    acks.mkdir()
    answer = {"sequence": 1, "rows": 1, "amount": "30.00", "status": "refused", "message": "period is closed"}
    (acks / "postings-acme-00000001.csv.ack.json").write_text(json.dumps(answer), "utf-8")
    done = call(*collect)
    assert done.returncode == 1
    assert "IMT refused postings-acme-00000001.csv" in done.stderr
    assert "period is closed" in call("pushes").stderr
    assert call("pushes", "offer", "1").returncode == 0
    assert call(*collect).returncode == 0
    assert overview(counter.settings, "acme")["files"][0]["times_offered"] == 2
