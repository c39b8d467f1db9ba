"""Confidence penalty: the entropy of the predictions is rewarded.

Pereyra, Tucker, Chorowski, Kaiser and Hinton, "Regularizing Neural Networks by Penalizing
Confident Output Distributions", ICLR Workshop 2017.

Confident predictions have little entropy, so a reward for entropy keeps the network from becoming
surer than its data allow. Nothing is a constant, there is no teacher. The loss may be negative.

    L = CE(z, y) - weight mean_i H(softmax(z_i)),  H in nats

A widely used library averages p log p over all classes as well, which
makes its weight 0.5 / K: inert at 100 classes. Here the entropy is summed over classes.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import tempered
from autosd.strategies.strategy import Effect, Slot, Strategy, Targets
from autosd.streams import Clock


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy in nats of the softmax of `logits` `[B, K]`, between 0 and log K."""
    log_probabilities = tempered(logits, 1.0)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1).mean()


class ConfidencePenalty(Strategy):
    """A control: no teacher, no state."""

    reference: ClassVar[str] = (
        "Pereyra et al., Regularizing Neural Networks by Penalizing Confident Output "
        "Distributions, ICLR Workshop 2017"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.REGULARISER})
    discourages: ClassVar[dict[Effect, str]] = {
        Effect.FLATTENED_TARGET: "both want evener predictions, nearly the same prior twice",
    }

    class Knobs(Strategy.Knobs):
        weight: float = Field(0.1, ge=0, le=100, description="weight of the entropy's reward")

    knobs: Knobs

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(weight=0)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if self.knobs.weight == 0:
            return {}
        return {"confidence_penalty/entropy": -self.knobs.weight * entropy(activations.logits)}
