"""Zipf's label smoothing: the wrong classes follow Zipf's law by the votes of the last map.

Liang, Li, Bing, Zhao, Tang, Lin and Fan, "Efficient One Pass Self-distillation with Zipf's Label
Smoothing", ECCV 2022.

Each position of the last feature map, enlarged, votes for a class through the student's own
classifier. Classes are ranked by votes, ties sharing the smallest rank, and the prediction over the
wrong classes is pulled to 1 / rank.

    q_k = 1 / rank_k^power over the wrong classes k, summing to 1
    L = CE(z, y) + kd_weight KL(q || softmax(z without y))

Departures from the authors' code: ranks are found on the device, not through SciPy on the host;
its extra stage heads, which it leaves without weight and gradient, are not here. The classifier is
applied before the enlargement, which is the same: both are linear. A student with layers between
its last map and its classifier is ranked by its logits instead.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.costs import survey
from autosd.strategies.losses import full, tempered
from autosd.strategies.nontarget import without_true
from autosd.strategies.passes import same_precision
from autosd.strategies.strategy import Cost, Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def dense_votes(position_logits: Tensor, upsample: int) -> Tensor:
    """Votes `[B, K]` of the positions of `[B, K, H, W]`, after enlarging it `upsample` times."""
    if upsample > 1:
        position_logits = F.interpolate(position_logits, scale_factor=upsample, mode="bilinear")
    winners = position_logits.argmax(dim=1).flatten(1)
    votes = position_logits.new_zeros(position_logits.shape[:2])
    return votes.scatter_add_(1, winners, torch.ones_like(winners, dtype=votes.dtype))


def ranks(votes: Tensor) -> Tensor:
    """1 plus the number of classes with more votes: `[B, K] -> [B, K]` int64, ties alike."""
    ascending = votes.sort(dim=1).values
    not_more = torch.searchsorted(ascending, votes.contiguous(), right=True)
    return 1 + votes.shape[1] - not_more


def zipf_targets(votes: Tensor, labels: Tensor, power: float) -> Tensor:
    """`1 / rank ** power` over the wrong classes, rows summing to 1: `[B, K - 1]`."""
    wrong = without_true(ranks(votes), labels).to(votes.dtype) ** -power
    return wrong / wrong.sum(dim=1, keepdim=True)


def zipf_divergence(logits: Tensor, votes: Tensor, labels: Tensor, power: float) -> Tensor:
    """KL of the prediction over the wrong classes from `zipf_targets`, mean over the batch."""
    target = zipf_targets(full(votes.detach()), labels, power)
    prediction = tempered(without_true(logits, labels), 1.0)
    return F.kl_div(prediction, target, reduction="batchmean")


class Zipf(Strategy):
    """No modules, no state: the student's classifier votes without gradient."""

    reference: ClassVar[str] = (
        "Liang et al., Efficient One Pass Self-distillation with Zipf's Label Smoothing, ECCV 2022"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.REGULARISER})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.NON_TARGET})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "it takes the true class out, and a mixed image has two",
        Effect.NON_TARGET: "two targets on the same wrong classes",
    }

    class Knobs(Strategy.Knobs):
        kd_weight: float = Field(
            0.1, ge=0, le=100, description="weight of the KL over the wrong classes"
        )
        power: float = Field(1.0, ge=0, le=10, description="a target is 1 / rank to this power")
        source: Literal["dense", "logits"] = Field(
            "dense", description="ranks by votes of the last map's positions, or by the logits"
        )
        upsample: Literal[1, 2] = Field(2, description="enlargement of the map before the vote")

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.dense = knobs.source == "dense" and student.spec.pooled_last_tap
        self.share = _classifier_share(student) if self.dense else 0.0

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(kd_weight=0)

    @classmethod
    def notes(cls, knobs: Knobs, student: Student) -> list[str]:
        if knobs.source == "logits" or student.spec.pooled_last_tap:
            return []
        return [
            f"zipf: {student.spec.name} has layers between its last map and its classifier; "
            "classes are ranked by the logits"
        ]

    def cost(self) -> Cost:
        return Cost() if self.knobs.kd_weight == 0 else Cost(1.0 + self.share, 1.0)

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
        votes = self._votes(activations, student)
        term = zipf_divergence(activations.logits, votes, targets.labels, self.knobs.power)
        return {"zipf/nontarget": self.knobs.kd_weight * term}

    @torch.no_grad()
    def _votes(self, activations: Activations, student: Student) -> Tensor:
        if not self.dense:
            return activations.logits.detach()
        with same_precision(activations):
            positions = student.last_map_logits(activations.taps[-1])
        return dense_votes(full(positions), self.knobs.upsample)


def _classifier_share(student: Student) -> float:
    """Operations of the classifier at every position of the last map, against a forward pass."""
    dry = survey(student)
    _, channels, height, width = dry.activations.taps[-1].shape
    return 2 * channels * student.spec.classes * height * width / dry.operations
