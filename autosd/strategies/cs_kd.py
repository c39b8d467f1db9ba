"""CS-KD: class-wise self-knowledge distillation.

Yun, Park, Lee and Shin, "Regularizing Class-wise Predictions via Self-knowledge Distillation",
CVPR 2020.

The prediction on an image is pulled to the prediction on another image of its class. As in the
authors' code the partners are a pass of their own, without gradient, on their own batch statistics
and moving the running ones; they get no cross-entropy. Putting both halves through one pass would
change what batch norm sees.

    z' = logits of another image of the same class
    L = CE(z, y) + kd_weight KL_T(z' || z)

Departures: the partner is never the image itself, where its class has two. The divergence may be
NKD instead of the KL (see `nontarget`), which is our offer and not part of the method.
"""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import kd
from autosd.strategies.nontarget import nkd
from autosd.strategies.passes import partner_pass
from autosd.strategies.same_class import SameClass
from autosd.strategies.strategy import Cost, Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

PARTNER_VIEW = 1


class CsKd(Strategy):
    """A partner for each image, drawn when the loss is computed; no state."""

    reference: ClassVar[str] = (
        "Yun et al., Regularizing Class-wise Predictions via Self-knowledge Distillation, CVPR 2020"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.COMPOSE, Slot.TEACHER})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.SAME_CLASS_ROWS})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "a mixed image has two classes, so no partner shares its class",
    }

    class Knobs(Strategy.Knobs):
        kd_weight: float = Field(
            1.0, ge=0, le=100, description="weight of the pull to the partner; 3 for fine grain"
        )
        temperature: float = Field(4.0, gt=0, le=1000, description="softens both predictions")
        divergence: Literal["kl", "nkd"] = Field(
            "kl", description="kl as published, or nkd: true and wrong classes apart"
        )
        nontarget_weight: float = Field(
            1.5, ge=0, le=100, description="weight of the wrong classes within nkd"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.same_class = SameClass(run)

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(kd_weight=0)

    def cost(self) -> Cost:
        return Cost(1.0, 1.0) if self.knobs.kd_weight == 0 else Cost(2.0, 1.0)

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
        generator = clock.generator("cs_kd.partner")
        partners = self.same_class.draw(batch.index[: batch.fresh], 1, generator).squeeze(1)
        images = batch.draw(partners, PARTNER_VIEW)
        teacher = partner_pass(student, images, activations).logits
        pull = self._divergence(teacher, activations.logits[: batch.fresh], batch.labels)
        return {"cs_kd/partner": self.knobs.kd_weight * pull}

    def _divergence(self, teacher: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        knobs = self.knobs
        if knobs.divergence == "kl":
            return kd(teacher, logits, knobs.temperature)
        labels = labels[: len(logits)]
        return nkd(teacher, logits, labels, knobs.nontarget_weight, knobs.temperature)
