"""RSKD: residual learning for self-knowledge distillation. **Our reading of the abstract.**

Liu, Zhang and He, "Residual Learning for Self-Knowledge Distillation: Enhancing Neural Networks
Through Consistency Across Layers", IEEE Transactions on Big Data 11(5), 2025. Neither the
paper's text nor code could be read; what the abstract leaves open is decided here.

A pseudo-teacher, a past copy of the student, gives logits and maps for the same images. Besides
ordinary distillation, the last feature layer predicts the residual gap between the teacher's and
the student's output; with more `residual_layers`, each earlier one predicts the gap at the next
deeper layer.

    z', h' = logits and maps of the pseudo-teacher;  r_l = what layer l predicts
    L = CE(z, y) + kd_weight KL_T(z' || z)
        + residual_weight mean over layers l of mean (r_l - (h'_(l+1) - h_(l+1)))^2

Our decisions: the teacher is the student at the end of the previous epoch (or its moving
average), on batch statistics and without dropout, so that teacher = student gives exactly zero;
residuals are of raw logits and maps, both members detached, mean squared error; heads end in a
layer that starts at zero, so the method begins as plain training; nothing happens before
`start_epoch`. A batch of one row trains without it: it has no statistics. The mean squared gap
itself (`target_sq` in worked values), which would say whether there is anything to learn, is not
logged: what a strategy reports are terms of the loss, and it is none.
"""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autosd.data.batches import Batch
from autosd.models.pooling import keep_layout
from autosd.models.student import Activations, Student
from autosd.strategies.costs import Survey, survey
from autosd.strategies.losses import full, kd
from autosd.strategies.passes import (
    average_weights,
    copy_weights,
    on_device,
    pseudo_teacher,
    same_precision,
    teacher_pass,
)
from autosd.strategies.strategy import Cost, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def residual_error(predicted: Tensor, teacher: Tensor, student: Tensor) -> Tensor:
    """Mean squared error of `predicted` against the gap between `teacher` and `student`.

    All of one shape; the gap is a constant.
    """
    gap = full(teacher).detach() - full(student).detach()
    return (full(predicted) - gap).square().mean()


def residual_loss(
    predicted: list[Tensor], teachers: list[Tensor], students: list[Tensor]
) -> Tensor:
    """Mean of the layers' residual errors, so that the weight keeps its meaning."""
    errors = [
        residual_error(head, teacher, student)
        for head, teacher, student in zip(predicted, teachers, students, strict=True)
    ]
    return torch.stack(errors).mean()


