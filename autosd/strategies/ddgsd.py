"""DDGSD: data-distortion guided self-distillation.

Xu and Liu, "Data-Distortion Guided Self-Distillation for Deep Neural Networks", AAAI 2019.

Two independently augmented views of each image go through one forward pass, so that both share
batch statistics; they agree in their predictions and in their mean feature. Both learn from the
label.

    L = 1/2 (CE(z1, y) + CE(z2, y)) + kd_weight / 2 (KL_T(z2 || z1) + KL_T(z1 || z2))
        + feature_weight |mean f1 - mean f2|^2

Four public versions disagree about sums, temperatures, detached teachers and what the feature term
compares. Decided here: half the paper's sum of cross-entropies and of KLs, so that a step keeps
the size of a plain one; KL with the temperature squared and constant teachers; squared distance of
the mean feature vectors.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import full, mutual_kd
from autosd.strategies.strategy import Cost, Effect, Slot, Strategy, Targets
from autosd.streams import Clock

SECOND_VIEW = 1


def mean_discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Squared distance of the mean rows of two sets of features `[B, D]`; gradients reach both."""
    return (full(first).mean(dim=0) - full(second).mean(dim=0)).square().sum()


class Ddgsd(Strategy):
    """Twice the images of plain training per epoch; no state."""

    reference: ClassVar[str] = (
        "Xu and Liu, Data-Distortion Guided Self-Distillation for Deep Neural Networks, AAAI 2019"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.COMPOSE, Slot.TEACHER})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.EXTRA_ROWS})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "both views of an image would have to be mixed alike",
    }

    class Knobs(Strategy.Knobs):
        kd_weight: float = Field(
            1.0, ge=0, le=100, description="weight of the KL between the views, both ways"
        )
        feature_weight: float = Field(
            5e-4, ge=0, le=100, description="weight of the distance of the mean features"
        )
        temperature: float = Field(3.0, gt=0, le=1000, description="softens both predictions")

    knobs: Knobs

    def cost(self) -> Cost:
        return Cost(2.0, 2.0)

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        rows = torch.arange(batch.fresh, device=batch.index.device)
        index, labels = batch.index[rows], batch.labels[rows]
        return batch.append(batch.draw(index, SECOND_VIEW), labels, index, SECOND_VIEW, rows)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        knobs, terms = self.knobs, {}
        if knobs.kd_weight > 0:
            first, second = activations.logits.split(batch.fresh)
            halves = mutual_kd(first, second, knobs.temperature)
            terms["ddgsd/views"] = knobs.kd_weight * 0.5 * (halves[0] + halves[1])
        if knobs.feature_weight > 0:
            features = activations.embedding.split(batch.fresh)
            terms["ddgsd/features"] = knobs.feature_weight * mean_discrepancy(*features)
        return terms
