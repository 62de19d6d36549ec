"""Published files: whole or not at all, the newest under `latest`, the old ones gone in time."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.dated_files import DatedFiles
from tasks.errors import Retry, SettingsError, StagingBusy

AT = datetime(2026, 10, 30, 23, tzinfo=UTC)


def publish(files: DatedFiles, at: datetime, content: bytes) -> None:
    with files.replacing(at) as part:
        part.write_bytes(content)


def names(files: DatedFiles) -> list[str]:
    return sorted(p.name for p in files.folder.iterdir() if p.name != ".lock")


def fail_half_way(files: DatedFiles, at: datetime) -> None:
    with files.replacing(at) as part:
        part.write_bytes(b"half")
        raise ZeroDivisionError


def test_both_names_and_nothing_else(tmp_path: Path) -> None:
    files = DatedFiles(tmp_path / "new" / "acme", "txt")
    publish(files, AT, b"one")
    assert names(files) == ["20261030T230000Z.txt", "latest.txt"]
    publish(files, AT, b"two")  # the same moment again
    assert files.latest.read_bytes() == files.path(AT).read_bytes() == b"two"
    assert names(files) == ["20261030T230000Z.txt", "latest.txt"]


def test_a_failure_leaves_the_old_one(tmp_path: Path) -> None:
    files = DatedFiles(tmp_path, "txt")
    publish(files, AT, b"good")
    with pytest.raises(ZeroDivisionError):
        fail_half_way(files, AT + timedelta(days=1))
    assert names(files) == ["20261030T230000Z.txt", "latest.txt"]
    assert files.latest.read_bytes() == b"good"


def test_full_disk_leaves_the_old_one(tmp_path: Path, file_limit: Callable[[int], None]) -> None:
    files = DatedFiles(tmp_path, "txt")
    publish(files, AT, b"good")
    file_limit(10_000)
    with pytest.raises(Retry, match="what was published before still stands") as refused:
        publish(files, AT + timedelta(days=1), b"x" * 20_000)
    assert refused.value.reason == "disk_full"
    assert names(files) == ["20261030T230000Z.txt", "latest.txt"]
    assert files.latest.read_bytes() == b"good"


def test_leftovers_of_killed_runs_are_swept(tmp_path: Path) -> None:
    files = DatedFiles(tmp_path, "txt")
    (tmp_path / ".part-77.txt").write_bytes(b"half")
    (tmp_path / ".part-77.txt.wal").write_bytes(b"half")
    (tmp_path / ".part-77.txt.tmp").mkdir()
    (tmp_path / "notes.md").write_text("somebody's own file")
    publish(files, AT, b"good")
    assert names(files) == ["20261030T230000Z.txt", "latest.txt", "notes.md"]


def test_a_reader_keeps_what_it_opened(tmp_path: Path) -> None:
    files = DatedFiles(tmp_path, "txt")
    publish(files, AT, b"old")
    with files.latest.open("rb") as reader:
        publish(files, AT + timedelta(hours=1), b"new")
        assert reader.read() == b"old"
    assert files.latest.read_bytes() == b"new"


def test_latest_is_never_away_or_half(tmp_path: Path) -> None:
    files, seen, done = DatedFiles(tmp_path, "txt"), set(), threading.Event()
    contents = [bytes([65 + number]) * 300_000 for number in range(20)]
    publish(files, AT, contents[0])

    def read() -> None:
        while not done.is_set():
            content = files.latest.read_bytes()
            seen.add((len(content), content[:1] == content[-1:]))

    reader = threading.Thread(target=read)
    reader.start()
    for number, content in enumerate(contents):
        publish(files, AT + timedelta(seconds=number), content)
    done.set()
    reader.join()
    assert seen == {(300_000, True)}


def test_without_hard_links_latest_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    files = DatedFiles(tmp_path, "txt")
    publish(files, AT, b"one")
    publish(files, AT + timedelta(hours=1), b"two")
    assert files.latest.read_bytes() == b"two"
    assert files.latest.stat().st_ino != files.path(AT + timedelta(hours=1)).stat().st_ino


def test_count_and_age_decide_what_is_kept(tmp_path: Path) -> None:
    files = DatedFiles(tmp_path, "txt")
    days = [AT - timedelta(days=back) for back in (40, 20, 9, 5, 3, 1, 0)]
    for at in days:
        publish(files, at, b"x")
    gone = files.prune(AT, keep=5, days=7)
    assert sorted(p.name for p in gone) == sorted(files.path(at).name for at in days[:3])
    assert names(files) == sorted([*(files.path(at).name for at in days[3:]), "latest.txt"])


def test_what_latest_shows_is_never_removed(tmp_path: Path) -> None:
    files = DatedFiles(tmp_path, "txt")
    publish(files, AT, b"newer moment")
    publish(files, AT - timedelta(days=90), b"published last")
    assert files.prune(AT, keep=1, days=30) == []
    assert files.latest.read_bytes() == b"published last"
    assert files.path(AT - timedelta(days=90)).exists()


def test_one_publisher_at_a_time(tmp_path: Path) -> None:
    files = DatedFiles(tmp_path, "txt", lock_timeout=0.1)
    failed: list[Exception] = []

    def second() -> None:
        try:
            publish(files, AT, b"second")
        except StagingBusy as error:
            failed.append(error)

    with files.replacing(AT) as part:
        part.write_bytes(b"first")
        other = threading.Thread(target=second)
        other.start()
        other.join()
    assert "another process publishes" in str(failed[0])
    assert files.latest.read_bytes() == b"first"


def test_a_moment_needs_a_zone(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="time zone"):
        DatedFiles(tmp_path, "txt").path(datetime(2026, 10, 30))


def test_no_folder_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    with (
        pytest.raises(Retry, match="cannot be written"),
        DatedFiles(tmp_path / "file" / "acme", "txt").replacing(AT),
    ):
        raise AssertionError("never reached")
