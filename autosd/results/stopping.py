"""Ends a run of a study from outside of its process, wherever that runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd.errors import WorkFailed
from autosd.search.lock import Owner
from autosd.search.requests import ask_to_stop, driver, refuse_if_driven_elsewhere, withdraw
from autosd.search.study import StudyFolder

LOOK_EVERY_SECONDS = 0.2
PATIENCE_SECONDS = 60.0
"""For an urgent request; an epoch may take as long as it takes."""


@dataclass(frozen=True)
class Ending:
    """What came of a request to stop.

    Attributes:
        study: its name.
        owner: who ran it, None where nobody did.
        ended: whether nobody runs it any more, or another process does.
        seconds: waited.
    """

    study: str
    owner: Owner | None
    ended: bool
    seconds: float

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd stop`."""
        one = self.owner
        return {
            "study": self.study,
            "driver": None if one is None else {"host": one.host, "pid": one.pid},
            "ended": self.ended,
            "seconds": round(self.seconds, 1),
        }


def stop(
    name: str,
    root: Path,
    *,
    now: bool = False,
    wait: bool = True,
    say: Callable[[str], object] = lambda line: None,
) -> Ending:
    """Ask whoever runs a study to end, and wait for it.

    Args:
        name, root: which study.
        now: whether the epochs in progress are given up; else they are finished first.
        wait: whether to come back only when the run has ended.
        say: told what is waited for.

    Raises:
        AutosdError: no such study, or a machine runs it that does not see this folder.
        WorkFailed: an urgent request was not obeyed within a minute.
    """
    lock = lock_of(name, root)
    study, owner, begin = lock.parent.name, driver(lock), time.monotonic()
    if owner is None:
        _refuse_elsewhere(lock.parent)
        return Ending(study, None, True, 0.0)
    ask_to_stop(lock, owner, now=now)
    say(f"asked {owner} to stop" + ("" if now else " after the epochs in progress"))
    ended = wait and _wait(lock, owner, PATIENCE_SECONDS if now else None)
    seconds = time.monotonic() - begin
    if now and wait and not ended:
        raise WorkFailed(
            f"{study}: {owner} has not ended within {PATIENCE_SECONDS:.0f} s; if it hangs, end it "
            f"on {owner.host} with: kill {owner.pid}"
        )
    return Ending(study, owner, ended, seconds)


def lock_of(name: str, root: Path) -> Path:
    """The lock file of a study by name or path; one that is only being prepared has it, too."""
    for path in (root / name, Path(name)):
        if (path / ".lock").is_file():
            return (path / ".lock").resolve()
    return StudyFolder.find(name, root).lock_path


def _refuse_elsewhere(path: Path) -> None:
    """A driver that only the database server knows does not look for requests in this folder."""
    if (path / "study.yaml").is_file():
        folder = StudyFolder.open(path)
        refuse_if_driven_elsewhere(folder.lock_path, folder.url)


def _wait(lock: Path, owner: Owner, patience: float | None) -> bool:
    """Wait until the process of `owner` has given up the study; whether it has.

    One that takes the lock again, as `ensemble --distill` does, has not ended: it is asked again.
    """
    until = None if patience is None else time.monotonic() + patience
    while True:
        now = driver(lock)
        if now is None or (now.host, now.pid) != (owner.host, owner.pid):
            withdraw(lock, owner.token)  # whoever held it may not have looked for requests
            return True
        if now.token != owner.token:
            owner = now
            ask_to_stop(lock, owner, now=patience is not None)
        if until is not None and time.monotonic() >= until:
            return False
        time.sleep(LOOK_EVERY_SECONDS)
