"""The runs of a comparison as their folders tell them, and what each recipe took."""

import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autosd import stored
from autosd.search import curve
from autosd.search.lists import Record, read_record

TEST = "test.json"
SCORE_AGAIN = "put back a copy of it, or remove it: compare --test then scores this student again"
_SCORES = TypeAdapter(dict[str, dict[str, float]])


@dataclass(frozen=True)
class Runs:
    """All runs of one recipe.

    Attributes:
        label: of the recipe.
        strategies: of the recipe.
        records: finished runs, those that diverged included, in order of seed.
        planned: runs that should be there.
        histories: records of epochs, run by run.
    """

    label: str
    strategies: tuple[str, ...]
    records: tuple[Record, ...]
    planned: int
    histories: tuple[list[dict[str, Any]], ...]

    def scores(self, part: str, metric: str) -> dict[int, float]:
        """Finite values by seed."""
        values = {record.seed: record.value(part, metric) for record in self.records}
        return {seed: value for seed, value in values.items() if math.isfinite(value)}

    @property
    def diverged(self) -> list[str]:
        """Why, for each run that diverged."""
        return [record.failure for record in self.records if record.failure is not None]

    def curve(self, part: str, metric: str) -> list[float]:
        """Mean over the runs after each epoch that all of those with a result have."""
        values = [
            [epoch["evaluated"][part][metric] for epoch in history]
            for history, record in zip(self.histories, self.records, strict=True)
            if record.failure is None
        ]
        return [statistics.fmean(of_epoch) for of_epoch in zip(*values, strict=False)]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """Epochs of all runs."""
        return [epoch for history in self.histories for epoch in history]


@dataclass(frozen=True)
class Effort:
    """What a recipe takes; None where no epoch was finished.

    Attributes:
        epochs: planned.
        declared: image-forwards and image-backwards for one fresh image, and the cost of a step
            with cross-entropy's as 1, as the strategies say it.
        measured: training seconds for one fresh image, cross-entropy's as 1.
        images: fresh images that a run sees.
        forwards: images through the student in the training passes of a run, counted.
        seconds: of a run, evaluation after each epoch included; mean over runs.
        memory: bytes of parameters, buffers and memories: of `student` and `strategies`.
    """

    epochs: int | None = None
    declared: dict[str, float] | None = None
    measured: float | None = None
    images: int | None = None
    forwards: int | None = None
    seconds: float | None = None
    memory: dict[str, int] | None = None


def read_runs(folder: Path, label: str, names: Sequence[str], strategies: Iterable[str]) -> Runs:
    """The runs of one recipe that have ended, from their folders `names` below `folder`."""
    records, histories = [], []
    for name in names:
        path = folder / name
        if (path / "result.json").is_file():
            records.append(_record(path))
            histories.append(curve.read(path / "history.jsonl"))
    return Runs(label, tuple(strategies), tuple(records), len(names), tuple(histories))


def _record(folder: Path) -> Record:
    """A finished run, with its scores on test where they were read."""
    record, path = read_record(folder), folder / TEST
    if not os.path.lexists(path):
        return record
    with stored.sound(path, SCORE_AGAIN):
        read = _SCORES.validate_python(stored.load(path)["metrics"])
    return replace(record, metrics={**record.metrics, **read})


def effort_of(runs: Runs, baseline: Runs) -> Effort:
    """What a recipe took, beside the reference."""
    if not runs.epochs:
        return Effort()
    seconds = statistics.fmean(
        sum(epoch["seconds"] for epoch in history) for history in runs.histories if history
    )
    if any("work" not in epoch for epoch in runs.epochs):  # of a version that did not count it
        return Effort(epochs=runs.epochs[-1]["epochs"], seconds=seconds)
    work = runs.epochs[-1]["work"]
    return Effort(
        epochs=runs.epochs[-1]["epochs"],
        declared=work["declared"],
        measured=_measured(runs, baseline),
        images=_per_run(runs, "images"),
        forwards=_per_run(runs, "forwards"),
        seconds=seconds,
        memory=work["state_bytes"],
    )


def _per_run(runs: Runs, count: str) -> int:
    """Of a run that came to its end, where one did."""
    counts = (sum(int(epoch["work"][count]) for epoch in history) for history in runs.histories)
    return max(counts)


def _measured(runs: Runs, baseline: Runs) -> float | None:
    """Training time of an image relative to the reference's run with the same seed.

    A median over epochs, then over seeds: runs of one seed follow each other, so that most of what
    else the machine did is in both.
    """
    own, other = _seconds_per_image(runs), _seconds_per_image(baseline)
    ratios = [own[seed] / other[seed] for seed in own.keys() & other.keys()]
    return statistics.median(ratios) if ratios else None


def _seconds_per_image(runs: Runs) -> dict[int, float]:
    return {
        record.seed: 1 / statistics.median(epoch["images_per_second"] for epoch in history)
        for record, history in zip(runs.records, runs.histories, strict=True)
        if history
    }
