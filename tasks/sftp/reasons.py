"""Why a file was not put, as a machine word and a sentence. The server's own words are left out: they may hold paths."""

from __future__ import annotations

from typing import NamedTuple

from paramiko import sftp as protocol


class Trouble(NamedTuple):
    """`reason` goes into tables and alerts, `message` to people."""

    reason: str
    message: str


_NO_FILE, _DENIED = protocol.SFTP_NO_SUCH_FILE, protocol.SFTP_PERMISSION_DENIED
_BAD_NAME, _UNSUPPORTED = protocol.SFTP_BAD_MESSAGE, protocol.SFTP_OP_UNSUPPORTED

NO_DIRECTORY = Trouble("no_directory", "the SFTP directory does not exist")
PERMISSION = Trouble("permission", "the SFTP server does not let this user write into the directory")
NO_SPACE = Trouble("no_space", "the SFTP server could not keep all bytes; its disk or the quota is full")
NO_SIZE = Trouble("no_size", "the SFTP server does not say how many bytes it holds")
BAD_NAME = Trouble("bad_name", "the SFTP server does not take a file of that name")
NAMED_TWICE = Trouble("bad_name", "two files of one batch bear that name")
SOURCE = Trouble("source", "the file to be sent cannot be read, or is not as long as it was said to be")
NO_REPLACE = Trouble(
    "no_atomic_rename", "the SFTP server has no posix-rename@openssh.com, so no file can be put in one step"
)
CUT = Trouble("cut", "the connection to the SFTP server was cut; what is missing is sent by the next run")
TIMEOUT = Trouble(
    "timeout", "the SFTP server or the link stood still; what is missing is sent by the next run"
)


def of_create(code: int) -> Trouble:
    """The server did not open a new file."""
    known = {_NO_FILE: NO_DIRECTORY, _DENIED: PERMISSION, _BAD_NAME: BAD_NAME}
    return known.get(code) or Trouble("refused", f"the SFTP server opens no new file (status {code})")


def of_write(code: int) -> Trouble:
    """The server did not write. OpenSSH says the same 'failure' for a full disk, a quota and a limit."""
    return PERMISSION if code == _DENIED else NO_SPACE


def of_rename(code: int) -> Trouble:
    """The server did not give the file its name."""
    known = {_DENIED: PERMISSION, _BAD_NAME: BAD_NAME, _UNSUPPORTED: NO_REPLACE}
    return known.get(code) or Trouble(
        "refused", f"the SFTP server does not give the file its name (status {code})"
    )
