"""Opens the service's own store and gives transactions on it: SQLite beside the service, or PostgreSQL by a URL.

SQLite runs in WAL mode with full synchronisation: a commit that returned is on the disk. On PostgreSQL the
session insists on synchronous commits. The driver's errors become ours here; no SQL and no value goes into them.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from tasks.archive import translated_os_errors
from tasks.errors import IcflowsError, SettingsError, StagingDamaged, StorageTrouble
from tasks.inbound.tables import metadata
from tasks.settings import Settings, secret

BUSY_SECONDS = 5.0
_LOGGER = "icflows"
_LOCK = 74_212_050_001  # PostgreSQL's advisory locks share one number space with whatever else runs there
_LOCKS = {"schema": 0, "pushes": 1}
# https://www.sqlite.org/rescode.html and https://www.postgresql.org/docs/15/errcodes-appendix.html
_DAMAGED_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WORDS = {
    sqlite3.SQLITE_FULL: ("is full", "disk_full"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "disk_full"),
    sqlite3.SQLITE_BUSY: ("is in use by another process", "busy"),
    sqlite3.SQLITE_LOCKED: ("is in use by another process", "busy"),
    sqlite3.SQLITE_READONLY: ("may not be written", "disk_full"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "disk_full"),
    "53100": ("is full", "disk_full"),
    "40P01": ("is in use by another process", "deadlock"),
    "40001": ("is in use by another process", "deadlock"),
    "55P03": ("is in use by another process", "busy"),
}


class Store:
    """An open store. Threads may share it; a connection belongs to one thread at a time."""

    def __init__(self, engine: Engine, name: str) -> None:
        logging.getLogger(f"sqlalchemy.engine.Engine.{_LOGGER}").addFilter(_no_rows)
        self.engine = engine
        self.name = name

    @property
    def is_sqlite(self) -> bool:
        """False: PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in a read transaction: one state of the store. Raises StorageTrouble, StagingDamaged."""
        with self.translated(), self.engine.connect() as connection:
            try:
                yield connection
            finally:
                with suppress(SQLAlchemyError):
                    connection.rollback()

    @contextmanager
    def writing(self, lock: str | None = None) -> Iterator[Connection]:
        """A write transaction: committed, and on the disk, when the block ends well; undone when it does not.

        SQLite has one writer at a time, waited for up to five seconds. On PostgreSQL `lock` names work that must
        not run twice at once. Raises StorageTrouble (full, broken, in use), StagingDamaged.
        """
        with self.translated(), self.engine.connect().execution_options(icflows_writes=True) as connection:
            try:
                with connection.begin():
                    if lock and not self.is_sqlite:
                        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK + _LOCKS[lock]})")
                    yield connection
            except BaseException:
                with suppress(SQLAlchemyError):
                    connection.invalidate()  # what a full disk left of it is used by nobody
                raise

    @contextmanager
    def translated(self) -> Iterator[None]:
        """The driver's errors as ours."""
        try:
            yield
        except (SQLAlchemyError, self.engine.dialect.loaded_dbapi.Error) as error:
            raise _ours(self.name, error) from None

    def close(self) -> None:
        """Gives its connections back."""
        self.engine.dispose()


def _no_rows(record: logging.LogRecord) -> bool:
    """At DEBUG SQLAlchemy logs every row that it reads, and rows hold personal data."""
    return record.levelno >= logging.WARNING


def _ours(name: str, error: Exception) -> IcflowsError:
    """A full, broken or busy store may work again; a damaged file needs a person."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    code = code & 0xFF if code is not None else getattr(cause, "sqlstate", None)
    if code in _DAMAGED_CODES or str(code).startswith("XX"):
        return StagingDamaged(
            f"{name} is damaged; put it aside (its pushes may be saved from it) and start with a new one"
        )
    words, reason = _WORDS.get(code, ("does not answer as it should", "store"))  # type: ignore[call-overload]
    return StorageTrouble(f"{name} {words} ({type(cause).__name__}, code {code or 'none'})", reason=reason)


def open_store(settings: Settings) -> Store:
    """The store of [service], its tables made where they are missing. Close it.

    Raises SettingsError (the database's URL), StorageTrouble, StagingDamaged.
    """
    if settings.service.database:
        return _prepared(_postgresql(settings.service.database), f"the store {settings.service.database}")
    folder = settings.folder("service")
    with translated_os_errors("service's folder"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # personal data
    file = folder / "service.db"
    try:
        with (
            translated_os_errors("service's folder"),
            FileLock(folder / "service.lock", timeout=BUSY_SECONDS),
        ):
            return _prepared(_sqlite(file), str(file))
    except Timeout:
        raise StorageTrouble(f"{file} is being opened by another process", reason="busy") from None


def _prepared(engine: Engine, name: str) -> Store:
    store = Store(engine, name)
    try:
        with store.translated():
            if store.is_sqlite:
                _use_wal(engine)
            with store.writing("schema") as connection:
                metadata.create_all(connection)
    except BaseException:
        store.close()
        raise
    return store


def _use_wal(engine: Engine) -> None:
    """The journal's mode stays with the file; it can only be changed outside of a transaction."""
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        raw.close()


def _sqlite(file: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)), hide_parameters=True, logging_name=_LOGGER,
        pool_timeout=BUSY_SECONDS, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
    )  # fmt: skip

    @event.listens_for(engine, "connect")
    def _durable(raw: Any, _: Any) -> None:
        raw.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("icflows_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(reference: str) -> Engine:
    """The driver's own time-outs: a database that hangs must not hang the service."""
    try:
        url = make_url(secret(reference).get_secret_value())
    except ArgumentError:
        raise SettingsError(f"[service] database: {reference} holds no database URL") from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise SettingsError(f"[service] database: {reference} is no postgresql:// URL")
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"), hide_parameters=True, logging_name=_LOGGER, pool_pre_ping=True,
        pool_timeout=BUSY_SECONDS, max_overflow=30,
        connect_args={"connect_timeout": round(BUSY_SECONDS), "tcp_user_timeout": round(BUSY_SECONDS * 1000)},
    )  # fmt: skip

    @event.listens_for(engine, "connect")
    def _durable(raw: Any, _: Any) -> None:
        with raw.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{round(BUSY_SECONDS)}s'")
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
            )
        raw.commit()

    return engine
