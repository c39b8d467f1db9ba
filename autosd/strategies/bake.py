"""BAKE: batch knowledge ensembling.

Ge, Zhang, Choi, Cheung, Zhao, Zhu, Wang, Li and others, "Self-distillation with Batch Knowledge
Ensembling Improves ImageNet Classification", arXiv:2104.13298, 2021.

Each anchor brings `companions` further images of its class. The soft target of a row is its own
prediction and those of its batch mates, propagated over the similarity of their features. It is
trained on all rows, and the targets are constants.

    u = softmax(z / T);  A = softmax over the other rows j of cos(f_i, f_j)
    Q = (1 - propagation) (I - propagation A)^-1 u
    L = CE(z, y) + kd_weight T^2 KL(Q || u)

Departures from the authors' code: an anchor whose class has nobody else brings itself (theirs
crashes). The targets are used as they are; a widely used library sends them through another
softmax, which turns BAKE into label smoothing. An epoch shows `companions + 1` times as many
images as a plain one: compare at equal compute.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import full, tempered
from autosd.strategies.passes import exact
from autosd.strategies.same_class import SameClass
from autosd.strategies.strategy import Cost, Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

COMPANION_VIEW = 1


def affinity(features: Tensor) -> Tensor:
    """Softmax over the other rows of the cosine to each: `[B, D] -> [B, B]`, zero diagonal.

    Rows sum to 1; a single row has nobody and gets 0.
    """
    unit = F.normalize(full(features), dim=1, eps=1e-12)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    if len(unit) == 1:
        return torch.zeros_like(unit @ unit.T)
    return (unit @ unit.T).masked_fill(itself, -torch.inf).softmax(dim=1)


def ensembled(features: Tensor, probabilities: Tensor, propagation: float) -> Tensor:
    """Targets `[B, K]`: predictions propagated over the batch, rows summing to 1.

    The limit of mixing `propagation` of the neighbours' targets into `probabilities` for ever.
    """
    if len(features) == 1:
        return probabilities
    itself = torch.eye(len(features), dtype=probabilities.dtype, device=probabilities.device)
    system = itself - propagation * affinity(features).to(probabilities.dtype)
    solution: Tensor = torch.linalg.solve_ex(system, (1.0 - propagation) * probabilities).result
    return solution.clamp(min=0.0)


def ensembling_kd(
    features: Tensor, logits: Tensor, propagation: float, temperature: float
) -> Tensor:
    """KL of the rows of `logits` `[B, K]` from their ensembled targets, times T squared.

    Targets and features are constants.
    """
    prediction = tempered(logits, temperature)
    target = ensembled(features.detach(), prediction.detach().exp(), propagation)
    batch_mean = F.kl_div(prediction, target, reduction="batchmean")
    return batch_mean * temperature**2


class Bake(Strategy):
    """Anchors and companions in one batch; no state."""

    reference: ClassVar[str] = (
        "Ge et al., Self-distillation with Batch Knowledge Ensembling Improves ImageNet "
        "Classification, arXiv 2104.13298, 2021"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.COMPOSE, Slot.TEACHER})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.EXTRA_ROWS, Effect.SAME_CLASS_ROWS})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "a mixed image has two classes, so no companion shares its class",
    }

    class Knobs(Strategy.Knobs):
        propagation: float = Field(
            0.5, ge=0, lt=1, description="share of a target that comes from batch mates"
        )
        companions: int = Field(
            3, ge=0, le=63, description="further images of its class that each image brings"
        )
        temperature: float = Field(4.0, gt=0, le=1000, description="softens both predictions")
        kd_weight: float = Field(1.0, ge=0, le=100, description="weight of the KL to the targets")

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.same_class = SameClass(run)

    def cost(self) -> Cost:
        rows = 1.0 + self.knobs.companions
        return Cost(rows, rows)

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        count = self.knobs.companions
        if count == 0:
            return batch
        anchors = torch.arange(batch.fresh, device=batch.index.device).repeat_interleave(count)
        generator = clock.generator("bake.companions")
        index = self.same_class.draw(batch.index[: batch.fresh], count, generator).flatten()
        images = batch.draw(index, COMPANION_VIEW)
        return batch.append(images, batch.labels[anchors], index, COMPANION_VIEW, anchors)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if self.knobs.kd_weight == 0:
            return {}
        with exact(activations.logits.device):
            term = ensembling_kd(
                activations.embedding,
                activations.logits,
                self.knobs.propagation,
                self.knobs.temperature,
            )
        return {"bake/ensemble": self.knobs.kd_weight * term}
