"""Child processes on loopback: started with a log of their own, waited for, ended in order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tasks.errors import Stop

_LAST_LINES = 12


class Child:
    """One running child. It is the head of its own process group, so Ctrl-C reaches only us."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.log = name, log
        with log.open("ab") as out:
            self._start = out.tell()
            self.process = subprocess.Popen(
                list(arguments), env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float, pause: float = 0.1) -> None:
        """Returns when `ready()` is true. Raises Stop if the child ends or the time is over before that."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive:
                raise Stop(f"{self.name} ended at once (exit code {self.process.returncode}): {self.tail()}")
            if time.monotonic() > deadline:
                raise Stop(f"{self.name} was not ready after {seconds:g} s; its log is {self.log}")
            time.sleep(pause)

    def stop(self, seconds: float = 20) -> None:
        """SIGTERM and a wait; what is still there then, with all its own children, is killed."""
        if self.alive:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def tail(self) -> str:
        """The last lines that this child wrote, in one line."""
        with self.log.open("rb") as file:
            file.seek(self._start)
            lines = file.read().decode("utf-8", "replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LAST_LINES:] if line.strip())


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """True if something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(("127.0.0.1", port)) == 0
