"""The demo, smaller: a real Prefect server, the real sandbox, and the answer sheet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.prefect
@pytest.mark.timeout(400)
def test_demo_finds_all_that_was_planted_and_nothing_else(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ICFLOWS_"))
    }
    call = [
        sys.executable,
        "-m",
        "cli.main",
        "demo",
        "--folder",
        str(tmp_path / "demo"),
        "--accounts",
        "400",
        "--seed",
        "3",
        "--json",
    ]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, timeout=380, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["answers"]["planted"] == told["answers"]["found"] >= 80
    classes = {row.pop("code"): row for row in told["answers"]["classes"]}
    assert len(classes) >= 38
    assert {"B14", "B21", "B23", "B24", "B32", "B34", "B36", "B37", "B38", "B44"} <= set(classes)
    assert all(row["planted"] == row["found"] and not row["besides"] for row in classes.values())
    assert len(told["signed_off"]) == 1
    assert told["answers"]["missed"] == told["answers"]["besides"] == []
    assert told["alerts"], "the webhook got nothing"
    assert len({alert["title"] for alert in told["alerts"]}) == len(told["alerts"]), "an alert came twice"
    assert "sandbox-key" not in done.stdout + done.stderr
    assert Path(told["published"]["snapshot"]).is_file()
    assert Path(told["published"]["report"]).is_file()
    assert "nanobind" not in done.stderr


def test_demo_does_not_empty_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep me")
    call = [sys.executable, "-m", "cli.main", "demo", "--folder", str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "is not empty and no earlier demo" in done.stderr
    assert (tmp_path / "precious.txt").read_text() == "keep me"
