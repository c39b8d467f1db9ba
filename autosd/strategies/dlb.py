"""DLB: self-distillation from the last mini-batch.

Shen, Xu, Yang, Li and Guo, "Self-Distillation from the Last Mini-Batch for Consistency
Regularization", CVPR 2022.

The previous batch is shown again under a second augmentation, and its new predictions are pulled
to those it had one step ago. The supervised term is the mean over fresh and replayed rows.

    L = CE(z, y) over all rows + kd_weight KL_T(z before || z now) over the replayed rows

Departures from the authors' code: they run two forward passes, fresh rows first, each with its
own batch statistics; here the replayed rows are appended and one pass serves both. The paper's
batch holds half as many fresh rows; here, as in the code, all of them (twice the cost).
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.carry import Carry
from autosd.strategies.strategy import Cost, Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


class Dlb(Strategy):
    """Carries one batch: indices, labels, logits. It has no setting that is plain training."""

    reference: ClassVar[str] = (
        "Shen et al., Self-Distillation from the Last Mini-Batch for Consistency Regularization, "
        "CVPR 2022"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.COMPOSE, Slot.TEACHER})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.EXTRA_ROWS})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "a replayed picture would have to repeat the mixing of its step",
    }

    class Knobs(Strategy.Knobs):
        kd_weight: float = Field(1.0, ge=0, le=100, description="weight of the KL to past logits")
        temperature: float = Field(3.0, gt=0, le=1000, description="softens both sides of the KL")

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.carry = Carry(run)

    def cost(self) -> Cost:
        return Cost(2.0, 2.0)

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        return self.carry.append_to(batch)

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
        return {} if term is None else {"dlb/replay": term}

    def after_step(
        self, activations: Activations, batch: Batch, student: Student, clock: Clock
    ) -> None:
        self.carry.keep(batch, activations.logits)
