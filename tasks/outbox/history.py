"""The outbox in the archive: what was composed, and every move, before staging hears of it.

    <archive>/<biller>/outbox/<YYYY>/<MM>/<file_id>.bif        the bytes that are sent
                                          <file_id>.parquet    its records
                                          <file_id>.json       its line of outbox.files, written last
                                          <file_id>.moves      one JSON line per move, flushed one by one

A file without a move was never sent. Files with moves rebuild the outbox where staging is lost; without them
a lost staging file would send everything again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tasks.archive import Archive, translated_os_errors, write_durably
from tasks.archive_lines import append_lines, read_lines
from tasks.outbox.model import APPLIED, FILES, shaped
from tasks.outbox.states import Move

FOLDER = "outbox"


class History:
    """The outbox folder of one biller's archive."""

    def __init__(self, archive: Archive) -> None:
        self.folder = archive.folder / FOLDER

    def path(self, file_id: str, suffix: str) -> Path:
        """Where a part of this file lies; file ids begin with their time."""
        return self.folder / file_id[:4] / file_id[4:6] / f"{file_id}{suffix}"

    def keep(self, file: dict[str, Any], body: bytes, records: pl.DataFrame) -> None:
        """Keeps a composed file, its records, then its note. Raises StorageTrouble."""
        name = file["file_id"]
        out = io.BytesIO()
        records.write_parquet(out)
        note = json.dumps(file, default=str, indent=1, sort_keys=True)
        with translated_os_errors("archive"):
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path(name, ".bif").parent.mkdir(parents=True, exist_ok=True)
            for suffix, data in ((".bif", body), (".parquet", out.getvalue()), (".json", note.encode())):
                write_durably(self.path(name, suffix), data)

    def body(self, file_id: str) -> bytes:
        """The bytes that were composed."""
        with translated_os_errors("archive"):
            return self.path(file_id, ".bif").read_bytes()

    def note(self, move: Move) -> None:
        """Appends one move and waits until it is on the disk."""
        append_lines(self.path(move.file_id, ".moves"), [move.as_dict()])

    def note_withheld(self, line: dict[str, Any]) -> None:
        """Keeps that a person withheld an event: event_id, version, invoice_number, at, by, note."""
        append_lines(self.folder / "withheld.jsonl", [line])

    def withheld(self) -> pl.DataFrame:
        """Events ever withheld, as rows of outbox.applied."""
        lines = read_lines(self.folder / "withheld.jsonl")
        rows = [{**line, "at": datetime.fromisoformat(line["at"]), "outcome": "withheld"} for line in lines]
        return shaped(
            pl.DataFrame(rows, schema={n: k for n, k in APPLIED.items() if n != "file_id"}), APPLIED
        )

    def moves(self, file_id: str) -> list[Move]:
        """The moves of one file in order. A torn line, or one that was noted twice, counts once or not at all."""
        lines = read_lines(self.path(file_id, ".moves"))
        found = {move.n: move for line in lines if (move := _move(line))}
        return [found[n] for n in sorted(found)]

    def sent_files(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, list[Move]]]:
        """(line of outbox.files as composed, records, moves) of every file that was ever begun to be sent."""
        for note in sorted(self.folder.glob("*/*/*.json"), key=lambda path: path.name):
            moves = self.moves(note.stem)
            if moves:
                line = json.loads(note.read_text("utf-8"))
                yield _file_line(line), pl.read_parquet(note.with_suffix(".parquet")), moves


def _move(line: dict[str, Any]) -> Move | None:
    try:
        return Move.from_json(line)
    except (ValueError, KeyError, TypeError):
        return None


def _file_line(line: dict[str, Any]) -> pl.DataFrame:
    times = {name for name, kind in FILES.items() if isinstance(kind, pl.Datetime)}
    typed = {
        name: datetime.fromisoformat(value) if name in times and value else value
        for name, value in line.items()
    }
    amount = pl.DataFrame({"amount": [str(typed.pop("amount"))]}).select(
        pl.col("amount").cast(FILES["amount"])
    )
    rest = pl.DataFrame([typed], schema={name: FILES[name] for name in typed})
    return shaped(pl.concat([rest, amount], how="horizontal"), FILES)
