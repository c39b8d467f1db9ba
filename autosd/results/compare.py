"""Strategies side by side: the same training, the same seeds, differences with their certainty.

Every recipe trains with the paired seeds study + 2000, study + 2001, ... on `train` and is scored
on `val` after its last epoch; `test` is read only if asked for, once for each run, and each reading
is on record in `split.json` before it happens. The record are the folders of `compare/` in the
study folder: what is finished is not repeated, what was interrupted goes on at its epoch. There
need be no search, and so no study database.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from autosd.data.dataset import Data
from autosd.data.loader import Loader
from autosd.data.loading import check_data, load_data
from autosd.files import write_json, write_text
from autosd.models.build import build_student, check_model
from autosd.models.student import Student
from autosd.recipe import Recipe, StudyDefinition
from autosd.results.compare_entries import Entry, Field, at_study_budget, field_of, given_field
from autosd.results.compare_page import page
from autosd.results.compare_runs import TEST, Runs, read_runs
from autosd.results.compare_table import Row, rows_of, to_csv
from autosd.results.compare_words import remarks_on
from autosd.results.readings import now
from autosd.results.room import of_runs
from autosd.search import code
from autosd.search.advice import few_steps
from autosd.search.capacity import processors
from autosd.search.engines import Engine, EngineChoice
from autosd.search.interrupts import raised
from autosd.search.jobs import Job
from autosd.search.lists import ListBridge, Plan, Run
from autosd.search.lock import StudyLock
from autosd.search.meter import Meter
from autosd.search.progress import Quiet, Watch
from autosd.search.space import Space
from autosd.search.study import StudyFolder, study_path
from autosd.strategies.check import check_combination
from autosd.strategies.strategy import discover
from autosd.training.evaluation import evaluate
from autosd.training.export import load_student

FIRST_SEED = 2000
TRAIN_ON = ("train",)
Budget = Literal["epochs", "compute"]


@dataclass(frozen=True)
class Compared:
    """The table and what it rests on.

    Attributes:
        study: its name.
        model, data: what was trained on what.
        budget: what all recipes have in common: epochs, or image passes.
        epochs: of plain training.
        seeds: paired.
        part, metric: what the differences are of.
        images: number of images of each part that was scored.
        rows: cross-entropy first, the others from best to worst.
        remarks: sentences that belong to the table.
        curves: the mean of the metric on val after each epoch, by recipe.
        files: the table as `csv`, `json` and `html`.
        seconds: wall time of this call.
    """

    study: str
    model: str
    data: str
    budget: Budget
    epochs: int
    seeds: tuple[int, ...]
    part: str
    metric: str
    images: dict[str, int]
    rows: list[Row]
    remarks: list[str]
    curves: dict[str, list[float]]
    files: dict[str, Path]
    seconds: float

    @property
    def failed(self) -> list[str]:
        """Recipes with runs that gave no result."""
        return [row.recipe for row in self.rows if row.failed]

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd compare`; see `Row.mapping` for the rows."""
        return {
            "study": self.study,
            "model": self.model,
            "data": self.data,
            "budget": self.budget,
            "epochs": self.epochs,
            "seeds": list(self.seeds),
            "part": self.part,
            "metric": self.metric,
            "images": self.images,
            "rows": [row.mapping() for row in self.rows],
            "remarks": self.remarks,
            "curves": self.curves,
            "files": {kind: path.name for kind, path in self.files.items()},
        }


def compare(
    definition: StudyDefinition,
    root: Path,
    *,
    strategies: Sequence[str] = (),
    seeds: int = 3,
    epochs: int | None = None,
    budget: Budget | None = None,
    test: bool = False,
    slots: int | None = None,
    engine: EngineChoice = "ray",
    watch: Watch | None = None,
    recipes: Mapping[str, Recipe] | None = None,
) -> Compared:
    """Train what is not trained yet, and write the table to `compare/` of the study folder.

    Args:
        definition: its recipe is what all have in common.
        root: the folder of studies.
        strategies: names of strategies, families of a space, or recipe files; none stands for all.
        seeds: of each recipe; more of them later are added to those that are there.
        epochs, budget: other than the study's; such runs stand beside the others. What both budgets
            train for as many epochs is one run for both.
        test: whether the students are scored on test as well, and compared there.
        slots: runs at the same time, None for as many as there is room for.
        engine: `ray`, a `Cluster` to join, or `inline` for one run at a time in this process.
        watch: hears of every event.
        recipes: recipes under given labels instead of `strategies`, the reference first.

    Raises:
        AutosdError: unknown names, recipes that do not fit, runs of another training in the
            folder, other data than the study's, or another process runs the study.
        EngineLost: Ray ended; the same call goes on.
        KeyboardInterrupt: with the signal's number; the same call goes on.
    """
    begin, watch = time.monotonic(), watch or Quiet()
    kind = _kind(definition, epochs, budget)
    base = _base(definition, epochs, budget)
    check_data(base.data)
    check_model(base.model)
    data = load_data(base.data)
    student = build_student(base.model, len(data.class_names), data.image_shape, seed=0)
    folder = _folder(definition, root, len(student.spec.stages))
    field = (
        given_field(recipes, student)
        if recipes
        else field_of(base, folder.space, student, strategies)
    )
    if base.budget != definition.recipe.budget:
        field = at_study_budget(field, definition.recipe, student, data, folder.path)
    for line in few_steps(base, data.counts["train"]):
        watch.say(f"note: {line}")
    work = _Work(folder, base, kind, field, tuple(_seeds(base, seeds)), test)
    machine = Engine(engine, slots or folder.definition.slots, folder.definition.per_trial)
    with raised(), folder.lock() as lock:
        folder.split.check(data.counts, data.fingerprint)
        work.train(data, lock, machine, watch)
        if test:
            work.read_test(watch)
        return work.table(data, begin)


