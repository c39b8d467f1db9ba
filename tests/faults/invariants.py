"""What must hold of a study after every fault, however it was injected.

A `Witness` remembers what was finished and compares after each fault, once nobody drives the study
any more. It looks as the next tool would (rule R21), then reads the database and the folders.
"""

import hashlib
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from autosd.results.state import sweep_if_free
from autosd.search import census, curve, ledger
from autosd.search.study import StudyFolder, close


@dataclass
class Faults:
    """What was found against a study, one line each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        return ", ".join(f"{len(found)} {kind}" for kind, found in vars(self).items())


@dataclass
class Witness:
    """Watches one study over any number of faults.

    Attributes:
        study: its folder.
        epochs: of a complete trial; None where trials may end with others.
        faults: all that was found so far.
        finished: number of a trial -> what may never change of it.
        results: path of a finished run's file -> digest of what may never change.
    """

    study: Path
    epochs: int | None = None
    faults: Faults = field(default_factory=Faults)
    finished: dict[int, Any] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)

    def look(self, live: bool = False) -> list[FrozenTrial]:
        """Look after a fault; the trials as they are now.

        A study that was killed before it began has none. `live`: a driver runs it, so that trials
        may be RUNNING, and be handed back at this very moment.
        """
        if not (self.study / "study.yaml").exists():
            self._compare(self.finished, {}, "trial")
            return []
        trials = self.read(live)
        self._check_states(trials)
        if not live:
            self._check_hands(trials)
        for trial in counting(trials):
            self._check_curve(trial)
        done = {trial.number: frozen(trial) for trial in trials if trial.state.is_finished()}
        self._compare(self.finished, done, "trial")
        results = finished_files(self.study, trials)
        self._compare(self.results, results, "file")
        self.finished, self.results = done, results
        return trials

    def end(self, planned: int) -> list[FrozenTrial]:
        """Look at a study that says it is complete: the plan is full, nothing is left to do."""
        trials = self.look()
        counted = [trial for trial in counting(trials) if trial.state.is_finished()]
        if len(counted) != planned:
            self.faults.wrong.append(f"{len(counted)} trials count, {planned} were planned")
        waiting = [trial.number for trial in trials if not trial.state.is_finished()]
        if waiting:
            self.faults.wrong.append(f"complete with unfinished trials {waiting}")
        return trials

    def read(self, live: bool = False) -> list[FrozenTrial]:
        """The trials, after the first tool has looked where no driver is alive."""
        folder = StudyFolder.open(self.study)
        if not live:
            sweep_if_free(folder)
        study = folder.load()
        try:
            return list(ledger.trials(study))
        finally:
            close(study)

    def _check_states(self, trials: list[FrozenTrial]) -> None:
        for trial in trials:
            if trial.state.name == "FAIL" and not trial.user_attrs.get("why"):
                self.faults.wrong.append(f"trial {trial.number} failed without a reason")
            if trial.state.name == "COMPLETE" and not math.isfinite(trial.value or 0.0):
                self.faults.wrong.append(f"trial {trial.number} is complete without a value")

    def _check_hands(self, trials: list[FrozenTrial]) -> None:
        """Nothing is RUNNING; every trial that was begun has one attempt that counts, or will."""
        running = [trial.number for trial in trials if trial.state.name == "RUNNING"]
        self.faults.wrong += [f"trial {one} is RUNNING while nobody runs it" for one in running]
        known = {census.lineage(t) for t in trials if "duplicate_of" not in t.user_attrs}
        alive = Counter(map(census.lineage, counting(trials)))
        self.faults.lost += [f"trial {one} has no successor" for one in known - alive.keys()]
        self.faults.doubled += [
            f"trial {one} counts {n} times" for one, n in alive.items() if n > 1
        ]
        by_params = defaultdict(set)
        for trial in counting(trials):
            if trial.params:
                by_params[repr(sorted(trial.params.items()))].add(census.lineage(trial))
        twins = [sorted(same) for same in by_params.values() if len(same) > 1]
        self.faults.doubled += [f"trials {same} have the same parameters" for same in twins]

    def _check_curve(self, trial: FrozenTrial) -> None:
        steps = sorted(trial.intermediate_values)
        complete = trial.state.name == "COMPLETE"
        full = self.epochs if complete and self.epochs is not None else len(steps)
        if steps != list(range(1, full + 1)):
            self.faults.wrong.append(f"trial {trial.number} has the epochs {steps}")
        if complete and (not steps or trial.value != trial.intermediate_values[steps[-1]]):
            self.faults.wrong.append(f"the value of trial {trial.number} is not its last")
        path = history_of(self.study, trial)
        if trial.state.name in ("COMPLETE", "PRUNED"):
            told = [record["epoch"] for record in curve.read(path)]
            if told != list(range(1, len(told) + 1)) or (complete and len(told) != len(steps)):
                self.faults.wrong.append(f"{path.parent.name}/{path.name} has the epochs {told}")

    def _compare(self, before: dict[Any, Any], now: dict[Any, Any], what: str) -> None:
        self.faults.lost += [f"{what} {key}" for key in before.keys() - now.keys()]
        both = before.keys() & now.keys()
        self.faults.changed += [f"{what} {key}" for key in both if before[key] != now[key]]


def counting(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that count towards the plan, or will: neither superseded nor duplicates."""
    gone = census.superseded(trials)
    return [t for t in trials if t.number not in gone and "duplicate_of" not in t.user_attrs]


def frozen(trial: FrozenTrial) -> tuple[Any, ...]:
    """What of a finished trial may never change."""
    value, curve = repr(trial.value), repr(sorted(trial.intermediate_values.items()))
    return trial.state.name, value, repr(sorted(trial.params.items())), curve


def history_of(study: Path, trial: FrozenTrial) -> Path:
    """The curve's file of a trial."""
    return study / f"trials/{census.lineage(trial):04d}/history.jsonl"


def finished_files(study: Path, trials: list[FrozenTrial]) -> dict[str, str]:
    """Digests of what finished trials and finished runs of lists have written."""
    done = [t for t in counting(trials) if t.state.is_finished() and not census.may_be_retried(t)]
    folders = [history_of(study, trial).parent for trial in done]
    folders += [path.parent for path in study.rglob("result.json")]
    files = [path for folder in folders for path in folder.rglob("*") if _lasting(path)]
    return {str(path.relative_to(study)): _digest(path) for path in files}


def _lasting(path: Path) -> bool:
    """Checkpoints of the best go when better ones come; temporary files go in any case."""
    return path.is_file() and path.name != "last.pt" and not path.name.startswith(".")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
