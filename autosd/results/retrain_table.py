"""The rows of `autosd retrain`: scores on test, differences, costs and calibration."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from autosd.recipe import Recipe
from autosd.results.calibration import Array, Temperature, identity, kept_logits
from autosd.results.compare_runs import Runs, read_runs
from autosd.results.compare_table import Row as Compared
from autosd.results.compare_table import rows_of as compared_rows
from autosd.results.retrain_field import Entry
from autosd.results.retrain_runs import FIRST_SEED, PART
from autosd.results.retrained import CALIBRATION, Row
from autosd.results.statistics import Summary, summary
from autosd.search.lists import Record, Run
from autosd.search.study import StudyFolder
from autosd.training.metrics import measure


@dataclass(frozen=True)
class Trained:
    """An entry of the table with its runs and the temperature of its recipe, if it has one."""

    entry: Entry
    runs: Runs
    temperature: Temperature | None


def planned_runs(entry: Entry, seeds: int) -> list[Run]:
    """A recipe with every seed; a seed is the same for all of them."""
    first = entry.recipe.seed + FIRST_SEED
    return [Run(entry.label, entry.recipe.with_seed(first + k)) for k in range(seeds)]


def read_trained(
    folder: StudyFolder,
    entries: Sequence[Entry],
    seeds: int,
    temperatures: Mapping[str, Temperature],
) -> list[Trained]:
    """The runs of every entry as their folders tell them."""
    found = []
    for entry in entries:
        names = [run.name for run in planned_runs(entry, seeds)]
        runs = read_runs(folder.retrain, entry.label, names, _strategies(entry.recipe))
        found.append(Trained(entry, runs, temperatures.get(identity(entry.recipe))))
    return found


def rows_of(trained: Sequence[Trained], labels: Array, metric: str) -> tuple[Row, ...]:
    """A row for each entry, in their order.

    Args:
        trained: one of them has the role `baseline`.
        labels: `[N]`, of test.
        metric: what the differences are of.
    """
    baseline = next(one for one in trained if "baseline" in one.entry.roles)
    others = [one.runs for one in trained if one is not baseline]
    compared = {
        row.recipe: row for row in compared_rows([baseline.runs, *others], (PART,), PART, metric)
    }
    return tuple(_row(one, compared[one.entry.label], labels) for one in trained)


def _row(one: Trained, compared: Compared, labels: Array) -> Row:
    entry, temperature = one.entry, one.temperature
    done = [record for record in one.runs.records if record.metrics]
    scaled = [] if temperature is None else _scaled(done, labels, temperature.value.mean)
    return Row(
        recipe=entry.label,
        roles=entry.roles,
        family=entry.family,
        strategies=one.runs.strategies,
        n=compared.n,
        planned=one.runs.planned,
        diverged=compared.diverged,
        failed=compared.failed,
        metrics=_summaries([_raw(record, labels) for record in done]),
        difference=compared.difference,
        verdict=compared.verdict,
        p_holm=compared.p_holm,
        verdict_holm=compared.verdict_holm,
        declared=compared.effort.declared,
        seconds=compared.effort.seconds,
        temperature=None if temperature is None else temperature.value,
        scaled=_summaries(scaled),
        search=entry.search,
        confirmed=entry.confirmed,
    )


def _raw(record: Record, labels: Array) -> dict[str, float]:
    """The metrics of a run; what an older version did not measure comes from its kept logits."""
    own = record.metrics[PART]
    path = record.folder / "logits.npz"
    if set(CALIBRATION) <= set(own) or not path.is_file():
        return own
    return {**_measured(kept_logits(path, PART), labels), **own}


def _scaled(done: Sequence[Record], labels: Array, temperature: float) -> list[dict[str, float]]:
    """Calibration of each run with its logits divided by the temperature of the recipe."""
    paths = [record.folder / "logits.npz" for record in done]
    return [
        _measured(kept_logits(path, PART) / temperature, labels) for path in paths if path.is_file()
    ]


def _measured(logits: Array, labels: Array) -> dict[str, float]:
    values = measure(torch.from_numpy(logits), torch.from_numpy(labels))
    return {name: values[name] for name in CALIBRATION}


def _summaries(runs: Sequence[Mapping[str, float]]) -> dict[str, Summary]:
    """Mean and spread of every metric over its finite values."""
    names = dict.fromkeys(name for run in runs for name in run)
    values = {name: [run[name] for run in runs if name in run] for name in names}
    finite = {name: [one for one in of if math.isfinite(one)] for name, of in values.items()}
    return {name: summary(of) for name, of in finite.items() if of}


def _strategies(recipe: Recipe) -> list[str]:
    return [spec.name for spec in recipe.strategies]
