"""A real OpenSSH server on loopback, with keys and configuration of its own; benchmarks and tests start it."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = "/usr/sbin/sshd"


@dataclass(frozen=True)
class Server:
    """A running sshd: port, public line of its host key, the private key that it lets in, who may log in."""

    port: int
    host_key: str
    client_key: Path
    user: str
    log: Path


def keygen(path: Path, kind: str = "ed25519") -> str:
    """Makes a pair of keys; returns the public line without its comment."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def openssh(folder: Path, user: str = "", more: str = "", before: Sequence[str] = ()) -> Iterator[Server]:
    """Runs sshd until the block ends. `more`: lines of its configuration; `before`: a command that starts it.

    `folder` must be open to `user`, who is the one that runs this unless named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    user = user or getpass.getuser()
    host_key, client = keygen(folder / "host"), folder / "client"
    (folder / "authorized_keys").write_text(keygen(client))
    (folder / "authorized_keys").chmod(0o644)  # another user's session reads it as that user
    port = free_port()
    (folder / "config").write_text(
        f"{more}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\nStrictModes no\n"
        f"UsePAM no\nAuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication yes\nLogLevel ERROR\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd run by root insists on it
    log = folder / "log"
    call = [*before, SSHD, "-D", "-e", "-f", str(folder / "config")]
    with log.open(
        "wb"
    ) as errors:  # signals as Python has them: a file at its limit is an error, not the end of sshd
        process = subprocess.Popen(call, stderr=errors, restore_signals=False)
    try:
        _wait(port, process, log)
        yield Server(port, host_key, client, user, log)
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"sshd ended: {log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"sshd does not listen: {log.read_text()}")
