"""BYOT: be your own teacher.

Zhang, Song, Gao, Chen, Bao and Ma, "Be Your Own Teacher: Improve the Performance of Convolutional
Neural Networks via Self Distillation", ICCV 2019.

Shallow classifiers after the stages before the final one learn from the targets, from the deepest
classifier's softened output, and from the deepest feature. Teacher and deepest feature are
constants.

    L = CE(z, y) + sum over the shallow classifiers c of
        (1 - kd_weight) CE(z_c, y) + kd_weight KL_T(z || z_c) + feature_weight mean (f_c - f)^2

Four public versions disagree. Decided here: the conference paper's sum, with a KL times the
temperature squared and a hint that is a mean over all elements, so that it does not depend on batch
and width; all shallow classifiers get the hint. Shallow classifiers are the bottlenecks of the
conference version, not the attention gates of the journal's. Weights and temperature are those of
the authors' journal code. A student with fewer stages has fewer of them. A batch of one row trains
without them: it has no statistics.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autosd.data.batches import Batch
from autosd.models.blocks import initialise
from autosd.models.pooling import pool
from autosd.models.student import Activations, Student
from autosd.strategies.branches import last_taps
from autosd.strategies.costs import survey
from autosd.strategies.losses import full, kd
from autosd.strategies.passes import on_device, same_precision
from autosd.strategies.strategy import Cost, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

REDUCTION = 4


def hint(features: Tensor, deepest: Tensor) -> Tensor:
    """Mean squared distance of `features` `[B, D]` from the deepest, which are constants."""
    return F.mse_loss(full(features), full(deepest.detach()))


class ShallowClassifier(nn.Module):
    """1x1 convolution to a quarter of the width, one that shrinks the map, 1x1 back; pooled.

    Args:
        channels: of the tap.
        shrink: side of the tap's map against that of the last.
        width: of the embedding D.
        classes: number of logits K.
    """

    def __init__(self, channels: int, shrink: int, width: int, classes: int) -> None:
        super().__init__()
        narrow = max(1, width // REDUCTION)
        self.bottleneck = nn.Sequential(
            *_conv_norm_act(channels, narrow, 1),
            *_conv_norm_act(narrow, narrow, shrink),
            *_conv_norm_act(narrow, width, 1),
        )
        self.classifier = nn.Linear(width, classes)
        initialise(self)

    def forward(self, tap: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B, K]` and the feature `[B, D]` that is compared with the embedding."""
        features = pool(self.bottleneck(tap))
        logits: Tensor = self.classifier(features)
        return logits, features


def _conv_norm_act(channels_in: int, channels_out: int, side: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, side, stride=side)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]


class Byot(Strategy):
    """A shallow classifier after each of the last `num_taps` stages before the final one."""

    reference: ClassVar[str] = (
        "Zhang et al., Be Your Own Teacher: Improve the Performance of Convolutional Neural "
        "Networks via Self Distillation, ICCV 2019"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEADS})

    class Knobs(Strategy.Knobs):
        kd_weight: float = Field(
            0.3, ge=0, le=1, description="share of the teacher, against the targets"
        )
        feature_weight: float = Field(0.03, ge=0, le=100, description="weight of the hint")
        temperature: float = Field(3.0, gt=0, le=1000, description="softens both sides of the KL")
        num_taps: int = Field(
            3, ge=0, description="shallow classifiers; as many as there are stages for"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.taps = last_taps(student, min(knobs.num_taps, len(student.spec.stages) - 1))
        dry = survey(student)
        maps = [dry.activations.taps[tap] for tap in self.taps]
        last = dry.activations.taps[-1]
        heads = nn.ModuleList(_shallow_classifier(own, last, student) for own in maps)
        self.heads = on_device(heads, run.device)
        self.share = sum(map(dry.share, self.heads, maps))

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(num_taps=0)

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
        if not self.taps or len(batch.labels) == 1:
            return {}
        with same_precision(activations):
            outputs = [
                head(activations.taps[tap]) for tap, head in zip(self.taps, self.heads, strict=True)
            ]
        return self._terms(activations, targets, outputs)

    def _terms(
        self, activations: Activations, targets: Targets, outputs: list[tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        knobs, terms = self.knobs, {}
        if knobs.kd_weight < 1:
            shallow = [targets.cross_entropy(logits).mean() for logits, _ in outputs]
            terms["byot/shallow"] = (1.0 - knobs.kd_weight) * torch.stack(shallow).sum()
        if knobs.kd_weight > 0:
            pulls = [kd(activations.logits, logits, knobs.temperature) for logits, _ in outputs]
            terms["byot/teacher"] = knobs.kd_weight * torch.stack(pulls).sum()
        if knobs.feature_weight > 0:
            hints = [hint(features, activations.embedding) for _, features in outputs]
            terms["byot/hint"] = knobs.feature_weight * torch.stack(hints).sum()
        return terms


def _shallow_classifier(own: Tensor, last: Tensor, student: Student) -> ShallowClassifier:
    """For a tap with map `own` of a student whose last map is `last`."""
    shrink = min(here // there for here, there in zip(own.shape[2:], last.shape[2:], strict=True))
    spec = student.spec
    return ShallowClassifier(own.shape[1], max(shrink, 1), spec.embedding, spec.classes)
