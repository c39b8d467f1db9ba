"""Mixup: two images and their labels in one, with one ratio per batch.

Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

Each image is blended with another one of the batch, and so are their targets. The ratio is drawn
once per batch from Beta(alpha, alpha). Nothing is added to the network; the accuracy on training
images means little.

    x' = lam x + (1 - lam) x[perm]
    L = CE(z(x'), lam y + (1 - lam) y[perm])

The ratio is drawn in float64, where a small `alpha` does not underflow. `alpha` 0 is off; a widely
used library makes 0 a fixed ratio of one half. The default 0.4 is that library's for CIFAR-100.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from autosd.data.batches import Batch
from autosd.models.student import Student
from autosd.strategies.mixing import blend, blend_rows, host_generator, mix_of, permutation
from autosd.strategies.strategy import Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


class Mixup(Strategy):
    """A control: the pixels of each image are a blend, and its target is the same blend."""

    reference: ClassVar[str] = "Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018"
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.MIX})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.MIXED_PIXELS})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.SAME_CLASS_ROWS: "a mixed image has two classes, so no partner shares its class",
    }

    class Knobs(Strategy.Knobs):
        alpha: float = Field(
            0.4, ge=0, le=100, description="the ratio is drawn from Beta(alpha, alpha); 0 is off"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.classes = run.classes

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(alpha=0)

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        alpha = self.knobs.alpha
        if alpha == 0:
            return batch
        lam = float(host_generator(clock, "mixup.ratio").beta(alpha, alpha))
        perm = permutation(batch, clock, "mixup.order")
        return replace(batch, images=blend(batch.images, perm, lam), mix=mix_of(perm, lam))

    def targets(self, targets: Targets, batch: Batch, clock: Clock) -> Targets:
        if batch.mix is None:
            return targets
        return targets.softened(blend_rows(targets.dense(self.classes), batch.mix))
