"""One DuckDB file per biller, one writer at a time, and a journal that remembers what was acknowledged.

DuckDB drops a torn WAL tail without a word, so each load is checkpointed and then written to
<biller>.journal.jsonl, outside of DuckDB. When the file is opened, the two are compared: a load that
was acknowledged but is not in the file is damage (cure: `icflows replay`); a load that is in the file
but was not acknowledged (killed in between) is acknowledged now. poll.runs decides, never a guess.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from tasks.archive import translated_os_errors
from tasks.errors import StagingBusy, StagingDamaged, StorageTrouble
from tasks.staging.schema import create_tables

STORAGE_VERSION = "v1.4.0"  # read by DuckDB 1.4 and up
ROW_GROUP_SIZE = 30_720  # a poll of 50,000 rows is compressed on two cores; 122,880 would use one
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": "false",  # an unknown table name must not read a Python variable
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


class Staging:
    """The staging file of one biller below `root`."""

    def __init__(self, root: Path, biller: str, lock_timeout: float = 60.0) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)  # personal data
        self.biller = biller
        self.root = root
        self.path = root / f"{biller}.duckdb"
        self.journal = root / f"{biller}.journal.jsonl"
        self._holder = root / f"{biller}.holder"
        self._timeout = lock_timeout
        self._lock = FileLock(root / f"{biller}.lock")

    @contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection under the lock, tables there. Raises StagingBusy, StagingDamaged."""
        with self._locked():
            connection = self._connect()
            try:
                self._prepare(connection)
                yield connection
            finally:
                connection.close()

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        try:
            connection.execute("USE staging")
            create_tables(connection)
            self._compare(connection)
        except duckdb.Error as error:
            raise (_full(self.biller, error) or self._damaged(error)) from None

    def _damaged(self, error: duckdb.Error) -> StagingDamaged:
        return StagingDamaged(
            f"{self.path} cannot be opened ({type(error).__name__}); rebuild it: icflows replay --biller {self.biller}"
        )

    @contextmanager
    def transaction(self, load_id: str | Callable[[], str]) -> Iterator[duckdb.DuckDBPyConnection]:
        """One load: begin, the caller's work, commit, checkpoint, acknowledge in the journal. A load whose id comes of
        the work itself passes a function that is asked after it."""
        with self.open() as connection, self.load(connection, load_id):
            yield connection

    @contextmanager
    def load(self, connection: duckdb.DuckDBPyConnection, load_id: str | Callable[[], str]) -> Iterator[None]:
        """`transaction` on a connection that is open already."""
        with self._translated():
            connection.begin()
            try:
                yield
            except BaseException:
                with suppress(duckdb.Error):  # a full disk invalidates the connection
                    connection.rollback()
                raise
            connection.commit()
            connection.execute("CHECKPOINT")
        self._acknowledge([load_id if isinstance(load_id, str) else load_id()])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """A full disk is StorageTrouble: nothing of the load is in the file, and it works when there is space."""
        try:
            yield
        except (duckdb.IOException, duckdb.FatalException) as error:
            words = f"staging of {self.biller} cannot be written ({type(error).__name__})"
            raise (_full(self.biller, error) or StorageTrouble(words)) from None

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Holds the lock without opening the file (a replay puts another file in its place)."""
        with self._locked():
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._lock.acquire(timeout=self._timeout)
        except Timeout:
            raise StagingBusy(
                f"staging of {self.biller} is in use by {self._holder_words()}; waited {self._timeout:g} s"
            ) from None
        try:
            self._holder.write_text(f"process {os.getpid()} ({Path(sys.argv[0]).name})")
            yield
        finally:
            self._lock.release()

    def _holder_words(self) -> str:
        try:
            return self._holder.read_text()
        except OSError:
            return "another process"

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(":memory:", config=_CONFIG)
        quoted, spill = (str(path).replace("'", "''") for path in (self.path, self.root / ".spill"))
        connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = '{spill}'")  # rows may spill: not into the working folder
        try:
            connection.execute(
                f"ATTACH '{quoted}' AS staging (STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {ROW_GROUP_SIZE})"
            )
        except duckdb.Error as error:
            connection.close()
            if "Could not set lock" in str(error) or "Conflicting lock" in str(error):
                raise StagingBusy(
                    f"{self.path.name} is open in another program: {_pid(str(error))}"
                ) from None
            raise self._damaged(error) from None
        return connection

    def _compare(self, connection: duckdb.DuckDBPyConnection) -> None:
        acknowledged = self._acknowledged()
        held = {row[0] for row in connection.execute("SELECT load_id FROM poll.loads").fetchall()}
        lost = [load_id for load_id in acknowledged if load_id not in held]
        if lost:
            raise StagingDamaged(
                f"{len(lost)} acknowledged loads are missing from {self.path.name} (first: {lost[0]}); "
                f"rebuild it from the archive: icflows replay --biller {self.biller}"
            )
        known = set(acknowledged)
        self._acknowledge(sorted(held - known))

    def _acknowledged(self) -> list[str]:
        if not self.journal.exists():
            return []
        lines = self.journal.read_text("utf-8", errors="replace").splitlines()
        return [found for line in lines if (found := _load_id(line))]

    def _acknowledge(self, load_ids: list[str]) -> None:
        if not load_ids:
            return
        with translated_os_errors("journal"), self.journal.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")  # a torn last line must not swallow the next one
            file.writelines(json.dumps({"load_id": load_id}).encode() + b"\n" for load_id in load_ids)
            file.flush()
            os.fsync(file.fileno())


def _full(biller: str, error: duckdb.Error) -> StorageTrouble | None:
    """A full disk by the system's words; None if it is something else."""
    if "No space left" not in str(error) and "File too large" not in str(error):
        return None
    return StorageTrouble(f"staging of {biller} cannot be written: no space left")


def _load_id(line: str) -> str | None:
    """The load of one journal line; None for a torn line: that load was never acknowledged."""
    try:
        return str(json.loads(line)["load_id"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return None


def _pid(message: str) -> str:
    start = message.find("(PID")
    return message[start : message.find(")", start) + 1] if start >= 0 else "unknown process"