class MapHead(nn.Module):
    """From one tap to the shape of the next deeper: 1x1, norm, ReLU, 1x1 that starts at zero.

    Args:
        tap: `[1, C, H, W]`, a map as the student makes it.
        deeper: `[1, C', H', W']`, what the output looks like.
    """

    def __init__(self, tap: Tensor, deeper: Tensor) -> None:
        super().__init__()
        channels, size = deeper.shape[1], tuple(deeper.shape[2:])
        stride = tap.shape[2] // size[0]
        even = tuple(tap.shape[2:]) == (size[0] * stride, size[1] * stride)
        self.resize = nn.Identity() if even else nn.AdaptiveAvgPool2d(size)
        self.layers = nn.Sequential(
            nn.Conv2d(tap.shape[1], channels, 1, stride if even else 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            _zeroed(nn.Conv2d(channels, channels, 1)),
        )

    def forward(self, tap: Tensor) -> Tensor:
        """The predicted residual at the next deeper tap."""
        residual: Tensor = self.layers(self.resize(keep_layout(tap)))
        return residual


def _zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Rskd(Strategy):
    """A frozen copy of the student and one head per residual layer, deepest first."""

    reference: ClassVar[str] = (
        "our reading of the abstract of Liu et al., Residual Learning for Self-Knowledge "
        "Distillation, IEEE Transactions on Big Data 11(5), 2025"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.TEACHER, Slot.HEADS})

    class Knobs(Strategy.Knobs):
        residual_layers: int = Field(
            1, ge=0, description="last feature layers that predict the residual; 0: plain KD"
        )
        residual_weight: float = Field(
            1.0, ge=0, le=1000, description="weight of the mean residual error"
        )
        kd_weight: float = Field(1.0, ge=0, le=100, description="weight of the KL to the teacher")
        temperature: float = Field(3.0, gt=0, le=1000, description="softens both sides of the KL")
        teacher: Literal["snapshot", "ema"] = Field(
            "snapshot", description="the student at the end of the last epoch, or its average"
        )
        ema_momentum: float = Field(
            0.999, ge=0, lt=1, description="momentum of the average (teacher: ema)"
        )
        start_epoch: int = Field(
            1, ge=0, description="first epoch, counted from 0, in which the terms are on"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        dry = survey(student)
        heads = nn.ModuleList(self._heads(dry, student, run.classes))
        self.heads = on_device(heads, run.device)
        self.teacher = pseudo_teacher(student)
        self.share = sum(
            dry.share(head, feature)
            for head, feature in zip(self.heads, self._features(dry.activations), strict=True)
        )

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(residual_weight=0, kd_weight=0)

    @classmethod
    def check(cls, knobs: Knobs, student: Student) -> list[str]:
        most = len(student.spec.stages)
        if knobs.residual_layers <= most:
            return []
        return [
            f"rskd.residual_layers: {student.spec.name} has {most} stages, so at most {most}, "
            f"not {knobs.residual_layers}"
        ]

    @classmethod
    def advice(cls, knobs: Knobs, epochs: int) -> list[str]:
        if knobs.start_epoch < epochs:
            return []
        return [
            f"rskd: its terms begin after epoch {knobs.start_epoch} and {epochs} are planned, "
            "so this is plain training"
        ]

    def cost(self) -> Cost:
        if not self._on:
            return Cost()
        return Cost(2.0 + self.share, 1.0 + self.share)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if not self._on or clock.epoch < self.knobs.start_epoch or len(batch.labels) == 1:
            return {}
        teacher = teacher_pass(self.teacher, batch.images, like=activations)
        terms = {}
        if self.knobs.kd_weight > 0:
            distilled = kd(teacher.logits, activations.logits, self.knobs.temperature)
            terms["rskd/kd"] = self.knobs.kd_weight * distilled
        if self.knobs.residual_weight > 0 and self.knobs.residual_layers > 0:
            terms["rskd/residual"] = self.knobs.residual_weight * self._residual(
                activations, teacher
            )
        return terms

    def after_step(
        self, activations: Activations, batch: Batch, student: Student, clock: Clock
    ) -> None:
        if self._on and self.knobs.teacher == "ema":
            average_weights(self.teacher, student, self.knobs.ema_momentum)

    def end_epoch(self, student: Student, clock: Clock) -> None:
        if self._on and self.knobs.teacher == "snapshot":
            copy_weights(self.teacher, student)

    @property
    def _on(self) -> bool:
        """Whether there is anything a teacher is needed for."""
        residual = self.knobs.residual_weight > 0 and self.knobs.residual_layers > 0
        return residual or self.knobs.kd_weight > 0

    def _heads(self, dry: Survey, student: Student, classes: int) -> list[nn.Module]:
        if self.knobs.residual_layers == 0:
            return []
        taps = dry.activations.taps[-self.knobs.residual_layers :]
        maps = [MapHead(tap, deeper) for tap, deeper in pairwise(taps)]
        return [_zeroed(nn.Linear(student.spec.embedding, classes)), *reversed(maps)]

    def _features(self, activations: Activations) -> list[Tensor]:
        """What the heads read, deepest first: the embedding, then taps before the last."""
        layers = [activations.embedding, *reversed(activations.taps[:-1])]
        return layers[: self.knobs.residual_layers]

    def _deeper(self, activations: Activations) -> list[Tensor]:
        """What the heads predict a gap of, in the same order."""
        layers = [activations.logits, *reversed(activations.taps[1:])]
        return layers[: self.knobs.residual_layers]

    def _residual(self, activations: Activations, teacher: Activations) -> Tensor:
        with same_precision(activations):
            predicted = [
                head(feature)
                for head, feature in zip(self.heads, self._features(activations), strict=True)
            ]
        return residual_loss(predicted, self._deeper(teacher), self._deeper(activations))
