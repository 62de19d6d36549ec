"""A lane against servers that OpenSSH is not: without atomic rename, without sizes, out of order, talking nonsense."""

from __future__ import annotations

import struct
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from paramiko import sftp as protocol

from tasks.sftp import wire
from tasks.sftp.batch import Batch
from tasks.sftp.lane import Lane
from tasks.sftp.model import PartNames, PutJob, Task, name_trouble


class OddServer:
    """A channel with an SFTP server behind it, files in a dict. `odd`: command → status code instead of doing it."""

    out_max_packet_size = 32_768

    def __init__(
        self, odd: dict[int, int] | None = None, late_writes: bool = False, sizes: bool = True
    ) -> None:
        self.odd, self.late_writes, self.sizes = odd or {}, late_writes, sizes
        self.files: dict[bytes, bytes] = {}
        self.calls: list[int] = []
        self.nonsense: bytes | None = None
        self._in = b""
        self._answers: deque[bytes] = deque()
        self._late: list[tuple[bytes, int, bytes]] = []

    def send(self, data: bytes) -> int:
        self._in += data
        while len(self._in) >= 4 and len(self._in) >= 4 + (length := struct.unpack_from(">I", self._in)[0]):
            kind, number = struct.unpack_from(">BI", self._in, 4)
            self._do(kind, number, self._in[9 : 4 + length])
            self._in = self._in[4 + length :]
        return len(data)

    def recv(self, _: int) -> bytes:
        if self.nonsense is not None:
            return self.nonsense
        data = b"".join(self._answers)
        self._answers.clear()
        return data

    def _say(self, kind: int, number: int, body: bytes) -> None:
        self._answers.append(struct.pack(">IBI", len(body) + 5, kind, number) + body)

    def _status(self, number: int, code: int) -> None:
        self._say(protocol.CMD_STATUS, number, struct.pack(">III", code, 0, 0))

    def _do(self, kind: int, number: int, body: bytes) -> None:
        self.calls.append(kind)
        words = strings(body, 3 if kind == protocol.CMD_EXTENDED else 1)
        if kind in self.odd:
            self._status(number, self.odd[kind])
        elif kind == protocol.CMD_OPEN:
            self.files[words[0]] = b""
            self._say(protocol.CMD_HANDLE, number, struct.pack(">I", len(words[0])) + words[0])
        elif kind == protocol.CMD_WRITE:
            at, length = struct.unpack_from(">QI", body, 4 + len(words[0]))
            self._late.append((words[0], at, body[-length:]))
            if not self.late_writes:
                self._settle()
            self._status(number, 0)
        elif kind in {protocol.CMD_FSTAT, protocol.CMD_LSTAT}:
            if words[0] not in self.files:
                self._status(number, protocol.SFTP_NO_SUCH_FILE)
            else:
                known = (
                    struct.pack(">IQ", 1, len(self.files[words[0]])) if self.sizes else struct.pack(">I", 0)
                )
                self._say(protocol.CMD_ATTRS, number, known)
        elif kind == protocol.CMD_CLOSE:
            self._settle()
            self._status(number, 0)
        elif kind == protocol.CMD_REMOVE:
            found = self.files.pop(words[0], None)
            self._status(number, 0 if found is not None else protocol.SFTP_NO_SUCH_FILE)
        else:
            self.files[words[2]] = self.files.pop(words[1])
            self._status(number, 0)

    def _settle(self) -> None:
        for name, at, data in self._late:
            kept = self.files[name].ljust(at, b"\0")
            self.files[name] = kept[:at] + data + kept[at + len(data) :]
        self._late.clear()


def strings(body: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        (length,) = struct.unpack_from(">I", body)
        found.append(body[4 : 4 + length])
        body = body[4 + length :]
    return found


@pytest.fixture
def job(tmp_path: Path) -> PutJob:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 400)
    return PutJob("1_A_I.pdf", tmp_path / "a", 102_400)


