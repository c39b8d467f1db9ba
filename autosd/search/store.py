"""The storage of a study. SQLite runs in WAL mode; a server is named by its URL."""

import contextlib
import importlib
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from autosd.errors import HELD, KEPT, AutosdError, EngineLost, NotAllowed
from autosd.search.address import DRIVERS, PASSWORD_VARIABLE, SECRETS, server, shown, sqlite_path
from autosd.search.lock import VALID_SECONDS
from autosd.search.sqlitefile import connect, reader

DISK_WORDS = ("database or disk is full", "disk I/O error")
REFUSED_WORDS = ("password", "authentication", "access denied")
DATABASE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)

optuna.logging.set_verbosity(optuna.logging.WARNING)  # its news are for its own users


class StorageBroken(AutosdError):
    """A database that cannot be read; the message names it and the way out."""


def open_storage(url: str, *, read_only: bool = False) -> optuna.storages.RDBStorage:
    """Open a storage for writing, or an existing one for reading.

    Args:
        url: from `storage_url`.
        read_only: nothing is created or changed; a missing SQLite file is an error.

    Raises:
        AutosdError: no file, no driver, no server.
        StorageBroken: a file that is no database of a study.
    """
    path = sqlite_path(url)
    if path is None:
        return _open_server(url)
    if read_only and not path.is_file():
        raise AutosdError(f"{path}: no such database")
    try:
        return _read_sqlite(path) if read_only else _write_sqlite(path)
    except (*DATABASE_ERRORS, RuntimeError, AssertionError) as error:
        raise broken(path, error) from None


def plain_engine(url: str) -> sqlalchemy.Engine:
    """Connections to an existing database beside Optuna's, none of which stays open.

    Raises:
        AutosdError: no driver.
    """
    path = sqlite_path(url)
    if path is None:
        parsed = server(url)
        _need_driver(parsed)
        events = [(_end_halted, "connect")]
        return sqlalchemy.create_engine(parsed, poolclass=sqlalchemy.NullPool, pool_events=events)
    return sqlalchemy.create_engine(
        "sqlite://", creator=lambda: connect(path, "rw"), poolclass=sqlalchemy.NullPool
    )


@contextlib.contextmanager
def readable(url: str) -> Iterator[None]:
    """Turn what a broken database raises inside the block into one clear message."""
    try:
        yield
    except (*DATABASE_ERRORS, ValueError) as error:
        path = sqlite_path(url)
        raise (_unreached(url, error) if path is None else broken(path, error)) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what Optuna says about experimental features inside the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def storage_of(study: optuna.Study) -> optuna.storages.RDBStorage:
    """The database behind a study, without Optuna's cache around it."""
    storage = study._storage
    backend = getattr(storage, "_backend", storage)
    if not isinstance(backend, optuna.storages.RDBStorage):
        raise TypeError(f"a study in a database is needed, not in {type(backend).__name__}")
    return backend


def broken(path: Path, error: Exception) -> AutosdError:
    """What to say of a database file that gave this error."""
    reason = _reason(error)
    files = (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm")))
    may = os.access(path.parent, os.W_OK) and all(map(_writable, files))
    denied = "unable to open" in reason or "readonly" in reason  # also what a full disk comes to
    if any(word in reason for word in DISK_WORDS) or (denied and may):
        return EngineLost(f"{path}: cannot be written ({reason}); {KEPT}")
    if "locked" in reason:
        return EngineLost(f"{path}: {reason}; {HELD}")
    if denied:
        return NotAllowed(
            f"{path}: cannot be opened ({reason}); check the permissions of its folder and of "
            f"{', '.join(file.name for file in files)}, and that they are files"
        )
    return StorageBroken(
        f"{path}: not readable as the database of a study ({reason}); put back a copy of it, or "
        "move the study folder away and start the study anew"
    )


def _writable(path: Path) -> bool:
    """Whether SQLite may write a file: it is one, or may be made."""
    return not os.path.lexists(path) or (path.is_file() and os.access(path, os.W_OK))


def _reason(error: BaseException) -> str:
    """The database's own words in one line."""
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    return (str(getattr(cause, "orig", cause)).splitlines() or [type(cause).__name__])[0]


def close(storage: optuna.storages.RDBStorage) -> None:
    """Fold the write-ahead log into the database, so that a copied folder is whole, and close."""
    if storage.engine.dialect.name == "sqlite":
        with contextlib.suppress(SQLAlchemyError), storage.engine.connect() as connection:
            if not connection.execute(sqlalchemy.text("PRAGMA query_only")).scalar():
                connection.execute(sqlalchemy.text("PRAGMA wal_checkpoint(TRUNCATE)"))
    storage.scoped_session.remove()
    storage.engine.dispose()


def _write_sqlite(path: Path) -> optuna.storages.RDBStorage:
    path.parent.mkdir(parents=True, exist_ok=True)

    def writer() -> sqlite3.Connection:
        connection = connect(path, "rwc")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    storage = _sqlite(writer)
    with storage.engine.connect() as connection:
        connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
    return storage


def _read_sqlite(path: Path) -> optuna.storages.RDBStorage:
    return _sqlite(lambda: reader(path), skip_table_creation=True)


def _sqlite(
    connection: Callable[[], sqlite3.Connection], *, skip_table_creation: bool = False
) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(
        "sqlite:///study.db",
        engine_kwargs={"creator": connection},
        skip_table_creation=skip_table_creation,
    )


def _open_server(url: str) -> optuna.storages.RDBStorage:
    parsed = server(url)
    _need_driver(parsed)
    engine = {"pool_pre_ping": True, "pool_recycle": 600, "pool_events": [(_end_halted, "connect")]}
    try:
        return optuna.storages.RDBStorage(
            parsed.render_as_string(hide_password=False), engine_kwargs=engine
        )
    except (*DATABASE_ERRORS, ImportError) as error:
        raise _unreached(url, error) from None


def _unreached(url: str, error: Exception) -> AutosdError:
    """What to say of a server that gave this error."""
    parsed, reason = server(url), _reason(error)
    for secret in (parsed.password, *(parsed.query.get(name) for name in SECRETS)):
        reason = reason.replace(str(secret), "***") if secret else reason
    if parsed.password is None and any(word in reason.lower() for word in REFUSED_WORDS):
        reason += f"; a password is taken from {PASSWORD_VARIABLE}"
    return AutosdError(f"storage {shown(url)}: {reason}")


def _end_halted(connection: Any, record: object) -> None:
    """Let the server end a session that was halted: the rows it has locked are then free.

    Such a session is one of a driver that was stopped in the middle of a transaction.
    """
    postgresql = type(connection).__module__.startswith("psycopg")
    seconds = round(VALID_SECONDS)
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(
            f"SET idle_in_transaction_session_timeout = '{seconds}s'"
            if postgresql
            else f"SET SESSION wait_timeout = {seconds}"
        )
    connection.commit()


def _need_driver(url: URL) -> None:
    name, _, driver = url.drivername.partition("+")
    _, module, package = DRIVERS[name]
    try:
        importlib.import_module(driver)
    except ImportError:
        package = package if driver == module else driver
        raise AutosdError(
            f"storage {name}: the driver {driver} is not installed; pip install '{package}'"
        ) from None
