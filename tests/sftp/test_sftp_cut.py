"""Cut, stalled and lost: no partial file under a final name, and the next run completes what is missing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import Unreachable
from tasks.sftp import Limits, PutJob, put_files

FILES, SIZE = 6, 60_000
LOGIN = 4_000  # bytes that a login sends, about
CUTS = [*range(100, LOGIN, 800), *range(LOGIN, LOGIN + FILES * SIZE, FILES * SIZE // 35)]


def skippable(jobs: list[PutJob]) -> list[PutJob]:
    return [PutJob(job.name, job.path, job.size, may_skip=True) for job in jobs]


def test_there_are_at_least_forty_cuts() -> None:
    assert len(CUTS) >= 40


@pytest.mark.parametrize("offset", CUTS)
def test_a_cut_link_leaves_no_partial_file_and_the_next_run_resumes(
    offset: int,
    sftp: Any,
    proxy: Any,
    served: Path,
    bills: Any,
    assert_whole: Callable[..., int],
    fast: Limits,
) -> None:
    jobs = skippable(bills.jobs(FILES, SIZE))
    proxy.cut_after, proxy.reset = offset, offset % 2 == 0
    one_line = sftp(port=proxy.port, connections=1, lanes=1 + offset % 2)
    try:
        results = put_files(one_line, jobs, limits=fast)
    except Unreachable:
        results = []  # cut before the first file
    undone = [result for result in results if result.state == "failed"]
    assert all(result.reason == "cut" for result in undone)
    assert undone or not results
    sent = {result.name for result in results if result.state == "sent"}
    assert sent <= {path.name for path in served.iterdir()}
    assert_whole(served, jobs)
    again = put_files(one_line, jobs, limits=fast)
    assert {result.state for result in again} <= {"sent", "skipped"}
    assert sent <= {result.name for result in again if result.state == "skipped"}
    assert assert_whole(served, jobs) == FILES
    _wait_until(lambda: _no_leftovers(one_line, jobs, served, fast))


def _no_leftovers(sftp: Any, jobs: list[PutJob], served: Path, fast: Limits) -> bool:
    """The server may still have been at work on the cut connection while the second run looked."""
    if len(list(served.iterdir())) == FILES:
        return True
    put_files(sftp, jobs, limits=fast)
    return False


def _wait_until(true: Callable[[], bool]) -> None:
    for _ in range(50):
        if true():
            return
        time.sleep(0.1)
    pytest.fail("leftovers stay")


@pytest.mark.parametrize("offset", [LOGIN + 10_000, LOGIN + 200_000, LOGIN + 400_000])
@pytest.mark.parametrize("connections", [1, 3])
def test_a_lost_connection_is_opened_again_in_the_same_run(
    offset: int,
    connections: int,
    sftp: Any,
    proxy: Any,
    served: Path,
    bills: Any,
    assert_whole: Callable[..., int],
) -> None:
    jobs = bills.jobs(30, SIZE)
    proxy.cut_after = offset
    lines = sftp(port=proxy.port, connections=connections)
    results = put_files(lines, jobs, limits=Limits(reopen=2, pause=0.05))
    assert {result.state for result in results} == {"sent"}
    assert proxy.connections > connections
    assert assert_whole(served, jobs) == 30


def test_a_lost_answer_to_the_rename_is_found_out_by_looking(
    sftp: Any, proxy: Any, served: Path, bills: Any
) -> None:
    job = bills.job("1234_A_I.pdf")
    final = served / job.name
    inode: list[int] = []

    def renamed() -> bool:
        if not final.exists():
            return False
        inode.append(final.stat().st_ino)
        return True

    proxy.lose_answer = renamed
    results = put_files(sftp(port=proxy.port), [job], limits=Limits(reopen=1, pause=0.05))
    assert [result.state for result in results] == ["sent"]
    assert proxy.connections == 2
    assert [path.stat().st_ino for path in served.iterdir()] == inode  # looked at, not sent again


@pytest.mark.parametrize("size", [SIZE, 30_000_000])
def test_a_stalled_link_ends_in_bounded_time(
    size: int, sftp: Any, proxy: Any, served: Path, bills: Any
) -> None:
    jobs = bills.jobs(2, size)
    proxy.stall_after = LOGIN + 20_000
    limits = Limits(connect=1, login=1, silence=1, file=20, reopen=0)
    started = time.monotonic()
    results = put_files(sftp(port=proxy.port, connections=1), jobs, limits=limits)
    assert time.monotonic() - started < 6
    assert {result.reason for result in results} == {"timeout"}
    assert not [path for path in served.iterdir() if not path.name.startswith(".")]


def test_a_stall_that_stays_ends_too(sftp: Any, proxy: Any, bills: Any) -> None:
    proxy.stall_after = LOGIN + 20_000
    limits = Limits(connect=1, login=1, silence=1, file=20, reopen=2, pause=0.05)
    started = time.monotonic()
    results = put_files(sftp(port=proxy.port, connections=2), bills.jobs(20), limits=limits)
    assert time.monotonic() - started < 15
    assert {result.reason for result in results} <= {"timeout", "unreachable"}


def test_a_link_that_drips_is_cut_by_the_files_deadline(sftp: Any, proxy: Any, bills: Any) -> None:
    original = proxy._carry

    def drip(client: Any, server: Any) -> bool:
        if proxy.passed > LOGIN + 20_000:
            time.sleep(0.3)
            proxy.stall_after = proxy.passed + 50
        return bool(original(client, server))

    proxy._carry = drip
    limits = Limits(silence=5, file=1, least_rate=10_000_000, reopen=0)
    started = time.monotonic()
    results = put_files(sftp(port=proxy.port, connections=1), bills.jobs(2), limits=limits)
    assert time.monotonic() - started < 5
    assert {result.reason for result in results} == {"timeout"}


def test_a_stalled_listing_is_unreachable(sftp: Any, proxy: Any, bills: Any) -> None:
    proxy.stall_after = LOGIN - 900
    limits = Limits(connect=1, login=1, silence=1, file=2, reopen=0)
    started = time.monotonic()
    with pytest.raises(Unreachable):
        put_files(sftp(port=proxy.port), bills.jobs(2), limits=limits)
    assert time.monotonic() - started < 6
