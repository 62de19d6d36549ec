"""A kill at any moment of handing over, acknowledging and collecting loses nothing and doubles nothing."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tasks.inbound.store import open_store
from tasks.pull import staging_of
from tasks.settings import load_settings
from tasks.staging.query import frame

ROOT = Path(__file__).parents[2]
MOMENTS = 10


def receipts(folder: Path) -> list[str]:
    """What all files for IMT hold together."""
    files = sorted(folder.rglob("*.csv"))
    return [row["receipt"] for path in files for row in csv.DictReader(path.read_text("utf-8").splitlines())]


def test_each_push_reaches_imt_and_staging_once_whenever_the_process_dies(desk: Any) -> None:
    desk.take(*(desk.push(number) for number in range(6)), desk.event(), desk.push(7, Approved="0"))
    desk.take(desk.push(1, PaymentAmount="2"), desk.unread(8, Approved=""))
    desk.close()
    script, environment = Path(__file__).with_name("killed_round.py"), os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(desk.folder / "icflows.toml"), str(MOMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    whole, chosen = json.loads(done.stdout)
    assert whole > len(chosen) == MOMENTS
    expected = sorted([f"aaaaaaaa-0000-0000-0000-{number:012d}-1" for number in range(6)])
    for number in chosen:
        folder = desk.folder.parent / f"killed-{number}"
        handed = [receipt for receipt in receipts(folder / "handover") if "-0000-" in receipt]
        assert sorted(handed) == expected, number
        assert not [path for path in (folder / "handover").iterdir() if path.is_file()], number
        _same_in_staging(folder)
        doubles, _ = json.loads((folder / "booked.json").read_text("utf-8"))
        assert doubles == 0


def _same_in_staging(folder: Path) -> None:
    """Every push and event of the store, as it is there now; acknowledged, if it was for IMT."""
    settings = load_settings(folder / "icflows.toml")
    store = open_store(settings)
    try:
        with store.reading() as connection:
            held = {
                table: connection.exec_driver_sql(
                    f"SELECT push_id, handover_sequence, acknowledged_at IS NULL FROM {table} ORDER BY 1"
                ).all()
                for table in ("pushes", "enrolment_pushes")
            }
    finally:
        store.close()
    with staging_of(settings, "acme").open() as connection:
        for table, rows in held.items():
            staged = frame(
                connection,
                f"SELECT push_id, handover_sequence, acknowledged_at IS NULL FROM imt.{table} ORDER BY 1",
            )
            assert [tuple(row) for row in rows] == staged.rows()
        aside = frame(connection, "SELECT times_seen FROM quarantine.pushes")
        assert aside.height == 1
    assert all((sequence is None) == bool(waiting) for _, sequence, waiting in held["pushes"])