def send(server: OddServer, *jobs: PutJob, tasks: list[Task] | None = None) -> list[tuple[str, str | None]]:
    batch = Batch("/in", jobs)
    batch.plan({})
    if tasks:
        while batch.take():
            pass
        for task in tasks:
            batch.give_back(task)
    Lane(server, batch, 4).run()
    return [(result.state, result.reason) for result in batch.results()]


def test_a_usual_server_for_comparison(job: PutJob) -> None:
    server = OddServer()
    assert send(server, job) == [("sent", None)]
    assert server.files == {b"/in/1_A_I.pdf": job.path.read_bytes()}


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        (protocol.CMD_OPEN, protocol.SFTP_NO_SUCH_FILE, "no_directory"),
        (protocol.CMD_OPEN, protocol.SFTP_PERMISSION_DENIED, "permission"),
        (protocol.CMD_OPEN, protocol.SFTP_BAD_MESSAGE, "bad_name"),
        (protocol.CMD_OPEN, protocol.SFTP_FAILURE, "refused"),
        (protocol.CMD_WRITE, protocol.SFTP_FAILURE, "no_space"),
        (protocol.CMD_WRITE, protocol.SFTP_PERMISSION_DENIED, "permission"),
        (protocol.CMD_FSTAT, protocol.SFTP_OP_UNSUPPORTED, None),  # asked once more, by name
        (protocol.CMD_CLOSE, protocol.SFTP_FAILURE, "no_space"),
        (protocol.CMD_EXTENDED, protocol.SFTP_OP_UNSUPPORTED, "no_atomic_rename"),
        (protocol.CMD_EXTENDED, protocol.SFTP_PERMISSION_DENIED, "permission"),
        (protocol.CMD_EXTENDED, protocol.SFTP_FAILURE, "refused"),
        (protocol.CMD_EXTENDED, protocol.SFTP_NO_SUCH_FILE, "refused"),
    ],
)
def test_every_refusal_has_its_reason_and_leaves_nothing(
    command: int, code: int, reason: str | None, job: PutJob
) -> None:
    server = OddServer({command: code})
    assert send(server, job) == [("failed" if reason else "sent", reason)]
    assert list(server.files) == ([] if reason else [b"/in/1_A_I.pdf"])


def test_writes_that_are_confirmed_and_not_kept_are_found_by_the_size(job: PutJob) -> None:
    server = OddServer({protocol.CMD_WRITE: 0})
    assert send(server, job) == [("failed", "no_space")]
    assert not server.files


def test_a_server_that_counts_late_is_asked_again(job: PutJob) -> None:
    server = OddServer(late_writes=True)
    assert send(server, job) == [("sent", None)]
    assert server.calls.count(protocol.CMD_LSTAT) == 1


def test_a_server_that_tells_no_size_is_not_trusted(job: PutJob) -> None:
    server = OddServer(sizes=False)
    assert send(server, job) == [("failed", "no_size")]
    assert not server.files


def test_after_a_lost_answer_a_rename_that_happened_is_seen(job: PutJob) -> None:
    server = OddServer()
    server.files = {b"/in/1_A_I.pdf": job.path.read_bytes()}
    assert send(server, job, tasks=[Task(0, job, b"/in/.old.part", naming=True)]) == [("sent", None)]
    assert protocol.CMD_OPEN not in server.calls


def test_after_a_lost_answer_a_rename_that_did_not_happen_is_done(job: PutJob) -> None:
    server = OddServer()
    server.files = {b"/in/.old.part": job.path.read_bytes(), b"/in/1_A_I.pdf": b"older"}
    assert send(server, job, tasks=[Task(0, job, b"/in/.old.part", naming=True)]) == [("sent", None)]
    assert server.files == {b"/in/1_A_I.pdf": job.path.read_bytes()}
    assert protocol.CMD_OPEN not in server.calls


