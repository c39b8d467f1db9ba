"""The winner against its published default and cross-entropy, on all training data and on test.

Paired seeds study + 2000, study + 2001, ...; `train`, `val` and `select` together give gradients;
the last epoch counts; test is read once per run, and each reading is on record in `split.json`
before it happens.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd.data.loading import load_data
from autosd.errors import AutosdError, WorkFailed
from autosd.recipe import Recipe
from autosd.results.best import write
from autosd.results.card import Card
from autosd.results.leaderboard import BASELINE
from autosd.results.numbers import mean_and_sd
from autosd.results.outcome import Winner, winner
from autosd.results.retrain_runs import FIRST_SEED, PART, TRAIN_ON, train_runs
from autosd.results.statistics import Difference, Summary, paired_difference, summary, verdict
from autosd.results.wording import interval, sentence
from autosd.search.engines import EngineName
from autosd.search.finalists import default
from autosd.search.interrupts import raised
from autosd.search.lists import Record, Run, read_records
from autosd.search.progress import Watch
from autosd.search.study import StudyFolder

METRIC = "top1"


@dataclass(frozen=True)
class Row:
    """One recipe of the table.

    Attributes:
        recipe: its label.
        top1: on test over its seeds.
        difference: to cross-entropy, seed by seed.
        verdict: better, worse or no difference shown.
    """

    recipe: str
    top1: Summary
    difference: Difference
    verdict: str

    def mapping(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "recipe": self.recipe,
            "n": self.top1.n,
            "top1": {"mean": self.top1.mean, "sd": self.top1.sd},
            "difference": {
                "mean": self.difference.mean,
                "low": self.difference.low,
                "high": self.difference.high,
            },
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Retrained:
    """The table and the student.

    Attributes:
        rows: the winner first, cross-entropy last.
        model_dir: the winner's student with the first seed.
        images: of the test part.
        remarks: sentences on what is shown.
        seconds: wall time of this call.
    """

    rows: list[Row]
    model_dir: Path
    images: int
    remarks: list[str]
    seconds: float

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd retrain`."""
        return {
            "rows": [row.mapping() for row in self.rows],
            "model_dir": str(self.model_dir),
            "remarks": self.remarks,
        }


def retrain(
    name: str,
    root: Path,
    *,
    seeds: int = 3,
    epochs: int | None = None,
    slots: int | None = None,
    watch: Watch | None = None,
    engine: EngineName = "ray",
) -> Retrained:
    """Train the recipes of a study's table that are not trained yet, and write `best/`.

    Args:
        name, root: which study.
        seeds: of each recipe; more of them later are added to those that are there.
        epochs: other than the study's; such runs stand beside the others.
        slots: runs at the same time, None for as many as there is room for.
        watch: hears of every event.
        engine: `ray`, or `inline` for one run at a time in this process.

    Raises:
        AutosdError: no such study, no winner yet, other data than the study's, or another process
            runs it.
        WorkFailed: a run of the winner or of cross-entropy did not succeed.
    """
    begin = time.monotonic()
    folder = StudyFolder.find(name, root)
    won = winner(folder)
    if won is None:
        raise AutosdError(f"study {folder.name}: no trial is complete yet; run the search first")
    data = load_data(won.recipe.data)
    recipes = _recipes(folder, won, epochs)
    runs = [
        Run(label, recipe.with_seed(recipe.seed + FIRST_SEED + k))
        for label, recipe in recipes.items()
        for k in range(seeds)
    ]
    with raised(), folder.lock() as lock:
        folder.check_split(data.counts, data.fingerprint)
        train_runs(folder, data, runs, lock, slots=slots, watch=watch, engine=engine)
        rows = _rows(folder, list(recipes), {run.name for run in runs})
        remarks = _remarks(rows, won)
        _write_best(folder, won, runs[0], _table(rows, data.counts[PART]), rows, remarks)
    return Retrained(rows, folder.best, data.counts[PART], remarks, time.monotonic() - begin)


