"""`python -m benchmarks sftp`: files a second of put_files beside OpenSSH's own `sftp -b`, same server, same run."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.openssh import SSHD, Server, openssh
from tasks.settings import Sftp
from tasks.sftp import PutJob, put_files

_BYTES = 60_000
_ROUND_TRIP_MS = 50
Row = tuple[str, str, str, str, str]


class Course:
    """One server, one folder of files, and both contestants."""

    def __init__(self, folder: Path, files: int, server: Server) -> None:
        self.folder, self.server = folder, server
        self.source, self.target = folder / "source", folder / "target"
        self.source.mkdir(exist_ok=True)
        for number in range(files):
            content = b"%PDF-1.7\n" + os.urandom(_BYTES - 15) + b"%%EOF\n"
            (self.source / f"1234_{number:010d}_INV{number:06d}.pdf").write_bytes(content)
        self.names = sorted(path.name for path in self.source.iterdir())

    def ours(self, port: int, files: int) -> float:
        """Files a second of put_files, from no connection to the last name."""
        os.environ["BENCHMARK_SFTP_KEY"] = self.server.client_key.read_text()
        login = {"username": self.server.user, "key": "env:BENCHMARK_SFTP_KEY"}
        sftp = Sftp(
            host="127.0.0.1", port=port, host_key=self.server.host_key, directory=str(self.target), **login
        )
        jobs = [PutJob(name, self.source / name, _BYTES) for name in self.names[:files]]
        with self._empty_target(files):
            started = time.perf_counter()
            results = put_files(sftp, jobs)
            seconds = time.perf_counter() - started
            if any(result.state != "sent" for result in results):
                raise RuntimeError("a file was not sent")
        return files / seconds

    def theirs(self, port: int, files: int) -> float:
        """Files a second of `sftp -b` with one put per file: no temporary name, no size read back."""
        batch, known = self.folder / "batch", self.folder / "known_hosts"
        batch.write_text(
            "".join(f"put {self.source}/{name} {self.target}/{name}\n" for name in self.names[:files])
        )
        known.write_text(f"[127.0.0.1]:{port} {self.server.host_key}\n")
        options = [f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=none", "IdentitiesOnly=yes"]
        call = ["sftp", "-q", "-b", str(batch), "-P", str(port), "-i", str(self.server.client_key)]
        call += [word for option in options for word in ("-o", option)]
        with self._empty_target(files):
            started = time.perf_counter()
            subprocess.run([*call, f"{self.server.user}@127.0.0.1"], check=True, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - started
        return files / seconds

    @contextmanager
    def _empty_target(self, files: int) -> Iterator[None]:
        """Empty before; after: exactly the files, byte for byte in length, under their names."""
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir()
        yield
        there = {path.name: path.stat().st_size for path in self.target.iterdir()}
        if there != dict.fromkeys(self.names[:files], _BYTES):
            raise RuntimeError("the directory does not hold exactly the files")


@contextmanager
def delayed(port: int) -> Iterator[int]:
    """The port of a proxy before `port` that adds the round trip."""
    call = [sys.executable, "-m", "benchmarks.delay", str(port), str(_ROUND_TRIP_MS)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def race(course: Course, what: str, port: int, files: int, theirs_files: int, least: float, runs: int) -> Row:
    """Alternates the two; the ratio is the median of the pairs."""
    pairs = []
    for number in range(runs):
        theirs, ours = course.theirs(port, theirs_files), course.ours(port, files)
        pairs.append((ours, theirs))
        sys.stdout.write(f"  run {number + 1}, {what}: sftp -b {theirs:,.1f}, icflows {ours:,.1f} files/s\n")
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(pair[end] for pair in pairs) for end in (0, 1))
    shown = f"{ours:,.0f} files/s (sftp -b {theirs:,.1f})"
    return (what, shown, f"{ratio:.1f} × sftp -b", f"≥ {least:g} ×", "yes" if ratio >= least else "no")


def section(runs: int = 3, files: int = 2_000, slow_files: int = 200) -> list[Row]:
    """Loopback, then 50 ms. `sftp -b` puts `slow_files` on the slow link: at some 5 files a second its rate is flat."""
    if not Path(SSHD).exists() or not shutil.which("sftp"):
        sys.stdout.write("OpenSSH is not installed (Debian: openssh-server); bill images are left out\n")
        return []
    what = f"{files:,} bill images of {_BYTES // 1000} kB"
    with tempfile.TemporaryDirectory(prefix="icflows-sftp-", dir=_memory(files)) as folder:
        with openssh(Path(folder) / "server") as server:
            course = Course(Path(folder), files, server)
            rows = [race(course, f"{what}, loopback", server.port, files, files, 1, runs)]
            with delayed(server.port) as port:
                slow = f"{what}, {_ROUND_TRIP_MS} ms round trip"
                rows.append(race(course, slow, port, files, min(files, slow_files), 3, 1))
    return rows


def _memory(files: int) -> Path | None:
    """A file system in memory, where there is one with room: the two programs are measured, not the disk."""
    place = Path("/dev/shm")
    if place.is_dir() and shutil.disk_usage(place).free > 4 * files * _BYTES:
        return place
    return None
