"""`icflows up` as a whole: everything starts, works, and is gone after one signal."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.prefect_env import answers
from ops.processes import Child, free_port, listens
from tasks.errors import SettingsError, Stop

ROOT = Path(__file__).parents[2]
UP = "import sys; from ops.up import up; up(sys.argv[1], port=int(sys.argv[2]), say=lambda line: print(line, flush=True))"


@pytest.fixture
def place(tmp_path: Path, to_toml: Callable[..., str]) -> Path:
    """A folder like the repository's, with a sandbox's address where nobody listens yet."""
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    shutil.copytree(ROOT / "automations", tmp_path / "automations")
    biller = {
        "product": "spectrum", "biller_guid": "11111111-2222-3333-4444-555555555555", "bid": "1234",
        "web_service_key": "env:UP_TEST_KEY", "base_url": f"http://127.0.0.1:{free_port()}/",
        "time_zone": "America/Chicago", "inbound": {"keys": ["env:UP_TEST_INBOUND_KEY"]},
    }  # fmt: skip
    (tmp_path / "icflows.toml").write_text(
        to_toml({"service": {"port": free_port()}, "billers": {"acme": biller}}), "utf-8"
    )
    return tmp_path


def children_of(process: int) -> list[int]:
    """All processes below one, from /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == process:
            child = int(stat.parent.name)
            found += [child, *children_of(child)]
    return found


@pytest.mark.prefect
def test_up_starts_everything_and_one_signal_ends_it(place: Path) -> None:
    port = free_port()
    log = place / "up.log"
    command = [sys.executable, "-c", UP, str(place / "icflows.toml"), str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "ICFLOWS_ENGINE": "plain"}
        )
    try:
        deadline = time.monotonic() + 90
        while b"Ctrl-C ends everything" not in log.read_bytes():
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, log.read_text("utf-8")
            time.sleep(0.2)
        assert answers(f"http://127.0.0.1:{port}/api")
        clock = _sandbox(place, "clock")["now"]
        time.sleep(0.1)
        assert _sandbox(place, "clock")["now"] > clock, "the sandbox's clock runs"
        below = children_of(process.pid)
        assert len(below) >= 4
        service = re.search(rb"service +(http://127\.0\.0\.1:\d+)", log.read_bytes())
        assert service
        with urllib.request.urlopen(f"{service[1].decode()}/health", timeout=5) as answer:
            assert json.load(answer) == {"status": "ok"}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text("utf-8")
    said = log.read_text("utf-8")
    assert "23 created, 0 updated, 0 unchanged" in said
    assert "the worker has ended" in said
    assert not answers(f"http://127.0.0.1:{port}/api")
    assert [child for child in below if Path(f"/proc/{child}").exists()] == []


def _sandbox(place: Path, what: str) -> Any:
    settings = (place / "icflows.toml").read_text("utf-8")
    url = settings.split('base_url" = "')[1].split('"')[0]
    with urllib.request.urlopen(f"{url}_sandbox/{what}", timeout=10) as answer:
        return json.load(answer)


def test_a_taken_port_is_said_before_anything_starts(place: Path, closed_port: Callable[[], int]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-c", UP, str(place / "icflows.toml"), str(taken.getsockname()[1])],
            env={**os.environ, "ICFLOWS_ENGINE": "plain"}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"{SettingsError.__name__}: port" in done.stderr
    assert "is taken" in done.stderr
    assert not (place / "var").exists()


def test_a_child_that_fails_at_once_is_named_with_its_last_words(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", "import sys; print('no licence'); sys.exit(3)"]
    child = Child("the printer", arguments, os.environ, tmp_path / "log")
    with pytest.raises(Stop, match=r"the printer ended at once \(exit code 3\): no licence"):
        child.wait_until(lambda: False, 20)


def test_a_child_that_does_not_end_is_killed_with_its_own_children(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    spawn = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stubborn!r}])"
    child = Child("the mule", [sys.executable, "-c", f"{spawn}"], os.environ, tmp_path / "log")
    child.wait_until(lambda: "up" in (tmp_path / "log").read_text("utf-8"), 20)
    below = children_of(child.process.pid)
    child.stop(0.2)
    assert not child.alive
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{number}").exists() for number in below) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [number for number in below if _runs(number)] == []


def _runs(process: int) -> bool:
    """False for a process that is gone or only waits to be collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_ports_are_free_until_somebody_listens() -> None:
    assert not listens(free_port())
