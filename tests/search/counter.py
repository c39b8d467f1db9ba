"""A study with a bridge, and what a worker would send, for tests without one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import drive
import optuna
from optuna.trial import FrozenTrial

from autosd.search import ledger
from autosd.search.bridge import StudyBridge
from autosd.search.jobs import Failure, Job, Result, failure
from autosd.search.lock import StudyLock
from autosd.search.meter import Meter, Use
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close, lock_path

Curve = Callable[[int], float]


@dataclass
class Desk:
    """A study with a bridge, and what a worker would send."""

    folder: StudyFolder
    study: optuna.Study
    bridge: StudyBridge
    meter: Meter
    said: list[str] = field(default_factory=list)

    def trial(self, number: int) -> FrozenTrial:
        """A trial as a second reader of the database sees it."""
        study = self.folder.load()
        try:
            return ledger.trials(study)[number]
        finally:
            close(study)

    def ask(self) -> Job:
        """A job; the bridge must have one."""
        answer = self.bridge.ask()
        assert isinstance(answer, Job)
        return answer

    def train(self, job: Job, curve: Curve, epochs: int = drive.EPOCHS) -> bool:
        """Report epoch after epoch as an engine does; whether it came to the last."""
        for epoch in range(1, epochs + 1):
            sent = result(epoch, curve, [epoch])
            if epoch == drive.EPOCHS:
                self.bridge.complete(job, {**sent, "done": True, "result": {}}, None)
                return True
            if not self.bridge.report(job, sent):
                self.bridge.complete(job, sent, None)
                return False
        return False

    def fail(self, job: Job, kind: str, after: int = 0) -> None:
        """End a job by a failure that its worker reports."""
        why: Failure = failure(kind, f"{kind} of a test", "Traceback")  # type: ignore[arg-type]
        sent = {**result(after, lambda epoch: 0.5, []), "done": True, "failure": why}
        self.bridge.complete(job, sent, None)


def result(epoch: int, curve: Curve, epochs: list[int], seconds: float = 0.1) -> Result:
    """What a worker sends after `epoch`, with the records of `epochs`."""
    work = {"declared": {"step": 1.25}}
    history = [{"epoch": e, "evaluated": {"val": {"top1": curve(e)}}, "work": work} for e in epochs]
    return {
        "epoch": epoch,
        "history": history,
        "done": False,
        "result": None,
        "failure": None,
        "seconds": seconds,
        "worker": {"pid": 1, "host": "here", "device": "cpu"},
    }


@contextmanager
def open_desk(root: Path, space: Space, trials: int = 12, **search: Any) -> Iterator[Desk]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with StudyLock(lock_path(root, "s")) as lock:
        folder = StudyFolder.prepare(root, drive.definition(trials), space)
        study = drive.opened(folder)
        ledger.sweep(study)
        ledger.enqueue_defaults(study, space)
        meter = Meter(2, Use.of(study.user_attrs))
        desk = Desk(folder, study, None, meter)  # type: ignore[arg-type]

        class Listener:
            def progress(self, progress: object) -> None:
                pass

            def say(self, line: str) -> None:
                desk.said.append(line)

            lost = say

        about = replace(drive.search(folder, study, lock), **search)
        desk.bridge = StudyBridge(about, meter, Listener())
        try:
            yield desk
        finally:
            close(study)


def rising(epoch: int) -> float:
    return 0.9 * (1 - 0.5**epoch)
