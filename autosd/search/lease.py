"""The owner of a study in its database: for other machines, and against a driver that comes late.

A database server is reached by machines that share no lock file, and a process that was stopped for
long does not know what happened meanwhile. So the holder of a study's lock has a row in the table
`autosd_owners` of the study's database. Three things follow from it:

- Another machine is refused while the row is valid: for two minutes after its last beat, by the
  clock of the database. Where the lock file reaches (same host, same file) the lock alone decides.
- The row is taken by a conditional update, so that of two only one succeeds.
- Every transaction that writes looks at the row, which it locks until it is committed: once another
  driver has taken the row, nothing of the old one is written any more (rule R18).
"""

import logging
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from autosd.search import store
from autosd.search.address import sqlite_path
from autosd.search.lock import Owner, StudyLock, StudyLocked, run_by, taken_over

logger = logging.getLogger(__name__)

OWNERS = sqlalchemy.Table(
    "autosd_owners",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("study", sqlalchemy.String(64), primary_key=True),
    sqlalchemy.Column("token", sqlalchemy.String(32), nullable=False),
    sqlalchemy.Column("host", sqlalchemy.String(255), nullable=False),
    sqlalchemy.Column("pid", sqlalchemy.Integer, nullable=False),
    sqlalchemy.Column("since", sqlalchemy.Double, nullable=False),
    sqlalchemy.Column("place", sqlalchemy.Text, nullable=False),
    sqlalchemy.Column("valid", sqlalchemy.Double, nullable=False),
    sqlalchemy.Column("beat", sqlalchemy.Double, nullable=False),
)
CLOCKS = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "cast(extract(epoch from clock_timestamp()) as double precision)",
}
MYSQL_CLOCK = "unix_timestamp(now(6))"
BEATS = 4
"""Beats within the time for which a row is valid."""
WRITES = ("INSERT", "UPDATE", "DELETE")
_CHECKED = "autosd: owner checked"


@dataclass(frozen=True)
class Holder:
    """Who has a study's row.

    Attributes:
        owner: the process.
        place: its lock file, as `place` gives it.
        left: seconds until the row is no longer valid, 0 where it is not.
    """

    owner: Owner
    place: str
    left: float


def place(lock: Path, url: str) -> str:
    """Which lock file an owner holds: its path, or its name where the database lies beside it.

    A folder that was moved or copied with its database is then the same place.
    """
    file = sqlite_path(url)
    beside = file is not None and file.parent == lock.parent.resolve()
    return lock.name if beside else str(lock.resolve())


def elsewhere(url: str, study: str, lock: Path) -> Holder | None:
    """The living owner of a study whom the lock file does not reach, from another machine mostly.

    Raises:
        SQLAlchemyError: the database cannot be read.
    """
    found = _holder(store.plain_engine(url), study)
    return None if found is None or _replaceable(found, lock, url) else found


def _replaceable(found: Holder, lock: Path, url: str) -> bool:
    """Whether an owner is gone: its row is not valid, or it would have this lock if it lived."""
    reached = found.owner.host == socket.gethostname() and found.place == place(lock, url)
    return found.left <= 0 or reached


def _holder(engine: Engine, study: str) -> Holder | None:
    with engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table(OWNERS.name):
            return None
        asked = sqlalchemy.select(OWNERS, _clock(engine).label("now"))
        row = connection.execute(asked.where(OWNERS.c.study == study)).mappings().one_or_none()
    if row is None:
        return None
    age = abs(float(row["now"]) - row["beat"])  # a beat of the future: a clock was set back
    owner = Owner(row["host"], row["pid"], row["since"], row["token"])
    return Holder(owner, row["place"], max(0.0, row["valid"] - age))


def _clock(engine: Engine) -> sqlalchemy.ColumnElement[float]:
    """Seconds since 1970 by the database."""
    return sqlalchemy.literal_column(CLOCKS.get(engine.dialect.name, MYSQL_CLOCK))