def test_after_a_lost_answer_the_earlier_rename_may_still_come_first(
    job: PutJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = OddServer()
    server.files = {b"/in/.old.part": job.path.read_bytes()}
    do = server._do

    def late(kind: int, number: int, body: bytes) -> None:
        if kind == protocol.CMD_EXTENDED and b"/in/.old.part" in server.files:
            server.files[b"/in/1_A_I.pdf"] = server.files.pop(b"/in/.old.part")
            server._status(number, protocol.SFTP_NO_SUCH_FILE)
        else:
            do(kind, number, body)

    monkeypatch.setattr(server, "_do", late)
    assert send(server, job, tasks=[Task(0, job, b"/in/.old.part", naming=True)]) == [("sent", None)]
    assert server.files == {b"/in/1_A_I.pdf": job.path.read_bytes()}


def test_after_a_lost_answer_and_with_neither_there_the_file_is_sent_anew(job: PutJob) -> None:
    server = OddServer()
    server.files = {b"/in/.old.part": b"short", b"/in/1_A_I.pdf": job.path.read_bytes()}
    assert send(server, job, tasks=[Task(0, job, b"/in/.old.part", naming=True)]) == [("sent", None)]
    assert server.files == {b"/in/1_A_I.pdf": job.path.read_bytes()}
    assert protocol.CMD_OPEN in server.calls


NONSENSE = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff\x65",
    struct.pack(">IBI", 5, protocol.CMD_STATUS, 99),
    struct.pack(">IBI", 5, protocol.CMD_HANDLE, 1),
    struct.pack(">IBI", 9, protocol.CMD_HANDLE, 1) + b"\0\0\0\7",
    struct.pack(">IBI", 5, protocol.CMD_STATUS, 1),
]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_ends_the_lane_and_gives_the_file_back(nonsense: bytes, job: PutJob) -> None:
    server = OddServer()
    server.nonsense = nonsense
    batch = Batch("/in", [job])
    batch.plan({})
    with pytest.raises(wire.NoSftp):
        Lane(server, batch, 4).run()
    assert batch.open == 1
    assert [result.reason for result in batch.results()] == ["cut"]


def test_a_closed_channel_ends_the_lane_too(job: PutJob) -> None:
    server = OddServer()
    server.nonsense = b""
    batch = Batch("/in", [job])
    batch.plan({})
    with pytest.raises(EOFError):
        Lane(server, batch, 4).run()
    assert batch.open == 1


def test_answers_may_come_in_any_pieces() -> None:
    packets = [struct.pack(">IBI", 9, protocol.CMD_STATUS, n) + struct.pack(">I", n) for n in range(50)]
    whole = b"".join(packets)
    for step in (1, 3, 7, 13, 100):
        answers, found = wire.Answers(), []
        for start in range(0, len(whole), step):
            found += list(answers.feed(whole[start : start + step]))
        assert [(number, wire.status(body)) for number, _, body in found] == [(n, n) for n in range(50)]


def test_attributes_cut_short_are_nonsense() -> None:
    for body in (b"", b"\0\0", struct.pack(">II", 1, 0)):
        with pytest.raises(wire.NoSftp):
            wire.size(body)
    assert wire.size(struct.pack(">IQ", 1, 1 << 40)) == 1 << 40


def test_a_part_is_hidden_unique_bounded_and_known_again() -> None:
    older, newer = PartNames(), PartNames()
    while newer._began <= older._began:
        newer = PartNames()
    names = [older.new(name) for name in ("a.pdf", "a.pdf", "é" * 127, "x" * 255)]
    assert len(set(names)) == 4
    assert all(name.startswith(".") and name_trouble(name) is None for name in names)
    assert all(newer.is_leftover(name) and not older.is_leftover(name) for name in names)
    others: list[Any] = ["a.pdf", ".a.pdf.part", f".a.ic{'f' * 20}-1.part", names[0] + "x", names[0][1:]]
    assert not any(newer.is_leftover(name) for name in others)
