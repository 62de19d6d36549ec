"""Alerts against a real HTTP listener: one, not a flood; never lost; sent by one sender; nothing personal in it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
from datetime import timedelta
from typing import Any

import pytest

from sandbox import Sandbox
from tasks.alerts import Alert, clear_alerts, deliver_alerts, raise_alerts

# A plugin of Apprise imports a module that Python 3.13 drops; nothing of ours does.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

FAILED = Alert("poll_failed", "payments", "HIGH", "payments could not be pulled", "HTTP 503 three times")
LATE = Alert("feed_late", "settlements", "MED", "settlements are late", "last good poll 9 h ago")


def _hook(sandbox: Sandbox) -> str:
    return f"json://127.0.0.1:{sandbox.port}/_sandbox/hook"


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def hooked(office: Any, ic: Sandbox) -> Any:
    """An office whose alerts go to the sandbox's hook."""
    office.configure(alerts=[_hook(ic)])
    return office


def _raise(office: Any, *alerts: Alert, hours: int = 0) -> list[Alert]:
    return raise_alerts(office.settings, "acme", office.at + timedelta(hours=hours), alerts)


def _deliver(office: Any) -> tuple[int, int]:
    result = deliver_alerts(office.settings, "acme", office.at)
    return result.sent, result.failed


def test_an_alert_arrives_with_its_words(hooked: Any, ic: Sandbox) -> None:
    assert _raise(hooked, FAILED) == [FAILED]
    result = deliver_alerts(hooked.settings, "acme", hooked.at)
    assert (result.sent, result.failed, result.titles) == (1, 0, ["payments could not be pulled"])
    (message,) = ic.hooks()
    assert message["title"] == "[icflows acme] payments could not be pulled"
    assert message["message"] == "HTTP 503 three times"
    assert message["type"] == "failure"
    (row,) = hooked.rows('SELECT * FROM "check".alerts')
    assert (row["sent_at"], row["tries"], row["times"], row["cleared_at"]) == (hooked.at, 1, 1, None)


def test_one_alert_and_not_a_flood(hooked: Any, ic: Sandbox) -> None:
    assert _raise(hooked, FAILED, FAILED, FAILED) == [FAILED]
    for hour in range(1, 6):
        assert _raise(hooked, FAILED, hours=hour) == []
        _deliver(hooked)
    assert len(ic.hooks()) == 1
    (row,) = hooked.rows('SELECT times, last_raised_at FROM "check".alerts')
    assert (row["times"], row["last_raised_at"]) == (6, hooked.at + timedelta(hours=5))


def test_two_causes_are_two_alerts_oldest_first(hooked: Any, ic: Sandbox) -> None:
    _raise(hooked, LATE)
    _raise(hooked, FAILED, hours=1)
    assert _deliver(hooked) == (2, 0)
    assert [message["title"].split("] ")[1] for message in ic.hooks()] == [LATE.title, FAILED.title]
    assert [message["type"] for message in ic.hooks()] == ["warning", "failure"]


def test_a_cause_that_came_back_is_a_new_alert(hooked: Any, ic: Sandbox) -> None:
    _raise(hooked, FAILED)
    _deliver(hooked)
    assert clear_alerts(hooked.settings, "acme", hooked.at, "poll_failed", ["payments", "settlements"]) == 1
    assert clear_alerts(hooked.settings, "acme", hooked.at, "poll_failed", ["payments"]) == 0
    assert _raise(hooked, FAILED, hours=1) == [FAILED]
    assert _deliver(hooked) == (1, 0)
    assert len(ic.hooks()) == 2


def test_a_cause_that_came_back_within_the_same_moment_is_not_lost(hooked: Any, ic: Sandbox) -> None:
    _raise(hooked, FAILED)
    clear_alerts(hooked.settings, "acme", hooked.at, "poll_failed", ["payments"])
    assert _raise(hooked, FAILED) == [FAILED]
    assert hooked.rows('SELECT count(*) AS n FROM "check".alerts WHERE cleared_at IS NULL') == [{"n": 1}]


