"""PS-KD: the label, progressively refined by the student's own earlier prediction.

Progressive self-knowledge distillation. Kim, Ji, Yoon and Hwang, "Self-Knowledge Distillation
with Progressive Refinement of Targets", ICCV 2021.

The target of an image is a mix of its one-hot label and the student's prediction for this very
image one epoch ago; the share of the prediction grows linearly over the planned epochs. No
temperature. The prediction is that of the training pass, under another augmentation.

    share = final_mix e / E in epoch e of E
    L = CE(z, (1 - share) y + share p[i]),  p[i] = prediction for image i one epoch ago

Departure from the authors' code: memory rows start as one-hot labels, not as zeros with a
special case for the first epoch, so an image first drawn later still has a proper target.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import full, refine
from autosd.strategies.memory import label_rows
from autosd.strategies.strategy import Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def ramp(epoch: int, epochs: int, final: float, end: float = 1.0) -> float:
    """A share that grows linearly to `final * end` at the fraction `end` of `epochs`.

    `epoch` is 0-based; with `end` 1 the last epoch reaches `final`.
    """
    return final * min(epoch + 1, end * epochs) / epochs


class PsKd(Strategy):
    """One memory row `[K]` per training image; no modules, nothing at inference."""

    reference: ClassVar[str] = (
        "Kim et al., Self-Knowledge Distillation with Progressive Refinement of Targets, ICCV 2021"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.TARGET})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.INDEX_MEMORY})
    memories: ClassVar[int] = 1
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "the prediction stored for an image belongs to another picture",
        Effect.EXTRA_ROWS: "an image's memory would be written more than once in a step",
        Effect.SAME_CLASS_ROWS: "an image's memory would be written more than once in a step",
    }

    class Knobs(Strategy.Knobs):
        final_mix: float = Field(
            0.8, ge=0, le=1, description="share of the prediction in the target, in the last epoch"
        )

    knobs: Knobs
    memory: Tensor

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.register_buffer("memory", label_rows(run, self.memories, "ps_kd"))

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(final_mix=0)

    def targets(self, targets: Targets, batch: Batch, clock: Clock) -> Targets:
        if self.knobs.final_mix == 0:
            return targets
        share = ramp(clock.epoch, clock.epochs, self.knobs.final_mix)
        rows = targets.dense(self.memory.shape[1])
        return targets.softened(refine(rows, self.memory[batch.index], share))

    def after_step(
        self, activations: Activations, batch: Batch, student: Student, clock: Clock
    ) -> None:
        predictions = F.softmax(full(activations.logits), dim=1)
        self.memory[batch.index] = predictions.to(self.memory.dtype)
