"""A request to end a run, left in the study's folder for the process that drives it.

Nobody is sent a signal from outside: the driver looks for the file `.stop` beside its lock and
obeys only a request that names the token of its own holding of the lock. So a request can reach a
driver on another machine that shares the folder, and never a foreign process or a later driver.
"""

import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from autosd import stored
from autosd.files import write_json
from autosd.search.address import sqlite_path
from autosd.search.lock import Owner, StudyLocked, read_owner, run_by

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.5
TAKING_SECONDS = 1.0


@dataclass(frozen=True)
class StopRequest:
    """Somebody wants a run to end.

    Attributes:
        token: of the holding of the lock that is to end.
        now: whether the epochs in progress are given up.
        by: who asks, in words.
    """

    token: str
    now: bool
    by: str


def driver(lock: Path) -> Owner | None:
    """Who holds a study's lock at this moment, None where nobody does; writes nothing."""
    until = time.monotonic() + TAKING_SECONDS
    while _held(lock):
        owner = read_owner(lock)
        if owner is not None:
            return owner
        if time.monotonic() >= until:
            return Owner("an unknown host", 0, time.time(), "")
        time.sleep(0.02)
    return None


def driver_anywhere(lock: Path, url: str) -> Owner | None:
    """The same, also of a machine that reaches the database server and not the lock.

    Args:
        lock: the study's lock file.
        url: its storage.
    """
    owner = driver(lock)
    if owner is not None or sqlite_path(url) is not None:
        return owner
    from autosd.search import lease  # with Optuna, which a study in a file does without

    return lease.owner_elsewhere(url, lock.parent.name, lock)


def refuse_if_driven_elsewhere(lock: Path, url: str) -> None:
    """Refuse what a machine runs that reaches the database server and not the lock.

    Args:
        lock: the study's lock file.
        url: its storage.

    Raises:
        AutosdError: the server cannot be asked.
        StudyLocked: names host, process and start.
    """
    if sqlite_path(url) is None:
        from autosd.search import lease  # with Optuna, which a study in a file does without

        lease.refuse_elsewhere(url, lock.parent.name, lock)


def refuse_if_driven(lock: Path) -> None:
    """Say at once that another process runs the study, before anything heavy is imported.

    Only the lock itself decides; this spares the second one the seconds until it gets there.

    Raises:
        StudyLocked: names host, process and start.
    """
    owner = driver(lock)
    if owner is not None:
        raise StudyLocked(run_by(lock.parent.name, owner))


def _held(lock: Path) -> bool:
    try:
        with lock.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file: nobody has run it
        return False
    return False


def ask_to_stop(lock: Path, owner: Owner, *, now: bool) -> StopRequest:
    """Leave a request for the holder of a lock; a second one takes the place of the first."""
    by = f"process {os.getpid()} on {socket.gethostname()}"
    request = StopRequest(owner.token, now, by)
    write_json(_file(lock), asdict(request))
    return request


def request_for(lock: Path, token: str) -> StopRequest | None:
    """The request to the holding with this token, None where there is none."""
    try:
        request = StopRequest(**stored.load(_file(lock)))
    except (OSError, ValueError, TypeError):
        return None
    return request if request.token == token else None


def withdraw(lock: Path, token: str) -> None:
    """Remove the request to this holding, if there is one."""
    if request_for(lock, token) is not None:
        _file(lock).unlink(missing_ok=True)


def _file(lock: Path) -> Path:
    return lock.with_name(".stop")


class Lookout(threading.Thread):
    """Looks twice a second for a request to this holding, until `over`.

    Attributes:
        request: the one that was found, else None.
    """

    def __init__(self, lock: Path, token: str, heard: Callable[[StopRequest], object]) -> None:
        """Nothing is looked for before `start`.

        Args:
            lock: the lock file.
            token: of this process's holding.
            heard: called once for a request to stop, and once more if it becomes urgent.
        """
        super().__init__(daemon=True)
        self.lock, self.token, self.heard = lock, token, heard
        self.request: StopRequest | None = None
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(LOOK_EVERY_SECONDS):
            self.look()

    def look(self) -> None:
        """Take note of a request that is new, or has become urgent."""
        found = request_for(self.lock, self.token)
        if found is not None and (self.request is None or found.now > self.request.now):
            self.request = found
            self.heard(found)
