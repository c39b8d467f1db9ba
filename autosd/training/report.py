"""What an epoch gave: sums that stay on the device, and the report read from them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from autosd.errors import TrialDiverged


@dataclass(frozen=True)
class Work:
    """What an epoch took, in counts that do not depend on the machine.

    Attributes:
        images: fresh images.
        forwards: images through the student in its training passes, appended rows included; each
            of them also goes backwards. Passes that a strategy runs beside these are in `declared`.
        declared: what the strategies say of themselves, for one fresh image: `forwards`,
            `backwards` and `step`, the cost of a step with plain training's as 1.
        state_bytes: parameters and buffers of `student` and `strategies`, per-sample memories
            included; neither gradients nor the optimiser's state.
    """

    images: int
    forwards: int
    declared: dict[str, float]
    state_bytes: dict[str, int]


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch.

    Attributes:
        epoch: 1-based.
        epochs: planned; fewer than the recipe's where its budget is compute.
        train: `top1` (fresh rows, while they were learnt) and `loss` (sum of the terms).
        evaluated: metrics of each evaluated part, fractions of 0 to 1.
        terms: mean of each named loss term over the steps that had it.
        seconds: wall time, evaluation included.
        images_per_second: fresh images of the training alone.
        dropped: rows dropped in this epoch (a last batch of one row under batch norm).
        work: images and passes counted, cost declared, state held.
        record: threads, device, layout, precision and optimiser form: each changes the bits.
    """

    epoch: int
    epochs: int
    train: dict[str, float]
    evaluated: dict[str, dict[str, float]]
    terms: dict[str, float]
    seconds: float
    images_per_second: float
    dropped: int
    work: Work
    record: dict[str, Any]

    def mapping(self) -> dict[str, Any]:
        """Plain values, as JSON takes them."""
        return asdict(self)


class Tally:
    """Counts and loss terms of an epoch. Nothing is read from the device before `read`."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.images = 0
        self.forwards = 0
        self._right: list[Tensor] = []
        self._terms: list[dict[str, Tensor]] = []

    def add(
        self, logits: Tensor, labels: Tensor, terms: Mapping[str, Tensor], forwards: int
    ) -> None:
        """Count a step: logits `[F, K]` and labels `[F]` of its fresh rows, its terms, all rows."""
        self.images += len(labels)
        self.forwards += forwards
        self._right.append((logits.detach().argmax(dim=1) == labels).sum())
        self._terms.append({name: term.detach() for name, term in terms.items()})

    def read(self) -> tuple[dict[str, float], dict[str, float]]:
        """The epoch's `train` metrics and mean loss terms.

        Raises:
            TrialDiverged: a term of some step is not finite; names the first such step.
        """
        columns = self._columns()
        terms = {name: sum(column) / len(column) for name, column in columns.items()}
        self._require_finite(terms)
        right = int(torch.stack(self._right).sum())
        loss = sum(sum(column) for column in columns.values()) / len(self._terms)
        return {"top1": right / self.images, "loss": loss}, terms

    def require_finite(self) -> None:
        """Raise `TrialDiverged` if a term so far is not finite."""
        columns = self._columns()
        self._require_finite({name: sum(c) / len(c) for name, c in columns.items()})

    def _columns(self) -> dict[str, list[float]]:
        """Values of each term over the steps that had it, read from the device at once."""
        names = dict.fromkeys(name for step in self._terms for name in step)
        return {
            name: torch.stack([step[name] for step in self._terms if name in step]).tolist()
            for name in names
        }

    def _require_finite(self, terms: dict[str, float]) -> None:
        if all(math.isfinite(value) for value in terms.values()):
            return
        finite = [all(math.isfinite(float(term)) for term in step.values()) for step in self._terms]
        raise TrialDiverged(self.epoch + 1, finite.index(False), terms)
