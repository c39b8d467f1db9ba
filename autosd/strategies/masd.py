"""MASD: masked adaptive self-distillation.

Zhao, Tian, Wang, Deng, Sun and Dong, "Boosting accuracy of student models via Masked Adaptive
Self-Distillation", Neurocomputing 637, 2025.

Branches grow after intermediate stages. Before a branch, random positions of the map are zeroed
and two convolutions re-create the features; the branch, a copy of the remaining stages with its
own classifier, turns them into logits. All heads learn from the targets and teach each other; per
image, the head with the smaller cross-entropy gets the larger weight as a teacher. At inference
only the student is left.

    p_ik = softmax over the other heads k of CE_k / weighting_temperature
    w_ik = (1 - p_ik) / (H - 2)
    L = sum over heads i of CE(z_i, y)
        + kd_weight / (H - 1) sum over pairs i != k of w_ik KL_T(z_k || z_i), image by image

Departures from the authors' code, which hard-codes two branches of a ResNet-18: any number of
taps (their constants become M - 1 and M for M other heads), widths from the student, the
weighting temperature is a knob (1 in theirs). Like theirs, gradients flow through teachers and
weights unless `detach_targets` is set. Students without blocks to copy get light branches of
depthwise-separable stages. A batch of one row trains without branches: it has no statistics.

Our reading, for their code does not show it: on networks of three stages (WRN, DenseNet) branches
follow the first two; where blocks expand (the bottlenecks of a ResNet-50) masks, generators and
branches have the expanded widths.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.branches import (
    Branch,
    BranchDepth,
    last_taps,
    stand_in_note,
    too_many_taps,
)
from autosd.strategies.costs import survey
from autosd.strategies.losses import tempered
from autosd.strategies.passes import on_device, same_precision
from autosd.strategies.strategy import Cost, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def teacher_weights(losses: Tensor, weighting_temperature: float) -> Tensor:
    """Weight of every head as a teacher of every other, per image.

    Args:
        losses: cross-entropy `[H, B]` of each head on each image, at least two heads.
        weighting_temperature: infinite weights all alike, near 0 drops the worst teacher.

    Returns:
        `[H, H, B]`: entry i, k is the weight of teacher k for head i; 0 where i is k, and the
        others of a head sum to 1.
    """
    heads = len(losses)
    itself = torch.eye(heads, dtype=torch.bool, device=losses.device)[:, :, None]
    if heads == 2:
        return (~itself).to(losses.dtype).expand(heads, heads, losses.shape[1])
    scores = (losses / weighting_temperature).expand(heads, -1, -1)
    portions = scores.masked_fill(itself, -torch.inf).softmax(dim=1)
    return ((1.0 - portions) / (heads - 2)).masked_fill(itself, 0.0)


def mutual_loss(
    logits: Tensor,
    losses: Tensor,
    kd_weight: float,
    temperature: float,
    weighting_temperature: float,
    detach_targets: bool = False,
) -> Tensor:
    """What the heads teach each other: weighted KL over all pairs, per head and teacher.

    Args:
        logits: `[H, B, K]`.
        losses: cross-entropy `[H, B]` of each head on each image.
        kd_weight: weight of the whole term.
        temperature: softens both sides of the KL.
        weighting_temperature: see `teacher_weights`.
        detach_targets: no gradient through teachers and weights.
    """
    students = tempered(logits, temperature)
    teachers = students.detach() if detach_targets else students
    losses = losses.detach() if detach_targets else losses
    gaps = teachers[None] - students[:, None]
    divergence = (teachers.exp()[None] * gaps).sum(-1) * temperature**2
    weighted = teacher_weights(losses, weighting_temperature) * divergence
    heads, rows = losses.shape
    return kd_weight * weighted.sum() / (rows * (heads - 1))


def visible(noise: Tensor, mask_ratio: float) -> Tensor:
    """Which positions are kept, bool: where uniform `noise` in [0, 1) reaches `mask_ratio`."""
    return noise >= mask_ratio


class MaskedGenerator(nn.Module):
    """Zeroes positions of a map and re-creates its features with two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, tap: Tensor, kept: Tensor) -> Tensor:
        """New features `[B, C, H, W]` of `tap` where `kept` `[B, 1, H, W]`; no rescaling."""
        features: Tensor = self.layers(tap * kept.to(tap.dtype))
        return features


