"""The files of a study that can go, by what they are for."""

import re
from pathlib import Path

from autosd.results.outcome import winner
from autosd.search.kept import KEPT_CHECKPOINTS
from autosd.search.records import TrialRecord, visible
from autosd.search.study import StudyFolder

TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")
ALIVE = ("running", "waiting")


class Files:
    """Looks a study through once; to be made with its lock held."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder
        records = folder.records(hidden=True)
        self._known = {one.lineage for one in records}
        self._alive = {one.lineage for one in records if one.state in ALIVE}
        complete = [one for one in visible(records) if one.state == "complete"]
        self._complete = {one.lineage for one in complete} - self._alive
        self._best = _best(folder, complete) - self._alive

    def temporary(self) -> list[Path]:
        """What was to be renamed: with the lock held nobody is about to."""
        hidden = self.folder.path.rglob(".*")
        return [path for path in hidden if TEMPORARY.fullmatch(path.name)]

    def ended_checkpoints(self) -> list[Path]:
        """Of trials that are over and not among the best, and of runs that have their result."""
        trials = self._trials("last.pt", without=self._alive | self._best)
        runs = [path.parent / "last.pt" for path in self.folder.path.glob("*/*/result.json")]
        return [*trials, *(path for path in runs if path.is_file())]

    def best_checkpoints(self) -> list[Path]:
        """Of the best few complete trials."""
        return [path for path in self._trials("last.pt") if int(path.parent.name) in self._best]

    def stray_logits(self) -> list[Path]:
        """Of trials that gave no result."""
        return self._trials("logits.npz", without=self._alive | self._complete)

    def logits(self) -> list[Path]:
        """Of complete trials and of runs of lists."""
        trials = [
            path for path in self._trials("logits.npz") if int(path.parent.name) in self._complete
        ]
        runs = [path.parent / "logits.npz" for path in self.folder.path.glob("*/*/result.json")]
        return [*trials, *(path for path in runs if path.is_file())]

    def students(self) -> list[Path]:
        """Of finalists and other runs that are not the winner's."""
        won = winner(self.folder)
        kept = None if won is None or won.source is None else won.source
        lists = (self.folder.finalists, self.folder.retrain, self.folder.path / "compare")
        return [
            path.parent
            for runs in lists
            for path in sorted(runs.glob("*/model/model.json"))
            if won is None or not _of(path.parent.parent, won.label, kept)
        ]

    def log(self) -> list[Path]:
        """The log and its predecessor."""
        return sorted(self.folder.path.glob("study.log*"))

    def _trials(self, name: str, without: set[int] | None = None) -> list[Path]:
        """Files of trials that the database knows: it may be an older copy."""
        wanted = self._known - (without or set())
        return [
            path
            for path in sorted(self.folder.path.glob(f"trials/*/{name}"))
            if path.parent.name.isdigit() and int(path.parent.name) in wanted
        ]


def _of(run: Path, label: str, source: Path | None) -> bool:
    """Whether `best/` is made of this run, or is when `retrain` is repeated."""
    return run == source or (run.parent.name == "retrain" and run.name.startswith(f"{label}-"))


def _best(folder: StudyFolder, complete: list[TrialRecord]) -> set[int]:
    """The complete trials whose checkpoints a search keeps, by lineage."""
    kept = [one for one in complete if (folder.trial(one.lineage) / "last.pt").is_file()]
    kept.sort(key=lambda one: one.value or 0.0, reverse=not folder.minimise)
    return {one.lineage for one in kept[:KEPT_CHECKPOINTS]}
