"""TF-KD: knowledge distillation from a hand-made teacher.

Yuan, Tay, Li, Wang and Feng, "Revisiting Knowledge Distillation via Label Smoothing
Regularization", CVPR 2020.

The teacher is a formula: right with probability `correct`, the rest spread over the wrong classes,
all of it softened. Its output is mixed into the target. Nothing is stored and nothing is trained.

    d = correct for the true class, (1 - correct) / (K - 1) for the others
    L = CE(z, (1 - kd_weight) y + kd_weight softmax(d / softening))

This is the regularising variant, TF-KD_reg; the one with a trained copy as teacher needs two
trainings and is not here. As in the authors' code, the softmax at the softening temperature is
taken of the probabilities, not of their logarithms, so that from about 5 on the teacher is nearly
uniform and the method is label smoothing.

Departures: the KL is summed over classes and averaged over the batch, without the per-model
multiplier of the authors' code (their ResNet-18 setting on CIFAR-100 is exactly this; two others
shrink the whole loss 17-fold). It is written as a target, which differs from their loss by a
constant: `(1 - kd_weight) * one_hot + kd_weight * teacher`.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Student
from autosd.strategies.losses import refine
from autosd.strategies.strategy import Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def virtual_teacher(labels: Tensor, classes: int, softening: float, correct: float) -> Tensor:
    """The teacher's probabilities for true classes `labels` `[B]`: `[B, K]`, rows summing to 1."""
    wrong = (1.0 - correct) / max(classes - 1, 1)
    beliefs = torch.full((len(labels), classes), wrong, device=labels.device)
    return torch.softmax(beliefs.scatter_(1, labels[:, None], correct) / softening, dim=1)


class TfKd(Strategy):
    """No modules, no state: the teacher is a formula."""

    reference: ClassVar[str] = (
        "Yuan et al., Revisiting Knowledge Distillation via Label Smoothing Regularization, "
        "CVPR 2020"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.TARGET})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.FLATTENED_TARGET})

    class Knobs(Strategy.Knobs):
        kd_weight: float = Field(0.1, ge=0, le=1, description="the teacher's share of the target")
        softening: float = Field(
            20.0, gt=0, description="temperature of the teacher; below 1 it is nearly certain"
        )
        correct: float = Field(
            0.99, gt=0, le=1, description="the teacher's belief in the true class, unsoftened"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.classes = run.classes

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(kd_weight=0)

    def targets(self, targets: Targets, batch: Batch, clock: Clock) -> Targets:
        if self.knobs.kd_weight == 0:
            return targets
        knobs, labels = self.knobs, targets.labels
        teacher = virtual_teacher(labels, self.classes, knobs.softening, knobs.correct)
        rows = targets.dense(self.classes)
        return targets.softened(refine(rows, teacher, knobs.kd_weight))
