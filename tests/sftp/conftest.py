"""A real OpenSSH server on loopback, for any user; a proxy before it that cuts, stalls, or loses an answer."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.openssh import Server, openssh
from tasks.settings import Sftp
from tasks.sftp import Limits, PutJob

FAST = Limits(connect=2, login=5, silence=5, file=10, least_rate=1_000_000, reopen=0, pause=0.05)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One sshd for all tests; its user is the one who runs them."""
    with openssh(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """An empty directory to put files into."""
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def sftp(server: Server, served: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sftp]:
    """sftp(...) → the settings of the running server, changed as asked."""
    monkeypatch.setenv("SFTP_PASSWORD", "canary-password")

    def make(of: Server = server, **change: Any) -> Sftp:
        monkeypatch.setenv("SFTP_KEY", of.client_key.read_text())
        base = {"host": "127.0.0.1", "port": of.port, "username": of.user, "key": "env:SFTP_KEY"}
        return Sftp(**(base | {"host_key": of.host_key, "directory": str(served)} | change))

    return make


@pytest.fixture
def fast() -> Limits:
    """Time-outs that a test can wait for; a lost connection is not opened again."""
    return FAST


@dataclass
class Bills:
    """Files to be sent."""

    folder: Path

    def job(self, name: str, size: int = 60_000, may_skip: bool = False) -> PutJob:
        """A job of a new file with bytes of its own."""
        path = self.folder / f"source-{name}"
        path.write_bytes(os.urandom(size))
        return PutJob(name, path, size, may_skip)

    def jobs(self, count: int, size: int = 60_000, may_skip: bool = False) -> list[PutJob]:
        return [self.job(f"1234_{number:06d}_INV{number}.pdf", size, may_skip) for number in range(count)]


@pytest.fixture
def bills(tmp_path: Path) -> Bills:
    (tmp_path / "bills").mkdir()
    return Bills(tmp_path / "bills")


@pytest.fixture
def assert_whole() -> Callable[..., int]:
    """assert_whole(folder, jobs) → how many of the jobs are there; each is there whole or not at all."""

    def look(folder: Path, jobs: list[PutJob]) -> int:
        wanted = {job.name: job.path.read_bytes() for job in jobs}
        there = [path for path in folder.iterdir() if not path.name.startswith(".")]
        for path in there:
            assert path.read_bytes() == wanted[path.name], f"{path.name} is not what was sent"
        return len(there)

    return look


class Proxy:
    """A TCP proxy to `port`. `cut_after`, `stall_after`: bytes towards the server, all connections together.

    `deaf`: what the server answers is not passed on. `lose_answer`: asked before each answer; if it says yes, the
    answer is lost with its connection, once.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.cut_after: int | None = None
        self.stall_after: int | None = None
        self.reset = False
        self.deaf = False
        self.lose_answer: Callable[[], bool] | None = None
        self.connections = self.passed = 0
        self._ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._ending.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._ending.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            with suppress(OSError):
                client, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            with suppress(OSError):
                while not self._ending.is_set() and self._carry(client, server):
                    pass
            if self.reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _carry(self, client: socket.socket, server: socket.socket) -> bool:
        stalled = self.stall_after is not None and self.passed >= self.stall_after
        for end in select.select([server] if stalled else [client, server], [], [], 0.05)[0]:
            if end is client:
                room = min((m for m in (self.cut_after, self.stall_after) if m is not None), default=1 << 40)
                data = client.recv(max(min(65_536, room - self.passed), 1))
                server.sendall(data)
                self.passed += len(data)
                if self.cut_after is not None and self.passed >= self.cut_after:
                    self.cut_after = None
                    return False
            else:
                data = server.recv(65_536)
                if self.lose_answer is not None and self.lose_answer():
                    self.lose_answer = None
                    return False
                if not self.deaf:
                    client.sendall(data)
            if not data:
                return False
        return True


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """Before the running server."""
    running = Proxy(server.port)
    yield running
    running.close()
