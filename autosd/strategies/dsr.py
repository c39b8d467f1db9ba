"""DSR: distillation with shape-wise regularisation, one half of LightSKD.

Wang, Han and Guo, "Lightweight Self-Knowledge Distillation with Multi-source Information
Fusion", arXiv:2305.09183, 2023.

Each row of logits is sorted and pulled to the sorted row at the same place in the previous
batch: the shape of the ranked output is kept steady, whatever the classes are. Each epoch starts
afresh.

    L = CE(z, y) + weight mean_i KL_T(sort(z_i of the previous batch) || sort(z_i))

Departures from the authors' code: the previous batch is always stored (theirs only when DRG is
on as well, else DSR compares with fixed noise); a short batch is compared in the rows both have.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import full, kd
from autosd.strategies.strategy import Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def ranked(logits: Tensor) -> Tensor:
    """Each row of `[B, K]` in ascending order; the gradient follows the permutation."""
    return full(logits).sort(dim=1).values


def shape_divergence(previous: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """KD from the previous batch's ranked rows `[P, K]` to those of `logits` `[B, K]`.

    Row by row over the first `min(P, B)` rows, and their mean.
    """
    rows = min(len(previous), len(logits))
    return kd(previous[:rows], ranked(logits[:rows]), temperature)


class Dsr(Strategy):
    """No modules; the ranked logits of one batch are all its state."""

    reference: ClassVar[str] = (
        "Wang et al., Lightweight Self-Knowledge Distillation with Multi-source Information "
        "Fusion (LightSKD), arXiv 2305.09183, 2023"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.REGULARISER})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "the shape of sorted logits depends on how two batches were mixed",
        Effect.EXTRA_ROWS: "it pairs row i of one batch with row i of the next",
        Effect.SAME_CLASS_ROWS: "it pairs row i of one batch with row i of the next",
    }

    class Knobs(Strategy.Knobs):
        weight: float = Field(1.0, ge=0, le=1000, description="weight of the shape term")
        temperature: float = Field(4.0, gt=0, le=1000, description="softens the sorted logits")

    knobs: Knobs
    previous: Tensor

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        rows = torch.zeros(run.batch_size, run.classes, device=run.device)
        self.register_buffer("previous", rows)
        self.rows = 0

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(weight=0)

    def start_epoch(self, student: Student, clock: Clock) -> None:
        self.rows = 0

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if self.knobs.weight == 0 or self.rows == 0:
            return {}
        previous = self.previous[: self.rows]
        shape = shape_divergence(previous, activations.logits, self.knobs.temperature)
        return {"dsr/shape": self.knobs.weight * shape}

    def after_step(
        self, activations: Activations, batch: Batch, student: Student, clock: Clock
    ) -> None:
        self.rows = len(activations.logits)
        self.previous[: self.rows] = ranked(activations.logits)
