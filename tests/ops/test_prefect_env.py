"""The search for a Prefect server is quick and never fooled; every setting that we make is one that Prefect reads."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ops.prefect_env import DEFAULTS, LOCAL_API, answers, apply_defaults, child_environment, server_url


@pytest.fixture
def health() -> Iterator[Callable[[int, bytes], str]]:
    """health(status, body): an API URL where /health answers so."""
    servers = []

    def serve(status: int, body: bytes) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/api/health" else 404)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/api"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_healthy_server_is_found(
    health: Callable[[int, bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = health(200, b"true")
    monkeypatch.setenv("PREFECT_API_URL", url + "/")
    assert server_url() == url


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>another program</html>"), (503, b"true"), (404, b"")]
)
def test_another_program_is_no_server(health: Callable[[int, bytes], str], status: int, body: bytes) -> None:
    assert not answers(health(status, body))


def test_nobody_and_somebody_silent_cost_little(
    monkeypatch: pytest.MonkeyPatch, closed_port: Callable[[], int]
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        assert not answers(f"http://127.0.0.1:{silent.getsockname()[1]}/api")
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{closed_port()}/api")
        assert server_url() is None
        assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://127.0.0.1/api", "http:///api", "http://127.0.0.1:99999/api"]
)
def test_a_url_that_is_none_never_raises(url: str) -> None:
    assert answers(url) is False


def test_what_a_person_has_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        os, "environ", {**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "17", "ICFLOWS_ENGINE": "plain"}
    )
    os.environ.pop("DO_NOT_TRACK", None)
    apply_defaults()
    assert os.environ["PREFECT_WORKER_QUERY_SECONDS"] == "17"
    assert os.environ["DO_NOT_TRACK"] == "1"
    child = child_environment(tmp_path, LOCAL_API)
    assert (child["PREFECT_HOME"], child["PREFECT_API_URL"]) == (str(tmp_path), LOCAL_API)
    assert "ICFLOWS_ENGINE" not in child
    assert "PREFECT_LOGGING_LEVEL" not in child


def test_the_database_is_a_file_with_one_connection(tmp_path: Path) -> None:
    code = """
import asyncio
from prefect.server.database import provide_database_interface

async def look():
    db = provide_database_interface()
    engine = await db.engine()
    async with engine.connect() as connection:
        await connection.exec_driver_sql("CREATE TABLE held (x)")
    print(engine.pool.size(), engine.pool._max_overflow)

asyncio.run(look())
"""
    home = tmp_path / "a home with 100% odd?name"
    home.mkdir()
    environment = child_environment(home, LOCAL_API)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["1", "0"]
    assert (home / "prefect.db").stat().st_size > 0
    own = "postgresql+asyncpg://db/prefect"
    assert child_environment(home, LOCAL_API)["PREFECT_SERVER_DATABASE_CONNECTION_URL"] != own
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", own)
        assert child_environment(home, LOCAL_API)["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == own


def test_prefect_reads_every_setting_that_we_make(tmp_path: Path) -> None:
    code = (
        "import json; from prefect.settings import get_current_settings as g; "
        "print(json.dumps(g().to_environment_variables(exclude_unset=True)))"
    )
    environment = {**child_environment(tmp_path, LOCAL_API), **DEFAULTS}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    known = json.loads(done.stdout.splitlines()[-1])
    unread = {name for name in DEFAULTS if name not in known} - {"DO_NOT_TRACK"}
    assert not unread, f"Prefect has no setting of this name: {unread}"
    assert known["PREFECT_SERVER_ANALYTICS_ENABLED"] == "False"
    assert known["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith("filesystem")
