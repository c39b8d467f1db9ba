"""What a trial took, by its learning curve on disk: image passes, seconds, cost, last metrics."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd.search import curve


@dataclass(frozen=True)
class Effort:
    """The work of one training run.

    Attributes:
        epochs: epochs on record.
        epoch_seconds: median seconds of an epoch; the first, which warms up, only where it is
            the only one.
        forwards: images through the student in all, None where it was not counted.
        cost: declared cost of a step, plain training's as 1, None where it was not kept.
        metrics: of `val` after the last epoch: top1, nll, ece, ... as fractions.
    """

    epochs: int
    epoch_seconds: float
    forwards: int | None
    cost: float | None
    metrics: Mapping[str, float]


def read_effort(path: Path) -> Effort | None:
    """The effort that a `history.jsonl` tells; None where it has no epoch.

    Raises:
        ValueError, KeyError, TypeError, OSError: the file is damaged.
    """
    epochs = curve.read(path)
    if not epochs:
        return None
    work = [record.get("work") or {} for record in epochs]
    counted = [one.get("forwards") for one in work]
    last = epochs[-1]["evaluated"].get("val", {})
    return Effort(
        epochs=len(epochs),
        epoch_seconds=_typical([record["seconds"] for record in epochs]),
        forwards=None if None in counted else sum(int(one) for one in counted if one is not None),
        cost=_cost(work),
        metrics={name: value for name, value in last.items() if value is not None},
    )


def _typical(seconds: Sequence[float]) -> float:
    return float(statistics.median(seconds[1:] or seconds))


def _cost(work: Sequence[Mapping[str, Any]]) -> float | None:
    declared = work[-1].get("declared") or {}
    step = declared.get("step")
    return None if step is None else float(step)
