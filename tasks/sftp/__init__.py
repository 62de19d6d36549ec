"""SFTP by paramiko and nothing else: sessions with a pinned host key, and puts that are complete or not there."""

from __future__ import annotations

from tasks.sftp.model import PutJob, PutResult
from tasks.sftp.put import put_files
from tasks.sftp.session import LIMITS, Limits, pinned_key, reachable, session

__all__ = ["LIMITS", "Limits", "PutJob", "PutResult", "pinned_key", "put_files", "reachable", "session"]
