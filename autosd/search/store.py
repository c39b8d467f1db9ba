"""The storage of a study, and the lock that gives it one writer.

Only the process that holds the lock writes (rule R1). SQLite runs in WAL mode; a server is named
by its URL. A password appears in no message, attribute or file: it stands in the URL of a command,
or in the environment variable `AUTOSD_STORAGE_PASSWORD`, which every later command needs too.
"""

import contextlib
import fcntl
import importlib
import json
import os
import secrets
import socket
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import optuna
import sqlalchemy
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from autosd.errors import AutosdError

DRIVERS = {
    "postgresql": ("postgresql+psycopg", "psycopg", "psycopg[binary]"),
    "mysql": ("mysql+pymysql", "pymysql", "pymysql"),
    "mariadb": ("mariadb+pymysql", "pymysql", "pymysql"),
}
DATABASE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
SECRETS = ("password", "passwd", "sslpassword")
PASSWORD_VARIABLE = "AUTOSD_STORAGE_PASSWORD"


optuna.logging.set_verbosity(optuna.logging.WARNING)  # its news are for its own users


class StudyLocked(AutosdError):
    """Another process runs this study."""


class LockUnusable(AutosdError):
    """A lock file that cannot be written, as on a read-only disk."""


class StorageBroken(AutosdError):
    """A database that cannot be read; the message names it and the way out."""


def storage_url(folder: Path, url: str | None = None) -> str:
    """The URL of a study's storage with an absolute path.

    Args:
        folder: the study folder; its `study.db` is the default, and a relative SQLite path
            starts here.
        url: `sqlite:///PATH`, `postgresql://...` or `mysql://...`, or None.

    Raises:
        AutosdError: no such kind of storage.
    """
    if url is None:
        return f"sqlite:///{folder.resolve() / 'study.db'}"
    kind = url.split("://")[0].split("+")[0]
    if kind == "sqlite":
        path = url.partition(":///")[2]
        if not path or path.startswith((":memory:", "file:")):
            raise AutosdError("storage: sqlite needs a file, such as sqlite:///study.db")
        return f"sqlite:///{(folder.resolve() / path).resolve()}"
    if kind not in DRIVERS:
        known = ", ".join(f"{name}://" for name in ("sqlite", *DRIVERS))
        raise AutosdError(f"storage: {shown(url):.60} is none of {known}")
    return _server(url).render_as_string(hide_password=False)


