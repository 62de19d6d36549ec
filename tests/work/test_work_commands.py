"""`icflows breaks …`, `close` and `diff` as a person or a program calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from cli import main as program

AT = ("--as-of", "2026-11-02T14:00:00Z")


@dataclass(frozen=True)
class Done:
    """What a call printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


Call = Callable[..., Done]


@pytest.fixture
def call(desk: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The program in this process: a process of its own costs a second, and only one call here needs it."""

    def leave(code: int) -> NoReturn:
        raise SystemExit(code)

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["icflows", *words])
        with pytest.raises(SystemExit) as left:
            program.main()
        printed = capsys.readouterr()
        return Done(int(left.value.code or 0), printed.out, printed.err)

    monkeypatch.setenv("ICFLOWS_CONFIG", str(desk.settings.file))
    monkeypatch.setattr(program, "leave", leave)
    return run


def narrow(desk: Any, *words: str) -> str:
    """What a terminal of 80 columns shows."""
    environment = {**os.environ, "ICFLOWS_CONFIG": str(desk.settings.file), "NO_COLOR": "1", "COLUMNS": "80"}
    script = [sys.executable, "-m", "cli.main", *words]
    done = subprocess.run(script, capture_output=True, text=True, env=environment, timeout=120, check=True)
    return done.stdout


def document(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_break_goes_through_the_commands(call: Call, desk: Any) -> None:
    which = desk.one("B01")["break_id"]
    told = call("breaks", "assign", which[-6:], "--to", "Cy Roe", "--by", "Bo Lee", *AT)
    assert told.stdout == f"{which} (B01) is in work; with Cy Roe\n", told.stderr
    after = document(
        call("breaks", "resolve", which, "--by", "Cy Roe", "--note", "posted", "-b", "acme", *AT, "--json")
    )
    assert (after["work_state"], after["owner"], after["found"], after["note"]) == (
        "resolved",
        "Cy Roe",
        "open",
        "posted",
    )
    refused = call("breaks", "sign", which, "--by", "cy roe", *AT, "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["reason"] == "four_eyes"
    shown = narrow(desk, "breaks", "--biller", "acme", "show", which)
    assert "assigned to Cy Roe" in shown
    assert max(map(len, shown.splitlines())) <= 80
    listed = call("breaks", "--state", "resolved").stdout
    assert "1 breaks" in listed
    assert "resolved," in listed
    assert [row["break_id"] for row in document(call("breaks", "--owner", "CY ROE", "--json"))] == [which]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (
            ("breaks", "note", "ffffffff", "x", "--by", "Ann Ode"),
            1,
            "there is no break 'ffffffff'; nearest: ",
        ),
        (("breaks", "resolve", "ffffffff", "--by", "Ann Ode"), 2, "Missing option '--note'"),
        (("breaks", "--state", "done"), 2, "known: open, in_work, resolved, accepted, signed_off"),
        (("close", "2026-10", "--by", "Ann Ode", *AT), 1, "first: icflows reconcile --biller acme"),
        (("close", "October", "--by", "Ann Ode"), 2, "a period is a month like 2026-10"),
        (("close", "2026-10"), 2, "say who closes it"),
        (("diff", "/nowhere.duckdb", "/nowhere.duckdb"), 2, "there is no file /nowhere.duckdb"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_wrong_calls_of_the_work(call: Call, words: tuple[str, ...], code: int, told: str) -> None:
    done = call(*words)
    assert done.returncode == code, done.stderr
    assert told in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_a_day_is_closed_listed_and_compared(call: Call, desk: Any) -> None:
    closed = call("close", "2026-10-29", "--by", "Ann Ode", *AT)
    assert "close-2026-10-29.duckdb is frozen" in closed.stdout, closed.stderr
    (line,) = document(call("close", "--json"))
    assert (line["state"], line["closed_by"]) == ("ok", "Ann Ode")
    assert sum(part["rows"] for part in line["states"].values()) == line["payments_rows"]
    assert "1 closed periods of acme" in call("close").stdout
    path = str(desk.settings.folder("snapshots") / "acme" / line["snapshot"])
    assert document(call("diff", path, path, "--json"))["breaks"] == []
    assert "no break differs" in call("diff", path, path).stdout