def _recipes(folder: StudyFolder, won: Winner, epochs: int | None) -> dict[str, Recipe]:
    """Label -> recipe of the winner, its family's published default and cross-entropy."""
    base = folder.definition.recipe.with_seed(folder.definition.seed)
    found = {won.label: won.recipe}
    for family in (won.family, BASELINE):
        candidate = default(folder.space, base, family)
        found.setdefault(candidate.label, candidate.recipe)
    if epochs is None or epochs == base.epochs:
        return found
    return {
        f"{label}-e{epochs}": recipe.model_copy(update={"epochs": epochs})
        for label, recipe in found.items()
    }


def _rows(folder: StudyFolder, labels: Sequence[str], names: set[str]) -> list[Row]:
    """One row per recipe, paired with cross-entropy by seed."""
    records = [record for record in read_records(folder.retrain) if record.folder.name in names]
    scores = {label: _scores(records, label) for label in labels}
    baseline = scores[labels[-1]]
    if not baseline or not scores[labels[0]]:
        raise WorkFailed(
            f"study {folder.name}: a recipe of the table gave no result; see {folder.retrain}"
        )
    return [_row(label, scores[label], baseline) for label in labels if scores[label]]


def _scores(records: Sequence[Record], label: str) -> dict[int, float]:
    values = {
        record.seed: record.value(PART, METRIC) for record in records if record.label == label
    }
    return {seed: value for seed, value in sorted(values.items()) if math.isfinite(value)}


def _row(label: str, scores: dict[int, float], baseline: dict[int, float]) -> Row:
    shared = sorted(scores.keys() & baseline.keys())
    if shared:
        pairs = [scores[seed] for seed in shared], [baseline[seed] for seed in shared]
        difference = paired_difference(*pairs)
    else:
        mean = summary(list(scores.values())).mean - summary(list(baseline.values())).mean
        difference = Difference(mean, None, None, 0, None, "no seed is shared")
    return Row(label, summary(list(scores.values())), difference, verdict(difference))


def _remarks(rows: Sequence[Row], won: Winner) -> list[str]:
    remarks = []
    if not won.confirmed:
        remarks.append("The winner was not confirmed: the study has no finalists yet.")
    if won.label == BASELINE:
        return [
            *remarks,
            "The search's winner is plain cross-entropy: there is nothing to compare.",
        ]
    for row in rows[:-1]:
        remarks.append(sentence(row.recipe, row.difference, METRIC))
    return remarks


def _write_best(
    folder: StudyFolder,
    won: Winner,
    run: Run,
    table: Sequence[str],
    rows: Sequence[Row],
    remarks: Sequence[str],
) -> None:
    """Put the winner's student of the first seed into `best/`."""
    source = folder.retrain / run.name
    record = next(one for one in read_records(folder.retrain) if one.folder.name == run.name)
    if not record.metrics:
        raise WorkFailed(f"{source}: {record.failure}; best/ stays as it was")
    card = Card(
        study=folder.name,
        recipe=run.recipe,
        label=won.label,
        trained_on=TRAIN_ON,
        origin="retrain",
        metrics=record.metrics,
        table=table,
        remarks=remarks,
    )
    facts = {
        "origin": "retrain",
        "label": won.label,
        "strategies": list(won.strategies),
        "winner": won.recipe.fingerprint(),
        "seed": run.recipe.seed,
        "trained_on": list(TRAIN_ON),
        "metrics": record.metrics,
        "rows": [row.mapping() for row in rows],
    }
    write(folder.best, source / "model", run.recipe, facts, card)


def _table(rows: Sequence[Row], images: int) -> list[str]:
    lines = [
        "| recipe | seeds | test top-1 ± sd | 95 % interval to cross-entropy | verdict |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        top1 = mean_and_sd(row.top1.mean, row.top1.sd, METRIC, images)
        reference = row is rows[-1]
        shown = "reference" if reference else interval(row.difference, METRIC)
        lines.append(
            f"| {row.recipe} | {row.top1.n} | {top1} | {shown} | "
            f"{'' if reference else row.verdict} |"
        )
    return lines
