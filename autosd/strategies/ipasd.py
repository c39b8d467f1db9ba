"""IPASD: intra-class progressive and adaptive self-distillation.

Gou, Lin, Li, Ou, Yu and Yi, "Intra-class progressive and adaptive self-distillation", Neural
Networks 188, 2025.

PS-KD with two memories. One holds the student's last prediction for each image, the other the
image's soft assignment to the class prototypes of the previous epoch (softmax of cosines). The
target mixes the label with a blend of both, weighted per batch by how many of its stored rows
are right; besides, each embedding is pulled to the prototype of its class (InfoNCE).

    share = weight_div min(e, ramp_end E) / E in epoch e of E
    w = right(features) / (right(features) + right(predictions)), rows of the batch
    q = (1 - share) y + share (w features[i] + (1 - w) predictions[i])
    L = CE(z, q) + con_weight CE(cos(f, prototypes) / con_temperature, y)

Departures from the authors' code, each with its reason:
- the pull has a gradient (theirs detaches the cosines, so it trains as `con_weight` 0; the
  default 0.01 was therefore never tuned with one);
- no stored row right: both memories count half (theirs divides 0 by 0);
- a class without images in an epoch keeps its prototype, or has the zero vector (theirs: 0/0);
- the ramp ends exactly at `ramp_end` (theirs overshoots where that is between two epochs);
- memories start as one-hot labels; accumulators are detached and stay on the device.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import full, refine
from autosd.strategies.memory import label_rows
from autosd.strategies.passes import exact
from autosd.strategies.ps_kd import ramp
from autosd.strategies.strategy import Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

Blend = Literal["adaptive", "prediction", "feature"]


def similarities(embedding: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """Cosines `[B, K]` of embeddings `[B, D]` and prototypes `[K, D]` over `temperature`.

    Lengths are at least 1e-8, so a zero vector has cosine 0 with everything.
    """
    with exact(embedding.device):
        rows = F.normalize(full(embedding), dim=1, eps=1e-8)
        return rows @ F.normalize(full(prototypes), dim=1, eps=1e-8).T / temperature


def feature_share(features: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    """Weight of the feature memory in a batch: its share of the rows whose argmax is right.

    Args:
        features: stored rows `[B, K]`, as are `predictions`.
        predictions: the other memory's rows.
        labels: `[B]`.

    Returns:
        A scalar, 0.5 where no row of either memory is right; the rest belongs to predictions.
    """
    by_feature = (features.argmax(1) == labels).sum(dtype=features.dtype)
    by_prediction = (predictions.argmax(1) == labels).sum(dtype=features.dtype)
    right = by_feature + by_prediction
    return torch.where(right > 0, by_feature / right.clamp(min=1), 0.5)


def blended(features: Tensor, predictions: Tensor, labels: Tensor, blend: Blend) -> Tensor:
    """The memories' part of the target, `[B, K]`."""
    features, predictions = full(features), full(predictions)
    if blend == "prediction":
        return predictions
    if blend == "feature":
        return features
    share = feature_share(features, predictions, labels)
    return share * features + (1.0 - share) * predictions


class Ipasd(Strategy):
    """Two memory rows per training image and one prototype per class; no modules."""

    reference: ClassVar[str] = (
        "Gou et al., Intra-class progressive and adaptive self-distillation, "
        "Neural Networks 188, 2025"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.TARGET})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.INDEX_MEMORY})
    memories: ClassVar[int] = 2
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "what is stored for an image belongs to another picture",
        Effect.EXTRA_ROWS: "an image's memories would be written more than once in a step",
        Effect.SAME_CLASS_ROWS: "an image's memories would be written more than once in a step",
    }

    class Knobs(Strategy.Knobs):
        weight_div: float = Field(
            0.8,
            ge=0,
            le=1,
            description="share of the memories in the target if the ramp ended at 1",
        )
        ramp_end: float = Field(
            0.8, gt=0, le=1, description="fraction of the planned epochs after which it stays"
        )
        con_weight: float = Field(
            0.01, ge=0, le=100, description="weight of the pull to the class prototype"
        )
        con_temperature: float = Field(
            0.3, ge=1e-3, le=100, description="softens the cosines to the prototypes"
        )
        blend: Blend = Field("adaptive", description="which memory: both by merit, or only one")

    knobs: Knobs
    predictions: Tensor
    features: Tensor
    prototypes: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        width = student.spec.embedding
        self.register_buffer("predictions", label_rows(run, self.memories, "ipasd"))
        self.register_buffer("features", label_rows(run, self.memories, "ipasd"))
        for name in ("prototypes", "sums"):
            self.register_buffer(name, torch.zeros(run.classes, width, device=run.device))
        self.register_buffer("counts", torch.zeros(run.classes, 1, device=run.device))

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(weight_div=0, con_weight=0)

    def targets(self, targets: Targets, batch: Batch, clock: Clock) -> Targets:
        if self.knobs.weight_div == 0:
            return targets
        share = ramp(clock.epoch, clock.epochs, self.knobs.weight_div, self.knobs.ramp_end)
        features, predictions = self.features[batch.index], self.predictions[batch.index]
        past = blended(features, predictions, targets.labels, self.knobs.blend)
        return targets.softened(refine(targets.dense(past.shape[1]), past, share))

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if self.knobs.con_weight == 0 or clock.epoch == 0:
            return {}
        scores = self._scores(activations)
        return {"ipasd/contrast": self.knobs.con_weight * F.cross_entropy(scores, targets.labels)}

    def after_step(
        self, activations: Activations, batch: Batch, student: Student, clock: Clock
    ) -> None:
        predictions = F.softmax(full(activations.logits), dim=1)
        self.predictions[batch.index] = predictions.to(self.predictions.dtype)
        if clock.epoch > 0:
            assignment = F.softmax(self._scores(activations), dim=1)
            self.features[batch.index] = assignment.to(self.features.dtype)
        units = F.normalize(full(activations.embedding), dim=1, eps=1e-12)
        self.sums.index_add_(0, batch.labels, units)
        self.counts.index_add_(0, batch.labels, torch.ones_like(units[:, :1]))

    def end_epoch(self, student: Student, clock: Clock) -> None:
        means = self.sums / self.counts.clamp(min=1)
        self.prototypes.copy_(torch.where(self.counts > 0, means, self.prototypes))
        self.sums.zero_()
        self.counts.zero_()

    def _scores(self, activations: Activations) -> Tensor:
        return similarities(activations.embedding, self.prototypes, self.knobs.con_temperature)
