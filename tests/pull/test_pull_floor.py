"""Far fewer rows than usual: a believable report that is not believed (domain.md B37)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.carrier import generate
from tasks.pull import PollResult, plan, pull_window
from tasks.settings import Settings, load_settings

CLOSE = datetime(2026, 10, 30, 12, tzinfo=UTC)
BEFORE = CLOSE - timedelta(days=4)
SETTINGS = """
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:FLOOR_TEST_KEY"
base_url = "{url}"
time_zone = "America/Chicago"
transport.pause_seconds = 0
[billers.acme.feeds.payments]
initial = "40d"
overlap = "0s"
floor = {floor}
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    carrier = generate(5, 1000, 45, CLOSE, tmp_path_factory.mktemp("floor"))
    with Sandbox(carrier.folder, now=CLOSE, sftp_port=None) as running:
        yield running


def pulled(settings: Settings, at: datetime) -> list[PollResult]:
    return [
        pull_window(settings, "acme", "payments", window, at)
        for window in plan(settings, "acme", "payments", at)
    ]


def settings_for(folder: Path, sandbox: Sandbox, floor: float) -> Settings:
    file = folder / "icflows.toml"
    file.write_text(SETTINGS.format(url=sandbox.url, floor=floor))
    return load_settings(file)


@pytest.mark.parametrize(("floor", "status"), [(0.6, "suspect"), (0.3, "ok"), (0, "ok")])
def test_half_the_usual_rows(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, floor: float, status: str
) -> None:
    monkeypatch.setenv("FLOOR_TEST_KEY", "sandbox-key")
    settings = settings_for(tmp_path, sandbox, floor)
    sandbox.clock(BEFORE)
    assert {poll.status for poll in pulled(settings, BEFORE)} == {"ok"}
    sandbox.clock(CLOSE)
    sandbox.fault("half_rows", operation="PaymentReportingDataSetFromGMT")
    (last,) = pulled(settings, CLOSE)
    assert last.status == status
    if status == "suspect":
        assert last.reason == "below_floor"
        assert "are usual on such days" in str(last.message)
        assert last.window_from is not None
        assert plan(settings, "acme", "payments", CLOSE)[0][0] == last.window_from, "the watermark moved"


def test_an_ordinary_week_is_believed(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOOR_TEST_KEY", "sandbox-key")
    settings = settings_for(tmp_path, sandbox, 0.6)
    sandbox.clock(BEFORE)
    pulled(settings, BEFORE)
    sandbox.clock(CLOSE)
    assert [poll.status for poll in pulled(settings, CLOSE)] == ["ok"]
