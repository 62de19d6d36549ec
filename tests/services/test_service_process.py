"""The service as a process of its own: TLS, one line when it listens, what it took is answered when it is stopped."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from services.server import serve
from tasks.errors import SettingsError

HEADERS = {"X-Service-Key": "canary-spectrum-key", "Content-Type": "application/x-www-form-urlencoded"}


@contextmanager
def process(settings: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """(the process, its address)."""
    command = [sys.executable, "-m", "services", "--config", str(settings.file), "--port", "0"]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert started.stdout
    assert started.stderr
    try:
        yield started, started.stdout.readline().strip().removeprefix("icflows serves ")
    finally:
        started.kill()
        started.wait(10)
        started.stdout.close()
        started.stderr.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip
    return chain, key


def test_tls_and_a_stop_in_good_order(
    tmp_path: Path, make_settings: Callable[..., Any], payment: dict[str, str], certificate: tuple[Path, Path]
) -> None:
    chain, key = certificate
    settings = make_settings(tmp_path, service={"certificate": str(chain), "certificate_key": str(key)})
    with process(settings) as (started, address):
        assert address.startswith("https://127.0.0.1:")
        port = int(address.rpartition(":")[2])
        context = ssl.create_default_context(cafile=str(chain))
        mute = [
            socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(3)
        ]  # no handshake at all
        receipts, body = [], urlencode(payment)
        with closing(
            http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
        ) as connection:
            connection.request("POST", "/acme/datapump/payments", body, HEADERS)
            receipts.append(connection.getresponse().read())
            connection.putrequest("POST", "/acme/datapump/payments")
            for name, value in (HEADERS | {"Content-Length": str(len(body))}).items():
                connection.putheader(name, value)
            connection.endheaders(body[:50].encode())
            time.sleep(0.2)
            started.send_signal(signal.SIGTERM)  # while a request is half here
            time.sleep(0.2)
            connection.send(body[50:].encode())
            receipts.append(connection.getresponse().read())
        assert started.wait(10) == 0
        assert receipts[0] == receipts[1]
        assert b"<Success>true</Success>" in receipts[0]
        assert started.stderr
        assert started.stderr.read() == ""
        assert [raw.recv(10) for raw in mute] == [b""] * 3
        for raw in mute:
            raw.close()


def test_a_full_disk_is_never_an_acknowledgement(
    tmp_path: Path,
    start: Any,
    make_settings: Callable[..., Any],
    payment: dict[str, str],
    file_limit: Callable[[int], None],
) -> None:
    form = "application/x-www-form-urlencoded"
    with start(make_settings(tmp_path)) as service:
        post = lambda body: service.request("POST", "/acme/datapump/payments", body, Content_Type=form)  # noqa: E731
        file_limit(4_096)
        status, headers, text = post(urlencode(payment))
        soap = service.soap("PostPayment", payment, "datapump")
        file_limit(1 << 40)
        assert (status, headers["retry-after"]) == (503, "30")
        assert "Receipt" not in text + soap[2]
        assert soap[0] == 503
        assert service.get("/acme/rtdr/invoices/INV-1")[0] == 200
        assert post(urlencode(payment))[0] == 200
        assert service.count("pushes") == 1


def test_plain_http_stays_at_home(tmp_path: Path, make_settings: Callable[..., Any]) -> None:
    with pytest.raises(SettingsError, match="certificate"):
        serve(make_settings(tmp_path), "0.0.0.0", 0)


def test_a_broken_certificate_and_a_taken_port_are_named(
    tmp_path: Path, make_settings: Callable[..., Any]
) -> None:
    (tmp_path / "no.pem").write_text("no")
    broken = {"certificate": str(tmp_path / "no.pem"), "certificate_key": str(tmp_path / "no.pem")}
    with pytest.raises(SettingsError, match="PEM"):
        serve(make_settings(tmp_path, service=broken), "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(SettingsError, match="cannot listen"):
            serve(make_settings(tmp_path), "127.0.0.1", taken.getsockname()[1])


def test_an_interrupt_ends_it_well(tmp_path: Path, make_settings: Callable[..., Any]) -> None:
    with process(make_settings(tmp_path)) as (started, address):
        assert address.startswith("http://127.0.0.1:")
        started.send_signal(signal.SIGINT)
        assert started.wait(10) == 0
