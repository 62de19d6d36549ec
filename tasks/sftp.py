"""SFTP by paramiko and nothing else: pinned host key, time-outs on everything, TCP_NODELAY.

paramiko's own defaults wait for ever on a stalled link and, on some file sizes, 40 ms a packet.
"""

from __future__ import annotations

import base64
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paramiko

from tasks.errors import CredentialError, SettingsError, Unreachable
from tasks.settings import Sftp, secret

_CONNECT_SECONDS = 10.0
_SESSION_SECONDS = 15.0
_CHANNEL_SECONDS = 30.0
_KEY_TYPES: dict[str, type[paramiko.PKey]] = {
    "ssh-ed25519": paramiko.Ed25519Key,
    "ssh-rsa": paramiko.RSAKey,
    "ecdsa-sha2-nistp256": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp384": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp521": paramiko.ECDSAKey,
}


def pinned_key(line: str) -> paramiko.PKey:
    """The host key of the settings ('ssh-ed25519 AAAA…'). Raises SettingsError."""
    kind, _, rest = line.strip().partition(" ")
    try:
        make: Any = _KEY_TYPES[kind]
        key: paramiko.PKey = make(data=base64.b64decode(rest.split()[0], validate=True))
        return key
    except (KeyError, IndexError, ValueError, paramiko.SSHException):
        raise SettingsError("sftp.host_key is no public host key; write it as 'ssh-ed25519 AAAA…'") from None


@contextmanager
def session(sftp: Sftp) -> Iterator[paramiko.SFTPClient]:
    """An open SFTP session. Raises Unreachable, CredentialError (login, host key), SettingsError."""
    client = paramiko.SSHClient()
    if not sftp.password and not sftp.key:
        raise SettingsError(
            'sftp has neither password nor key; add password = "env:NAME" or key = "env:NAME"'
        )
    key = pinned_key(sftp.host_key)
    name = sftp.host if sftp.port == 22 else f"[{sftp.host}]:{sftp.port}"
    client.get_host_keys().add(name, key.get_name(), key)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        sock = socket.create_connection((sftp.host, sftp.port), timeout=_CONNECT_SECONDS)
    except OSError as error:
        raise Unreachable(f"SFTP {sftp.host}:{sftp.port} does not answer ({type(error).__name__})") from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        client.connect(
            sftp.host, port=sftp.port, username=sftp.username, sock=sock, allow_agent=False, look_for_keys=False,
            password=secret(sftp.password).get_secret_value() if sftp.password else None,
            pkey=_private_key(sftp) if sftp.key else None,
            banner_timeout=_SESSION_SECONDS, auth_timeout=_SESSION_SECONDS, channel_timeout=_CHANNEL_SECONDS,
        )  # fmt: skip
        transport = client.get_transport()
        if transport is not None:
            transport.set_keepalive(15)
        opened = client.open_sftp()
        channel = opened.get_channel()
        if channel is not None:
            channel.settimeout(_CHANNEL_SECONDS)
        yield opened
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
    finally:
        client.close()
        sock.close()


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
