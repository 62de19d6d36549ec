"""The work of finance and the history of breaks in the archive: written before staging counts them.

    <archive>/<biller>/work/words.jsonl      one line per word of a person (recon.work_events)
    <archive>/<biller>/work/periods.jsonl    one line per closed period (recon.periods)
    <archive>/<biller>/breaks/<YYYY>/<MM>/<as_of>-breaks-<tick>-<run>.parquet
                                             one row: a run's line, its events, the program's words, its figures,
                                             the breaks it touched as they stand after it

Each is on the disk before its transaction is committed. A kill in between leaves a word or period that is applied
later (tasks/work/catching_up.py), or a run that another run with the same predecessor puts aside.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from tasks.archive import Archive, new_poll_id
from tasks.archive_lines import append_lines, read_lines
from tasks.errors import BadAnswer
from tasks.pull import archive_of
from tasks.reconcile.model import Schema
from tasks.settings import Settings
from tasks.staging.kept import RUN_RECORD
from tasks.work.model import PERIODS, WORK_EVENTS

Row = Mapping[str, Any]
FOLDER = "breaks"
# A file of an earlier or a later release may have other columns: what is missing is null, what is unknown stays there.
_CAST = pl.ScanCastOptions(missing_struct_fields="insert", extra_struct_fields="ignore")


class Kept:
    """One biller's words, periods and runs in its archive."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._words = archive.folder / "work" / "words.jsonl"
        self._periods = archive.folder / "work" / "periods.jsonl"

    def note_words(self, words: Iterable[Row]) -> None:
        """Keeps words of people (WORK_EVENTS)."""
        _note(self._words, words)

    def note_periods(self, periods: Iterable[Row]) -> None:
        """Keeps lines of closed periods (PERIODS)."""
        _note(self._periods, periods)

    def words(self) -> pl.DataFrame:
        """All words of people (WORK_EVENTS), each once, in order."""
        return _frame(self._words, WORK_EVENTS).unique(maintain_order=True).sort("sequence")

    def periods(self) -> pl.DataFrame:
        """All closed periods (PERIODS), each once, in the order in which they were closed."""
        return _frame(self._periods, PERIODS).unique(maintain_order=True)

    def keep_run(self, record: pl.DataFrame) -> None:
        """Keeps one run (one row of RUN_RECORD). Raises StorageTrouble."""
        run = record["run"].item()
        _, _, end = str(run["run_id"]).rpartition("-")
        out = io.BytesIO()
        record.write_parquet(out, statistics=False)
        self.archive.keep(f"{new_poll_id(FOLDER, run['as_of'])}-{end}", ".parquet", out.getvalue())

    def run_ids(self) -> set[str]:
        """Ids of all runs that were ever kept, told by the names of their files."""
        return {f"{name[0]}-{name[3]}" for path in self._files() if len(name := path.stem.split("-")) == 4}

    def runs(self) -> pl.DataFrame:
        """The runs that count, in order (RUN_RECORD). Raises BadAnswer if a file cannot be read.

        A run was never committed if a later file names the same predecessor and no file names it as predecessor.
        """
        files = self._files()
        if not files:
            return pl.DataFrame(schema=dict(RUN_RECORD))
        found = _read(files).with_columns(
            tick=pl.col("file").str.split("-").list.get(-2), run_id=pl.col("run").struct.field("run_id"),
            as_of=pl.col("run").struct.field("as_of"),
        )  # fmt: skip
        found = found.sort("as_of", "tick").unique("run_id", keep="last", maintain_order=True)
        followed = pl.col("run_id").is_in(found["previous"].drop_nulls().implode())
        newest = pl.col("tick") == pl.col("tick").max().over("previous")
        return found.filter(followed | newest).select(list(RUN_RECORD))

    def _files(self) -> list[Path]:
        return sorted((self.archive.folder / FOLDER).glob("*/*/*.parquet"))


def kept_of(settings: Settings, biller: str) -> Kept:
    """The biller's words, periods and runs in the archive."""
    return Kept(archive_of(settings, biller))


def _read(files: list[Path]) -> pl.DataFrame:
    """RUN_RECORD and `file`."""
    try:
        return pl.scan_parquet(
            files, glob=False, schema=dict(RUN_RECORD), missing_columns="insert", extra_columns="ignore",
            cast_options=_CAST, include_file_paths="file",
        ).collect()  # fmt: skip
    except (pl.exceptions.PolarsError, OSError):
        wrong = next((path for path in files if not _is_whole(path)), files[0])
        raise BadAnswer(f"{wrong} cannot be read any more", reason="archive_changed") from None


def _is_whole(path: Path) -> bool:
    try:
        pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError):
        return False
    return True


def _note(path: Path, rows: Iterable[Row]) -> None:
    lines = list(rows)
    if lines:
        append_lines(path, lines)


def _frame(path: Path, schema: Schema) -> pl.DataFrame:
    rows = (_typed(line, schema) for line in read_lines(path))
    return pl.DataFrame([row for row in rows if row], schema=dict(schema))


def _typed(line: Row, schema: Schema) -> dict[str, Any] | None:
    """A line with the types of `schema`; None if it is none of ours."""
    try:
        return {name: _value(line.get(name), kind) for name, kind in schema.items()}
    except (ValueError, ArithmeticError, TypeError):
        return None


def _value(value: Any, kind: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, pl.Datetime):
        return datetime.fromisoformat(value)
    if isinstance(kind, pl.Decimal):
        return Decimal(value)
    return date.fromisoformat(value) if kind == pl.Date else value
