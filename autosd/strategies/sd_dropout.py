"""SD-Dropout: self-knowledge distillation via dropout.

Lee, Park, Seo and Kang, "Self-Knowledge Distillation via Dropout", arXiv:2208.05642, 2022.

Two independent dropout masks on the embedding give two predictions, which teach each other. The
student's own prediction is made without dropout. Published as an add-on to other methods.

    z1, z2 = classifier(dropout(f, drop_rate)), two masks
    L = CE(z, y) + kd_weight (KL_T(z2 || z1) + KL_T(z1 || z2))

As in the authors' later version gradients flow through the teachers too and the weight is 0.1;
their earlier one had constant teachers and the weight 1 (`detach_targets`).
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import mutual_kd
from autosd.strategies.strategy import Slot, Strategy, Targets
from autosd.streams import Clock


def dropped(features: Tensor, kept: Tensor, drop_rate: float) -> Tensor:
    """`features` `[B, D]` where `kept`, scaled so that their expectation stays."""
    return features * kept.to(features.dtype) / (1.0 - drop_rate)


class SdDropout(Strategy):
    """No modules: masks come from the stream of the step."""

    reference: ClassVar[str] = (
        "Lee et al., Self-Knowledge Distillation via Dropout, arXiv 2208.05642, 2022"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.REGULARISER})

    class Knobs(Strategy.Knobs):
        drop_rate: float = Field(
            0.5, ge=0, lt=1, description="share of the embedding that a mask hides"
        )
        kd_weight: float = Field(
            0.1, ge=0, le=100, description="weight of the KL between the two, both ways"
        )
        temperature: float = Field(3.0, gt=0, le=1000, description="softens both predictions")
        detach_targets: bool = Field(False, description="no gradient through teachers")

    knobs: Knobs

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(kd_weight=0)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        knobs = self.knobs
        if knobs.kd_weight == 0:
            return {}
        first, second = (
            student.classifier(self._dropped(activations.embedding, f"mask.{mask}", clock))
            for mask in (1, 2)
        )
        pulls = mutual_kd(first, second, knobs.temperature, knobs.detach_targets)
        return {"sd_dropout/masks": knobs.kd_weight * (pulls[0] + pulls[1])}

    def _dropped(self, features: Tensor, purpose: str, clock: Clock) -> Tensor:
        return dropped(features, self._kept(features, purpose, clock), self.knobs.drop_rate)

    def _kept(self, features: Tensor, purpose: str, clock: Clock) -> Tensor:
        generator = clock.generator(f"sd_dropout.{purpose}")
        noise = torch.rand(features.shape, generator=generator, device=features.device)
        return noise >= self.knobs.drop_rate
