"""Label smoothing: a share of the target is spread evenly over all classes.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture for Computer
Vision", CVPR 2016.

The target is no longer certain of the label, so logits need not grow without end. There is no
teacher and no state. It is a control of every study: many self-distillation methods do not beat
it.

    L = CE(z, (1 - smoothing) y + smoothing / K)

The share goes to all K classes, the true one included, as in
`torch.nn.functional.cross_entropy(label_smoothing=...)`. Code that spreads it over the wrong
classes only is the same loss at `smoothing * K / (K - 1)`.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Student
from autosd.strategies.strategy import Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def smooth(rows: Tensor, smoothing: float) -> Tensor:
    """Target rows `[B, K]` with the share `smoothing` spread evenly over the classes."""
    return (1.0 - smoothing) * rows + smoothing / rows.shape[1]


class LabelSmoothing(Strategy):
    """A control of every study: no teacher, no state."""

    reference: ClassVar[str] = (
        "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.TARGET})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.FLATTENED_TARGET})

    class Knobs(Strategy.Knobs):
        smoothing: float = Field(
            0.1, ge=0, le=1, description="share of the target spread evenly over all classes"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.classes = run.classes

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(smoothing=0)

    def targets(self, targets: Targets, batch: Batch, clock: Clock) -> Targets:
        if self.knobs.smoothing == 0:
            return targets
        return targets.softened(smooth(targets.dense(self.classes), self.knobs.smoothing))
