"""FRSKD: feature refinement via self-knowledge distillation.

Ji, Shin, Hwang, Park and Moon, "Refine Myself by Teaching Myself: Feature Refinement via
Self-Knowledge Distillation", CVPR 2021.

A feature pyramid on the student's stages (see `pyramid`) is the teacher: it learns from the
targets, and the student's classifier and maps imitate its refined ones. The teacher's
cross-entropy reaches the student's stages; what it teaches is constant. It is dropped with the
strategy.

    L = CE(z, y) + teacher_weight CE(z_t, y) + kd_weight KL_T(z_t || z)
        + feature_weight sum over stages of mean (att(f) - att(f_t))^2
    att(f) = mean over channels of f^2, as a vector of length 1

Departures from the authors' code: maps of any size. A widely used library lets gradients into the
teacher's logits. Where images are mixed, both classifiers learn from the mixed targets, as the
authors do. A batch of one row trains without the teacher: it has no statistics.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.costs import survey
from autosd.strategies.losses import full, kd
from autosd.strategies.passes import on_device, same_precision
from autosd.strategies.pyramid import Pyramid
from autosd.strategies.strategy import Cost, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def attention(features: Tensor) -> Tensor:
    """Where a map `[B, C, H, W]` is active: mean of squares over channels, unit rows `[B, HW]`."""
    return F.normalize(full(features).square().mean(dim=1).flatten(1), dim=1, eps=1e-12)


def attention_distance(students: Sequence[Tensor], teachers: Sequence[Tensor]) -> Tensor:
    """Sum over levels of the mean squared distance of attentions; teachers are constants."""
    distances = [
        F.mse_loss(attention(own), attention(refined.detach()))
        for own, refined in zip(students, teachers, strict=True)
    ]
    return torch.stack(distances).sum()


class Frskd(Strategy):
    """The pyramid is all its state."""

    reference: ClassVar[str] = (
        "Ji et al., Refine Myself by Teaching Myself: Feature Refinement via Self-Knowledge "
        "Distillation, CVPR 2021"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEADS})

    class Knobs(Strategy.Knobs):
        kd_weight: float = Field(2.0, ge=0, le=100, description="weight of the KL to the teacher")
        feature_weight: float = Field(
            100.0, ge=0, le=10000, description="weight of the distance of attention maps"
        )
        temperature: float = Field(4.0, gt=0, le=1000, description="softens both sides of the KL")
        teacher_weight: float = Field(
            1.0, ge=0, le=100, description="weight of the teacher's own cross-entropy"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.off = knobs.kd_weight == knobs.feature_weight == knobs.teacher_weight == 0
        channels = [stage.channels for stage in student.spec.stages]
        self.pyramid = on_device(Pyramid(channels, run.classes), run.device)
        dry = survey(student)
        self.share = 0.0 if self.off else dry.share(self.pyramid, *dry.activations.taps)

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(kd_weight=0, feature_weight=0, teacher_weight=0)

    def cost(self) -> Cost:
        return Cost(1.0 + self.share, 1.0 + self.share)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if self.off or len(batch.labels) == 1:
            return {}
        with same_precision(activations):
            teacher, refined = self.pyramid(*activations.taps)
        knobs, terms = self.knobs, {}
        if knobs.teacher_weight > 0:
            own = targets.cross_entropy(teacher).mean()
            terms["frskd/teacher"] = knobs.teacher_weight * own
        if knobs.kd_weight > 0:
            pull = kd(teacher, activations.logits, knobs.temperature)
            terms["frskd/logits"] = knobs.kd_weight * pull
        if knobs.feature_weight > 0:
            maps = [tap.relu() for tap in activations.taps]
            terms["frskd/attention"] = knobs.feature_weight * attention_distance(maps, refined)
        return terms
