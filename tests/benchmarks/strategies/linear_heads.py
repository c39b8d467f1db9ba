"""The lightest possible heads: what reading every stage costs when nothing else is done with it."""

from typing import ClassVar

from torch import Tensor, nn

from autosd.data.batches import Batch
from autosd.models.pooling import pool
from autosd.models.student import Activations, Student
from autosd.strategies.losses import full
from autosd.strategies.strategy import RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


class LinearHeads(Strategy):
    """A linear classifier on each pooled tap, all learning from the targets."""

    reference: ClassVar[str] = "none; it measures the layout of gradients at the taps"
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEADS})

    def __init__(self, knobs: Strategy.Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        widths = [stage.channels for stage in student.spec.stages]
        self.heads = nn.ModuleList(nn.Linear(width, run.classes) for width in widths)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        return {
            f"linear_heads/{depth}": targets.cross_entropy(head(full(pool(tap)))).mean()
            for depth, (head, tap) in enumerate(zip(self.heads, activations.taps, strict=True))
        }
