"""`icflows convert` as a person and a program call it: planned, sent with images, verified, and wrong calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sandbox import Sandbox
from sandbox.carrier import Carrier, conversion, generate

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
LATER = CLOSE + timedelta(minutes=40)
Call = Callable[..., subprocess.CompletedProcess[str]]
SETTINGS = """
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
invoice_format_guid = "99999999-8888-7777-6666-555555555555"
bid = "1234"
web_service_key = "env:CONVERT_TEST_KEY"
base_url = "http://127.0.0.1:{port}/"
time_zone = "America/Chicago"
[billers.acme.transport]
pause_seconds = 0
[billers.acme.outbound]
images = "images"
max_deletes_always = 0
max_delete_share = 0.01
[billers.acme.sftp]
host = "127.0.0.1"
port = {sftp_port}
username = "sandbox"
password = "env:CONVERT_TEST_SFTP"
host_key = "{host_key}"
"""


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    return generate(11, 60, 20, CLOSE, tmp_path_factory.mktemp("converting"))


@pytest.fixture
def ic(carrier: Carrier) -> Iterator[Sandbox]:
    with Sandbox(carrier.folder, now=CLOSE) as running:
        yield running


@pytest.fixture
def call(tmp_path: Path, carrier: Carrier, ic: Sandbox) -> Call:
    """`icflows convert` with both lists; `at` is the business time."""
    at_ic, spectrum = conversion(carrier, tmp_path / "lists", 3, images=tmp_path / "images")
    line = SETTINGS.format(port=ic.port, sftp_port=ic.sftp_port, host_key=ic.host_key_line)
    (tmp_path / "icflows.toml").write_text(line)

    def run(*words: str, at: datetime = CLOSE, lists: tuple[Path, Path] = (at_ic, spectrum)) -> Any:
        ic.clock(at)
        environment = {
            **os.environ, "ICFLOWS_CONFIG": str(tmp_path / "icflows.toml"), "CONVERT_TEST_KEY": "sandbox-key",
            "CONVERT_TEST_SFTP": "sandbox-password", "ICFLOWS_ENGINE": "plain", "NO_COLOR": "1", "COLUMNS": "150",
        }  # fmt: skip
        given = ["--biller", "acme", "--open-at-ic", str(lists[0]), "--spectrum", str(lists[1])]
        script = [sys.executable, "-m", "cli.main", "convert", *given, "--as-of", at.isoformat(), *words]
        return subprocess.run(
            script, capture_output=True, text=True, env=environment, timeout=120, check=False
        )

    return run


def document(done: subprocess.CompletedProcess[str]) -> Any:
    """The one JSON document on standard output."""
    return json.loads(done.stdout)


def wanted(tmp_path: Path) -> dict[str, int]:
    """How many records of each kind the lists ask for, counted without our code."""
    at_ic, held = (
        pl.read_csv(tmp_path / "lists" / name, infer_schema=False)
        for name in ("open_at_ic.csv", "spectrum_invoices.csv")
    )
    new = held.join(at_ic, on="invoice_number", how="anti").filter(pl.col("status") == "OPEN")
    gone = at_ic.join(held, on="invoice_number", how="anti")
    reissued = held.filter(pl.col("status") == "SUPERSEDED")
    return {"new": new.height, "deleted": gone.height, "reissued": reissued.height, "changed": 0}


def test_from_the_plan_to_the_signed_report(call: Call, ic: Sandbox, tmp_path: Path) -> None:
    counts = wanted(tmp_path)
    shown = call("--list")
    assert shown.returncode == 0, shown.stderr
    assert "Conversion of acme" in shown.stdout
    assert f"Records ({sum(counts.values())})" in shown.stdout
    assert f"if that is right: --send --confirm-deletes {counts['deleted']}" in shown.stderr
    assert "Nothing was sent." in shown.stderr

    planned = document(call("--list", "--json"))
    to_send = {line["kind"]: line["to_send"] for line in planned["totals"]}
    assert {kind: to_send[kind] for kind in counts} == counts
    assert len(planned["records_listed"]) == sum(counts.values())
    assert "records_listed" not in document(call("--json"))
    assert ic.imported() == []

    blocked = call("--send")
    assert blocked.returncode == 1
    assert f"--confirm-deletes {counts['deleted']}." in blocked.stderr
    assert ic.imported() == []

    sent = document(call("--send", "--confirm-deletes", str(counts["deleted"]), "--json"))
    assert [file["state"] for file in sent["files"]] == ["accepted"]
    assert sent["images"] == {"sent": counts["new"]}
    assert len(list(ic.sftp_root.rglob("*.pdf"))) == counts["new"]
    taken = {(r["record_type"], r["invoice_number"]) for r in ic.imported() if r["accepted"]}
    assert len(taken) == sum(counts.values()) - sent["files"][0]["records_rejected"]

    early = call("--verify", "--by", "Ann Lee")
    assert (early.returncode, "verify from 2026-10-30 23:30 UTC on" in early.stderr) == (3, True)
    done = call("--verify", "--by", "Ann Lee", "--json", at=LATER)
    told = document(done)
    assert told["records"] == sum(told["verdicts"].values()) == sum(counts.values())
    assert told["verdicts"]["verified"] + len(told["not_verified"]) == told["records"]
    assert (done.returncode, told["signed_off"]) == ((0, True) if not told["not_verified"] else (1, False))
    page = Path(told["report"])
    assert page.parent == tmp_path / "var" / "reports" / "acme"
    assert told["statement"] in page.read_text("utf-8")
    assert Path(told["csv"]).read_text("utf-8").count("\n") == told["records"] + 1


def test_an_account_that_differs_stops_it(call: Call, carrier: Carrier, ic: Sandbox, tmp_path: Path) -> None:
    clashing = conversion(carrier, tmp_path / "clashing", 3, account_clash=1)
    shown = call(lists=clashing)
    assert shown.returncode == 1
    assert "REFUSED: 1 contradictions" in shown.stderr
    assert "account numbers do not change" in shown.stderr
    stopped = call("--send", lists=clashing)
    assert stopped.returncode == 1
    assert "nothing is sent" in stopped.stderr
    assert ic.calls() == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--send", "--verify", "--by", "Ann Lee"), 2, "two steps"),
        (("--verify",), 2, "--by 'First Last'"),
        (("--confirm-deletes", "3"), 2, "belongs to --send"),
        (("--list", "--listed-at", "yesterday"), 2, "--listed-at must be a time with its zone"),
        (("--verify", "--by", "Ann Lee"), 1, "nothing of this conversion was sent yet"),
    ],
)
def test_wrong_calls_get_a_sentence(call: Call, words: tuple[str, ...], code: int, sentence: str) -> None:
    done = call(*words)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
