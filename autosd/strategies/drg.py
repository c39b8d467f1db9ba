"""DRG: distillation with reverse guidance, one half of LightSKD.

Wang, Han and Guo, "Lightweight Self-Knowledge Distillation with Multi-source Information
Fusion", arXiv:2305.09183, 2023.

One light head reads a shallow stage. It learns from the targets, and its output, detached,
teaches the final classifier: the opposite direction of most deep supervision. The head is gone
at inference.

    L = CE(z, y) + aux_ce CE(h, y) + alpha KL_T(h || z),  h = logits of the head

Departures from the authors' code, which runs with one tap, one width and 32x32 images only:
widths come from the student; attention is interpolated to the tap's exact size
(`align_corners=True`) and the head pools globally, so odd maps work; no constant is added to the
loss; DRG and DSR are independent. A batch of one row trains without the head: it has no
statistics.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autosd.data.batches import Batch
from autosd.models.pooling import pool
from autosd.models.student import Activations, Student
from autosd.strategies.costs import survey
from autosd.strategies.losses import kd
from autosd.strategies.passes import on_device, same_precision
from autosd.strategies.strategy import Cost, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def separable(channels_in: int, channels_out: int) -> nn.Sequential:
    """Two depthwise-separable convolutions; the first halves the sides. No biases."""

    def depthwise(stride: int) -> nn.Conv2d:
        return nn.Conv2d(
            channels_in, channels_in, 3, stride, padding=1, groups=channels_in, bias=False
        )

    return nn.Sequential(
        depthwise(2),
        nn.Conv2d(channels_in, channels_in, 1, bias=False),
        nn.BatchNorm2d(channels_in),
        nn.ReLU(inplace=True),
        depthwise(1),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class GuidanceHead(nn.Module):
    """Attention on a tap, a chain of separable convolutions, pooling and a classifier.

    Args:
        channels: widths of the tap's stage and of all later ones.
        classes: number of logits.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        first = channels[0]
        self.attention = nn.Sequential(
            separable(first, first), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        self.chain = nn.Sequential(*(separable(a, b) for a, b in pairwise(channels)))
        self.classifier = nn.Linear(channels[-1], classes)

    def forward(self, tap: Tensor) -> Tensor:
        """Logits `[B, K]` of a tap `[B, C, H, W]`."""
        scores = F.interpolate(
            self.attention(tap), size=tap.shape[2:], mode="bilinear", align_corners=True
        )
        logits: Tensor = self.classifier(pool(self.chain(tap * scores.sigmoid())))
        return logits


class Drg(Strategy):
    """One head; its only state is its own."""

    reference: ClassVar[str] = (
        "Wang et al., Lightweight Self-Knowledge Distillation with Multi-source Information "
        "Fusion (LightSKD), arXiv 2305.09183, 2023"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEADS})

    class Knobs(Strategy.Knobs):
        alpha: float = Field(0.2, ge=0, le=100, description="weight of the KL from the head")
        temperature: float = Field(4.0, gt=0, le=1000, description="softens both sides of the KL")
        tap: int = Field(2, ge=1, description="stage the head reads, counted from 1")
        aux_ce: float = Field(1.0, ge=0, le=100, description="weight of the head's cross-entropy")

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        widths = [stage.channels for stage in student.spec.stages[knobs.tap - 1 :]]
        self.head = on_device(GuidanceHead(widths, run.classes), run.device)
        dry = survey(student)
        self.share = dry.share(self.head, dry.activations.taps[knobs.tap - 1])

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(alpha=0, aux_ce=0)

    @classmethod
    def check(cls, knobs: Knobs, student: Student) -> list[str]:
        most = len(student.spec.stages) - 1
        if knobs.tap <= most:
            return []
        return [
            f"drg.tap: {student.spec.name} has {most + 1} stages and the head reads one before "
            f"the last, so at most {most}, not {knobs.tap}"
        ]

    def cost(self) -> Cost:
        return Cost(1.0 + self.share, 1.0 + self.share) if self._on else Cost()

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if not self._on or len(batch.labels) == 1:
            return {}
        with same_precision(activations):
            guide = self.head(activations.taps[self.knobs.tap - 1])
        return guidance_terms(guide, activations.logits, targets, self.knobs)

    @property
    def _on(self) -> bool:
        """Whether there is anything the head is needed for."""
        return self.knobs.alpha > 0 or self.knobs.aux_ce > 0


def guidance_terms(
    guide: Tensor, logits: Tensor, targets: Targets, knobs: Drg.Knobs
) -> dict[str, Tensor]:
    """The head's cross-entropy, and the KL of the classifier from the head, a constant.

    Args:
        guide: logits `[B, K]` of the head.
        logits: logits `[B, K]` of the student.
        targets: what both learn from.
        knobs: weights and temperature; a weight of zero leaves its term out.
    """
    terms = {}
    if knobs.aux_ce > 0:
        terms["drg/head"] = knobs.aux_ce * targets.cross_entropy(guide).mean()
    if knobs.alpha > 0:
        terms["drg/guidance"] = knobs.alpha * kd(guide, logits, knobs.temperature)
    return terms