def _kind(definition: StudyDefinition, epochs: int | None, budget: Budget | None) -> str:
    """What is added to names of folders and files where the training is not the study's."""
    recipe = definition.recipe
    kind = "" if epochs in (None, recipe.epochs) else f"-e{epochs}"
    return kind if budget in (None, recipe.budget) else f"{kind}-{budget}"


def _base(definition: StudyDefinition, epochs: int | None, budget: Budget | None) -> Recipe:
    asked = {"epochs": epochs, "budget": budget, "seed": definition.seed}
    update = {key: value for key, value in asked.items() if value is not None}
    return definition.recipe.model_copy(update=update)


def _seeds(base: Recipe, count: int) -> Iterator[int]:
    return (base.seed + FIRST_SEED + k for k in range(count))


def _folder(definition: StudyDefinition, root: Path, stages: int) -> StudyFolder:
    """The study's folder; where there is no study yet, the place it would have."""
    path = study_path(root, definition.name)
    if (path / "study.yaml").is_file():
        return StudyFolder.open(path)
    space = Space.read(
        definition.space, discover(), check_combination, stages=stages, base=definition.recipe
    )
    return StudyFolder(path, definition, space, url="")


@dataclass(frozen=True)
class _Work:
    """One comparison, its recipes known."""

    folder: StudyFolder
    base: Recipe
    kind: str
    field: Field
    seeds: tuple[int, ...]
    test: bool

    @property
    def path(self) -> Path:
        return self.folder.path / "compare"

    def runs(self, entry: Entry) -> list[Run]:
        """A recipe with every seed."""
        other = entry.recipe.budget != self.base.budget
        kind = self.kind.removesuffix(f"-{self.base.budget}") if other else self.kind
        return [Run(entry.label + kind, entry.recipe.with_seed(seed)) for seed in self.seeds]

    def train(self, data: Data, lock: StudyLock, machine: Engine, watch: Watch) -> None:
        """Do the runs that have no result yet, seed by seed, so that a part of it is paired."""
        definition = self.folder.definition
        each = definition.per_trial
        job = Job(
            key="",
            recipe={},
            folder="",
            train_on=TRAIN_ON,
            final=("val",),
            export=True,
            details={"study": self.folder.name, "trained_on": list(TRAIN_ON)},
            token=lock.token,
            lock=str(self.folder.lock_path.resolve()),
            cpus=each.cpus,
            gpus=each.share,
            epoch_seconds=definition.epoch_seconds,
            root=str(self.folder.path),
        )
        by_entry = [self.runs(entry) for entry in self.field.entries]
        runs = [run for of_seed in zip(*by_entry, strict=True) for run in of_seed]
        meter = Meter(machine.slots)
        bridge = ListBridge(Plan(self.path, data.fingerprint, job), runs, meter, watch)
        if not bridge.left:
            return
        left = [run for run in runs if not bridge.folder(run, "result.json").exists()]
        of_runs(self.path, left, data, machine.slots, ()).check()
        code.remark(self.folder.path, definition.recipe.model.name, watch.say)
        with machine:
            machine.drive(bridge, watch, meter.resize)
        for failed, why in bridge.failures.items():
            watch.say(f"{failed} gave no result: {why}")

    def read_test(self, watch: Watch) -> None:
        """Score the students that have not been scored on test; each reading is recorded first."""
        waiting = [
            run
            for entry in self.field.entries
            for run in self.runs(entry)
            if (self.path / run.name / "model" / "model.json").is_file()
            and not os.path.lexists(self.path / run.name / TEST)
        ]
        if not waiting:
            return
        watch.say(f"scoring {len(waiting)} students on test, once each")
        data = load_data(self.base.data, with_test=True)
        for run in waiting:
            self.folder.split.note_reading(f"compare/{run.name}", now())
            metrics = _score(self.path / run.name / "model", run.recipe.model.name, data)
            write_json(self.path / run.name / TEST, {"metrics": {"test": metrics}})

    def table(self, data: Data, begin: float) -> Compared:
        """Read all runs and write the table."""
        parts = ("val", "test") if self.test else ("val",)
        part, metric = parts[-1], self.folder.definition.objective
        field = [self._read(entry) for entry in self.field.entries]
        rows = rows_of(field, parts, part, metric)
        names = {kind: self.path / f"compare{self.kind}.{kind}" for kind in ("csv", "json", "html")}
        compared = Compared(
            study=self.folder.name,
            model=self.base.model.name,
            data=self.base.data.name,
            budget=self.base.budget,
            epochs=self.base.epochs,
            seeds=self.seeds,
            part=part,
            metric=metric,
            images={name: data.counts[name] for name in parts},
            rows=rows,
            remarks=remarks_on(self.field, self.base, field, rows, (part, metric)),
            curves={runs.label: runs.curve("val", metric) for runs in field},
            files=names,
            seconds=time.monotonic() - begin,
        )
        write_text(names["csv"], to_csv(rows))
        write_json(names["json"], compared.mapping())
        write_text(names["html"], page(compared))
        return compared

    def _read(self, entry: Entry) -> Runs:
        names = [run.name for run in self.runs(entry)]
        strategies = (spec.name for spec in entry.recipe.strategies)
        return read_runs(self.path, entry.label, names, strategies)


def _score(model: Path, network: str, data: Data) -> dict[str, float]:
    """Metrics of an exported student on test; code is run of the recipe's own `network` alone."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(processors())
    student: Student = load_student(model, trust_code=network).to(device)
    loader = Loader(data.part("test"), data, device=device)
    return evaluate(student, loader.plain(), keep=False).metrics
