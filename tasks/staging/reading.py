"""Opens snapshot files for reading, one or two side by side. Nothing is ever written to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from tasks.errors import SettingsError


@contextmanager
def reading(path: Path, **more: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in which `path` is the current database, and `more` are attached under their names.

    Raises SettingsError if one is no snapshot that this DuckDB reads.
    """
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
    try:
        connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
        for name, file in {"snapshot": path, **more}.items():
            _attach(connection, name, file)
        connection.execute("USE snapshot")
        yield connection
    finally:
        connection.close()


def _attach(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    if not path.is_file():
        raise SettingsError(f"there is no file {path}")
    quoted = str(path).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{quoted}' AS {name} (READ_ONLY)")
        connection.execute(f"SELECT biller FROM {name}.snapshot_info").fetchall()
    except duckdb.Error as error:
        raise SettingsError(f"{path} is no snapshot that can be read ({type(error).__name__})") from None
