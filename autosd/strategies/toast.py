"""TOAST: two-stage approach for self-knowledge distillation. **Our reading of the abstract.**

Yin, Pu, Zhou and Xue, "Two-Stage Approach for Targeted Knowledge Transfer in Self-Knowledge
Distillation", IEEE/CAA Journal of Automatica Sinica 11(11), 2024. Neither the paper's text nor
code could be read; what the abstract leaves open is decided here.

Hard targets are softened with the medoid of their class, the most central logit vector of the
previous epoch (stage 1). The under-trained half of a batch is shown again in the next step and
distilled from its own past predictions, as in DLB (stage 2). Both stages are added.

    q = (1 - medoid_mix) y + medoid_mix softmax(medoid of the class / T)
    L = CE(z, q) over all rows + kd_weight KL_T(z before || z now) over the replayed rows

Our decisions in stage 1: Euclidean distance; the last `medoid_pool` vectors of a class; only
correctly classified ones, because the medoid of a hard class may otherwise point to another class
(`correct_only: false` is the abstract's wording).

Our decisions in stage 2: under-trained means the largest cross-entropy with the hard label;
candidates are fresh rows only, so an image is replayed once per visit.

With `medoid_mix` 0 and `replay_fraction` 1 this is DLB, step by step. Replayed rows are appended
to the batch and run in one forward pass.
"""

import logging
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.carry import Carry
from autosd.strategies.losses import full
from autosd.strategies.medoids import ClassPools
from autosd.strategies.memory import squares_too_large
from autosd.strategies.strategy import Cost, Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

logger = logging.getLogger(__name__)

POOL_BYTES = 256 * 2**20


def medoid_targets(
    rows: Tensor, medoids: Tensor, present: Tensor, mix: float, temperature: float
) -> Tensor:
    """Target rows `[B, K]` with `mix` of the softened medoid of each row's class.

    Args:
        rows: targets so far.
        medoids: the medoid `[B, K]` of each row's class.
        present: `[B]` bool, whether the class has one; without it the row stays as it is.
        mix: share of the medoid.
        temperature: softens the medoid's logits.
    """
    softened = (1.0 - mix) * rows + mix * F.softmax(medoids / temperature, dim=1)
    return torch.where(present[:, None], softened, rows)


def replay_count(fresh: int, fraction: float) -> int:
    """How many of `fresh` rows are shown again: rounded half up, at least one; 0 for 0."""
    if fraction == 0:
        return 0
    return max(1, min(fresh, int(fraction * fresh + 0.5)))


def least_trained(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """Ascending indices `[count]` of the rows with the largest cross-entropy; ties: the first."""
    losses = F.cross_entropy(full(logits), labels, reduction="none")
    worst = losses.sort(descending=True, stable=True).indices[:count]
    return worst.sort().values


class Toast(Strategy):
    """Class pools and medoids for stage 1, carried rows for stage 2; no modules."""

    reference: ClassVar[str] = (
        "our reading of the abstract of Yin et al., Two-Stage Approach for Targeted Knowledge "
        "Transfer in Self-Knowledge Distillation, IEEE/CAA J. Autom. Sinica 11(11), 2024"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.COMPOSE, Slot.TARGET, Slot.TEACHER})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.EXTRA_ROWS})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "a replayed picture would have to repeat the mixing of its step, "
        "and medoids would be those of mixed pictures",
    }

    class Knobs(Strategy.Knobs):
        medoid_mix: float = Field(
            0.1, ge=0, le=1, description="share of the class medoid in the target"
        )
        kd_weight: float = Field(1.0, ge=0, le=100, description="weight of the KL to past logits")
        temperature: float = Field(
            3.0, gt=0, le=1000, description="softens medoids and both sides of the KL"
        )
        replay_fraction: float = Field(
            0.5, ge=0, le=1, description="share of a batch that is shown again in the next step"
        )
        medoid_pool: int = Field(
            64, ge=1, le=65536, description="logit vectors of a class its medoid is chosen from"
        )
        correct_only: bool = Field(
            True, description="pool only vectors whose largest logit is the true class"
        )

    knobs: Knobs
    medoids: Tensor
    present: Tensor

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.pools = ClassPools(run.classes, _pool_size(knobs, run.classes), run.device)
        medoids = torch.zeros(run.classes, run.classes, device=run.device)
        present = torch.zeros(run.classes, dtype=torch.bool, device=run.device)
        self.register_buffer("medoids", medoids)
        self.register_buffer("present", present)
        self.carry = Carry(run)

    @classmethod
    def check(cls, knobs: Any, student: Student) -> list[str]:
        return squares_too_large(student.spec.classes, 2, "toast")

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(medoid_mix=0, kd_weight=0, replay_fraction=0)

    def cost(self) -> Cost:
        return Cost(1.0 + self.knobs.replay_fraction, 1.0 + self.knobs.replay_fraction)

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        return self.carry.append_to(batch)

    def targets(self, targets: Targets, batch: Batch, clock: Clock) -> Targets:
        if self.knobs.medoid_mix == 0 or clock.epoch == 0:
            return targets
        medoids, present = self.medoids[targets.labels], self.present[targets.labels]
        rows = targets.dense(self.medoids.shape[1])
        return targets.softened(
            medoid_targets(rows, medoids, present, self.knobs.medoid_mix, self.knobs.temperature)
        )

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        knobs = self.knobs
        term = self.carry.pull(activations.logits, batch, knobs.kd_weight, knobs.temperature)
        return {} if term is None else {"toast/replay": term}

    def after_step(
        self, activations: Activations, batch: Batch, student: Student, clock: Clock
    ) -> None:
        logits, labels = activations.logits[: batch.fresh], batch.labels[: batch.fresh]
        if self.knobs.medoid_mix > 0:
            right = logits.argmax(1) == labels
            keep = right if self.knobs.correct_only else torch.ones_like(right)
            self.pools.add(logits, labels, keep)
        count = replay_count(batch.fresh, self.knobs.replay_fraction)
        if count > 0:
            self.carry.keep(batch, logits, least_trained(logits, labels, count))

    def end_epoch(self, student: Student, clock: Clock) -> None:
        if self.knobs.medoid_mix == 0:
            return
        medoids, found = self.pools.medoids()
        self.medoids.copy_(torch.where(found[:, None], medoids, self.medoids))
        self.present |= found
        self.pools.clear()


def _pool_size(knobs: Toast.Knobs, classes: int) -> int:
    """`medoid_pool`, or what 256 MiB of pools hold where that is less."""
    most = max(1, POOL_BYTES // (4 * classes * classes))
    if knobs.medoid_pool > most:
        logger.warning(
            "toast.medoid_pool: %d instead of %d, for %d classes", most, knobs.medoid_pool, classes
        )
    return min(knobs.medoid_pool, most)
