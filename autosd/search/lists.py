"""A fixed list of recipes as a bridge: finalists, retraining, comparisons.

The record is the folders themselves: a run with `result.json` is done, one with `last.pt` goes
on, and one that holds another recipe or other data is refused. No database is needed.
"""

import math
import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autosd import stored, yamlfile
from autosd.errors import AutosdError
from autosd.files import write_json, write_text
from autosd.recipe import Recipe
from autosd.search import curve, errorfile
from autosd.search.curve import Curve
from autosd.search.faults import goes_again, must_be_alone
from autosd.search.floor import Floor
from autosd.search.jobs import DONE, WAIT, Answer, Failure, Job, Result
from autosd.search.meter import Meter
from autosd.search.progress import Progress, Quiet, Running, Watch, seconds_left

TRAIN_AGAIN = (
    "put back a copy of it, or move the folder of this run away: then the same command trains it "
    "again"
)
MOST_FAULTS = 3


@dataclass(frozen=True)
class Run:
    """One recipe of the list; its seed is the recipe's."""

    label: str
    recipe: Recipe

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.label}-{self.recipe.seed}"


@dataclass(frozen=True)
class Plan:
    """What all runs of a list have in common.

    Attributes:
        folder: holds one folder per run; its name is the kind of the list.
        data: fingerprint of the data and its splits.
        job: a job whose fields other than key, recipe and folder are taken for every run.
    """

    folder: Path
    data: str
    job: Job


@dataclass
class _Live:
    run: Run
    curve: Curve
    epochs: int
    epoch: int = 0
    seconds: float = 0.0


@dataclass
class _Outcome:
    done: int = 0
    failed: int = 0
    failed_before: dict[str, list[str]] = field(default_factory=dict)