class MaskedBranch(nn.Module):
    """Mask and generator before a branch."""

    def __init__(self, student: Student, tap: int, depth: BranchDepth) -> None:
        super().__init__()
        self.generator = MaskedGenerator(student.spec.stages[tap].channels)
        self.branch = Branch(student, tap, depth)

    def forward(self, tap: Tensor, kept: Tensor) -> Tensor:
        """Logits `[B, K]`."""
        logits: Tensor = self.branch(self.generator(tap, kept))[0]
        return logits


class Masd(Strategy):
    """One branch for each of the last `num_taps` stages before the final one."""

    reference: ClassVar[str] = (
        "Zhao et al., Boosting accuracy of student models via Masked Adaptive Self-Distillation, "
        "Neurocomputing 637, 2025"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEADS})

    class Knobs(Strategy.Knobs):
        mask_ratio: float = Field(
            0.15, ge=0, le=1, description="share of a map's positions that a branch does not see"
        )
        weighting_temperature: float = Field(
            1.0, gt=0, description="infinite: all teachers alike; small: the worst is dropped"
        )
        kd_weight: float = Field(1.5, ge=0, le=100, description="weight of the mutual KL")
        temperature: float = Field(4.0, gt=0, le=1000, description="softens both sides of the KL")
        num_taps: int = Field(
            2, ge=0, description="branches, after the last stages before the final one"
        )
        branch_depth: BranchDepth = Field(
            "full", description="blocks per copied stage: at most two, or one"
        )
        detach_targets: bool = Field(
            False, description="no gradient through teachers and their weights"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.taps = last_taps(student, knobs.num_taps)
        depth = knobs.branch_depth
        branches = nn.ModuleList(MaskedBranch(student, tap, depth) for tap in self.taps)
        self.branches = on_device(branches, run.device)
        self.share = self._share(student)

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(num_taps=0)

    @classmethod
    def check(cls, knobs: Knobs, student: Student) -> list[str]:
        return too_many_taps("masd", knobs.num_taps, student)

    @classmethod
    def notes(cls, knobs: Knobs, student: Student) -> list[str]:
        return stand_in_note("masd", student) if knobs.num_taps > 0 else []

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
        logits = torch.stack([activations.logits, *self._branch_logits(activations, clock)])
        losses = torch.stack([targets.cross_entropy(head) for head in logits])
        terms = {"masd/branches": losses[1:].mean(dim=1).sum()}
        if self.knobs.kd_weight > 0:
            terms["masd/mutual"] = self._mutual(logits, losses)
        return terms

    def _branch_logits(self, activations: Activations, clock: Clock) -> list[Tensor]:
        with same_precision(activations):
            return [
                branch(activations.taps[tap], self._kept(activations.taps[tap], tap, clock))
                for tap, branch in zip(self.taps, self.branches, strict=True)
            ]

    def _kept(self, features: Tensor, tap: int, clock: Clock) -> Tensor:
        """A fresh mask `[B, 1, H, W]`, the same for all channels."""
        rows, _, height, width = features.shape
        noise = torch.rand(
            rows,
            1,
            height,
            width,
            device=features.device,
            generator=clock.generator(f"masd.mask.{tap + 1}"),
        )
        return visible(noise, self.knobs.mask_ratio)

    def _mutual(self, logits: Tensor, losses: Tensor) -> Tensor:
        return mutual_loss(
            logits,
            losses,
            self.knobs.kd_weight,
            self.knobs.temperature,
            self.knobs.weighting_temperature,
            self.knobs.detach_targets,
        )

    def _share(self, student: Student) -> float:
        if not self.taps:
            return 0.0
        dry = survey(student)
        return sum(
            dry.share(branch, maps, torch.ones_like(maps[:, :1], dtype=torch.bool))
            for tap, branch in zip(self.taps, self.branches, strict=True)
            for maps in [dry.activations.taps[tap]]
        )
