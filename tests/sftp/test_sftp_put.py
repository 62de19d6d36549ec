"""put_files against a real OpenSSH server: whole files, refusals with their reasons, resuming, leftovers."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paramiko.packet import Packetizer

from benchmarks.openssh import Server, free_port, keygen, openssh
from tasks.errors import CredentialError, Unreachable
from tasks.sftp import Limits, PutJob, PutResult, put_files
from tasks.sftp.line import Line
from tasks.sftp.model import PartNames

ROOT = os.getuid() == 0


def states(results: list[PutResult]) -> Counter[str]:
    return Counter(result.reason or result.state for result in results)


def test_every_size_arrives_whole_under_its_name(
    sftp: Any, served: Path, bills: Any, assert_whole: Any
) -> None:
    sizes = [0, 1, 32_767, 32_768, 32_769, 60_000, 300_001, 3_000_000]
    jobs = [bills.job(f"1234_A{size}_I.pdf", size) for size in sizes]
    results = put_files(sftp(), jobs)
    assert results == [PutResult(job.name, "sent", job.size) for job in jobs]
    assert assert_whole(served, jobs) == len(sizes) == len(list(served.iterdir()))


@pytest.mark.parametrize(("connections", "lanes"), [(1, 1), (1, 8), (16, 8), (4, 2)])
def test_any_number_of_lanes_does_the_same(
    connections: int, lanes: int, sftp: Any, served: Path, bills: Any, assert_whole: Any
) -> None:
    jobs, seen = bills.jobs(300, 2_000), []
    results = put_files(sftp(connections=connections, lanes=lanes), jobs, progress=seen.append)
    assert states(results) == {"sent": 300}
    assert assert_whole(served, jobs) == 300 == len(list(served.iterdir()))
    assert sorted(result.name for result in seen) == sorted(job.name for job in jobs)


def test_a_server_that_allows_one_channel_gets_one(
    tmp_path: Path, sftp: Any, served: Path, bills: Any
) -> None:
    with openssh(tmp_path / "sshd", more="MaxSessions 1") as narrow:
        results = put_files(sftp(narrow, connections=2, lanes=4), bills.jobs(100, 1_000))
    assert states(results) == {"sent": 100}


@pytest.mark.parametrize("side", ["server", "client"])
def test_new_keys_in_the_middle_of_a_transfer_change_nothing(
    side: str, tmp_path: Path, sftp: Any, served: Path, bills: Any, assert_whole: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if side == "client":
        monkeypatch.setattr(Packetizer, "REKEY_BYTES", 1 << 20)
    jobs = bills.jobs(100)
    with openssh(tmp_path / "sshd", more="RekeyLimit 1M" if side == "server" else "") as running:
        results = put_files(sftp(running, connections=2, lanes=2), jobs)
    assert states(results) == {"sent": 100}
    assert assert_whole(served, jobs) == 100


def test_what_is_there_is_not_sent_again(sftp: Any, served: Path, bills: Any) -> None:
    jobs = [bills.job(f"1234_{n}_I.pdf", 1_000, may_skip=n != 3) for n in range(6)]
    assert states(put_files(sftp(), jobs)) == {"sent": 6}
    before = {path.name: path.stat().st_ino for path in served.iterdir()}
    (served / jobs[4].name).write_bytes(b"shorter")
    (served / jobs[5].name).unlink()
    results = put_files(sftp(), jobs)
    assert [result.state for result in results] == ["skipped"] * 3 + ["sent"] * 3
    after = {path.name: path.stat().st_ino for path in served.iterdir()}
    assert [after[job.name] == before[job.name] for job in jobs[:4]] == [True, True, True, False]
    assert all((served / job.name).read_bytes() == job.path.read_bytes() for job in jobs)


def test_a_newer_file_replaces_the_older_in_one_step(sftp: Any, served: Path, bills: Any) -> None:
    put_files(sftp(), [bills.job("1234_A_I.pdf", 100)])
    newer = bills.job("1234_A_I.pdf", 200)
    assert states(put_files(sftp(), [newer])) == {"sent": 1}
    assert [path.read_bytes() for path in served.iterdir()] == [newer.path.read_bytes()]


def test_leftovers_of_older_sessions_go_and_nothing_else(sftp: Any, served: Path, bills: Any) -> None:
    old = PartNames()
    ours = [old.new("1234_A_I.pdf"), old.new("x" * 250)]
    others = [
        ".hidden",
        ".1234_A_I.pdf.part",
        "1234_B_I.pdf",
        ".1234.icffffffffffffff000000-1.part",
        "ic.part",
    ]
    for name in ours + others:
        (served / name).write_bytes(b"half")
    job = bills.job("1234_C_I.pdf")
    assert states(put_files(sftp(), [job])) == {"sent": 1}
    assert {path.name for path in served.iterdir()} == {*others, job.name}
    (served / ours[0]).write_bytes(b"half")
    again = PutJob(job.name, job.path, job.size, may_skip=True)
    assert states(put_files(sftp(), [again])) == {"skipped": 1}  # also when there is nothing to send
    assert {path.name for path in served.iterdir()} == {*others, job.name}


def test_no_jobs_no_connection(sftp: Any) -> None:
    assert put_files(sftp(port=free_port()), []) == []


@pytest.mark.parametrize("connections", [1, 4])
def test_another_host_key_stops_everything(
    connections: int, sftp: Any, served: Path, bills: Any, tmp_path: Path
) -> None:
    changed = keygen(tmp_path / "changed")
    with pytest.raises(CredentialError, match="host key") as caught:
        put_files(sftp(host_key=changed, connections=connections), bills.jobs(50, 10))
    assert caught.value.reason == "host_key"
    assert not list(served.iterdir())


def test_a_server_that_is_not_there(sftp: Any, bills: Any) -> None:
    with pytest.raises(Unreachable):
        put_files(sftp(port=free_port()), bills.jobs(1))


def test_a_missing_directory_fails_each_file(sftp: Any, bills: Any, served: Path) -> None:
    results = put_files(sftp(directory=str(served / "none")), bills.jobs(3))
    assert states(results) == {"no_directory": 3}
    assert results[0].message == "the SFTP directory does not exist"


def test_a_name_that_is_a_folder_is_refused_and_the_rest_goes(sftp: Any, bills: Any, served: Path) -> None:
    jobs = bills.jobs(3)
    (served / jobs[1].name / "x").mkdir(parents=True)
    assert [result.reason for result in put_files(sftp(), jobs)] == [None, "refused", None]
    assert not [path for path in served.iterdir() if path.name.startswith(".")]


HOSTILE = [
    "",
    ".",
    "..",
    "a/b.pdf",
    "../up.pdf",
    "/abs.pdf",
    "a\0b.pdf",
    "a\nb.pdf",
    "\x7f",
    "\udc80.pdf",
    "x" * 256,
]


def test_hostile_names_never_reach_the_server(sftp: Any, bills: Any, served: Path) -> None:
    good = bills.job("1234_A_I.pdf")
    jobs = [PutJob(name, good.path, good.size) for name in HOSTILE]
    results = put_files(sftp(), [*jobs, good, good])
    assert [result.reason for result in results] == ["bad_name"] * len(HOSTILE) + [None, "bad_name"]
    assert [path.name for path in served.iterdir()] == [good.name]
    assert not (served.parent / "up.pdf").exists()


def test_odd_but_possible_names_arrive(sftp: Any, bills: Any, served: Path) -> None:
    names = ["-rf.pdf", "a b'\";$(x).pdf", "ünï.pdf", "%n.pdf", "y" * 255]
    source = bills.job("plain.pdf")
    results = put_files(sftp(), [PutJob(name, source.path, source.size) for name in names])
    assert states(results) == {"sent": len(names)}
    assert sorted(path.name for path in served.iterdir()) == sorted(names)


def test_a_source_that_is_gone_or_has_another_length(sftp: Any, bills: Any, served: Path) -> None:
    gone, longer, good = bills.jobs(3)
    gone.path.unlink()
    longer.path.write_bytes(b"x" * 70_000)
    assert [result.reason for result in put_files(sftp(), [gone, longer, good])] == ["source", "source", None]
    assert [path.name for path in served.iterdir()] == [good.name]


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="icflows-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def stranger(public: Path) -> Iterator[Server]:
    """A server whose user is not root, since root may write everywhere."""
    with openssh(public / "sshd", user="nobody" if ROOT else "") as running:
        yield running


def test_no_right_to_write_is_said(stranger: Server, sftp: Any, bills: Any, public: Path) -> None:
    (public / "closed").mkdir()
    (public / "closed").chmod(0o555)
    results = put_files(sftp(stranger, directory=str(public / "closed")), bills.jobs(20))
    assert states(results) == {"permission": 20}
    assert results[0].message == "the SFTP server does not let this user write into the directory"
    assert not list((public / "closed").iterdir())


def test_a_directory_that_may_not_be_listed_still_takes_files(
    stranger: Server, sftp: Any, bills: Any, public: Path
) -> None:
    (public / "box").mkdir()
    (public / "box").chmod(0o333)
    jobs = bills.jobs(5, may_skip=True)
    assert states(put_files(sftp(stranger, directory=str(public / "box")), jobs)) == {"sent": 5}
    (public / "box").chmod(0o755)
    assert sorted(path.name for path in (public / "box").iterdir()) == [job.name for job in jobs]


def test_an_interrupted_caller_leaves_nothing_running(
    sftp: Any, bills: Any, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = bills.jobs(50)

    def interrupted(self: Line, now: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Line, "watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put_files(sftp(), jobs)
    for thread in threading.enumerate():
        if isinstance(thread, Line):
            thread.join(5)
    assert not [thread for thread in threading.enumerate() if isinstance(thread, Line)]
    for path in served.iterdir():
        assert path.name.startswith(".") or path.stat().st_size == 60_000


def test_a_fault_of_the_callers_progress_reaches_the_caller(sftp: Any, bills: Any) -> None:
    def broken(result: PutResult) -> None:
        raise ZeroDivisionError(result.name)

    with pytest.raises(ZeroDivisionError):
        put_files(sftp(), bills.jobs(3), progress=broken)


@pytest.fixture(params=["disk", "limit"])
def small(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> Iterator[tuple[Server, Path]]:
    """A server that can keep about a megabyte: a tiny disk where one can be mounted, and a limit on each file."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if request.param == "disk" and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield server, folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    with openssh(tmp_path / "sshd", before=["prlimit", "--fsize=1000000"]) as limited:
        yield limited, folder


def test_a_full_disk_leaves_no_half_file_and_stops_no_other(
    small: tuple[Server, Path], sftp: Any, bills: Any, assert_whole: Any
) -> None:
    server, folder = small
    jobs = [*bills.jobs(3), bills.job("1234_big_I.pdf", 3_000_000), bills.job("1234_last_I.pdf", 10)]
    results = put_files(sftp(server, directory=str(folder), connections=1, lanes=1), jobs[3:4])
    assert states(results) == {"no_space": 1}
    assert results[0].message.endswith("its disk or the quota is full")  # type: ignore[union-attr]
    assert not list(folder.iterdir())
    assert states(put_files(sftp(server, directory=str(folder)), [*jobs[:3], jobs[4]])) == {"sent": 4}
    assert states(put_files(sftp(server, directory=str(folder)), jobs[3:4])) == {"no_space": 1}
    assert assert_whole(folder, jobs) == 4 == len(list(folder.iterdir()))


def test_limits_are_settings_of_a_call(sftp: Any, bills: Any, fast: Limits) -> None:
    assert states(put_files(sftp(), bills.jobs(2), limits=fast)) == {"sent": 2}