def shown(url: str) -> str:
    """A URL as it may be shown: without its password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return url.partition("://")[0] + "://..."
    hidden = {name: "***" for name in parsed.query if name in SECRETS}
    return parsed.update_query_dict(hidden).render_as_string(hide_password=True)


def shown_word(word: str) -> str:
    """A word of a command line as it may be shown: a URL in it without its password."""
    if "://" not in word:
        return word
    option, equals, url = word.partition("=") if word.startswith("-") else ("", "", word)
    return option + equals + shown(url)


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


@contextlib.contextmanager
def readable(url: str) -> Iterator[None]:
    """Turn what a broken database raises inside the block into one clear message."""
    try:
        yield
    except (*DATABASE_ERRORS, ValueError) as error:
        path = sqlite_path(url)
        if path is None:
            raise AutosdError(f"storage {shown(url)}: {_reason(error)}") from None
        raise broken(path, error) from None


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


def without_password(url: str) -> str:
    """A URL as it may be written to a file; the driver then looks for a password by itself."""
    bare = make_url(url)._replace(password=None).difference_update_query(SECRETS)
    return bare.render_as_string(hide_password=False)


def broken(path: Path, error: Exception) -> AutosdError:
    """What to say of a database file that gave this error."""
    reason = _reason(error)
    if "unable to open" in reason or "readonly" in reason or "locked" in reason:
        return AutosdError(f"{path}: cannot be opened ({reason}); check the folder's permissions")
    return StorageBroken(
        f"{path}: not readable as the database of a study ({reason}); put back a copy of it, or "
        "move the study folder away and start the study anew"
    )


def _reason(error: BaseException) -> str:
    """The database's own words in one line."""
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    return (str(getattr(cause, "orig", cause)).splitlines() or [type(cause).__name__])[0]


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL, None for a server."""
    return Path(url.partition(":///")[2]) if url.startswith("sqlite:") else None


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

    def connect() -> sqlite3.Connection:
        connection = _connect(path, "rwc")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    storage = _sqlite(connect)
    with storage.engine.connect() as connection:
        connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
    return storage


def _read_sqlite(path: Path) -> optuna.storages.RDBStorage:
    """Connections that cannot write; `immutable` where not even the folder can be written.

    Where the file may be written the connection is none of SQLite's `ro`: the last one of those to
    close would leave the files of the write-ahead log behind.
    """
    file, folder = (os.access(place, os.W_OK) for place in (path, path.parent))
    mode = ("rw" if file else "ro") if folder else "ro&immutable=1"

    def connect() -> sqlite3.Connection:
        connection = _connect(path, mode)
        connection.execute("PRAGMA query_only=ON")
        return connection

    return _sqlite(connect, skip_table_creation=True)


def _sqlite(
    connect: Callable[[], sqlite3.Connection], *, skip_table_creation: bool = False
) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(
        "sqlite:///study.db",
        engine_kwargs={"creator": connect},
        skip_table_creation=skip_table_creation,
    )


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection by a quoted path, which may hold any character."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=60, check_same_thread=False
    )


def _server(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise AutosdError(f"storage: {shown(url)} is not a URL that can be read") from None
    name, _, driver = parsed.drivername.partition("+")
    if parsed.password is None and os.environ.get(PASSWORD_VARIABLE):
        parsed = parsed.set(password=os.environ[PASSWORD_VARIABLE])
    return parsed if driver else parsed.set(drivername=DRIVERS[name][0])


def _open_server(url: str) -> optuna.storages.RDBStorage:
    parsed = _server(url)
    _need_driver(parsed)
    engine = {"pool_pre_ping": True, "pool_recycle": 600}
    try:
        return optuna.storages.RDBStorage(
            parsed.render_as_string(hide_password=False), engine_kwargs=engine
        )
    except (*DATABASE_ERRORS, ImportError) as error:
        reason = _reason(error)
        for secret in (parsed.password, *(parsed.query.get(name) for name in SECRETS)):
            reason = reason.replace(str(secret), "***") if secret else reason
        if parsed.password is None:
            reason += f"; a password is taken from {PASSWORD_VARIABLE}"
        raise AutosdError(f"storage {shown(url)}: {reason}") from None


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


@dataclass(frozen=True)
class Owner:
    """Who holds a lock: host, process, start as seconds since 1970, and a token of this holding."""

    host: str
    pid: int
    since: float
    token: str

    def __str__(self) -> str:
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} since {started}"


class StudyLock:
    """The right to write to a study, from `with` to its end.

    The kernel drops the lock however its owner dies, so a stale one cannot exist. Workers look for
    `token` in the file before they write: an orphan of a killed driver stops there.
    """

    def __init__(self, path: Path, wait: float = 1.0) -> None:
        """A lock on the file `path`; `wait` seconds of patience for a reader that sweeps."""
        self.path, self.wait = path, wait
        self.owner = Owner(socket.gethostname(), os.getpid(), time.time(), secrets.token_hex(16))
        self._file: IO[str] | None = None

    @property
    def token(self) -> str:
        """The token of this holding."""
        return self.owner.token

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            StudyLocked: another process has it; the message names it.
            LockUnusable: its file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._opened()
        except OSError as error:
            raise LockUnusable(f"{self.path}: cannot be written ({error.strerror})") from None
        return self

    def _opened(self) -> IO[str]:
        """The file, locked and with this owner in it."""
        file = self.path.open("a+", encoding="utf-8")
        try:
            self._take(file)
            os.set_inheritable(file.fileno(), False)
            _rewrite(file, json.dumps(asdict(self.owner)))
        except BaseException:
            file.close()
            raise
        return file

    def _take(self, file: IO[str]) -> None:
        until = time.monotonic() + self.wait
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    owner = read_owner(self.path) or "another process"
                    raise StudyLocked(run_by(self.path.parent.name, owner)) from None
                time.sleep(0.05)
            except OSError as error:
                raise AutosdError(f"{self.path}: cannot be locked ({error.strerror})") from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            _rewrite(self._file, "")
            self._file.close()
            self._file = None


def run_by(name: str, owner: object) -> str:
    """What the second driver of a study is told."""
    return f"{name}: is being run by {owner}; wait for it, or end it with autosd stop {name}"


def _rewrite(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def read_owner(path: Path) -> Owner | None:
    """Who holds the lock, or held it last if it was killed; None after a clean end."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def lock_if_free(path: Path) -> Iterator[StudyLock | None]:
    """Hold the lock if nobody else does: how a reader may sweep (rule R21)."""
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(StudyLock(path, wait=0.0))
        except StudyLocked:
            lock = None
        yield lock
