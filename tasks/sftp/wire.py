"""SFTP version 3 as bytes, as far as a pipelined put needs it (draft-ietf-secsh-filexfer-02).

paramiko's own client waits for the answer of every request; here requests are made as bytes, sent in any number,
and answers are matched by their number. Section 6.1 of the draft: requests on one file are carried out in order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from paramiko import sftp as protocol

MAX_ANSWER = 1 << 18  # an answer to a put is a few dozen bytes; more is no SFTP
_NEW_FILE = protocol.SFTP_FLAG_WRITE | protocol.SFTP_FLAG_CREATE | protocol.SFTP_FLAG_EXCL
_HAS_SIZE = 1
_U32 = struct.Struct(">I")
_HEAD = struct.Struct(">IBI")

STATUS, HANDLE, ATTRS = protocol.CMD_STATUS, protocol.CMD_HANDLE, protocol.CMD_ATTRS
NO_FILE = protocol.SFTP_NO_SUCH_FILE


class NoSftp(Exception):
    """The other side sends what is no SFTP answer."""


def _string(text: bytes) -> bytes:
    return _U32.pack(len(text)) + text


def _packet(kind: int, number: int, body: bytes) -> bytes:
    return _HEAD.pack(len(body) + 5, kind, number) + body


def create(number: int, path: bytes) -> bytes:
    """Opens a file that must not exist yet, for writing."""
    return _packet(protocol.CMD_OPEN, number, _string(path) + struct.pack(">II", _NEW_FILE, 0))


def write(number: int, handle: bytes, offset: int, data: bytes) -> bytes:
    """Writes `data` at `offset`."""
    head = _string(handle) + struct.pack(">QI", offset, len(data))
    return b"".join((_HEAD.pack(len(head) + len(data) + 5, protocol.CMD_WRITE, number), head, data))


def fstat(number: int, handle: bytes) -> bytes:
    """Asks for the attributes of an open file."""
    return _packet(protocol.CMD_FSTAT, number, _string(handle))


def close(number: int, handle: bytes) -> bytes:
    """Closes an open file."""
    return _packet(protocol.CMD_CLOSE, number, _string(handle))


def lstat(number: int, path: bytes) -> bytes:
    """Asks for the attributes of a name."""
    return _packet(protocol.CMD_LSTAT, number, _string(path))


def remove(number: int, path: bytes) -> bytes:
    """Removes a name."""
    return _packet(protocol.CMD_REMOVE, number, _string(path))


def replace(number: int, old: bytes, new: bytes) -> bytes:
    """OpenSSH's atomic rename onto a name that may be taken."""
    return _packet(
        protocol.CMD_EXTENDED, number, _string(b"posix-rename@openssh.com") + _string(old) + _string(new)
    )


class Answers:
    """Cuts the stream of answers into (number, kind, body)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Every answer that is complete with `data`. Raises NoSftp."""
        buffer = self._rest + data if self._rest else data
        start, end = 0, len(buffer)
        while end - start >= 4:
            (length,) = _U32.unpack_from(buffer, start)
            if not 5 <= length <= MAX_ANSWER:
                raise NoSftp
            if end - start < 4 + length:
                break
            _, kind, number = _HEAD.unpack_from(buffer, start)
            yield number, kind, buffer[start + 9 : start + 4 + length]
            start += 4 + length
        self._rest = buffer[start:]


def status(body: bytes) -> int:
    """The code of a STATUS answer; 0 is success. The server's words are not read: they may hold paths."""
    if len(body) < 4:
        raise NoSftp
    return int(_U32.unpack_from(body)[0])


def handle(body: bytes) -> bytes:
    """The handle of a HANDLE answer."""
    if len(body) < 4 or len(body) != 4 + _U32.unpack_from(body)[0]:
        raise NoSftp
    return body[4:]


def size(body: bytes) -> int | None:
    """The size in an ATTRS answer; None if the server does not say."""
    if len(body) < 4:
        raise NoSftp
    if not _U32.unpack_from(body)[0] & _HAS_SIZE:
        return None
    if len(body) < 12:
        raise NoSftp
    return int(struct.unpack_from(">Q", body, 4)[0])
