"""SFTP sessions by paramiko: pinned host key, time-outs on everything, TCP_NODELAY.

paramiko's own defaults wait for ever on a stalled link and, on some file sizes, 40 ms a packet.
"""

from __future__ import annotations

import base64
import io
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paramiko

from tasks.errors import CredentialError, SettingsError, Unreachable
from tasks.settings import Sftp, secret

# A lost connection is told by our own errors; without a handler paramiko would also print it, with a traceback.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_KEY_TYPES: dict[str, type[paramiko.PKey]] = {
    "ssh-ed25519": paramiko.Ed25519Key,
    "ssh-rsa": paramiko.RSAKey,
    "ecdsa-sha2-nistp256": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp384": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp521": paramiko.ECDSAKey,
}


@dataclass(frozen=True)
class Limits:
    """How long is waited, in seconds, and how often a lost connection is opened again."""

    connect: float = 10  # TCP
    login: float = 15  # banner, key exchange, login: each
    silence: float = 30  # no byte in and none out while answers are due
    file: float = 120  # one file from its first request to its name, beside `least_rate`
    least_rate: float = 32_768  # bytes a second that a link must carry to be given more time
    reopen: int = 3  # per connection
    pause: float = 0.5  # before the first reopening; doubles


LIMITS = Limits()


class _Transport(paramiko.Transport):
    """AES-GCM first: one pass in C that encrypts and signs, where paramiko would pick CTR with a MAC in Python."""

    _preferred_ciphers = (
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
    )


def pinned_key(line: str) -> paramiko.PKey:
    """The host key of the settings ('ssh-ed25519 AAAA…'). Raises SettingsError."""
    kind, _, rest = line.strip().partition(" ")
    try:
        make: Any = _KEY_TYPES[kind]
        key: paramiko.PKey = make(data=base64.b64decode(rest.split()[0], validate=True))
        return key
    except (KeyError, IndexError, ValueError, paramiko.SSHException):
        raise SettingsError("sftp.host_key is no public host key; write it as 'ssh-ed25519 AAAA…'") from None


def open_client(sftp: Sftp, limits: Limits = LIMITS) -> paramiko.SSHClient:
    """A logged-in connection; close it. Raises Unreachable, CredentialError (login, host key), SettingsError."""
    if not sftp.password and not sftp.key:
        raise SettingsError(
            'sftp has neither password nor key; add password = "env:NAME" or key = "env:NAME"'
        )
    key = pinned_key(sftp.host_key)
    login: dict[str, Any] = {
        "password": secret(sftp.password).get_secret_value() if sftp.password else None,
        "pkey": _private_key(sftp) if sftp.key else None,
        "transport_factory": _Transport,
    }
    client = paramiko.SSHClient()
    name = sftp.host if sftp.port == 22 else f"[{sftp.host}]:{sftp.port}"
    client.get_host_keys().add(name, key.get_name(), key)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        sock = socket.create_connection((sftp.host, sftp.port), timeout=limits.connect)
    except OSError as error:
        raise Unreachable(f"SFTP {sftp.host}:{sftp.port} does not answer ({type(error).__name__})") from None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with _translated():
            client.connect(
                sftp.host, port=sftp.port, username=sftp.username, sock=sock, **login,
                allow_agent=False, look_for_keys=False, timeout=limits.login,
                banner_timeout=limits.login, auth_timeout=limits.login, channel_timeout=limits.silence,
            )  # fmt: skip
    except BaseException:
        client.close()
        sock.close()
        raise
    transport_of(client).set_keepalive(15)
    return client


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except paramiko.BadHostKeyException:
        raise CredentialError(
            "the SFTP server shows another host key than the pinned one", reason="host_key"
        ) from None
    except paramiko.AuthenticationException:
        raise CredentialError("the SFTP server refused user, password or key", reason="sftp_login") from None
    except paramiko.SSHException as error:
        if "not found in known_hosts" in str(error):
            raise CredentialError(
                "the SFTP server's host key is not the pinned one", reason="host_key"
            ) from None
        raise Unreachable(f"SFTP session failed ({type(error).__name__})") from None
    except (OSError, EOFError) as error:
        raise Unreachable(f"SFTP session failed ({type(error).__name__})") from None


def transport_of(client: paramiko.SSHClient) -> paramiko.Transport:
    """The transport of an open client. Raises Unreachable if the connection is gone already."""
    transport = client.get_transport()
    if transport is None:
        raise Unreachable("SFTP session failed (closed)")
    return transport


def open_channel(client: paramiko.SSHClient, limits: Limits = LIMITS) -> paramiko.SFTPClient:
    """One more SFTP channel on the connection, with time-outs. Raises Unreachable."""
    with _translated():
        channel = transport_of(client).open_session(timeout=limits.silence)
        channel.settimeout(limits.silence)
        channel.invoke_subsystem("sftp")
        return paramiko.SFTPClient(channel)


@contextmanager
def session(sftp: Sftp, limits: Limits = LIMITS) -> Iterator[paramiko.SFTPClient]:
    """An open SFTP session. Raises Unreachable, CredentialError (login, host key), SettingsError."""
    client = open_client(sftp, limits)
    try:
        yield open_channel(client, limits)
    except paramiko.SSHException as error:
        raise Unreachable(f"SFTP session failed ({type(error).__name__})") from None
    finally:
        client.close()


def _private_key(sftp: Sftp) -> paramiko.PKey:
    text = secret(sftp.key).get_secret_value()
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text))
        except (paramiko.SSHException, ValueError):
            continue
    raise SettingsError("sftp.key resolves to no OpenSSH private key")


def reachable(sftp: Sftp) -> str:
    """Logs in and lists the directory; returns a short sentence. Raises like `session`."""
    with session(sftp) as opened:
        try:
            count = len(opened.listdir(sftp.directory))
        except FileNotFoundError:
            raise SettingsError(f"the SFTP directory {sftp.directory} does not exist") from None
    return f"{sftp.host}:{sftp.port}{sftp.directory} ({count} entries)"
