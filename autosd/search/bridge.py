"""Between an engine and a study: ask, report, complete. Knows Optuna's record and no Ray.

The order is the same for every epoch and every end: the curve's file, Optuna's record, then the
decision; and nothing is told before everything it rests on is written. A kill at any point
leaves a RUNNING trial that the next sweep hands back.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from autosd.recipe import Recipe
from autosd.search import census, ending, errorfile, folders, ledger, records
from autosd.search.curve import Curve
from autosd.search.faults import Kind, then
from autosd.search.floor import Floor
from autosd.search.jobs import DONE, WAIT, Answer, Failure, Job, Result, failure
from autosd.search.kept import Kept, complete
from autosd.search.meter import USE, Meter
from autosd.search.progress import Best, Progress, Quiet, Running, Watch, seconds_left
from autosd.search.pruners import Decision, decide
from autosd.search.space import Space

logger = logging.getLogger(__name__)

DIGITS = 6
"""Decimal places of values in the record; an image of a million is still seen."""


@dataclass(frozen=True)
class Search:
    """What a search is about.

    Attributes:
        study: with sampler and pruner, in a storage that this process may write to.
        space: which recipes there are.
        base: the recipe they are built on, with the seed of every trial.
        folder: the study folder.
        planned: trials in all.
        objective: metric of `val` that decides.
        job: a job whose fields other than key, recipe, folder and number every trial takes.
        time_budget: seconds of all sessions together after which no trial begins, or None.
        propose: called before each new trial; may enqueue one of its own.
        take_up: called before each look whether a trial begins; may enqueue what a user asked for.
        patience: trials without a better best value after which no trial begins, or None.
    """

    study: optuna.Study
    space: Space
    base: Recipe
    folder: Path
    planned: int
    objective: str
    job: Job
    time_budget: float | None = None
    propose: Callable[[], object] = lambda: None
    take_up: Callable[[], object] = lambda: None
    patience: int | None = None


@dataclass
class _Live:
    """A trial on a slot; `budget` are its recipe's epochs, `epochs` those that are planned.

    `cost` is what its strategies declare of a step, with cross-entropy's as 1.
    """

    trial: Trial
    curve: Curve
    family: str
    budget: int
    epochs: int
    epoch: int = 0
    value: float = math.nan
    seconds: float = 0.0
    cost: float | None = None
    decision: Decision | None = None
    worker: dict[str, Any] | None = None

    def step(self, epoch: int) -> int:
        """Where an epoch stands in the record: the last at the budget, whatever it buys.

        With `budget: compute` values of one step then stand for the same image passes, and pruners
        compare equals.
        """
        return epoch * self.budget // self.epochs


class StudyBridge:
    """Serves the trials of a study and keeps its record true at every moment."""

    def __init__(
        self,
        search: Search,
        meter: Meter,
        watch: Watch | None = None,
        floor: Floor | None = None,
    ) -> None:
        self.search, self.meter, self.watch = search, meter, watch or Quiet()
        self.floor = floor or Floor(meter)
        self.announced = False
        self._live: dict[str, _Live] = {}
        self._twin: int | None = None
        self._said_why = False
        self._counts = ledger.counts(search.study)
        self._before = self._counts.counted
        self._best = _best(search.study)
        self._kept = Kept(search.study, search.folder)

    # Asking

    def ask(self) -> Answer:
        """The next trial, a waiting one first; repeats of known parameters are settled at once."""
        study = self.search.study
        if any(live.trial.number == self._twin for live in self._live.values()):
            return WAIT
        while self._wants_more():
            alone = ledger.next_is_alone(study)
            if not self.floor.admits(self, alone):
                return WAIT
            self.search.propose()
            trial, recipe = ledger.ask(study, self.search.space, self.search.base)
            first = ledger.first_like(study, trial)
            if first is None:
                return self._start(trial, recipe, alone)
            ledger.tell_duplicate(study, trial, first)
            if first.state is TrialState.RUNNING:
                self._twin = first.number
                return WAIT
        self._say_why()
        self.floor.admits(self)
        return WAIT if self._live else DONE

    @property
    def over(self) -> bool:
        """Whether no trial will begin: see `ending`, or the time is spent."""
        about = ledger.census(self.search.study), self.search.planned, self.search.patience
        return self._spent() or not ending.goes_on(*about)

    def _wants_more(self) -> bool:
        """Whether a trial begins now, after what users asked for has been put in the queue."""
        self.search.take_up()
        return not self.over

    def _start(self, trial: Trial, recipe: Recipe, alone: bool) -> Job:
        number = census.lineage(trial)
        key, folder = _key(number), self._folder(number)
        folders.take(folder, recipe)
        self._live[key] = _Live(
            trial,
            Curve(folder / "history.jsonl"),
            family=trial.params["strategy"],
            budget=recipe.epochs,
            epochs=recipe.epochs,
        )
        self.floor.enter(key, alone)
        self._after()
        return replace(
            self.search.job,
            key=key,
            recipe=recipe.mapping(),
            folder=str(folder.resolve()),
            number=trial.number,
            alone=alone,
        )

    # Reporting

    def report(self, job: Job, result: Result) -> bool:
        """Record an epoch, then let the pruner decide."""
        live = self._live[job.key]
        self._record(live, result)
        if not math.isfinite(live.value) or self._spent():
            return False
        live.decision = decide(self.search.study, live.trial)
        self._tell()
        return live.decision is None

    def _record(self, live: _Live, result: Result) -> None:
        """Curve and values of the epochs that are new, the earlier ones first."""
        self.meter.step(result["seconds"])
        history = result["history"]
        live.curve.add(history)
        if history and result["failure"] is None:
            self.floor.worked()
            live.epochs = history[-1].get("epochs", live.epochs)
            live.cost = records.declared_cost(history[-1])
        values = [
            (live.step(record["epoch"]), _value(record, self.search.objective))
            for record in history
        ]
        ledger.report(self.search.study, live.trial, values)
        if values:
            live.epoch, live.value = history[-1]["epoch"], values[-1][1]
        live.seconds += result["seconds"]
        live.worker = result["worker"]

    # Ending

    def complete(self, job: Job, result: Result | None, error: Failure | None) -> None:
        """Record the last epoch, then tell the end and tidy up."""
        live = self._live.pop(job.key)
        self.floor.leave(job.key)
        if result is not None and result["done"]:
            self._record(live, result)
        fault = error or (result["failure"] if result is not None else None)
        if fault is None and live.epoch and not math.isfinite(live.value):
            fault = _not_finite(live.epoch, self.search.objective)
        if fault is not None and fault["kind"] != "interrupted":
            self._fail(live, fault)
        elif fault is not None:
            self._requeue(live, "interrupted", fault["why"])
        elif live.decision is not None:
            self._prune(live, live.decision)
        elif result is not None and result["done"]:
            self._finish(live)
        else:
            spent = "the time budget was spent" if self._spent() else "interrupted"
            self._requeue(live, "interrupted", spent)
        self._store_use()
        self._after()
        if fault is not None:
            self.floor.check(fault["why"])

    def put_back(self, job: Job) -> None:
        """The trial waits again, with the parameters it has; the next `ask` takes it up."""
        ledger.put_back(self.search.study, self._live.pop(job.key).trial)
        self.floor.leave(job.key)
        self._after()

    def close(self) -> None:
        """Hand back what runs: this process is the only one that could run it."""
        self._live.clear()
        ledger.sweep(self.search.study)
        self._store_use()

    def _finish(self, live: _Live) -> None:
        number, study = census.lineage(live.trial), self.search.study
        ledger.tell_complete(study, live.trial, live.value, **self._facts(live))
        self._kept.keep(number, live.value)
        if self._best is None or self._better(live.value, self._best.value):
            self._best = Best(live.trial.number, live.value, live.family)

    def _prune(self, live: _Live, decision: Decision) -> None:
        facts = {**self._facts(live), **decision.facts()}
        ledger.tell_pruned(self.search.study, live.trial, **facts)
        self._kept.drop(census.lineage(live.trial))

    def _fail(self, live: _Live, fault: Failure) -> None:
        """Note what happened; the sampler learns from a divergence, the rest may go again."""
        number = census.lineage(live.trial)
        errorfile.add(self._folder(number), f"trial {live.trial.number}", fault)
        if fault["kind"] == "diverged":
            epoch = live.epoch if not math.isfinite(live.value) and live.epoch else live.epoch + 1
            step, facts = live.step(epoch), self._facts(live)
            ledger.tell_diverged(self.search.study, live.trial, step, fault["why"], **facts)
            self._kept.drop(number)
            return
        blamed = self.floor.blames(_key(number), fault["kind"]) and not self.floor.failing
        again = self._requeue(live, fault["kind"], fault["why"], blamed)
        if not again:
            self._kept.drop(number)
        self.watch.say(
            f"trial {live.trial.number} ({live.family}) failed: {fault['why']}"
            + (f"; {then(fault['kind'])}" if again else "")
        )

    def _requeue(self, live: _Live, kind: Kind, why: str, blamed: bool = True) -> bool:
        """Hand a trial back, or let its failure stay; whether it goes again."""
        ledger.set_facts(live.trial, self._facts(live))
        return ledger.requeue_then_fail(self.search.study, live.trial, kind, why, blamed)

    def _facts(self, live: _Live) -> dict[str, Any]:
        worker = live.worker or {}
        return {
            "epochs_run": live.epoch,
            "seconds": round(live.seconds, 3),
            "cost": live.cost,
            "host": worker.get("host"),
            "node": worker.get("node"),
            "device": worker.get("device"),
        }

    def _folder(self, number: int) -> Path:
        return self.search.folder / _key(number)

    def _after(self) -> None:
        self._counts = ledger.counts(self.search.study)
        self._tell()

    def _store_use(self) -> None:
        use = {name: round(value, 3) for name, value in asdict(self.meter.use()).items()}
        self.search.study.set_user_attr(USE, use)

    @property
    def _minimise(self) -> bool:
        return self.search.study.direction is optuna.study.StudyDirection.MINIMIZE

    def _better(self, value: float, other: float) -> bool:
        return value < other if self._minimise else value > other

    # Time and progress

    def _spent(self) -> bool:
        """Whether the time budget is used up; said once."""
        budget = self.search.time_budget
        if not self.meter.spent(budget):
            return False
        if not self.announced:
            self.announced = True
            kept = f", {len(self._live)} running ones are kept for later" if self._live else ""
            self.watch.say(
                f"the time budget of {budget:g} s is spent: no new trial begins{kept}, "
                "the finalists follow"
            )
        return True

    def _say_why(self) -> None:
        """Say once why the plan stays unfulfilled; running trials may still change that."""
        about = ledger.census(self.search.study), self.search.planned, self.search.patience
        why = "" if self._said_why or self._live else ending.reason(*about)
        if why:
            self._said_why = True
            self.watch.say(f"{why}; the finalists follow")

    def _tell(self) -> None:
        now = self._counts
        left = max(0, self.search.planned - now.counted)
        elapsed = self.meter.elapsed
        done = now.counted - self._before
        self.watch.progress(
            Progress(
                stage="search",
                planned=self.search.planned,
                complete=now.complete,
                pruned=now.pruned,
                failed=now.failed,
                waiting=now.waiting,
                running=tuple(
                    Running(key, live.family, live.epoch, live.epochs)
                    for key, live in self._live.items()
                ),
                best=self._best,
                seconds=elapsed,
                seconds_left=seconds_left(elapsed, done, left, self.meter.slots),
            )
        )


def _value(record: dict[str, Any], objective: str) -> float:
    return round(float(record["evaluated"]["val"][objective]), DIGITS)


def _not_finite(epoch: int, objective: str) -> Failure:
    why = f"diverged at epoch {epoch}: {objective} of val"
    return failure("diverged", why)


def _key(number: int) -> str:
    """Of all attempts of a trial, by the number of the first one."""
    return f"trials/{number:04d}"


def _best(study: optuna.Study) -> Best | None:
    found = complete(study)
    if not found:
        return None
    pick = min if study.direction is optuna.study.StudyDirection.MINIMIZE else max
    trial = pick(found, key=lambda trial: trial.value or 0.0)
    return Best(trial.number, trial.value or 0.0, trial.params["strategy"])
