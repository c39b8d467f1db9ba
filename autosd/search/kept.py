"""Checkpoints of a study's trials: while a trial lives, afterwards for the best few."""

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from autosd.search import census, ledger

KEPT_CHECKPOINTS = 5


class Kept:
    """Which checkpoints of ended trials stay in a study folder."""

    def __init__(self, study: optuna.Study, folder: Path) -> None:
        """Take up what is there, and remove what a kill left behind of trials that have ended."""
        self.folder = folder
        self._minimise = study.direction is optuna.study.StudyDirection.MINIMIZE
        self._best = [
            (trial.value or 0.0, census.lineage(trial))
            for trial in complete(study)
            if self.path(census.lineage(trial)).exists()
        ]
        self._clear(study)

    def path(self, number: int) -> Path:
        """The checkpoint of the trials whose first attempt has this number."""
        return self.folder / f"trials/{number:04d}/last.pt"

    def keep(self, number: int, value: float) -> None:
        """Keep the checkpoint of a complete trial as long as it is among the best."""
        self._best.append((value, number))
        self._best.sort(key=lambda entry: entry[0], reverse=not self._minimise)
        for _, dropped in self._best[KEPT_CHECKPOINTS:]:
            self.drop(dropped)
        del self._best[KEPT_CHECKPOINTS:]

    def drop(self, number: int) -> None:
        """Remove the checkpoint of a trial that does not go on."""
        self.path(number).unlink(missing_ok=True)

    def _clear(self, study: optuna.Study) -> None:
        alive = ledger.trials(study, TrialState.RUNNING, TrialState.WAITING)
        wanted = {self.path(number) for _, number in self._best}
        wanted |= {self.path(census.lineage(trial)) for trial in alive}
        for path in self.folder.glob("trials/*/last.pt"):
            if path not in wanted:
                path.unlink()


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials without repeats of earlier ones."""
    return [
        trial
        for trial in ledger.trials(study, TrialState.COMPLETE)
        if "duplicate_of" not in trial.user_attrs
    ]
