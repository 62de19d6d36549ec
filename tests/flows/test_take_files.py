"""The drop folder: files are taken once, oldest first, whatever else lies there, and never lost or overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.dropping import put_away, strangers, waiting_files
from tasks.errors import ControlTotalError, SettingsError, StagingBusy, StorageTrouble

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # imported by apprise
POSTINGS = "posting_id,system,payment_guid,account_number,amount,kind,origin,status,posted_at,effective_date"
POSTING = "P{n},SPECTRUM,,0012345,{amount},PAYMENT,IC,POSTED,2026-11-09T12:00:00Z,2026-11-09"
INVOICES = (
    "event_id,event,occurred_at,replaces_invoice_number,still_in_imt,invoice_number,account_number,"
    "invoice_date,due_date,total_amount_due,balance_due,customer_name"
)
INVOICE = "E{n},NEW,2026-11-09T12:00:00Z,,,INV-{n},0012345,2026-11-01,2026-11-30,{amount},{amount},Canaryname"
QUICK = {"retry_seconds": 0.001, "tries": 1, "pause_seconds": 0.0}


@pytest.fixture
def drop(branch: Any) -> Path:
    """The drop folder of the branch, with a subfolder for each kind."""
    folder: Path = branch.folder / "drop"
    for kind in ("invoices", "postings"):
        (folder / kind).mkdir(parents=True)
    branch.configure(alerts=branch.settings.alerts.urls, transport=QUICK, drop_folder=str(folder))
    return folder


def put(folder: Path, name: str, *lines: str, head: str = POSTINGS, age: float = 60) -> Path:
    """A file that was last changed `age` seconds ago."""
    path = folder / ("invoices" if head == INVOICES else "postings") / name
    path.write_text("\n".join([head, *lines]) + "\n", "utf-8")
    aged(path, age)
    return path


def aged(path: Path, age: float) -> None:
    os.utime(path, (time.time() - age, time.time() - age))


def posting(number: int, amount: str = "1.00") -> str:
    return POSTING.format(n=number, amount=amount)


def invoice(number: int, amount: str = "10.00") -> str:
    return INVOICE.format(n=number, amount=amount)


def take(branch: Any, minutes: int = 0, **more: Any) -> dict[str, Any]:
    from flows.take_files import take_files

    at = branch.at + timedelta(minutes=minutes)
    result: dict[str, Any] = take_files("acme", as_of=at, settings_file=branch.file, **more)
    return result


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_are_loaded_in_order_and_moved(branch: Any, drop: Path, titles: Any) -> None:
    put(drop, "b.csv", posting(1, "2.00"))
    put(drop, "a.csv", posting(1), posting(2))
    put(drop, "c.csv", invoice(1), head=INVOICES)
    pl.read_csv(drop / "postings" / "a.csv", infer_schema=False).write_parquet(
        drop / "postings" / "d.parquet"
    )
    aged(drop / "postings" / "d.parquet", 60)
    result = take(branch)
    assert [line["file"] for line in result["files"]] == ["a.csv", "b.csv", "c.csv", "d.parquet"]
    assert (result["loaded"], result["failed"], result["ignored"]) == (4, 0, [])
    assert [line["rows_new"] for line in result["files"]] == [2, 0, 1, 0]
    assert [line["rows_amended"] for line in result["files"]] == [0, 1, 0, 1]
    assert below(drop) == [f"done/2026-11-10/{name}" for name in ("a.csv", "b.csv", "c.csv", "d.parquet")]
    assert result["files"][0]["moved_to"] == "done/2026-11-10/a.csv"
    assert branch.rows("SELECT count(*) AS n FROM imt.invoice_events") == [{"n": 1}]
    assert titles() == []
    assert take(branch)["files"] == []


def test_a_file_that_comes_again_is_harmless_and_overwrites_nothing(branch: Any, drop: Path) -> None:
    for minute, lines in enumerate([[posting(1)], [posting(1)], [posting(1), posting(2)]]):
        put(drop, "day.csv", *lines)
        take(branch, minute)
    done = drop / "done" / "2026-11-10"
    assert below(done) == ["day-2.csv", "day-3.csv", "day.csv"]
    assert [len((done / f"day{n}.csv").read_text().splitlines()) for n in ("", "-2", "-3")] == [2, 2, 3]
    assert branch.rows("SELECT posting_id, version FROM imt.postings ORDER BY 1") == [
        {"posting_id": "P1", "version": 1}, {"posting_id": "P2", "version": 1},
    ]  # fmt: skip


def test_one_bad_file_does_not_stop_the_others(branch: Any, drop: Path, titles: Any) -> None:
    put(drop, "1-rubbish.csv", head="rubbish")
    (drop / "postings" / "2-cut.parquet").write_bytes(b"PAR1 and then nothing")
    aged(drop / "postings" / "2-cut.parquet", 60)
    put(drop, "3-good.csv", posting(1), posting(2, "1.005"))
    put(drop, "4-good.csv", invoice(1), head=INVOICES)
    result = take(branch)
    assert [(line["state"], line["reason"]) for line in result["files"]] == [
        ("failed", "schema_drift"), ("failed", "bad_file"), ("loaded", None), ("loaded", None),
    ]  # fmt: skip
    assert below(drop) == [
        "done/2026-11-10/3-good.csv", "done/2026-11-10/4-good.csv", "failed/1-rubbish.csv", "failed/2-cut.parquet",
    ]  # fmt: skip
    assert sorted(titles()) == [
        "postings/1-rubbish.csv cannot be read",
        "postings/2-cut.parquet cannot be read",
        "postings: 1 rows of 1 files set aside by the contract",
    ]
    put(drop, "1-rubbish.csv", posting(3))
    take(branch, 1)
    left = branch.rows('SELECT subject FROM "check".alerts WHERE cleared_at IS NULL')
    assert left == [{"subject": "postings/2-cut.parquet"}]


def test_no_customer_is_told_of_where_the_header_is_missing(branch: Any, drop: Path, titles: Any) -> None:
    path = put(drop, "headless.csv", head=INVOICES)
    path.write_text(invoice(1) + "\n" + invoice(2) + "\n", "utf-8")
    aged(path, 60)
    result = take(branch)
    assert result["failed"] == 1
    assert len(titles()) == 1
    assert "Canaryname" not in str(result)
    assert branch.rows("SELECT body FROM \"check\".alerts WHERE body LIKE '%Canaryname%'") == []


def test_only_whole_quiet_regular_files_are_taken(branch: Any, drop: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text(f"{POSTINGS}\n{posting(9)}\n")
    aged(outside, 60)
    (drop / "postings" / "link.csv").symlink_to(outside)
    (drop / "postings" / "folder.csv").mkdir()
    for name in (".hidden.csv", "x.csv.part", "x.csv.tmp", "~x.csv", "x.csv~", "list.xlsx"):
        put(drop, name, posting(9))
    put(drop, "fresh.csv", posting(9), age=0)
    put(drop, "tomorrow.csv", posting(9), age=-3600)
    os.mkfifo(drop / "postings" / "pipe.csv")
    result = take(branch)
    assert result["files"] == []
    assert result["ignored"] == [
        f"postings/{name}" for name in ("folder.csv", "link.csv", "list.xlsx", "pipe.csv")
    ]
    assert outside.exists()
    put(drop, "whole.CSV", posting(1), age=6)
    assert [line["file"] for line in take(branch, 1)["files"]] == ["whole.CSV"]
    assert [line["file"] for line in take(branch, 2, quiet_seconds=0.0)["files"]] == ["fresh.csv"]


def test_a_folder_that_is_a_link_is_not_entered(drop: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    put(drop, "good.csv", posting(1)).rename(tmp_path / "other" / "good.csv")
    (drop / "postings").rmdir()
    (drop / "postings").symlink_to(tmp_path / "other")
    assert waiting_files(drop) == []
    assert strangers(drop) == []


def test_the_clock_is_an_argument(drop: Path) -> None:
    path = put(drop, "a.csv", posting(1))
    changed = path.stat().st_mtime
    assert waiting_files(drop, 5, lambda: changed + 4.9) == []
    assert waiting_files(drop, 5, lambda: changed + 5.0) == [("postings", path)]


def test_without_a_folder_there_is_nothing_to_do_and_a_lost_one_is_told(branch: Any, drop: Path) -> None:
    branch.configure(transport=QUICK, drop_folder=str(drop / "nowhere"))
    with pytest.raises(SettingsError, match=r"the drop folder .*nowhere does not exist"):
        take(branch)
    branch.configure(transport=QUICK)
    assert take(branch)["files"] == []


def test_a_file_left_behind_after_its_load_is_loaded_again_without_effect(
    branch: Any, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends between commit and move."""
    import flows.take_files

    path = put(drop, "a.csv", posting(1))
    real = flows.take_files.put_away

    def killed(*_: Any) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(flows.take_files, "put_away", killed)
    with pytest.raises(KeyboardInterrupt):
        take(branch)
    assert path.exists()
    assert branch.rows("SELECT version FROM imt.postings") == [{"version": 1}]
    before = branch.dump("imt.postings_versions")
    monkeypatch.setattr(flows.take_files, "put_away", real)
    line = take(branch, 1)["files"][0]
    assert (line["state"], line["rows_unchanged"], line["rows_new"]) == ("loaded", 1, 0)
    after = branch.dump("imt.postings_versions")
    for row in [*before["imt.postings_versions"], *after["imt.postings_versions"]]:
        row.pop("last_seen_at")
    assert after == before
    assert below(drop) == ["done/2026-11-10/a.csv"]