class Lease:
    """The row of one holding of a study's lock, kept valid by a thread until `release`."""

    def __init__(self, lock: StudyLock, url: str, study: str) -> None:
        """Take the row.

        Raises:
            StudyLocked: a driver that the lock does not reach has it.
        """
        self.lock, self.url, self.study = lock, url, study
        self._engine = store.plain_engine(url)
        self._take()
        self._over = threading.Event()
        threading.Thread(target=self._keep, daemon=True).start()

    def release(self) -> None:
        """Give the row back, if it is still this holding's."""
        self._over.set()
        try:
            with self._engine.begin() as connection:
                connection.execute(OWNERS.delete().where(*self._own))
        except SQLAlchemyError as error:
            logger.debug("study %s: its row was not given back: %s", self.study, error)

    def check(self, connection: Connection) -> None:
        """To be called in a transaction that has begun to write.

        Raises:
            TakenOver: the row or the lock file is another's.
        """
        self.lock.check()
        asked = sqlalchemy.select(OWNERS.c.token).where(OWNERS.c.study == self.study)
        token = connection.execute(asked.with_for_update(read=True)).scalar_one_or_none()
        if token != self.lock.token:
            found = _holder(self._engine, self.study)
            raise taken_over(self.study, None if found is None else found.owner)

    def _take(self) -> None:
        _create_table(self._engine)
        before = _holder(self._engine, self.study)
        if before is not None and not _replaceable(before, self.lock.path, self.url):
            raise _refusal(self.study, before)
        try:
            with self._engine.begin() as connection:
                rows = connection.execute(self._taking(before)).rowcount
        except IntegrityError:
            rows = 0
        if rows == 0:
            raise StudyLocked(f"{self.study}: another process has begun to run it just now")

    def _taking(self, found: Holder | None) -> Any:
        owner = self.lock.owner
        values = {
            "token": owner.token,
            "host": owner.host,
            "pid": owner.pid,
            "since": owner.since,
            "place": place(self.lock.path, self.url),
            "valid": self.lock.valid,
            "beat": _clock(self._engine),
        }
        if found is None:
            return OWNERS.insert().values(study=self.study, **values)
        same = OWNERS.c.study == self.study, OWNERS.c.token == found.owner.token
        return OWNERS.update().where(*same).values(**values)

    @property
    def _own(self) -> tuple[sqlalchemy.ColumnElement[bool], ...]:
        return OWNERS.c.study == self.study, OWNERS.c.token == self.lock.token

    def _keep(self) -> None:
        """Beat until the end, or until the row is another's: the next write will say so."""
        beat = OWNERS.update().where(*self._own).values(beat=_clock(self._engine))
        while not self._over.wait(self.lock.valid / BEATS):
            try:
                with self._engine.begin() as connection:
                    if not connection.execute(beat).rowcount:
                        return
            except SQLAlchemyError as error:
                logger.debug("study %s: no sign of life could be left: %s", self.study, error)


def own(lock: StudyLock, url: str, study: str) -> Lease:
    """The row of this holding of a lock; the first call takes it.

    Raises:
        StudyLocked: a driver that the lock does not reach has the study.
    """
    if lock.lease is None:
        with store.readable(url):
            lock.lease = Lease(lock, url, study)
    return lock.lease


def owner_elsewhere(url: str, study: str, lock: Path) -> Owner | None:
    """The living owner of a study whom the lock file does not reach; None where none is known."""
    try:
        found = elsewhere(url, study, lock)
    except SQLAlchemyError:  # said in full where the storage is opened
        return None
    return None if found is None else found.owner


def refuse_elsewhere(url: str, study: str, lock: Path) -> None:
    """Refuse what another machine runs, before anything heavy is imported; writes nothing.

    Raises:
        AutosdError: the database cannot be asked.
        StudyLocked: names host, process and start.
    """
    with store.readable(url):
        found = elsewhere(url, study, lock)
    if found is not None:
        raise _refusal(study, found)


def _refusal(study: str, found: Holder) -> StudyLocked:
    folder = Path(found.place).parent if Path(found.place).is_absolute() else study
    said = run_by(study, found.owner, f"on {found.owner.host} with autosd stop {folder}")
    return StudyLocked(f"{said}; if it was killed, the study is free in {found.left:.0f} s")


def fence(storage: RDBStorage, lease: Lease) -> None:
    """Let a storage write only while the study is this holding's.

    The owner is looked at once in every transaction, after its first write, which holds the locks.
    """

    def begun(connection: Connection) -> None:
        connection.info[_CHECKED] = False

    def executed(connection: Connection, cursor: object, statement: str, *more: object) -> None:
        if not connection.info.get(_CHECKED) and statement.lstrip()[:6].upper() in WRITES:
            connection.info[_CHECKED] = True
            lease.check(connection)

    event.listen(storage.engine, "begin", begun)
    event.listen(storage.engine, "after_cursor_execute", executed)


def _create_table(engine: Engine) -> None:
    try:
        OWNERS.create(engine, checkfirst=True)
    except SQLAlchemyError:
        with engine.connect() as connection:
            if not sqlalchemy.inspect(connection).has_table(OWNERS.name):  # else: another was first
                raise