class ListBridge:
    """Hands out the runs of a list that have no result yet."""

    def __init__(
        self,
        plan: Plan,
        runs: Sequence[Run],
        meter: Meter | None = None,
        watch: Watch | None = None,
        floor: Floor | None = None,
    ) -> None:
        """Check every folder that is there already.

        Args:
            plan: what the runs share.
            runs: may be extended later.
            meter: of the engine's slots.
            watch: hears of every event.
            floor: of the engine's slots, where other bridges use them too.

        Raises:
            AutosdError: a folder holds another recipe, or was trained on other data.
        """
        self.plan, self.watch = plan, watch or Quiet()
        self.runs: list[Run] = []
        self.failures: dict[str, str] = {}
        self._waiting: deque[Run] = deque()
        self._live: dict[str, _Live] = {}
        self._outcome = _Outcome()
        self._meter = meter or Meter(1)
        self._floor = floor or Floor(self._meter)
        self._start: float | None = None
        self.silent = False
        self.extend(runs)

    def extend(self, runs: Iterable[Run]) -> None:
        """Add runs behind those that are known; known ones are left out."""
        known = {run.name for run in self.runs}
        fresh = [run for run in runs if run.name not in known]
        self._waiting += self.missing(fresh)
        self.runs += fresh

    def missing(self, runs: Sequence[Run]) -> list[Run]:
        """Those of some runs that have no result; every folder that is there is checked."""
        faults = [fault for run in runs for fault in self._faults(run)]
        if faults:
            more = len(faults) - MOST_FAULTS
            shown = faults[:MOST_FAULTS] + [f"and {more} more folders"] * (more > 0)
            raise AutosdError("\n".join(shown))
        return [run for run in runs if not self.folder(run, "result.json").exists()]

    @property
    def left(self) -> int:
        """Runs that wait for a slot."""
        return len(self._waiting)

    def folder(self, run: Run, *parts: str) -> Path:
        """The folder of a run, or a file in it."""
        return self.plan.folder.joinpath(run.name, *parts)

    def ask(self) -> Answer:
        alone = bool(self._waiting) and must_be_alone(self._failed_before(self._waiting[0]))
        admitted = self._floor.admits(self, alone)
        if not self._waiting:
            return WAIT if self._live else DONE
        if not admitted:
            return WAIT
        run = self._waiting.popleft()
        folder = self.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "recipe.yaml", yamlfile.dumps(run.recipe.mapping()))
        write_json(folder / "job.json", self._identity(run))
        job = self._job(run, alone)
        self._floor.enter(job.key, alone)
        self._live[job.key] = _Live(run, Curve(folder / "history.jsonl"), run.recipe.epochs)
        self._start = self._meter.elapsed if self._start is None else self._start
        self._tell()
        return job

    def report(self, job: Job, result: Result) -> bool:
        self._add(self._live[job.key], result)
        self._floor.worked()
        self._tell()
        return True

    def complete(self, job: Job, result: Result | None, error: Failure | None) -> None:
        live = self._live.pop(job.key)
        self._floor.leave(job.key)
        if result is not None and result["done"]:
            self._add(live, result)
        fault = error or (result["failure"] if result else None)
        if fault is not None:
            self._fail(live, fault)
        elif result is not None and result["done"]:
            self._finish(live, {"metrics": result["result"] or {}, "epochs": result["epoch"]})
        else:
            self._waiting.appendleft(live.run)
        self._tell()
        if fault is not None:
            self._floor.check(fault["why"])

    def put_back(self, job: Job) -> None:
        self._waiting.appendleft(self._live.pop(job.key).run)
        self._floor.leave(job.key)
        self._tell()

    def close(self) -> None:
        self._live.clear()

    def _job(self, run: Run, alone: bool) -> Job:
        return replace(
            self.plan.job,
            key=f"{self.plan.folder.name}/{run.name}",
            recipe=run.recipe.mapping(),
            folder=str(self.folder(run).resolve()),
            alone=alone,
        )

    def _identity(self, run: Run) -> dict[str, Any]:
        return {
            "data": self.plan.data,
            "train_on": list(self.plan.job.train_on),
        }

    def _faults(self, run: Run) -> Iterable[str]:
        path, result = self.folder(run, "job.json"), self.folder(run, "result.json")
        if os.path.lexists(result) and not result.is_file():
            yield f"{result}: is no file, or leads to none; {TRAIN_AGAIN}"
        if not result.exists():
            curve.read(self.folder(run, "history.jsonl"))
        if not path.exists():
            return
        words, wanted = {"data": "other data", "train_on": "other parts"}, self._identity(run)
        with stored.sound(path, TRAIN_AGAIN):
            there = stored.mapping(path)
        found = [what for key, what in words.items() if there.get(key) != wanted[key]]
        if read_recipe(path.parent).fingerprint() != run.recipe.fingerprint():
            found.insert(0, "another recipe")
        for what in found:
            yield f"{path.parent}: was trained with {what}; move it away or use another study"

    def _add(self, live: _Live, result: Result) -> None:
        live.curve.add(result["history"])
        live.epoch = result["epoch"]
        if result["history"]:
            live.epochs = result["history"][-1].get("epochs", live.epochs)
        live.seconds += result["seconds"]
        self._meter.step(result["seconds"])

    def _finish(self, live: _Live, facts: dict[str, Any]) -> None:
        run, folder = live.run, self.folder(live.run)
        write_json(
            folder / "result.json",
            {
                "label": run.label,
                "seed": run.recipe.seed,
                "strategies": [strategy.name for strategy in run.recipe.strategies],
                **self._identity(run),
                **facts,
                "seconds": round(live.seconds, 3),
            },
        )
        (folder / "last.pt").unlink(missing_ok=True)
        self._floor.worked()
        self._outcome.done += 1

    def _fail(self, live: _Live, fault: Failure) -> None:
        """Diverging is a result; what else is left to do follows from the table of `faults`."""
        name, kind = live.run.name, fault["kind"]
        if kind != "interrupted":
            errorfile.add(self.folder(live.run), name, fault)
        if kind == "diverged":
            self.failures[name] = fault["why"]
            self._finish(live, {"metrics": {}, "epochs": live.epoch, "failure": fault["why"]})
        elif kind == "interrupted" or not self._floor.blames(name, kind) or self._floor.failing:
            self._waiting.append(live.run)
        elif goes_again(kind, self._failed_before(live.run)):
            self._failed_before(live.run).append(kind)
            self._waiting.append(live.run)
        else:
            self.failures[name] = fault["why"]
            self._outcome.failed += 1

    def _failed_before(self, run: Run) -> list[str]:
        return self._outcome.failed_before.setdefault(run.name, [])

    def _tell(self) -> None:
        if self.silent:
            return
        done, elapsed = self._outcome.done, self._meter.elapsed - (self._start or 0.0)
        left = len(self._waiting) + len(self._live)
        self.watch.progress(
            Progress(
                stage=self.plan.folder.name,
                planned=len(self.runs),
                complete=len(self.runs) - left - self._outcome.failed,
                failed=self._outcome.failed,
                waiting=len(self._waiting),
                running=tuple(
                    Running(key, live.run.name, live.epoch, live.epochs)
                    for key, live in self._live.items()
                ),
                seconds=elapsed,
                seconds_left=seconds_left(elapsed, done, left, self._meter.slots),
            )
        )


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a run as it reads today: a key that is new since has its default.

    Raises:
        AutosdError: it is missing or damaged; names the file and the way out.
    """
    path = folder / "recipe.yaml"
    with stored.sound(path, TRAIN_AGAIN):
        stored.check_end(path)
        return Recipe.read(path)


@dataclass(frozen=True)
class Record:
    """A finished run of a list as its folder tells it.

    Attributes:
        metrics: part -> metric -> value, fractions; empty where the run diverged.
        failure: why there are no metrics, else None.
    """

    label: str
    seed: int
    strategies: tuple[str, ...]
    metrics: dict[str, dict[str, float]]
    epochs: int
    seconds: float
    folder: Path
    failure: str | None = None

    def value(self, part: str, metric: str) -> float:
        """A metric of a part; NaN where the run has none."""
        return self.metrics.get(part, {}).get(metric, math.nan)


_RECORD = TypeAdapter(Record)


def read_records(folder: Path) -> list[Record]:
    """All finished runs of a list, by name of folder."""
    return [read_record(path.parent) for path in sorted(folder.glob("*/result.json"))]


def read_record(folder: Path) -> Record:
    """The finished run of a folder.

    Raises:
        AutosdError: its `result.json` is damaged; names it and the way out.
    """
    path = folder / "result.json"
    with stored.sound(path, TRAIN_AGAIN):
        return _RECORD.validate_python({**stored.load(path), "folder": folder})
