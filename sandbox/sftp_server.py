"""An SFTP server on loopback, rooted in one folder; runs in a thread of its own."""

from __future__ import annotations

import asyncio
import hmac
import threading
from pathlib import Path
from typing import Any

import asyncssh


def host_key(folder: Path) -> asyncssh.SSHKey:
    """The server's Ed25519 key, made once; its public line lies beside it as `sftp_host_key.pub`."""
    return _kept_key(folder / "sftp_host_key")


def client_key(folder: Path) -> asyncssh.SSHKey:
    """A key that the server accepts for its user, made once as `sftp_client_key`."""
    return _kept_key(folder / "sftp_client_key")


def _kept_key(path: Path) -> asyncssh.SSHKey:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = asyncssh.generate_private_key("ssh-ed25519", comment="icflows-sandbox")
        path.touch(mode=0o600)
        path.write_bytes(fresh.export_private_key())
        path.with_suffix(".pub").write_bytes(fresh.export_public_key())
    return asyncssh.read_private_key(str(path))


def public_line(key: asyncssh.SSHKey) -> str:
    """`ssh-ed25519 AAAA...`, without host and comment."""
    return " ".join(key.export_public_key().decode().split()[:2])


class _Login(asyncssh.SSHServer):
    """One connection's login. It enters itself into `open_lines` while it lasts."""

    def __init__(self, user: str, password: str, key: asyncssh.SSHKey, open_lines: set[Any]) -> None:
        self._user, self._password, self._key = user, password, key
        self._open_lines = open_lines
        self._line: Any = None

    def connection_made(self, conn: Any) -> None:
        self._line = conn
        self._open_lines.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._open_lines.discard(self._line)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        known = hmac.compare_digest(password.encode(), self._password.encode())
        return known and username == self._user

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._user and key.public_data == self._key.public_data


class SftpServer:
    """`start` returns when the port listens; `port` is then the real one."""

    def __init__(self, folder: Path, host: str, port: int, user: str, password: str) -> None:
        self.root = folder / "sftp"
        self.root.mkdir(parents=True, exist_ok=True)
        self.host, self.port, self.user, self.password = host, port, user, password
        self.key = host_key(folder)
        self._client = client_key(folder)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listener: Any = None
        self._open_lines: set[Any] = set()

    def start(self) -> None:
        """Listen; raises OSError when the port is taken."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop,), name="sandbox-sftp", daemon=True
        )
        self._thread.start()
        try:
            self._listener = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        except BaseException:
            self.stop()
            raise
        self.port = self._listener.get_port()

    def stop(self) -> None:
        """Close all connections and end the thread; nothing to do when it is not running."""
        if self._loop is None or self._thread is None:
            return
        if self._listener is not None:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop, self._thread, self._listener = None, None, None

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.close()

    async def _listen(self) -> Any:
        return await asyncssh.create_server(
            lambda: _Login(self.user, self.password, self._client, self._open_lines),
            self.host,
            self.port,
            server_host_keys=[self.key],
            sftp_factory=self._session,
            allow_scp=False,
            process_factory=None,
            encoding=None,
        )

    def _session(self, channel: Any) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(self.root).encode())

    async def _close(self) -> None:
        """Stop listening, abort what is still open, and let every task come to its end."""
        self._listener.close()
        await self._listener.wait_closed()
        lines = list(self._open_lines)
        for line in lines:
            line.abort()
        await asyncio.gather(*(line.wait_closed() for line in lines), return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets in the loop's next round
