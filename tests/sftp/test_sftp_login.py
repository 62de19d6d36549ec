"""SFTP sessions against a real OpenSSH server on loopback, and against the sandbox's where a password is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.openssh import Server, free_port, keygen
from sandbox import Sandbox
from sandbox.captured import CAPTURED_NOW
from sandbox.serving import SFTP_PASSWORD, SFTP_USER
from tasks.errors import CredentialError, SettingsError, Unreachable
from tasks.settings import Sftp
from tasks.sftp import Limits, PutJob, pinned_key, put_files, reachable, session


@pytest.fixture(scope="module")
def password_server(captured_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The sandbox: OpenSSH asks PAM for passwords, and PAM is the machine's."""
    with Sandbox(captured_folder, now=CAPTURED_NOW, state=tmp_path_factory.mktemp("state")) as sandbox:
        yield sandbox


@pytest.fixture
def by_password(password_server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sftp:
    monkeypatch.setenv("SANDBOX_PASSWORD", SFTP_PASSWORD)
    return Sftp(
        host="127.0.0.1", port=password_server.sftp_port, username=SFTP_USER, password="env:SANDBOX_PASSWORD",
        host_key=password_server.host_key_line, directory="/",
    )  # fmt: skip


def test_the_pinned_key_lets_in(sftp: Any, server: Server, served: Path) -> None:
    (served / "one.bif").write_text("x")
    assert reachable(sftp()) == f"127.0.0.1:{server.port}{served} (1 entries)"
    with session(sftp()) as opened:
        assert opened.listdir(str(served)) == ["one.bif"]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_another_host_key_is_refused(kind: str, sftp: Any, tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="host key") as caught:
        reachable(sftp(host_key=keygen(tmp_path / "changed", kind)))
    assert caught.value.reason == "host_key"


@pytest.mark.parametrize(
    "line", ["", "ssh-ed25519", "ssh-ed25519 not-base64!", "ssh-ed25519 AAAA", "ssh-dss AAAAB3", "hunter2"]
)
def test_a_host_key_that_is_none_is_a_settings_error(line: str, sftp: Any) -> None:
    with pytest.raises(SettingsError, match=r"sftp\.host_key"):
        pinned_key(line)
    with pytest.raises(SettingsError):
        reachable(sftp(host_key=line))


def test_a_wrong_key_is_refused(sftp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keygen(tmp_path / "other")
    monkeypatch.setenv("SFTP_OTHER", (tmp_path / "other").read_text())
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
        reachable(sftp(port=free_port()))


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


def test_a_server_that_never_says_a_word_is_left_in_bounded_time(sftp: Any, proxy: Any, fast: Limits) -> None:
    proxy.deaf = True
    with pytest.raises(Unreachable), session(sftp(port=proxy.port), Limits(login=0.5)):
        pass


def test_a_password_lets_in(by_password: Sftp, password_server: Sandbox, bills: Any) -> None:
    jobs = bills.jobs(20)
    assert [result.state for result in put_files(by_password, jobs)] == ["sent"] * 20
    for job in jobs:
        assert (password_server.sftp_root / job.name).read_bytes() == job.path.read_bytes()
    with session(by_password) as opened:
        assert len(opened.listdir("/")) == 20


def test_neither_password_nor_key_is_ever_said(
    by_password: Sftp, sftp: Any, bills: Any, mutter: pytest.LogCaptureFixture, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, served: Path, server: Server,
) -> None:  # fmt: skip
    said = []
    monkeypatch.setenv("SANDBOX_PASSWORD", "canary-password")
    changed = keygen(tmp_path / "changed")
    jobs = bills.jobs(3)
    for attempt in (
        by_password,
        sftp(host_key=changed),
        sftp(port=free_port()),
        sftp(username="nobody-by-this-name"),
        sftp(key="", password="env:SFTP_PASSWORD"),
        sftp(directory="/no/such/directory"),
        sftp(),
    ):
        try:
            said.append(repr(put_files(attempt, [*jobs, PutJob("a\0b.pdf", tmp_path / "none", 1)])))
        except (CredentialError, Unreachable) as error:
            said.append(repr(error) + repr(error.__cause__) + repr(error.__context__))
    assert len(said) == 7
    key = [line for line in server.client_key.read_text().splitlines() if len(line) > 30]
    for canary in ("canary-password", *key):
        assert canary not in "".join(said) + mutter.text
    assert len(list(served.iterdir())) == 3
