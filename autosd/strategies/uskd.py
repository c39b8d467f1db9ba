"""USKD: universal self-knowledge distillation with customised soft labels.

Yang, Zeng, Li, Zhang, Yuan and Li, "From Knowledge Distillation to Self-Knowledge Distillation: A
Unified Approach with Normalized Loss and Customized Soft Labels", ICCV 2023.

Two hand-made targets. The true class: its cross-entropy is weighted by how sure the student
already is, against the mean of the batch. The wrong classes: ranked by the student and a weak head
on the stage before the last, given Zipf's 1, 1/2, ... 1/K by rank. The weak head learns from
smoothed labels and is dropped with the strategy.

    tau = p_y^2 + 1 - mean p_y^2;  v = 1 / rank over the wrong classes, summing to 1
    L = CE(z, y) - target_weight mean tau log p_y + weak_weight CE(weak head, smoothed y)
        - nontarget_weight mean sum over k != y of v_k log softmax(z without y)_k

Departures from the authors' code: classes that tie are ranked in their order (their sort leaves it
undefined). In the code the student's part of a rank is its log-probability, overwritten before
use, where a probability is the evident intent: `rank` offers both, `code` is the default.
The target term scales the gradient of the hard label by about 1 + target_weight, which works like
a larger learning rate.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autosd.data.batches import Batch
from autosd.models.pooling import pool
from autosd.models.student import Activations, Student
from autosd.strategies.costs import survey
from autosd.strategies.label_smoothing import smooth
from autosd.strategies.losses import full, tempered
from autosd.strategies.nontarget import of_true, without_true
from autosd.strategies.passes import on_device, same_precision
from autosd.strategies.strategy import Cost, Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

Rank = Literal["code", "prob"]
WEAK_SMOOTHING = 0.1
TAP = -2


def sureness(logits: Tensor, labels: Tensor) -> Tensor:
    """Weight `[B]` of each row's true class, about 1 and 1 in the mean; a constant."""
    squared = of_true(tempered(logits.detach(), 1.0), labels).exp().square()
    return squared + 1.0 - squared.mean()


def target_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the true class, weighted by `sureness`."""
    return -(sureness(logits, labels) * of_true(tempered(logits, 1.0), labels)).mean()


def ranked_targets(logits: Tensor, weak: Tensor, labels: Tensor, rank: Rank) -> Tensor:
    """Zipf's law over the wrong classes as student and weak head rank them: `[B, K - 1]`.

    The rank runs over all classes; the true one is taken out after it, and rows sum to 1.
    """
    strong = tempered(logits.detach(), 1.0)
    scores = _share(strong if rank == "code" else strong.exp(), labels)
    scores = scores + _share(tempered(weak.detach(), 1.0).exp(), labels)
    order = scores.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(1, scores.shape[1] + 1, device=scores.device, dtype=scores.dtype)
    zipf = torch.zeros_like(scores).scatter_(1, order, (1.0 / places).expand_as(scores))
    wrong = without_true(zipf, labels)
    return wrong / wrong.sum(dim=1, keepdim=True)


def _share(rows: Tensor, labels: Tensor) -> Tensor:
    return rows / (1.0 - of_true(rows, labels)[:, None] + 1e-6)


def nontarget_loss(logits: Tensor, weak: Tensor, labels: Tensor, rank: Rank) -> Tensor:
    """Cross-entropy of the wrong classes among themselves from `ranked_targets`."""
    target = ranked_targets(logits, weak, labels, rank)
    return -(target * tempered(without_true(logits, labels), 1.0)).sum(dim=1).mean()


def weak_loss(weak: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy of the weak head from the targets, smoothed."""
    rows = smooth(targets.dense(weak.shape[1]).to(weak.dtype), WEAK_SMOOTHING)
    return targets.softened(rows).cross_entropy(weak).mean()


class WeakHead(nn.Module):
    """A linear classifier on the pooled map of a stage."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, tap: Tensor) -> Tensor:
        """Logits `[B, K]` of a map `[B, C, H, W]`; the gradient reaches the stage."""
        logits: Tensor = self.classifier(pool(tap))
        return logits


class Uskd(Strategy):
    """A weak head beside the student; no other state."""

    reference: ClassVar[str] = (
        "Yang et al., From Knowledge Distillation to Self-Knowledge Distillation: A Unified "
        "Approach with Normalized Loss and Customized Soft Labels (USKD), ICCV 2023"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEADS, Slot.REGULARISER})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.NON_TARGET})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "it takes the true class out, and a mixed image has two",
        Effect.NON_TARGET: "two targets on the same wrong classes",
    }

    class Knobs(Strategy.Knobs):
        target_weight: float = Field(
            0.1, ge=0, le=100, description="weight of the true class's term; 1 for ImageNet"
        )
        nontarget_weight: float = Field(
            0.1, ge=0, le=100, description="weight of the wrong classes' term"
        )
        weak_weight: float = Field(
            0.1, ge=0, le=100, description="weight of the weak head's loss; 0.005 for ImageNet"
        )
        rank: Rank = Field(
            "code", description="student's part of a rank: log-probability (code), or probability"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        head = WeakHead(student.spec.stages[TAP].channels, run.classes)
        self.head = on_device(head, run.device)
        dry = survey(student)
        self.share = dry.share(self.head, dry.activations.taps[TAP])

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(target_weight=0, nontarget_weight=0, weak_weight=0)

    @classmethod
    def check(cls, knobs: Knobs, student: Student) -> list[str]:
        if len(student.spec.stages) > 1:
            return []
        return [f"uskd: {student.spec.name} has one stage, and its head reads the one before"]

    def cost(self) -> Cost:
        return Cost(1.0 + self.share, 1.0 + self.share) if self._headed else Cost()

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        knobs, logits, terms = self.knobs, activations.logits, {}
        if knobs.target_weight > 0:
            terms["uskd/target"] = knobs.target_weight * target_loss(logits, targets.labels)
        if not self._headed:
            return terms
        with same_precision(activations):
            weak = full(self.head(activations.taps[TAP]))
        if knobs.nontarget_weight > 0:
            wrong = nontarget_loss(logits, weak, targets.labels, knobs.rank)
            terms["uskd/nontarget"] = knobs.nontarget_weight * wrong
        if knobs.weak_weight > 0:
            terms["uskd/weak"] = knobs.weak_weight * weak_loss(weak, targets)
        return terms

    @property
    def _headed(self) -> bool:
        """Whether there is anything the weak head is needed for."""
        return self.knobs.nontarget_weight > 0 or self.knobs.weak_weight > 0
