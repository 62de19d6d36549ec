"""The store under bad luck: full disks, damaged files, other processes, wrong URLs. An error, never a half truth."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tasks.errors import SettingsError, StagingDamaged, StorageTrouble
from tasks.inbound import store as store_module
from tasks.inbound.collect import collect
from tasks.inbound.handover import hand_over
from tasks.inbound.store import open_store
from tasks.inbound.stored import beat
from tasks.settings import load_settings

ROOT = Path(__file__).parents[2]


def python(code: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, with the project on its path."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )


def test_sqlite_is_durable_and_private(desk: Any) -> None:
    with desk.store.writing() as connection:
        modes = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
    assert modes == ["wal", 2]
    folder = desk.folder / "var" / "service"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "service.db").is_file()
    assert desk.store.is_sqlite


def test_postgresql_commits_are_synchronous(any_desk: Any) -> None:
    desk = any_desk
    if desk.store.is_sqlite:
        return
    with desk.store.reading() as connection:
        shown = [
            connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("synchronous_commit", "fsync")
        ]
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "5s"
    assert shown == ["on", "on"]


def test_what_was_not_committed_is_not_there(any_desk: Any) -> None:
    desk = any_desk

    def half() -> None:
        with desk.store.writing() as connection:
            connection.execute(text("INSERT INTO applied VALUES ('acme', 'x')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert desk.rows("applied") == []
    beat(desk.store, ["acme"], desk.now)
    assert len(desk.rows("freshness")) == 1


def test_a_full_disk_gives_an_error_and_keeps_the_store_whole(desk: Any) -> None:
    desk.take(desk.push(1))
    with desk.store.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    for raw in [desk.store.engine.raw_connection()]:
        raw.cursor().execute(f"PRAGMA max_page_count = {pages}")  # as if the disk ended here
        raw.close()
    many = [desk.push(number) for number in range(2, 300)]
    with pytest.raises(StorageTrouble) as caught:
        desk.take(*many)
    assert caught.value.reason == "disk_full"
    desk.close()  # the limit goes with the connection: there is space again
    assert len(desk.rows()) == 1
    assert {one.verdict for one in desk.take(*many)} == {"new"}
    assert len(desk.rows()) == 299
    assert sqlite3.connect(desk.folder / "var/service/service.db").execute("PRAGMA integrity_check").fetchall() == [("ok",)]  # fmt: skip


def test_a_file_that_may_not_grow_gives_an_error_and_keeps_what_was_acknowledged(desk: Any) -> None:
    desk.take(desk.push(1))
    desk.close()
    done = python(
        """
        import resource, sys
        from datetime import UTC, datetime
        from tasks.errors import StorageTrouble
        from tasks.inbound.model import Push
        from tasks.inbound.pushes import read_push
        from tasks.inbound.store import open_store
        from tasks.inbound.stored import take
        from tasks.settings import load_settings
        settings = load_settings(sys.argv[1])
        store = open_store(settings)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
        fields = {"BillerGUID": "11111111-2222-3333-4444-555555555555", "PaymentDate": "2026-11-10T00:00:00Z",
                  "PaymentAmount": "1", "Approved": "1", "CustomerName": "Canary " + "x" * 200}
        taken = 1
        for number in range(2, 5000):
            guid = {"PaymentGUID": f"aaaaaaaa-0000-0000-0000-{number:012d}"}
            try:
                take(store, [read_push(settings, "acme", "json", fields | guid)], datetime.now(UTC))
            except StorageTrouble as error:
                assert "anary" not in str(error), error
                print(taken, error.reason)
                break
            taken += 1
        """,
        str(desk.folder / "icflows.toml"),
    )
    assert done.returncode == 0, done.stderr
    taken, reason = done.stdout.split()
    assert (int(taken) > 10, reason) == (True, "disk_full")
    assert len(desk.rows()) == int(taken)


@pytest.mark.parametrize("where", ["header", "middle"])
def test_a_damaged_file_says_so(desk: Any, where: str) -> None:
    desk.take(*(desk.push(number) for number in range(200)))
    desk.close()
    file = desk.folder / "var/service/service.db"
    with file.open("r+b") as raw:
        raw.seek(0 if where == "header" else 4096)
        raw.write(b"\xa5" * (100 if where == "header" else file.stat().st_size - 4096))
    with pytest.raises(StagingDamaged) as caught:
        desk.take(desk.push(1))
    assert "service.db is damaged" in str(caught.value)
    assert "Canary" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(desk: Any) -> None:
    (desk.folder / "var").mkdir()
    (desk.folder / "var/service").write_text("a file, no folder")
    with pytest.raises(StorageTrouble, match="service's folder cannot be written"):
        open_store(desk.settings)


def test_a_store_in_use_is_waited_for_and_then_an_error(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.3)
    desk.take(desk.push(1))
    other = sqlite3.connect(
        desk.folder / "var/service/service.db", isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageTrouble) as caught:
        desk.take(desk.push(2))
    assert caught.value.reason == "busy"
    assert len(desk.rows()) == 1  # readers are not kept waiting
    threading.Timer(0.1, lambda: other.execute("ROLLBACK")).start()
    assert desk.take(desk.push(2))[0].verdict == "new"
    other.close()


def test_no_value_and_no_sql_is_in_an_error(desk: Any, mutter: pytest.LogCaptureFixture) -> None:
    with desk.store.writing() as connection:
        connection.exec_driver_sql("DROP TABLE pushes")
    with pytest.raises(StorageTrouble) as caught:
        desk.take(desk.push(1), desk.unread(2, Approved="Canary"))
    assert "SELECT" not in f"{caught.value!r} {caught.value.__cause__!r}"
    told = f"{caught.value!r} {caught.value.__cause__!r} {mutter.text}"  # loggers at DEBUG name columns, no value
    for word in (*desk.personal.values(), "aaaaaaaa", "12.30", "1230"):
        assert word not in told


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("not a url canary-pass", "holds no database URL"),
        ("mysql://u:canary-pass@127.0.0.1/x", "is no postgresql:// URL"),
        ("sqlite:///canary-pass.db", "is no postgresql:// URL"),
    ],
)
def test_a_wrong_url_is_a_wrong_setting_and_is_not_repeated(
    make_desk: Any, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setenv("DB", url)
    file = make_desk().folder / "icflows.toml"
    file.write_text(file.read_text("utf-8") + '\n[service]\ndatabase = "env:DB"\n', "utf-8")
    with pytest.raises(SettingsError, match=words) as caught:
        open_store(load_settings(file))
    assert "canary-pass" not in str(caught.value)


def test_a_database_that_is_not_there_may_come_back(make_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "postgres://u:canary-pass@127.0.0.1:1/x")
    file = make_desk().folder / "icflows.toml"
    file.write_text(file.read_text("utf-8") + '\n[service]\ndatabase = "env:DB"\n', "utf-8")
    with pytest.raises(StorageTrouble) as caught:
        open_store(load_settings(file))
    assert "canary-pass" not in str(caught.value)
    assert "env:DB" in str(caught.value)


def test_postgresql_that_was_restarted_costs_one_error_at_most(any_desk: Any) -> None:
    desk = any_desk
    if desk.store.is_sqlite:
        return
    end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def cut() -> None:
        with desk.store.writing() as victim:
            victim.execute(text("INSERT INTO applied VALUES ('acme', 'x')"))
            with desk.store.reading() as killer:
                killer.execute(end)

    with pytest.raises(StorageTrouble):
        cut()
    assert desk.rows("applied") == []
    with desk.store.reading() as killer:
        killer.execute(end)  # and those that wait in the pool
    assert desk.take(desk.push(1))[0].verdict == "new"


def test_two_processes_may_open_an_empty_store_at_once(any_desk: Any) -> None:
    code = (
        "import sys; from tasks.settings import load_settings; from tasks.inbound.store import open_store; "
    )
    code += "sys.stdin.readline(); open_store(load_settings(sys.argv[1])).close()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(any_desk.folder / "icflows.toml")]
    ones = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    for one in ones:
        assert one.stdin
        one.stdin.write("\n")
        one.stdin.flush()
    assert [one.communicate(timeout=60)[1] for one in ones] == ["", ""]
    assert any_desk.rows() == []


@pytest.mark.parametrize("hit", [1, 4])
def test_every_acknowledged_push_survives_a_kill(desk: Any, hit: int) -> None:
    """A writer tells each receipt after `take` returned; it is killed in the middle of its work.

    Meanwhile another process collects, hands over and reads: neither hinders the other.
    """
    desk.store  # noqa: B018  made before, so that only taking is played
    desk.close()
    code = """
        import sys
        from datetime import UTC, datetime
        from tasks.inbound.pushes import read_push
        from tasks.inbound.store import open_store
        from tasks.inbound.stored import take
        from tasks.settings import load_settings
        settings = load_settings(sys.argv[1])
        store = open_store(settings)
        fields = {"BillerGUID": "11111111-2222-3333-4444-555555555555", "PaymentDate": "2026-11-10T00:00:00Z",
                  "PaymentAmount": "1", "Approved": "1"}
        for number in range(1_000_000):
            guid = {"PaymentGUID": f"aaaaaaaa-0000-0000-0000-{number // 2:012d}"}
            print(take(store, [read_push(settings, "acme", "json", fields | guid)], datetime.now(UTC))[0].receipt, flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(desk.folder / "icflows.toml")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout
        told = [writer.stdout.readline().strip() for _ in range(hit * 7)]
        if hit > 1:
            assert collect(desk.settings, "acme", desk.now).pushes > 0
            assert hand_over(desk.settings, "acme", desk.now).rows > 0
        writer.send_signal(signal.SIGKILL)
        told += [line.strip() for line in writer.stdout if line.endswith("\n")]
    stored = [push_id for (push_id,) in desk.rows("pushes", "push_id")]
    if hit > 1:
        collect(desk.settings, "acme", desk.now)
        assert desk.staged("SELECT count(*) AS n FROM imt.pushes") == [{"n": len(stored)}]
    assert set(told) <= set(stored)
    assert len(stored) == len(set(stored)) <= len(set(told)) + 1


def test_a_busy_reader_does_not_keep_the_writer_waiting(desk: Any, make_desk: Callable[..., Any]) -> None:
    desk.take(desk.push(1))
    with desk.store.reading() as reader:
        assert len(reader.execute(text("SELECT 1 FROM pushes")).all()) == 1
        assert desk.take(desk.push(2))[0].verdict == "new"
        assert len(reader.execute(text("SELECT 1 FROM pushes")).all()) == 1  # one state for one reader
    assert len(desk.rows()) == 2
