"""Where a study stands, for `status` and `best`: read without torch, Ray, and mostly Optuna."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd.errors import AutosdError
from autosd.results.best import holds
from autosd.results.outcome import Winner, winner
from autosd.search import ending, errorfile
from autosd.search.census import Counts, lineage
from autosd.search.faults import POLICIES
from autosd.search.finalists import read_finalists
from autosd.search.lock import LockUnusable, StudyLocked, lock_if_free, read_owner
from autosd.search.look import Look, looked, running
from autosd.search.meter import Use
from autosd.search.needs import in_words
from autosd.search.queue import requests
from autosd.search.requests import refuse_if_driven_elsewhere
from autosd.search.study import StudyFolder, close

BAD = ("failed", "diverged")


@dataclass(frozen=True)
class State:
    """A study at one moment.

    Attributes:
        name, folder: of the study.
        planned: trials in all.
        counts: trials by their end.
        driver: who runs it, in words.
        winner: None before the first complete trial.
        utilisation: share of slot time spent in steps, None before the first step.
        failures: trials that failed or diverged: `trial`, `state`, `kind` (as in `faults`),
            `reason`, and `file`, which has the traceback, where there is one.
        retried: the same of attempts that failed and were followed by another one.
        model_dir: the winner's student, None where there is none yet.
        ended: why the search ended before its plan was full, in words; empty where it did not.
        queued: recipes that users asked for and that are no trials yet.
        gpus: which share of a GPU runs get and why; empty where they need none.
    """

    name: str
    folder: Path
    planned: int
    counts: Counts
    driver: str
    winner: Winner | None
    utilisation: float | None
    failures: list[dict[str, Any]]
    retried: list[dict[str, Any]]
    model_dir: Path | None
    ended: str = ""
    queued: int = 0
    gpus: str = ""

    def need_winner(self) -> Winner:
        """The winner.

        Raises:
            AutosdError: no trial is complete yet.
        """
        if self.winner is None:
            raise AutosdError(f"study {self.name}: no trial is complete yet")
        return self.winner

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd status`."""
        won = self.winner
        return {
            "planned": self.planned,
            "complete": self.counts.complete,
            "pruned": self.counts.pruned,
            "failed": self.counts.failed,
            "running": self.counts.running,
            "waiting": self.counts.waiting,
            "best": None if won is None else short(won),
            "utilisation": self.utilisation,
            "failures": self.failures,
            "retried": self.retried,
            "ended": self.ended or None,
            "queued": self.queued,
            "gpus": self.gpus or None,
        }


def short(won: Winner) -> dict[str, Any]:
    """The winner in a few fields, as `search` and `status` give it."""
    return {
        "trial": won.trial,
        "value": won.score.value,
        "strategies": list(won.strategies),
        "confirmed": won.confirmed,
        "sd": won.score.sd,
        "n": won.score.n,
    }


def read(name: str, root: Path) -> State:
    """The state of a study by name or path.

    Where nobody drives it, trials that a killed driver left running are handed back first, so that
    what is shown is true (rule R21).
    """
    folder = StudyFolder.find(name, root)
    driver = sweep_if_free(folder)
    with looked(folder) as look:
        counts, plan = look.census.counts, folder.definition
        ended = "" if counts.running else ending.reason(look.census, plan.trials, plan.patience)
        won = _winner(look)
        failures = [_failure(look, number) for number in look.census.at(*BAD)]
        retried = [_failure(look, number) for number in _retried(look)]
        use = Use.of(look.attributes)
    kept = None if won is None else holds(folder.best, won.recipe)
    return State(
        name=folder.name,
        folder=folder.path,
        planned=plan.trials,
        counts=counts,
        driver=driver,
        winner=won,
        utilisation=use.share,
        failures=failures,
        retried=retried,
        model_dir=folder.best if kept else None,
        ended=ended,
        queued=len(requests(folder.path)),
        gpus=in_words(folder.path, plan.per_trial.gpus),
    )


def sweep_if_free(folder: StudyFolder) -> str:
    """Hand back what a dead driver left running, unless a live one has the lock; who that is."""
    try:
        return _sweep_if_free(folder)
    except LockUnusable as error:
        return f"not known who runs it: {error}"


def _sweep_if_free(folder: StudyFolder) -> str:
    with lock_if_free(folder.lock_path) as lock:
        if lock is None:
            return f"run by {read_owner(folder.lock_path) or 'another process'}"
        try:
            refuse_if_driven_elsewhere(folder.lock_path, folder.url)
            if running(folder):
                _sweep(folder)
        except StudyLocked as error:  # by a machine that the lock does not reach
            return str(error)
    return "nobody runs it"


def _sweep(folder: StudyFolder) -> None:
    from autosd.search import ledger  # with Optuna, which is needed after a kill only
    from autosd.search.mirror import mirrored

    study = folder.load(read_only=False)
    try:
        ledger.sweep(mirrored(study, study.sampler, study.pruner))
    finally:
        close(study)


def _winner(look: Look) -> Winner | None:
    """The winner, from the few trials that it may be."""
    folder, best = look.folder, look.best()
    first = read_finalists(folder.finalists, folder.minimise)[:1]
    wanted = {best, *(one.trial for one in first)} - {None}
    return winner(folder, look.records([number for number in wanted if number is not None]))


def _retried(look: Look) -> list[int]:
    """Attempts that failed, were not merely interrupted, and have a successor."""
    ends = {number: _ended(look, number) for number in look.census.at("superseded")}
    return [number for number, end in ends.items() if end in POLICIES and end != "interrupted"]


def _ended(look: Look, number: int) -> str | None:
    return look.trials[number].user_attrs.get("ended")


def _failure(look: Look, number: int) -> dict[str, Any]:
    trial = look.trials[number]
    file = f"trials/{lineage(trial):04d}/{errorfile.NAME}"
    return {
        "trial": number,
        "state": "diverged" if _ended(look, number) == "diverged" else "failed",
        "kind": _ended(look, number),
        "reason": str(trial.user_attrs.get("why", "")),
        "file": file if (look.folder.path / file).is_file() else None,
    }
