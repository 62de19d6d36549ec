"""What the sections `rtdr` and `pump` share: `icflows serve` as a process of its own, and wrk as its callers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEY = "benchmark-key-0123456789abcdef0123456789"
GUID = "11111111-2222-3333-4444-555555555555"
_SETTINGS = f"""[service]
port = 0
[billers.bench]
product = "spectrum"
biller_guid = "{GUID}"
bid = "1234"
web_service_key = "env:BENCHMARK_KEY"
base_url = "https://ic.invalid/"
time_zone = "America/Chicago"
[billers.bench.inbound]
keys = ["env:BENCHMARK_KEY"]
stale_minutes = 1000000
"""
# wrk's own latency is per answer, as its caller saw it; answers other than 2xx and broken connections count as errors.
_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"seconds": %.6f, "answers": %d, "errors": %d, "p50_ms": %.3f, "p99_ms": %.3f}\\n',
    summary.duration / 1e6, summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw."""

    seconds: float
    answers: int
    errors: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def settings_file(folder: Path) -> Path:
    """Writes the settings of the service that is measured; its store lies below `folder`."""
    os.environ["BENCHMARK_KEY"] = KEY
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "icflows.toml"
    file.write_text(_SETTINGS)
    return file


@contextmanager
def listening(*call: str) -> Iterator[str]:
    """Runs a server that prints one line ending in its address; gives the address."""
    with subprocess.Popen([sys.executable, "-m", *call], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            if not words:
                raise RuntimeError(f"{call[0]} does not listen")
            yield words[-1]
        finally:
            process.terminate()


def wrk(script: Path, url: str, seconds: float, connections: int) -> Load:
    """One thread of wrk, closed loop: each of `connections` asks again as soon as it is answered."""
    call = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(script), url]
    output = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    load = Load(**json.loads(output.splitlines()[-1]))
    if load.errors or not load.answers:
        raise RuntimeError(f"{load.errors} of {load.answers} calls were refused or broken")
    return load


def lua(file: Path, text: str) -> Path:
    """A script for wrk that tells its result as JSON."""
    file.write_text(text + _DONE)
    return file