def test_nothing_to_raise_and_nothing_to_send(hooked: Any, ic: Sandbox) -> None:
    assert _raise(hooked) == []
    assert _deliver(hooked) == (0, 0)
    assert ic.hooks() == []


def test_an_unreachable_receiver_keeps_the_alert_for_later(office: Any, ic: Sandbox) -> None:
    office.configure(alerts=[f"json://127.0.0.1:{_closed_port()}/hook"])
    _raise(office, FAILED)
    assert _deliver(office) == (0, 1)
    assert _deliver(office) == (0, 1)
    (row,) = office.rows('SELECT sent_at, tries FROM "check".alerts')
    assert (row["sent_at"], row["tries"]) == (None, 2)
    office.configure(alerts=[_hook(ic)])
    assert _deliver(office) == (1, 0)
    assert len(ic.hooks()) == 1


def test_no_receiver_at_all_keeps_the_alert(office: Any) -> None:
    _raise(office, FAILED)
    assert _deliver(office) == (0, 1)


def test_an_address_of_no_known_kind_keeps_the_alert(office: Any) -> None:
    office.configure(alerts=["carrier-pigeon://roof"])
    _raise(office, FAILED)
    assert _deliver(office) == (0, 1)


def test_a_dead_second_receiver_does_not_repeat_the_alert_at_the_first(office: Any, ic: Sandbox) -> None:
    office.configure(alerts=[_hook(ic), f"json://127.0.0.1:{_closed_port()}/hook"])
    _raise(office, FAILED)
    for _ in range(3):
        _deliver(office)
    assert len(ic.hooks()) == 1


def test_alerts_of_one_biller_are_told_apart(hooked: Any, ic: Sandbox) -> None:
    other = Alert("poll_failed", "settlements", "HIGH", "settlements could not be pulled", "x")
    assert _raise(hooked, FAILED, other) == [FAILED, other]


def test_no_personal_data_leaves(hooked: Any, ic: Sandbox) -> None:
    leaky = Alert(
        "break_high",
        "x",
        "HIGH",
        "account 0012345678 of ana@example.com",
        "ana@example.com, account 0012345678\nline 2",
    )
    _raise(hooked, leaky)
    _deliver(hooked)
    told = json.dumps(ic.hooks()) + str(hooked.rows('SELECT title, body FROM "check".alerts'))
    assert not [word for word in ("ana@example.com", "0012345678") if word in told]


def test_addresses_with_tokens_are_in_no_log(
    office: Any, mutter: pytest.LogCaptureFixture, capfd: Any
) -> None:
    office.configure(alerts=[f"json://user:canary-token@127.0.0.1:{_closed_port()}/hook"])
    _raise(office, FAILED)
    _deliver(office)
    out = capfd.readouterr()
    assert "canary-token" not in mutter.text + out.out + out.err


SENDER = """
    import sys
    from datetime import UTC, datetime
    from tasks.alerts import deliver_alerts
    from tasks.settings import load_settings
    settings = load_settings(sys.argv[1])
    import apprise
    print("ready", flush=True)
    sys.stdin.readline()
    print(deliver_alerts(settings, "acme", datetime(2026, 11, 10, 12, tzinfo=UTC)).sent)
"""


def test_two_senders_at_once_send_each_alert_once(hooked: Any, ic: Sandbox) -> None:
    alerts = [Alert("break_high", f"b{n}", "HIGH", f"break {n}", "words") for n in range(12)]
    _raise(hooked, *alerts)
    command = [sys.executable, "-c", textwrap.dedent(SENDER), str(hooked.settings.file)]
    senders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for sender in senders:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "ready\n"
    for sender in senders:
        assert sender.stdin is not None
        sender.stdin.write("go\n")
        sender.stdin.flush()
    sent = [int(sender.communicate(timeout=60)[0]) for sender in senders]
    assert sum(sent) == 12
    assert sorted(message["title"] for message in ic.hooks()) == sorted(
        f"[icflows acme] {a.title}" for a in alerts
    )
