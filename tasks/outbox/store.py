"""The outbox kept in two places, in this order: the archive (what was meant), then staging (what counts)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import polars as pl
from filelock import FileLock, Timeout

from tasks.archive import new_poll_id
from tasks.errors import StagingBusy, Stop
from tasks.outbox.model import FILES, RECORDS, empty, shaped
from tasks.outbox.states import OPEN, Move
from tasks.staging import outbox, outbox_moves
from tasks.staging.outbox_images import keep_images
from tasks.staging.polls import record_load
from tasks.staging.query import Connection
from tasks.staging.store import Staging


@dataclass(frozen=True)
class Composed:
    """A file ready to be kept: its line of outbox.files, its bytes, its records (RECORDS columns)."""

    file: dict[str, Any]
    body: bytes
    records: pl.DataFrame


class Keeps(Protocol):
    """Where composed files and moves are noted first (tasks.outbox.history.History)."""

    def keep(self, file: dict[str, Any], body: bytes, records: pl.DataFrame) -> None:
        """Keeps a composed file."""

    def note(self, move: Move) -> None:
        """Keeps a move."""

    def note_withheld(self, line: dict[str, Any]) -> None:
        """Keeps that an event was withheld."""

    def body(self, file_id: str) -> bytes:
        """The bytes of a file."""

    def moves(self, file_id: str) -> list[Move]:
        """The moves noted for a file."""


class Outbox:
    """One biller's outbox. Only one process works on it at a time (`alone`)."""

    def __init__(self, staging: Staging, history: Keeps) -> None:
        self.staging = staging
        self.history = history

    @contextmanager
    def alone(self, timeout: float) -> Iterator[None]:
        """Holds the outbox. Raises StagingBusy when another run or person has it."""
        lock = FileLock(self.staging.root / f"{self.staging.biller}.outbox.lock")
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise StagingBusy(
                f"the outbox of {self.staging.biller} is in use by another run; waited {timeout:g} s"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def files(self, *states: str) -> list[dict[str, Any]]:
        """Lines of outbox.files in these states, with `moves`, oldest first."""
        with self.staging.open() as connection:
            return outbox.files(connection, *states)

    def file(self, file_id: str) -> dict[str, Any]:
        """One line of outbox.files by its id or the end of it. Raises Stop if there is none or several."""
        with self.staging.open() as connection:
            found = outbox.files_ending(connection, file_id)
        if len(found) != 1:
            many = "several files of the outbox match" if found else "the outbox has no file"
            raise Stop(f"{self.staging.biller}: {many} '{file_id}'", reason="no_such_file")
        return found[0]

    def compose(
        self, files: Sequence[Composed], applied: pl.DataFrame, at: datetime, images: pl.DataFrame,
        guards: pl.DataFrame, held: pl.DataFrame,
    ) -> None:  # fmt: skip
        """Keeps what one run made: the archive first, then all of it in one transaction."""
        for made in files:
            self.history.keep(made.file, made.body, made.records)
        lines = [shaped(pl.DataFrame([m.file], schema={n: FILES[n] for n in m.file}), FILES) for m in files]
        load_id = new_poll_id("outbox", at)
        with self._transaction(load_id, at) as connection:
            outbox.keep(
                connection,
                pl.concat([empty(FILES), *lines]),
                pl.concat([empty(RECORDS), *(m.records for m in files)]),
                applied,
            )
            keep_images(connection, images)
            outbox.replace_last(connection, guards, held)

    def move(
        self, file: dict[str, Any], to_state: str, at: datetime, by: str, reason: str | None = None,
        note: str | None = None, rejected: Sequence[tuple[int, str]] = (), requeued: Sequence[int] = (), **columns: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Notes one move, then makes it. Returns the file's line as it is now. `reason` goes to both.

        Raises StagingBusy if the file is not in the state in which the caller saw it.
        """
        columns["reason"] = reason
        move = Move(
            file["file_id"], file["moves"] + 1, at, file["state"], to_state, by, reason, note, columns,
            list(rejected), list(requeued),
        )  # fmt: skip
        self.history.note(move)
        if not self._apply(move):
            raise StagingBusy(f"{move.file_id} is no longer {move.from_state}; run again")
        return {**file, **columns, "state": to_state, "moves": move.n}

    def keep_looks(self, looks: pl.DataFrame, at: datetime) -> None:
        """Keeps what looks showed (LOOKS columns)."""
        with self._transaction(new_poll_id("looks", at), at) as connection:
            outbox.insert(connection, "looks", looks)

    def withhold(self, rows: pl.DataFrame, by: str, note: str, at: datetime) -> None:
        """Keeps that a person withheld events (APPLIED columns)."""
        for row in rows.select("event_id", "version", "invoice_number", "at").to_dicts():
            self.history.note_withheld({**row, "by": by, "note": note})
        with self._transaction(new_poll_id("withheld", at), at) as connection:
            outbox.insert(connection, "applied", rows)

    def catch_up(self) -> list[dict[str, Any]]:
        """Makes the moves that were noted but not made (the process died in between); files not yet final."""
        for file in self.files(*OPEN):
            for move in self.history.moves(file["file_id"])[file["moves"] :]:
                self._apply(move)
        return self.files(*OPEN)

    def _apply(self, move: Move) -> bool:
        with self._transaction(f"{move.file_id}-{move.n:03d}", move.at) as connection:
            return outbox_moves.move(connection, move.as_dict())

    @contextmanager
    def _transaction(self, load_id: str, at: datetime) -> Iterator[Connection]:
        with self.staging.transaction(load_id) as connection:
            yield connection
            record_load(connection, load_id, "outbox", at)
