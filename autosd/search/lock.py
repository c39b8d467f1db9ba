"""The lock of a study, which gives it one writer (rule R1)."""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from autosd.errors import AutosdError


class StudyLocked(AutosdError):
    """Another process runs this study."""


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
