"""The SFTP server: a pinned host key, password and key logins, files inside its root only."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import paramiko
import pytest

from sandbox import Sandbox
from sandbox.captured import CAPTURED_NOW, write_captured
from sandbox.serving import SFTP_PASSWORD, SFTP_USER


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(write_captured(tmp_path / "carrier"), now=CAPTURED_NOW, state=tmp_path / "state") as sandbox:
        yield sandbox


@contextmanager
def session(sandbox: Sandbox, **login: object) -> Iterator[paramiko.SFTPClient]:
    """An SFTP session that accepts the pinned host key alone."""
    kind, blob = sandbox.host_key_line.split()
    pinned = paramiko.PKey.from_type_string(kind, base64.b64decode(blob))
    with closing(socket.create_connection((sandbox.host, sandbox.sftp_port), timeout=10)) as line:
        with closing(paramiko.Transport(line)) as transport:
            transport.connect(hostkey=pinned, username=SFTP_USER, **login)  # type: ignore[arg-type]
            with closing(paramiko.SFTPClient.from_transport(transport)) as client:  # type: ignore[type-var]
                yield client  # type: ignore[misc]


def test_put_rename_get(served: Sandbox) -> None:
    content = bytes(range(256)) * 200  # more than one packet
    with session(served, password=SFTP_PASSWORD) as client:
        client.mkdir("images")
        with client.open("images/a.pdf.part", "wb") as target:
            target.write(content)
        client.posix_rename("images/a.pdf.part", "images/a.pdf")
        assert client.listdir("images") == ["a.pdf"]
        with client.open("images/a.pdf", "rb") as source:
            assert source.read() == content
    assert (served.sftp_root / "images" / "a.pdf").read_bytes() == content


def test_the_root_is_the_end(served: Sandbox) -> None:
    (served.state / "outside.txt").write_text("not yours")
    with session(served, password=SFTP_PASSWORD) as client:
        assert client.listdir("/") == []
        with pytest.raises(FileNotFoundError):
            client.open("../outside.txt")


def test_key_login(served: Sandbox) -> None:
    key = paramiko.Ed25519Key.from_private_key_file(str(served.client_key_path))
    with session(served, pkey=key) as client:
        assert client.listdir(".") == []


def test_wrong_logins_are_refused(served: Sandbox) -> None:
    stranger = paramiko.ECDSAKey.generate()
    for login in ({"password": "wrong"}, {"pkey": stranger}):
        with pytest.raises(paramiko.AuthenticationException), session(served, **login):
            pass


def test_a_wrong_host_key_is_refused(served: Sandbox) -> None:
    with closing(socket.create_connection((served.host, served.sftp_port), timeout=10)) as line:
        with (
            closing(paramiko.Transport(line)) as transport,
            pytest.raises(paramiko.SSHException, match=r"(?i)host key"),
        ):
            transport.connect(
                hostkey=paramiko.ECDSAKey.generate(), username=SFTP_USER, password=SFTP_PASSWORD
            )


def test_the_host_key_stays(tmp_path: Path) -> None:
    carrier, state = write_captured(tmp_path / "carrier"), tmp_path / "state"
    lines = []
    for _ in range(2):
        with Sandbox(carrier, state=state) as sandbox:
            lines.append(sandbox.host_key_line)
    assert lines[0] == lines[1]
    assert (state / "sftp_host_key").stat().st_mode & 0o077 == 0