KILLED = """
import os, sys
from datetime import UTC, datetime
import flows.take_files as taking
real = taking.put_away
def dies(path, folder, day):
    if path.name == sys.argv[2]:
        os._exit(9)
    return real(path, folder, day)
taking.put_away = dies
taking.take_files("acme", as_of=datetime(2026, 11, 10, 12, tzinfo=UTC), settings_file=sys.argv[1])
"""


def test_a_killed_process_loses_no_file_and_doubles_none(branch: Any, drop: Path) -> None:
    for number in range(3):
        put(drop, f"{number}.csv", posting(number))
    call = [sys.executable, "-c", KILLED, branch.file, "1.csv"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 9, done.stderr
    assert below(drop) == ["done/2026-11-10/0.csv", "postings/1.csv", "postings/2.csv"]
    result = take(branch, 1)
    assert [line["rows_new"] for line in result["files"]] == [0, 1]
    assert branch.rows("SELECT count(*) AS n, max(version) AS v FROM imt.postings_versions") == [
        {"n": 3, "v": 1}
    ]
    assert below(drop) == [f"done/2026-11-10/{n}.csv" for n in range(3)]


def test_a_file_that_grows_while_it_is_loaded_stays_and_is_taken_later(
    branch: Any, drop: Path, titles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flows.take_files

    path, torn = put(drop, "a.csv", posting(1)), put(drop, "b.csv", head="rubb")
    real = flows.take_files.load

    def grown(*given: Any) -> Any:
        try:
            return real(*given)
        finally:
            with Path(given[3]).open("a") as file:
                file.write(posting(2) + "\n")

    monkeypatch.setattr(flows.take_files, "load", grown)
    result = take(branch)
    assert [(line["state"], line["reason"]) for line in result["files"]] == [
        ("loaded", "changed_meanwhile"), ("left", "changed_meanwhile"),
    ]  # fmt: skip
    assert titles() == []
    assert torn.exists()
    monkeypatch.setattr(flows.take_files, "load", real)
    assert take(branch, 1)["files"] == [], "it was changed just now"
    aged(path, 60)
    line = take(branch, 2)["files"][0]
    assert (line["rows_new"], line["rows_unchanged"], line["moved_to"]) == (1, 1, "done/2026-11-10/a.csv")


def test_trouble_that_is_not_the_files_ends_the_run_and_moves_nothing(
    branch: Any, drop: Path, monkeypatch: pytest.MonkeyPatch, titles: Any
) -> None:
    import flows.take_files

    put(drop, "1-rubbish.csv", head="rubbish")
    put(drop, "2.csv", posting(2))
    real = flows.take_files.load

    def busy(*given: Any) -> Any:
        if given[3].endswith("2.csv"):
            raise StagingBusy("staging of acme is in use")
        return real(*given)

    monkeypatch.setattr(flows.take_files, "load", busy)
    with pytest.raises(StagingBusy):
        take(branch)
    assert below(drop) == ["failed/1-rubbish.csv", "postings/2.csv"]
    assert titles() == ["postings/1-rubbish.csv cannot be read"], "what was done is told all the same"


def test_a_file_that_cannot_be_booked_stays_and_the_others_are_taken(
    branch: Any, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flows.take_files

    for number in range(3):
        put(drop, f"{number}.csv", posting(number))
    real = flows.take_files.load

    def unbalanced(*given: Any) -> Any:
        if given[3].endswith("1.csv"):
            raise ControlTotalError("rows in and rows staged differ")
        return real(*given)

    monkeypatch.setattr(flows.take_files, "load", unbalanced)
    with pytest.raises(ControlTotalError):
        take(branch)
    assert below(drop) == ["done/2026-11-10/0.csv", "done/2026-11-10/2.csv", "postings/1.csv"]


def test_two_runs_at_once_take_each_file_once(branch: Any, drop: Path) -> None:
    for number in range(6):
        put(drop, f"{number}.csv", posting(number))
    results: list[Any] = []
    runs = [threading.Thread(target=lambda: results.append(take(branch))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    lines = [line for result in results for line in result["files"]]
    assert len(results) == 2
    assert {line["state"] for line in lines} <= {"loaded", "gone"}
    assert below(drop) == [f"done/2026-11-10/{n}.csv" for n in range(6)]
    assert branch.rows("SELECT count(*) AS n, max(version) AS v FROM imt.postings_versions") == [
        {"n": 6, "v": 1}
    ]


def test_a_full_disk_leaves_the_file_where_it_is(drop: Path, closed: Callable[[Path], None]) -> None:
    path = put(drop, "a.csv", posting(1))
    closed(drop)
    with pytest.raises(StorageTrouble, match="the drop folder cannot be written"):
        put_away(path, drop, None)
    assert path.exists()


@pytest.fixture
def closed() -> Callable[[Path], None]:
    """Puts a file where the folder failed/ would be made."""
    return lambda folder: (folder / "failed").write_text("in the way") and None
