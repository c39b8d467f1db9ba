"""The lock of a study, which gives it one writer (rule R1).

The file reaches the processes of this machine, and of others where a shared folder passes locks
on. What reaches further, and what keeps a driver from the record that was stopped and comes back
late, is the owner's row in the database: `autosd.search.lease`.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from autosd import stored
from autosd.errors import AutosdError

if TYPE_CHECKING:
    from autosd.search.lease import Lease

VALID_SECONDS = 120.0
"""How long an owner's word in the database holds after its last beat."""
_held: dict[Path, "StudyLock"] = {}


class StudyLocked(AutosdError):
    """Another process runs this study."""


class TakenOver(StudyLocked):
    """This process had the study and has lost it to another one: it writes nothing more."""


class LockUnusable(AutosdError):
    """A lock file that cannot be written, as on a read-only disk."""


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

    def __init__(
        self,
        path: Path,
        wait: float = 1.0,
        valid: float = VALID_SECONDS,
        taken: Callable[["StudyLock"], object] = lambda lock: None,
    ) -> None:
        """Nothing is taken yet.

        Args:
            path: the file.
            wait: seconds of patience for a reader that sweeps.
            valid: seconds for which a sign of life in the database holds.
            taken: called once the file is locked; what it raises gives the lock back.
        """
        self.path, self.wait, self.valid, self.taken = path, wait, valid, taken
        self.lease: Lease | None = None
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
            raise LockUnusable(
                f"{self.path}: cannot be written ({error.strerror}); remove it, or check the "
                "permissions of its folder"
            ) from error
        self._key = self.path.resolve()
        _held[self._key] = self
        try:
            self.taken(self)
        except BaseException:
            self._give_back()
            raise
        return self

    def check(self) -> None:
        """To be called before something is written to the study's folder.

        Raises:
            TakenOver: the file is not the one that was locked, or names another owner by now.
        """
        if not self._intact():
            raise taken_over(self.path.parent.name, read_owner(self.path))

    def _intact(self) -> bool:
        if self._file is None:
            return False
        try:
            own, there = os.fstat(self._file.fileno()), self.path.stat()
        except OSError:
            return False
        return os.path.samestat(own, there) and names(self.path, self.token)

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
        self._give_back()

    def _give_back(self) -> None:
        if self._file is None:
            return
        if self.lease is not None:
            self.lease.release()
            self.lease = None
        if _held.get(self._key) is self:
            del _held[self._key]
        with contextlib.suppress(OSError):  # closing it gives the lock back, whatever it says
            if self._intact():
                _rewrite(self._file, "")
        self._file.close()
        self._file = None


def holding(path: Path) -> StudyLock | None:
    """The lock on this file that this process holds, if it does."""
    return _held.get(path.resolve())


def run_by(name: str, owner: object, end: str = "") -> str:
    """What the second driver of a study is told; `end` says how to end the first from here."""
    said = f"{name}: is being run by {owner}; wait for it, or end it "
    said += end or f"with autosd stop {name}"
    if isinstance(owner, Owner) and _stopped(owner):
        said += (
            f" (that process is stopped: kill -CONT {owner.pid} lets it go on, "
            f"kill -KILL {owner.pid} ends it)"
        )
    return said


def taken_over(name: str, owner: Owner | None) -> TakenOver:
    """What a driver that comes late is told; `owner` is known while it runs the study."""
    by = "by another process" if owner is None else f"by {owner}"
    return TakenOver(f"{name}: was taken over {by}; this process writes nothing more")


def _stopped(owner: Owner) -> bool:
    """Whether a process of this machine was halted by a signal, so that it cannot obey."""
    import psutil  # only where somebody is refused

    try:
        return (
            owner.host == socket.gethostname()
            and psutil.Process(owner.pid).status() == psutil.STATUS_STOPPED
        )
    except (psutil.Error, ValueError):
        return False


def _rewrite(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def names(path: Path, token: str) -> bool:
    """Whether a lock file names the holding with this token, as it does until another is taken."""
    try:
        return token in path.read_text(encoding="utf-8")
    except OSError:
        return False


def read_owner(path: Path) -> Owner | None:
    """Who holds the lock, or held it last if it was killed; None after a clean end."""
    try:
        return Owner(**stored.load(path))
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
