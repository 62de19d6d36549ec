"""SFTP against a real OpenSSH server on loopback, with keys and configuration of its own."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import CredentialError, SettingsError, Unreachable
from tasks.settings import Sftp
from tasks.sftp import pinned_key, reachable, session


@dataclass(frozen=True)
class Server:
    """A running sshd: its port, host key line, the key that it lets in, the folder that is served."""

    port: int
    host_key: str
    client_key: str
    other_key: str
    folder: Path


def _keygen(path: Path, kind: str = "ed25519") -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sshd")
    host_key = _keygen(folder / "host")
    (folder / "authorized_keys").write_text(_keygen(folder / "client"))
    _keygen(folder / "other")
    (folder / "served").mkdir()
    (folder / "served" / "one.bif").write_text("x")
    port = _free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication yes\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin yes\nSubsystem sftp internal-sftp\nLogLevel ERROR\nMaxAuthTries 3\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd run by root insists on it
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        _wait(port, process, folder / "log")
        read = {name: (folder / name).read_text() for name in ("client", "other")}
        yield Server(port, host_key, read["client"], read["other"], folder / "served")
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(log.read_text())


@pytest.fixture
def sftp(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """sftp(...) → the settings of the running server, changed as asked."""
    monkeypatch.setenv("SFTP_KEY", server.client_key)
    monkeypatch.setenv("SFTP_OTHER", server.other_key)
    monkeypatch.setenv("SFTP_PASSWORD", "canary-password")

    def make(**change: Any) -> Sftp:
        base = {
            "host": "127.0.0.1",
            "port": server.port,
            "username": getpass.getuser(),
            "key": "env:SFTP_KEY",
        }
        return Sftp(**(base | {"host_key": server.host_key, "directory": str(server.folder)} | change))

    return make


def test_the_pinned_key_lets_in(sftp: Any, server: Server) -> None:
    assert reachable(sftp()) == f"127.0.0.1:{server.port}{server.folder} (1 entries)"
    with session(sftp()) as opened:
        assert opened.listdir(str(server.folder)) == ["one.bif"]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_another_host_key_is_refused(kind: str, sftp: Any, tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="host key") as caught:
        reachable(sftp(host_key=_keygen(tmp_path / "changed", kind)))
    assert caught.value.reason == "host_key"


@pytest.mark.parametrize(
    "line", ["", "ssh-ed25519", "ssh-ed25519 not-base64!", "ssh-ed25519 AAAA", "ssh-dss AAAAB3", "hunter2"]
)
def test_a_host_key_that_is_none_is_a_settings_error(line: str, sftp: Any) -> None:
    with pytest.raises(SettingsError, match=r"sftp\.host_key"):
        pinned_key(line)
    with pytest.raises(SettingsError):
        reachable(sftp(host_key=line))


def test_a_wrong_key_is_refused(sftp: Any) -> None:
    with pytest.raises(CredentialError) as caught:
        reachable(sftp(key="env:SFTP_OTHER"))
    assert caught.value.reason == "sftp_login"


def test_a_wrong_password_is_refused_and_not_repeated_in_words(
    sftp: Any, mutter: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CredentialError) as caught:
        reachable(sftp(key="", password="env:SFTP_PASSWORD"))
    assert caught.value.reason == "sftp_login"
    assert "canary-password" not in repr(caught.value) + mutter.text


def test_an_unknown_user_is_refused(sftp: Any) -> None:
    with pytest.raises(CredentialError):
        reachable(sftp(username="nobody-by-this-name"))


def test_no_password_and_no_key_is_refused(sftp: Any) -> None:
    with pytest.raises((CredentialError, SettingsError)):
        reachable(sftp(key=""))


def test_a_key_that_is_none_is_a_settings_error(sftp: Any) -> None:
    with pytest.raises(SettingsError, match="no OpenSSH private key"):
        reachable(sftp(key="env:SFTP_PASSWORD"))


def test_a_server_that_is_not_there(sftp: Any) -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        reachable(sftp(port=_free_port()))


def test_a_name_that_does_not_resolve(sftp: Any) -> None:
    with pytest.raises(Unreachable):
        reachable(sftp(host="no-such-host.invalid"))


def test_a_server_that_speaks_no_ssh(sftp: Any, ic: Any) -> None:
    with pytest.raises(Unreachable):
        reachable(sftp(port=ic.port))


def test_a_missing_directory_names_itself(sftp: Any) -> None:
    with pytest.raises(SettingsError, match="/no/such/directory does not exist"):
        reachable(sftp(directory="/no/such/directory"))


def test_the_callers_own_errors_pass_through(sftp: Any) -> None:
    with pytest.raises(FileNotFoundError), session(sftp()) as opened:
        opened.stat("/no/such/file")
