"""The commands as a person or a program calls them: own processes, real sandbox, wrong calls too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.carrier import Carrier, generate
from sandbox.carrier.plants import SENT_ONLY

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
AS_OF = "2026-10-30T23:00:00Z"
Call = Callable[..., subprocess.CompletedProcess[str]]
SETTINGS = """
[alerts]
urls = ["json://127.0.0.1:{port}/_sandbox/hook"]
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:CLI_TEST_KEY"
base_url = "http://127.0.0.1:{port}/"
time_zone = "America/Chicago"
[billers.acme.transport]
retry_seconds = 0.05
[billers.acme.sftp]
host = "127.0.0.1"
port = {sftp_port}
username = "sandbox"
password = "env:CLI_TEST_SFTP"
host_key = "{host_key}"
"""


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    return generate(11, 120, 20, CLOSE, tmp_path_factory.mktemp("carrier"), plant=dict.fromkeys(SENT_ONLY, 0))


@pytest.fixture
def sandbox(carrier: Carrier) -> Iterator[Sandbox]:
    with Sandbox(carrier.folder, now=CLOSE) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, sandbox: Sandbox) -> Path:
    file = tmp_path / "icflows.toml"
    file.write_text(
        SETTINGS.format(port=sandbox.port, sftp_port=sandbox.sftp_port, host_key=sandbox.host_key_line)
    )
    return file


@pytest.fixture
def call(settings: Path) -> Call:
    def run(*words: str, key: str = "sandbox-key", **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "ICFLOWS_CONFIG": str(settings), "CLI_TEST_KEY": key, "CLI_TEST_SFTP": "sandbox-password",
            "ICFLOWS_ENGINE": "plain", "NO_COLOR": "1", "COLUMNS": "120", **more,
        }  # fmt: skip
        script = [sys.executable, "-m", "cli.main", *words]
        return subprocess.run(
            script, capture_output=True, text=True, env=environment, timeout=120, check=False
        )

    return run


def document(done: subprocess.CompletedProcess[str]) -> Any:
    """The one JSON document on standard output."""
    return json.loads(done.stdout)


def test_the_whole_chain_by_hand(call: Call, carrier: Carrier, tmp_path: Path) -> None:
    for feed in ("payments", "settlements", "ach-rejects", "autopay", "paperless"):
        done = call("pull", feed, "--biller", "acme", "--as-of", AS_OF, "--json")
        assert done.returncode == 0, done.stderr
        result = document(done)
        assert result["status"] == "ok"
        assert result["rows_in"] == result["rows_new"] > 0
    again = document(call("pull", "payments", "--biller", "acme", "--as-of", AS_OF, "--json"))
    assert again["rows_new"] == again["rows_amended"] == 0
    assert again["rows_unchanged"] > 0

    postings, invoices = carrier.imt_until(CLOSE, tmp_path / "imt")
    for kind, file in (("postings", postings), ("invoices", invoices)):
        loaded = document(call("load", kind, str(file), "--biller", "acme", "--as-of", AS_OF, "--json"))
        assert loaded["rows_new"] == loaded["rows_in"] > 0
        twice = document(call("load", kind, str(file), "--biller", "acme", "--as-of", AS_OF, "--json"))
        assert twice["rows_new"] == 0

    reconciled = document(call("reconcile", "--biller", "acme", "--as-of", AS_OF, "--json"))
    assert sum(state["rows"] for state in reconciled["states"]) == carrier.table("payments").height

    shown = call("breaks", "--biller", "acme", "--as-of", AS_OF)
    assert shown.returncode == 0
    assert "By class" in shown.stdout
    b03 = document(call("breaks", "--biller", "acme", "--class", "b03", "--json"))
    assert b03
    assert {found["code"] for found in b03} == {"B03"}
    assert (
        document(call("breaks", "--biller", "acme", "--older-than", "1d", "--as-of", AS_OF, "--json")) == []
    )
    assert all(
        f["severity"] == "MED"
        for f in document(call("breaks", "--biller", "acme", "--severity", "med", "--json"))
    )

    published = document(call("snapshot", "--biller", "acme", "--as-of", AS_OF, "--json"))
    assert Path(published["snapshot"]).is_file()
    assert Path(published["report"]).is_file()

    before = document(call("breaks", "--biller", "acme", "--json"))
    replayed = document(call("replay", "--biller", "acme", "--as-of", AS_OF, "--json"))
    assert replayed["polls"] >= 10
    assert replayed["failed"] == 0
    assert document(call("breaks", "--biller", "acme", "--json")) == before


def test_tables_say_what_happened(call: Call, sandbox: Sandbox) -> None:
    sandbox.fault("bad_money", operation="PaymentReportingDataSetFromGMT", row=2, value="1.005")
    done = call("pull", "payments", "--biller", "acme", "--from", "2026-10-25T00:00:00Z", "--as-of", AS_OF)
    assert done.returncode == 0
    assert "no Prefect server" not in done.stderr  # the engine was chosen by the environment
    assert "set aside 1 ×: PaymentAmount is no amount with at most two decimals" in done.stderr
    assert "payments: ok" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("pull", "paymnts", "-b", "acme"), 2, "known: payments, settlements, ach-rejects"),
        (("pull", "payments", "-b", "nobody"), 2, "there is no biller 'nobody'"),
        (
            ("pull", "payments", "-b", "acme", "--from", "2026-10-01"),
            2,
            "--from must be a time with its zone",
        ),
        (
            (
                "pull",
                "payments",
                "-b",
                "acme",
                "--from",
                "2026-10-02T00:00:00Z",
                "--to",
                "2026-10-01T00:00:00Z",
            ),
            2,
            "the window is empty",
        ),
        (("pull", "payments"), 2, "Missing option"),
        (("load", "postings", "/nowhere.csv", "-b", "acme"), 2, "there is no file /nowhere.csv"),
        (("load", "cheques", "/nowhere.csv", "-b", "acme"), 2, "there is no file kind 'cheques'"),
        (("breaks", "-b", "acme", "--older-than", "a week"), 2, "a duration is written like 3d"),
        (("doctor", "--config", "/nowhere.toml"), 1, "no settings file at /nowhere.toml"),
        (("reconcile", "-b", "acme", "--config", "/nowhere.toml"), 2, "no settings file at /nowhere.toml"),
        (("frobnicate",), 2, "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_calls_are_told_in_one_line(call: Call, words: tuple[str, ...], code: int, told: str) -> None:
    done = call(*words)
    assert done.returncode == code, done.stderr
    assert told in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_errors_as_json(call: Call) -> None:
    done = call("pull", "payments", "-b", "nobody", "--json")
    assert done.returncode == 2
    assert document(done)["error"] == "SettingsError"


def test_exit_codes_tell_passing_trouble_from_lasting(call: Call, sandbox: Sandbox) -> None:
    sandbox.fault("reset", operation="*", times=-1)
    gone = call("pull", "payments", "-b", "acme", "--as-of", AS_OF)
    assert gone.returncode == 3, gone.stderr
    sandbox.clear_faults()
    refused = call("pull", "payments", "-b", "acme", "--as-of", AS_OF, key="wrong")
    assert refused.returncode == 1
    assert "CredentialError: acme / payments / 2026-09-30T23:00:00Z to 2026-10-07T23:00:00Z" in " ".join(
        refused.stderr.split()
    )
    assert call("pull", "payments", "-b", "acme", "--as-of", AS_OF).returncode == 0
    sandbox.fault("empty", operation="PaymentReportingDataSetFromGMT")
    suspect = call("pull", "payments", "-b", "acme", "--as-of", AS_OF)
    assert suspect.returncode == 1
    assert "suspect" in suspect.stdout


def test_doctor_finds_what_is_wrong_and_how_to_cure_it(call: Call, settings: Path) -> None:
    well = call("doctor")
    assert well.returncode == 0, well.stdout
    assert "SFTP  127.0.0.1" in well.stdout
    settings.write_text(
        settings.read_text()
        .replace("env:CLI_TEST_KEY", "env:CLI_TEST_UNSET")
        .replace('sandbox"', 'nobody"', 1)
    )
    ill = call("doctor", "--json")
    assert ill.returncode == 1
    failed = {finding["what"]: finding for finding in document(ill) if finding["state"] == "fail"}
    assert set(failed) == {"acme: WebServiceKey", "acme: SFTP"}
    assert failed["acme: WebServiceKey"]["cure"] == "set what env:CLI_TEST_UNSET names"


def test_no_key_and_no_customer_in_what_is_printed(call: Call, carrier: Carrier) -> None:
    done = call("pull", "autopay", "-b", "acme", "--as-of", AS_OF, "--json")
    printed = done.stdout + done.stderr
    assert "sandbox-key" not in printed
    assert "@example.com" not in printed
    assert carrier.table("autopay")["email"][0] not in printed


def test_version_and_help(call: Call) -> None:
    assert call("--version").stdout.startswith("icflows 0.")
    shown = call("--help")
    assert shown.returncode == 0
    for command in (
        "demo",
        "sandbox",
        "pull",
        "load",
        "reconcile",
        "snapshot",
        "breaks",
        "replay",
        "doctor",
        "deploy",
        "up",
    ):
        assert f" {command} " in shown.stdout
