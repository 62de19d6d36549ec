"""The plain engine: retries as Prefect has them, and no Prefect in the process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tasks.errors import Retry, SettingsError, Stop


def failing(times: int, error: type[Exception]) -> Callable[[], int]:
    """A function that fails `times` times; afterwards it tells how often it was called."""
    calls = [0]

    def work() -> int:
        calls[0] += 1
        if calls[0] <= times:
            raise error("not yet")
        return calls[0]

    return work


def test_a_task_is_repeated_as_often_as_it_says() -> None:
    from flows.engine import task

    assert task(name="t", retries=2)(failing(2, Retry))() == 3
    with pytest.raises(Retry):
        task(name="t", retries=1)(failing(2, Retry))()


def test_only_what_the_condition_allows_is_repeated() -> None:
    from flows.engine import task
    from flows.pull_feed import may_pass

    work = failing(1, Stop)
    with pytest.raises(Stop):
        task(name="t", retries=3, retry_condition=may_pass)(work)()
    assert work() == 2, "it was called once, and now the second time"


def test_waits_grow_as_written_and_the_last_one_stays() -> None:
    from flows.engine import task

    slow = task(name="t", retries=3, retry_delay_seconds=(60, 60))(failing(3, Retry))
    started = time.monotonic()
    assert slow.with_options(retry_delay_seconds=[0.01, 0.05])() == 4
    assert 0.11 <= time.monotonic() - started < 5


def test_flows_have_names_and_functions_have_none() -> None:
    from flows.alerting import alert
    from flows.engine import flow_name
    from flows.pull_feed import pull_feed

    assert flow_name(pull_feed) == "pull-feed"
    assert flow_name(alert) is None


ALL_FLOWS = (
    "import flows.pull_feed, flows.reconcile, flows.publish_snapshot, flows.load_file, flows.send_alerts"
)


def run_python(code: str, engine: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ICFLOWS_ENGINE": engine}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_plain_flows_never_import_prefect() -> None:
    done = run_python(f"{ALL_FLOWS}\nimport sys\nprint('prefect' in sys.modules)", "plain")
    assert done.stdout.strip() == "False", done.stderr


def test_an_unknown_engine_is_refused() -> None:
    done = run_python("import flows.engine", "fast")
    assert done.returncode != 0
    assert f"{SettingsError.__name__}: ICFLOWS_ENGINE is 'fast'; known: plain, prefect" in done.stderr
